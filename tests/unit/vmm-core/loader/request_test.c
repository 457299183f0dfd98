/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/request.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/num.h"

static Bulkhead__MemRegion region;
static Bulkhead__MemRegion *regions[GMEM_MAX_REGIONS + 1];
static Bulkhead__MemTable table;
static Bulkhead__CpuConfig cpus;
static Bulkhead__Load load;
static struct request req;
static struct err e;

static void setup(void)
{
	bulkhead__mem_region__init(&region);
	bulkhead__mem_table__init(&table);
	bulkhead__cpu_config__init(&cpus);
	bulkhead__load__init(&load);
	region.size = 64 * MIB;
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		regions[i] = &region;
	table.regions = regions;
	table.n_regions = 1;
	cpus.boot = 1;
	cpus.max = 2;
	load.memory = &table;
	load.cpus = &cpus;
	load.num_memfds = 1;
	load.phys_bits = 40;
}

TestSuite(request_parse, .init = setup);

Test(request_parse, takes_a_good_one)
{
	load.mmio64_base = 4 * GIB;
	load.mmio64_size = 1024 * GIB - 4 * GIB;
	load.serial = true;
	load.has_initramfs = true;
	cr_assert_eq(request_parse(&load, &req, &e), 0, "%s", e.text);
	cr_assert_eq(req.num_memory, 1);
	cr_assert_eq(req.memory[0].size, 64 * MIB);
	cr_assert_eq(req.boot.acpi.boot_cpus, 1);
	cr_assert_eq(req.boot.acpi.topology.max_cpus, 2);
	cr_assert_eq(req.boot.acpi.mmio64_base, 4 * GIB);
	cr_assert(req.boot.acpi.serial && req.has_initramfs);
}

Test(request_parse, refuses_a_bad_window)
{
	static const uint64_t windows[][2] = {
		{4 * GIB, 1024 * GIB},	/* past 40 bits */
		{3 * GIB, GIB},		/* below 4 GiB */
		{UINT64_MAX - 10, 100}, /* wraps around */
	};

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		load.mmio64_base = windows[i][0];
		load.mmio64_size = windows[i][1];
		cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	}
	/* over RAM */
	region.gpa = 4 * GIB;
	load.mmio64_base = 4 * GIB;
	load.mmio64_size = GIB;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	/* address widths that can't be shifted by */
	region.gpa = 0;
	load.phys_bits = 64;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
}

Test(request_parse, refuses_bad_cpus)
{
	cpus.boot = 3;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	cpus.boot = 0;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	cpus.boot = cpus.max = 255;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	load.cpus = NULL;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
}

Test(request_parse, refuses_bad_memory_tables)
{
	table.n_regions = 0;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	table.n_regions = GMEM_MAX_REGIONS + 1;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	load.memory = NULL;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
}

Test(request_parse, refuses_bad_command_lines)
{
	static uint8_t text[65536];

	memset(text, 'x', sizeof(text));
	load.cmdline.data = text;
	load.cmdline.len = 65535;
	cr_expect_eq(request_parse(&load, &req, &e), 0);
	load.cmdline.len = 65536;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	text[100] = '\0';
	load.cmdline.len = 200;
	cr_expect_eq(request_parse(&load, &req, &e), -EINVAL);
	cr_expect(strstr(e.text, "NUL"));
}
