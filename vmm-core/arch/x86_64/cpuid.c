/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/x86_64/cpuid.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <string.h>

#include "common/base/num.h"

#define LEAF_TOPOLOGY	 0xbu
#define LEAF_TOPOLOGY_V2 0x1fu
#define LEAF_TSC	 0x15u
#define LEAF_FREQUENCY	 0x16u
#define LEAF_HV_MAX	 0x40000000u
#define LEAF_HV_TIMING	 0x40000010u
#define LEAF_AMD_CACHE	 0x8000001du
#define LEAF_AMD_TOPO	 0x8000001eu
#define LEAF_AMD_TOPO_V2 0x80000026u

#define VENDOR_INTEL 0x756e6547u /* "Genu" */
#define VENDOR_AMD   0x68747541u /* "Auth" */
#define VENDOR_HYGON 0x6f677948u /* "Hygo" */

#define F1_ECX_VMX	    (1u << 5)
#define F1_ECX_X2APIC	    (1u << 21)
#define F1_ECX_TSC_DEADLINE (1u << 24)
#define F1_ECX_HYPERVISOR   (1u << 31)
#define F1_EDX_HTT	    (1u << 28)
#define FX1_ECX_CMP_LEGACY  (1u << 1)
#define FX1_ECX_SVM	    (1u << 2)
#define FX1_ECX_TOPOEXT	    (1u << 22)

#define LAPIC_BUS_HZ 1000000000u
/* Linux computes crystal kHz * numerator in 32 bits. */
#define TSC_RATIO_MAX 4294u

/* Levels of the topology leaves: what the next shift cuts off. */
enum cpuid_level { LEVEL_INVALID, LEVEL_SMT, LEVEL_CORE, LEVEL_DIE = 5 };

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t function,
				    uint32_t index)
{
	for (uint32_t i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function != function)
			continue;
		if (e->index == index ||
		    !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX))
			return e;
	}
	return NULL;
}

/* The entry, cleared; made when it isn't there. NULL when the table is full. */
static struct kvm_cpuid_entry2 *cpuid_put(struct cpuid_table *t,
					  uint32_t function, uint32_t index,
					  bool has_index)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, function, index);

	if (!e) {
		if (t->nent == CPUID_MAX_ENTRIES)
			return NULL;
		e = &t->entries[t->nent++];
	}
	memset(e, 0, sizeof(*e));
	e->function = function;
	e->index = index;
	e->flags = has_index ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	return e;
}

static void cpuid_drop(struct cpuid_table *t, uint32_t function)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->nent; i++)
		if (t->entries[i].function != function)
			t->entries[n++] = t->entries[i];
	t->nent = n;
}

static uint32_t cpuid_vendor(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 0, 0);

	return e ? e->ebx : 0;
}

static bool cpuid_is_amd(struct cpuid_table *t)
{
	uint32_t v = cpuid_vendor(t);

	return v == VENDOR_AMD || v == VENDOR_HYGON;
}

static void cpuid_raise_max(struct cpuid_table *t, uint32_t base, uint32_t max)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, base, 0);

	if (e && e->eax < max)
		e->eax = max;
}

static unsigned int cpuid_package_bits(const struct topology *p)
{
	return p->thread_bits + p->core_bits + p->die_bits;
}

static uint32_t cpuid_threads_in_package(const struct topology *p)
{
	return p->threads * p->cores * p->dies;
}

static void cpuid_features(struct cpuid_table *t, const struct cpuid_config *c)
{
	uint32_t threads = cpuid_threads_in_package(&c->topology);
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);
	uint32_t room = 1u << cpuid_package_bits(&c->topology);

	if (e) {
		e->ecx |= F1_ECX_HYPERVISOR | F1_ECX_X2APIC;
		if (c->tsc_deadline)
			e->ecx |= F1_ECX_TSC_DEADLINE;
		if (!c->nested)
			e->ecx &= ~F1_ECX_VMX;
		e->edx &= ~F1_EDX_HTT;
		if (threads > 1)
			e->edx |= F1_EDX_HTT;
		/* Bits 23:16: ids reserved for one package. */
		e->ebx = (e->ebx & 0xff00ffffu) | (room > 255 ? 255 : room)
							  << 16;
	}
	e = cpuid_find(t, 0x80000001, 0);
	if (e) {
		if (!c->nested)
			e->ecx &= ~FX1_ECX_SVM;
		e->ecx &= ~FX1_ECX_CMP_LEGACY;
		if (threads > 1 && cpuid_is_amd(t))
			e->ecx |= FX1_ECX_CMP_LEGACY;
	}
	if (!c->nested)
		cpuid_drop(t, 0x8000000a);
}

static void cpuid_address_sizes(struct cpuid_table *t,
				const struct cpuid_config *c)
{
	const struct topology *p = &c->topology;
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 0x80000008, 0);

	if (!e)
		return;
	/* Bits 23:16, a width for guests of its own, would override 7:0. */
	e->eax = (e->eax & 0xff00ff00u) | c->phys_bits;
	if (cpuid_is_amd(t))
		e->ecx = (e->ecx & 0xffff0f00u) |
			 (uint32_t)cpuid_package_bits(p) << 12 |
			 ((cpuid_threads_in_package(p) - 1) & 0xff);
}

/* Who shares a cache: L1 and L2 a core's threads, L3 and above a die. */
static void cpuid_caches(struct cpuid_table *t, const struct cpuid_config *c)
{
	const struct topology *p = &c->topology;
	uint32_t cores = 1u << (p->core_bits + p->die_bits);

	for (uint32_t i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];
		uint32_t level = (e->eax >> 5) & 7, sharing;

		if ((e->function != 4 && e->function != LEAF_AMD_CACHE) ||
		    !(e->eax & 0x1f))
			continue;
		sharing = 1u << (level >= 3 ? p->thread_bits + p->core_bits
					    : p->thread_bits);
		e->eax = (e->eax & 0x3fffu) | ((sharing - 1) & 0xfff) << 14;
		if (e->function == 4)
			e->eax |= (cores > 64 ? 63 : cores - 1) << 26;
	}
}

/* One level of leaf 0xb or 0x1f: ids shift right by @shift past it. */
static int cpuid_level(struct cpuid_table *t, uint32_t leaf, uint32_t index,
		       enum cpuid_level level, unsigned int shift,
		       uint32_t threads)
{
	struct kvm_cpuid_entry2 *e = cpuid_put(t, leaf, index, true);

	if (!e)
		return -ENOSPC;
	e->eax = shift;
	e->ebx = threads;
	e->ecx = index | (uint32_t)level << 8;
	return 0;
}

static int cpuid_intel_levels(struct cpuid_table *t, uint32_t leaf,
			      const struct topology *p, bool with_dies)
{
	unsigned int all = cpuid_package_bits(p);
	uint32_t in_die = p->threads * p->cores, index = 0;
	int r;

	cpuid_drop(t, leaf);
	r = cpuid_level(t, leaf, index++, LEVEL_SMT, p->thread_bits,
			p->threads);
	if (r == 0 && with_dies) {
		r = cpuid_level(t, leaf, index++, LEVEL_CORE,
				p->thread_bits + p->core_bits, in_die);
		if (r == 0)
			r = cpuid_level(t, leaf, index++, LEVEL_DIE, all,
					in_die * p->dies);
	} else if (r == 0) {
		r = cpuid_level(t, leaf, index++, LEVEL_CORE, all,
				in_die * p->dies);
	}
	return r < 0 ? r : cpuid_level(t, leaf, index, LEVEL_INVALID, 0, 0);
}

static int cpuid_amd_topology(struct cpuid_table *t, const struct topology *p)
{
	struct kvm_cpuid_entry2 *max = cpuid_find(t, 0x80000000, 0);
	struct kvm_cpuid_entry2 *features = cpuid_find(t, 0x80000001, 0);
	uint32_t in_die = p->threads * p->cores;
	int r;

	if (!max || !features)
		return 0;
	/* The leaf only informs, so a host without it is no obstacle; without
	 * threads nobody misses it. */
	if (max->eax < LEAF_AMD_TOPO || !(features->ecx & FX1_ECX_TOPOEXT)) {
		if (p->threads == 1)
			return 0;
		features->ecx |= FX1_ECX_TOPOEXT;
		cpuid_raise_max(t, 0x80000000, LEAF_AMD_TOPO);
	}
	if (!cpuid_put(t, LEAF_AMD_TOPO, 0, false))
		return -ENOSPC;
	if (max->eax < LEAF_AMD_TOPO_V2)
		return 0;
	/* Levels here: 1 core (its threads), 3 die, 4 socket (APM 3, E.4.24) */
	cpuid_drop(t, LEAF_AMD_TOPO_V2);
	r = cpuid_level(t, LEAF_AMD_TOPO_V2, 0, (enum cpuid_level)1,
			p->thread_bits, p->threads);
	if (r == 0)
		r = cpuid_level(t, LEAF_AMD_TOPO_V2, 1, (enum cpuid_level)3,
				p->thread_bits + p->core_bits, in_die);
	if (r == 0)
		r = cpuid_level(t, LEAF_AMD_TOPO_V2, 2, (enum cpuid_level)4,
				cpuid_package_bits(p), in_die * p->dies);
	return r < 0 ? r
		     : cpuid_level(t, LEAF_AMD_TOPO_V2, 3, LEVEL_INVALID, 0, 0);
}

static int cpuid_topology(struct cpuid_table *t, const struct cpuid_config *c)
{
	const struct topology *p = &c->topology;
	bool intel = cpuid_vendor(t) == VENDOR_INTEL;
	int r;

	cpuid_raise_max(t, 0, LEAF_TOPOLOGY);
	r = cpuid_intel_levels(t, LEAF_TOPOLOGY, p, false);
	cpuid_drop(t, LEAF_TOPOLOGY_V2);
	if (r == 0 && intel) {
		cpuid_raise_max(t, 0, LEAF_TOPOLOGY_V2);
		r = cpuid_intel_levels(t, LEAF_TOPOLOGY_V2, p, true);
	}
	if (r == 0 && cpuid_is_amd(t))
		r = cpuid_amd_topology(t, p);
	return r;
}

/*
 * Convergents of the continued fraction, each closer than the one before; the
 * last step goes only as far as the limit lets it, if that is closer still.
 */
void cpuid_tsc_ratio(uint64_t tsc_khz, uint32_t *ret_num, uint32_t *ret_den)
{
	uint64_t a = tsc_khz, b = 1000000, n0 = 0, n1 = 1, d0 = 1, d1 = 0;

	while (b) {
		uint64_t q = a / b, k = q, rest = a % b, n2, d2;

		if (q * n1 + n0 > TSC_RATIO_MAX)
			k = (TSC_RATIO_MAX - n0) / n1;
		n2 = k * n1 + n0;
		d2 = k * d1 + d0;
		if (k < q && 2 * k <= q)
			break;
		n0 = n1;
		n1 = n2;
		d0 = d1;
		d1 = d2;
		a = b;
		b = k < q ? 0 : rest;
	}
	*ret_num = d1 ? (uint32_t)n1 : 0;
	*ret_den = d1 ? (uint32_t)d1 : 1;
}

static int cpuid_frequencies(struct cpuid_table *t,
			     const struct cpuid_config *c)
{
	struct kvm_cpuid_entry2 *e;

	if (!c->tsc_khz)
		return 0;
	e = cpuid_put(t, LEAF_HV_TIMING, 0, false);
	if (!e)
		return -ENOSPC;
	e->eax = (uint32_t)min_u64(c->tsc_khz, UINT32_MAX);
	e->ebx = LAPIC_BUS_HZ / 1000;
	cpuid_raise_max(t, LEAF_HV_MAX, LEAF_HV_TIMING);
	if (cpuid_vendor(t) != VENDOR_INTEL)
		return 0;
	cpuid_raise_max(t, 0, LEAF_FREQUENCY);
	e = cpuid_put(t, LEAF_TSC, 0, false);
	if (!e)
		return -ENOSPC;
	/* The crystal is also the LAPIC timer's clock. */
	cpuid_tsc_ratio(c->tsc_khz, &e->ebx, &e->eax);
	e->ecx = LAPIC_BUS_HZ;
	e = cpuid_put(t, LEAF_FREQUENCY, 0, false);
	if (!e)
		return -ENOSPC;
	e->eax = e->ebx = (uint32_t)(c->tsc_khz / 1000) & 0xffff;
	e->ecx = 100;
	return 0;
}

int cpuid_apply(struct cpuid_table *t, const struct cpuid_config *c)
{
	struct kvm_cpuid_entry2 *e;
	int r;

	cpuid_features(t, c);
	cpuid_address_sizes(t, c);
	cpuid_caches(t, c);
	r = cpuid_topology(t, c);
	if (r < 0)
		return r;
	e = cpuid_find(t, KVM_CPUID_FEATURES, 0);
	if (e && c->msi_ext_dest)
		e->eax |= 1u << KVM_FEATURE_MSI_EXT_DEST_ID;
	return cpuid_frequencies(t, c);
}

void cpuid_personalize(struct cpuid_table *t, const struct cpuid_config *c,
		       unsigned int vcpu_index)
{
	const struct topology *p = &c->topology;
	uint32_t id = topology_apic_id(p, vcpu_index);
	uint32_t core = (id >> p->thread_bits) & ((1u << p->core_bits) - 1);
	uint32_t die = (id >> (p->thread_bits + p->core_bits)) &
		       ((1u << p->die_bits) - 1);

	for (uint32_t i = 0; i < t->nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0x00ffffffu) | id << 24;
			break;
		case LEAF_TOPOLOGY:
		case LEAF_TOPOLOGY_V2:
		case LEAF_AMD_TOPO_V2:
			e->edx = id;
			break;
		case LEAF_AMD_TOPO:
			if (!cpuid_is_amd(t))
				break;
			e->eax = id;
			e->ebx = (p->threads - 1) << 8 | core;
			e->ecx = (p->dies - 1) << 8 | die;
			break;
		default:
			break;
		}
	}
}
