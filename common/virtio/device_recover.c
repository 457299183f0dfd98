/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a device replaceable: memory that outlives it, what its successor
 * is told about requests that kill, and the sign of life that the broker asks
 * for.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/num.h"
#include "common/virtio/runtime.h"

static uint64_t device_inflight_len(const struct device *dev)
{
	return dev->num_queues * dev->rt->inflight_stride + INFLIGHT_STATE_SIZE;
}

void *device_state_area(const struct device *dev, uint64_t *ret_len)
{
	const struct device_runtime *rt = dev->rt;

	if (!rt->inflight)
		return NULL;
	*ret_len = INFLIGHT_STATE_SIZE;
	return rt->inflight + dev->num_queues * rt->inflight_stride;
}

/* Before any queue was ever started, and when no stop is under way. */
static int device_recover_state(const struct device *dev, const char *what,
				struct err *e)
{
	if (dev->rt->queues_used || dev->rt->drain != DRAIN_NONE)
		return err_set(e, -EPROTO, "%s: queues were started already",
			       what);
	return 0;
}

int device_msg_set_inflight(struct device *dev, const Bulkhead__SetInflight *m,
			    int fd, struct err *e)
{
	struct device_runtime *rt = dev->rt;
	void *map = NULL;
	int r = device_recover_state(dev, "SetInflight", e);

	if (r < 0)
		return r;
	if (rt->inflight)
		return err_set(e, -EPROTO, "SetInflight: it came already");
	if (m->num_queues != dev->num_queues ||
	    m->max_queue_size != dev->max_queue_size)
		return err_set(e, -EINVAL,
			       "SetInflight: for %u queues of %u, not %u of %u",
			       m->num_queues, m->max_queue_size,
			       dev->num_queues, dev->max_queue_size);
	if (m->stride % 4096 ||
	    m->stride < inflight_stride(m->max_queue_size) ||
	    m->stride > inflight_stride(INFLIGHT_QUEUE_MAX))
		return err_set(
			e, -EINVAL, "SetInflight: stride %llu for queues of %u",
			(unsigned long long)m->stride, m->max_queue_size);
	rt->inflight_stride = m->stride;
	r = gmem_map_file(fd, device_inflight_len(dev), "SetInflight", &map, e);
	if (r < 0)
		return r;
	rt->inflight = map;
	if (dev->ops->recovered)
		dev->ops->recovered(dev);
	return 0;
}

void device_recover_done(struct device *dev)
{
	if (dev->rt->inflight)
		munmap(dev->rt->inflight, (size_t)device_inflight_len(dev));
	dev->rt->inflight = NULL;
}

int device_msg_recover(struct device *dev, const Bulkhead__Recover *m,
		       struct err *e)
{
	struct device_runtime *rt = dev->rt;
	int r = device_recover_state(dev, "Recover", e);

	if (r < 0)
		return r;
	if (!rt->inflight)
		return err_set(e, -EPROTO, "Recover: without SetInflight");
	if (m->n_poison > RUNTIME_POISON_MAX)
		return err_set(e, -EINVAL, "Recover: %zu requests, at most %u",
			       m->n_poison, RUNTIME_POISON_MAX);
	if (m->n_poison)
		memcpy(rt->poison, m->poison,
		       m->n_poison * sizeof(rt->poison[0]));
	rt->num_poison = m->n_poison;
	rt->careful = m->careful;
	return 0;
}

void device_recover_config(struct device *dev, struct queue_config *cfg)
{
	struct device_runtime *rt = dev->rt;

	if (!rt->inflight || cfg->index >= dev->num_queues)
		return;
	cfg->inflight = rt->inflight + cfg->index * rt->inflight_stride;
	cfg->inflight_len = rt->inflight_stride;
	cfg->careful = rt->careful;
	if (dev->ops->queue_is_room && dev->ops->queue_is_room(dev, cfg->index))
		cfg->careful = false;
}

/* Complete those that killed our predecessors. */
static int device_reject(struct device *dev, struct queue *q)
{
	struct device_runtime *rt = dev->rt;
	struct iovec iov[QUEUE_IOV_MAX];
	struct chain c;
	int r;

	while ((r = queue_pop_poisoned(q, rt->poison, rt->num_poison, &c, iov,
				       QUEUE_IOV_MAX)) > 0) {
		uint32_t n = 0;

		if (dev->ops->queue_reject)
			n = dev->ops->queue_reject(dev, q, &c, iov);
		queue_push(q, &c, n);
	}
	queue_flush(q);
	return r;
}

/*
 * The interrupt that may be missing is raised in any case; whether chains are
 * there is seen by the kick that follows every start.
 */
void device_recover_queue(struct device *dev, struct queue *q)
{
	int r = q->broken ? -EBADMSG : 0;

	if (r == 0 && q->recovered) {
		if (dev->rt->num_poison)
			r = device_reject(dev, q);
		queue_call(q);
	}
	if (r < 0)
		device_needs_reset(dev, q,
				   "the record of what was in flight "
				   "makes no sense");
}

/* The driver starts from scratch. The queues are stopped; those that this
 * process never started may have been a predecessor's. */
void device_forget_all(struct device *dev)
{
	struct device_runtime *rt = dev->rt;

	rt->num_poison = 0;
	rt->careful = false;
	for (uint32_t i = 0; rt->inflight && i < dev->num_queues; i++) {
		struct inflight_split *r =
			(void *)(rt->inflight + i * rt->inflight_stride);

		__atomic_store_n(&r->version, 0, __ATOMIC_RELAXED);
	}
}

int device_msg_ping(struct device *dev, uint32_t seq, struct err *e)
{
	struct device_runtime *rt = dev->rt;

	if (rt->ping_seq)
		return err_set(e, -EBUSY, "Ping: one is not yet answered");
	rt->ping_seq = seq;
	for (unsigned int i = 0; i < rt->num_workers; i++) {
		atomic_store(&rt->workers[i].ponged, false);
		atomic_store(&rt->workers[i].pinged, true);
		worker_mail(&rt->workers[i]);
	}
	return 1;
}

void device_ping_step(struct device *dev)
{
	struct device_runtime *rt = dev->rt;

	if (!rt->ping_seq)
		return;
	for (unsigned int i = 0; i < rt->num_workers; i++)
		if (!atomic_load(&rt->workers[i].ponged))
			return;
	device_answer(dev, rt->ping_seq, 0, NULL);
	rt->ping_seq = 0;
}
