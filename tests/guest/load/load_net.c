/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Network: numbered frames that somebody on the other side sends back. A frame
 * that is not back in time is lost; how many may be is for the host to judge.
 *
 * Spec: virtio 1.2, 5.1
 */

#include "load/load.h"

#define F_MAC (1ull << 5)

#define HEADER	    12 /* without offloads: zeroes */
#define BUF	    2048
#define RX_MAX	    128
#define WINDOW_MAX  256
#define HISTORY	    65536   /* frames that are remembered */
#define PATIENCE_US 5000    /* for one before its buffer is used again */
#define LAST_US	    3000000 /* for the last ones to come back */

/* Of a frame. */
enum fate { UNSENT, SENT, BACK };

struct slot {
	bool queued; /* the device has the buffer */
	uint64_t since;
	uint8_t *buf;
};

static struct {
	struct virtio dev;
	struct vq rx, tx;
	struct gaps gaps;
	struct load_pace pace;
	struct slot *slots; /* by sequence number */
	uint8_t *fates;	    /* by sequence number */
	uint64_t window, next, oldest;
	uint64_t first; /* that came back */
	uint64_t back, lost, twice, early, other, last;
	uint64_t patience, last_ticks;
	uint8_t mac[6];
} n;

static void net_give(uint8_t *buf)
{
	const struct vq_buf one = {buf, BUF, true};

	if (!vq_add(&n.rx, &one, 1, (uint64_t)buf))
		guest_fail("FAIL net: no room for a buffer that was there");
}

static bool net_init(void)
{
	uint64_t num;

	if (!virtio_find(VIRTIO_ID_NET, F_MAC, &n.dev))
		return false;
	virtio_queue(&n.dev, 0, &n.rx);
	virtio_queue(&n.dev, 1, &n.tx);
	for (int i = 0; i < 6; i++)
		n.mac[i] = n.dev.config[i];
	num = n.rx.size < RX_MAX ? n.rx.size : RX_MAX;
	n.window = guest_option_number("net_window", 32);
	if (!n.window || n.window > WINDOW_MAX || n.window > n.tx.size)
		guest_fail("net: net_window= is out of range");
	n.patience = clock_ticks(PATIENCE_US);
	n.last_ticks = clock_ticks(LAST_US);
	n.fates = load_alloc(HISTORY);
	n.slots = load_alloc(n.window * sizeof(*n.slots));
	for (uint64_t i = 0; i < n.window; i++)
		n.slots[i].buf = load_alloc(BUF);
	gaps_init(&n.gaps, "net");
	load_pace_init(&n.pace, "net_rate", 2000);
	virtio_ready(&n.dev);
	for (uint64_t i = 0; i < num; i++)
		net_give(load_alloc(BUF));
	vq_kick(&n.rx);
	return true;
}

static void net_make(uint8_t *frame, uint64_t sequence, uint32_t len)
{
	struct pattern_frame head = {PATTERN_MAGIC, sequence, len};
	uint32_t at = PATTERN_FRAME_HEAD;

	memset(frame, 0xff, 6);
	memcpy(frame + 6, n.mac, 6);
	frame[12] = PATTERN_ETHERTYPE >> 8;
	frame[13] = PATTERN_ETHERTYPE & 0xff;
	memcpy(frame + at, &head, sizeof(head));
	for (at += sizeof(head); at < len; at++)
		frame[at] = pattern_frame_byte(sequence, at);
}

/* A frame that leaves the history, or at the end, is lost or not. */
static void net_forget(uint64_t sequence)
{
	uint8_t *fate = &n.fates[sequence % HISTORY];

	if (*fate == SENT && (!n.back || sequence < n.first))
		n.early++;
	else if (*fate == SENT)
		n.lost++;
	*fate = UNSENT;
}

/* One that is not back has a while before its buffer is used again. */
static void net_send(uint64_t now)
{
	struct slot *s = &n.slots[n.next % n.window];
	uint32_t len = pattern_frame_len(n.next);
	struct vq_buf bufs[2];

	if (s->queued || !load_pace_take(&n.pace, now))
		return;
	if (n.next >= n.window && now - s->since < n.patience &&
	    n.fates[(n.next - n.window) % HISTORY] == SENT)
		return;
	memset(s->buf, 0, HEADER);
	net_make(s->buf + HEADER, n.next, len);
	bufs[0] = (struct vq_buf){s->buf, HEADER, false};
	bufs[1] = (struct vq_buf){s->buf + HEADER, len, false};
	if (!vq_add(&n.tx, bufs, 2, (uint64_t)s))
		return;
	s->queued = true;
	s->since = n.last = now;
	if (n.next >= HISTORY) {
		net_forget(n.next - HISTORY);
		n.oldest++;
	}
	n.fates[n.next % HISTORY] = SENT;
	n.next++;
	vq_kick(&n.tx);
}

static bool net_is_intact(const uint8_t *frame, uint32_t len, uint64_t sequence)
{
	for (uint32_t at = PATTERN_FRAME_HEAD + sizeof(struct pattern_frame);
	     at < len; at++) {
		if (frame[at] != pattern_frame_byte(sequence, at))
			return false;
	}
	return true;
}

static void net_receive(const uint8_t *frame, uint32_t len)
{
	struct pattern_frame head;
	uint8_t *fate;

	if (len < PATTERN_FRAME_MIN || frame[12] != PATTERN_ETHERTYPE >> 8 ||
	    frame[13] != (PATTERN_ETHERTYPE & 0xff)) {
		n.other++;
		return;
	}
	memcpy(&head, frame + PATTERN_FRAME_HEAD, sizeof(head));
	if (head.magic != PATTERN_MAGIC || head.len != len ||
	    head.sequence >= n.next ||
	    len != pattern_frame_len(head.sequence) ||
	    !net_is_intact(frame, len, head.sequence)) {
		load_fail("net", "a frame came back changed", "sequence",
			  head.sequence, "len", len);
		return;
	}
	fate = &n.fates[head.sequence % HISTORY];
	if (head.sequence < n.oldest || *fate == BACK) {
		n.twice++;
		return;
	}
	*fate = BACK;
	if (!n.back++)
		n.first = head.sequence;
	if (!load_stopping)
		gaps_event(&n.gaps, rdtsc());
}

static void net_check_stall(uint64_t now)
{
	for (uint64_t i = 0; i < n.window; i++) {
		struct slot *s = &n.slots[i];

		if (!s->queued || !load_stalled(s->since, now))
			continue;
		load_fail("net", "a frame is not taken", "slot", i, NULL, 0);
		s->queued = false;
	}
}

static void net_poll(uint64_t now)
{
	uint64_t cookie;
	uint32_t len;

	while (vq_get(&n.tx, &cookie, &len))
		((struct slot *)cookie)->queued = false;
	while (vq_get(&n.rx, &cookie, &len)) {
		uint8_t *buf = (uint8_t *)cookie;

		if (len < HEADER || len > BUF)
			load_fail("net", "a wrong length", "len", len, NULL, 0);
		else
			net_receive(buf + HEADER, len - HEADER);
		net_give(buf);
	}
	vq_kick(&n.rx);
	net_check_stall(now);
	if (!load_stopping)
		net_send(now);
}

/* All are back, or it is long enough ago. */
static bool net_done(void)
{
	bool waits = rdtsc() - n.last < n.last_ticks;

	return load_stopping &&
	       (!waits ||
		(!n.tx.flight && n.back + n.lost + n.early == n.next));
}

static void net_report(void)
{
	for (; n.oldest < n.next; n.oldest++)
		net_forget(n.oldest);
	guest_puts("NET");
	guest_put_pair("sent", n.next);
	guest_put_pair("back", n.back);
	guest_put_pair("lost", n.lost);
	guest_put_pair("twice", n.twice);
	guest_put_pair("early", n.early);
	guest_put_pair("other", n.other);
	guest_puts("\n");
	gaps_print(&n.gaps);
}

const struct load load_net = {"net", net_init, net_poll, net_done, net_report};
