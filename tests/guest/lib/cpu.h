/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_CPU_H
#define TESTS_GUEST_LIB_CPU_H

/* Instructions for ring 0, where also a software KVM sees them. */

#include "lib/guest.h"

struct cpu_id {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx;
};

struct cpu_id cpu_id(uint32_t leaf, uint32_t subleaf);
uint64_t cpu_rdmsr(uint32_t msr);
void cpu_wrmsr(uint32_t msr, uint64_t v);

#endif
