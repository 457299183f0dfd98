/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_MEMORY_H
#define VMM_CORE_MEMORY_H

/*
 * Guest memory: one sealed memfd, mapped once, seen by the guest in two
 * pieces: [0, 3 GiB) and the rest from 4 GiB. The 64-bit window for PCI
 * follows.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "proto/core.pb-c.h"
#include "vmm-core/hv.h"

#define MEMORY_SIZE_MIN	   (2ull << 20)
#define MEMORY_SIZE_MAX	   (16ull << 40)
#define MEMORY_MAX_REGIONS 2

struct memory_region {
	gpa_t gpa;
	uint64_t size;	 /* bytes */
	uint64_t offset; /* in the memfd */
};

/* Where things lie; pure arithmetic. */
struct memory_plan {
	struct memory_region regions[MEMORY_MAX_REGIONS];
	unsigned int num_regions;
	uint64_t mmio64_base;
	uint64_t mmio64_size;
};

/** memory_plan() - Return: 0, -EINVAL when @size doesn't fit @phys_bits or
 *  isn't a multiple of @page_size */
int memory_plan(uint64_t size, uint64_t page_size, unsigned int phys_bits,
		struct memory_plan *ret, struct err *e);

struct memory;

/** memory_new() - Make, seal, map, prefault (with threads that end before it
 *  returns) */
int memory_new(const Bulkhead__MemoryConfig *cfg, unsigned int phys_bits,
	       struct memory **ret, struct err *e);
void memory_free(struct memory *m);

const struct memory_plan *memory_get_plan(const struct memory *m);
int memory_fd(const struct memory *m);
/** memory_map() - Give it to the guest */
int memory_map(struct memory *m, struct hv *hv, struct err *e);

#endif
