/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/num.h"
#include "dev-net/net.h"

/*
 * A stream socket to passt: each frame after its length, 4 bytes, big-endian.
 * Both directions can stop in the middle of a frame; what is left over waits
 * in private buffers, never in guest memory. A length that no frame can have
 * ends the connection: there is no way to find the next frame.
 *
 * passt's frames are complete (checksums, no segmentation left to do): the
 * virtio header is all zero, and the device offers no offload.
 */
#define LEN_SIZE 4u /* bytes */

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* Keeps the stores before it before those after it (net_state.h). */
#define in_order() __asm__ volatile("" ::: "memory")

static struct net_stream_buf *buf_of(struct net_pair *p)
{
	return &net_state_of(p->net)->stream;
}

/* Return: frame bytes if a whole frame is there, 0 not yet, -EPIPE hostile. */
static int64_t whole_frame(const struct net_stream_in *in)
{
	uint32_t have = in->to - in->from;
	uint32_t len;

	if (have < LEN_SIZE)
		return 0;
	len = get_be32(in->bytes + in->from);
	if (len < NET_FRAME_MIN || len > NET_FRAME_MAX)
		return -EPIPE;
	return have - LEN_SIZE >= len ? (int64_t)len : 0;
}

/*
 * Not writev(): a peer that is gone must not raise SIGPIPE; and @msg outlives
 * us with the number of bytes that went.
 * @sys net sendmmsg: send frames to passt
 */
static int64_t send_iov(int fd, struct mmsghdr *msg, struct iovec *iov,
			unsigned int num_iov)
{
	int n;

	memset(msg, 0, sizeof(*msg));
	msg->msg_hdr.msg_iov = iov;
	msg->msg_hdr.msg_iovlen = num_iov;
	do {
		n = sendmmsg(fd, msg, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int64_t)msg->msg_len;
}

/* What is left moves to the front of the other buffer, and then counts. */
static void make_room(struct net_stream_buf *b)
{
	struct net_stream_in *in = &b->in[b->which];
	struct net_stream_in *other = &b->in[!b->which];

	if (!in->from)
		return;
	memcpy(other->bytes, in->bytes + in->from, in->to - in->from);
	other->from = 0;
	in_order();
	other->to = in->to - in->from;
	in_order();
	b->which = !b->which;
}

/*
 * Read up to @max bytes. Return: bytes, 0 nothing there, -EPIPE.
 * @sys net recvmmsg: receive frames from passt
 */
static int64_t read_some(struct net_pair *p, uint64_t max)
{
	struct net_stream_buf *b = buf_of(p);
	struct net_stream_in *in;
	struct iovec iov;
	int n;

	make_room(b);
	in = &b->in[b->which];
	iov = (struct iovec){in->bytes + in->to,
			     min_u64(max, sizeof(in->bytes) - in->to)};
	memset(&b->in_msg, 0, sizeof(b->in_msg));
	b->in_msg.msg_hdr.msg_iov = &iov;
	b->in_msg.msg_hdr.msg_iovlen = 1;
	b->in_base = in->to;
	in_order();
	b->reading = 1;
	in_order();
	do {
		n = recvmmsg(p->fd, &b->in_msg, 1, MSG_DONTWAIT, NULL);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		in->to = b->in_base + b->in_msg.msg_len;
	in_order();
	b->reading = 0;
	if (n < 0)
		return errno == EAGAIN ? 0 : -EPIPE;
	return b->in_msg.msg_len ? (int64_t)b->in_msg.msg_len : -EPIPE;
}

static int64_t stream_recv(struct net_pair *p, struct iovec *iov,
			   unsigned int num_iov)
{
	static const uint8_t header[NET_HDR_LEN];
	struct net_stream_buf *b = buf_of(p);
	struct net_stream_in *in = &b->in[b->which];
	int64_t len = whole_frame(in);

	if (!len) {
		/* Room: less than one frame is in the buffer of two. */
		len = read_some(p, sizeof(in->bytes));
		if (len <= 0)
			return len;
		in = &b->in[b->which];
		len = whole_frame(in);
	}
	if (len <= 0)
		return len;
	net_iov_write(iov, num_iov, 0, header, NET_HDR_LEN);
	net_iov_write(iov, num_iov, NET_HDR_LEN,
		      in->bytes + in->from + LEN_SIZE, (uint64_t)len);
	in->from += LEN_SIZE + (uint32_t)len;
	return len + NET_HDR_LEN;
}

static int stream_flush(struct net_pair *p)
{
	struct net_stream_buf *b = buf_of(p);

	while (b->out_from < b->out_to) {
		struct iovec rest = {b->out + b->out_from,
				     b->out_to - b->out_from};
		int64_t len;

		b->out_msg.msg_len = 0;
		b->out_base = b->out_from;
		in_order();
		b->sending = NET_SENDING_REST;
		in_order();
		len = send_iov(p->fd, &b->out_msg, &rest, 1);
		if (len > 0)
			b->out_from = b->out_base + (uint32_t)len;
		in_order();
		b->sending = NET_SENDING_NOT;
		if (len < 0)
			return len == -EAGAIN ? 0 : -EPIPE;
	}
	b->out_to = 0; /* first, or it would look like bytes to send */
	in_order();
	b->out_from = b->out_base = 0;
	return 1;
}

/* From @from on, the frame waits for the socket. */
static void keep_rest(struct net_stream_buf *b, const struct iovec *iov,
		      unsigned int num_iov, uint64_t from, uint64_t total)
{
	uint64_t n = 0;

	if (num_iov)
		n = net_iov_read(iov, num_iov, from, b->out, total - from);
	memset(b->out + n, 0, total - from - n);
	b->out_from = b->out_base = 0;
	in_order();
	b->out_to = (uint32_t)(total - from);
	in_order();
}

/*
 * A predecessor died within a frame. Its chain comes first now; if it does
 * not (the driver was reset, or cheats), the peer gets zeroes instead.
 * Return: true the frame at hand was that one
 */
static bool finish_cut(struct net_pair *p, const struct iovec *iov,
		       unsigned int num_iov, uint64_t total)
{
	struct net_stream_buf *b = buf_of(p);
	bool same = b->cut_chain == p->mark->now && b->total == total;

	keep_rest(b, iov, same ? num_iov : 0, b->cut, b->total);
	b->cut = 0;
	return same;
}

/* Takes the whole frame or nothing: what the socket doesn't take is kept. */
static int stream_send(struct net_pair *p, struct iovec *iov,
		       unsigned int num_iov, uint64_t frame_len)
{
	struct net_stream_buf *b = buf_of(p);
	uint8_t prefix[LEN_SIZE];
	uint64_t total = LEN_SIZE + frame_len;
	int64_t len;
	int rc = stream_flush(p);

	if (rc <= 0)
		return rc;
	put_be32(prefix, (uint32_t)frame_len);
	iov[0] = (struct iovec){prefix, LEN_SIZE};
	if (b->cut) {
		if (finish_cut(p, iov, num_iov, total))
			return 1;
		rc = stream_flush(p);
		if (rc <= 0)
			return rc;
	}
	b->out_msg.msg_len = 0;
	b->total = (uint32_t)total;
	in_order();
	b->sending = NET_SENDING_FRAME;
	in_order();
	len = send_iov(p->fd, &b->out_msg, iov, num_iov);
	if (len > 0 && (uint64_t)len < total)
		keep_rest(b, iov, num_iov, (uint64_t)len, total);
	/* Between these two stores the frame would be sent twice. */
	if (len > 0)
		p->mark->done = p->mark->now;
	in_order();
	b->sending = NET_SENDING_NOT;
	if (len < 0)
		return len == -EAGAIN ? 0 : -EPIPE;
	return 1;
}

/*
 * The next user of the socket must find it between two frames: finish the
 * frame that is half written and the one that is half read. Whole frames
 * that were read and not delivered are lost, as on any network.
 */
static bool stream_settle(struct net_pair *p)
{
	struct net_stream_buf *b = buf_of(p);
	int64_t len;

	if (stream_flush(p) == 0)
		return false;
	for (;;) {
		struct net_stream_in *in = &b->in[b->which];
		uint64_t have = in->to - in->from;

		if (!have)
			return true;
		len = whole_frame(in);
		if (len > 0) {
			in->from += LEN_SIZE + (uint32_t)len;
			continue;
		}
		if (len < 0)
			return true;
		len = have < LEN_SIZE
			      ? LEN_SIZE
			      : LEN_SIZE + get_be32(in->bytes + in->from);
		len = read_some(p, (uint64_t)len - have);
		if (len <= 0)
			return len < 0;
	}
}

const struct net_backend net_stream = {
	.recv = stream_recv,
	.send = stream_send,
	.flush = stream_flush,
	.settle = stream_settle,
};
