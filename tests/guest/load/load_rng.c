/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Entropy: requests of different lengths, some at once; what comes must not be
 * what was there before, and no two answers the same.
 *
 * Spec: virtio 1.2, 5.4
 */

#include "load/load.h"

#define DEPTH  4
#define BUF    1024
#define MARKER 0xa5

struct rng_req {
	bool in_use;
	uint32_t len;
	uint64_t since;
	uint8_t *buf;
};

static struct {
	struct virtio dev;
	struct vq vq;
	struct gaps gaps;
	struct load_pace pace;
	struct rng_req reqs[DEPTH];
	uint64_t requests, bytes, previous;
	bool stalled;
} r;

static bool rng_init(void)
{
	if (!virtio_find(VIRTIO_ID_RNG, 0, &r.dev))
		return false;
	virtio_queue(&r.dev, 0, &r.vq);
	virtio_ready(&r.dev);
	for (int i = 0; i < DEPTH; i++)
		r.reqs[i].buf = load_alloc(BUF);
	gaps_init(&r.gaps, "rng");
	load_pace_init(&r.pace, "rng_rate", 2000);
	return true;
}

static void rng_check(const struct rng_req *q, uint32_t len)
{
	uint64_t first;
	uint32_t same = 0;

	if (!len || len > q->len) {
		load_fail("rng", "a wrong length", "len", len, "asked", q->len);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		same += q->buf[i] == MARKER;
	if (len >= 8 && same > len / 4 + 4)
		load_fail("rng", "no random bytes", "unchanged", same, "of",
			  len);
	memcpy(&first, q->buf, sizeof(first));
	if (len >= 8 && first == r.previous)
		load_fail("rng", "the same bytes again", "len", len, NULL, 0);
	r.previous = first;
	r.requests++;
	r.bytes += len;
}

static void rng_ask(struct rng_req *q, uint64_t now)
{
	struct vq_buf one;

	q->len = (uint32_t)(load_random() % BUF) + 1;
	q->since = now;
	q->in_use = true;
	memset(q->buf, MARKER, BUF);
	one = (struct vq_buf){q->buf, q->len, true};
	if (!vq_add(&r.vq, &one, 1, (uint64_t)q))
		guest_fail("FAIL rng: no room in an empty queue");
}

static void rng_poll(uint64_t now)
{
	uint64_t cookie;
	uint32_t len;

	while (vq_get(&r.vq, &cookie, &len)) {
		rng_check((struct rng_req *)cookie, len);
		((struct rng_req *)cookie)->in_use = false;
		if (!load_stopping)
			gaps_event(&r.gaps, rdtsc());
	}
	for (int i = 0; i < DEPTH && !r.stalled; i++) {
		struct rng_req *q = &r.reqs[i];

		if (!q->in_use && !load_stopping &&
		    load_pace_take(&r.pace, now))
			rng_ask(q, now);
		if (!q->in_use || !load_stalled(q->since, now))
			continue;
		load_fail("rng", "a request is not completed", "len", q->len,
			  NULL, 0);
		r.stalled = true;
	}
	vq_kick(&r.vq);
}

static bool rng_done(void)
{
	return load_stopping && (!r.vq.flight || r.stalled);
}

static void rng_report(void)
{
	guest_puts("RNG");
	guest_put_pair("requests", r.requests);
	guest_put_pair("bytes", r.bytes);
	guest_puts("\n");
	gaps_print(&r.gaps);
}

const struct load load_rng = {"rng", rng_init, rng_poll, rng_done, rng_report};
