/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CHANNEL_LOOP_H
#define COMMON_CHANNEL_LOOP_H

/*
 * The control loop of a process (the only user of libevent). One thread; the
 * callbacks run in loop_run(). Watches may be added and removed from inside
 * callbacks; after lock-down only as many as loop_new() was told, since each
 * needs memory.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

struct loop;
struct loop_watch;

#define LOOP_READ  1u
#define LOOP_WRITE 2u
/* Only when it becomes ready once more, as an eventfd by each write. */
#define LOOP_EDGE 4u

typedef void (*loop_fd_cb)(int fd, unsigned int events, void *arg);
typedef void (*loop_timer_cb)(void *arg);
typedef void (*loop_signal_cb)(int signo, void *arg);

int loop_new(struct loop **ret, struct err *e);
void loop_free(struct loop *loop); /* also frees the watches */

/** loop_add_fd() - Level-triggered watch; the descriptor stays the caller's */
int loop_add_fd(struct loop *loop, int fd, unsigned int events, loop_fd_cb cb,
		void *arg, struct loop_watch **ret, struct err *e);
/** loop_set_events() - Change what an fd watch waits for; 0 pauses it */
int loop_set_events(struct loop_watch *w, unsigned int events);

/** loop_add_timer() - Made idle; arm with loop_timer_arm() */
int loop_add_timer(struct loop *loop, loop_timer_cb cb, void *arg,
		   struct loop_watch **ret, struct err *e);
void loop_timer_arm(struct loop_watch *w, uint64_t ms); /* one shot */
void loop_timer_disarm(struct loop_watch *w);

/** loop_add_signal() - Broker only */
int loop_add_signal(struct loop *loop, int signo, loop_signal_cb cb, void *arg,
		    struct loop_watch **ret, struct err *e);

void loop_watch_free(struct loop_watch *w); /* NULL allowed */

/** loop_run() - Until loop_stop(); Return: its code, or negative errno */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int code);

#endif
