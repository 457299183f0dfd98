/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker tells the device:
 *
 *	state	accepted				next state
 *	HELLO	Hello					SETUP
 *	SETUP	DeviceSetup				READY
 *	READY	everything else, by the queues' states	READY
 *
 * and within READY:
 *
 *	SetMemTable, SetFeatures	all queues stopped, else -EBUSY
 *	StartQueue			that queue stopped; memory and features
 *					known; no drain under way, else -EBUSY
 *	StopQueue			that queue started or starting
 *	Reset, Quiesce			no drain under way, else -EBUSY
 *	SetInflight			once, before the first StartQueue
 *	Recover				after SetInflight, before StartQueue
 *	Ping				none under way, else -EBUSY
 *	ConfigWrite, Attach, ConsoleSize	always
 *
 * A message in the wrong state changes nothing and is answered with -EPROTO.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/virtio/runtime.h"

#define FEATURE_VERSION_1 32

static int device_wrong_state(struct err *e, const char *what)
{
	return err_set(e, -EPROTO, "%s: not in this state", what);
}

static bool device_is_stopped(const struct device *dev)
{
	for (unsigned int i = 0; i < dev->num_queues; i++)
		if (dev->rt->links[i].state != QUEUE_STOPPED)
			return false;
	return true;
}

static int device_busy(const struct device *dev, struct err *e,
		       const char *what)
{
	if (dev->rt->drain != DRAIN_NONE || !device_is_stopped(dev))
		return err_set(e, -EBUSY, "%s: queues are running", what);
	return 0;
}

static int device_msg_set_features(struct device *dev,
				   const Bulkhead__SetFeatures *m,
				   struct err *e)
{
	int r = device_busy(dev, e, "SetFeatures");

	if (r < 0)
		return r;
	if (m->features & ~dev->features)
		return err_set(
			e, -EINVAL, "SetFeatures: 0x%llx was not offered",
			(unsigned long long)(m->features & ~dev->features));
	if (!(m->features & (1ULL << FEATURE_VERSION_1)))
		return err_set(e, -EINVAL,
			       "SetFeatures: VIRTIO_F_VERSION_1 is required");
	if (dev->ops->set_features) {
		r = dev->ops->set_features(dev, m->features);
		if (r < 0)
			return err_set(
				e, r,
				"SetFeatures: 0x%llx is refused by the device",
				(unsigned long long)m->features);
	}
	dev->acked = m->features;
	dev->rt->features_set = true;
	return 0;
}

static int device_msg_set_mem_table(struct device *dev,
				    const Bulkhead__MemTable *m,
				    const struct channel_msg *msg,
				    struct err *e)
{
	struct gmem_desc descs[GMEM_MAX_REGIONS];
	struct gmem mem;
	int r = device_busy(dev, e, "SetMemTable");

	if (r < 0)
		return r;
	if (m->n_regions > GMEM_MAX_REGIONS)
		return err_set(e, -EINVAL, "SetMemTable: %zu regions, not 1-%u",
			       m->n_regions, GMEM_MAX_REGIONS);
	for (size_t i = 0; i < m->n_regions; i++)
		descs[i] = (struct gmem_desc){
			.gpa = m->regions[i]->gpa,
			.size = m->regions[i]->size,
			.offset = m->regions[i]->offset,
			.fd_index = m->regions[i]->fd_index,
		};
	r = gmem_map(&mem, descs, (unsigned int)m->n_regions, msg->fds,
		     msg->num_fds, e);
	if (r < 0)
		return r; /* the old table stays */
	gmem_unmap(&dev->mem);
	dev->mem = mem;
	return 0;
}

/*
 * A descriptor that can't be watched is found by the worker; one that can't
 * be written would only lose interrupts, so it is found here.
 *
 * @sys device fcntl(1==F_GETFL): interrupts need a writable descriptor
 */
static int device_check_call(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || flags & O_PATH)
		return err_set(
			e, -EBADF,
			"StartQueue: the call descriptor is not writable");
	return 0;
}

/* Return: 1 the answer comes when the worker is done */
static int device_msg_start_queue(struct device *dev,
				  const Bulkhead__StartQueue *m,
				  struct channel_msg *msg, uint32_t seq,
				  struct err *e)
{
	struct queue_link *l;
	struct queue_config cfg = {
		.index = m->index,
		.size = m->size,
		.desc = m->desc,
		.driver = m->driver,
		.device = m->device,
		.base = m->ring_base,
		.features = dev->acked,
	};
	int r;

	device_recover_config(dev, &cfg);

	if (m->index >= dev->num_queues)
		return err_set(e, -EINVAL, "StartQueue: queue %u of %u",
			       m->index, dev->num_queues);
	l = &dev->rt->links[m->index];
	if (dev->rt->drain != DRAIN_NONE)
		return err_set(e, -EBUSY, "StartQueue: a reset is under way");
	if (l->state != QUEUE_STOPPED || !dev->rt->features_set ||
	    !dev->mem.num_regions)
		return device_wrong_state(e, "StartQueue");
	if (m->size > dev->max_queue_size)
		return err_set(e, -EINVAL, "StartQueue: size %u exceeds %u",
			       m->size, dev->max_queue_size);
	r = device_check_call(msg->fds[1], e);
	if (r < 0)
		return r;
	r = queue_start(&dev->queues[m->index], &cfg, &dev->mem, msg->fds[0],
			msg->fds[1], e);
	if (r < 0)
		return r;
	dev->queues[m->index].device = dev;
	dev->rt->queues_used = true;
	l->kick_fd = take_fd(&msg->fds[0]);
	l->call_fd = take_fd(&msg->fds[1]);
	l->stop_wanted = false;
	l->start_seq = seq;
	l->state = QUEUE_STARTING;
	device_request(dev, m->index, QUEUE_REQ_START);
	return 1;
}

static int device_msg_stop_queue(struct device *dev,
				 const Bulkhead__StopQueue *m, uint32_t seq,
				 struct err *e)
{
	struct queue_link *l;

	if (m->index >= dev->num_queues)
		return err_set(e, -EINVAL, "StopQueue: queue %u of %u",
			       m->index, dev->num_queues);
	l = &dev->rt->links[m->index];
	if ((l->state != QUEUE_STARTED && l->state != QUEUE_STARTING) ||
	    l->stop_wanted)
		return device_wrong_state(e, "StopQueue");
	l->stop_seq = seq;
	if (l->state == QUEUE_STARTING) {
		l->stop_wanted = true;
		return 1;
	}
	l->state = QUEUE_STOPPING;
	device_request(dev, m->index, QUEUE_REQ_STOP);
	return 1;
}

static int device_msg_config_write(struct device *dev,
				   const Bulkhead__ConfigWrite *m,
				   struct err *e)
{
	if (!m->data.len || m->data.len > 8 ||
	    !range_ok(m->offset, m->data.len, dev->config_len))
		return err_set(e, -EINVAL, "ConfigWrite: %zu bytes at %u of %u",
			       m->data.len, m->offset, dev->config_len);
	if (dev->ops->config_write)
		dev->ops->config_write(dev, m->offset, m->data.data,
				       (uint32_t)m->data.len);
	return 0;
}

static int device_msg_attach(struct device *dev, struct channel_msg *msg,
			     struct err *e)
{
	if (!dev->ops->attach)
		return err_set(
			e, -ENOTSUP,
			"Attach: the back end of bulkhead-%s has no peers",
			dev->ops->name);
	return dev->ops->attach(dev, take_fd(&msg->fds[0]), e);
}

static int device_msg_drain(struct device *dev, enum runtime_drain what,
			    uint32_t seq, struct err *e)
{
	if (dev->rt->drain != DRAIN_NONE)
		return err_set(e, -EBUSY, "queues are being stopped already");
	device_drain(dev, what, seq);
	return 1;
}

static int device_msg_hello(struct device *dev, const Bulkhead__Hello *m,
			    uint32_t seq, struct err *e)
{
	if (dev->rt->state != RUNTIME_HELLO)
		return device_wrong_state(e, "Hello");
	if (m->min_version > CHANNEL_VERSION || m->max_version < 1 ||
	    m->max_version < m->min_version) {
		dev->rt->exit_code = 1;
		device_drain(dev, DRAIN_EXIT, 0);
		return err_set(
			e, -EPROTONOSUPPORT,
			"versions %u to %u are offered, 1 to %u are spoken",
			m->min_version, m->max_version, CHANNEL_VERSION);
	}
	log_set_level(m->log_level <= LOG_TRACE ? m->log_level : LOG_TRACE);
	dev->rt->state = RUNTIME_SETUP;
	device_answer_kind(dev, seq, OUT_HELLO);
	return 1;
}

static int device_msg_setup(struct device *dev, const Bulkhead__DeviceSetup *m,
			    struct channel_msg *msg, uint32_t seq,
			    struct err *e)
{
	int r;

	if (dev->rt->state != RUNTIME_SETUP)
		return device_wrong_state(e, "DeviceSetup");
	/* Kept open, and never used, as long as we live. */
	if (m->fence)
		dev->fence_fd = take_fd(&msg->fds[msg->num_fds - 1]);
	r = device_setup(dev, m, msg->fds,
			 msg->num_fds - (unsigned int)!!m->fence, e);
	if (r < 0) {
		/* Half open: there is nothing to go back to. */
		dev->rt->exit_code = 1;
		device_drain(dev, DRAIN_EXIT, 0);
		return r;
	}
	dev->rt->state = RUNTIME_READY;
	device_answer_kind(dev, seq, OUT_INFO);
	return 1;
}

/* Return: 0 or negative errno: the answer; 1 answered now or later */
static int device_msg_ready(struct device *dev, const Bulkhead__DeviceBody *b,
			    struct channel_msg *msg, uint32_t seq,
			    struct err *e)
{
	if (dev->rt->state != RUNTIME_READY)
		return device_wrong_state(e, "message");
	switch (b->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES:
		return device_msg_set_features(dev, b->set_features, e);
	case BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE:
		return device_msg_set_mem_table(dev, b->set_mem_table, msg, e);
	case BULKHEAD__DEVICE_BODY__KIND_START_QUEUE:
		return device_msg_start_queue(dev, b->start_queue, msg, seq, e);
	case BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE:
		return device_msg_stop_queue(dev, b->stop_queue, seq, e);
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE:
		return device_msg_config_write(dev, b->config_write, e);
	case BULKHEAD__DEVICE_BODY__KIND_RESET:
		return device_msg_drain(dev, DRAIN_RESET, seq, e);
	case BULKHEAD__DEVICE_BODY__KIND_QUIESCE:
		return device_msg_drain(dev, DRAIN_QUIESCE, seq, e);
	case BULKHEAD__DEVICE_BODY__KIND_ATTACH:
		return device_msg_attach(dev, msg, e);
	case BULKHEAD__DEVICE_BODY__KIND_SET_INFLIGHT:
		return device_msg_set_inflight(dev, b->set_inflight,
					       msg->fds[0], e);
	case BULKHEAD__DEVICE_BODY__KIND_RECOVER:
		return device_msg_recover(dev, b->recover, e);
	case BULKHEAD__DEVICE_BODY__KIND_PING:
		return device_msg_ping(dev, seq, e);
	case BULKHEAD__DEVICE_BODY__KIND_CONSOLE_SIZE:
		if (dev->ops->console_size)
			dev->ops->console_size(dev, b->console_size->cols,
					       b->console_size->rows);
		return 0;
	default:
		return device_wrong_state(e, "message of this kind");
	}
}

void device_msg_handle(struct device *dev, struct channel_msg *msg)
{
	const Bulkhead__DeviceMessage *m = (const void *)msg->msg;
	const Bulkhead__DeviceBody *b = m->body;
	struct err e = {0};
	int r;

	if (m->answers)
		return; /* to an event; there is nothing to do about it */
	if (b->kind_case == BULKHEAD__DEVICE_BODY__KIND_HELLO)
		r = device_msg_hello(dev, b->hello, m->seq, &e);
	else if (b->kind_case == BULKHEAD__DEVICE_BODY__KIND_SETUP)
		r = device_msg_setup(dev, b->setup, msg, m->seq, &e);
	else
		r = device_msg_ready(dev, b, msg, m->seq, &e);
	if (r <= 0)
		device_answer(dev, m->seq, r, &e);
}
