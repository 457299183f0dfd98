/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/num.h"

/* 31 functions with 6 BARs of up to 5 structures stay far below. */
#define BUS_MAX_RANGES 1024

struct bus_range {
	uint64_t base;
	uint64_t size;
	const struct bus_ops *ops;
	void *opaque;
};

/* Ranges ascend by base and don't overlap. */
struct bus {
	size_t num;
	struct bus_range ranges[BUS_MAX_RANGES];
};

int bus_new(struct bus **ret, struct err *e)
{
	/* Not calloc: unused entries stay untouched memory. */
	struct bus *b = malloc(sizeof(*b));

	if (!b)
		return err_set(e, -ENOMEM, "no memory for a bus");
	b->num = 0;
	*ret = b;
	return 0;
}

void bus_free(struct bus *b)
{
	free(b);
}

/* Index of the first range with base > addr. */
static size_t bus_upper(const struct bus *b, uint64_t addr)
{
	size_t lo = 0, hi = b->num;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (b->ranges[mid].base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct bus_range *bus_find(struct bus *b, uint64_t addr)
{
	size_t i = bus_upper(b, addr);

	if (!i || addr - b->ranges[i - 1].base >= b->ranges[i - 1].size)
		return NULL;
	return &b->ranges[i - 1];
}

int bus_add(struct bus *b, uint64_t base, uint64_t size,
	    const struct bus_ops *ops, void *opaque, struct err *e)
{
	size_t i = bus_upper(b, base);

	if (!size || base + (size - 1) < base)
		return err_set(e, -EINVAL,
			       "bus range at 0x%" PRIx64 " is empty or wraps",
			       base);
	if ((i && ranges_overlap(b->ranges[i - 1].base, b->ranges[i - 1].size,
				 base, size)) ||
	    (i < b->num &&
	     ranges_overlap(b->ranges[i].base, b->ranges[i].size, base, size)))
		return err_set(e, -EEXIST,
			       "bus range at 0x%" PRIx64 " is taken", base);
	if (b->num == BUS_MAX_RANGES)
		return err_set(e, -ENOSPC, "too many bus ranges");
	memmove(&b->ranges[i + 1], &b->ranges[i],
		(b->num - i) * sizeof(b->ranges[0]));
	b->ranges[i] = (struct bus_range){base, size, ops, opaque};
	b->num++;
	return 0;
}

void bus_remove(struct bus *b, uint64_t base)
{
	size_t i = bus_upper(b, base);

	if (!i || b->ranges[i - 1].base != base)
		return;
	memmove(&b->ranges[i - 1], &b->ranges[i],
		(b->num - i) * sizeof(b->ranges[0]));
	b->num--;
}

/* The range that holds all of an access of a size that handlers know. */
static struct bus_range *bus_find_whole(struct bus *b, uint64_t addr,
					uint32_t len)
{
	struct bus_range *r;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return NULL;
	r = bus_find(b, addr);
	return r && range_ok(addr - r->base, len, r->size) ? r : NULL;
}

/*
 * An access that crosses the end of a range, or of an odd size, is done byte
 * by byte: each byte goes where it belongs.
 */
void bus_read(struct bus *b, uint64_t addr, uint8_t *data, uint32_t len)
{
	struct bus_range *r = bus_find_whole(b, addr, len);

	memset(data, 0xff, len);
	if (r) {
		r->ops->read(r->opaque, addr - r->base, data, len);
		return;
	}
	for (uint32_t i = 0; len > 1 && i < len; i++)
		bus_read(b, addr + i, data + i, 1);
}

void bus_write(struct bus *b, uint64_t addr, const uint8_t *data, uint32_t len)
{
	struct bus_range *r = bus_find_whole(b, addr, len);

	if (r) {
		r->ops->write(r->opaque, addr - r->base, data, len);
		return;
	}
	for (uint32_t i = 0; len > 1 && i < len; i++)
		bus_write(b, addr + i, data + i, 1);
}
