/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/x86_64/topology.h"

#include <errno.h>

/* Bits that number @count things; 0 for one thing. */
static unsigned int topology_width(unsigned int count)
{
	unsigned int bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

int topology_init(struct topology *ret, unsigned int max_cpus,
		  unsigned int threads, unsigned int cores, unsigned int dies,
		  unsigned int packages, struct err *e)
{
	if (max_cpus < 1 || max_cpus > TOPOLOGY_MAX_CPUS)
		return err_set(e, -EINVAL, "%u vCPUs: 1 to %u are possible",
			       max_cpus, TOPOLOGY_MAX_CPUS);
	if (!threads && !cores && !dies && !packages) {
		threads = dies = packages = 1;
		cores = max_cpus;
	}
	/* Each at most max_cpus (254), so the product of four fits 32 bits. */
	if (!threads || !cores || !dies || !packages || threads > max_cpus ||
	    cores > max_cpus || dies > max_cpus || packages > max_cpus ||
	    threads * cores * dies * packages != max_cpus)
		return err_set(
			e, -EINVAL,
			"CPU topology %u:%u:%u:%u (threads per core, "
			"cores per die, dies per package, packages): the "
			"product must be the maximum of %u vCPUs",
			threads, cores, dies, packages, max_cpus);
	*ret = (struct topology){
		.max_cpus = max_cpus,
		.threads = threads,
		.cores = cores,
		.dies = dies,
		.packages = packages,
		.thread_bits = topology_width(threads),
		.core_bits = topology_width(cores),
		.die_bits = topology_width(dies),
	};
	return 0;
}

uint32_t topology_apic_id(const struct topology *t, unsigned int index)
{
	unsigned int thread, core, die, package;

	check(index < t->max_cpus);
	thread = index % t->threads;
	index /= t->threads;
	core = index % t->cores;
	index /= t->cores;
	die = index % t->dies;
	package = index / t->dies;
	return (uint32_t)(((package << t->die_bits | die) << t->core_bits |
			   core) << t->thread_bits |
			  thread);
}
