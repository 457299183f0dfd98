/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static struct store store;

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int put(const char *key, const char *text, int *fds, unsigned int n)
{
	struct err e = {0};
	int r = store_put(&store, key, (const uint8_t *)text, strlen(text), fds,
			  n, &e);

	cr_assert_eq(r < 0, e.text[0] != 0);
	return r;
}

Test(store, keeps_bytes_and_descriptors_in_order)
{
	int fds[2] = {eventfd(0, 0), eventfd(0, 0)}, first = fds[0];

	cr_assert_eq(put("vm", "one", fds, 2), 0);
	cr_assert_eq(fds[0], -1, "the store owns them");
	cr_assert_eq(put("device.0", "", NULL, 0), 0);
	cr_assert_eq(store.num, 2);
	cr_assert_str_eq(store.entries[0].key, "vm");
	cr_assert_eq(store.entries[0].len, 3);
	cr_assert_eq(memcmp(store.entries[0].data, "one", 3), 0);
	cr_assert_eq(store.entries[0].fds[0], first);
	cr_assert_str_eq(store.entries[1].key, "device.0");
	store_clear(&store);
	cr_assert_eq(store.num, 0);
	cr_assert(!is_open(first));
}

Test(store, replaces_in_place_and_closes_what_was)
{
	int old = eventfd(0, 0), new = eventfd(0, 0), fds[1] = {old};

	cr_assert_eq(put("a", "1", fds, 1), 0);
	cr_assert_eq(put("b", "2", NULL, 0), 0);
	fds[0] = new;
	cr_assert_eq(put("a", "three", fds, 1), 0);
	cr_assert(!is_open(old));
	cr_assert(is_open(new));
	cr_assert_eq(store.num, 2);
	cr_assert_str_eq(store.entries[0].key, "a");
	cr_assert_eq(store.entries[0].len, 5);
	store_clear(&store);
}

Test(store, refuses_what_is_too_much_and_stays_as_it_was)
{
	char key[STORE_KEY_MAX + 2];
	int fds[1] = {eventfd(0, 0)};

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = 0;
	cr_assert_eq(put(key, "", NULL, 0), -EINVAL);
	cr_assert_eq(put("", "", NULL, 0), -EINVAL);
	cr_assert_eq(put("fds", "", fds, STORE_FDS_MAX + 1), -E2BIG);
	cr_assert_eq(store.num, 0);
	for (int i = 0; i < STORE_ENTRIES_MAX; i++) {
		snprintf(key, sizeof(key), "%d", i);
		cr_assert_eq(put(key, "x", NULL, 0), 0);
	}
	cr_assert_eq(put("more", "x", fds, 1), -E2BIG);
	cr_assert(is_open(fds[0]), "stays the caller's");
	cr_assert_eq(put("7", "replaced", NULL, 0), 0);
	store_clear(&store);
}
