/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_BYTERING_H
#define COMMON_BASE_BYTERING_H

/*
 * A bounded queue of bytes on their way to a slow reader. When it is full the
 * oldest bytes give way: a late reader sees the newest output, and a writer
 * never waits. One thread at a time.
 */

#include <stddef.h>
#include <stdint.h>

struct bytering {
	uint8_t *data;	  /* owned */
	size_t size;	  /* bytes */
	size_t head;	  /* oldest byte */
	size_t len;	  /* bytes held */
	uint64_t dropped; /* bytes that gave way so far */
};

/** bytering_init() - Return: 0 or -ENOMEM */
int bytering_init(struct bytering *r, size_t size);
void bytering_done(struct bytering *r);

/** bytering_put() - Append all of it */
void bytering_put(struct bytering *r, const uint8_t *data, size_t len);

/**
 * bytering_flush() - Write to a non-blocking descriptor
 *
 * Return: 0 all gone; 1 some is left, the descriptor takes no more now;
 *         negative errno otherwise (nothing is lost)
 */
int bytering_flush(struct bytering *r, int fd);

/**
 * bytering_write() - One write of at most @max bytes, for a descriptor that
 * blocks and was seen to be ready
 *
 * Return: 0 all gone; 1 some is left; negative errno otherwise
 */
int bytering_write(struct bytering *r, int fd, size_t max);

/** bytering_drop() - Give everything up */
void bytering_drop(struct bytering *r);

#endif
