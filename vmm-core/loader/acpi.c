/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/acpi.h"

#include <errno.h>

#include "common/base/err.h"
#include "common/base/num.h"

#define ACPI_RSDP_SIZE	 36
#define ACPI_HEADER_SIZE 36
#define ACPI_OEM_ID	 "BULKHD"
#define ACPI_TABLE_ID	 "BULKHEAD"
#define ACPI_CREATOR_ID	 "BLKH"

void acpi_init(struct acpi *a, gpa_t base, void *data, size_t size)
{
	*a = (struct acpi){.base = base};
	buf_init(&a->out, data, size);
	buf_add(&a->out, ACPI_RSDP_SIZE);
}

size_t acpi_begin(struct acpi *a, const char signature[4], uint8_t revision)
{
	struct buf *b = &a->out;
	size_t start;

	buf_add(b, align_up(b->len, ACPI_ALIGN) - b->len);
	start = b->len;
	buf_put(b, signature, 4);
	buf_u32(b, 0); /* length, in acpi_end() */
	buf_u8(b, revision);
	buf_u8(b, 0); /* checksum, in acpi_end() */
	buf_put(b, ACPI_OEM_ID, 6);
	buf_put(b, ACPI_TABLE_ID, 8);
	buf_u32(b, 1); /* OEM revision */
	buf_put(b, ACPI_CREATOR_ID, 4);
	buf_u32(b, 1); /* creator revision */
	return start;
}

gpa_t acpi_end(struct acpi *a, size_t start, bool list)
{
	struct buf *b = &a->out;
	uint8_t *table = b->data + start;
	size_t len = b->len - start;

	if (b->full)
		return 0;
	put_le32(table + 4, (uint32_t)len);
	table[9] = buf_checksum(table, len);
	if (list) {
		check(a->num_listed < ACPI_MAX_TABLES);
		a->listed[a->num_listed++] = a->base + start;
	}
	return a->base + start;
}

void acpi_gas(struct buf *b, uint8_t space, uint8_t bits, uint8_t access,
	      uint64_t addr)
{
	buf_u8(b, space);
	buf_u8(b, bits);
	buf_u8(b, 0); /* bit offset */
	buf_u8(b, access);
	buf_u64(b, addr);
}

void acpi_add_mcfg(struct acpi *a, gpa_t ecam, unsigned int buses)
{
	size_t start = acpi_begin(a, "MCFG", 1);

	buf_u64(&a->out, 0);
	buf_u64(&a->out, ecam);
	buf_u16(&a->out, 0); /* segment group */
	buf_u8(&a->out, 0);
	buf_u8(&a->out, buses - 1);
	buf_u32(&a->out, 0);
	acpi_end(a, start, true);
}

int64_t acpi_finish(struct acpi *a)
{
	size_t start = acpi_begin(a, "XSDT", 1);
	uint8_t *rsdp = a->out.data;
	gpa_t xsdt;

	for (unsigned int i = 0; i < a->num_listed; i++)
		buf_u64(&a->out, a->listed[i]);
	xsdt = acpi_end(a, start, false);
	if (a->out.full)
		return -ENOSPC;

	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, ACPI_OEM_ID, 6);
	rsdp[15] = 2; /* revision */
	put_le32(rsdp + 20, ACPI_RSDP_SIZE);
	put_le64(rsdp + 24, xsdt);
	rsdp[8] = buf_checksum(rsdp, 20); /* ACPI 1.0's part */
	rsdp[32] = buf_checksum(rsdp, ACPI_RSDP_SIZE);
	return (int64_t)a->out.len;
}
