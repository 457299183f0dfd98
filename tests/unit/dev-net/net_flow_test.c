/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/endian.h"
#include "tests/unit/dev-net/net_fake.h"

#define MRG NET_BIT(NET_F_MRG_RXBUF)

/* A back end of one frame at a time, from memory. */
static uint8_t wire[NET_HDR_LEN + NET_FRAME_MAX];
static int64_t wire_len;	 /* of the next frame to receive; 0 none */
static unsigned int wire_frames; /* left */
static uint8_t sent[NET_HDR_LEN + NET_FRAME_MAX];
static uint64_t sent_len;
static unsigned int sent_frames;
static int send_result = 1;

static int64_t wire_recv(struct net_pair *p, struct iovec *iov,
			 unsigned int num)
{
	(void)p;
	if (wire_len < 0)
		return wire_len;
	if (!wire_frames)
		return 0;
	wire_frames--;
	cr_assert_eq(net_iov_write(iov, num, 0, wire, (uint64_t)wire_len),
		     (uint64_t)wire_len, "the spill has room for all of it");
	return wire_len;
}

static int wire_send(struct net_pair *p, struct iovec *iov, unsigned int num,
		     uint64_t frame_len)
{
	(void)p;
	if (send_result != 1)
		return send_result;
	sent_len = net_iov_read(iov, num, 0, sent, sizeof(sent));
	cr_assert_eq(sent_len, frame_len + NET_HDR_LEN);
	sent_frames++;
	return 1;
}

static int wire_flush(struct net_pair *p)
{
	(void)p;
	return 1;
}

static const struct net_backend wire_backend = {
	.recv = wire_recv, .send = wire_send, .flush = wire_flush};

static struct fake_ring rx, tx, ctrl;
static uint8_t mem[FAKE_SLOTS][2048];

static struct net_pair *start(uint64_t features)
{
	for (size_t i = 0; i < sizeof(wire); i++)
		wire[i] = (uint8_t)(i * 7);
	memset(wire, 0, NET_HDR_LEN);
	return &fake_net(&wire_backend, -1, features, &rx, &tx)->pairs[0];
}

static void add_rx(unsigned int n, uint32_t len)
{
	for (unsigned int i = 0; i < n; i++)
		fake_add(&rx, NULL, 0, mem[rx.num_bufs], len);
}

Test(net_rx, merges_buffers_for_a_large_frame)
{
	struct net_pair *p = start(MRG);
	uint64_t at = 0;

	add_rx(50, 1500);
	wire_len = 65000;
	wire_frames = 1;
	net_rx_run(p);
	cr_assert_eq(rx.num_used, 44u);
	cr_expect_eq(get_le16(mem[0] + 10), 44);
	for (unsigned int i = 0; i < rx.num_used; i++) {
		unsigned int skip = i ? 0 : NET_HDR_LEN;

		cr_assert_eq(rx.used[i].buf, i);
		cr_assert_arr_eq(mem[i] + skip, wire + at + skip,
				 rx.used[i].written - skip);
		at += rx.used[i].written;
	}
	cr_expect_eq(at, 65000u);
	cr_expect_eq(rx.flushes, 1u, "one interrupt for the batch");
	net_rx_stop(p);
	cr_expect_eq(rx.outstanding, 0u);
	cr_expect_eq(rx.popped, 44u, "unused buffers went back");
}

Test(net_rx, holds_a_frame_until_there_is_room)
{
	struct net_pair *p = start(MRG);
	uint64_t at = 0;

	add_rx(2, 100);
	wire_len = 250;
	wire_frames = 1;
	net_rx_run(p);
	net_pair_wait_events(p);
	cr_expect_eq(rx.num_used, 0u);
	cr_expect(p->rx_starved && rx.kicks_on);
	cr_expect_eq(fake_watched, 0u, "no busy loop");
	add_rx(1, 100);
	net_rx_run(p);
	net_pair_wait_events(p);
	cr_assert_eq(rx.num_used, 3u);
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int skip = i ? 0 : NET_HDR_LEN;

		cr_assert_arr_eq(mem[i] + skip, wire + at + skip,
				 rx.used[i].written - skip);
		at += rx.used[i].written;
	}
	cr_expect_eq(at, 250u);
	cr_expect_eq(rx.used[2].written, 50u);
}

Test(net_rx, reads_nothing_while_the_driver_gives_no_buffers)
{
	struct net_pair *p = start(MRG);

	wire_len = 60;
	wire_frames = 1;
	net_rx_run(p);
	net_pair_wait_events(p);
	cr_expect_eq(wire_frames, 1u);
	cr_expect(p->rx_starved && rx.kicks_on && !(fake_watched & EPOLLIN));
	add_rx(1, 100);
	net_rx_run(p);
	cr_expect_eq(rx.num_used, 1u);
	cr_expect_eq(rx.used[0].written, 60u);
}

Test(net_rx, drops_a_frame_that_the_whole_ring_cannot_hold)
{
	struct net_pair *p = start(MRG);

	rx.q.size = 256;
	add_rx(256, 20);
	wire_len = 6000;
	wire_frames = 1;
	net_rx_run(p);
	cr_expect_eq(rx.num_used, 0u);
	cr_expect_eq(p->stats.dropped[NET_DROPPED_NO_ROOM], 1u);
	wire_len = 60;
	wire_frames = 1;
	net_rx_run(p);
	cr_expect_eq(rx.num_used, 3u, "the next one fits");
}

Test(net_rx, without_merging_drops_what_one_buffer_cannot_hold)
{
	struct net_pair *p = start(0);

	add_rx(2, 100);
	wire_len = 101;
	wire_frames = 1;
	net_rx_run(p);
	cr_expect_eq(rx.num_used, 0u);
	cr_expect_eq(p->stats.dropped[NET_DROPPED_NO_ROOM], 1u);
	wire_len = 100;
	wire_frames = 1;
	net_rx_run(p);
	cr_assert_eq(rx.num_used, 1u);
	cr_expect_eq(get_le16(mem[0] + 10), 1);
}

Test(net_rx, clears_flags_when_the_driver_does_no_checksums)
{
	struct net_pair *p = start(MRG);

	add_rx(1, 100);
	wire[0] = 2; /* DATA_VALID */
	wire_len = 60;
	wire_frames = 1;
	net_rx_run(p);
	cr_expect_eq(mem[0][0], 0);
}

Test(net_rx, filters_across_window_and_spill)
{
	struct net_pair *p = start(MRG);

	p->now.filter.promisc = false;
	memcpy(wire + NET_HDR_LEN, "\2\0\0\0\0\7", 6);
	wire_len = 60;
	for (uint32_t room = 1; room <= 20; room++) {
		rx.num_bufs = rx.popped = 0;
		rx.bufs[0].num_in = 0;
		add_rx(1, room);
		wire_frames = 1;
		net_rx_run(p);
		cr_expect_eq(p->stats.dropped[NET_DROPPED_FILTER], room);
		net_rx_stop(p);
	}
	cr_expect_eq(rx.num_used, 0u);
}

Test(net_rx, needs_a_reset_for_a_buffer_without_room)
{
	struct net_pair *p = start(MRG);

	fake_add(&rx, mem[0], 100, NULL, 0);
	net_rx_run(p);
	cr_expect_eq(fake_needs_reset, 1u);
	cr_expect_eq(rx.outstanding, 0u);
	cr_expect_null(p->rx);
}

Test(net_rx, gives_buffers_back_when_the_ring_breaks)
{
	struct net_pair *p = start(MRG);

	add_rx(3, 100);
	wire_len = 60;
	net_rx_run(p);
	cr_expect_eq(rx.outstanding, 3u);
	rx.broken = true;
	wire_frames = 1;
	net_rx_run(p);
	cr_expect_eq(fake_needs_reset, 1u);
	cr_expect_eq(rx.outstanding, 0u);
}

Test(net_rx, lets_the_other_direction_have_its_turn)
{
	struct net_pair *p = start(MRG);
	uint64_t woken = 0;

	add_rx(200, 100);
	wire_len = 60;
	wire_frames = 150;
	cr_assert_eq(read(p->wake_fd, &woken, 8), 8);
	net_rx_run(p);
	cr_expect_eq(rx.num_used, (unsigned int)NET_BURST);
	cr_expect_eq(read(p->wake_fd, &woken, 8), 8, "goes on by itself");
}

Test(net_rx, tells_once_that_the_back_end_is_gone)
{
	struct net_pair *p = start(MRG);

	add_rx(1, 100);
	wire_len = -EPIPE;
	net_rx_run(p);
	net_rx_run(p);
	cr_expect_eq(fake_closed, 1u);
	cr_expect_eq(fake_watched, ~0u);
}

Test(net_tx, sends_with_a_checked_private_header)
{
	static uint8_t frame[NET_HDR_LEN + 60] = {0xfe};
	struct net_pair *p = start(0);

	frame[NET_HDR_LEN + 59] = 0x5a;
	fake_add(&tx, frame, sizeof(frame), NULL, 0);
	net_tx_run(p);
	cr_expect_eq(sent_len, sizeof(frame));
	cr_expect(sent[0] == 0 && sent[NET_HDR_LEN + 59] == 0x5a);
	cr_expect_eq(frame[0], 0xfe, "the driver's memory is not ours");
	cr_expect_eq(tx.num_used, 1u);
	cr_expect(tx.kicks_on);
}

Test(net_tx, returns_what_it_cannot_send)
{
	static uint8_t frame[NET_HDR_LEN + 60];
	struct net_pair *p = start(0);

	fake_add(&tx, frame, 5, NULL, 0);
	fake_add(&tx, frame, NET_HDR_LEN, NULL, 0);
	fake_add(&tx, NULL, 0, frame, 60);
	frame[0] = 1;
	fake_add(&tx, frame, sizeof(frame), NULL, 0);
	net_tx_run(p);
	cr_expect_eq(tx.num_used, 4u);
	cr_expect_eq(sent_frames, 0u);
	cr_expect_eq(p->stats.dropped[NET_DROPPED_SHORT], 3u);
	cr_expect_eq(p->stats.dropped[NET_DROPPED_HEADER], 1u);
}

Test(net_tx, keeps_a_frame_that_must_wait)
{
	static uint8_t frame[NET_HDR_LEN + 60];
	struct net_pair *p = start(0);

	fake_add(&tx, frame, sizeof(frame), NULL, 0);
	send_result = 0;
	net_tx_run(p);
	net_pair_wait_events(p);
	cr_expect_eq(tx.num_used, 0u);
	cr_expect_eq(tx.outstanding, 0u);
	cr_expect(fake_watched & EPOLLOUT);
	send_result = 1;
	p->tx_blocked = false;
	net_tx_run(p);
	net_pair_wait_events(p);
	cr_expect_eq(sent_frames, 1u);
	cr_expect_not(fake_watched & EPOLLOUT);
}

Test(net_tx, goes_on_without_a_back_end)
{
	static uint8_t frame[NET_HDR_LEN + 60];
	struct net_pair *p = start(0);

	fake_add(&tx, frame, sizeof(frame), NULL, 0);
	fake_add(&tx, frame, sizeof(frame), NULL, 0);
	send_result = -EPIPE;
	net_tx_run(p);
	cr_expect_eq(tx.num_used, 2u, "the driver is not kept waiting");
	cr_expect_eq(fake_closed, 1u);
}

static uint8_t command(struct net *n, void *cmd, uint32_t len)
{
	static uint8_t ack;

	ack = 0xff;
	fake_add(&ctrl, cmd, len, &ack, 1);
	net_ctrl_run(n, &ctrl.q);
	return ack;
}

Test(net_ctrl_run, applies_publishes_and_acknowledges)
{
	static uint8_t promisc_off[] = {0, 0, 0}, unknown[] = {7, 7};
	struct net_pair *p = start(~0ULL);
	struct net *n = p->net;

	cr_expect_eq(command(n, promisc_off, 3), NET_CTRL_OK);
	cr_expect(p->now.filter.promisc, "not before the pair wakes");
	net_pair_sync(p);
	cr_expect_not(p->now.filter.promisc);
	cr_expect_eq(command(n, unknown, 2), NET_CTRL_ERR);
	cr_expect_eq(command(n, unknown, 1), NET_CTRL_ERR);
	cr_expect_eq(ctrl.num_used, 3u);
	cr_expect_eq(ctrl.used[0].written, 1u);
	net_ctrl_reset(n);
	net_pair_sync(p);
	cr_expect(p->now.filter.promisc);
}

Test(net_ctrl_run, refuses_a_command_longer_than_any)
{
	static uint8_t huge[NET_CTRL_MAX + 1];
	struct net_pair *p = start(~0ULL);

	cr_expect_eq(command(p->net, huge, sizeof(huge)), NET_CTRL_ERR);
}

Test(net_ctrl_run, needs_a_reset_without_room_for_the_answer)
{
	static uint8_t cmd[] = {0, 0, 0};
	struct net_pair *p = start(~0ULL);

	fake_add(&ctrl, cmd, 3, NULL, 0);
	net_ctrl_run(p->net, &ctrl.q);
	cr_expect_eq(fake_needs_reset, 1u);
	cr_expect_eq(ctrl.outstanding, 0u);
}

/* A driver that adds commands as fast as they are done kept the worker there:
 * the pair had no turn, and no order to stop was seen. */
Test(net_ctrl_run, comes_to_an_end_while_commands_do_not)
{
	static uint8_t cmd[] = {0, 0, 1}, acks[3 * NET_BURST];
	struct net *n = start(~0ULL)->net;

	for (unsigned int i = 0; i < 3 * NET_BURST; i++)
		fake_add(&ctrl, cmd, 3, &acks[i], 1);
	net_ctrl_run(n, &ctrl.q);
	cr_expect_eq(ctrl.num_used, (unsigned int)NET_BURST);
	cr_expect_eq(fake_kicked_self, 1u, "goes on by itself");
	for (unsigned int i = 0; i < 3; i++)
		net_ctrl_run(n, &ctrl.q);
	cr_expect_eq(ctrl.num_used, 3u * NET_BURST);
	cr_expect_eq(fake_kicked_self, 3u);
	cr_expect(ctrl.kicks_on);
}
