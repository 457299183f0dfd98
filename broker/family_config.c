/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/family_config.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/channel/channel.h"

void family_fill_hello(Bulkhead__Hello *hello)
{
	hello->min_version = 1;
	hello->max_version = CHANNEL_VERSION;
	hello->log_level = log_get_level();
}

void family_on_hello(struct child *c, const struct envelope *env, int *fds,
		     void *arg)
{
	(void)fds;
	(void)arg;
	if (env->status->code)
		child_fail(c, env->status->text);
}

int family_fill_cpus(const struct config_cpus *c, struct family_cpus *ret)
{
	Bulkhead__CpuConfig init = BULKHEAD__CPU_CONFIG__INIT;

	ret->msg = init;
	ret->msg.boot = c->boot;
	ret->msg.max = c->max;
	if (c->has_topology) {
		ret->msg.threads_per_core = c->threads_per_core;
		ret->msg.cores_per_die = c->cores_per_die;
		ret->msg.dies_per_package = c->dies_per_package;
		ret->msg.packages = c->packages;
	}
	ret->msg.max_phys_bits = c->max_phys_bits;
	ret->msg.nested = c->nested;
	ret->affinity = calloc(c->num_affinity + 1, sizeof(*ret->affinity));
	ret->list = calloc(c->num_affinity + 1, sizeof(*ret->list));
	if (!ret->affinity || !ret->list)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->num_affinity; i++) {
		Bulkhead__CpuAffinity *a = &ret->affinity[i];

		bulkhead__cpu_affinity__init(a);
		a->vcpu = c->affinity[i].index;
		a->n_host_cpus = c->affinity[i].num_cpus;
		a->host_cpus = c->affinity[i].cpus;
		ret->list[i] = a;
	}
	ret->msg.n_affinity = c->num_affinity;
	ret->msg.affinity = ret->list;
	return 0;
}

void family_free_cpus(struct family_cpus *c)
{
	free(c->affinity);
	free(c->list);
}

void family_fill_memory(const struct config_memory *c,
			Bulkhead__MemoryConfig *m)
{
	m->size = c->size;
	m->hugepages = c->hugepages;
	m->hugepage_size = c->hugepage_size;
	m->prefault = c->prefault;
	m->thp = c->thp;
}

#define SET_TEXT(field, value)                                                 \
	do {                                                                   \
		if (value)                                                     \
			(field) = (value);                                     \
	} while (0)

void family_fill_platform(const struct config_platform *c,
			  Bulkhead__PlatformConfig *m)
{
	SET_TEXT(m->system_manufacturer, c->manufacturer);
	SET_TEXT(m->system_product_name, c->product_name);
	SET_TEXT(m->system_version, c->version);
	SET_TEXT(m->system_serial_number, c->serial_number);
	SET_TEXT(m->system_uuid, c->uuid);
	SET_TEXT(m->system_sku_number, c->sku_number);
	SET_TEXT(m->system_family, c->family);
	SET_TEXT(m->chassis_asset_tag, c->chassis_asset_tag);
	m->n_oem_strings = c->num_oem_strings;
	m->oem_strings = (char **)(uintptr_t)c->oem_strings;
}
