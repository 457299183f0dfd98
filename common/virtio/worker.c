/* SPDX-License-Identifier: Apache-2.0 */
#include "common/virtio/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/virtio/runtime.h"

#define WORKER_EVENTS 8 /* per epoll_wait() */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORKER_STACK (512 * KIB)
#elif defined(__has_feature)
#define WORKER_STACK (512 * KIB) /* clang: sanitizers need more */
#else
#define WORKER_STACK (64 * KIB)
#endif

unsigned int worker_index(const struct worker *w)
{
	return w->index;
}

static uint64_t worker_tag(const struct worker *w, int handle)
{
	return (uint64_t)w->slots[handle].generation << 32 | (uint32_t)handle;
}

/*
 * A paused watch leaves the set: epoll reports hang-ups even when nothing is
 * asked for.
 *
 * @sys device epoll_ctl: watch a queue's kicks and the back end
 */
static int worker_epoll(struct worker *w, int handle, uint32_t events)
{
	struct worker_slot *s = &w->slots[handle];
	struct epoll_event ev = {
		.events = events,
		.data.u64 = worker_tag(w, handle),
	};
	int op = !events     ? EPOLL_CTL_DEL
		 : s->events ? EPOLL_CTL_MOD
			     : EPOLL_CTL_ADD;

	if (!events && !s->events)
		return 0;
	if (epoll_ctl(w->epoll_fd, op, s->fd, &ev) < 0)
		return -errno;
	s->events = events;
	return 0;
}

int worker_watch(struct worker *w, int fd, uint32_t epoll_events,
		 worker_fd_cb cb, void *arg)
{
	for (int i = 0; i < (int)ARRAY_SIZE(w->slots); i++) {
		struct worker_slot *s = &w->slots[i];
		int r;

		if (s->fd >= 0)
			continue;
		s->fd = fd;
		s->events = 0;
		s->cb = cb;
		s->arg = arg;
		r = worker_epoll(w, i, epoll_events);
		if (r < 0)
			s->fd = -1;
		return r < 0 ? r : i;
	}
	return -ENOSPC;
}

int worker_watch_events(struct worker *w, int handle, uint32_t epoll_events)
{
	check(handle >= 0 && handle < (int)ARRAY_SIZE(w->slots));
	check(w->slots[handle].fd >= 0);
	return worker_epoll(w, handle, epoll_events);
}

void worker_unwatch(struct worker *w, int handle)
{
	check(handle >= 0 && handle < (int)ARRAY_SIZE(w->slots));
	check(w->slots[handle].fd >= 0);
	worker_epoll(w, handle, 0);
	w->slots[handle].fd = -1;
	w->slots[handle]
		.generation++; /* what epoll_wait() already has is old */
}

/*
 * @sys device epoll_wait: sleep until a kick or the back end
 */
void worker_poll(struct worker *w, int timeout)
{
	struct epoll_event events[WORKER_EVENTS];
	int n = epoll_wait(w->epoll_fd, events, WORKER_EVENTS, timeout);

	for (int i = 0; i < n; i++) {
		int handle = (int)(uint32_t)events[i].data.u64;
		struct worker_slot *s = &w->slots[handle];

		if (s->fd >= 0 && worker_tag(w, handle) == events[i].data.u64)
			s->cb(w, events[i].events, s->arg);
	}
}

static void worker_on_kick(struct worker *w, uint32_t events, void *arg)
{
	struct queue *q = arg;

	(void)w;
	(void)events;
	q->device->ops->queue_kick(q->device, q);
}

/* Release: orders everything that the worker did to the queue before the word
 * by which the control thread takes it back. */
static void worker_report(struct device *dev, unsigned int index, int result)
{
	struct queue_link *l = &dev->rt->links[index];

	l->result = result;
	atomic_store_explicit(&l->done, true, memory_order_release);
	device_wake(dev);
}

/*
 * Kicks are watched edge-triggered and their counter is never read: each
 * write is one edge, and a system call less for each of them.
 */
static void worker_start_queue(struct worker *w, unsigned int index)
{
	struct device *dev = w->dev;
	struct queue_link *l = &dev->rt->links[index];
	struct queue *q = &dev->queues[index];

	l->draining = false;
	q->worker = w;
	l->watch = worker_watch(w, l->kick_fd, EPOLLIN | EPOLLET,
				worker_on_kick, q);
	if (l->watch < 0) {
		queue_stop(q);
		worker_report(dev, index, l->watch);
		return;
	}
	if (dev->ops->queue_started)
		dev->ops->queue_started(dev, q);
	device_recover_queue(dev, q);
	worker_report(dev, index, 0);
	dev->ops->queue_kick(dev, q);
}

static void worker_finish_stop(struct device *dev, struct queue *q)
{
	struct queue_link *l = &dev->rt->links[q->index];

	l->draining = false;
	queue_flush(q);
	l->base = queue_stop(q);
	worker_report(dev, q->index, 0);
}

static void worker_stop_queue(struct worker *w, unsigned int index)
{
	struct device *dev = w->dev;
	struct queue_link *l = &dev->rt->links[index];
	struct queue *q = &dev->queues[index];

	worker_unwatch(w, l->watch);
	l->draining = true;
	if (!dev->ops->queue_stopping || dev->ops->queue_stopping(dev, q))
		worker_finish_stop(dev, q);
}

void device_queue_drained(struct device *dev, struct queue *q)
{
	if (dev->rt->links[q->index].draining)
		worker_finish_stop(dev, q);
}

static void worker_on_mail(struct worker *w, uint32_t events, void *arg)
{
	struct device *dev = w->dev;

	(void)events;
	(void)arg;
	if (atomic_exchange(&w->pinged, false)) {
		atomic_store(&w->ponged, true);
		device_wake(dev);
	}
	for (unsigned int i = 0; i < dev->num_queues; i++) {
		if (device_queue_worker(dev, i) != w->index)
			continue;
		/* Acquire: orders the request before what it is about. */
		switch (atomic_exchange_explicit(&dev->rt->links[i].request,
						 QUEUE_REQ_NONE,
						 memory_order_acquire)) {
		case QUEUE_REQ_START:
			worker_start_queue(w, i);
			break;
		case QUEUE_REQ_STOP:
			worker_stop_queue(w, i);
			break;
		default:
			break;
		}
	}
}

/*
 * @sys device write: wake a worker or the control thread
 */
void worker_mail(struct worker *w)
{
	if (eventfd_write(w->mail_fd, 1) < 0)
		errno = 0; /* full: it is awake */
}

int worker_init(struct worker *w, struct device *dev, unsigned int index,
		struct err *e)
{
	int r;

	w->index = index;
	w->dev = dev;
	w->affinity = -1;
	for (size_t i = 0; i < ARRAY_SIZE(w->slots); i++)
		w->slots[i].fd = -1;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll_fd < 0 || w->mail_fd < 0)
		return err_errno(e, "making worker %u", index);
	r = worker_watch(w, w->mail_fd, EPOLLIN | EPOLLET, worker_on_mail,
			 NULL);
	return r < 0 ? err_set(e, r, "watching worker %u", index) : 0;
}

void worker_done(struct worker *w)
{
	w->epoll_fd = fd_close(w->epoll_fd);
	w->mail_fd = fd_close(w->mail_fd);
}

static int worker_pin(const struct worker *w, struct err *e)
{
	cpu_set_t set;

	if (w->affinity < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)w->affinity, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return err_errno(e, "pinning queue worker %u to host CPU %d",
				 w->index, w->affinity);
	return 0;
}

static int worker_open(struct worker *w, struct err *e)
{
	int r = worker_pin(w, e);

	if (r < 0 || !w->dev->ops->worker_open)
		return r;
	return w->dev->ops->worker_open(w->dev, w, e);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	int r = worker_open(w, &w->open_err);

	w->open_result = r;
	atomic_store_explicit(&w->opened, true, memory_order_release);
	device_wake(w->dev);
	while (r >= 0)
		worker_poll(w, -1);
	return NULL;
}

/*
 * Waits until worker_open() is over. The worker tells by eventfd, a call that
 * stays allowed: a futex could be caught by the lock-down on its way.
 */
int worker_start_thread(struct worker *w, struct err *e)
{
	struct pollfd pfd = {.fd = w->dev->rt->wake_fd, .events = POLLIN};
	pthread_attr_t attr;
	eventfd_t count;
	int r;

	r = -pthread_attr_init(&attr);
	if (r == 0)
		r = -pthread_attr_setstacksize(&attr, WORKER_STACK);
	if (r == 0)
		r = -pthread_create(&w->thread, &attr, worker_main, w);
	if (r < 0)
		return err_set(e, r, "starting worker %u: %s", w->index,
			       strerror(-r));
	pthread_attr_destroy(&attr);
	while (!atomic_load_explicit(&w->opened, memory_order_acquire)) {
		if (poll(&pfd, 1, -1) > 0)
			eventfd_read(w->dev->rt->wake_fd, &count);
	}
	if (w->open_result < 0)
		return err_set(e, w->open_result, "%s", w->open_err.text);
	return 0;
}

static void worker_on_loop(int fd, unsigned int events, void *arg)
{
	(void)fd;
	(void)events;
	worker_poll(arg, 0);
}

int worker_start_inline(struct worker *w, struct err *e)
{
	int r = worker_open(w, e);

	if (r < 0)
		return r;
	return loop_add_fd(w->dev->rt->loop, w->epoll_fd, LOOP_READ,
			   worker_on_loop, w, NULL, e);
}
