/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "dev-net/net.h"

/*
 * Guest -> host. Chain after chain goes to the back end in one call each; the
 * used ring is published once a burst. A back end that takes no more keeps
 * the queue waiting for EPOLLOUT, with the chain given back to the ring.
 */
#define WRITEV_MAX 1024 /* pieces */

static enum net_drop drop_of(enum net_verdict v)
{
	switch (v) {
	case NET_DROP_SHORT:
		return NET_DROPPED_SHORT;
	case NET_DROP_LONG:
		return NET_DROPPED_LONG;
	default:
		return NET_DROPPED_HEADER;
	}
}

/* Return: 1 done with the chain (sent or dropped), 0 later. */
static int send_chain(struct net_pair *p, const struct chain *c)
{
	uint8_t hdr[NET_HDR_LEN];
	struct iovec *iov = p->tx_iov;
	unsigned int n = c->num_out;
	enum net_verdict v = NET_DROP_SHORT;
	uint64_t len = 0;
	int rc;

	if (net_iov_read(iov + 1, n, 0, hdr, NET_HDR_LEN) == NET_HDR_LEN) {
		len = c->len_out - NET_HDR_LEN;
		n = 1 + net_iov_skip(iov + 1, n, NET_HDR_LEN);
		v = n > WRITEV_MAX
			    ? NET_DROP_LONG
			    : net_hdr_check(hdr, len, p->net->dev->acked);
	}
	if (v != NET_PASS) {
		net_pair_drop(p, drop_of(v));
		return 1;
	}
	iov[0] = (struct iovec){hdr, NET_HDR_LEN};
	rc = p->dead ? -EPIPE : p->net->backend->send(p, iov, n, len);
	if (rc == 0)
		return 0;
	if (rc == -EPIPE)
		net_pair_lost(p);
	if (rc < 0) {
		net_pair_drop(p, NET_DROPPED_BACKEND);
		return 1;
	}
	p->stats.tx_frames++;
	p->stats.tx_bytes += len;
	return 1;
}

enum tx_step { TX_MORE, TX_IDLE, TX_BLOCKED, TX_LOST };

static enum tx_step transmit_one(struct net_pair *p)
{
	struct chain c;
	int rc = queue_pop(p->tx, &c, p->tx_iov + 1, QUEUE_IOV_MAX);

	if (rc < 0) {
		device_needs_reset(p->net->dev, p->tx,
				   "net: malformed transmit ring");
		p->tx = NULL;
		return TX_LOST;
	}
	if (!rc)
		return queue_resume_kicks(p->tx) ? TX_MORE : TX_IDLE;
	/* A driver that transmits here has enabled the pair, even if that was
	 * said to a predecessor of this process. */
	if (!p->enabled)
		net_pair_enable(p, true);
	/* A predecessor may have sent it and died before it could say so. */
	if (c.redone && p->mark->done != NET_NO_CHAIN &&
	    c.counter <= p->mark->done) {
		queue_push(p->tx, &c, 0);
		return TX_MORE;
	}
	p->mark->now = c.counter;
	if (!send_chain(p, &c)) {
		queue_unpop(p->tx, &c);
		return TX_BLOCKED;
	}
	p->mark->done = c.counter;
	queue_push(p->tx, &c, 0);
	return TX_MORE;
}

void net_tx_run(struct net_pair *p)
{
	unsigned int left = NET_BURST;
	enum tx_step step = TX_MORE;
	struct queue *q = p->tx;
	int rc = 1;

	if (!q || p->tx_blocked ||
	    atomic_load_explicit(&p->settle, memory_order_acquire))
		return;
	if (!p->dead)
		rc = p->net->backend->flush(p);
	if (rc < 0)
		net_pair_lost(p);
	if (rc == 0) {
		p->tx_blocked = true;
		return;
	}
	queue_pause_kicks(q);
	while (step == TX_MORE && left--)
		step = transmit_one(p);
	/* A stream may keep the end of the last frame: it must not wait for
	 * the driver's next one. */
	if (step == TX_BLOCKED || (!p->dead && !p->net->backend->flush(p)))
		p->tx_blocked = true;
	if (step == TX_MORE)
		net_pair_wake(p);
	if (step != TX_LOST)
		queue_flush(q);
}
