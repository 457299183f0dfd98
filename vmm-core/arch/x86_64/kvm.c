/* SPDX-License-Identifier: Apache-2.0 */

/* KVM's x86 part: what hv_kvm.c must not know about the architecture. */

#include "vmm-core/hv_kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

#define KVM_LAPIC_HZ 1000000000ull /* KVM's APIC bus: 1 ns a cycle */

/*
 * Hardware virtualization shows in the CPU's own feature bits. A KVM without
 * them translates or interprets guests in software.
 */
static bool kvm_is_software_only(void)
{
	unsigned int a, b, c, d;
	bool vmx = __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 5));
	bool svm = __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 2));

	return !vmx && !svm;
}

int hv_kvm_arch_probe(int fd, struct hv_caps *caps, struct err *e)
{
	static const struct {
		int cap;
		const char *what;
	} needed[] = {
		{KVM_CAP_EXT_CPUID, "CPUID tables"},
		{KVM_CAP_SET_TSS_ADDR, "a movable TSS"},
		{KVM_CAP_SET_IDENTITY_MAP_ADDR, "a movable identity map"},
		{KVM_CAP_SPLIT_IRQCHIP, "the split interrupt controller"},
	};
	unsigned int a, b, c, d;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		r = hv_kvm_need(fd, needed[i].cap, needed[i].what,
				"a newer host kernel is needed", e);
		if (r < 0)
			return r;
	}
	r = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_X2APIC_API);
	caps->x2apic_ext_dest =
		r > 0 && ((unsigned int)r & KVM_X2APIC_API_USE_32BIT_IDS);
	caps->software_only = kvm_is_software_only();
	caps->lapic_hz = KVM_LAPIC_HZ;
	caps->phys_bits = 36;
	if (__get_cpuid(0x80000008, &a, &b, &c, &d))
		caps->phys_bits = a & 0xff;
	return 0;
}

int hv_kvm_arch_create(int vm_fd, const struct hv_caps *caps,
		       const struct hv_vm_config *cfg, struct err *e)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP,
				       .args = {cfg->ioapic_pins}};
	struct kvm_enable_cap x2apic = {
		.cap = KVM_CAP_X2APIC_API,
		.args = {KVM_X2APIC_API_USE_32BIT_IDS |
			 KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK}};
	uint64_t identity = LAYOUT_KVM_IDENTITY;

	if (ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_errno(e, "KVM refuses the identity map's address");
	if (ioctl(vm_fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS) < 0)
		return err_errno(e, "KVM refuses the TSS's address");
	if (ioctl(vm_fd, KVM_ENABLE_CAP, &split) < 0)
		return err_errno(e,
				 "KVM refuses the split interrupt "
				 "controller with %u pins",
				 cfg->ioapic_pins);
	if (caps->x2apic_ext_dest && ioctl(vm_fd, KVM_ENABLE_CAP, &x2apic) < 0)
		return err_errno(e, "KVM refuses 32-bit interrupt "
				    "destinations");
	return 0;
}

/*
 * In a guest's MSI address bits 5 to 11 carry bits 8 to 14 of the destination
 * (the "extended destination id" convention); the kernel wants them in bits
 * 40 to 46 once 32-bit ids are on.
 */
uint64_t hv_kvm_arch_msi_addr(const struct hv_caps *caps, uint64_t addr)
{
	uint64_t ext = addr & 0xfe0;

	if (!caps->x2apic_ext_dest)
		return addr;
	return (addr & 0xfffff01full) | ext << 35;
}

void hv_kvm_arch_describe(int vcpu_fd, char *buf, size_t size)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	if (ioctl(vcpu_fd, KVM_GET_REGS, &r) < 0 ||
	    ioctl(vcpu_fd, KVM_GET_SREGS, &s) < 0) {
		snprintf(buf, size, "registers unknown");
		return;
	}
	snprintf(buf, size,
		 "rip 0x%llx rsp 0x%llx cr0 0x%llx cr3 0x%llx cr4 0x%llx "
		 "efer 0x%llx cpl %u",
		 r.rip, r.rsp, s.cr0, s.cr3, s.cr4, s.efer, s.ss.dpl);
}
