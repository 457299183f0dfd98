/* SPDX-License-Identifier: Apache-2.0 */
#include "common/virtio/device.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/virtio/runtime.h"

/* virtio 1.2, section 6; the same for every device. */
#define FEATURES_COMMON                                                        \
	(1ULL << 28 /* INDIRECT_DESC */ | 1ULL << 29 /* EVENT_IDX */ |         \
	 1ULL << 32 /* VERSION_1 */ | 1ULL << 34 /* RING_PACKED */)

#define DEVICE_ID_MAX 64 /* bytes of DeviceSetup.id */

unsigned int device_queue_worker(struct device *dev, uint32_t index)
{
	unsigned int w = 0;

	if (dev->ops->queue_worker)
		w = dev->ops->queue_worker(dev, index);
	check(w < dev->rt->num_workers);
	return w;
}

/*
 * @sys device write: wake a worker or the control thread
 */
void device_wake(struct device *dev)
{
	if (eventfd_write(dev->rt->wake_fd, 1) < 0)
		errno = 0; /* full: it is awake */
}

void device_config_changed(struct device *dev)
{
	dev->rt->config_dirty = true;
	device_wake(dev);
}

void device_needs_reset(struct device *dev, struct queue *q, const char *why)
{
	static struct log_limit limit = LOG_LIMIT_INIT(4);

	if (q && q->reset_told)
		return;
	if (q)
		q->broken = q->reset_told = true;
	log_limited(&limit, LOG_WARN, "queue %d: %s; the device needs a reset",
		    q ? (int)q->index : -1, why);
	atomic_store(&dev->rt->reset_why, why);
	device_wake(dev);
}

void device_backend_closed(struct device *dev, const char *why)
{
	atomic_store(&dev->rt->closed_why, why);
	device_wake(dev);
}

/* Release: orders the queue's preparation before the word that hands it over.
 */
void device_request(struct device *dev, unsigned int index,
		    enum queue_request req)
{
	atomic_store_explicit(&dev->rt->links[index].request, req,
			      memory_order_release);
	worker_mail(&dev->rt->workers[device_queue_worker(dev, index)]);
}

static void device_finish_drain(struct device *dev)
{
	struct device_runtime *rt = dev->rt;
	enum runtime_drain what = rt->drain;

	rt->drain = DRAIN_NONE;
	switch (what) {
	case DRAIN_NONE:
		return;
	case DRAIN_RESET:
		device_forget_all(dev);
		if (dev->ops->reset)
			dev->ops->reset(dev);
		dev->acked = 0;
		rt->features_set = false;
		/* What the driver broke is forgotten with it. */
		atomic_store(&rt->reset_why, NULL);
		break;
	case DRAIN_QUIESCE:
	case DRAIN_EXIT:
		if (rt->state == RUNTIME_READY && dev->ops->quiesce)
			dev->ops->quiesce(dev);
		break;
	}
	if (what == DRAIN_EXIT)
		loop_stop(rt->loop, rt->exit_code);
	else
		device_answer(dev, rt->drain_seq, 0, NULL);
}

/* Move every queue towards STOPPED; finish when all are. */
static void device_drain_step(struct device *dev)
{
	bool stopped = true;

	if (dev->rt->drain == DRAIN_NONE)
		return;
	for (unsigned int i = 0; i < dev->num_queues; i++) {
		struct queue_link *l = &dev->rt->links[i];

		if (l->state == QUEUE_STARTED) {
			l->state = QUEUE_STOPPING;
			device_request(dev, i, QUEUE_REQ_STOP);
		}
		stopped = stopped && l->state == QUEUE_STOPPED;
	}
	if (stopped)
		device_finish_drain(dev);
}

/*
 * Nothing here watches the clock: libevent's timers need gettimeofday where
 * the vDSO has no clock. The broker has a deadline, and its end is ours.
 */
void device_drain(struct device *dev, enum runtime_drain what, uint32_t seq)
{
	struct device_runtime *rt = dev->rt;

	if (rt->drain == DRAIN_EXIT)
		return;
	rt->drain = what;
	rt->drain_seq = seq;
	device_drain_step(dev);
}

static void device_queue_closed(struct queue_link *l)
{
	l->kick_fd = fd_close(l->kick_fd);
	l->call_fd = fd_close(l->call_fd);
	l->state = QUEUE_STOPPED;
}

static void device_queue_started(struct device *dev, unsigned int index)
{
	struct queue_link *l = &dev->rt->links[index];
	uint32_t seq = l->start_seq;
	struct err e;

	l->start_seq = 0;
	if (l->result < 0) {
		err_set(&e, l->result,
			"StartQueue: the kick descriptor can't be watched");
		device_answer(dev, seq, l->result, &e);
		device_queue_closed(l);
		if (l->stop_wanted) {
			err_set(&e, -EPROTO, "StopQueue: it did not start");
			device_answer(dev, l->stop_seq, -EPROTO, &e);
		}
		l->stop_seq = 0;
		return;
	}
	device_answer(dev, seq, 0, NULL);
	l->state = QUEUE_STARTED;
	if (l->stop_wanted) {
		l->state = QUEUE_STOPPING;
		device_request(dev, index, QUEUE_REQ_STOP);
	}
}

static void device_queue_stopped(struct device *dev, unsigned int index)
{
	struct queue_link *l = &dev->rt->links[index];
	uint32_t seq = l->stop_seq;

	l->stop_seq = 0;
	device_queue_closed(l);
	/* After Quiesce and at our end a successor goes on from the region. */
	if (seq)
		queue_forget(&dev->queues[index]);
	if (seq)
		device_answer_queue(dev, seq, index, l->base);
}

/*
 * A worker is done with something, or a device has an event. The counter is
 * never read: each write is one edge.
 */
static void device_on_wake(int fd, unsigned int events, void *arg)
{
	struct device *dev = arg;

	(void)fd;
	(void)events;
	for (unsigned int i = 0; i < dev->num_queues; i++) {
		struct queue_link *l = &dev->rt->links[i];

		/* Acquire: pairs with worker_report(). */
		if (!atomic_exchange_explicit(&l->done, false,
					      memory_order_acquire))
			continue;
		if (l->state == QUEUE_STARTING)
			device_queue_started(dev, i);
		else if (l->state == QUEUE_STOPPING)
			device_queue_stopped(dev, i);
	}
	device_ping_step(dev);
	device_drain_step(dev);
	device_out_flush(dev);
}

static void device_on_channel(int fd, unsigned int events, void *arg)
{
	struct device *dev = arg;
	struct device_runtime *rt = dev->rt;
	struct channel_msg msg;
	struct err e = {0};
	int r;

	(void)fd;
	device_out_flush(dev);
	if (!(events & LOOP_READ) || rt->out_len || rt->channel_gone)
		return;
	r = channel_recv(rt->ch, &msg, &e);
	if (r == -EAGAIN)
		return;
	if (r > 0) {
		device_msg_handle(dev, &msg);
		channel_msg_done(&msg);
		device_out_flush(dev);
		return;
	}
	if (r < 0) {
		log_error("control channel: %s", e.text);
		rt->exit_code = 1;
	}
	rt->channel_gone = true;
	loop_set_events(rt->ch_watch, 0);
	device_drain(dev, DRAIN_EXIT, 0);
}

static int device_check_setup(const Bulkhead__DeviceSetup *s, struct err *e)
{
	size_t id_len = 0;

	while (s->id[id_len] && id_len <= DEVICE_ID_MAX)
		id_len++;
	if (id_len > DEVICE_ID_MAX)
		return err_set(e, -EINVAL, "DeviceSetup: id over %d bytes",
			       DEVICE_ID_MAX);
	if (s->num_queues > DEVICE_QUEUES_MAX)
		return err_set(e, -EINVAL, "DeviceSetup: %u queues, at most %u",
			       s->num_queues, DEVICE_QUEUES_MAX);
	if (s->queue_size &&
	    (!is_pow2(s->queue_size) || s->queue_size > QUEUE_SIZE_MAX))
		return err_set(e, -EINVAL,
			       "DeviceSetup: queue size %u is not a power of "
			       "two up to %u",
			       s->queue_size, QUEUE_SIZE_MAX);
	if (s->n_queue_affinity > DEVICE_WORKERS_MAX)
		return err_set(
			e, -EINVAL,
			"DeviceSetup: affinity of %zu workers, at most %u",
			s->n_queue_affinity, DEVICE_WORKERS_MAX);
	for (size_t i = 0; i < s->n_queue_affinity; i++)
		if (s->queue_affinity[i] >= CPU_SETSIZE)
			return err_set(
				e, -EINVAL,
				"DeviceSetup: affinity to CPU %u, at most %u",
				s->queue_affinity[i], CPU_SETSIZE - 1);
	return 0;
}

static int device_start_workers(struct device *dev,
				const Bulkhead__DeviceSetup *setup,
				struct err *e)
{
	struct device_runtime *rt = dev->rt;
	unsigned int n = dev->num_workers ? dev->num_workers : 1;

	for (unsigned int i = 0; i < n; i++) {
		int r = worker_init(&rt->workers[i], dev, i, e);

		rt->num_workers = i + 1;
		if (r < 0)
			return r;
		if (i < setup->n_queue_affinity)
			rt->workers[i].affinity = (int)setup->queue_affinity[i];
	}
	/* All of them are known before the first one runs. */
	for (unsigned int i = 0; i < n; i++) {
		struct worker *w = &rt->workers[i];
		int r = dev->num_workers ? worker_start_thread(w, e)
					 : worker_start_inline(w, e);

		if (r < 0)
			return r;
	}
	return 0;
}

int device_setup(struct device *dev, const Bulkhead__DeviceSetup *setup,
		 int *fds, unsigned int num_fds, struct err *e)
{
	int r = device_check_setup(setup, e);

	if (r == 0)
		r = dev->ops->open(dev, setup, fds, num_fds, e);
	if (r < 0)
		return r;
	check(dev->num_queues && dev->num_queues <= DEVICE_QUEUES_MAX);
	check(dev->max_queue_size && dev->max_queue_size <= QUEUE_SIZE_MAX);
	check(dev->config_len <= DEVICE_CONFIG_MAX);
	check(dev->num_workers <= DEVICE_WORKERS_MAX && dev->profile);
	dev->features |= FEATURES_COMMON;
	r = sandbox_restrict(&dev->rt->report, e);
	if (r == 0)
		r = device_start_workers(dev, setup, e);
	if (r == 0)
		r = sandbox_lock(dev->profile, &dev->rt->report, e);
	return r;
}

int device_init(struct device *dev, struct device_runtime *rt,
		const struct device_ops *ops, int ch_fd, struct err *e)
{
	int r;

	dev->ops = ops;
	dev->rt = rt;
	dev->fence_fd = -1;
	rt->wake_fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(rt->links); i++)
		rt->links[i].kick_fd = rt->links[i].call_fd = -1;
	r = channel_new(ch_fd, &channel_format_device, false, &rt->ch, e);
	if (r == 0)
		r = loop_new(&rt->loop, e);
	if (r == 0)
		r = loop_add_fd(rt->loop, ch_fd, LOOP_READ, device_on_channel,
				dev, &rt->ch_watch, e);
	if (r < 0)
		return r;
	rt->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (rt->wake_fd < 0)
		return err_errno(e, "making an eventfd");
	return loop_add_fd(rt->loop, rt->wake_fd, LOOP_READ | LOOP_EDGE,
			   device_on_wake, dev, NULL, e);
}

void device_done(struct device *dev)
{
	struct device_runtime *rt = dev->rt;

	if (!rt)
		return;
	for (unsigned int i = 0; i < dev->num_queues; i++)
		device_queue_closed(&rt->links[i]);
	loop_free(rt->loop);
	for (unsigned int i = 0; i < rt->num_workers; i++)
		worker_done(&rt->workers[i]);
	channel_free(rt->ch);
	fd_close(rt->wake_fd);
	gmem_unmap(&dev->mem);
	device_recover_done(dev);
	dev->rt = NULL;
}

int device_run(struct device *dev)
{
	return loop_run(dev->rt->loop);
}

/*
 * @sys device exit_group: the end of the channel is the end of the process
 */
int device_main(const struct device_ops *ops)
{
	static struct device dev; /* mostly never touched */
	static struct device_runtime rt;
	struct err e = {0};
	int r;

	/* A back end's peer that went away is an error code, not our end. */
	signal(SIGPIPE, SIG_IGN);
	r = sandbox_start(RUNTIME_HEAP + ops->heap, &rt.report, &e);
	if (r == 0)
		r = device_init(&dev, &rt, ops, SANDBOX_FD_CHANNEL, &e);
	if (r < 0) {
		log_error("%s", e.text);
		return 1;
	}
	/* Threads may be running: the process ends with all that it holds. */
	r = device_run(&dev);
	return r < 0 ? 1 : r;
}
