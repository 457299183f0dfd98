/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "dev-net/net.h"

/*
 * Host -> guest. The window holds receive buffers that were taken from the
 * ring and are not used yet; it survives from frame to frame, so a buffer is
 * taken once. A frame is read straight into it. The spill, private memory
 * behind the window, catches what does not fit: the frame is then held until
 * the driver adds buffers (MRG_RXBUF) or dropped (without).
 *
 *            window          state        waits for
 *   room     >= a frame      -            EPOLLIN
 *   room     some            -            EPOLLIN; the spill takes the rest
 *   none     empty ring      starved      the driver's kick; EPOLLIN is off
 *   held     ring empty      starved      the driver's kick
 *   held     all slots taken -            dropped: more will never come
 */
#define READV_MAX 1023 /* pieces; one of the kernel's 1024 is the spill */

#define HDR_FLAGS	0
#define HDR_NUM_BUFFERS 10

static bool has_mrg(const struct net_pair *p)
{
	return device_has_feature(p->net->dev, NET_F_MRG_RXBUF);
}

static void lose_ring(struct net_pair *p, struct queue *q, const char *why)
{
	device_needs_reset(p->net->dev, q, why);
	net_rx_stop(p);
	p->rx = NULL; /* nothing more until it is started again */
}

/* Return: 1 one more buffer in the window, 0 none there, -errno broken. */
static int take_buffer(struct net_pair *p)
{
	struct net_window *w = &p->win;
	struct chain *c = &w->chains[w->num_chains];
	struct iovec *at = &w->pieces[w->num_pieces];
	int rc = queue_pop(p->rx, c, at, QUEUE_IOV_MAX);

	if (rc < 0)
		lose_ring(p, p->rx, "net: malformed receive ring");
	if (rc <= 0)
		return rc;
	if (!c->len_in) {
		queue_unpop(p->rx, c);
		lose_ring(p, p->rx, "net: a receive buffer has no room");
		return -EBADMSG;
	}
	if (c->num_out)
		memmove(at, at + c->num_out, c->num_in * sizeof(*at));
	w->num_chains++;
	w->num_pieces += c->num_in;
	w->room += c->len_in;
	w->slots += c->num_desc;
	return 1;
}

/* Fill up to @room bytes. Return: 0, or -errno when the ring broke. */
static int fill_window(struct net_pair *p, uint64_t room)
{
	struct net_window *w = &p->win;

	while (w->room < room) {
		int rc;

		if (w->num_chains && !has_mrg(p))
			return 0;
		if (w->num_chains == NET_RX_CHAINS ||
		    w->num_pieces > NET_RX_PIECES - QUEUE_IOV_MAX)
			return 0;
		rc = take_buffer(p);
		if (rc <= 0)
			return rc;
	}
	return 0;
}

/* Can the window ever become larger? If not, waiting is for nothing. */
static bool window_is_full(const struct net_pair *p)
{
	const struct net_window *w = &p->win;

	return !has_mrg(p) || w->slots >= p->rx->size ||
	       w->num_chains == NET_RX_CHAINS ||
	       w->num_pieces > NET_RX_PIECES - QUEUE_IOV_MAX;
}

static void forget_front(struct net_window *w, unsigned int num_chains)
{
	unsigned int pieces = 0;

	for (unsigned int i = 0; i < num_chains; i++) {
		pieces += w->chains[i].num_in;
		w->room -= w->chains[i].len_in;
		w->slots -= w->chains[i].num_desc;
	}
	w->num_chains -= num_chains;
	w->num_pieces -= pieces;
	memmove(w->chains, w->chains + num_chains,
		w->num_chains * sizeof(w->chains[0]));
	memmove(w->pieces, w->pieces + pieces,
		w->num_pieces * sizeof(w->pieces[0]));
}

/* The first @len bytes of the window are a frame: hand it to the driver. */
static void deliver(struct net_pair *p, uint64_t len)
{
	struct net_window *w = &p->win;
	uint8_t num_buffers[2];
	unsigned int n = 0;
	uint64_t end = 0;

	while (end < len)
		end += w->chains[n++].len_in;
	put_le16(num_buffers, (uint16_t)n);
	net_iov_write(w->pieces, w->num_pieces, HDR_NUM_BUFFERS, num_buffers,
		      sizeof(num_buffers));
	if (!device_has_feature(p->net->dev, NET_F_GUEST_CSUM))
		net_iov_write(w->pieces, w->num_pieces, HDR_FLAGS, "", 1);
	p->stats.rx_frames++;
	p->stats.rx_bytes += len - NET_HDR_LEN;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t used = min_u64(len, w->chains[i].len_in);

		queue_push(p->rx, &w->chains[i], (uint32_t)used);
		len -= used;
	}
	forget_front(w, n);
}

/* Read one frame. Return: bytes with header; 0 none; -EPIPE. */
static int64_t read_frame(struct net_pair *p, uint64_t *ret_direct)
{
	struct net_window *w = &p->win;
	unsigned int n = w->num_pieces;
	struct iovec saved;
	int64_t len;

	if (n > READV_MAX)
		n = READV_MAX;
	*ret_direct = n < w->num_pieces ? net_iov_len(w->pieces, n) : w->room;
	saved = w->pieces[n];
	w->pieces[n] = (struct iovec){w->spill, sizeof(w->spill)};
	len = p->net->backend->recv(p, w->pieces, n + 1);
	w->pieces[n] = saved;
	return len;
}

/*
 * A held frame goes on when the window has become large enough.
 * Return: true it is gone (delivered or dropped)
 */
static bool finish_held(struct net_pair *p)
{
	struct net_window *w = &p->win;
	uint64_t len = w->held;

	if (fill_window(p, len) < 0)
		return false;
	if (w->room >= len) {
		net_iov_write(w->pieces, w->num_pieces, w->held_from, w->spill,
			      len - w->held_from);
		w->held = 0;
		deliver(p, len);
		return true;
	}
	if (!window_is_full(p))
		return false;
	w->held = 0;
	net_pair_drop(p, NET_DROPPED_NO_ROOM);
	return true;
}

/* The frame's first bytes can lie in the window, the spill, or both. */
static bool frame_is_wanted(const struct net_pair *p, uint64_t direct)
{
	const struct net_window *w = &p->win;
	uint8_t dst[NET_MAC_LEN];
	uint64_t n = 0;

	if (p->now.filter.promisc)
		return true;
	if (direct > NET_HDR_LEN)
		n = net_iov_read(w->pieces, w->num_pieces, NET_HDR_LEN, dst,
				 min_u64(sizeof(dst), direct - NET_HDR_LEN));
	if (n < sizeof(dst))
		memcpy(dst + n, w->spill + (NET_HDR_LEN + n - direct),
		       sizeof(dst) - n);
	return net_filter_wants(&p->now.filter, dst);
}

enum rx_step { RX_MORE, RX_IDLE, RX_STARVED, RX_LOST };

static enum rx_step receive_one(struct net_pair *p)
{
	struct net_window *w = &p->win;
	uint64_t direct;
	int64_t len;

	if (w->held) {
		if (finish_held(p))
			return RX_MORE;
		return p->rx ? RX_STARVED : RX_LOST;
	}
	if (fill_window(p, NET_HDR_LEN + NET_FRAME_MAX) < 0)
		return RX_LOST;
	if (!w->num_chains)
		return RX_STARVED;
	len = read_frame(p, &direct);
	if (len < 0) {
		net_pair_lost(p);
		return RX_LOST;
	}
	if (len == 0)
		return RX_IDLE;
	if (len < NET_HDR_LEN + NET_FRAME_MIN)
		net_pair_drop(p, NET_DROPPED_SHORT);
	else if (len > NET_HDR_LEN + NET_FRAME_MAX)
		net_pair_drop(p, NET_DROPPED_LONG);
	else if (!frame_is_wanted(p, direct))
		net_pair_drop(p, NET_DROPPED_FILTER);
	else if ((uint64_t)len <= direct)
		deliver(p, (uint64_t)len);
	else {
		w->held = (uint64_t)len;
		w->held_from = direct;
	}
	return RX_MORE;
}

void net_rx_run(struct net_pair *p)
{
	unsigned int left = NET_BURST;
	enum rx_step step = RX_MORE;
	struct queue *q = p->rx;

	if (!q || p->dead || !p->enabled ||
	    atomic_load_explicit(&p->settle, memory_order_acquire))
		return;
	p->rx_starved = false;
	queue_pause_kicks(q);
	while (step == RX_MORE && left--) {
		step = receive_one(p);
		/* The driver may have added buffers before it saw that we want
		 * to be kicked. */
		if (step == RX_STARVED && queue_resume_kicks(q))
			step = RX_MORE;
	}
	if (step == RX_STARVED)
		p->rx_starved = true;
	if (step == RX_MORE)
		net_pair_wake(p);
	if (p->rx)
		queue_flush(q);
}

void net_rx_stop(struct net_pair *p)
{
	struct net_window *w = &p->win;

	if (w->held)
		net_pair_drop(p, NET_DROPPED_NO_ROOM);
	/* Newest first: the ring's position moves back one by one. */
	while (p->rx && w->num_chains)
		queue_unpop(p->rx, &w->chains[--w->num_chains]);
	w->num_chains = w->num_pieces = 0;
	w->room = w->slots = w->held = w->held_from = 0;
}
