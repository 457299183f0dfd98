/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_HV_KVM_H
#define VMM_CORE_HV_KVM_H

/*
 * What hv_kvm.c leaves to the architecture (arch/<name>/kvm.c). Private to
 * the KVM back end.
 */

#include <linux/kvm.h>

#include "vmm-core/hv.h"

/** hv_kvm_need() - Check a capability; Return: its value (> 0) or -ENOSYS
 *  with a sentence: "this host's KVM lacks <what>; <hint>" */
int hv_kvm_need(int fd, int cap, const char *what, const char *hint,
		struct err *e);

/** hv_kvm_arch_probe() - Needed capabilities and @caps' architecture part */
int hv_kvm_arch_probe(int fd, struct hv_caps *caps, struct err *e);

/** hv_kvm_arch_create() - Prepare a new VM, before its first vCPU */
int hv_kvm_arch_create(int vm_fd, const struct hv_caps *caps,
		       const struct hv_vm_config *cfg, struct err *e);

/** hv_kvm_arch_msi_addr() - An MSI address as the kernel wants it */
uint64_t hv_kvm_arch_msi_addr(const struct hv_caps *caps, uint64_t addr);

/** hv_kvm_arch_describe() - Registers of a stopped vCPU, for a person */
void hv_kvm_arch_describe(int vcpu_fd, char *buf, size_t size);

#endif
