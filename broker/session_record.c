/* SPDX-License-Identifier: Apache-2.0 */

/* The pure half of a session: what may be asked, what is remembered. */

#include <errno.h>
#include <string.h>

#include "broker/session.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

static int session_policy_start(const struct session_info *info,
				const struct session_record *r,
				const Bulkhead__StartQueue *q, struct err *e)
{
	if (!r->has_features)
		return err_set(e, -EPROTO, "start_queue before set_features");
	if (q->index >= info->num_queues)
		return err_set(e, -EINVAL, "queue %u of %u", q->index,
			       info->num_queues);
	if (r->queues[q->index].started)
		return err_set(e, -EPROTO, "queue %u is started already",
			       q->index);
	if (!q->size || q->size > info->max_queue_size)
		return err_set(e, -EINVAL, "queue %u of size %u, at most %u",
			       q->index, q->size, info->max_queue_size);
	return 0;
}

int session_policy(const struct session_info *info,
		   const struct session_record *r,
		   const Bulkhead__DeviceBody *body, struct err *e)
{
	if (!info->valid)
		return err_set(e, -EPROTO, "the device is not set up");
	switch (body->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES:
		if (body->set_features->features & ~info->features)
			return err_set(e, -EINVAL,
				       "features %#llx were not offered",
				       (unsigned long long)
					       body->set_features->features);
		return 0;
	case BULKHEAD__DEVICE_BODY__KIND_START_QUEUE:
		return session_policy_start(info, r, body->start_queue, e);
	case BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE:
		if (body->stop_queue->index >= info->num_queues)
			return err_set(e, -EINVAL, "queue %u of %u",
				       body->stop_queue->index,
				       info->num_queues);
		return 0;
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE:
		if (!body->config_write->data.len ||
		    body->config_write->data.len > 8 ||
		    !range_ok(body->config_write->offset,
			      body->config_write->data.len, info->config_len))
			return err_set(e, -EINVAL,
				       "config write of %zu at %u, size %u",
				       body->config_write->data.len,
				       body->config_write->offset,
				       info->config_len);
		return 0;
	case BULKHEAD__DEVICE_BODY__KIND_RESET:
		return 0;
	default:
		return err_set(e, -EPERM,
			       "request %d is not the core's to make",
			       (int)body->kind_case);
	}
}

static void session_queue_clear(struct session_queue *q)
{
	fd_close(q->kick_fd);
	fd_close(q->call_fd);
	memset(q, 0, sizeof(*q));
	q->kick_fd = -1;
	q->call_fd = -1;
}

void session_record_stop_queue(struct session_record *r, uint32_t index)
{
	session_queue_clear(&r->queues[index]);
}

void session_record_clear(struct session_record *r)
{
	for (unsigned int i = 0; i < SESSION_QUEUES_MAX; i++)
		session_queue_clear(&r->queues[i]);
	r->has_features = false;
	r->features = 0;
	memset(r->config_written, 0, sizeof(r->config_written));
}

void session_record_apply(struct session_record *r,
			  const Bulkhead__DeviceBody *body, int *fds)
{
	switch (body->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES:
		r->has_features = true;
		r->features = body->set_features->features;
		break;
	case BULKHEAD__DEVICE_BODY__KIND_START_QUEUE: {
		const Bulkhead__StartQueue *m = body->start_queue;

		r->queues[m->index] = (struct session_queue){
			.started = true,
			.size = m->size,
			.desc = m->desc,
			.driver = m->driver,
			.device = m->device,
			.ring_base = m->ring_base,
			.kick_fd = take_fd(&fds[0]),
			.call_fd = take_fd(&fds[1]),
		};
		break;
	}
	case BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE:
		session_queue_clear(&r->queues[body->stop_queue->index]);
		break;
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE:
		for (size_t i = 0; i < body->config_write->data.len; i++) {
			size_t at = body->config_write->offset + i;

			r->config[at] = body->config_write->data.data[i];
			r->config_written[at] = true;
		}
		break;
	case BULKHEAD__DEVICE_BODY__KIND_RESET:
		session_record_clear(r);
		break;
	default:
		break;
	}
}
