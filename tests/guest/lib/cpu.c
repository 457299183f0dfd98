/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/cpu.h"

static uint64_t ring0_cpuid(uint64_t arg)
{
	struct cpu_id *c = (struct cpu_id *)arg;

	__asm__ volatile("cpuid"
			 : "=a"(c->eax), "=b"(c->ebx), "=c"(c->ecx),
			   "=d"(c->edx)
			 : "a"(c->leaf), "c"(c->subleaf));
	return 0;
}

struct cpu_id cpu_id(uint32_t leaf, uint32_t subleaf)
{
	struct cpu_id c = {.leaf = leaf, .subleaf = subleaf};

	guest_ring0(ring0_cpuid, (uint64_t)&c);
	return c;
}

static uint64_t ring0_rdmsr(uint64_t arg)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"((uint32_t)arg));
	return (uint64_t)hi << 32 | lo;
}

uint64_t cpu_rdmsr(uint32_t msr)
{
	return guest_ring0(ring0_rdmsr, msr);
}

struct cpu_msr {
	uint32_t msr, lo, hi;
};

static uint64_t ring0_wrmsr(uint64_t arg)
{
	const struct cpu_msr *w = (const struct cpu_msr *)arg;

	__asm__ volatile("wrmsr" : : "a"(w->lo), "d"(w->hi), "c"(w->msr));
	return 0;
}

void cpu_wrmsr(uint32_t msr, uint64_t v)
{
	struct cpu_msr w = {msr, (uint32_t)v, (uint32_t)(v >> 32)};

	guest_ring0(ring0_wrmsr, (uint64_t)&w);
}
