/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_X86_64_MEMMAP_H
#define VMM_CORE_LOADER_X86_64_MEMMAP_H

/*
 * The memory map that the guest is told: RAM without the firmware area
 * [640 KiB, 1 MiB), and the PCI ECAM as reserved (Linux uses it only then).
 * Types are e820's, which PVH shares.
 */

#include "common/virtio/gmem.h"

#define MEMMAP_MAX	128 /* e820 entries in the zero page */
#define MEMMAP_RAM	1
#define MEMMAP_RESERVED 2

struct memmap {
	struct {
		gpa_t gpa;
		uint64_t size;
		uint32_t type;
	} entries[MEMMAP_MAX];
	unsigned int num;
};

/** memmap_build() - Ascending; adjacent regions become one entry */
void memmap_build(struct memmap *ret, const struct gmem *mem);

/** memmap_low_end() - One past the last byte of the RAM that starts at 1 MiB;
 *  1 MiB if there is none */
gpa_t memmap_low_end(const struct memmap *m);

#endif
