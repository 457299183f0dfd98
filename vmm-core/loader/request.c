/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

static int request_parse_memory(const Bulkhead__Load *load, struct request *r,
				struct err *e)
{
	const Bulkhead__MemTable *t = load->memory;

	if (!t || !t->n_regions || t->n_regions > GMEM_MAX_REGIONS)
		return err_set(e, -EINVAL,
			       "load: %zu memory regions, 1 to %d "
			       "are possible",
			       t ? t->n_regions : 0, GMEM_MAX_REGIONS);
	for (size_t i = 0; i < t->n_regions; i++) {
		r->memory[i] = (struct gmem_desc){
			.gpa = t->regions[i]->gpa,
			.size = t->regions[i]->size,
			.offset = t->regions[i]->offset,
			.fd_index = t->regions[i]->fd_index,
		};
	}
	r->num_memory = (unsigned int)t->n_regions;
	r->num_memfds = load->num_memfds;
	return 0;
}

static int request_parse_cpus(const Bulkhead__Load *load, struct request *r,
			      struct err *e)
{
	const Bulkhead__CpuConfig *c = load->cpus;
	int ret;

	if (!c)
		return err_set(e, -EINVAL, "load: no CPU configuration");
	ret = topology_init(&r->boot.acpi.topology, c->max, c->threads_per_core,
			    c->cores_per_die, c->dies_per_package, c->packages,
			    e);
	if (ret < 0)
		return ret;
	if (!c->boot || c->boot > c->max)
		return err_set(e, -EINVAL,
			       "load: %u vCPUs at boot of at most %u", c->boot,
			       c->max);
	r->boot.acpi.boot_cpus = c->boot;
	return 0;
}

/* The 64-bit PCI window lies above all RAM, below the guest's address limit. */
static int request_parse_window(const Bulkhead__Load *load, struct request *r,
				struct err *e)
{
	const struct gmem_desc *last = &r->memory[r->num_memory - 1];
	uint64_t base = load->mmio64_base, size = load->mmio64_size, end, ram;

	if (!size)
		return 0;
	if (!add_ok(last->gpa, last->size, &ram) || !add_ok(base, size, &end) ||
	    base < LAYOUT_4G || base < ram || load->phys_bits < 32 ||
	    load->phys_bits > 52 || end > 1ull << load->phys_bits)
		return err_set(e, -EINVAL,
			       "load: 64-bit PCI window of 0x%" PRIx64
			       " bytes at 0x%" PRIx64
			       " does not lie between RAM and %u address bits",
			       size, base, load->phys_bits);
	r->boot.acpi.mmio64_base = base;
	r->boot.acpi.mmio64_size = size;
	return 0;
}

static void request_parse_platform(const Bulkhead__PlatformConfig *p,
				   struct smbios_config *s)
{
	if (!p)
		return;
	*s = (struct smbios_config){
		.manufacturer = p->system_manufacturer,
		.product_name = p->system_product_name,
		.version = p->system_version,
		.serial_number = p->system_serial_number,
		.uuid = p->system_uuid,
		.sku_number = p->system_sku_number,
		.family = p->system_family,
		.chassis_asset_tag = p->chassis_asset_tag,
		.oem_strings = p->oem_strings,
		.num_oem_strings = p->n_oem_strings,
	};
}

static int request_parse_cmdline(const Bulkhead__Load *load, struct request *r,
				 struct err *e)
{
	const ProtobufCBinaryData *c = &load->cmdline;

	if (c->len >= LAYOUT_CMDLINE_MAX)
		return err_set(e, -EINVAL,
			       "the kernel command line has %zu bytes, at most "
			       "%u are possible",
			       c->len, LAYOUT_CMDLINE_MAX - 1);
	if (c->len && memchr(c->data, '\0', c->len))
		return err_set(e, -EINVAL,
			       "the kernel command line contains a NUL byte");
	r->boot.cmdline = c->data;
	r->boot.cmdline_len = c->len;
	return 0;
}

int request_parse(const Bulkhead__Load *load, struct request *ret,
		  struct err *e)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->has_initramfs = load->has_initramfs;
	ret->boot.acpi.serial = load->serial;
	request_parse_platform(load->platform, &ret->boot.smbios);
	r = request_parse_memory(load, ret, e);
	if (r == 0)
		r = request_parse_cpus(load, ret, e);
	if (r == 0)
		r = request_parse_window(load, ret, e);
	if (r == 0)
		r = request_parse_cmdline(load, ret, e);
	return r;
}
