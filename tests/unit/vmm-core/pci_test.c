/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/pci.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "common/base/num.h"
#include "tests/unit/vmm-core/pci_fakes.h"

#define BAR_SIZE 0x80000ull

struct card {
	struct pci_function f;
	uint64_t addr;
	unsigned int moves;
	uint8_t byte;
};

static void card_read(void *opaque, uint64_t off, uint8_t *data, uint32_t len)
{
	struct card *c = opaque;

	(void)off;
	memset(data, c->byte, len);
}

static void card_write(void *opaque, uint64_t off, const uint8_t *data,
		       uint32_t len)
{
	(void)opaque;
	(void)off;
	(void)data;
	(void)len;
}

static void card_moved(void *opaque, unsigned int bar, uint64_t addr)
{
	struct card *c = opaque;

	cr_assert_eq(bar, 0u);
	c->addr = addr;
	c->moves++;
}

static const struct bus_ops card_bus_ops = {card_read, card_write};
static const struct pci_function_ops card_ops = {.bar_moved = card_moved};
static const struct pci_ids card_ids = {.vendor = 0x1af4,
					.device = 0x1042,
					.subsystem_vendor = 0x1af4,
					.subsystem = 0x1100,
					.class_code = 0x018000,
					.revision = 1};

static void card_plug(struct card *c, unsigned int slot, bool is_64,
		      uint64_t addr)
{
	struct err e = {0};

	*c = (struct card){.addr = PCI_BAR_NOWHERE,
			   .byte = (uint8_t)(0xa0 + slot)};
	pci_function_init(&c->f, &card_ids, &card_ops, c);
	pci_function_set_bar(&c->f, 0, BAR_SIZE, is_64, addr, &card_bus_ops);
	cr_assert_eq(pci_attach(fake.vm.pci, slot, &c->f, &e), 0, "%s", e.text);
}

static struct card one, two;

static void setup(void)
{
	fake_start();
	card_plug(&one, 1, true, FAKE_MMIO64_BASE);
	card_plug(&two, 2, true, FAKE_MMIO64_BASE + BAR_SIZE);
}

static void teardown(void)
{
	pci_detach(fake.vm.pci, &one.f);
	pci_detach(fake.vm.pci, &two.f);
	fake_stop();
}

TestSuite(pci, .init = setup, .fini = teardown);

Test(pci, host_bridge_and_absent_functions)
{
	cr_assert_eq(cfg_read(0, 0, 4), 0x0d578086u);
	cr_assert_eq(cfg_read(0, 8, 4), 0x06000000u);
	cr_assert_eq(cfg_read(3, 0, 4), 0xffffffffu);
	/* function 1 of slot 1 */
	cr_assert_eq(mem_read(LAYOUT_ECAM + (1 << 15) + (1 << 12), 4),
		     0xffffffffu);
	/* bus 1 */
	cr_assert_eq(mem_read(LAYOUT_ECAM + (1 << 20), 4), 0xffffffffu);
}

Test(pci, identity_registers_are_read_only)
{
	cfg_write(1, 0, 0, 4);
	cfg_write(1, 8, 0, 4);
	cfg_write(1, 0x2c, 0, 4);
	cfg_write(1, 0x34, 0xff, 1);
	cr_assert_eq(cfg_read(1, 0, 4), 0x10421af4u);
	cr_assert_eq(cfg_read(1, 8, 4), 0x01800001u);
	cr_assert_eq(cfg_read(1, 0x2c, 4), 0x11001af4u);
	cr_assert_eq(cfg_read(1, 0x34, 1), 0u);
}

Test(pci, extended_space_reads_zero)
{
	cr_assert_eq(cfg_read(1, 0x100, 4), 0u);
	cr_assert_eq(cfg_read(1, 0xffc, 4), 0u);
	cfg_write(1, 0x100, 0xffffffff, 4);
	cr_assert_eq(cfg_read(1, 0x100, 4), 0u);
}

Test(pci, mechanism_1_selects_and_reads_parts)
{
	port_write(PORT_PCI_ADDR, 0x80000800, 4); /* 00:01.0 */
	cr_assert_eq(port_read(PORT_PCI_ADDR, 4), 0x80000800u);
	cr_assert_eq(port_read(PORT_PCI_DATA, 4), 0x10421af4u);
	cr_assert_eq(port_read(PORT_PCI_DATA, 2), 0x1af4u);
	cr_assert_eq(port_read(PORT_PCI_DATA + 2, 2), 0x1042u);
	cr_assert_eq(port_read(PORT_PCI_DATA + 3, 1), 0x10u);
	port_write(PORT_PCI_ADDR, 0x8000083c, 4);
	port_write(PORT_PCI_DATA, 0x5a, 1);
	cr_assert_eq(cfg_read(1, 0x3c, 1), 0x5au);
}

Test(pci, mechanism_1_needs_enable_bit_bus_0_function_0)
{
	static const uint32_t nowhere[] = {0x00000800, 0x80010800, 0x80000900,
					   0x80001800};

	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		port_write(PORT_PCI_ADDR, nowhere[i], 4);
		cr_assert_eq(port_read(PORT_PCI_DATA, 4), 0xffffffffu);
	}
}

Test(pci, mechanism_1_probe_of_linux)
{
	/* pci_check_type1(): a byte write must not disturb the register */
	port_write(PORT_PCI_ADDR, 0x80000000, 4);
	port_write(PORT_PCI_ADDR + 3, 0x01, 1);
	cr_assert_eq(port_read(PORT_PCI_ADDR, 4), 0x80000000u);
	port_write(PORT_PCI_ADDR, 0xffffffff, 4);
	cr_assert_eq(port_read(PORT_PCI_ADDR, 4), 0x80fffffcu);
}

static unsigned int resets;

static void on_reset(void *opaque)
{
	cr_assert_eq(opaque, &resets);
	resets++;
}

Test(pci, port_cf9_resets_on_bit_2)
{
	resets = 0;
	port_write(0xcf9, 0x06, 1); /* nobody listens yet */
	pci_set_reset_handler(fake.vm.pci, on_reset, &resets);
	port_write(0xcf9, 0x02, 1);
	cr_assert_eq(resets, 0u);
	cr_assert_eq(port_read(0xcf9, 1), 0x02u);
	port_write(0xcf9, 0x06, 1);
	cr_assert_eq(resets, 1u);
	port_write(0xcf9, 0x0606, 2);
	port_write(PORT_PCI_ADDR, 0x00000600, 4);
	cr_assert_eq(resets, 1u);
}

Test(pci, bar_sizes_as_linux_does_it)
{
	uint32_t low = cfg_read(1, 0x10, 4);
	uint32_t high = cfg_read(1, 0x14, 4);

	cr_assert_eq(low, (uint32_t)FAKE_MMIO64_BASE | 4);
	cr_assert_eq(high, (uint32_t)(FAKE_MMIO64_BASE >> 32));
	cfg_write(1, 0x10, 0xffffffff, 4);
	cr_assert_eq(cfg_read(1, 0x10, 4), 0xfff80004u);
	cfg_write(1, 0x10, low, 4);
	cfg_write(1, 0x14, 0xffffffff, 4);
	cr_assert_eq(cfg_read(1, 0x14, 4), 0xffffffffu);
	cfg_write(1, 0x14, high, 4);
	cr_assert_eq(cfg_read(1, 0x10, 4), low);
	/* the other BARs don't exist */
	for (unsigned int reg = 0x18; reg < 0x28; reg += 4) {
		cfg_write(1, reg, 0xffffffff, 4);
		cr_assert_eq(cfg_read(1, reg, 4), 0u);
	}
}

Test(pci, bar_decodes_with_the_memory_bit_only)
{
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE, 1), 0xffu);
	cr_assert_eq(one.moves, 0u);
	cfg_write(1, 4, 2, 2);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE, 1), 0xa1u);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE + BAR_SIZE - 1, 1), 0xa1u);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE + BAR_SIZE, 1), 0xffu);
	cr_assert_eq(one.addr, FAKE_MMIO64_BASE);
	cfg_write(1, 4, 0, 2);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE, 1), 0xffu);
	cr_assert_eq(one.addr, PCI_BAR_NOWHERE);
}

Test(pci, bar_moves_below_4_gib_and_back)
{
	cfg_write(1, 4, 2, 2);
	cfg_write(1, 0x14, 0, 4);
	cfg_write(1, 0x10, (uint32_t)LAYOUT_MMIO32, 4);
	cr_assert_eq(one.addr, LAYOUT_MMIO32);
	cr_assert_eq(mem_read(LAYOUT_MMIO32, 1), 0xa1u);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE, 1), 0xffu);
	/* top eighth of the address space, as firmware likes it */
	cfg_write(1, 4, 0, 2);
	cfg_write(1, 0x10, 0, 4);
	cfg_write(1, 0x14, 0xe0, 4);
	cfg_write(1, 4, 2, 2);
	cr_assert_eq(one.addr, 0xe000000000ull);
	cr_assert_eq(mem_read(0xe000000000ull, 1), 0xa1u);
}

Test(pci, bar_at_an_illegal_address_is_not_decoded)
{
	static const uint64_t illegal[] = {
		0,
		0x100000,
		LAYOUT_LOW_RAM_END - BAR_SIZE,
		LAYOUT_ECAM,
		LAYOUT_ECAM + LAYOUT_ECAM_SIZE - BAR_SIZE,
		LAYOUT_KVM_TSS,
		LAYOUT_IOAPIC & ~(BAR_SIZE - 1),
		LAYOUT_LAPIC & ~(BAR_SIZE - 1),
		LAYOUT_4G,
		FAKE_MMIO64_BASE - BAR_SIZE,
		1ull << FAKE_PHYS_BITS,
		UINT64_MAX & ~(BAR_SIZE - 1),
	};

	cfg_write(1, 4, 2, 2);
	for (size_t i = 0; i < ARRAY_SIZE(illegal); i++) {
		cfg_write(1, 0x10, (uint32_t)illegal[i], 4);
		cfg_write(1, 0x14, (uint32_t)(illegal[i] >> 32), 4);
		cr_assert_eq(one.addr, PCI_BAR_NOWHERE, "0x%llx",
			     (unsigned long long)illegal[i]);
		cr_assert_neq(mem_read(illegal[i], 1), 0xa1u);
	}
	cfg_write(1, 0x14, (uint32_t)(FAKE_MMIO64_BASE >> 32), 4);
	cfg_write(1, 0x10, (uint32_t)FAKE_MMIO64_BASE, 4);
	cr_assert_eq(one.addr, FAKE_MMIO64_BASE);
}

Test(pci, overlapping_bar_waits_until_the_place_is_free)
{
	cfg_write(1, 4, 2, 2);
	cfg_write(2, 4, 2, 2);
	cfg_write(2, 0x10, (uint32_t)FAKE_MMIO64_BASE, 4);
	cr_assert_eq(two.addr, PCI_BAR_NOWHERE);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE, 1), 0xa1u);
	cfg_write(1, 0x10, (uint32_t)(FAKE_MMIO64_BASE + BAR_SIZE), 4);
	cr_assert_eq(two.addr, FAKE_MMIO64_BASE);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE, 1), 0xa2u);
	cr_assert_eq(mem_read(FAKE_MMIO64_BASE + BAR_SIZE, 1), 0xa1u);
}

Test(pci, bars_may_overlap_with_decode_off)
{
	cfg_write(1, 0x10, (uint32_t)(FAKE_MMIO64_BASE + BAR_SIZE), 4);
	cfg_write(2, 0x10, (uint32_t)FAKE_MMIO64_BASE, 4);
	cfg_write(1, 4, 2, 2);
	cfg_write(2, 4, 2, 2);
	cr_assert_eq(one.addr, FAKE_MMIO64_BASE + BAR_SIZE);
	cr_assert_eq(two.addr, FAKE_MMIO64_BASE);
	cr_assert_eq(one.moves, 1u);
}

Test(pci, bar_32)
{
	struct card c;

	card_plug(&c, 5, false, LAYOUT_MMIO32);
	cfg_write(5, 0x14, 0xffffffff, 4);
	cr_assert_eq(cfg_read(5, 0x14, 4), 0u);
	cfg_write(5, 4, 2, 2);
	cr_assert_eq(c.addr, LAYOUT_MMIO32);
	pci_detach(fake.vm.pci, &c.f);
	cr_assert_eq(c.addr, PCI_BAR_NOWHERE);
	cr_assert_eq(cfg_read(5, 0, 4), 0xffffffffu);
	cr_assert_eq(mem_read(LAYOUT_MMIO32, 1), 0xffu);
}

Test(pci, attach_checks_the_slot)
{
	struct card c = {0};
	struct err e = {0};

	pci_function_init(&c.f, &card_ids, NULL, NULL);
	cr_assert_eq(pci_attach(fake.vm.pci, 32, &c.f, &e), -EINVAL);
	cr_assert_eq(pci_attach(fake.vm.pci, 1, &c.f, &e), -EEXIST);
	cr_assert_eq(pci_attach(fake.vm.pci, 0, &c.f, &e), -EEXIST);
}

Test(pci, capability_that_does_not_fit_is_refused)
{
	static const uint8_t body[254];
	struct card c = {0};
	struct err e = {0};

	pci_function_init(&c.f, &card_ids, NULL, NULL);
	cr_assert_eq(pci_function_add_cap(&c.f, 9, body, 191, NULL, &e),
		     -ENOSPC);
	cr_assert_eq(pci_function_add_cap(&c.f, 9, body, 190, NULL, &e), 0x40);
	cr_assert_eq(pci_function_add_cap(&c.f, 9, body, 2, NULL, &e), -ENOSPC);
}
