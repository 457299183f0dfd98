/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Does the machine look as it should? Every difference is a line "FAIL ...";
 * the last line is the verdict. README.md has the command line's words.
 */

#include "platform/platform.h"

#include "lib/clock.h"

#define PAGE_USER 0x7 /* present, writable, user */
#define PAGE_2M	  0x80
#define SIZE_2M	  0x200000ull
#define SIZE_1G	  0x40000000ull
#define GIB_MAX	  512 /* entries of one page directory pointer table */

#define FAILURES_SHOWN 20

static uint64_t failures;

extern uint64_t guest_pdpt[GIB_MAX];

volatile uint8_t *map_2m(uint64_t addr)
{
	uint64_t gib = addr / SIZE_1G, *dir;

	if (gib >= GIB_MAX)
		guest_fail("platform: an address above 512 GiB");
	if (!guest_pdpt[gib]) {
		dir = guest_alloc(4096);
		if (!dir)
			guest_fail("platform: no memory for a page table");
		guest_pdpt[gib] = (uint64_t)dir | PAGE_USER;
	}
	dir = (uint64_t *)(guest_pdpt[gib] & ~0xfffull);
	dir[addr % SIZE_1G / SIZE_2M] =
		(addr & ~(SIZE_2M - 1)) | PAGE_2M | PAGE_USER;
	return (volatile uint8_t *)addr;
}

/* Return: is it to be told, too? */
static bool fail(const char *what)
{
	if (failures++ >= FAILURES_SHOWN)
		return false;
	guest_puts("FAIL ");
	guest_puts(what);
	return true;
}

void expect(const char *what, uint64_t got, uint64_t want)
{
	if (got == want || !fail(what))
		return;
	guest_puts(" got=");
	guest_put_hex(got);
	guest_puts(" want=");
	guest_put_hex(want);
	guest_puts("\n");
}

void expect_near(const char *what, uint64_t got, uint64_t want, uint64_t off)
{
	if (got + off < want || got > want + off)
		expect(what, got, want);
}

void expect_true(const char *what, bool holds)
{
	if (!holds && fail(what))
		guest_puts("\n");
}

static void part(const char *name, void (*check)(void))
{
	uint64_t before = failures;

	check();
	guest_puts("PART ");
	guest_puts(name);
	guest_puts(before == failures ? " ok\n" : " fail\n");
}

void guest_main(void)
{
	clock_init();
	part("cpu", check_cpu);
	part("memory", check_memory);
	part("ports", check_ports);
	part("tables", check_tables);
	part("pci", check_pci);
	part("msix", check_msix);
	part("others", check_others);
	outb(0x80, GUEST_MARK_DONE);
	guest_puts(failures ? "PLATFORM fail" : "PLATFORM ok");
	guest_put_pair("failures", failures);
	guest_puts("\n");
}
