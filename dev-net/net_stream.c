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

/* Return: frame bytes if a whole frame is there, 0 not yet, -EPIPE hostile. */
static int64_t whole_frame(const struct net_stream_buf *b)
{
	uint32_t have = b->in_to - b->in_from;
	uint32_t len;

	if (have < LEN_SIZE)
		return 0;
	len = get_be32(b->in + b->in_from);
	if (len < NET_FRAME_MIN || len > NET_FRAME_MAX)
		return -EPIPE;
	return have - LEN_SIZE >= len ? (int64_t)len : 0;
}

/*
 * Not writev(): a peer that is gone must not raise SIGPIPE.
 * @sys net sendmsg: send frames to passt
 */
static ssize_t send_iov(int fd, struct iovec *iov, unsigned int num_iov)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = num_iov};
	ssize_t len;

	do {
		len = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (len < 0 && errno == EINTR);
	return len;
}

/*
 * Read up to @max bytes. Return: bytes, 0 nothing there, -EPIPE.
 * @sys net read: receive frames from passt
 */
static int64_t read_some(struct net_pair *p, uint64_t max)
{
	struct net_stream_buf *b = &p->net->stream;
	ssize_t len;

	if (b->in_from) {
		memmove(b->in, b->in + b->in_from, b->in_to - b->in_from);
		b->in_to -= b->in_from;
		b->in_from = 0;
	}
	do {
		len = read(p->fd, b->in + b->in_to,
			   min_u64(max, sizeof(b->in) - b->in_to));
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return errno == EAGAIN ? 0 : -EPIPE;
	if (!len)
		return -EPIPE;
	b->in_to += (uint32_t)len;
	return len;
}

static int64_t stream_recv(struct net_pair *p, struct iovec *iov,
			   unsigned int num_iov)
{
	static const uint8_t header[NET_HDR_LEN];
	struct net_stream_buf *b = &p->net->stream;
	int64_t len = whole_frame(b);

	if (!len) {
		/* Room: less than one frame is in the buffer of two. */
		len = read_some(p, sizeof(b->in));
		if (len <= 0)
			return len;
		len = whole_frame(b);
	}
	if (len <= 0)
		return len;
	net_iov_write(iov, num_iov, 0, header, NET_HDR_LEN);
	net_iov_write(iov, num_iov, NET_HDR_LEN, b->in + b->in_from + LEN_SIZE,
		      (uint64_t)len);
	b->in_from += LEN_SIZE + (uint32_t)len;
	return len + NET_HDR_LEN;
}

static int stream_flush(struct net_pair *p)
{
	struct net_stream_buf *b = &p->net->stream;

	while (b->out_from < b->out_to) {
		struct iovec rest = {b->out + b->out_from,
				     b->out_to - b->out_from};
		ssize_t len = send_iov(p->fd, &rest, 1);

		if (len < 0)
			return errno == EAGAIN ? 0 : -EPIPE;
		b->out_from += (uint32_t)len;
	}
	b->out_from = b->out_to = 0;
	return 1;
}

/* Takes the whole frame or nothing: what the socket doesn't take is kept. */
static int stream_send(struct net_pair *p, struct iovec *iov,
		       unsigned int num_iov, uint64_t frame_len)
{
	struct net_stream_buf *b = &p->net->stream;
	uint8_t prefix[LEN_SIZE];
	uint64_t total = LEN_SIZE + frame_len;
	ssize_t len;
	int rc = stream_flush(p);

	if (rc <= 0)
		return rc;
	put_be32(prefix, (uint32_t)frame_len);
	iov[0] = (struct iovec){prefix, LEN_SIZE};
	len = send_iov(p->fd, iov, num_iov);
	if (len < 0)
		return errno == EAGAIN ? 0 : -EPIPE;
	if ((uint64_t)len < total) {
		b->out_to =
			(uint32_t)net_iov_read(iov, num_iov, (uint64_t)len,
					       b->out, total - (uint64_t)len);
		b->out_from = 0;
	}
	return 1;
}

/*
 * The next user of the socket must find it between two frames: finish the
 * frame that is half written and the one that is half read. Whole frames
 * that were read and not delivered are lost, as on any network.
 */
static bool stream_settle(struct net_pair *p)
{
	struct net_stream_buf *b = &p->net->stream;
	int64_t len;

	if (stream_flush(p) == 0)
		return false;
	while (b->in_from < b->in_to) {
		uint64_t have = b->in_to - b->in_from;

		len = whole_frame(b);
		if (len > 0) {
			b->in_from += LEN_SIZE + (uint32_t)len;
			continue;
		}
		if (len < 0)
			return true;
		len = have < LEN_SIZE ? LEN_SIZE
				      : LEN_SIZE + get_be32(b->in + b->in_from);
		len = read_some(p, (uint64_t)len - have);
		if (len <= 0)
			return len < 0;
	}
	return true;
}

const struct net_backend net_stream = {
	.recv = stream_recv,
	.send = stream_send,
	.flush = stream_flush,
	.settle = stream_settle,
};
