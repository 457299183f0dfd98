/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The other processors: each starts from real mode by INIT and SIPI, notes the
 * APIC id that its CPUID says, and halts. The ids must be those of the MADT,
 * which has been checked by then (cpus=).
 *
 * Spec: Intel SDM 3A, 8.4.4 and 10.12.9
 */

#include "lib/clock.h"
#include "lib/cpu.h"
#include "platform/platform.h"

#define LAPIC	   0xfee00000ull
#define X2APIC	   0x800 /* MSR of the first register; 16 bytes each */
#define LAPIC_SVR  0xf0
#define LAPIC_ICR  0x300
#define ICR_OTHERS 0xc0000u /* all but the sender */
#define ICR_ASSERT 0x4000u
#define ICR_INIT   0x500u
#define ICR_SIPI   0x600u

/* In the lowest RAM, which nobody else of this guest uses. */
#define START	0x8000u
#define IDS	0x9000u /* a bit for each */
#define IDS_MAX 4096
#define COUNT	0x9f00u
#define WAIT_US 30000000 /* a busy machine, and ring 0 is interpreted */

extern const uint8_t others_start[], others_start_end[];

__asm__(".pushsection .rodata\n"
	".code16\n"
	"others_start:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	mov $0xb, %eax\n"
	"	xor %ecx, %ecx\n"
	"	cpuid\n"
	"	lock btsl %edx, 0x9000\n"
	"	lock incl 0x9f00\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"others_start_end:\n"
	".code64\n"
	".popsection\n");

uint32_t lapic_read(uint32_t reg)
{
	if (guest_option_number("x2apic", 0))
		return (uint32_t)cpu_rdmsr(X2APIC + reg / 16);
	return mmio32(LAPIC + reg);
}

void lapic_write(uint32_t reg, uint32_t v)
{
	if (guest_option_number("x2apic", 0))
		cpu_wrmsr(X2APIC + reg / 16, v);
	else
		mmio32_put(LAPIC + reg, v);
}

static bool has_id(uint32_t id)
{
	return id < IDS_MAX && at(IDS)[id / 8] >> id % 8 & 1;
}

void check_others(void)
{
	uint64_t others = guest_option_number("cpus", 1) - 1, end;
	volatile uint32_t *count = (volatile uint32_t *)at(COUNT);

	if (!others)
		return;
	memset((void *)at(IDS), 0, COUNT + 4 - IDS);
	memcpy((void *)at(START), others_start,
	       (size_t)(others_start_end - others_start));
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_ICR, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
	lapic_write(LAPIC_ICR,
		    ICR_OTHERS | ICR_ASSERT | ICR_SIPI | START / 4096);
	end = rdtsc() + clock_ticks(WAIT_US);
	while (*count < others && rdtsc() < end)
		;
	expect("others: started", *count, others);
	expect_true("others: one has our id", !has_id(0));
	for (uint64_t i = 0, id; i < others; i++) {
		id = madt_id(i + 1);
		expect("others: an id of the MADT",
		       has_id((uint32_t)id) ? id : 0, id);
	}
}
