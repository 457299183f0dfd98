/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/option.h"
#include "common/base/num.h"

void config_init(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->cmdline = strdup("");
	c->cpus.boot = 1;
	c->cpus.max_phys_bits = 46;
	c->cpus.nested = true;
	c->memory.size = 512 * MIB;
	c->memory.thp = true;
	c->serial.mode = CONSOLE_NULL;
	c->console.mode = CONSOLE_TTY;
	c->debug_console.mode = CONSOLE_OFF;
	c->debug_console.iobase = 0xe9;
	c->rng_src = strdup("/dev/urandom");
	c->spares = true;
	check(c->cmdline && c->rng_src);
}

static void config_free_affinity(struct config_affinity **list)
{
	free(*list);
	*list = NULL;
}

void config_done(struct config *c)
{
	struct config_platform *p = &c->platform;

	free(c->name);
	free(c->kernel);
	free(c->initramfs);
	free(c->cmdline);
	config_free_affinity(&c->cpus.affinity);
	free(p->manufacturer);
	free(p->product_name);
	free(p->version);
	free(p->serial_number);
	free(p->uuid);
	free(p->sku_number);
	free(p->family);
	free(p->chassis_asset_tag);
	for (uint32_t i = 0; i < p->num_oem_strings; i++)
		free(p->oem_strings[i]);
	for (uint32_t i = 0; i < c->num_disks; i++) {
		free(c->disks[i].path);
		free(c->disks[i].serial);
		free(c->disks[i].id);
	}
	for (uint32_t i = 0; i < c->num_nets; i++) {
		free(c->nets[i].tap);
		free(c->nets[i].ip);
		free(c->nets[i].mask);
		free(c->nets[i].id);
	}
	free(c->serial.path);
	free(c->console.path);
	free(c->debug_console.path);
	free(c->rng_src);
	free(c->log_file);
	free(c->api_socket);
	memset(c, 0, sizeof(*c));
}

/* ---- affinity: [0@[0,2],1@[1-3]] ---- */

struct config_affinity_list {
	struct config_affinity **list;
	uint32_t *num;
};

static int config_affinity_cpu(const char *element, void *arg, struct err *e)
{
	struct config_affinity *a = arg;
	const char *dash = strchr(element, '-');
	char low[16];
	uint32_t first, last;

	snprintf(low, sizeof(low), "%.*s",
		 dash ? (int)(dash - element) : (int)strlen(element), element);
	if (option_u32(low, &first) < 0 ||
	    option_u32(dash ? dash + 1 : low, &last) < 0 || last < first ||
	    last > 4095)
		return err_set(e, -EINVAL,
			       "\"%s\" is no host CPU or range of CPUs",
			       element);
	for (; first <= last; first++) {
		if (a->num_cpus == CONFIG_MAX_HOST_CPUS)
			return err_set(e, -E2BIG, "more than %d host CPUs",
				       CONFIG_MAX_HOST_CPUS);
		a->cpus[a->num_cpus++] = first;
	}
	return 0;
}

static int config_affinity_element(const char *element, void *arg,
				   struct err *e)
{
	struct config_affinity_list *l = arg;
	const char *at = strchr(element, '@');
	struct config_affinity *a;
	char index[16];
	int r;

	if (*l->num == CONFIG_MAX_AFFINITY)
		return err_set(e, -E2BIG, "more than %d entries",
			       CONFIG_MAX_AFFINITY);
	a = realloc(*l->list, (*l->num + 1) * sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "no memory for an affinity list");
	*l->list = a;
	a += *l->num;
	memset(a, 0, sizeof(*a));
	if (at)
		snprintf(index, sizeof(index), "%.*s", (int)(at - element),
			 element);
	if (!at || option_u32(index, &a->index) < 0)
		return err_set(e, -EINVAL,
			       "\"%s\": give INDEX@[CPUS], such as 0@[0,2-3]",
			       element);
	for (uint32_t i = 0; i < *l->num; i++)
		if ((*l->list)[i].index == a->index)
			return err_set(e, -EINVAL,
				       "\"%s\": vCPU %u has a list already",
				       element, a->index);
	(*l->num)++;
	r = option_each(at + 1, config_affinity_cpu, a, e);
	if (r == 0 && !a->num_cpus)
		r = err_set(e, -EINVAL,
			    "\"%s\": give at least one host CPU, such as "
			    "%u@[0]",
			    element, a->index);
	return r;
}

static int config_parse_affinity(void *dst, const char *option, const char *key,
				 const char *value, struct err *e)
{
	int r = option_each(value, config_affinity_element, dst, e);

	return r < 0 ? (err_prefix(e, "%s %s=%s", option, key, value), r) : 0;
}

/* ---- --cpus ---- */

static int config_parse_topology(void *dst, const char *option, const char *key,
				 const char *value, struct err *e)
{
	struct config_cpus *c = dst;
	unsigned int v[4];
	int used = 0;

	if (sscanf(value, "%4u:%4u:%4u:%4u%n", &v[0], &v[1], &v[2], &v[3],
		   &used) != 4 ||
	    value[used])
		return option_error(e, option, key, value,
				    "give threads:cores:dies:packages, such "
				    "as 2:4:1:1");
	c->threads_per_core = v[0];
	c->cores_per_die = v[1];
	c->dies_per_package = v[2];
	c->packages = v[3];
	c->has_topology = true;
	if (!v[0] || !v[1] || !v[2] || !v[3])
		return option_error(e, option, key, value,
				    "each number must be at least 1");
	if (v[0] > 2)
		return option_error(e, option, key, value,
				    "x86-64 has 1 or 2 threads a core");
	return 0;
}

int config_parse_cpus(struct config *c, const char *value, struct err *e)
{
	struct config_affinity_list affinity = {&c->cpus.affinity,
						&c->cpus.num_affinity};
	const struct option_key keys[] = {
		{"boot", OPTION_U32, &c->cpus.boot, 1, CONFIG_MAX_CPUS, NULL,
		 NULL},
		{"max", OPTION_U32, &c->cpus.max, 1, CONFIG_MAX_CPUS, NULL,
		 NULL},
		{"topology", OPTION_CALL, &c->cpus, 0, 0, NULL,
		 config_parse_topology},
		{"affinity", OPTION_CALL, &affinity, 0, 0, NULL,
		 config_parse_affinity},
		{"max_phys_bits", OPTION_U32, &c->cpus.max_phys_bits, 36, 57,
		 NULL, NULL},
		{"nested", OPTION_BOOL, &c->cpus.nested, 0, 0, NULL, NULL},
	};
	uint32_t count;

	/* `--cpus 2` is what many type. */
	if (option_u32(value, &count) == 0) {
		if (!count || count > CONFIG_MAX_CPUS)
			return option_error(e, "--cpus", NULL, value,
					    "give 1 to %d CPUs",
					    CONFIG_MAX_CPUS);
		c->cpus.boot = count;
		return 0;
	}
	return option_parse("--cpus", value, keys, ARRAY_SIZE(keys), e);
}

/* ---- --memory ---- */

int config_parse_memory(struct config *c, const char *value, struct err *e)
{
	const struct option_key keys[] = {
		{"size", OPTION_SIZE, &c->memory.size, 0, 0, NULL, NULL},
		{"hugepages", OPTION_BOOL, &c->memory.hugepages, 0, 0, NULL,
		 NULL},
		{"hugepage_size", OPTION_SIZE, &c->memory.hugepage_size, 0, 0,
		 NULL, NULL},
		{"prefault", OPTION_BOOL, &c->memory.prefault, 0, 0, NULL,
		 NULL},
		{"shared", OPTION_BOOL, &c->memory.shared, 0, 0, NULL, NULL},
		{"thp", OPTION_BOOL, &c->memory.thp, 0, 0, NULL, NULL},
	};

	return option_parse("--memory", value, keys, ARRAY_SIZE(keys), e);
}

static int config_check_memory(const struct config_memory *m, struct err *e)
{
	char size[OPTION_SIZE_TEXT], page_size[OPTION_SIZE_TEXT];
	uint64_t page = m->hugepage_size ? m->hugepage_size : 2 * MIB;

	option_size_text(m->size, size);
	option_size_text(page, page_size);
	if (m->hugepage_size && !m->hugepages)
		return err_set(e, -EINVAL,
			       "--memory hugepage_size=%s: give hugepages=on "
			       "with it",
			       page_size);
	if (!is_pow2(page) || page < 2 * MIB)
		return err_set(e, -EINVAL,
			       "--memory hugepage_size=%s: give 2M or 1G, as "
			       "the host has them",
			       page_size);
	if (m->size < 16 * MIB || m->size > 16384 * GIB)
		return err_set(e, -EINVAL,
			       "--memory size=%s: give 16M to 16384G", size);
	if (m->size % page)
		return err_set(e, -EINVAL,
			       "--memory size=%s: give a multiple of %s", size,
			       page_size);
	return 0;
}

/* ---- --platform ---- */

static int config_add_oem(const char *element, void *arg, struct err *e)
{
	struct config_platform *p = arg;

	if (p->num_oem_strings == CONFIG_MAX_OEM)
		return err_set(e, -E2BIG, "more than %d strings",
			       CONFIG_MAX_OEM);
	p->oem_strings[p->num_oem_strings] = strdup(element);
	if (!p->oem_strings[p->num_oem_strings])
		return err_set(e, -ENOMEM, "no memory");
	p->num_oem_strings++;
	return 0;
}

static int config_parse_oem(void *dst, const char *option, const char *key,
			    const char *value, struct err *e)
{
	int r = option_each(value, config_add_oem, dst, e);

	return r < 0 ? (err_prefix(e, "%s %s=%s", option, key, value), r) : 0;
}

static int config_parse_uuid(void *dst, const char *option, const char *key,
			     const char *value, struct err *e)
{
	char **ret = dst;
	bool ok = strlen(value) == 36;

	for (int i = 0; ok && i < 36; i++)
		ok = i == 8 || i == 13 || i == 18 || i == 23
			     ? value[i] == '-'
			     : strchr("0123456789abcdefABCDEF", value[i]) !=
				       NULL;
	if (!ok)
		return option_error(e, option, key, value,
				    "give a UUID such as 01234567-89ab-cdef-"
				    "0123-456789abcdef");
	free(*ret);
	*ret = strdup(value);
	return *ret ? 0 : err_set(e, -ENOMEM, "no memory for %s", option);
}

int config_parse_platform(struct config *c, const char *value, struct err *e)
{
	struct config_platform *p = &c->platform;
	const struct option_key keys[] = {
		{"system_manufacturer", OPTION_TEXT, &p->manufacturer, 0, 128,
		 NULL, NULL},
		{"system_product_name", OPTION_TEXT, &p->product_name, 0, 128,
		 NULL, NULL},
		{"system_version", OPTION_TEXT, &p->version, 0, 128, NULL,
		 NULL},
		{"system_serial_number", OPTION_TEXT, &p->serial_number, 0, 128,
		 NULL, NULL},
		{"serial_number", OPTION_TEXT, &p->serial_number, 0, 128, NULL,
		 NULL},
		{"system_uuid", OPTION_CALL, &p->uuid, 0, 0, NULL,
		 config_parse_uuid},
		{"uuid", OPTION_CALL, &p->uuid, 0, 0, NULL, config_parse_uuid},
		{"system_sku_number", OPTION_TEXT, &p->sku_number, 0, 128, NULL,
		 NULL},
		{"system_family", OPTION_TEXT, &p->family, 0, 128, NULL, NULL},
		{"chassis_asset_tag", OPTION_TEXT, &p->chassis_asset_tag, 0,
		 128, NULL, NULL},
		{"oem_strings", OPTION_CALL, p, 0, 0, NULL, config_parse_oem},
	};

	return option_parse("--platform", value, keys, ARRAY_SIZE(keys), e);
}

/* ---- --disk ---- */

int config_add_disk(struct config *c, const char *value, struct err *e)
{
	struct config_disk *d = &c->disks[c->num_disks];
	const struct option_key keys[] = {
		{"path", OPTION_TEXT, &d->path, 1, 4095, NULL, NULL},
		{"readonly", OPTION_BOOL, &d->readonly, 0, 0, NULL, NULL},
		{"direct", OPTION_BOOL, &d->direct, 0, 0, NULL, NULL},
		{"sparse", OPTION_BOOL, &d->sparse, 0, 0, NULL, NULL},
		{"num_queues", OPTION_U32, &d->num_queues, 1, 32, NULL, NULL},
		{"queue_size", OPTION_U32, &d->queue_size, 4, 32768, NULL,
		 NULL},
		{"serial", OPTION_TEXT, &d->serial, 1, 20, NULL, NULL},
		{"id", OPTION_TEXT, &d->id, 1, 32, NULL, NULL},
		{"packed", OPTION_BOOL, &d->packed, 0, 0, NULL, NULL},
		{"_disable_io_uring", OPTION_BOOL, &d->disable_io_uring, 0, 0,
		 NULL, NULL},
	};
	int r;

	if (c->num_disks == CONFIG_MAX_DISKS)
		return err_set(e, -E2BIG, "--disk %s: at most %d disks", value,
			       CONFIG_MAX_DISKS);
	memset(d, 0, sizeof(*d));
	d->sparse = d->packed = true;
	d->num_queues = 1;
	d->queue_size = 128;
	c->num_disks++;
	r = option_parse("--disk", value, keys, ARRAY_SIZE(keys), e);
	if (r < 0)
		return r;
	if (!d->path)
		return err_set(e, -EINVAL, "--disk %s: give path=FILE", value);
	if (!is_pow2(d->queue_size))
		return err_set(e, -EINVAL,
			       "--disk queue_size=%u: give a power of two",
			       d->queue_size);
	return 0;
}

static int config_check_disk(struct config *c, struct config_disk *d,
			     struct err *e)
{
	if (d->num_queues > c->cpus.boot)
		return err_set(e, -EINVAL,
			       "--disk num_queues=%u: give at most %u, one "
			       "queue a CPU (--cpus boot=%u)",
			       d->num_queues, c->cpus.boot, c->cpus.boot);
	return 0;
}

/* ---- --rng, --audit, --keeper, --spares ---- */

int config_parse_rng(struct config *c, const char *value, struct err *e)
{
	const struct option_key keys[] = {
		{"src", OPTION_TEXT, &c->rng_src, 1, 4095, NULL, NULL},
	};

	return option_parse("--rng", value, keys, ARRAY_SIZE(keys), e);
}

int config_parse_audit(struct config *c, const char *value, struct err *e)
{
	static const char *const modes[] = {
		[CONFIG_AUDIT_ENFORCE] = "enforce",
		[CONFIG_AUDIT_WARN] = "warn",
		[CONFIG_AUDIT_OFF] = "off",
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(value, modes[i]))
			continue;
		c->audit = (enum config_audit)i;
		return 0;
	}
	return err_set(e, -EINVAL, "--audit %s: it is enforce, warn or off",
		       value);
}

int config_parse_keeper(struct config *c, const char *value, struct err *e)
{
	bool on;

	if (option_bool(value, &on) < 0)
		return err_set(e, -EINVAL, "--keeper %s: it is on or off",
			       value);
	c->keeper = on ? CONFIG_KEEPER_ON : CONFIG_KEEPER_OFF;
	return 0;
}

int config_parse_spares(struct config *c, const char *value, struct err *e)
{
	if (option_bool(value, &c->spares) < 0)
		return err_set(e, -EINVAL, "--spares %s: it is on or off",
			       value);
	return 0;
}

/* ---- the whole ---- */

static int config_check_cpus(struct config_cpus *c, struct err *e)
{
	uint64_t product = (uint64_t)c->threads_per_core * c->cores_per_die *
			   c->dies_per_package * c->packages;

	if (!c->max)
		c->max = c->boot;
	if (c->max < c->boot)
		return err_set(e, -EINVAL,
			       "--cpus max=%u: it is less than boot=%u", c->max,
			       c->boot);
	if (c->has_topology && product != c->max)
		return err_set(e, -EINVAL,
			       "--cpus topology=%u:%u:%u:%u: makes %llu CPUs, "
			       "not max=%u",
			       c->threads_per_core, c->cores_per_die,
			       c->dies_per_package, c->packages,
			       (unsigned long long)product, c->max);
	for (uint32_t i = 0; i < c->num_affinity; i++)
		if (c->affinity[i].index >= c->max)
			return err_set(e, -EINVAL,
				       "--cpus affinity=[%u@...]: there is no "
				       "vCPU %u; give 0 to %u",
				       c->affinity[i].index,
				       c->affinity[i].index, c->max - 1);
	return 0;
}

/* One counter numbers all devices without an id, as Cloud Hypervisor does. */
static int config_name_device(char **id, const char *prefix, uint32_t *counter)
{
	char buf[32];

	if (*id)
		return 0;
	snprintf(buf, sizeof(buf), "%s%u", prefix, (*counter)++);
	*id = strdup(buf);
	return *id ? 0 : -ENOMEM;
}

static int config_check_id(struct config *c, const char *option, const char *id,
			   struct err *e)
{
	unsigned int same = 0;

	for (const char *p = id; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return option_error(e, option, "id", id,
					    "give printable characters "
					    "without spaces");
	if (!strncmp(id, "__", 2))
		return option_error(e, option, "id", id,
				    "ids that begin with __ are reserved; "
				    "give another");
	for (uint32_t i = 0; i < c->num_disks; i++)
		same += !strcmp(c->disks[i].id, id);
	for (uint32_t i = 0; i < c->num_nets; i++)
		same += !strcmp(c->nets[i].id, id);
	if (same > 1)
		return option_error(e, option, "id", id,
				    "given to %u devices; ids must differ",
				    same);
	return 0;
}

static int config_check_ids(struct config *c, struct err *e)
{
	uint32_t counter = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->num_disks; i++)
		r = config_name_device(&c->disks[i].id, "_disk", &counter);
	for (uint32_t i = 0; r == 0 && i < c->num_nets; i++)
		r = config_name_device(&c->nets[i].id, "_net", &counter);
	if (r < 0)
		return err_set(e, r, "no memory for device ids");
	for (uint32_t i = 0; r == 0 && i < c->num_disks; i++)
		r = config_check_id(c, "--disk", c->disks[i].id, e);
	for (uint32_t i = 0; r == 0 && i < c->num_nets; i++)
		r = config_check_id(c, "--net", c->nets[i].id, e);
	return r;
}

int config_check(struct config *c, struct err *e)
{
	int r;

	if (!c->kernel)
		return err_set(e, -EINVAL,
			       "--kernel is missing: give a bzImage or a "
			       "vmlinux with a PVH entry");
	if (strlen(c->cmdline) > 65535)
		return err_set(e, -EINVAL,
			       "--cmdline: %zu characters, at most 65535",
			       strlen(c->cmdline));
	if (c->api_socket)
		return err_set(e, -ENOTSUP,
			       "--api-socket %s: the REST API is not part of "
			       "this version; leave the option out",
			       c->api_socket);
	r = config_check_cpus(&c->cpus, e);
	if (r == 0)
		r = config_check_memory(&c->memory, e);
	for (uint32_t i = 0; r == 0 && i < c->num_disks; i++)
		r = config_check_disk(c, &c->disks[i], e);
	for (uint32_t i = 0; r == 0 && i < c->num_nets; i++)
		if (c->nets[i].num_queues / 2 > c->cpus.boot)
			r = err_set(e, -EINVAL,
				    "--net num_queues=%u: give at most %u, "
				    "one pair a CPU (--cpus boot=%u)",
				    c->nets[i].num_queues, 2 * c->cpus.boot,
				    c->cpus.boot);
	return r < 0 ? r : config_check_ids(c, e);
}
