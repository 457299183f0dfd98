/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_CHILD_H
#define BROKER_CHILD_H

/*
 * One confined process of the family as the broker sees it: its pidfd, its
 * channel with the requests that are not answered yet, and its log pipe. All
 * three are watched in the broker's loop. Nothing here knows what the messages
 * mean.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"
#include "common/channel/channel.h"
#include "common/channel/loop.h"
#include "common/sandbox/sandbox.h"
#include "proto/common.pb-c.h"

#define CHILD_PENDING_MAX 256 /* requests without an answer */
#define CHILD_NAME_MAX	  64

struct child;

/* What all envelopes of proto/ begin with (checked at compile time). */
struct envelope {
	ProtobufCMessage base;
	uint32_t seq;
	uint32_t answers;
	Bulkhead__Status *status;
	ProtobufCMessage *body; /* NULL in an answer that is only a status */
};

/* An answer; env->status is never NULL. The descriptors may be taken. */
typedef void (*child_answer_cb)(struct child *c, const struct envelope *env,
				int *fds, void *arg);

struct child_handler {
	/* A message that is not an answer; the handler answers it. Return: 0,
	 * or negative: the child broke the protocol (it is then failed). */
	int (*message)(struct child *c, const struct envelope *env, int *fds,
		       unsigned int num_fds, struct err *e);
	/* The process is gone, or was killed for what @why says. Called once.
	 */
	void (*gone)(struct child *c, const char *why);
};

struct child {
	char role[16];
	char id[CHILD_NAME_MAX];
	pid_t pid; /* 0 = not running */
	uid_t host_uid; /* and gid, if the broker may give ids */
	uint64_t program_dev, program_ino, program_size; /* what it runs */
	int pidfd;
	struct channel *channel;
	struct loop *loop;
	struct loop_watch *w_channel, *w_pid, *w_log;
	struct loop_watch *w_sync; /* it is still on its way to exec */
	int sync_fd;
	int log_fd;
	char log_line[512];
	uint32_t log_len;
	const struct child_handler *handler;
	void *owner;
	uint32_t next_seq;
	struct {
		uint32_t seq; /* 0 = free */
		child_answer_cb cb;
		void *arg;
	} pending[CHILD_PENDING_MAX];
	struct sandbox_report outer;
	struct sandbox_report inner; /* what it reported itself */
	bool expected_exit;	     /* leaving is no failure (loader, stop) */
	bool gone;		     /* handler->gone was called */
	char failure[128];	     /* what child_fail() killed it for */
};

/**
 * child_start() - Spawn @role's program confined and watch it
 * @c: Zeroed or finished with child_stop()
 * @candidate: The program of an upgrade (programs.h)
 *
 * Does not wait until the program runs, so that children confine themselves
 * at the same time. Requests may be sent at once. A child that fails on its way
 * is told to the owner as gone.
 */
int child_start(struct child *c, const char *role, const char *id,
		const struct channel_format *format, struct loop *loop,
		const struct child_handler *handler, void *owner,
		unsigned int uid_index, bool candidate, struct err *e);

/** child_request() - Send @body numbered; @cb gets the answer */
int child_request(struct child *c, const ProtobufCMessage *body, const int *fds,
		  unsigned int num_fds, child_answer_cb cb, void *arg,
		  struct err *e);

/** child_answer() - Answer message @seq; @body may be NULL */
int child_answer(struct child *c, uint32_t seq, int code, const char *text,
		 const ProtobufCMessage *body, struct err *e);

/** child_fail() - Kill it; the owner is told @why when it has ended */
void child_fail(struct child *c, const char *why);

/** child_stop() - Kill if alive, reap, close and forget everything */
void child_stop(struct child *c);

/** child_note_sandbox() - Keep a process's own report */
void child_note_sandbox(struct child *c, const Bulkhead__SandboxReport *r);

#endif
