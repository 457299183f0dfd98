/* SPDX-License-Identifier: Apache-2.0 */

/*
 * PCI configuration space by both mechanisms, BARs at places that are not
 * theirs, MSI-X. What a message could do to this very processor (NMI, INIT,
 * SMI) is left out: that is the guest's own business.
 */

#include "hostile/hostile.h"

#include "lib/pci.h"

#define ECAM	      0xe8000000u
#define IOAPIC	      0xfec00000u
#define LAPIC	      0xfee00000u
#define LAPIC_VERSION 0x30
#define PORT_ADDR     0xcf8
#define PORT_DATA     0xcfc
#define CAP_MSIX      0x11
#define MSIX_CONTROL  2
#define MSIX_TABLE    4
#define MSIX_ENABLE   0x8000u
#define MSIX_MASK     0x4000u
#define NO_VECTOR     0xffff
#define CONFIG_SIZE   256
#define PROBE	      0x2000000u /* RAM that nobody uses */

static struct {
	uint32_t low, high; /* BAR 0 */
	uint32_t ids, class;
	unsigned int msix;
} saved;

static void pci_save(const struct target *t)
{
	unsigned int slot = t->dev.slot;

	saved.low = pci_read(slot, PCI_BAR0, 4);
	saved.high = pci_read(slot, PCI_BAR0 + 4, 4);
	saved.ids = pci_read(slot, PCI_VENDOR_ID, 4);
	saved.class = pci_read(slot, 8, 4);
	saved.msix = pci_next_cap(slot, 0, CAP_MSIX);
}

static void pci_put_bar(const struct target *t, uint64_t addr)
{
	pci_write(t->dev.slot, PCI_BAR0, 4, (uint32_t)addr);
	pci_write(t->dev.slot, PCI_BAR0 + 4, 4, (uint32_t)(addr >> 32));
}

static void pci_restore(const struct target *t)
{
	unsigned int slot = t->dev.slot;

	pci_write(slot, PCI_COMMAND, 2, 0);
	pci_write(slot, PCI_BAR0, 4, saved.low);
	pci_write(slot, PCI_BAR0 + 4, 4, saved.high);
	pci_write(slot, saved.msix + MSIX_CONTROL, 2, 0);
	pci_write(slot, PCI_COMMAND, 2,
		  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	act_check(t, "read-only registers change",
		  pci_read(slot, PCI_VENDOR_ID, 4) == saved.ids &&
			  pci_read(slot, 8, 4) == saved.class);
}

static uint32_t ioapic_version(void)
{
	*(volatile uint32_t *)(uint64_t)IOAPIC = 1;
	return *(volatile uint32_t *)(uint64_t)(IOAPIC + 0x10);
}

/* The BAR goes there with its decoder on; nothing that was there vanishes. */
static void bar_at(struct target *t, uint64_t addr)
{
	volatile uint32_t *ram = (volatile uint32_t *)(uint64_t)PROBE;
	volatile uint32_t *lapic =
		(volatile uint32_t *)(uint64_t)(LAPIC + LAPIC_VERSION);
	volatile uint32_t *ecam = (volatile uint32_t *)(uint64_t)ECAM;
	uint32_t io = ioapic_version(), local = *lapic, bridge = *ecam;
	uint32_t probe = (uint32_t)hostile_random();

	act_note(t);
	*ram = probe;
	pci_put_bar(t, addr);
	act_check(t, "a BAR hides RAM", *ram == probe);
	*ram = ~probe;
	act_check(t, "a BAR takes writes to RAM", *ram == ~probe);
	act_check(t, "a BAR hides the IOAPIC", ioapic_version() == io);
	act_check(t, "a BAR hides the local APIC", *lapic == local);
	act_check(t, "a BAR hides ECAM", *ecam == bridge);
	target_others_good(t, "BAR moved");
	pci_put_bar(t, (uint64_t)saved.high << 32 | saved.low);
	target_good(t, "BAR moved and back");
}

static void bars(struct target *t)
{
	static const uint64_t places[] = {
		0,
		PROBE,
		PROBE - 0x40000,
		0xbff80000,
		IOAPIC,
		LAPIC,
		ECAM,
		ECAM + 0x80000,
		ECAM + 0x100000,
		0xf8000000,
		0xfff80000,
		1ull << 32,
		1ull << 40,
		1ull << 46,
		1ull << 52,
		1ull << 63,
		0xfffffffffff80000,
	};

	for (unsigned int i = 0; i < COUNT(places); i++)
		bar_at(t, places[i]);
	bar_at(t, ram_end - 0x80000);
	for (unsigned int i = 0; i < NUM_TARGETS; i++) {
		if (targets[i] != t && targets[i]->there)
			bar_at(t, target_bar(targets[i]));
	}
	for (unsigned int i = 0; i < 100; i++) {
		act_note(t);
		pci_put_bar(t, hostile_random());
	}
	pci_restore(t);
	target_good(t, "BAR everywhere");
	/* Two in one place, and the first one leaves. */
	for (unsigned int i = 0; i < NUM_TARGETS; i++) {
		struct target *o = targets[i];

		if (o == t || !o->there)
			continue;
		act_note(t);
		pci_put_bar(t, target_bar(o));
		pci_write(o->dev.slot, PCI_COMMAND, 2, 0);
		pci_write(o->dev.slot, PCI_COMMAND, 2,
			  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		pci_restore(t);
		/* Whose it is now is up to the order; this sorts it out. */
		pci_write(o->dev.slot, PCI_COMMAND, 2, 0);
		pci_write(o->dev.slot, PCI_COMMAND, 2,
			  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		target_good(o, "BARs in one place");
		target_good(t, "BARs in one place");
	}
}

static void decoder(struct target *t)
{
	for (unsigned int i = 0; i < 50; i++) {
		act_note(t);
		pci_write(t->dev.slot, PCI_COMMAND, 2, i & 1 ? 0 : 0xfffd);
		act_check(t, "a BAR is there with its decoder off",
			  virtio_get32(&t->dev, COMMON_DEVICE) == UINT32_MAX);
		ring_kick(&t->rings[0]);
		pci_restore(t);
	}
	target_others_good(NULL, "decoder on and off");
}

static uint64_t ecam_read(const volatile uint8_t *p, unsigned int len)
{
	switch (len) {
	case 1:
		return *p;
	case 2:
		return *(const volatile uint16_t *)p;
	case 4:
		return *(const volatile uint32_t *)p;
	default:
		return *(const volatile uint64_t *)p;
	}
}

static void ecam_write(volatile uint8_t *p, unsigned int len, uint64_t x)
{
	switch (len) {
	case 1:
		*p = (uint8_t)x;
		break;
	case 2:
		*(volatile uint16_t *)p = (uint16_t)x;
		break;
	case 4:
		*(volatile uint32_t *)p = (uint32_t)x;
		break;
	default:
		*(volatile uint64_t *)p = x;
		break;
	}
}

/* Any size at any place, also across the end of a function's space. */
static void config_space(struct target *t)
{
	volatile uint8_t *mine =
		(volatile uint8_t *)(uint64_t)(ECAM + (t->dev.slot << 15));

	for (unsigned int i = 0; i < 120; i++) {
		uint64_t x = hostile_random();
		unsigned int len = 1u << x % 4;
		uint32_t off =
			(uint32_t)(x >> 8) % (i & 1 ? CONFIG_SIZE : 4096);

		act_note(t);
		ecam_write(mine + off, len, x >> 16);
		ecam_read(mine + off, len);
		if (i % 4 == 0)
			ecam_read(mine + 4096 - x % 8, len);
		pci_write(t->dev.slot, (unsigned int)(x >> 20) % CONFIG_SIZE,
			  1u << (x >> 4) % 3, (uint32_t)(x >> 32));
	}
	for (unsigned int i = 0; i < CONFIG_SIZE; i += 4)
		pci_write(t->dev.slot, i, 4, UINT32_MAX);
	pci_restore(t);
	target_recover(t, "config space of nonsense");
}

/* The address register in pieces, other buses and functions, ports that lie
 * across. Port 0xcf9 resets with bit 2, so that stays 0. */
static void mechanism_1(struct target *t)
{
	for (unsigned int i = 0; i < 120; i++) {
		uint64_t x = hostile_random();
		uint16_t port = (uint16_t)(PORT_DATA + (x >> 50) % 4);

		act_note(t);
		outl(PORT_ADDR, (uint32_t)x | (i & 1 ? 0x80000000u : 0));
		if (x >> 60 & 1)
			outw(PORT_ADDR, (uint16_t)(x >> 20));
		if (x >> 61 & 1)
			outb(PORT_ADDR + 1, (uint8_t)(x >> 20 & ~4u));
		if (x >> 62 & 1)
			outb(PORT_ADDR + 3, (uint8_t)(x >> 20));
		inl(port);
		inw(port);
		inb(port);
		inl(PORT_ADDR);
		/* Writes go to functions that do not exist. */
		outl(PORT_ADDR, 0x80000100u | ((uint32_t)x & 0xfe00fcu));
		outl(port, (uint32_t)(x >> 32));
		outw(port, (uint16_t)(x >> 32));
		outb(port, (uint8_t)(x >> 32));
	}
	pci_restore(t);
	target_others_good(NULL, "ports of nonsense");
}

/* The window to the BAR for those who can't map it. */
static void window(struct target *t)
{
	unsigned int slot = t->dev.slot, cap = 0, pos = 0;

	while ((pos = pci_next_cap(slot, pos, PCI_CAP_VENDOR))) {
		if (pci_read(slot, pos + CAP_TYPE, 1) == 5)
			cap = pos;
	}
	act_check(t, "no window to the BAR", cap);
	if (!cap)
		return;
	for (unsigned int i = 0; i < 120; i++) {
		uint64_t x = hostile_random();

		act_note(t);
		pci_write(slot, cap + CAP_BAR, 1, i % 8 ? 0 : (uint32_t)x);
		pci_write(slot, cap + CAP_OFFSET, 4,
			  (uint32_t)(i & 1 ? x >> 8 & 0x3f : x >> 8));
		pci_write(slot, cap + 12, 4,
			  i % 4 ? 1u << i % 3 : (uint32_t)(x >> 32));
		pci_read(slot, cap + 16, 1u << x % 3);
		pci_write(slot, cap + 16, 1u << x % 3,
			  (uint32_t)(x >> 40 & 0xf));
	}
	pci_restore(t);
	target_recover(t, "window of nonsense");
}

static void vectors(struct target *t)
{
	static const uint16_t wrong[] = {100, 0x7ff, 0x800, 0x8000, 0xfffe};
	struct virtio *v = &t->dev;

	virtio_put16(v, COMMON_QUEUE_SELECT, t->rings[0].index);
	for (unsigned int i = 0; i < COUNT(wrong); i++) {
		act_note(t);
		virtio_put16(v, COMMON_CONFIG_VECTOR, 0);
		virtio_put16(v, COMMON_QUEUE_VECTOR, 0);
		virtio_put16(v, COMMON_CONFIG_VECTOR, wrong[i]);
		virtio_put16(v, COMMON_QUEUE_VECTOR, wrong[i]);
		act_check(t, "a vector out of range is taken",
			  virtio_get16(v, COMMON_CONFIG_VECTOR) == NO_VECTOR &&
				  virtio_get16(v, COMMON_QUEUE_VECTOR) ==
					  NO_VECTOR);
	}
	virtio_put16(v, COMMON_CONFIG_VECTOR, 0);
	virtio_put16(v, COMMON_QUEUE_VECTOR, 0);
	act_check(t, "a good vector is refused",
		  !virtio_get16(v, COMMON_CONFIG_VECTOR) &&
			  !virtio_get16(v, COMMON_QUEUE_VECTOR));
}

/* The table changes all the time, and so does whether it counts, while the
 * device interrupts for each request. */
static void messages(struct target *t)
{
	unsigned int slot = t->dev.slot, num;
	uint32_t where = pci_read(slot, saved.msix + MSIX_TABLE, 4);
	volatile uint8_t *entries =
		(volatile uint8_t *)(target_bar(t) + (where & ~7u));
	volatile uint32_t *pba =
		(volatile uint32_t *)(target_bar(t) +
				      (pci_read(slot, saved.msix + 8, 4) &
				       ~7u));

	num = (pci_read(slot, saved.msix + MSIX_CONTROL, 2) & 0x7ff) + 1;
	for (unsigned int i = 0; i < 120; i++) {
		uint64_t x = hostile_random();
		uint32_t entry = (uint32_t)x % (num + 2);
		volatile uint32_t *e =
			(volatile uint32_t *)(entries + entry * 16);

		act_note(t);
		pci_write(slot, saved.msix + MSIX_CONTROL, 2,
			  (uint32_t)(x >> 8) & (MSIX_ENABLE | MSIX_MASK));
		e[0] = x >> 32 & 1 ? LAPIC | ((uint32_t)(x >> 40) & 0xff00c)
				   : (uint32_t)(x >> 33) & ~LAPIC;
		e[1] = x >> 34 & 7 ? 0 : (uint32_t)x;
		e[2] = (uint32_t)(x >> 24) & 0xff; /* fixed, no NMI */
		e[3] = x >> 35 & 1 ? 0 : (uint32_t)x;
		((volatile uint8_t *)e)[i % 16] = 0;
		((volatile uint16_t *)e)[i % 8 | 4] = 0x31;
		*pba = UINT32_MAX;
		if (i % 16 == 0)
			target_good(t, "messages of nonsense");
	}
	target_others_good(t, "messages of nonsense");
	pci_restore(t);
	target_recover(t, "messages of nonsense");
}

/* Registers that do not exist, sizes that it does not have. */
static void ioapic(struct target *t)
{
	volatile uint8_t *p = (volatile uint8_t *)(uint64_t)IOAPIC;
	uint32_t version = ioapic_version();

	for (unsigned int i = 0; i < 100; i++) {
		uint64_t x = hostile_random();

		act_note(t);
		/* All entries stay masked. */
		*(volatile uint32_t *)p = (uint32_t)x & 0xff;
		*(volatile uint32_t *)(p + 0x10) = (uint32_t)(x >> 8) | 0x10000;
		ecam_read(p + x % 4088, 1u << (x >> 50) % 4);
		p[(x >> 16) % 4 + 0x40] = (uint8_t)x;
		*(volatile uint64_t *)(p + 0x18) = x;
		*(volatile uint16_t *)(p + 0x22) = (uint16_t)x;
	}
	act_check(t, "the IOAPIC changes", ioapic_version() == version);
	target_others_good(NULL, "IOAPIC");
}

void pci_acts(struct target *t)
{
	pci_save(t);
	bars(t);
	decoder(t);
	config_space(t);
	mechanism_1(t);
	window(t);
	vectors(t);
	messages(t);
	ioapic(t);
}
