/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/x86_64/regs.h"

#include <criterion/criterion.h>
#include <errno.h>

static Bulkhead__X86Entry x;
static struct kvm_regs regs;
static struct kvm_sregs sregs;
static struct err e;

static void make(void)
{
	x = (Bulkhead__X86Entry)BULKHEAD__X86_ENTRY__INIT;
	x.rip = 0x1000200;
	x.rsp = 0x8ff0;
	x.rbx = 0x6000;
	x.rsi = 0x7000;
	x.gdt_base = 0x500;
	x.gdt_limit = 31;
}

TestSuite(regs, .init = make);

Test(regs, protected_mode)
{
	cr_assert_eq(regs_fill_entry(&x, &regs, &sregs, &e), 0);
	cr_expect_eq(regs.rip, 0x1000200);
	cr_expect_eq(regs.rbx, 0x6000);
	cr_expect_eq(regs.rflags, 2);
	cr_expect_eq(sregs.cr0, 0x11);
	cr_expect_eq(sregs.cr4, 0);
	cr_expect_eq(sregs.efer, 0);
	cr_expect_eq(sregs.cs.db, 1);
	cr_expect_eq(sregs.cs.l, 0);
	cr_expect_eq(sregs.cs.type, 11);
	cr_expect_eq(sregs.ss.type, 3);
	cr_expect_eq(sregs.ds.limit, 0xffffffff);
	cr_expect_eq(sregs.tr.limit, 0x67);
	cr_expect_eq(sregs.tr.type, 11);
}

Test(regs, long_mode)
{
	x.long_mode = true;
	x.cr3 = 0xa000;
	cr_assert_eq(regs_fill_entry(&x, &regs, &sregs, &e), 0);
	cr_expect_eq(sregs.cr0, 0x80000011);
	cr_expect_eq(sregs.cr3, 0xa000);
	cr_expect_eq(sregs.cr4, 0x20);
	cr_expect_eq(sregs.efer, 0x500);
	cr_expect_eq(sregs.cs.selector, 0x10);
	cr_expect_eq(sregs.ds.selector, 0x18);
	cr_expect_eq(sregs.cs.l, 1);
	cr_expect_eq(sregs.cs.db, 0);
	cr_expect_eq(sregs.gdt.base, 0x500);
	cr_expect_eq(sregs.gdt.limit, 31);
}

Test(regs, refuses_the_impossible)
{
	x.rip = 1ull << 32;
	cr_expect_eq(regs_fill_entry(&x, &regs, &sregs, &e), -EBADMSG);
	x.long_mode = true;
	x.cr3 = 0xa000;
	cr_expect_eq(regs_fill_entry(&x, &regs, &sregs, &e), 0);
	x.cr3 = 0xa001;
	cr_expect_eq(regs_fill_entry(&x, &regs, &sregs, &e), -EBADMSG);
	x.cr3 = 1ull << 40;
	cr_expect_eq(regs_fill_entry(&x, &regs, &sregs, &e), -EBADMSG);
	x.cr3 = 0xa000;
	x.rip = 1ull << 62;
	cr_expect_eq(regs_fill_entry(&x, &regs, &sregs, &e), -EBADMSG);
	make();
	x.gdt_limit = 0x10000;
	cr_expect_eq(regs_fill_entry(&x, &regs, &sregs, &e), -EBADMSG);
}
