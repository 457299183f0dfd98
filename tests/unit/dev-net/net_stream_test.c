/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/num.h"
#include "tests/unit/dev-net/net_fake.h"

static struct fake_ring rx, tx;
static uint8_t mem[FAKE_SLOTS][2048];
static int peer;

static struct net_pair *start(int sndbuf)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
		     0);
	if (sndbuf)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf,
			   sizeof(sndbuf));
	peer = fds[1];
	return &fake_net(&net_stream, fds[0], NET_BIT(NET_F_MRG_RXBUF), &rx,
			 &tx)
			->pairs[0];
}

static void say(const void *data, size_t len)
{
	cr_assert_eq(write(peer, data, len), (ssize_t)len);
}

static void add_rx(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		fake_add(&rx, NULL, 0, mem[rx.num_bufs], 1500);
}

Test(net_stream, puts_frames_together_byte_by_byte)
{
	static const char bytes[] = "\0\0\0\024abcdefghijklmnopqrst"
				    "\0\0\0\016ABCDEFGHIJKLMN";
	struct net_pair *p = start(0);

	add_rx(4);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		say(bytes + i, 1);
		net_rx_run(p);
		cr_expect_eq(rx.num_used, (i >= 23) + (unsigned)(i >= 41));
	}
	cr_expect_eq(rx.used[0].written, 32u);
	cr_expect_arr_eq(mem[0] + NET_HDR_LEN, "abcdefghijklmnopqrst", 20);
	cr_expect_arr_eq(mem[1] + NET_HDR_LEN, "ABCDEFGHIJKLMN", 14);
}

Test(net_stream, takes_many_frames_of_one_read)
{
	uint8_t burst[10 * 64] = {0};
	struct net_pair *p = start(0);

	for (int i = 0; i < 10; i++) {
		burst[i * 64 + 3] = 60;
		burst[i * 64 + 4] = (uint8_t)i;
	}
	say(burst, sizeof(burst));
	add_rx(3);
	net_rx_run(p);
	cr_expect_eq(rx.num_used, 3u);
	add_rx(7);
	net_rx_run(p);
	cr_expect_eq(rx.num_used, 10u, "what was read already is delivered");
	cr_expect_eq(mem[9][NET_HDR_LEN], 9);
}

Test(net_stream, takes_the_largest_frame)
{
	static uint8_t frame[4 + NET_FRAME_MAX] = {0, 1, 0, 14};
	struct net_pair *p = start(0);

	add_rx(64);
	frame[sizeof(frame) - 1] = 0x5a;
	for (size_t at = 0; at < sizeof(frame);) {
		ssize_t n = write(peer, frame + at, sizeof(frame) - at);

		if (n > 0)
			at += (size_t)n;
		net_rx_run(p);
	}
	cr_expect_eq(p->stats.rx_bytes, (uint64_t)NET_FRAME_MAX);
	cr_expect_eq(p->stats.rx_frames, 1u);
}

Test(net_stream, ends_at_a_length_that_no_frame_has)
{
	static const char *const lengths[] = {"\0\0\0\0", "\0\0\0\015",
					      "\0\1\0\017", "\377\377\377\377"};

	for (unsigned int i = 0; i < 4; i++) {
		struct net_pair *p = start(0);

		add_rx(1);
		say(lengths[i], 4);
		net_rx_run(p);
		net_rx_run(p);
		cr_expect_eq(fake_closed, i + 1);
	}
}

Test(net_stream, ends_with_its_peer)
{
	static uint8_t frame[NET_HDR_LEN + 60];
	struct net_pair *p = start(0);

	close(peer);
	fake_add(&tx, frame, sizeof(frame), NULL, 0);
	net_tx_run(p); /* no SIGPIPE */
	cr_expect_eq(fake_closed, 1u);
	cr_expect_eq(tx.num_used, 1u);
}

Test(net_stream, finishes_half_written_frames_in_order)
{
	static uint8_t frames[40][NET_HDR_LEN + 30000];
	static uint8_t all[40 * 30004 + 1];
	struct net_pair *p = start(4096);
	size_t got = 0;

	for (unsigned int i = 0; i < 40; i++) {
		memset(frames[i] + NET_HDR_LEN, (int)i + 1, 30000);
		fake_add(&tx, frames[i], sizeof(frames[i]), NULL, 0);
	}
	net_tx_run(p);
	net_pair_wait_events(p);
	cr_expect(fake_watched & EPOLLOUT);
	cr_expect_lt(tx.num_used, 40u);
	while (got < sizeof(all) - 1) {
		ssize_t n =
			read(peer, all + got, min_u64(7000, sizeof(all) - got));

		cr_assert_gt(n, 0);
		got += (size_t)n;
		p->tx_blocked = false;
		net_tx_run(p);
	}
	for (unsigned int i = 0; i < 40; i++) {
		const uint8_t *f = all + i * 30004;

		cr_assert_arr_eq(f, "\0\0\165\060", 4);
		cr_assert(f[4] == i + 1 && f[30003] == i + 1);
	}
}

Test(net_stream, settles_between_two_frames)
{
	struct net_pair *p = start(0);
	uint64_t told = 0;
	char rest[64];

	add_rx(2);
	say("\0\0\0\024abcdefghij", 14);
	net_rx_run(p);
	atomic_store(&p->settle, true);
	net_pair_wait_events(p);
	cr_expect_lt(read(p->net->settled_fd, &told, 8), 0);
	cr_expect_eq(fake_watched, (uint32_t)EPOLLIN);
	say("klmnopqrst\0\0\0\016successor's", 25);
	net_pair_wait_events(p);
	cr_expect_eq(read(p->net->settled_fd, &told, 8), 8);
	cr_expect_eq(read(p->fd, rest, sizeof(rest)), 15);
	cr_expect_arr_eq(rest, "\0\0\0\016successor's", 15);
	cr_expect_eq(fake_watched, ~0u);
}
