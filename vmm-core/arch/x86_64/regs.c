/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/x86_64/regs.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

#define CR0_PE	 (1ull << 0)
#define CR0_ET	 (1ull << 4)
#define CR0_PG	 (1ull << 31)
#define CR4_PAE	 (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define RFLAGS_1 (1ull << 1)

#define APIC_BASE_EXTD (1ull << 10)
#define APIC_LVT0      0x350
#define APIC_LVT1      0x360
#define APIC_MODE_MASK 0x700u
#define APIC_MODE_NMI  0x400u
#define APIC_MODE_EXT  0x700u

#define MSR_TSC		 0x10u
#define MSR_SYSENTER_CS	 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_MISC_ENABLE	 0x1a0u
#define MSR_MTRR_DEFAULT 0x2ffu
#define MSR_STAR	 0xc0000081u
#define MSR_LSTAR	 0xc0000082u
#define MSR_CSTAR	 0xc0000083u
#define MSR_SFMASK	 0xc0000084u
#define MSR_KERNEL_GS	 0xc0000102u

#define MISC_ENABLE_FAST_STRING 1u
#define MTRR_ENABLE_WRITE_BACK	0x806u

static int regs_set_msrs(int fd, struct err *e)
{
	static const struct kvm_msr_entry boot[] = {
		{.index = MSR_SYSENTER_CS},
		{.index = MSR_SYSENTER_ESP},
		{.index = MSR_SYSENTER_EIP},
		{.index = MSR_STAR},
		{.index = MSR_LSTAR},
		{.index = MSR_CSTAR},
		{.index = MSR_SFMASK},
		{.index = MSR_KERNEL_GS},
		{.index = MSR_TSC},
		{.index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
		{.index = MSR_MTRR_DEFAULT, .data = MTRR_ENABLE_WRITE_BACK},
	};
	_Alignas(struct kvm_msrs)
		uint8_t buf[sizeof(struct kvm_msrs) + sizeof(boot)] = {0};
	struct kvm_msrs *list = (struct kvm_msrs *)(void *)buf;
	int r;

	list->nmsrs = ARRAY_SIZE(boot);
	memcpy(list->entries, boot, sizeof(boot));
	r = ioctl(fd, KVM_SET_MSRS, list);
	if (r < 0)
		return err_errno(e, "KVM refuses the boot MSRs");
	if (r < (int)ARRAY_SIZE(boot))
		return err_set(e, -EIO, "KVM refuses MSR 0x%x = 0x%llx",
			       boot[r].index, boot[r].data);
	return 0;
}

static void regs_set_lvt(struct kvm_lapic_state *s, unsigned int reg,
			 uint32_t mode)
{
	uint32_t v = get_le32(s->regs + reg);

	put_le32(s->regs + reg, (v & ~APIC_MODE_MASK) | mode);
}

/* Virtual wire mode: LINT0 for a PIC (there is none), LINT1 for NMIs. */
static int regs_set_lapic(int fd, bool x2apic, struct err *e)
{
	struct kvm_lapic_state s;
	struct kvm_sregs sregs;

	if (x2apic) {
		if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
			return err_errno(e, "cannot read system registers");
		sregs.apic_base |= APIC_BASE_EXTD;
		if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
			return err_errno(e, "KVM refuses x2APIC mode, which "
					    "APIC ids above 254 need");
	}
	if (ioctl(fd, KVM_GET_LAPIC, &s) < 0)
		return err_errno(e, "cannot read the local APIC");
	regs_set_lvt(&s, APIC_LVT0, APIC_MODE_EXT);
	regs_set_lvt(&s, APIC_LVT1, APIC_MODE_NMI);
	if (ioctl(fd, KVM_SET_LAPIC, &s) < 0)
		return err_errno(e, "KVM refuses the local APIC's state");
	return 0;
}

int regs_init(int vcpu_fd, bool x2apic, struct err *e)
{
	struct kvm_fpu fpu = {.fcw = 0x37f, .mxcsr = 0x1f80};
	int r;

	if (ioctl(vcpu_fd, KVM_SET_FPU, &fpu) < 0)
		return err_errno(e, "KVM refuses the floating-point state");
	r = regs_set_msrs(vcpu_fd, e);
	return r < 0 ? r : regs_set_lapic(vcpu_fd, x2apic, e);
}

static struct kvm_segment regs_flat(uint16_t selector, uint8_t type,
				    bool long_code)
{
	struct kvm_segment s = {
		.selector = selector,
		.limit = 0xffffffff,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = !long_code,
		.l = long_code,
	};

	return s;
}

static bool regs_is_canonical(uint64_t v)
{
	return (v >> 47) == 0 || (v >> 47) == 0x1ffff;
}

int regs_fill_entry(const Bulkhead__X86Entry *x, struct kvm_regs *regs,
		    struct kvm_sregs *sregs, struct err *e)
{
	uint16_t code = x->long_mode ? LAYOUT_SEL_CODE64 : LAYOUT_SEL_CODE32;
	uint16_t data = x->long_mode ? LAYOUT_SEL_DATA64 : LAYOUT_SEL_DATA32;
	struct kvm_segment ds = regs_flat(data, 3, false);

	if (!x->long_mode && (x->rip | x->rsp | x->rbx | x->rsi) > UINT32_MAX)
		return err_set(e, -EBADMSG,
			       "the loader's 32-bit entry state "
			       "has 64-bit addresses");
	if (x->long_mode && (x->cr3 & 0xfff || x->cr3 >= LAYOUT_4G ||
			     !regs_is_canonical(x->rip)))
		return err_set(e, -EBADMSG,
			       "the loader's entry state has an "
			       "impossible page table or "
			       "instruction address");
	if (x->gdt_limit > UINT16_MAX)
		return err_set(e, -EBADMSG,
			       "the loader's descriptor table is "
			       "too long");
	memset(regs, 0, sizeof(*regs));
	regs->rflags = RFLAGS_1;
	regs->rip = x->rip;
	regs->rsp = x->rsp;
	regs->rbx = x->rbx;
	regs->rsi = x->rsi;
	sregs->cs = regs_flat(code, 11, x->long_mode);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = ds;
	memset(&sregs->tr, 0, sizeof(sregs->tr));
	sregs->tr.selector = (uint16_t)(data + 8);
	sregs->tr.limit = 0x67;
	sregs->tr.type = 11; /* busy TSS */
	sregs->tr.present = 1;
	memset(&sregs->gdt, 0, sizeof(sregs->gdt));
	sregs->gdt.base = x->gdt_base;
	sregs->gdt.limit = (uint16_t)x->gdt_limit;
	memset(&sregs->idt, 0, sizeof(sregs->idt));
	sregs->idt.base = LAYOUT_IDT;
	sregs->idt.limit = 7;
	sregs->cr0 = CR0_PE | CR0_ET | (x->long_mode ? CR0_PG : 0);
	sregs->cr3 = x->long_mode ? x->cr3 : 0;
	sregs->cr4 = x->long_mode ? CR4_PAE : 0;
	sregs->efer = x->long_mode ? EFER_LME | EFER_LMA : 0;
	return 0;
}

/*
 * @sys core ioctl(1==KVM_GET_SREGS): entry state
 * @sys core ioctl(1==KVM_SET_SREGS): entry state
 * @sys core ioctl(1==KVM_SET_REGS): entry state
 */
int regs_set_entry(int vcpu_fd, const Bulkhead__X86Entry *x, struct err *e)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int r;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return err_errno(e, "cannot read vCPU 0's system registers");
	r = regs_fill_entry(x, &regs, &sregs, e);
	if (r < 0)
		return r;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		return err_errno(e, "KVM refuses the entry state's system "
				    "registers");
	if (ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return err_errno(e, "KVM refuses the entry state's registers");
	return 0;
}
