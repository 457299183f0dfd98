/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The smallest guest: a greeting, some work in ring 3, the end. What follows
 * "end=" on the command line says how: poweroff (default), reset, i8042,
 * triple, halt, exception.
 */

#include "lib/guest.h"

#define WORK_ROUNDS 1000000u
#define WORK_RESULT 0x15d54c41u

/* A linear congruence that the compiler can't see through. */
static uint32_t hello_work(void)
{
	uint32_t v = 1;

	for (uint32_t i = 0; i < WORK_ROUNDS; i++) {
		v = v * 1664525u + 1013904223u;
		__asm__ volatile("" : "+r"(v));
	}
	return v;
}

void guest_main(void)
{
	guest_puts("hello\n");
	if (hello_work() != WORK_RESULT)
		guest_fail("hello: wrong result of the work");
	outb(0x80, GUEST_MARK_DONE);
	if (guest_option_is("end", "reset"))
		guest_reset();
	if (guest_option_is("end", "i8042"))
		guest_reset_i8042();
	if (guest_option_is("end", "triple"))
		guest_triple_fault();
	if (guest_option_is("end", "halt"))
		guest_halt();
	if (guest_option_is("end", "exception"))
		__asm__ volatile("ud2");
}
