/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host's end sends back every frame of type 0x88b5. The device has two
 * pairs of queues, of which the second is never used.
 *
 * Spec: virtio 1.2, 5.1.6
 */

#include "hostile/hostile.h"

#define F_CSUM	     (1ull << 0)
#define F_MAC	     (1ull << 5)
#define F_HOST_TSO4  (1ull << 11)
#define F_HOST_TSO6  (1ull << 12)
#define F_HOST_ECN   (1ull << 13)
#define F_MRG_RXBUF  (1ull << 15)
#define F_CTRL_VQ    (1ull << 17)
#define F_CTRL_RX    (1ull << 18)
#define F_CTRL_EXTRA (1ull << 20)
#define F_ANNOUNCE   (1ull << 21)
#define F_MQ	     (1ull << 22)
#define F_CTRL_MAC   (1ull << 23)
#define F_OFFLOADS   (1ull << 2)
#define F_GUEST_CSUM (1ull << 1)
#define F_GUEST_TSO4 (1ull << 7)

#define RX   0
#define TX   1
#define CTRL 2

#define ACK_OK	0
#define ACK_ERR 1

#define HEADER	  12
#define FRAME	  60
#define BUF	  2048
#define TYPE_ECHO 0x88b5
#define TYPE_NONE 0x88b6

struct net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static struct {
	uint8_t out[HEADER + FRAME], in[BUF];
	bool posted;
	uint64_t number;
	uint8_t command[16], ack;
	struct act act;
} n;

static void net_started(void)
{
	n.posted = false;
	/* With and without, by turns. */
	target_net.features ^= F_MRG_RXBUF;
}

static void net_frame(uint8_t *out, uint16_t type, uint64_t number)
{
	memset(out, 0, HEADER + FRAME);
	memset(out + HEADER, 0xff, 6);
	for (int i = 0; i < 6; i++)
		out[HEADER + 6 + i] = target_net.dev.config[i];
	out[HEADER + 12] = (uint8_t)(type >> 8);
	out[HEADER + 13] = (uint8_t)type;
	memcpy(out + HEADER + 14, &number, sizeof(number));
}

static void net_make(struct act *a)
{
	if (a->queue == RX) {
		act_buf(a, scratch, BUF, true);
	} else if (a->queue == TX) {
		net_frame(scratch, TYPE_NONE, 0);
		act_buf(a, scratch, HEADER, false);
		act_buf(a, scratch + HEADER, FRAME, false);
	} else {
		memcpy(n.command, "\0\0\1", 3); /* promiscuous */
		act_buf(a, n.command, 3, false);
		act_buf(a, &n.ack, 1, true);
		a->status = &n.ack;
		a->want_status = ACK_OK;
	}
}

static void net_say(void)
{
	const struct vq_buf buf = {n.out, sizeof(n.out), false};

	net_frame(n.out, TYPE_ECHO, ++n.number);
	ring_post(&target_net.rings[TX], &buf, 1);
}

static bool net_said(void)
{
	uint32_t len;

	return ring_wait(&target_net.rings[TX], &len);
}

static bool net_send(void)
{
	net_say();
	return net_said();
}

static void net_listen(void)
{
	const struct vq_buf buf = {n.in, sizeof(n.in), true};

	if (!n.posted)
		ring_post(&target_net.rings[RX], &buf, 1);
	n.posted = true;
}

static void net_ask(void)
{
	net_listen();
	net_say();
}

static bool net_is_ours(uint32_t len)
{
	return len >= HEADER + FRAME && n.in[HEADER + 12] == TYPE_ECHO >> 8 &&
	       n.in[HEADER + 13] == (TYPE_ECHO & 0xff) &&
	       !memcmp(n.in + HEADER + 14, &n.number, sizeof(n.number));
}

static bool net_answered(void)
{
	uint64_t start = rdtsc(), limit = clock_ticks(BOUND_US);
	uint32_t len;

	if (!net_said())
		return false;
	while (rdtsc() - start < limit) {
		net_listen();
		if (!ring_wait(&target_net.rings[RX], &len))
			return false;
		n.posted = false;
		if (net_is_ours(len))
			return true;
	}
	return false;
}

static void net_provoke(unsigned int queue)
{
	if (queue == RX && !net_send())
		hostile_fail("net", "no frame goes out when room is given",
			     NULL, 0);
}

static bool net_aside(unsigned int queue)
{
	if (queue == TX)
		return true;
	if (queue == RX)
		return net_send();
	net_ask();
	return net_answered();
}

/* Room for a byte; a frame of none; a command. */
static void net_cheap(struct act *a)
{
	if (a->queue == RX)
		act_buf(a, scratch, 1, true);
	else if (a->queue == TX)
		act_buf(a, scratch, HEADER, false);
	else
		net_make(a);
}

/* ---- transmit ---- */

static void net_lengths(void)
{
	static const uint32_t lengths[] = {
		0,  1,	  11,	   12,	  13,	 14,	  25,
		26, 1526, 0x10000, 65562, 65563, 0x11800, SCRATCH};

	for (unsigned int i = 0; i < COUNT(lengths); i++) {
		net_frame(scratch, TYPE_NONE, 0);
		act_begin(&n.act, &target_net, TX);
		act_buf(&n.act, scratch, lengths[i], false);
		act_run(&n.act, "frame of some length", USED);
	}
	act_begin(&n.act, &target_net, TX);
	act_buf(&n.act, scratch, BUF, true);
	act_run(&n.act, "frame that is room", USED);
	act_begin(&n.act, &target_net, TX);
	for (unsigned int i = 0; i < CHAIN_MAX; i++)
		act_buf(&n.act, scratch + i, 1, false);
	act_run(&n.act, "frame in 64 pieces", USED);
}

static void net_headers(void)
{
	static const uint8_t flags[] = {0, 1, 2, 4, 0xff};
	static const uint8_t types[] = {0, 1, 2, 3, 4, 5, 6, 0x80, 0x81, 0xff};
	static const uint16_t words[] = {0,  1,	   14,	   54,
					 60, 1400, 0xfffe, 0xffff};
	struct net_header *h = (struct net_header *)scratch;

	for (unsigned int i = 0; i < COUNT(flags) * COUNT(types) * 2; i++) {
		uint64_t x = hostile_random();

		net_frame(scratch, TYPE_NONE, 0);
		/* Half of them look like IPv4. */
		if (i & 1)
			memcpy(scratch + HEADER + 12, "\x08\x00\x45", 3);
		*h = (struct net_header){
			.flags = flags[i / 2 % COUNT(flags)],
			.gso_type = types[i / 2 / COUNT(flags)],
			.hdr_len = words[x % COUNT(words)],
			.gso_size = words[(x >> 8) % COUNT(words)],
			.csum_start = words[(x >> 16) % COUNT(words)],
			.csum_offset = words[(x >> 24) % COUNT(words)],
			.num_buffers = words[(x >> 32) % COUNT(words)],
		};
		act_begin(&n.act, &target_net, TX);
		act_buf(&n.act, scratch, HEADER, false);
		act_buf(&n.act, scratch + HEADER, x >> 40 & 1 ? FRAME : 1500,
			false);
		act_run(&n.act, "header of nonsense", USED);
	}
}

/* ---- receive ---- */

static void net_rooms(void)
{
	static const uint32_t rooms[] = {0, 1, 11, 12, 13, 25, 71, 72, SCRATCH};

	for (unsigned int i = 0; i < COUNT(rooms); i++) {
		act_begin(&n.act, &target_net, RX);
		act_buf(&n.act, scratch, rooms[i], true);
		act_run(&n.act, "room of some size",
			rooms[i] >= HEADER + FRAME ? USED : ANY);
	}
	act_begin(&n.act, &target_net, RX);
	act_buf(&n.act, scratch, BUF, false);
	act_run(&n.act, "room that is output", RESET);
	act_begin(&n.act, &target_net, RX);
	act_buf(&n.act, scratch, 64, false);
	act_buf(&n.act, scratch, BUF, true);
	act_run(&n.act, "room behind output", ANSWER);
	act_begin(&n.act, &target_net, RX);
	while (n.act.n < CHAIN_MAX)
		act_buf(&n.act, scratch, 2, true);
	act_run(&n.act, "room in 64 pieces", USED);
}

/* ---- control ---- */

static void net_command(const char *what, const void *command, uint32_t len,
			int want)
{
	act_begin(&n.act, &target_net, CTRL);
	if (len <= sizeof(n.command)) {
		memcpy(n.command, command, len);
		command = n.command;
	}
	act_buf(&n.act, command, len, false);
	act_buf(&n.act, &n.ack, 1, true);
	n.act.status = &n.ack;
	n.act.want_status = want;
	act_run(&n.act, what, USED);
}

static void net_commands(void)
{
	static const struct {
		const char *what;
		uint8_t bytes[12], len;
		int want;
	} all[] = {
		{"nothing", {0}, 0, ACK_ERR},
		{"half a command", {0}, 1, ACK_ERR},
		{"unknown class", {2, 0, 0, 0}, 4, ACK_ERR},
		{"unknown class", {6, 0, 1}, 3, ACK_ERR},
		{"unknown class", {0x7f, 0, 1}, 3, ACK_ERR},
		{"unknown class", {0xff, 0xff, 0xff}, 3, ACK_ERR},
		{"unknown rx mode", {0, 6, 1}, 3, ACK_ERR},
		{"unknown rx mode", {0, 0xff, 1}, 3, ACK_ERR},
		{"rx mode without a value", {0, 0}, 2, ACK_ERR},
		{"rx mode of 2", {0, 0, 2}, 3, ACK_ERR},
		{"rx mode of 2 bytes", {0, 0, 1, 1}, 4, ACK_ERR},
		{"rx mode", {0, 0, 1}, 3, ACK_OK},
		{"address of 5 bytes", {1, 1, 2, 0, 0, 0, 0}, 7, ACK_ERR},
		{"address of 7", {1, 1, 2, 0, 0, 0, 0, 0, 0}, 9, ACK_ERR},
		{"no table", {1, 0}, 2, ACK_ERR},
		{"half a count", {1, 0, 1, 0}, 4, ACK_ERR},
		{"one table", {1, 0, 0, 0, 0, 0}, 6, ACK_ERR},
		{"table without an end", {1, 0, 1, 0, 0, 0, 2, 0}, 8, ACK_ERR},
		{"table of 2^32 - 1",
		 {1, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0},
		 12,
		 ACK_ERR},
		/* Times 6 it is 2 in 32 bits. */
		{"table of 0x2aaaaaab",
		 {1, 0, 0xab, 0xaa, 0xaa, 0x2a, 0, 0, 0, 0, 0, 0},
		 12,
		 ACK_ERR},
		{"two tables and more",
		 {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		 11,
		 ACK_ERR},
		{"unknown table", {1, 2, 0, 0, 0, 0, 0, 0, 0, 0}, 10, ACK_ERR},
		{"unknown announcement", {3, 1}, 2, ACK_ERR},
		{"announcement with data", {3, 0, 0}, 3, ACK_ERR},
		{"no pairs", {4, 0, 0, 0}, 4, ACK_ERR},
		{"3 of 2 pairs", {4, 0, 3, 0}, 4, ACK_ERR},
		{"65535 pairs", {4, 0, 0xff, 0xff}, 4, ACK_ERR},
		{"half a number of pairs", {4, 0, 1}, 3, ACK_ERR},
		{"unknown pairs", {4, 1, 1, 0}, 4, ACK_ERR},
		{"one pair", {4, 0, 1, 0}, 4, ACK_OK},
		{"all offloads",
		 {5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		 10,
		 ACK_ERR},
		{"half the offloads", {5, 0, 1, 0, 0, 0}, 6, ACK_ERR},
		{"unknown offloads",
		 {5, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		 10,
		 ACK_ERR},
	};

	for (unsigned int i = 0; i < COUNT(all); i++)
		net_command(all[i].what, all[i].bytes, all[i].len, all[i].want);
}

/* Two tables of addresses, the first of @num */
static void net_table(uint32_t num, uint32_t len, int want)
{
	memset(scratch, 2, 0x10000);
	scratch[0] = 1;
	scratch[1] = 0;
	memcpy(scratch + 2, &num, 4);
	if (len >= 10)
		memset(scratch + len - 4, 0, 4);
	net_command("tables", scratch, len, want);
}

static void net_long_commands(void)
{
	net_table(64, 2 + 4 + 64 * 6 + 4, ACK_OK);
	net_table(65, 2 + 4 + 65 * 6 + 4, ACK_OK);
	net_table(64, 2 + 4 + 64 * 6 + 3, ACK_ERR);
	net_table(64, 2 + 4 + 64 * 6 + 5, ACK_ERR);
	net_table(10000, 2 + 4 + 10000 * 6 + 4, ACK_ERR);
	net_table(0, 0x10000, ACK_ERR);
	net_table(0, SCRATCH, ACK_ERR);

	memcpy(n.command, "\0\0\1", 3);
	act_begin(&n.act, &target_net, CTRL);
	act_buf(&n.act, n.command, 3, false);
	act_run(&n.act, "no room for the answer", RESET);
	act_begin(&n.act, &target_net, CTRL);
	act_buf(&n.act, n.command, 3, false);
	act_buf(&n.act, &n.ack, 0, true);
	act_run(&n.act, "an answer of 0 bytes", RESET);
	act_begin(&n.act, &target_net, CTRL);
	for (unsigned int i = 0; i < 3; i++)
		act_buf(&n.act, n.command + i, 1, false);
	act_buf(&n.act, &n.ack, 1, true);
	act_buf(&n.act, scratch, BUF, true);
	n.act.status = &n.ack;
	n.act.want_status = ACK_OK;
	act_run(&n.act, "command in pieces", USED);
}

static void net_requests(void)
{
	net_lengths();
	net_headers();
	net_rooms();
	net_commands();
	net_long_commands();
}

struct target target_net = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.features = F_CSUM | F_MAC | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN |
		    F_CTRL_VQ | F_CTRL_RX | F_CTRL_EXTRA | F_ANNOUNCE | F_MQ |
		    F_CTRL_MAC | F_OFFLOADS | F_GUEST_CSUM | F_GUEST_TSO4,
	.num_queues = 3,
	.queues = {0, 1, 4},
	.ask = net_ask,
	.answered = net_answered,
	.started = net_started,
	.requests = net_requests,
	.make = net_make,
	.busy = net_make,
	.cheap = net_cheap,
	.aside = net_aside,
	.provoke = net_provoke,
};
