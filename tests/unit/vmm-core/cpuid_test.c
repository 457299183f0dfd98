/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/x86_64/cpuid.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define INTEL 0x756e6547u
#define AMD   0x68747541u

static struct cpuid_table t;
static struct cpuid_config c;

static struct kvm_cpuid_entry2 *add(uint32_t function, uint32_t index,
				    uint32_t eax, uint32_t ebx, uint32_t ecx,
				    uint32_t edx)
{
	struct kvm_cpuid_entry2 *e = &t.entries[t.nent++];

	*e = (struct kvm_cpuid_entry2){.function = function,
				       .index = index,
				       .eax = eax,
				       .ebx = ebx,
				       .ecx = ecx,
				       .edx = edx};
	if (function == 4 || function == 0xb || function == 0x8000001d)
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	return e;
}

/* 12 vCPUs: 2 threads, 3 cores, 2 packages; ids have 1 + 2 + 0 bits below the
 * package. */
static void make(uint32_t vendor)
{
	struct err e;

	memset(&t, 0, sizeof(t));
	memset(&c, 0, sizeof(c));
	add(0, 0, 0xd, vendor, 0, 0);
	add(1, 0, 0, 0x12345678, 1u << 5, 1u << 28);
	add(4, 0, 0x121, 0, 0, 0); /* L1 */
	add(4, 3, 0x163, 0, 0, 0); /* L3 */
	add(0x40000000, 0, 0x40000001, 0, 0, 0);
	add(0x40000001, 0, 0, 0, 0, 0);
	add(0x80000000, 0, vendor == AMD ? 0x8000001e : 0x80000008, 0, 0, 0);
	add(0x80000001, 0, 0, 0, 1u << 2, 0);
	add(0x80000008, 0, 0x00303030, 0, 0xffffffff, 0);
	if (vendor == AMD) {
		add(0x8000000a, 0, 1, 2, 3, 4);
		add(0x8000001d, 3, 0x163, 0, 0, 0);
	}
	cr_assert_eq(topology_init(&c.topology, 12, 2, 3, 1, 2, &e), 0, "%s",
		     e.text);
	c.phys_bits = 46;
	c.tsc_khz = 2596142;
	c.msi_ext_dest = true;
	c.tsc_deadline = true;
}

static void expect_leaf(uint32_t leaf, uint32_t index, uint32_t eax,
			uint32_t ebx, uint32_t ecx)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(&t, leaf, index);

	cr_assert(e, "leaf 0x%x.%u is missing", leaf, index);
	cr_expect_eq(e->eax, eax, "0x%x.%u eax 0x%x", leaf, index, e->eax);
	cr_expect_eq(e->ebx, ebx, "0x%x.%u ebx 0x%x", leaf, index, e->ebx);
	cr_expect_eq(e->ecx, ecx, "0x%x.%u ecx 0x%x", leaf, index, e->ecx);
}

Test(cpuid, intel_topology)
{
	make(INTEL);
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	expect_leaf(0xb, 0, 1, 2, 0x100);
	expect_leaf(0xb, 1, 3, 6, 0x201);
	expect_leaf(0xb, 2, 0, 0, 0x002);
	expect_leaf(0x1f, 0, 1, 2, 0x100);
	expect_leaf(0x1f, 1, 3, 6, 0x201);
	expect_leaf(0x1f, 2, 3, 6, 0x502);
	expect_leaf(0x1f, 3, 0, 0, 0x003);
	cr_expect_geq(cpuid_find(&t, 0, 0)->eax, 0x1f);
	/* L1 of a core, L3 of the package, room for 4 cores */
	cr_expect_eq(cpuid_find(&t, 4, 0)->eax, 0x121u | 1 << 14 | 3 << 26);
	cr_expect_eq(cpuid_find(&t, 4, 3)->eax, 0x163u | 7 << 14 | 3 << 26);
	cr_expect_eq(cpuid_find(&t, 1, 0)->ebx >> 16 & 0xff, 8);
}

Test(cpuid, amd_topology)
{
	make(AMD);
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	expect_leaf(0xb, 1, 3, 6, 0x201);
	cr_expect_null(cpuid_find(&t, 0x1f, 0));
	cr_expect_eq(cpuid_find(&t, 0x8000001d, 3)->eax, 0x163u | 7 << 14);
	cr_expect_eq(cpuid_find(&t, 0x80000008, 0)->ecx & 0xf0ff, 0x3005);
	cr_expect(cpuid_find(&t, 0x80000001, 0)->ecx & 2);
	cpuid_personalize(&t, &c, 11); /* package 1, core 2, thread 1 */
	expect_leaf(0x8000001e, 0, 13, 0x102, 0);
}

Test(cpuid, amd_threads_show_on_a_host_without_the_leaf)
{
	make(AMD);
	cpuid_find(&t, 0x80000000, 0)->eax = 0x80000008;
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	cpuid_personalize(&t, &c, 1);
	expect_leaf(0x8000001e, 0, 1, 0x100, 0);
	cr_expect_eq(cpuid_find(&t, 0x80000000, 0)->eax, 0x8000001e);
	cr_expect(cpuid_find(&t, 0x80000001, 0)->ecx & 1u << 22);
}

Test(cpuid, each_vcpu_has_its_id)
{
	static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};

	make(INTEL);
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	for (unsigned int i = 0; i < 12; i++) {
		cpuid_personalize(&t, &c, i);
		cr_expect_eq(cpuid_find(&t, 1, 0)->ebx >> 24, ids[i]);
		cr_expect_eq(cpuid_find(&t, 0xb, 0)->edx, ids[i]);
		cr_expect_eq(cpuid_find(&t, 0xb, 2)->edx, ids[i]);
		cr_expect_eq(cpuid_find(&t, 0x1f, 3)->edx, ids[i]);
	}
	cr_expect_eq(cpuid_find(&t, 1, 0)->ebx & 0xffff, 0x5678);
}

Test(cpuid, features)
{
	struct kvm_cpuid_entry2 *e;

	make(AMD);
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	e = cpuid_find(&t, 1, 0);
	cr_expect_eq(e->ecx, 1u << 31 | 1u << 24 | 1u << 21);
	cr_expect(e->edx & 1u << 28);
	cr_expect_eq(cpuid_find(&t, 0x80000001, 0)->ecx & 1u << 2, 0);
	cr_expect_null(cpuid_find(&t, 0x8000000a, 0));
	cr_expect_eq(cpuid_find(&t, 0x80000008, 0)->eax, 0x302e);
	cr_expect_eq(cpuid_find(&t, 0x40000001, 0)->eax, 1u << 15);
	make(AMD);
	c.nested = true;
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	cr_expect(cpuid_find(&t, 0x80000001, 0)->ecx & 1u << 2);
	cr_expect(cpuid_find(&t, 1, 0)->ecx & 1u << 5);
	cr_expect_not_null(cpuid_find(&t, 0x8000000a, 0));
}

Test(cpuid, one_thread_is_no_multithreading)
{
	struct err e;

	make(AMD);
	cr_assert_eq(topology_init(&c.topology, 1, 0, 0, 0, 0, &e), 0);
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	cr_expect_eq(cpuid_find(&t, 1, 0)->edx & 1u << 28, 0);
	expect_leaf(0xb, 0, 0, 1, 0x100);
	expect_leaf(0xb, 1, 0, 1, 0x201);
}

Test(cpuid, frequencies)
{
	struct kvm_cpuid_entry2 *e;
	double hz;

	make(INTEL);
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	cr_expect_eq(cpuid_find(&t, 0x40000010, 0)->eax, 2596142);
	cr_expect_eq(cpuid_find(&t, 0x40000000, 0)->eax, 0x40000010);
	e = cpuid_find(&t, 0x15, 0);
	cr_assert(e);
	hz = (double)e->ecx * e->ebx / e->eax;
	cr_expect_float_eq(hz / 2596142000.0, 1.0, 1e-5);
	/* Linux multiplies in 32 bits: crystal kHz * ebx */
	cr_expect_leq(1000000ull * e->ebx, (uint64_t)UINT32_MAX);
	cr_expect_eq(cpuid_find(&t, 0x16, 0)->eax, 2596);
	make(INTEL);
	c.tsc_khz = 0;
	cr_assert_eq(cpuid_apply(&t, &c), 0);
	cr_expect_null(cpuid_find(&t, 0x15, 0));
	cr_expect_null(cpuid_find(&t, 0x40000010, 0));
}

Test(cpuid, tsc_ratio_is_close_for_all_rates)
{
	for (uint64_t khz = 400000; khz < 6000000; khz += 997) {
		uint32_t num, den;
		double ratio;

		cpuid_tsc_ratio(khz, &num, &den);
		cr_assert(num && den && num <= 4294);
		ratio = (double)num / den * 1e6 / (double)khz;
		cr_assert_float_eq(ratio, 1.0, 1.3e-4, "%lu kHz: %u / %u",
				   (unsigned long)khz, num, den);
	}
}

Test(cpuid, a_full_table_is_an_error)
{
	make(INTEL);
	while (t.nent < CPUID_MAX_ENTRIES)
		add(0x12340000 + t.nent, 0, 0, 0, 0, 0);
	cr_expect_eq(cpuid_apply(&t, &c), -ENOSPC);
}
