/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LOAD_PATTERN_H
#define TESTS_GUEST_LOAD_PATTERN_H

/*
 * What the load guest writes, as both ends know it: the guest checks what it
 * reads back, a host program checks the image and the streams. All pure.
 */

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t pattern_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* ---- disk ---- */

#define PATTERN_BLOCK 4096u
#define PATTERN_WORDS (PATTERN_BLOCK / 8)
#define PATTERN_MAGIC 0x62756c6b6c6f6164ull

/* A generation: 0 = never written, zeroes; this bit: zeroes were written. */
#define PATTERN_ZEROED 0x80000000u

/* The first words of a block; the others follow from them. */
struct pattern_header {
	uint64_t magic;
	uint64_t sequence; /* of the request */
	uint64_t block;
	uint64_t generation;
	uint64_t checksum; /* of the four above */
};
#define PATTERN_HEADER_WORDS 5

static inline uint64_t pattern_checksum(const struct pattern_header *h)
{
	uint64_t v = pattern_mix(h->magic ^ h->sequence);

	v = pattern_mix(v ^ h->block);
	return pattern_mix(v ^ h->generation);
}

static inline void pattern_fill(uint64_t *words, uint64_t sequence,
				uint64_t block, uint32_t generation)
{
	struct pattern_header *h = (struct pattern_header *)words;

	*h = (struct pattern_header){PATTERN_MAGIC, sequence, block, generation,
				     0};
	h->checksum = pattern_checksum(h);
	for (unsigned int i = PATTERN_HEADER_WORDS; i < PATTERN_WORDS; i++)
		words[i] = pattern_mix(h->checksum + i);
}

/** pattern_check() - First word of the block that is not as it should be
 *  Return: PATTERN_WORDS if all are */
static inline unsigned int pattern_check(const uint64_t *words, uint64_t block,
					 uint32_t generation)
{
	const struct pattern_header *h = (const struct pattern_header *)words;
	bool zero = !generation || (generation & PATTERN_ZEROED);
	unsigned int i = 0;

	if (!zero) {
		if (h->magic != PATTERN_MAGIC)
			return 0;
		if (h->block != block)
			return 2;
		if (h->generation != generation)
			return 3;
		if (h->checksum != pattern_checksum(h))
			return 4;
		i = PATTERN_HEADER_WORDS;
	}
	for (; i < PATTERN_WORDS; i++) {
		if (words[i] != (zero ? 0 : pattern_mix(h->checksum + i)))
			return i;
	}
	return PATTERN_WORDS;
}

/* Behind the data blocks: a table of their generations, 4 bytes each. */
static inline uint64_t pattern_table_blocks(uint64_t blocks)
{
	return (blocks * 4 + PATTERN_BLOCK - 1) / PATTERN_BLOCK;
}

static inline uint64_t pattern_digest(const uint32_t *table, uint64_t blocks)
{
	uint64_t v = blocks;

	for (uint64_t i = 0; i < blocks; i++)
		v = pattern_mix(v ^ table[i]);
	return v;
}

/* ---- network ---- */

#define PATTERN_ETHERTYPE  0x88b5 /* for local experiments */
#define PATTERN_FRAME_MIN  60
#define PATTERN_FRAME_MAX  1514
#define PATTERN_FRAME_HEAD 14

/* Behind the Ethernet header; the rest follows from the sequence number. */
struct pattern_frame {
	uint64_t magic;
	uint64_t sequence;
	uint32_t len; /* of the frame */
} __attribute__((packed));

static inline uint32_t pattern_frame_len(uint64_t sequence)
{
	return PATTERN_FRAME_MIN +
	       (uint32_t)(pattern_mix(sequence) %
			  (PATTERN_FRAME_MAX - PATTERN_FRAME_MIN + 1));
}

static inline uint8_t pattern_frame_byte(uint64_t sequence, uint32_t at)
{
	return (uint8_t)(pattern_mix(sequence ^ at / 8) >> at % 8 * 8);
}

/* ---- console ---- */

#define PATTERN_LINE_MAX 80

/** pattern_line() - Line number @n of the guest: "C 00000042 ....\n"
 *  Return: its length */
static inline unsigned int pattern_line(uint64_t n, char *ret)
{
	unsigned int pad = (unsigned int)(pattern_mix(n) % 60), i = 0;

	ret[i++] = 'C';
	ret[i++] = ' ';
	for (uint64_t unit = 10000000; unit; unit /= 10)
		ret[i++] = (char)('0' + n / unit % 10);
	ret[i++] = ' ';
	for (unsigned int k = 0; k < pad; k++)
		ret[i++] = (char)('a' + (n + k) % 26);
	ret[i++] = '\n';
	return i;
}

/** pattern_input() - Byte @at of what the host types */
static inline char pattern_input(uint64_t at)
{
	return (char)(' ' + pattern_mix(at) % 95);
}

#endif
