/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_BUF_H
#define VMM_CORE_LOADER_BUF_H

/*
 * A bounded byte writer for tables. Writing past the end sets `full` and
 * changes nothing else, so that a builder checks once, at its end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/endian.h"

struct buf {
	uint8_t *data; /* the caller's */
	size_t size;
	size_t len;
	bool full;
};

static inline void buf_init(struct buf *b, void *data, size_t size)
{
	*b = (struct buf){.data = data, .size = size};
}

/** buf_add() - Append @n zero bytes; NULL when they don't fit */
static inline void *buf_add(struct buf *b, size_t n)
{
	uint8_t *p;

	if (b->full || n > b->size - b->len) {
		b->full = true;
		return NULL;
	}
	p = b->data + b->len;
	b->len += n;
	return memset(p, 0, n);
}

static inline void buf_put(struct buf *b, const void *src, size_t n)
{
	void *p = buf_add(b, n);

	if (p && n)
		memcpy(p, src, n);
}

static inline void buf_u8(struct buf *b, unsigned int v)
{
	uint8_t x = (uint8_t)v;

	buf_put(b, &x, sizeof(x));
}

static inline void buf_u16(struct buf *b, unsigned int v)
{
	le16 x = htole16((uint16_t)v);

	buf_put(b, &x, sizeof(x));
}

static inline void buf_u32(struct buf *b, uint32_t v)
{
	le32 x = htole32(v);

	buf_put(b, &x, sizeof(x));
}

static inline void buf_u64(struct buf *b, uint64_t v)
{
	le64 x = htole64(v);

	buf_put(b, &x, sizeof(x));
}

/** buf_checksum() - What makes the bytes' sum 0 when added to it */
static inline uint8_t buf_checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)(0 - sum);
}

#endif
