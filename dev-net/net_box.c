/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-net/net.h"

/*
 * Three slots: one the writer fills, one the reader looks at, one between
 * them. Each side swaps its own slot with the one between in a single atomic
 * exchange; release orders the filling of a slot before the swap that
 * publishes it, acquire orders the swap before the reading.
 */
#define BOX_FRESH 4u
#define BOX_SLOT  3u

void net_box_init(struct net_box *b)
{
	b->writer = 0;
	atomic_init(&b->middle, 1);
	b->reader = 2;
}

void net_box_put(struct net_box *b, const struct net_settings *s)
{
	uint8_t old;

	b->slots[b->writer] = *s;
	old = atomic_exchange_explicit(&b->middle,
				       (uint8_t)(b->writer | BOX_FRESH),
				       memory_order_acq_rel);
	b->writer = old & BOX_SLOT;
}

bool net_box_get(struct net_box *b, struct net_settings *ret)
{
	uint8_t old;

	if (!(atomic_load_explicit(&b->middle, memory_order_relaxed) &
	      BOX_FRESH))
		return false;
	old = atomic_exchange_explicit(&b->middle, b->reader,
				       memory_order_acq_rel);
	b->reader = old & BOX_SLOT;
	*ret = b->slots[b->reader];
	return true;
}
