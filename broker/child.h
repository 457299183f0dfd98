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
#include "common/base/log.h"
#include "common/channel/channel.h"
#include "common/channel/loop.h"
#include "common/sandbox/sandbox.h"
#include "proto/common.pb-c.h"
#include "proto/keeper.pb-c.h"

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
	/* Messages that are no answers, a second; more wait. 0 = any number */
	unsigned int messages_max;
	/* For it to make room in its channel; the others wait as long. */
	int room_wait_ms;
};

/* What it has cost in the present second */
struct child_budget {
	int64_t second;
	uint32_t spent;
};

struct child {
	char role[16];
	char id[CHILD_NAME_MAX];
	pid_t pid;	/* 0 = not running */
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
	struct log_limit log_lines;
	struct child_budget log_bytes, messages;
	struct loop_watch *w_tick; /* end of a pause, or of patience */
	bool hung_up;
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
	/* A broker that died had started it. Its exit status is not ours to
	 * know. A device of such a broker has no channel here: it serves the
	 * guest until it is replaced. */
	pid_t creator;	    /* 0: we */
	uint32_t first_seq; /* of our requests */
	int held_channel;   /* what keeps a device from ending; else -1 */
	bool gone;	    /* handler->gone was called */
	char failure[128];  /* what child_fail() killed it for */
};

/* Host ids of a broker's processes: so many, two halves alike; the upper 16 of
 * the lower half are helpers' (passt.c). */
#define CHILD_IDS 128

struct child_args {
	const char *role, *id;
	const struct channel_format *format;
	struct loop *loop;
	const struct child_handler *handler;
	void *owner;
	unsigned int uid_index;
	bool candidate; /* the program of an upgrade (programs.h) */
	bool outlives;	/* us, since a keeper holds its channel */
	/* child_adopt(): which broker we are, from 1 to 127: no two number
	 * their requests alike. */
	uint32_t generation;
};

/**
 * child_start() - Spawn the role's program confined and watch it
 * @c: Zeroed or finished with child_stop()
 *
 * Does not wait until the program runs, so that children confine themselves
 * at the same time. Requests may be sent at once. A child that fails on its way
 * is told to the owner as gone.
 */
int child_start(struct child *c, const struct child_args *args, struct err *e);

/** child_keep() - Describe it for another broker
 *  @m: Texts point into @c and @lists; @fds: gets CHILD_KEPT_FDS at most */
#define CHILD_KEPT_FDS 3
struct child_kept {
	Bulkhead__KeptProcess msg;
	Bulkhead__SandboxReport outer, inner;
	char *lists[4][SANDBOX_MAX_NOTES];
};
unsigned int child_keep(struct child *c, struct child_kept *ret, int *fds);

/** child_adopt() - Watch one that a dead broker had started
 *  @fds: As child_keep() gave them; taken over on success
 *  @channel: Its channel, taken over; NULL: it is held, not used */
int child_adopt(struct child *c, const struct child_args *args,
		const Bulkhead__KeptProcess *m, int *fds,
		struct channel *channel, struct err *e);

/**
 * child_request() - Send @body numbered; @cb gets the answer
 *
 * A process that is gone, or that does not read what it is sent (it is failed),
 * is no error: as one that dies before it answers, it is told as gone.
 */
int child_request(struct child *c, const ProtobufCMessage *body, const int *fds,
		  unsigned int num_fds, child_answer_cb cb, void *arg,
		  struct err *e);

/** child_answer() - Answer message @seq; @body may be NULL */
int child_answer(struct child *c, uint32_t seq, int code, const char *text,
		 const ProtobufCMessage *body, struct err *e);

/** child_text() - Make a child's text fit to be shown, in place: one line,
 *  printable, without quotes, at most ERR_TEXT_MAX bytes with the NUL */
void child_text(char *text);

/** child_fail() - Kill it; the owner is told @why when it has ended */
void child_fail(struct child *c, const char *why);

/** child_stop() - Kill if alive, reap, close and forget everything */
void child_stop(struct child *c);

/** child_note_sandbox() - Keep a process's own report */
void child_note_sandbox(struct child *c, const Bulkhead__SandboxReport *r);

#endif
