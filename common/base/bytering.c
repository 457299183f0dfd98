/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/bytering.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int bytering_init(struct bytering *r, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->data = malloc(size);
	if (!r->data)
		return -ENOMEM;
	r->size = size;
	return 0;
}

void bytering_done(struct bytering *r)
{
	free(r->data);
	memset(r, 0, sizeof(*r));
}

void bytering_put(struct bytering *r, const uint8_t *data, size_t len)
{
	size_t tail, first;

	if (len > r->size) {
		r->dropped += len - r->size;
		data += len - r->size;
		len = r->size;
	}
	if (len > r->size - r->len) {
		size_t drop = len - (r->size - r->len);

		r->head = (r->head + drop) % r->size;
		r->len -= drop;
		r->dropped += drop;
	}
	tail = (r->head + r->len) % r->size;
	first = len < r->size - tail ? len : r->size - tail;
	memcpy(r->data + tail, data, first);
	memcpy(r->data, data + first, len - first);
	r->len += len;
}

void bytering_drop(struct bytering *r)
{
	r->dropped += r->len;
	r->len = 0;
}

/*
 * @sys core write: bytes to the serial port's peer
 */
int bytering_write(struct bytering *r, int fd, size_t max)
{
	size_t first = r->len < r->size - r->head ? r->len : r->size - r->head;
	ssize_t n;

	if (!first)
		return 0;
	do
		n = write(fd, r->data + r->head, first < max ? first : max);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 1 : -errno;
	r->head = (r->head + (size_t)n) % r->size;
	r->len -= (size_t)n;
	return r->len ? 1 : 0;
}

int bytering_flush(struct bytering *r, int fd)
{
	while (r->len) {
		size_t before = r->len;
		int ret = bytering_write(r, fd, r->size);

		if (ret < 0 || r->len == before)
			return ret;
	}
	return 0;
}
