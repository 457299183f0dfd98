/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_X86_64_TABLES_H
#define VMM_CORE_LOADER_X86_64_TABLES_H

/*
 * The ACPI description of the machine in vmm-core/arch/x86_64/layout.h:
 * hardware-reduced (ACPI 6.3, 4.1), so no PIC, PIT or PM1 block is promised.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm-core/arch/x86_64/topology.h"

struct acpi_config {
	struct topology topology;
	unsigned int boot_cpus; /* <= topology.max_cpus */
	bool serial;		/* COM1 exists */
	uint64_t mmio64_base;	/* 64-bit PCI window */
	uint64_t mmio64_size;	/* 0 = none */
};

/**
 * acpi_build() - All tables, to lie at LAYOUT_RSDP
 *
 * Return: bytes used, or -ENOSPC
 */
int64_t acpi_build(const struct acpi_config *cfg, void *data, size_t size);

#endif
