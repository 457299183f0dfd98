/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a real bulkhead-net between a guest and a stream of frames (as passt's)
 * whose socket buffers are small, so that most deaths are within a frame. The
 * stream must stay in step for ever; no frame of the guest may be missing or
 * change; frames to the guest may only be missing after a death.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE  (8 << 20)
#define RING_SIZE 64
#define BUF	  16384
#define HDR	  12
#define FRAME_MIN 60
#define FRAME_MAX 12000
#define KILLS	  80
#define SOCK_BUF  8192

struct stream {
	uint8_t bytes[4 + FRAME_MAX];
	uint32_t from, to;
};

static struct net {
	struct peer p;
	struct peer_queue rx, tx;
	uint64_t rx_buf[RING_SIZE], tx_buf[RING_SIZE];
	int rx_slot[RING_SIZE], tx_slot[RING_SIZE];
	bool tx_busy[RING_SIZE];
	int ours, theirs;
	struct stream in, out;	    /* as the other end sees them */
	uint32_t sent, seen, twice; /* by the guest; at the other end */
	uint32_t given, got, missing;
	unsigned int kills;
} n;

#define must(cond) peer_check(&n.p, cond)

static uint32_t frame_len(uint32_t seq)
{
	return FRAME_MIN + seq * 7919u % (FRAME_MAX - FRAME_MIN);
}

/* For everybody, with its number and bytes that follow from it. */
static uint32_t frame_make(uint8_t *f, uint32_t seq)
{
	uint32_t len = frame_len(seq);

	memset(f, 0xff, 6);
	for (uint32_t i = 6; i < len; i++)
		f[i] = (uint8_t)(seq * 31 + i);
	put_le32(f + 14, seq);
	return len;
}

static uint32_t frame_check(const uint8_t *f, uint32_t len)
{
	static uint8_t want[FRAME_MAX];
	uint32_t seq = get_le32(f + 14);

	if (len != frame_len(seq) || frame_make(want, seq) != len ||
	    memcmp(f, want, len))
		peer_fail(&n.p, "a frame of %u bytes is not number %u", len,
			  seq);
	return seq;
}

static void *at(uint64_t gpa, uint64_t len)
{
	return driver_mem_ptr(&n.p.mem, gpa, len);
}

static void setup(void)
{
	Bulkhead__DeviceSetup s;
	Bulkhead__NetSetup net;
	char id[] = "net";
	uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

	peer_hello(&n.p);
	bulkhead__device_setup__init(&s);
	bulkhead__net_setup__init(&net);
	s.id = id;
	s.num_queues = 2;
	s.queue_size = RING_SIZE;
	s.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_NET;
	s.net = &net;
	net.kind = BULKHEAD__NET_SETUP__KIND__PASST;
	net.mac = (ProtobufCBinaryData){6, mac};
	peer_setup(&n.p, &s, &n.theirs, 1);
	peer_inflight(&n.p);
}

static void replace(uint64_t features)
{
	peer_kill(&n.p);
	n.kills++;
	peer_respawn(&n.p);
	setup();
	peer_negotiate(&n.p, features);
	peer_queue_restart(&n.p, &n.rx, driver_ring_base(&n.rx.ring));
	peer_queue_restart(&n.p, &n.tx, driver_ring_base(&n.tx.ring));
}

static void give_room(unsigned int slot)
{
	struct driver_buf buf = {n.rx_buf[slot], BUF, true};
	int id = driver_ring_add(&n.rx.ring, &buf, 1, false);

	must(id >= 0);
	n.rx_slot[id] = (int)slot;
}

static void guest_send(void)
{
	uint32_t id, len;

	while (driver_ring_get(&n.tx.ring, &id, &len))
		n.tx_busy[n.tx_slot[id]] = false;
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		struct driver_buf buf = {n.tx_buf[i], 0, false};
		uint8_t *data = at(buf.gpa, BUF);
		int got;

		if (n.tx_busy[i])
			continue;
		memset(data, 0, HDR);
		buf.len = HDR + frame_make(data + HDR, n.sent);
		got = driver_ring_add(&n.tx.ring, &buf, 1, false);
		if (got < 0)
			break;
		n.tx_slot[got] = (int)i;
		n.tx_busy[i] = true;
		n.sent++;
		break;
	}
	peer_kick(&n.tx);
}

static void guest_receive(void)
{
	uint32_t id, len;

	while (driver_ring_get(&n.rx.ring, &id, &len)) {
		unsigned int slot = (unsigned int)n.rx_slot[id];

		if (len) {
			uint32_t seq = frame_check(
				(uint8_t *)at(n.rx_buf[slot], len) + HDR,
				len - HDR);

			must(seq >= n.got);
			must(seq == n.got || n.kills);
			n.missing += seq - n.got;
			n.got = seq + 1;
		}
		give_room(slot);
	}
	peer_kick(&n.rx);
}

static void other_send(void)
{
	struct stream *s = &n.out;
	ssize_t r;

	if (s->from == s->to) {
		uint32_t len = frame_make(s->bytes + 4, n.given++);

		s->bytes[0] = s->bytes[1] = 0;
		s->bytes[2] = (uint8_t)(len >> 8);
		s->bytes[3] = (uint8_t)len;
		s->from = 0;
		s->to = 4 + len;
	}
	r = send(n.ours, s->bytes + s->from, s->to - s->from, MSG_DONTWAIT);
	if (r > 0)
		s->from += (uint32_t)r;
}

static void other_receive(void)
{
	struct stream *s = &n.in;

	for (;;) {
		uint32_t want = 4;
		ssize_t r;

		if (s->to >= 4) {
			const uint8_t *b = s->bytes;

			want = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
			       (uint32_t)b[2] << 8 | b[3];
			must(want >= FRAME_MIN && want <= FRAME_MAX);
			want += 4;
		}
		if (s->to == want) {
			uint32_t seq = frame_check(s->bytes + 4, want - 4);

			must(seq <= n.seen); /* none is missing */
			n.twice += seq < n.seen;
			n.seen += seq == n.seen;
			s->to = 0;
			continue;
		}
		r = recv(n.ours, s->bytes + s->to, want - s->to, MSG_DONTWAIT);
		if (r <= 0)
			return;
		s->to += (uint32_t)r;
	}
}

static void step(void)
{
	guest_send();
	guest_receive();
	other_send();
	if (rand() % 3)
		other_receive();
}

static void finish(void)
{
	for (int i = 0; i < 5000; i++) {
		guest_receive();
		other_receive();
		if (n.out.from < n.out.to)
			other_send();
		if (n.seen == n.sent && n.got == n.given)
			return;
		usleep(1000);
	}
	peer_fail(&n.p, "lost: %u of %u sent, %u of %u received", n.seen,
		  n.sent, n.got, n.given);
}

static void storm(uint64_t features, const char *name)
{
	int pair[2], size = SOCK_BUF;

	memset(&n, 0, sizeof(n));
	features |= DRIVER_F_VERSION1;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	for (int i = 0; i < 2; i++)
		must(setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size,
				sizeof(size)) == 0);
	n.ours = pair[0];
	n.theirs = pair[1];
	peer_spawn(&n.p, "net", MEM_SIZE);
	setup();
	peer_negotiate(&n.p, features);
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		n.rx_buf[i] = driver_mem_alloc(&n.p.mem, BUF, 16);
		n.tx_buf[i] = driver_mem_alloc(&n.p.mem, BUF, 16);
	}
	peer_queue_start(&n.p, &n.rx, 0, RING_SIZE);
	peer_queue_start(&n.p, &n.tx, 1, RING_SIZE);
	for (unsigned int i = 0; i < RING_SIZE; i++)
		give_room(i);
	/* FRAME_MAX, a header, and nothing to merge. */
	for (unsigned int i = 0; i < KILLS; i++) {
		for (int k = rand() % 400; k >= 0; k--)
			step();
		replace(features);
		must(peer_ping(&n.p, PEER_TIMEOUT_MS));
	}
	for (int k = 0; k < 200; k++)
		step();
	finish();
	must(!n.p.num_needs_reset && !n.p.num_backend_closed);
	must(peer_end(&n.p) == 0);
	printf("net %s: %u kills, %u frames sent (%u twice), %u received (%u "
	       "missing): good\n",
	       name, KILLS, n.sent, n.twice, n.got, n.missing);
	fd_close(n.ours);
	fd_close(n.theirs);
}

int main(void)
{
	unsigned int seed = (unsigned int)time(NULL);

	printf("seed %u\n", seed);
	srand(seed);
	storm(0, "split");
	storm(DRIVER_F_PACKED | DRIVER_F_EVENT, "packed");
	return 0;
}
