/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_ARCH_X86_64_CPUID_H
#define VMM_CORE_ARCH_X86_64_CPUID_H

/*
 * The CPUID leaves that a guest sees: what the host's KVM supports, with the
 * topology, the identity and the frequencies of this VM put in. Pure
 * functions on a table; arch.c does the ioctls.
 */

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm-core/arch/x86_64/topology.h"

#define CPUID_MAX_ENTRIES 256

struct cpuid_table {
	uint32_t nent; /* the layout of struct kvm_cpuid2 */
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

struct cpuid_config {
	struct topology topology;
	unsigned int phys_bits;
	uint64_t tsc_khz; /* 0 = unknown */
	bool nested;	  /* let the guest see VMX or SVM */
	bool msi_ext_dest;
	bool tsc_deadline; /* KVM can do it */
};

/** cpuid_find() - The entry, or NULL; @index counts only where the leaf has
 *  subleaves */
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t function,
				    uint32_t index);

/**
 * cpuid_apply() - Put what all vCPUs share into the supported leaves
 *
 * Return: 0; -ENOSPC when the table is full
 */
int cpuid_apply(struct cpuid_table *t, const struct cpuid_config *c);

/** cpuid_personalize() - Put one vCPU's APIC id into an applied table */
void cpuid_personalize(struct cpuid_table *t, const struct cpuid_config *c,
		       unsigned int vcpu_index);

/**
 * cpuid_tsc_ratio() - num / den close to @tsc_khz / 1 GHz
 *
 * num is at most 4294, so that 1 GHz in kHz times num fits 32 bits: a reader
 * may be careless. The error is below 130 ppm, mostly far below.
 */
void cpuid_tsc_ratio(uint64_t tsc_khz, uint32_t *ret_num, uint32_t *ret_den);

#endif
