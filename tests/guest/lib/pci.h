/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_PCI_H
#define TESTS_GUEST_LIB_PCI_H

/* PCI bus 0 by mechanism 1 (ports 0xcf8, 0xcfc). */

#include "lib/guest.h"

#define PCI_SLOTS	32
#define PCI_VENDOR_ID	0x00
#define PCI_DEVICE_ID	0x02
#define PCI_COMMAND	0x04
#define PCI_BAR0	0x10
#define PCI_CAP_POINTER 0x34
#define PCI_CAP_VENDOR	0x09

#define PCI_COMMAND_MEMORY 0x2
#define PCI_COMMAND_MASTER 0x4

uint32_t pci_read(unsigned int slot, unsigned int reg, unsigned int len);
void pci_write(unsigned int slot, unsigned int reg, unsigned int len,
	       uint32_t v);

/** pci_next_cap() - Next capability of this id after @pos (0 = the first)
 *  Return: its place in config space, 0 = none */
unsigned int pci_next_cap(unsigned int slot, unsigned int pos, uint8_t id);

/** pci_bar() - Address of a memory BAR; gives it one below 4 GiB, where pages
 *  are mapped, unless it has one there */
uint64_t pci_bar(unsigned int slot, unsigned int bar);

#endif
