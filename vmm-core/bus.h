/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_BUS_H
#define VMM_CORE_BUS_H

/*
 * Address ranges and who answers there: one bus for ports, one for MMIO.
 * Handlers run in a vCPU thread under the machine lock (vm.h), so they need
 * none of their own against each other. What nobody answers reads as all ones
 * and swallows writes.
 */

#include <stdint.h>

#include "common/base/err.h"

struct bus;

struct bus_ops {
	/* @off: from the range's start; @len: 1, 2, 4 or 8, within the range.
	 * The data is little-endian bytes. read fills all @len bytes. */
	void (*read)(void *opaque, uint64_t off, uint8_t *data, uint32_t len);
	void (*write)(void *opaque, uint64_t off, const uint8_t *data,
		      uint32_t len);
};

int bus_new(struct bus **ret, struct err *e);
void bus_free(struct bus *b);

/** bus_add() - Return: 0, -EEXIST (overlap), -EINVAL, -ENOSPC */
int bus_add(struct bus *b, uint64_t base, uint64_t size,
	    const struct bus_ops *ops, void *opaque, struct err *e);
/** bus_remove() - The range that starts at @base */
void bus_remove(struct bus *b, uint64_t base);

void bus_read(struct bus *b, uint64_t addr, uint8_t *data, uint32_t len);
void bus_write(struct bus *b, uint64_t addr, const uint8_t *data, uint32_t len);

#endif
