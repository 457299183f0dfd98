/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_ARCH_X86_64_TOPOLOGY_H
#define VMM_CORE_ARCH_X86_64_TOPOLOGY_H

/*
 * Which APIC id the vCPU of an index has. The core's CPUID leaves and the
 * loader's MADT must agree, so both ask here. Pure arithmetic.
 *
 * An APIC id is four fields, lowest first: thread in core, core in die, die
 * in package, package; each as wide as its count needs (a power of two), so
 * that an operating system can cut the id apart by shifting (Intel SDM 3A,
 * 9.9.1). vCPU indexes count threads first, then cores, dies, packages.
 */

#include <stdint.h>

#include "common/base/err.h"

#define TOPOLOGY_MAX_CPUS 254 /* 8-bit APIC ids of IOAPIC and MSI */

struct topology {
	unsigned int max_cpus;
	unsigned int threads; /* per core */
	unsigned int cores;   /* per die */
	unsigned int dies;    /* per package */
	unsigned int packages;
	/* Widths of the fields, bits; CPUID 0xb/0x1f shift by their sums. */
	unsigned int thread_bits;
	unsigned int core_bits;
	unsigned int die_bits;
};

/**
 * topology_init() - Check a topology and compute the field widths
 * @threads: Per core, with @cores (per die), @dies (per package), @packages;
 *           all 0 = one thread, @max_cpus cores, one die, one package
 *
 * Return: 0; -EINVAL when the product is not @max_cpus, only some are 0,
 *         @max_cpus is not 1 to TOPOLOGY_MAX_CPUS
 */
int topology_init(struct topology *ret, unsigned int max_cpus,
		  unsigned int threads, unsigned int cores, unsigned int dies,
		  unsigned int packages, struct err *e);

/**
 * topology_apic_id() - x2APIC id of vCPU @index (< max_cpus)
 *
 * Above 254 only when counts that are no powers of two leave gaps.
 */
uint32_t topology_apic_id(const struct topology *t, unsigned int index);

#endif
