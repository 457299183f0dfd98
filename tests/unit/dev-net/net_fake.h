/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEV_NET_NET_FAKE_H
#define TESTS_UNIT_DEV_NET_NET_FAKE_H

/*
 * Rings, workers and the runtime as plain arrays, so that a test plays the
 * driver without guest memory. A ring slot is one chain of up to 4 pieces.
 */

#include "dev-net/net.h"

#define FAKE_SLOTS 512

struct fake_buf {
	struct iovec iov[4];
	uint32_t num_out, num_in;
};

struct fake_ring {
	struct queue q; /* first: a queue is its ring */
	struct fake_buf bufs[FAKE_SLOTS];
	unsigned int num_bufs; /* made available */
	unsigned int popped;
	struct {
		unsigned int buf;
		uint32_t written;
	} used[FAKE_SLOTS];
	unsigned int num_used;
	unsigned int outstanding;
	unsigned int flushes;
	bool kicks_on;
	bool broken; /* pop says -EBADMSG */
};

extern unsigned int fake_needs_reset;
extern unsigned int fake_closed;
extern unsigned int fake_kicked_self;
extern uint32_t fake_watched; /* events of the only watch, ~0 none */

/** fake_net() - A device with one pair on @fd, ready to run */
struct net *fake_net(const struct net_backend *b, int fd, uint64_t features,
		     struct fake_ring *rx, struct fake_ring *tx);
void fake_add(struct fake_ring *r, void *out, uint32_t out_len, void *in,
	      uint32_t in_len);

#endif
