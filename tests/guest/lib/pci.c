/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pci.h"

#define PORT_ADDR   0xcf8
#define PORT_DATA   0xcfc
#define ADDR_ENABLE 0x80000000u

#define BAR_IO	 0x1u
#define BAR_64	 0x4u
#define BAR_MASK (~0xfu)

/* In the machine's hole below 4 GiB, away from ECAM. */
#define BAR_FIRST 0xd0000000u
#define BAR_LAST  0xe0000000u

#define CAPS_MAX 48 /* of 256 bytes of config space */

static uint32_t bar_next = BAR_FIRST;

static void pci_select(unsigned int slot, unsigned int reg)
{
	outl(PORT_ADDR, ADDR_ENABLE | slot << 11 | (reg & 0xfc));
}

uint32_t pci_read(unsigned int slot, unsigned int reg, unsigned int len)
{
	uint16_t port = (uint16_t)(PORT_DATA + (reg & 3));

	pci_select(slot, reg);
	return len == 1 ? inb(port) : len == 2 ? inw(port) : inl(port);
}

void pci_write(unsigned int slot, unsigned int reg, unsigned int len,
	       uint32_t v)
{
	uint16_t port = (uint16_t)(PORT_DATA + (reg & 3));

	pci_select(slot, reg);
	if (len == 1)
		outb(port, (uint8_t)v);
	else if (len == 2)
		outw(port, (uint16_t)v);
	else
		outl(port, v);
}

unsigned int pci_next_cap(unsigned int slot, unsigned int pos, uint8_t id)
{
	pos = pci_read(slot, pos ? pos + 1 : PCI_CAP_POINTER, 1);
	for (int i = 0; pos >= 0x40 && i < CAPS_MAX; i++) {
		if (pci_read(slot, pos, 1) == id)
			return pos;
		pos = pci_read(slot, pos + 1, 1);
	}
	return 0;
}

static uint32_t bar_size(unsigned int slot, unsigned int reg)
{
	uint32_t mask;

	pci_write(slot, reg, 4, ~0u);
	mask = pci_read(slot, reg, 4) & BAR_MASK;
	return ~mask + 1;
}

uint64_t pci_bar(unsigned int slot, unsigned int bar)
{
	unsigned int reg = PCI_BAR0 + 4 * bar;
	uint32_t low = pci_read(slot, reg, 4), high = 0, size;

	if (low & BAR_IO)
		guest_fail("pci: an I/O BAR where memory is expected");
	if (low & BAR_64)
		high = pci_read(slot, reg + 4, 4);
	if (!high && (low & BAR_MASK))
		return low & BAR_MASK;
	pci_write(slot, PCI_COMMAND, 2, 0);
	size = bar_size(slot, reg);
	if (!size)
		guest_fail("pci: no such BAR");
	bar_next = (bar_next + size - 1) & ~(size - 1);
	low = bar_next;
	if (low > BAR_LAST || size > BAR_LAST - low)
		guest_fail("pci: no room for a BAR");
	bar_next += size;
	pci_write(slot, reg, 4, low);
	if (pci_read(slot, reg, 4) & BAR_64)
		pci_write(slot, reg + 4, 4, 0);
	return low;
}
