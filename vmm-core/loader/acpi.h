/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_ACPI_H
#define VMM_CORE_LOADER_ACPI_H

/*
 * The frame of ACPI tables: headers, checksums, addresses, and the tables that
 * every architecture has. Tables are built one after another in a private
 * buffer that will lie at a known guest-physical address, RSDP first.
 * ACPI 6.3, sections 5.2.5 to 5.2.8.
 */

#include "common/virtio/gmem.h"
#include "vmm-core/loader/buf.h"

#define ACPI_MAX_TABLES 16
#define ACPI_ALIGN	16

struct acpi {
	struct buf out;
	gpa_t base;
	gpa_t listed[ACPI_MAX_TABLES]; /* for the XSDT */
	unsigned int num_listed;
};

/** acpi_init() - Start at @base in @data; leaves room for the RSDP */
void acpi_init(struct acpi *a, gpa_t base, void *data, size_t size);

/**
 * acpi_begin() - Header of one table; its body is appended to a->out
 *
 * Return: where the table starts in a->out, for acpi_end()
 */
size_t acpi_begin(struct acpi *a, const char signature[4], uint8_t revision);

/**
 * acpi_end() - Length and checksum
 * @list: Name it in the XSDT (all but DSDT and XSDT)
 *
 * Return: the table's guest-physical address
 */
gpa_t acpi_end(struct acpi *a, size_t start, bool list);

/** acpi_gas() - Generic address: @space 0 memory, 1 I/O */
void acpi_gas(struct buf *b, uint8_t space, uint8_t bits, uint8_t access,
	      uint64_t addr);
#define ACPI_SPACE_MEMORY 0
#define ACPI_SPACE_IO	  1

/** acpi_add_mcfg() - One PCI segment group: 0, buses 0 to @buses - 1 */
void acpi_add_mcfg(struct acpi *a, gpa_t ecam, unsigned int buses);

/** acpi_finish() - XSDT and RSDP; Return: bytes used or -ENOSPC */
int64_t acpi_finish(struct acpi *a);

#endif
