/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Configuration space by both ways, and BARs: their size, where they begin,
 * and that they go where they are told to, but to no place that is another's.
 *
 * Spec: PCI 3.0, 3.2.2.3.2 and 6.2.5; PCI Express 4.0, 7.2.2
 */

#include "lib/pci.h"
#include "lib/virtio.h"
#include "platform/platform.h"

#define ECAM	 0xe8000000ull
#define FOUR_G	 0x100000000ull
#define MIB	 1048576ull
#define LOW_BAR	 0xd0000000u
#define BAR_SIZE 0x80000u /* of every virtio device */
#define BAR_64	 0x4u

#define COMMON_NUM_QUEUES 0x12
#define CAP_TYPE	  3
#define TYPE_ACCESS	  5 /* PCI configuration access */

static uint64_t ecam(unsigned int slot, unsigned int function, unsigned int reg)
{
	return ECAM + (slot << 15 | function << 12 | reg);
}

static void check_both_ways(void)
{
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		bool there = pci_read(slot, 0, 4) != 0xffffffff;

		for (unsigned int reg = 0; reg < 256; reg += 4)
			expect("pci: ECAM and ports differ",
			       mmio32(ecam(slot, 0, reg)),
			       pci_read(slot, reg, 4));
		expect("pci: extended space", mmio32(ecam(slot, 0, 0x100)),
		       there ? 0 : 0xffffffff);
		expect("pci: function 1", mmio32(ecam(slot, 1, 0)), 0xffffffff);
	}
	expect("pci: host bridge", pci_read(0, 0, 4), 0x0d578086);
	expect("pci: its class", pci_read(0, 8, 4) >> 16, 0x0600);
	/* Bus 1, and mechanism 1 while it is off. */
	outl(0xcf8, 0x80010000);
	expect("pci: bus 1", inl(0xcfc), 0xffffffff);
	outl(0xcf8, 0);
	expect("pci: without the enable bit", inl(0xcfc), 0xffffffff);
	outl(0xcf8, 0x80000000);
	expect("pci: a word", inw(0xcfe), 0x0d57);
	expect("pci: a byte", inb(0xcfd), 0x80);
}

static uint64_t bar_address(unsigned int slot)
{
	return (pci_read(slot, PCI_BAR0, 4) & ~0xfu) |
	       (uint64_t)pci_read(slot, PCI_BAR0 + 4, 4) << 32;
}

static void bar_put(unsigned int slot, uint64_t addr)
{
	pci_write(slot, PCI_BAR0, 4, (uint32_t)addr);
	pci_write(slot, PCI_BAR0 + 4, 4, (uint32_t)(addr >> 32));
}

static void check_bar(unsigned int slot)
{
	uint64_t ram = guest_option_number("high", 0) * MIB;
	uint64_t addr = bar_address(slot);

	expect("pci: BAR 0's type", pci_read(slot, PCI_BAR0, 4) & 0xf, BAR_64);
	expect_true("pci: BAR 0 is not above RAM", addr >= FOUR_G + ram);
	expect("pci: BAR 0's alignment", addr % BAR_SIZE, 0);
	bar_put(slot, UINT64_MAX);
	expect("pci: BAR 0's size", ~bar_address(slot) + 1, BAR_SIZE);
	bar_put(slot, addr);
	for (unsigned int bar = 2; bar < 6; bar++) {
		pci_write(slot, PCI_BAR0 + 4 * bar, 4, 0xffffffff);
		expect("pci: another BAR",
		       pci_read(slot, PCI_BAR0 + 4 * bar, 4), 0);
	}
}

static uint16_t num_queues(uint64_t bar)
{
	return *(volatile uint16_t *)(bar + COMMON_NUM_QUEUES);
}

/* Read by the capability for those who can't map the BAR. */
static uint16_t num_queues_by_window(unsigned int slot)
{
	unsigned int cap = 0;

	do
		cap = pci_next_cap(slot, cap, PCI_CAP_VENDOR);
	while (cap && pci_read(slot, cap + CAP_TYPE, 1) != TYPE_ACCESS);
	if (!cap)
		return 0;
	pci_write(slot, cap + 4, 1, 0);
	pci_write(slot, cap + 8, 4, COMMON_NUM_QUEUES);
	pci_write(slot, cap + 12, 4, 2);
	return (uint16_t)pci_read(slot, cap + 16, 4);
}

/* Places that are RAM's or the platform's: the BAR must not answer there. */
static void check_forbidden(unsigned int slot, uint16_t queues)
{
	static uint32_t mine[4] = {1, 2, 3, 4};
	static const uint64_t places[] = {ECAM, 0xfec00000, 0xfee00000,
					  0xf8000000};
	uint64_t ram = (uint64_t)mine & ~(uint64_t)(BAR_SIZE - 1);

	bar_put(slot, ram);
	mine[2] = 5;
	expect("pci: a BAR over RAM", mine[0] + mine[2], 6);
	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		bar_put(slot, places[i]);
		expect("pci: a BAR over the platform's registers", mmio32(ECAM),
		       0x0d578086);
	}
	bar_put(slot, LOW_BAR);
	expect("pci: a BAR that came back", num_queues(LOW_BAR), queues);
}

static void check_moves(unsigned int slot)
{
	uint64_t first = bar_address(slot), low = LOW_BAR;
	uint16_t queues;

	map_2m(first);
	pci_write(slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	queues = num_queues(first);
	expect_true("pci: no queues", queues && queues < 100);
	expect("pci: queues by the window", num_queues_by_window(slot), queues);
	bar_put(slot, low);
	expect("pci: a BAR at its new place", num_queues(low), queues);
	expect("pci: a BAR at its old place", num_queues(first), 0xffff);
	bar_put(slot, low + BAR_SIZE);
	expect("pci: a BAR moved by its size", num_queues(low + BAR_SIZE),
	       queues);
	expect("pci: where it was before", num_queues(low), 0xffff);
	check_forbidden(slot, queues);
	pci_write(slot, PCI_COMMAND, 2, 0);
	expect("pci: a BAR that is not decoded", num_queues(low), 0xffff);
	bar_put(slot, first);
	pci_write(slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	expect("pci: a BAR that went home", num_queues(first), queues);
}

void check_pci(void)
{
	uint64_t devices = 0;

	check_both_ways();
	for (unsigned int slot = 1; slot < PCI_SLOTS; slot++) {
		if (pci_read(slot, 0, 2) != 0x1af4)
			continue;
		devices++;
		check_bar(slot);
		check_moves(slot);
	}
	expect("pci: virtio devices", devices,
	       guest_option_number("devices", 1));
}
