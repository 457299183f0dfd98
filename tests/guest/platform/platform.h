/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_PLATFORM_PLATFORM_H
#define TESTS_GUEST_PLATFORM_PLATFORM_H

/*
 * What the guest `platform` is made of: each part looks at one side of the
 * machine and compares it with what the specification, or the command line,
 * says.
 */

#include "lib/guest.h"

void check_cpu(void);
void check_memory(void);
void check_ports(void);
void check_tables(void);
void check_pci(void);
void check_msix(void);
void check_others(void);

/** lapic_read()/lapic_write() - A register of this processor, by its offset in
 *  xAPIC mode; x2apic=1: by MSR */
uint32_t lapic_read(uint32_t reg);
void lapic_write(uint32_t reg, uint32_t v);

/** madt_id() - APIC id of its processor @index; after check_tables() */
uint64_t madt_id(uint64_t index);

/** expect() - @got must be @want; else "FAIL what got=.. want=.." */
void expect(const char *what, uint64_t got, uint64_t want);

/** expect_near() - At most @off from @want */
void expect_near(const char *what, uint64_t got, uint64_t want, uint64_t off);

/** expect_true() - "FAIL what" otherwise */
void expect_true(const char *what, bool holds);

/** map_2m() - Make the 2 MiB around @addr visible to ring 3, one to one; they
 *  may lie above 4 GiB */
volatile uint8_t *map_2m(uint64_t addr);

/* What the compiler must not take for an object of C: an address of the
 * machine. */
static inline const uint8_t *at(uint64_t addr)
{
	__asm__("" : "+r"(addr));
	return (const uint8_t *)addr;
}

/* Unaligned and in no particular order: fields of tables. */
static inline uint16_t field16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t field32(const uint8_t *p)
{
	return field16(p) | (uint32_t)field16(p + 2) << 16;
}

static inline uint64_t field64(const uint8_t *p)
{
	return field32(p) | (uint64_t)field32(p + 4) << 32;
}

static inline uint32_t mmio32(uint64_t addr)
{
	return *(volatile uint32_t *)addr;
}

static inline void mmio32_put(uint64_t addr, uint32_t v)
{
	*(volatile uint32_t *)addr = v;
}

#endif
