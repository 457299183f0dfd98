/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_ARCH_ARCH_H
#define VMM_CORE_ARCH_ARCH_H

/*
 * What each architecture does for the core: vCPUs as the guest first sees
 * them. One implementation is linked (arch/x86_64).
 */

#include "common/base/err.h"
#include "proto/core.pb-c.h"
#include "vmm-core/hv.h"

struct arch; /* one VM's processors: topology, CPUID */

/**
 * arch_new() - Check the configuration and prepare all vCPUs' common part
 * @ret_phys_bits: Width of guest-physical addresses
 */
int arch_new(struct hv *hv, const struct hv_caps *caps,
	     const Bulkhead__CpuConfig *cfg, struct arch **ret,
	     unsigned int *ret_phys_bits, struct err *e);
void arch_free(struct arch *a);

/** arch_vcpu_id() - Processor id for hv_vcpu_new() of vCPU @index */
unsigned int arch_vcpu_id(const struct arch *a, unsigned int index);

/** arch_tsc_khz() - After the first arch_vcpu_init(); 0 = unknown */
uint64_t arch_tsc_khz(const struct arch *a);

/** arch_vcpu_init() - CPUID, MSRs, interrupt controller, run state; vCPU 0
 *  will run, the others wait until it starts them */
int arch_vcpu_init(struct arch *a, struct hv_vcpu *v, unsigned int index,
		   struct err *e);

/** arch_vcpu_set_entry() - Where vCPU 0 begins; checks what the loader said */
int arch_vcpu_set_entry(struct hv_vcpu *v, const Bulkhead__EntryState *entry,
			struct err *e);

#endif
