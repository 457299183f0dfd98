/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/x86_64/tables.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

static uint8_t data[LAYOUT_ACPI_END - LAYOUT_RSDP];

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static const uint8_t *at(uint64_t gpa)
{
	cr_assert(gpa >= LAYOUT_RSDP && gpa < LAYOUT_ACPI_END - 36);
	return data + (gpa - LAYOUT_RSDP);
}

/* Check a table's frame; Return: its length */
static uint32_t frame(const uint8_t *t, const char *signature)
{
	uint32_t len = get_le32(t + 4);

	cr_assert_arr_eq(t, signature, 4, "%.4s", (const char *)t);
	cr_assert(range_ok((uint64_t)(t - data), len, sizeof(data)));
	cr_assert_eq(sum(t, len), 0, "%s", signature);
	cr_assert_eq((t - data) % 16, 0);
	return len;
}

static const uint8_t *find(const char *signature)
{
	const uint8_t *xsdt = at(get_le64(data + 24));
	uint32_t len = frame(xsdt, "XSDT");

	for (uint32_t i = 36; i < len; i += 8) {
		const uint8_t *t = at(get_le64(xsdt + i));

		if (!memcmp(t, signature, 4)) {
			frame(t, signature);
			return t;
		}
	}
	return NULL;
}

static int64_t build(unsigned int cpus, unsigned int threads,
		     unsigned int cores)
{
	struct acpi_config cfg = {.boot_cpus = cpus,
				  .serial = true,
				  .mmio64_base = 8 * GIB,
				  .mmio64_size = 64 * GIB};

	memset(data, 0, sizeof(data));
	cr_assert_eq(topology_init(&cfg.topology, cpus, threads, cores,
				   threads ? 1 : 0,
				   threads ? cpus / threads / cores : 0, NULL),
		     0);
	return acpi_build(&cfg, data, sizeof(data));
}

static void check_madt(unsigned int cpus)
{
	const uint8_t *t = find("APIC");
	uint32_t len = get_le32(t + 4);
	unsigned int seen = 0, ioapics = 0, nmis = 0;

	cr_assert_eq(get_le32(t + 36), LAYOUT_LAPIC);
	for (uint32_t i = 44; i < len; i += t[i + 1]) {
		cr_assert_geq(t[i + 1], 6);
		if (t[i] == 0) {
			cr_assert_eq(t[i + 2], seen);
			cr_assert_eq(t[i + 3], seen);
			cr_assert_eq(get_le32(t + i + 4), 1);
			seen++;
		}
		ioapics += t[i] == 1;
		nmis += t[i] == 4;
	}
	cr_assert_eq(seen, cpus);
	cr_assert_eq(ioapics, 1);
	cr_assert_eq(nmis, 1);
}

Test(acpi_build, is_sound_for_few_and_many_cpus)
{
	static const unsigned int counts[] = {1, 4, 254};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		int64_t len = build(counts[i], 0, 0);

		cr_assert_gt(len, 0);
		cr_assert_arr_eq(data, "RSD PTR ", 8);
		cr_assert_eq(sum(data, 20), 0);
		cr_assert_eq(sum(data, 36), 0);
		check_madt(counts[i]);
		cr_assert(find("FACP") && find("MCFG"));
		frame(at(get_le64(find("FACP") + 140)), "DSDT");
	}
}

Test(acpi_build, describes_the_reduced_hardware)
{
	const uint8_t *t;

	cr_assert_gt(build(1, 0, 0), 0);
	t = find("FACP");
	cr_assert_eq(get_le32(t + 4), 276);
	cr_assert_eq(t[8], 6);
	cr_assert(get_le32(t + 112) & 1u << 20);
	cr_assert(get_le32(t + 112) & 1u << 10);
	cr_assert_eq(t[116], 1);
	cr_assert_eq(get_le64(t + 120), PORT_ACPI_SLEEP);
	cr_assert_eq(t[128], ACPI_SLEEP_RESET);
	cr_assert_eq(get_le64(t + 212), PORT_PM_TIMER);
	cr_assert_eq(get_le64(t + 248), PORT_ACPI_SLEEP);
	cr_assert_eq(get_le64(t + 260), PORT_ACPI_SLEEP);
	t = find("MCFG");
	cr_assert_eq(get_le64(t + 44), LAYOUT_ECAM);
	cr_assert_eq(t[55], LAYOUT_ECAM_BUSES - 1);
}

Test(acpi_build, uses_x2apic_entries_for_large_ids)
{
	const uint8_t *t;
	unsigned int large = 0;

	/* 85 packages of 3 cores of 1 thread: ids up to 84 << 2 | 2 */
	cr_assert_gt(build(252, 1, 3), 0);
	t = find("APIC");
	for (uint32_t i = 44; i < get_le32(t + 4); i += t[i + 1]) {
		if (t[i] == 9) {
			cr_assert_geq(get_le32(t + i + 4), 255);
			large++;
		} else if (t[i] == 0) {
			cr_assert_lt(t[i + 3], 255);
		}
	}
	cr_assert_eq(large, 60);
}

Test(acpi_build, says_when_it_has_no_room)
{
	struct acpi_config cfg = {.boot_cpus = 254};

	cr_assert_eq(topology_init(&cfg.topology, 254, 0, 0, 0, 0, NULL), 0);
	for (size_t size = 36; size < 8000; size += 97)
		cr_assert_eq(acpi_build(&cfg, data, size), -ENOSPC);
}
