/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/arch.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/cpuid.h"
#include "vmm-core/arch/x86_64/regs.h"
#include "vmm-core/arch/x86_64/topology.h"

#define ARCH_PHYS_BITS_DEFAULT 46
#define ARCH_PHYS_BITS_MIN     36
#define ARCH_XAPIC_ID_MAX      254 /* 255 is broadcast */

struct arch {
	struct cpuid_config config;
	struct cpuid_table table; /* applied when the TSC's rate is known */
	bool applied;
	bool x2apic; /* ids that xAPIC mode can't hold */
};

static int arch_read_cpuid(struct hv *hv, struct cpuid_table *t, struct err *e)
{
	_Static_assert(offsetof(struct cpuid_table, entries) ==
			       sizeof(struct kvm_cpuid2),
		       "laid out as the kernel's table");
	t->nent = CPUID_MAX_ENTRIES;
	if (ioctl(hv_fd(hv), KVM_GET_SUPPORTED_CPUID, t) < 0)
		return err_errno(e, "cannot read the CPUID leaves that this "
				    "host's KVM supports");
	if (t->nent > CPUID_MAX_ENTRIES)
		return err_set(e, -E2BIG, "KVM gives %u CPUID leaves", t->nent);
	return 0;
}

static int arch_phys_bits(const struct hv_caps *caps, uint32_t asked,
			  unsigned int *ret, struct err *e)
{
	unsigned int want = asked ? asked : ARCH_PHYS_BITS_DEFAULT;

	if (want < ARCH_PHYS_BITS_MIN)
		return err_set(e, -EINVAL,
			       "max_phys_bits=%u is too small: at least %u",
			       want, ARCH_PHYS_BITS_MIN);
	*ret = want < caps->phys_bits ? want : caps->phys_bits;
	return 0;
}

int arch_new(struct hv *hv, const struct hv_caps *caps,
	     const Bulkhead__CpuConfig *cfg, struct arch **ret,
	     unsigned int *ret_phys_bits, struct err *e)
{
	auto_free struct arch *a = calloc(1, sizeof(*a));
	struct cpuid_config *c;
	int r;

	if (!a)
		return err_set(e, -ENOMEM, "no memory for CPUID leaves");
	c = &a->config;
	r = topology_init(&c->topology, cfg->max, cfg->threads_per_core,
			  cfg->cores_per_die, cfg->dies_per_package,
			  cfg->packages, e);
	if (r < 0)
		return r;
	if (!cfg->boot || cfg->boot > cfg->max)
		return err_set(e, -EINVAL,
			       "%u boot vCPUs of at most %u: give 1 to %u",
			       cfg->boot, cfg->max, cfg->max);
	r = arch_phys_bits(caps, cfg->max_phys_bits, &c->phys_bits, e);
	if (r == 0)
		r = arch_read_cpuid(hv, &a->table, e);
	if (r < 0)
		return r;
	a->x2apic = topology_apic_id(&c->topology, cfg->max - 1) >
		    ARCH_XAPIC_ID_MAX;
	if (a->x2apic && !caps->x2apic_ext_dest)
		return err_set(e, -ENOSYS,
			       "this CPU topology needs APIC ids above %u, "
			       "which this host's KVM cannot address",
			       ARCH_XAPIC_ID_MAX);
	c->nested = cfg->nested;
	c->msi_ext_dest = caps->x2apic_ext_dest;
	c->tsc_deadline = ioctl(hv_fd(hv), KVM_CHECK_EXTENSION,
				KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	*ret_phys_bits = c->phys_bits;
	*ret = take_ptr(a);
	return 0;
}

void arch_free(struct arch *a)
{
	free(a);
}

unsigned int arch_vcpu_id(const struct arch *a, unsigned int index)
{
	return topology_apic_id(&a->config.topology, index);
}

uint64_t arch_tsc_khz(const struct arch *a)
{
	return a->config.tsc_khz;
}

/* The TSC's rate is a vCPU's property: known with the first one. */
static int arch_apply(struct arch *a, int vcpu_fd, struct err *e)
{
	int khz = ioctl(vcpu_fd, KVM_GET_TSC_KHZ, 0);
	int r;

	a->config.tsc_khz = khz > 0 ? (uint64_t)khz : 0;
	r = cpuid_apply(&a->table, &a->config);
	if (r < 0)
		return err_set(e, r, "too many CPUID leaves");
	a->applied = true;
	return 0;
}

int arch_vcpu_init(struct arch *a, struct hv_vcpu *v, unsigned int index,
		   struct err *e)
{
	struct kvm_mp_state mp = {
		.mp_state = index ? KVM_MP_STATE_UNINITIALIZED
				  : KVM_MP_STATE_RUNNABLE,
	};
	int fd = hv_vcpu_fd(v), r;

	if (!a->applied) {
		r = arch_apply(a, fd, e);
		if (r < 0)
			return r;
	}
	cpuid_personalize(&a->table, &a->config, index);
	if (ioctl(fd, KVM_SET_CPUID2, &a->table) < 0)
		return err_errno(e, "KVM refuses vCPU %u's CPUID leaves",
				 index);
	r = regs_init(fd, a->x2apic, e);
	if (r < 0)
		return r;
	/* The others wait for INIT and SIPI from the guest. */
	if (ioctl(fd, KVM_SET_MP_STATE, &mp) < 0)
		return err_errno(e, "KVM refuses vCPU %u's run state", index);
	return 0;
}

int arch_vcpu_set_entry(struct hv_vcpu *v, const Bulkhead__EntryState *entry,
			struct err *e)
{
	if (!entry || entry->arch_case != BULKHEAD__ENTRY_STATE__ARCH_X86)
		return err_set(e, -EBADMSG, "no x86 entry state given");
	return regs_set_entry(hv_vcpu_fd(v), entry->x86, e);
}
