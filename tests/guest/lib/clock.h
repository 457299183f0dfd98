/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_CLOCK_H
#define TESTS_GUEST_LIB_CLOCK_H

/* Time by the TSC, and a record of the pauses between events. */

#include "lib/guest.h"

/** clock_init() - Find the TSC's frequency: CPUID, else the ACPI timer */
void clock_init(void);
uint64_t clock_us(uint64_t ticks);
uint64_t clock_ticks(uint64_t us);
uint64_t clock_khz(void);

#define GAPS_MAX    16384
#define GAPS_MIN_US 1000

/* Pauses between consecutive events; the ones of a ms and more one by one. */
struct gaps {
	const char *name;
	uint64_t last; /* TSC; 0 = none yet */
	uint64_t max;
	uint64_t events;
	uint32_t count;
	struct gap {
		uint64_t end;
		uint64_t ticks;
	} * list; /* of GAPS_MAX; later ones are only counted */
};

void gaps_init(struct gaps *g, const char *name);
/** gaps_event() - Something was completed now, at @tsc */
void gaps_event(struct gaps *g, uint64_t tsc);
/** gaps_rest() - Nothing is asked for: the next pause is not one */
static inline void gaps_rest(struct gaps *g)
{
	g->last = 0;
}
/** gaps_print() - "GAPS name ..." and, if @each, a line for each pause */
void gaps_print(struct gaps *g, bool each);

#endif
