/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CHANNEL_CHANNEL_H
#define COMMON_CHANNEL_CHANNEL_H

/*
 * One end of a control channel: whole protobuf messages with descriptors over
 * SOCK_SEQPACKET. The peer is hostile: a datagram that is truncated, too
 * long, undecodable, or has another number of descriptors than its kind asks
 * for is an error after which the channel must be closed; every descriptor
 * that came with it is closed.
 *
 * Decoding uses a fixed arena inside the channel, so that receiving needs no
 * heap; a received message is valid until the channel's next receive.
 *
 * Context: all channels of a process are used by one thread.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

#define CHANNEL_MSG_MAX	  (128 * 1024) /* bytes on the wire */
#define CHANNEL_ARENA_MAX (256 * 1024) /* bytes when decoded */
#define CHANNEL_FDS_MAX	  128	       /* per message */
#define CHANNEL_VERSION	  1	       /* the highest spoken here */

/* How one kind of peer's messages are encoded and judged. */
struct channel_format {
	const ProtobufCMessageDescriptor *descriptor;
	/* Exact descriptors that a decoded message must carry, or -EBADMSG. */
	int (*num_fds)(const ProtobufCMessage *msg);
};

extern const struct channel_format channel_format_device;
extern const struct channel_format channel_format_core;
extern const struct channel_format channel_format_loader;
extern const struct channel_format channel_format_control;
extern const struct channel_format channel_format_keeper;

struct channel; /* opaque; owns its descriptor */

/* A received message. The descriptors belong to the receiver, who takes them
 * with take_fd(); channel_msg_done() closes the rest. */
struct channel_msg {
	ProtobufCMessage *msg; /* in the channel's arena */
	int fds[CHANNEL_FDS_MAX];
	unsigned int num_fds;
};

/**
 * channel_new() - Wrap a connected SOCK_SEQPACKET descriptor
 * @fd: Taken over; made close-on-exec and non-blocking unless @blocking
 *
 * All memory the channel will ever need is allocated here.
 */
int channel_new(int fd, const struct channel_format *format, bool blocking,
		struct channel **ret, struct err *e);
void channel_free(struct channel *ch); /* NULL allowed; closes */
int channel_fd(const struct channel *ch);
/** channel_descriptor() - The kind of its messages */
const ProtobufCMessageDescriptor *channel_descriptor(const struct channel *ch);

/** channel_pair() - Make two connected, close-on-exec SEQPACKET descriptors */
int channel_pair(int ret_fds[2], struct err *e);

/**
 * channel_send() - Send one message
 *
 * Return: 0; -EAGAIN (non-blocking, peer too slow), -EPIPE (peer gone),
 *         -EMSGSIZE, -EINVAL (wrong number of descriptors), other errno.
 *         The descriptors stay the caller's.
 */
int channel_send(struct channel *ch, const ProtobufCMessage *msg,
		 const int *fds, unsigned int num_fds, struct err *e);

/**
 * channel_recv() - Receive one message
 *
 * Return: 1 received; 0 orderly end of the peer; -EAGAIN nothing there
 *         (non-blocking); -EBADMSG hostile or broken peer; other errno.
 */
int channel_recv(struct channel *ch, struct channel_msg *ret, struct err *e);
void channel_msg_done(struct channel_msg *m);

#endif
