/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_NUM_H
#define COMMON_BASE_NUM_H

/* Checked arithmetic and small integer helpers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define KIB	      (1ULL << 10)
#define MIB	      (1ULL << 20)
#define GIB	      (1ULL << 30)

/** add_ok()/mul_ok() - *ret = a + b (a * b); Return: false on overflow */
#define add_ok(a, b, ret) (!__builtin_add_overflow(a, b, ret))
#define mul_ok(a, b, ret) (!__builtin_mul_overflow(a, b, ret))

/** range_ok() - Does [off, off + len) lie within [0, size)? No overflow. */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/** ranges_overlap() - Do [a, a+alen) and [b, b+blen) share a byte? */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b,
				  uint64_t blen)
{
	return alen && blen && (a <= b ? b - a < alen : a - b < blen);
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/** align_up() - Round up to @align, a power of two; wraps to 0 at the top */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
