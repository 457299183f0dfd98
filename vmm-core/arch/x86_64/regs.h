/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_ARCH_X86_64_REGS_H
#define VMM_CORE_ARCH_X86_64_REGS_H

/* Registers of a vCPU as its guest first sees them. */

#include <linux/kvm.h>
#include <stdbool.h>

#include "common/base/err.h"
#include "proto/core.pb-c.h"

/** regs_init() - FPU, MSRs, LAPIC; @x2apic: start with 32-bit APIC ids */
int regs_init(int vcpu_fd, bool x2apic, struct err *e);

/** regs_fill_entry() - Entry state as the boot protocols want it (pure)
 *
 * Return: 0; -EBADMSG when the loader asks for what no processor can do
 */
int regs_fill_entry(const Bulkhead__X86Entry *x, struct kvm_regs *regs,
		    struct kvm_sregs *sregs, struct err *e);

/** regs_set_entry() - Put it into vCPU 0 */
int regs_set_entry(int vcpu_fd, const Bulkhead__X86Entry *x, struct err *e);

#endif
