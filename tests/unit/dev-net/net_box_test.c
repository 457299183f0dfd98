/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "dev-net/net.h"

#define ROUNDS 200000

Test(net_box, gives_the_latest_once)
{
	static struct net_box b;
	struct net_settings s = {.enabled = true}, got;

	net_box_init(&b);
	cr_expect_not(net_box_get(&b, &got));
	s.filter.num_uni = 1;
	net_box_put(&b, &s);
	s.filter.num_uni = 2;
	net_box_put(&b, &s);
	cr_assert(net_box_get(&b, &got));
	cr_expect_eq(got.filter.num_uni, 2);
	cr_expect_not(net_box_get(&b, &got));
}

static struct net_box shared;

static void *writer(void *arg)
{
	struct net_settings s = {.enabled = true};

	(void)arg;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		memcpy(s.filter.uni[0], &i, sizeof(i));
		memcpy(s.filter.multi[NET_FILTER_MAX - 1], &i, sizeof(i));
		net_box_put(&shared, &s);
	}
	return NULL;
}

Test(net_box, never_tears_and_never_goes_back, .timeout = 30)
{
	struct net_settings got;
	uint32_t last = 0;
	pthread_t t;

	net_box_init(&shared);
	cr_assert_eq(pthread_create(&t, NULL, writer, NULL), 0);
	while (last < ROUNDS) {
		uint32_t a, b;

		if (!net_box_get(&shared, &got))
			continue;
		memcpy(&a, got.filter.uni[0], sizeof(a));
		memcpy(&b, got.filter.multi[NET_FILTER_MAX - 1], sizeof(b));
		cr_assert_eq(a, b);
		cr_assert_gt(a, last);
		last = a;
	}
	pthread_join(t, NULL);
}
