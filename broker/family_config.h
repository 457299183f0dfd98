/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_FAMILY_CONFIG_H
#define BROKER_FAMILY_CONFIG_H

/* The configuration as messages; what core and loader are both told. */

#include "broker/family.h"
#include "proto/core.pb-c.h"
#include "proto/loader.pb-c.h"

struct family_cpus {
	Bulkhead__CpuConfig msg;
	Bulkhead__CpuAffinity *affinity;
	Bulkhead__CpuAffinity **list;
};

/** family_fill_cpus() - Return: 0 or -ENOMEM; to be freed in any case */
int family_fill_cpus(const struct config_cpus *c, struct family_cpus *ret);
void family_free_cpus(struct family_cpus *c);
void family_fill_memory(const struct config_memory *c,
			Bulkhead__MemoryConfig *m);
void family_fill_platform(const struct config_platform *c,
			  Bulkhead__PlatformConfig *m);

void family_fill_hello(Bulkhead__Hello *hello);
/** family_on_hello() - Its answer: a refusal ends the process */
void family_on_hello(struct child *c, const struct envelope *env, int *fds,
		     void *arg);

#endif
