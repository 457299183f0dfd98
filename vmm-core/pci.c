/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

#define ECAM_FUNCTION_SIZE 4096u
#define ECAM_FUNCTIONS	   256u /* of one bus */
#define ECAM_BUS_SIZE	   (ECAM_FUNCTION_SIZE * ECAM_FUNCTIONS)

#define MECH1_SIZE     8u /* 0xcf8 to 0xcff */
#define MECH1_ENABLE   0x80000000u
#define MECH1_RESERVED 0x7f000003u
#define CF9_OFFSET     1u
#define CF9_RESET_CPU  0x04u

#define PCI_FIRST_CAP	    0x40u
#define PCI_STATUS_CAP_LIST 0x0010u
#define PCI_BAR_64	    0x04u

struct pci_bus {
	struct vm *vm;
	struct pci_function *functions[PCI_SLOTS];
	struct pci_function bridge;
	uint32_t address; /* mechanism 1 */
	uint8_t cf9;
	void (*reset_fn)(void *opaque);
	void *reset_opaque;
	bool on_ports;
	bool on_ecam;
	struct log_limit log;
};

/*
 * Where no BAR may be. RAM is below LAYOUT_LOW_RAM_END and from 4 GiB to
 * mmio64_base; the rest of the hole belongs to what is named here.
 */
static const struct {
	uint64_t base;
	uint64_t size;
} pci_reserved[] = {
	{0, LAYOUT_LOW_RAM_END},    {LAYOUT_ECAM, LAYOUT_ECAM_SIZE},
	{LAYOUT_KVM_TSS, 4 * 4096}, {LAYOUT_IOAPIC, 4096},
	{LAYOUT_LAPIC, MIB},
};

static bool pci_range_is_legal(const struct vm *vm, uint64_t addr,
			       uint64_t size)
{
	unsigned int bits = vm->phys_bits;
	uint64_t limit = bits && bits < 64 ? 1ULL << bits : UINT64_MAX;

	if (!range_ok(addr, size, limit))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(pci_reserved); i++) {
		if (ranges_overlap(addr, size, pci_reserved[i].base,
				   pci_reserved[i].size))
			return false;
	}
	return addr + size <= LAYOUT_4G || addr >= vm->mmio64_base;
}

static uint64_t pci_bar_address(const struct pci_function *f, unsigned int bar)
{
	const uint8_t *reg = f->config + PCI_REG_BAR0 + 4 * bar;
	uint64_t addr = get_le32(reg) & ~0xfu;

	if (f->bars[bar].is_64)
		addr |= (uint64_t)get_le32(reg + 4) << 32;
	return addr;
}

static uint64_t pci_bar_wanted(const struct pci_function *f, unsigned int bar)
{
	if (!f->bars[bar].size)
		return PCI_BAR_NOWHERE;
	if (!(get_le16(f->config + PCI_REG_COMMAND) & PCI_COMMAND_MEMORY))
		return PCI_BAR_NOWHERE;
	return pci_bar_address(f, bar);
}

static void pci_bar_moved(struct pci_function *f, unsigned int bar,
			  uint64_t addr)
{
	if (f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f->opaque, bar, addr);
}

static void pci_bar_unmap(struct pci_bus *b, struct pci_function *f,
			  unsigned int bar)
{
	if (f->bars[bar].mapped_at == PCI_BAR_NOWHERE)
		return;
	pci_bar_moved(f, bar, PCI_BAR_NOWHERE);
	bus_remove(b->vm->mmio, f->bars[bar].mapped_at);
	f->bars[bar].mapped_at = PCI_BAR_NOWHERE;
}

static void pci_bar_map(struct pci_bus *b, struct pci_function *f,
			unsigned int slot, unsigned int bar, uint64_t addr)
{
	struct pci_bar *r = &f->bars[bar];
	struct err e = {0};

	if (!pci_range_is_legal(b->vm, addr, r->size) ||
	    bus_add(b->vm->mmio, addr, r->size, r->bus_ops, f->opaque, &e)) {
		log_limited(&b->log, LOG_DEBUG,
			    "pci: 00:%02x.0 BAR%u can't be at 0x%llx: %s", slot,
			    bar, (unsigned long long)addr,
			    e.code ? e.text : "not in a PCI window");
		return;
	}
	r->mapped_at = addr;
	pci_bar_moved(f, bar, addr);
}

/* Bring the MMIO bus in line with all registers: first everything leaves its
 * old place, then everything goes to its new one. */
static void pci_bus_update(struct pci_bus *b)
{
	for (unsigned int s = 0; s < PCI_SLOTS; s++) {
		struct pci_function *f = b->functions[s];

		for (unsigned int i = 0; f && i < PCI_BARS; i++) {
			if (f->bars[i].mapped_at != pci_bar_wanted(f, i))
				pci_bar_unmap(b, f, i);
		}
	}
	for (unsigned int s = 0; s < PCI_SLOTS; s++) {
		struct pci_function *f = b->functions[s];

		for (unsigned int i = 0; f && i < PCI_BARS; i++) {
			uint64_t want = pci_bar_wanted(f, i);

			if (f->bars[i].mapped_at != want)
				pci_bar_map(b, f, s, i, want);
		}
	}
}

void pci_config_read(struct pci_bus *b, unsigned int slot, uint32_t off,
		     uint8_t *data, uint32_t len)
{
	struct pci_function *f = slot < PCI_SLOTS ? b->functions[slot] : NULL;

	if (!f || !range_ok(off, len, ECAM_FUNCTION_SIZE)) {
		memset(data, 0xff, len);
		return;
	}
	/* No extended capabilities: their space reads as zero. */
	memset(data, 0, len);
	if (!range_ok(off, len, PCI_CONFIG_SIZE))
		return;
	if (f->ops && f->ops->config_read)
		f->ops->config_read(f->opaque, off, len);
	memcpy(data, f->config + off, len);
}

void pci_config_write(struct pci_bus *b, unsigned int slot, uint32_t off,
		      const uint8_t *data, uint32_t len)
{
	struct pci_function *f = slot < PCI_SLOTS ? b->functions[slot] : NULL;

	if (!f || !range_ok(off, len, PCI_CONFIG_SIZE))
		return;
	for (uint32_t i = 0; i < len; i++) {
		uint8_t mask = f->wmask[off + i];
		uint8_t *p = &f->config[off + i];

		*p = (uint8_t)((*p & ~mask) | (data[i] & mask));
	}
	if (ranges_overlap(off, len, PCI_REG_COMMAND, 2) ||
	    ranges_overlap(off, len, PCI_REG_BAR0, 4 * PCI_BARS))
		pci_bus_update(b);
	if (f->ops && f->ops->config_written)
		f->ops->config_written(f->opaque, off, len);
}

/* ECAM: bus 0 alone is on the MMIO bus; functions 1 to 7 don't exist. */

static unsigned int ecam_slot(uint64_t off)
{
	uint64_t function = off / ECAM_FUNCTION_SIZE;

	return function % 8 ? PCI_SLOTS : (unsigned int)(function / 8);
}

static void ecam_read(void *opaque, uint64_t off, uint8_t *data, uint32_t len)
{
	pci_config_read(opaque, ecam_slot(off),
			(uint32_t)(off % ECAM_FUNCTION_SIZE), data, len);
}

static void ecam_write(void *opaque, uint64_t off, const uint8_t *data,
		       uint32_t len)
{
	pci_config_write(opaque, ecam_slot(off),
			 (uint32_t)(off % ECAM_FUNCTION_SIZE), data, len);
}

static const struct bus_ops ecam_ops = {ecam_read, ecam_write};

/* Mechanism 1: where the address register points, or PCI_SLOTS for nowhere. */
static unsigned int mech1_slot(const struct pci_bus *b)
{
	unsigned int bus = b->address >> 16 & 0xff;
	unsigned int function = b->address >> 8 & 7;

	if (!(b->address & MECH1_ENABLE) || bus || function)
		return PCI_SLOTS;
	return b->address >> 11 & 31;
}

/* Only dword accesses reach the address register, as on hardware; the port
 * inside it that answers to bytes is the reset control register. */
static void mech1_read(void *opaque, uint64_t off, uint8_t *data, uint32_t len)
{
	struct pci_bus *b = opaque;

	if (off >= 4 && len <= 4) {
		uint32_t reg = (b->address & 0xfc) + ((uint32_t)off - 4);

		pci_config_read(b, mech1_slot(b), reg, data, len);
		return;
	}
	memset(data, 0xff, len);
	if (off == 0 && len == 4)
		put_le32(data, b->address);
	else if (off == CF9_OFFSET && len == 1)
		data[0] = b->cf9;
}

static void mech1_write(void *opaque, uint64_t off, const uint8_t *data,
			uint32_t len)
{
	struct pci_bus *b = opaque;

	if (off >= 4 && len <= 4) {
		uint32_t reg = (b->address & 0xfc) + ((uint32_t)off - 4);

		pci_config_write(b, mech1_slot(b), reg, data, len);
	} else if (off == 0 && len == 4) {
		b->address = get_le32(data) & ~MECH1_RESERVED;
	} else if (off == CF9_OFFSET && len == 1) {
		b->cf9 = data[0] & (uint8_t)~CF9_RESET_CPU;
		if ((data[0] & CF9_RESET_CPU) && b->reset_fn)
			b->reset_fn(b->reset_opaque);
	}
}

static const struct bus_ops mech1_ops = {mech1_read, mech1_write};

void pci_set_reset_handler(struct pci_bus *b, void (*fn)(void *opaque),
			   void *opaque)
{
	b->reset_fn = fn;
	b->reset_opaque = opaque;
}

void pci_function_init(struct pci_function *f, const struct pci_ids *ids,
		       const struct pci_function_ops *ops, void *opaque)
{
	*f = (struct pci_function){
		.ops = ops, .opaque = opaque, .free_offset = PCI_FIRST_CAP};
	for (unsigned int i = 0; i < PCI_BARS; i++)
		f->bars[i].mapped_at = PCI_BAR_NOWHERE;
	put_le16(f->config, ids->vendor);
	put_le16(f->config + 2, ids->device);
	put_le32(f->config + 8, ids->class_code << 8 | ids->revision);
	put_le16(f->config + PCI_REG_SUBSYSTEM, ids->subsystem_vendor);
	put_le16(f->config + PCI_REG_SUBSYSTEM + 2, ids->subsystem);
	/* Memory decode, bus master, parity, SERR, INTx disable */
	put_le16(f->wmask + PCI_REG_COMMAND, 0x0546);
	f->wmask[PCI_REG_INT_LINE] = 0xff;
}

int pci_function_add_cap(struct pci_function *f, uint8_t id,
			 const uint8_t *body, size_t len, const uint8_t *mask,
			 struct err *e)
{
	unsigned int off = f->free_offset;
	uint16_t status = get_le16(f->config + PCI_REG_STATUS);

	if (len > PCI_CONFIG_SIZE || off + 2 + len > PCI_CONFIG_SIZE)
		return err_set(e, -ENOSPC, "pci: no room for capability 0x%02x",
			       id);
	f->config[off] = id;
	memcpy(f->config + off + 2, body, len);
	if (mask)
		memcpy(f->wmask + off + 2, mask, len);
	f->config[f->last_cap ? f->last_cap + 1 : PCI_REG_CAP_PTR] =
		(uint8_t)off;
	put_le16(f->config + PCI_REG_STATUS, status | PCI_STATUS_CAP_LIST);
	f->last_cap = off;
	f->free_offset = (unsigned int)align_up(off + 2 + len, 4);
	return (int)off;
}

void pci_function_set_bar(struct pci_function *f, unsigned int bar,
			  uint64_t size, bool is_64, uint64_t addr,
			  const struct bus_ops *bus_ops)
{
	unsigned int reg = PCI_REG_BAR0 + 4 * bar;

	check(bar < (is_64 ? PCI_BARS - 1 : PCI_BARS));
	check(is_pow2(size) && size >= 4096 && size <= 2 * GIB);
	check(!(addr & (size - 1)) && (is_64 || addr + size <= LAYOUT_4G));
	f->bars[bar].size = size;
	f->bars[bar].is_64 = is_64;
	f->bars[bar].bus_ops = bus_ops;
	put_le32(f->config + reg, (uint32_t)addr | (is_64 ? PCI_BAR_64 : 0));
	put_le32(f->wmask + reg, (uint32_t) ~(size - 1));
	if (is_64) {
		put_le32(f->config + reg + 4, (uint32_t)(addr >> 32));
		put_le32(f->wmask + reg + 4, UINT32_MAX);
	}
}

int pci_attach(struct pci_bus *b, unsigned int slot, struct pci_function *f,
	       struct err *e)
{
	if (slot >= PCI_SLOTS)
		return err_set(e, -EINVAL,
			       "pci: slot %u does not exist, use 1 to %d", slot,
			       PCI_SLOTS - 1);
	if (b->functions[slot])
		return err_set(e, -EEXIST, "pci: slot %u is taken", slot);
	b->functions[slot] = f;
	pci_bus_update(b);
	return 0;
}

void pci_detach(struct pci_bus *b, struct pci_function *f)
{
	for (unsigned int s = 0; s < PCI_SLOTS; s++) {
		if (b->functions[s] != f)
			continue;
		for (unsigned int i = 0; i < PCI_BARS; i++)
			pci_bar_unmap(b, f, i);
		b->functions[s] = NULL;
		pci_bus_update(b);
		return;
	}
}

static int pci_bus_register(struct pci_bus *b, struct err *e)
{
	static const struct pci_ids ids = {
		.vendor = PCI_HOST_BRIDGE_VENDOR,
		.device = PCI_HOST_BRIDGE_DEVICE,
		.class_code = 0x060000,
	};
	int r;

	pci_function_init(&b->bridge, &ids, NULL, NULL);
	r = pci_attach(b, 0, &b->bridge, e);
	if (r < 0)
		return r;
	r = bus_add(b->vm->pio, PORT_PCI_ADDR, MECH1_SIZE, &mech1_ops, b, e);
	if (r < 0)
		return r;
	b->on_ports = true;
	r = bus_add(b->vm->mmio, LAYOUT_ECAM, LAYOUT_ECAM_BUSES * ECAM_BUS_SIZE,
		    &ecam_ops, b, e);
	if (r < 0)
		return r;
	b->on_ecam = true;
	return 0;
}

int pci_bus_new(struct vm *vm, struct pci_bus **ret, struct err *e)
{
	struct pci_bus *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, -ENOMEM, "pci: no memory for the bus");
	b->vm = vm;
	b->log = (struct log_limit)LOG_LIMIT_INIT(8);
	r = pci_bus_register(b, e);
	if (r < 0) {
		pci_bus_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void pci_bus_free(struct pci_bus *b)
{
	if (!b)
		return;
	if (b->on_ports)
		bus_remove(b->vm->pio, PORT_PCI_ADDR);
	if (b->on_ecam)
		bus_remove(b->vm->mmio, LAYOUT_ECAM);
	free(b);
}
