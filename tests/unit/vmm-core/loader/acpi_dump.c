/* SPDX-License-Identifier: Apache-2.0 */

/*
 * acpi-dump FOLDER CPUS: writes each ACPI table of a machine with that many
 * CPUs to FOLDER/<signature>.dat, for iasl and people.
 */

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/loader/x86_64/tables.h"

static uint8_t data[LAYOUT_ACPI_END - LAYOUT_RSDP];

static int dump(const char *folder, uint64_t gpa)
{
	const uint8_t *t = data + (gpa - LAYOUT_RSDP);
	uint32_t len = get_le32(t + 4);
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%.4s.dat", folder, (const char *)t);
	f = fopen(path, "w");
	if (!f || fwrite(t, 1, len, f) != len || fclose(f)) {
		perror(path);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct acpi_config cfg = {.serial = true,
				  .mmio64_base = 16 * GIB,
				  .mmio64_size = 64 * GIB};
	uint64_t xsdt;
	int failed = 0;

	if (argc != 3)
		return 2;
	cfg.boot_cpus = (unsigned int)strtoul(argv[2], NULL, 10);
	if (topology_init(&cfg.topology, cfg.boot_cpus, 0, 0, 0, 0, NULL) < 0 ||
	    acpi_build(&cfg, data, sizeof(data)) < 0)
		return 1;
	xsdt = get_le64(data + 24);
	failed |= dump(argv[1], xsdt);
	for (uint32_t i = 36; i < get_le32(data + (xsdt - LAYOUT_RSDP) + 4);
	     i += 8) {
		uint64_t gpa = get_le64(data + (xsdt - LAYOUT_RSDP) + i);

		failed |= dump(argv[1], gpa);
		if (!memcmp(data + (gpa - LAYOUT_RSDP), "FACP", 4))
			failed |= dump(
				argv[1],
				get_le64(data + (gpa - LAYOUT_RSDP) + 140));
	}
	return failed;
}
