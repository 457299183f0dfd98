/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_WORKER_H
#define COMMON_VIRTIO_WORKER_H

/*
 * The thread that serves one or more queues: an epoll set of kick
 * descriptors, back-end descriptors and the control thread's mailbox. A
 * device with no threads of its own has one worker that runs inside the
 * control loop (its epoll descriptor is watched there); devices can't tell.
 */

#include <stdint.h>

#include "common/base/err.h"

struct worker;
typedef void (*worker_fd_cb)(struct worker *w, uint32_t epoll_events,
			     void *arg);

#define WORKER_MAX_WATCHES 16

/**
 * worker_watch() - Call back in the worker's thread when @fd is ready
 * @epoll_events: EPOLLIN, EPOLLOUT, EPOLLET ...
 *
 * Before lock-down from any thread, afterwards from the worker's own thread.
 * Return: a small handle >= 0, -ENOSPC or another errno
 */
int worker_watch(struct worker *w, int fd, uint32_t epoll_events,
		 worker_fd_cb cb, void *arg);
/** worker_watch_events() - Change what is waited for; 0 pauses */
int worker_watch_events(struct worker *w, int handle, uint32_t epoll_events);
void worker_unwatch(struct worker *w, int handle);

/**
 * worker_poll() - Wait at most @timeout_ms and serve what became ready
 *
 * For device_ops.quiesce() of a device without threads of its own.
 */
void worker_poll(struct worker *w, int timeout_ms);

/** worker_index() - 0-based, < device->num_workers */
unsigned int worker_index(const struct worker *w);

#endif
