/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

static void store_drop(struct store_entry *en)
{
	for (unsigned int i = 0; i < en->num_fds; i++)
		fd_close(en->fds[i]);
	en->num_fds = 0;
	free(en->data);
	en->data = NULL;
}

static struct store_entry *store_find(struct store *s, const char *key)
{
	for (unsigned int i = 0; i < s->num; i++)
		if (!strcmp(s->entries[i].key, key))
			return &s->entries[i];
	return NULL;
}

int store_put(struct store *s, const char *key, const uint8_t *data, size_t len,
	      int *fds, unsigned int num_fds, struct err *e)
{
	struct store_entry *en = store_find(s, key);
	size_t key_len = strlen(key);
	uint8_t *copy;

	if (!key_len || key_len > STORE_KEY_MAX)
		return err_set(e, -EINVAL, "a key of %zu bytes, not 1 to %d",
			       key_len, STORE_KEY_MAX);
	if (num_fds > STORE_FDS_MAX || (!en && s->num == STORE_ENTRIES_MAX))
		return err_set(e, -E2BIG,
			       "%u descriptors in entry %u; at most %d, %d "
			       "entries",
			       num_fds, s->num, STORE_FDS_MAX,
			       STORE_ENTRIES_MAX);
	copy = malloc(len + 1);
	if (!copy)
		return err_set(e, -ENOMEM, "no memory to keep %zu bytes", len);
	if (len)
		memcpy(copy, data, len);
	if (en) {
		store_drop(en);
	} else {
		en = &s->entries[s->num++];
		memcpy(en->key, key, key_len + 1);
	}
	en->data = copy;
	en->len = len;
	for (unsigned int i = 0; i < num_fds; i++)
		en->fds[i] = take_fd(&fds[i]);
	en->num_fds = num_fds;
	return 0;
}

void store_clear(struct store *s)
{
	for (unsigned int i = 0; i < s->num; i++)
		store_drop(&s->entries[i]);
	s->num = 0;
}
