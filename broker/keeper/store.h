/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_KEEPER_STORE_H
#define BROKER_KEEPER_STORE_H

/*
 * What a keeper keeps: bytes and descriptors under a key, in the order in
 * which the keys came first. Nobody here knows what they mean.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

#define STORE_ENTRIES_MAX 64
#define STORE_KEY_MAX	  63 /* bytes */
#define STORE_FDS_MAX	  64 /* of an entry */

struct store_entry {
	char key[STORE_KEY_MAX + 1];
	uint8_t *data; /* owned, as the descriptors */
	size_t len;
	int fds[STORE_FDS_MAX];
	unsigned int num_fds;
};

struct store {
	struct store_entry entries[STORE_ENTRIES_MAX];
	unsigned int num;
};

/**
 * store_put() - Keep, instead of what has the same key
 * @fds: Taken over on success (-1 is left there)
 *
 * Return: 0, -EINVAL (key), -E2BIG (descriptors, entries), -ENOMEM; then
 *         everything is as before
 */
int store_put(struct store *s, const char *key, const uint8_t *data, size_t len,
	      int *fds, unsigned int num_fds, struct err *e);

/** store_clear() - Close and forget everything */
void store_clear(struct store *s);

#endif
