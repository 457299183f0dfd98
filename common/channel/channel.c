/* SPDX-License-Identifier: Apache-2.0 */
#include "common/channel/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"

/* protobuf-c asks for this memory while it decodes; all of it is given back at
 * once by starting the next receive. */
struct arena {
	uint8_t *data;
	size_t used;
};

struct channel {
	int fd;
	const struct channel_format *format;
	struct arena arena;
	ProtobufCAllocator allocator;
};

/* A datagram is here only within one call: all channels of the process share
 * the pages. One more byte shows an excess. */
static uint8_t channel_in[CHANNEL_MSG_MAX + 1], channel_out[CHANNEL_MSG_MAX];

static void *arena_alloc(void *opaque, size_t size)
{
	struct arena *a = opaque;
	void *p;

	if (size > CHANNEL_ARENA_MAX - a->used)
		return NULL;
	p = a->data + a->used;
	a->used = (size_t)min_u64(align_up(a->used + size, 16),
				  CHANNEL_ARENA_MAX);
	return p;
}

static void arena_free(void *opaque, void *p)
{
	(void)opaque;
	(void)p;
}

int channel_new(int fd, const struct channel_format *format, bool blocking,
		struct channel **ret, struct err *e)
{
	struct channel *ch;
	int flags;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL,
		  blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0)
		return err_errno(e, "cannot prepare channel descriptor %d", fd);
	ch = calloc(1, sizeof(*ch));
	if (!ch)
		return err_set(e, -ENOMEM, "no memory for a channel");
	ch->arena.data = malloc(CHANNEL_ARENA_MAX);
	ch->fd = -1;
	if (!ch->arena.data) {
		channel_free(ch);
		return err_set(e, -ENOMEM, "no memory for a channel");
	}
	ch->fd = fd;
	ch->format = format;
	ch->allocator.alloc = arena_alloc;
	ch->allocator.free = arena_free;
	ch->allocator.allocator_data = &ch->arena;
	*ret = ch;
	return 0;
}

void channel_free(struct channel *ch)
{
	if (!ch)
		return;
	fd_close(ch->fd);
	free(ch->arena.data);
	free(ch);
}

int channel_fd(const struct channel *ch)
{
	return ch->fd;
}

const ProtobufCMessageDescriptor *channel_descriptor(const struct channel *ch)
{
	return ch->format->descriptor;
}

int channel_pair(int ret_fds[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return err_errno(e, "cannot make a control channel");
	return 0;
}

/*
 * @sys all sendmsg: control messages
 */
int channel_send(struct channel *ch, const ProtobufCMessage *msg,
		 const int *fds, unsigned int num_fds, struct err *e)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = channel_out};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int want;
	ssize_t n;

	if (msg->descriptor != ch->format->descriptor)
		return err_set(e, -EINVAL, "message of another channel's kind");
	want = ch->format->num_fds(msg);
	if (want < 0 || (unsigned int)want != num_fds)
		return err_set(e, -EINVAL,
			       "%s with %u descriptors, its kind has %d",
			       msg->descriptor->name, num_fds, want);
	if (protobuf_c_message_get_packed_size(msg) > CHANNEL_MSG_MAX)
		return err_set(e, -EMSGSIZE, "%s over %d bytes",
			       msg->descriptor->name, CHANNEL_MSG_MAX);
	iov.iov_len = protobuf_c_message_pack(msg, channel_out);
	if (num_fds) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * num_fds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * num_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * num_fds);
	}
	do
		n = sendmsg(ch->fd, &mh, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(e, "cannot send %s", msg->descriptor->name);
	return 0;
}

void channel_msg_done(struct channel_msg *m)
{
	for (unsigned int i = 0; i < m->num_fds; i++)
		m->fds[i] = fd_close(m->fds[i]);
	m->num_fds = 0;
	m->msg = NULL;
}

/* Collect the descriptors, also of a datagram that will be refused. */
static int channel_take_fds(struct msghdr *mh, struct channel_msg *ret)
{
	int r = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			r = -EBADMSG;
			continue;
		}
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (ret->num_fds < CHANNEL_FDS_MAX)
				ret->fds[ret->num_fds++] = fd;
			else
				fd_close(fd);
		}
	}
	return r;
}

static int channel_decode(struct channel *ch, size_t len, bool truncated,
			  struct channel_msg *ret, struct err *e)
{
	const char *name = ch->format->descriptor->name;
	int want;

	if (truncated || len > CHANNEL_MSG_MAX)
		return err_set(e, -EBADMSG, "truncated or oversized %s", name);
	ch->arena.used = 0;
	ret->msg = protobuf_c_message_unpack(ch->format->descriptor,
					     &ch->allocator, len, channel_in);
	if (!ret->msg)
		return err_set(e, -EBADMSG, "undecodable %s of %zu bytes", name,
			       len);
	want = ch->format->num_fds(ret->msg);
	if (want < 0 || (unsigned int)want != ret->num_fds)
		return err_set(e, -EBADMSG,
			       "%s with %u descriptors, its kind has %d", name,
			       ret->num_fds, want);
	return 1;
}

/*
 * @sys all recvmsg: control messages
 * @sys all close: descriptors of refused or finished messages
 */
int channel_recv(struct channel *ch, struct channel_msg *ret, struct err *e)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = channel_in,
			    .iov_len = CHANNEL_MSG_MAX + 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.buf,
			    .msg_controllen = sizeof(control.buf)};
	ssize_t n;
	int r;

	ret->num_fds = 0;
	ret->msg = NULL;
	do
		n = recvmsg(ch->fd, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno == EAGAIN)
			return -EAGAIN;
		if (errno == ECONNRESET)
			return 0;
		return err_errno(e, "cannot receive a message");
	}
	r = channel_take_fds(&mh, ret);
	if (n == 0 && !ret->num_fds)
		return 0;
	if (r == 0)
		r = channel_decode(ch, (size_t)n,
				   mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC), ret,
				   e);
	else
		err_set(e, r, "unexpected ancillary data");
	if (r < 0)
		channel_msg_done(ret);
	return r;
}
