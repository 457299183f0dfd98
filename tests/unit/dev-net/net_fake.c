/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dev-net/net_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

unsigned int fake_needs_reset;
unsigned int fake_closed;
unsigned int fake_kicked_self;
uint32_t fake_watched = ~0u;

static struct net net;
static struct device dev;

static struct fake_ring *ring_of(struct queue *q)
{
	return (struct fake_ring *)(void *)q;
}

int queue_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	      unsigned int max_iov)
{
	struct fake_ring *r = ring_of(q);
	const struct fake_buf *b = &r->bufs[r->popped];

	if (r->broken)
		return -EBADMSG;
	if (r->popped == r->num_bufs)
		return 0;
	check(b->num_out + b->num_in <= max_iov);
	memcpy(iov, b->iov, (b->num_out + b->num_in) * sizeof(*iov));
	*ret = (struct chain){
		.id = r->popped++,
		.num_desc = 1,
		.num_out = b->num_out,
		.num_in = b->num_in,
		.len_out = (uint32_t)net_iov_len(b->iov, b->num_out),
		.len_in = (uint32_t)net_iov_len(b->iov + b->num_out, b->num_in),
	};
	r->outstanding++;
	return 1;
}

void queue_unpop(struct queue *q, const struct chain *c)
{
	struct fake_ring *r = ring_of(q);

	check(r->popped && c->id == r->popped - 1);
	r->popped--;
	r->outstanding--;
}

void queue_push(struct queue *q, const struct chain *c, uint32_t written)
{
	struct fake_ring *r = ring_of(q);

	check(written <= c->len_in && r->num_used < FAKE_SLOTS);
	r->used[r->num_used].buf = c->id;
	r->used[r->num_used++].written = written;
	r->outstanding--;
}

void queue_flush(struct queue *q)
{
	ring_of(q)->flushes++;
}

void queue_pause_kicks(struct queue *q)
{
	ring_of(q)->kicks_on = false;
}

bool queue_resume_kicks(struct queue *q)
{
	struct fake_ring *r = ring_of(q);

	r->kicks_on = true;
	return r->popped < r->num_bufs;
}

void queue_kick_self(struct queue *q)
{
	(void)q;
	fake_kicked_self++;
}

int worker_watch(struct worker *w, int fd, uint32_t events, worker_fd_cb cb,
		 void *arg)
{
	(void)w;
	(void)fd;
	(void)cb;
	(void)arg;
	fake_watched = events;
	return 0;
}

int worker_watch_events(struct worker *w, int handle, uint32_t events)
{
	(void)w;
	(void)handle;
	fake_watched = events;
	return 0;
}

void worker_unwatch(struct worker *w, int handle)
{
	(void)w;
	(void)handle;
	fake_watched = ~0u;
}

void device_needs_reset(struct device *d, struct queue *q, const char *why)
{
	(void)d;
	(void)q;
	check(why);
	fake_needs_reset++;
}

void device_backend_closed(struct device *d, const char *why)
{
	(void)d;
	check(why);
	fake_closed++;
}

struct net *fake_net(const struct net_backend *b, int fd, uint64_t features,
		     struct fake_ring *rx, struct fake_ring *tx)
{
	struct net_pair *p = &net.pairs[0];

	memset(&net, 0, sizeof(net));
	memset(&dev, 0, sizeof(dev));
	dev.acked = features;
	dev.priv = &net;
	net.dev = &dev;
	net.backend = b;
	net.num_pairs = 1;
	net.settled_fd = eventfd(0, EFD_NONBLOCK);
	memcpy(net.mac, "\2\0\0\0\0\1", NET_MAC_LEN);
	p->net = &net;
	p->mark = &net.own.marks[0];
	p->fd = fd;
	p->watch = -1;
	p->wake_fd = eventfd(0, EFD_NONBLOCK);
	p->complaints = (struct log_limit)LOG_LIMIT_INIT(1);
	net_box_init(&p->box);
	net_ctrl_reset(&net);
	p->rx = rx ? &rx->q : NULL;
	p->tx = tx ? &tx->q : NULL;
	if (rx)
		rx->q.size = 256;
	net_pair_sync(p);
	return &net;
}

void fake_add(struct fake_ring *r, void *out, uint32_t out_len, void *in,
	      uint32_t in_len)
{
	struct fake_buf *b = &r->bufs[r->num_bufs++];

	if (out)
		b->iov[b->num_out++] = (struct iovec){out, out_len};
	if (in)
		b->iov[b->num_out + b->num_in++] = (struct iovec){in, in_len};
}
