/* SPDX-License-Identifier: Apache-2.0 */
#include "common/channel/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

struct loop {
	struct event_base *base;
	struct loop_watch *watches;
	int code;
};

struct loop_watch {
	struct loop *loop;
	struct loop_watch *next;
	struct event *ev;
	int fd;
	unsigned int events;
	loop_fd_cb fd_cb;
	loop_timer_cb timer_cb;
	loop_signal_cb signal_cb;
	void *arg;
};

/*
 * @sys all epoll_ctl: control loop: change what is watched
 */
int loop_new(struct loop **ret, struct err *e)
{
	struct event_config *cfg = event_config_new();
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!cfg || !loop) {
		free(loop);
		if (cfg)
			event_config_free(cfg);
		return err_set(e, -ENOMEM, "no memory for an event loop");
	}
	/* One thread a loop: no locks. The environment must not choose. */
	/* No cached time: a loop without timers never asks for it, which would
	 * be a system call (gettimeofday) where the vDSO has no clock. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK |
					   EVENT_BASE_FLAG_IGNORE_ENV |
					   EVENT_BASE_FLAG_NO_CACHE_TIME);
	loop->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	if (!loop->base) {
		free(loop);
		return err_set(e, -ENOMEM, "cannot make an event loop");
	}
	*ret = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->watches)
		loop_watch_free(loop->watches);
	event_base_free(loop->base);
	free(loop);
}

static void loop_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	if (w->timer_cb)
		w->timer_cb(w->arg);
	else if (w->signal_cb)
		w->signal_cb((int)fd, w->arg);
	else
		w->fd_cb((int)fd,
			 (what & EV_READ ? LOOP_READ : 0) |
				 (what & EV_WRITE ? LOOP_WRITE : 0),
			 w->arg);
}

static short loop_to_event(unsigned int events)
{
	return (short)(EV_PERSIST | (events & LOOP_READ ? EV_READ : 0) |
		       (events & LOOP_WRITE ? EV_WRITE : 0) |
		       (events & LOOP_EDGE ? EV_ET : 0));
}

static struct loop_watch *loop_watch_new(struct loop *loop, int fd, short what,
					 void *arg)
{
	struct loop_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->loop = loop;
	w->fd = fd;
	w->arg = arg;
	w->ev = event_new(loop->base, fd, what, loop_on_event, w);
	if (!w->ev) {
		free(w);
		return NULL;
	}
	w->next = loop->watches;
	loop->watches = w;
	return w;
}

int loop_add_fd(struct loop *loop, int fd, unsigned int events, loop_fd_cb cb,
		void *arg, struct loop_watch **ret, struct err *e)
{
	struct loop_watch *w =
		loop_watch_new(loop, fd, loop_to_event(events), arg);

	if (!w)
		return err_set(e, -ENOMEM, "no memory to watch descriptor %d",
			       fd);
	w->fd_cb = cb;
	if (events && event_add(w->ev, NULL) < 0) {
		loop_watch_free(w);
		return err_set(e, -EINVAL, "cannot watch descriptor %d", fd);
	}
	w->events = events;
	if (ret)
		*ret = w;
	return 0;
}

int loop_set_events(struct loop_watch *w, unsigned int events)
{
	if (w->events == events)
		return 0;
	event_del(w->ev);
	w->events = 0;
	if (!events)
		return 0;
	event_assign(w->ev, w->loop->base, w->fd, loop_to_event(events),
		     loop_on_event, w);
	if (event_add(w->ev, NULL) < 0)
		return -EINVAL;
	w->events = events;
	return 0;
}

int loop_add_timer(struct loop *loop, loop_timer_cb cb, void *arg,
		   struct loop_watch **ret, struct err *e)
{
	struct loop_watch *w = loop_watch_new(loop, -1, 0, arg);

	if (!w)
		return err_set(e, -ENOMEM, "no memory for a timer");
	w->timer_cb = cb;
	*ret = w;
	return 0;
}

void loop_timer_arm(struct loop_watch *w, uint64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
			     .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	event_add(w->ev, &tv);
}

void loop_timer_disarm(struct loop_watch *w)
{
	event_del(w->ev);
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_cb cb, void *arg,
		    struct loop_watch **ret, struct err *e)
{
	struct loop_watch *w =
		loop_watch_new(loop, signo, EV_SIGNAL | EV_PERSIST, arg);

	if (!w)
		return err_set(e, -ENOMEM, "no memory to watch signal %d",
			       signo);
	w->signal_cb = cb;
	if (event_add(w->ev, NULL) < 0) {
		loop_watch_free(w);
		return err_set(e, -EINVAL, "cannot watch signal %d", signo);
	}
	if (ret)
		*ret = w;
	return 0;
}

void loop_watch_free(struct loop_watch *w)
{
	if (!w)
		return;
	for (struct loop_watch **p = &w->loop->watches; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	event_free(w->ev);
	free(w);
}

/*
 * @sys all epoll_wait: control loop: sleep until something is ready
 * @sys all clock_gettime: control loop's time, where the vDSO has no clock
 */
int loop_run(struct loop *loop)
{
	loop->code = 0;
	if (event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
		return -EIO;
	return loop->code;
}

void loop_stop(struct loop *loop, int code)
{
	loop->code = code;
	event_base_loopbreak(loop->base);
}
