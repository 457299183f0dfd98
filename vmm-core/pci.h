/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PCI_H
#define VMM_CORE_PCI_H

/*
 * PCI segment 0, bus 0: 32 single-function devices with type-0 configuration
 * space, reached by mechanism 1 (ports 0xcf8, 0xcfc) and by ECAM. Slot 0 is
 * the host bridge. No bridges, no I/O BARs, no INTx.
 *
 * A configuration space is an array of bytes with an array of write masks:
 * the BAR registers size and move by their masks alone. A BAR answers on the
 * MMIO bus while memory decode is on and its address is legal: not RAM, not
 * the platform's, not another's, below the guest's physical limit. A BAR that
 * may not be there is silently not decoded (the guest reads all ones) and is
 * tried again whenever any BAR of the bus changes, so firmware may shuffle
 * functions in any order.
 *
 * Everything here runs under the machine lock (vm.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "vmm-core/vm.h"

#define PCI_CONFIG_SIZE 256 /* bytes; the rest of ECAM's 4 KiB reads 0 */
#define PCI_BARS	6
#define PCI_BAR_NOWHERE UINT64_MAX

#define PCI_COMMAND_MEMORY 0x0002u

#define PCI_REG_COMMAND	  0x04
#define PCI_REG_STATUS	  0x06
#define PCI_REG_BAR0	  0x10
#define PCI_REG_SUBSYSTEM 0x2c
#define PCI_REG_CAP_PTR	  0x34
#define PCI_REG_INT_LINE  0x3c

#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_MSIX	  0x11

struct pci_bus;

struct pci_ids {
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint32_t class_code; /* class, subclass, interface: 24 bits */
	uint8_t revision;
};

/* All optional. */
struct pci_function_ops {
	/* Before the guest reads [off, off + len): refresh f->config. */
	void (*config_read)(void *opaque, uint32_t off, uint32_t len);
	/* After the guest wrote there, through the masks. */
	void (*config_written)(void *opaque, uint32_t off, uint32_t len);
	/* @addr: PCI_BAR_NOWHERE while not decoded. Called with NOWHERE
	 * before the old range leaves the bus, and with the new address
	 * after the new range has joined it. */
	void (*bar_moved)(void *opaque, unsigned int bar, uint64_t addr);
};

struct pci_bar {
	uint64_t size; /* power of two; 0 = no BAR */
	bool is_64;
	const struct bus_ops *bus_ops;
	uint64_t mapped_at; /* PCI_BAR_NOWHERE: not decoded */
};

/* Embedded in its owner; fields are for reading, except config[] in the
 * callbacks. */
struct pci_function {
	const struct pci_function_ops *ops;
	void *opaque;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t wmask[PCI_CONFIG_SIZE]; /* 1 = the guest may change the bit */
	struct pci_bar bars[PCI_BARS];
	unsigned int last_cap;	  /* offset, 0 = none */
	unsigned int free_offset; /* for the next capability */
};

/** pci_bus_new() - Make bus 0 with its host bridge; registers ports and ECAM */
int pci_bus_new(struct vm *vm, struct pci_bus **ret, struct err *e);

/** pci_bus_free() - Leaves the buses of @vm, which must still exist; the
 *  functions must be detached already. NULL allowed. */
void pci_bus_free(struct pci_bus *b);

/**
 * pci_set_reset_handler() - Who is told about a reset through port 0xcf9
 *
 * Called under the machine lock, in a vCPU thread, for each byte write that
 * has bit 2 (reset CPU) set.
 */
void pci_set_reset_handler(struct pci_bus *b, void (*fn)(void *opaque),
			   void *opaque);

void pci_function_init(struct pci_function *f, const struct pci_ids *ids,
		       const struct pci_function_ops *ops, void *opaque);

/**
 * pci_function_add_cap() - Append a capability
 * @body: What follows the two header bytes (id, next)
 * @mask: Write mask for @body, NULL = read-only
 *
 * Return: the capability's offset (of its id), or -ENOSPC
 */
int pci_function_add_cap(struct pci_function *f, uint8_t id,
			 const uint8_t *body, size_t len, const uint8_t *mask,
			 struct err *e);

/**
 * pci_function_set_bar() - Declare a memory BAR and give it an address
 * @size: Power of two, 4 KiB to 2 GiB
 * @addr: Multiple of @size
 */
void pci_function_set_bar(struct pci_function *f, unsigned int bar,
			  uint64_t size, bool is_64, uint64_t addr,
			  const struct bus_ops *bus_ops);

/** pci_attach() - Plug in; Return: 0, -EINVAL (slot), -EEXIST */
int pci_attach(struct pci_bus *b, unsigned int slot, struct pci_function *f,
	       struct err *e);
/** pci_detach() - Pull out, with a last bar_moved(NOWHERE) if it is mapped */
void pci_detach(struct pci_bus *b, struct pci_function *f);

/** pci_config_read()/_write() - One access as ECAM does it. What lies outside
 *  the functions reads as all ones. @len: 1 to 8 */
void pci_config_read(struct pci_bus *b, unsigned int slot, uint32_t off,
		     uint8_t *data, uint32_t len);
void pci_config_write(struct pci_bus *b, unsigned int slot, uint32_t off,
		      const uint8_t *data, uint32_t len);

#endif
