/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dev-net/net.h"

static void fd_ready(struct worker *w, uint32_t events, void *arg)
{
	struct net_pair *p = arg;

	(void)w;
	if (events & EPOLLOUT)
		p->tx_blocked = false;
	net_rx_run(p);
	net_tx_run(p);
	/* Nobody waits for data, so nothing above has seen the error. */
	if ((events & (EPOLLERR | EPOLLHUP)) && !(p->watched & EPOLLIN))
		net_pair_lost(p);
	net_pair_wait_events(p);
}

/* @sys net write: wake a pair up, tell that it has settled */
static void settle(struct net_pair *p)
{
	static const uint64_t one = 1;

	if (p->rx)
		net_rx_stop(p);
	if (!p->dead && !p->net->backend->settle(p))
		return; /* again when the socket moves */
	/* From here on the socket is the successor's. */
	p->dead = true;
	if (p->watch >= 0)
		worker_unwatch(p->worker, p->watch);
	p->watch = -1;
	if (write(p->net->settled_fd, &one, sizeof(one)) < 0)
		log_debug("net: settled, and nobody to tell");
}

/* The counter is never read: each write is one edge. */
static void woken(struct worker *w, uint32_t events, void *arg)
{
	struct net_pair *p = arg;

	(void)w;
	(void)events;
	net_pair_sync(p);
	net_rx_run(p);
	net_tx_run(p);
	net_pair_wait_events(p);
}

int net_pair_open(struct net_pair *p, struct worker *w, struct err *e)
{
	int rc;

	p->worker = w;
	p->watch = -1;
	rc = worker_watch(w, p->wake_fd, EPOLLIN | EPOLLET, woken, p);
	if (rc < 0)
		return err_set(e, rc, "net: can't watch the wake-up of pair %u",
			       p->index);
	net_pair_sync(p);
	return 0;
}

void net_pair_wake(struct net_pair *p)
{
	static const uint64_t one = 1;

	/* Fails only when the counter is full: it is awake then. */
	if (write(p->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void net_pair_sync(struct net_pair *p)
{
	if (net_box_get(&p->box, &p->now) && p->now.enabled != p->enabled)
		net_pair_enable(p, p->now.enabled);
	net_pair_wait_events(p);
}

void net_pair_enable(struct net_pair *p, bool on)
{
	const struct net_backend *b = p->net->backend;
	int rc;

	if (p->dead)
		return;
	if (!on && p->watch >= 0) {
		/* A detached queue is always "ready": never wait for it. */
		worker_unwatch(p->worker, p->watch);
		p->watch = -1;
	}
	rc = b->enable ? b->enable(p, on) : 0;
	/* EINVAL: it is so already. */
	if (rc && rc != -EINVAL)
		log_limited(&p->complaints, LOG_WARN,
			    "net: can't %s queue pair %u of the tap (error %d)",
			    on ? "enable" : "disable", p->index, -rc);
	p->enabled = on;
}

/* Wait for what would let us go on, and for nothing else: no busy loop. */
void net_pair_wait_events(struct net_pair *p)
{
	bool settling = atomic_load_explicit(&p->settle, memory_order_acquire);
	uint32_t want = 0;
	int rc = 0;

	if (settling)
		settle(p);
	if (p->dead || !p->enabled)
		return;
	if (settling) {
		want = net_state_of(p->net)->stream.out_to ? EPOLLIN | EPOLLOUT
							   : EPOLLIN;
	} else {
		if (p->rx && !p->rx_starved)
			want |= EPOLLIN;
		if (p->tx && p->tx_blocked)
			want |= EPOLLOUT;
	}
	if (p->watch < 0) {
		rc = worker_watch(p->worker, p->fd, want, fd_ready, p);
		if (rc >= 0)
			p->watch = rc;
	} else if (want != p->watched) {
		rc = worker_watch_events(p->worker, p->watch, want);
	}
	if (rc < 0)
		net_pair_lost(p);
	else
		p->watched = want;
}

void net_pair_lost(struct net_pair *p)
{
	if (p->dead)
		return;
	p->dead = true;
	p->tx_blocked = false;
	if (p->watch >= 0)
		worker_unwatch(p->worker, p->watch);
	p->watch = -1;
	/* What the driver goes on to send is dropped, not kept for ever. */
	net_pair_wake(p);
	device_backend_closed(p->net->dev,
			      p->net->backend == &net_tap
				      ? "the tap interface is gone"
				      : "passt has ended or sent nonsense");
}

void net_pair_drop(struct net_pair *p, enum net_drop why)
{
	static const char *const texts[NET_NUM_DROPPED] = {
		[NET_DROPPED_SHORT] = "too short",
		[NET_DROPPED_LONG] = "too long",
		[NET_DROPPED_HEADER] = "bad virtio header",
		[NET_DROPPED_FILTER] = "not for this driver",
		[NET_DROPPED_NO_ROOM] = "larger than the driver's buffers",
		[NET_DROPPED_BACKEND] = "refused by the host",
	};

	p->stats.dropped[why]++;
	/* What the filter drops is no news. */
	if (why != NET_DROPPED_FILTER)
		log_limited(&p->complaints, LOG_INFO,
			    "net: dropped a frame of pair %u: %s", p->index,
			    texts[why]);
}
