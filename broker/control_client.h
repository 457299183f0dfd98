/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_CONTROL_CLIENT_H
#define BROKER_CONTROL_CLIENT_H

/* A command's end of a VM's control socket. */

#include <stdbool.h>

#include "common/channel/channel.h"
#include "proto/control.pb-c.h"

struct control_conn {
	struct channel *channel;
	uint32_t next_seq;
	struct channel_msg last; /* what the last answer points into */
	bool orphaned;		 /* a keeper answers: the broker died */
};

/** control_open() - Take a connected descriptor over and say hello */
int control_open(struct control_conn *c, int fd, struct err *e);
void control_close(struct control_conn *c);

/** control_ask() - One request; @ret is valid until the next one; an answer
 *  with an error is this function's error */
int control_ask(struct control_conn *c, Bulkhead__ControlBody *body,
		const Bulkhead__ControlMessage **ret, struct err *e);
/** control_ask_fds() - One that carries descriptors; they stay the caller's */
int control_ask_fds(struct control_conn *c, Bulkhead__ControlBody *body,
		    const int *fds, unsigned int num_fds,
		    const Bulkhead__ControlMessage **ret, struct err *e);

#endif
