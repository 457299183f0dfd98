/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How many descriptors each kind of message carries: the one table. A kind
 * that is not set, or counts that don't fit together, are -EBADMSG.
 */

#include <errno.h>

#include "common/channel/channel.h"
#include "proto/control.pb-c.h"
#include "proto/core.pb-c.h"
#include "proto/device.pb-c.h"
#include "proto/keeper.pb-c.h"
#include "proto/loader.pb-c.h"

#define MSG_MEM_FDS_MAX	 16
#define MSG_QUEUES_MAX	 64 /* of a device */
#define MSG_KEEP_FDS_MAX 64

static int msg_mem_table_fds(const Bulkhead__MemTable *t)
{
	uint32_t n = 0;

	if (!t || !t->n_regions || t->n_regions > 64)
		return -EBADMSG;
	for (size_t i = 0; i < t->n_regions; i++) {
		if (t->regions[i]->fd_index >= MSG_MEM_FDS_MAX)
			return -EBADMSG;
		if (t->regions[i]->fd_index >= n)
			n = t->regions[i]->fd_index + 1;
	}
	return (int)n;
}

static int msg_console_fds(const Bulkhead__ConsoleSetup *c)
{
	if (c->output_is_input)
		return c->has_input && c->has_output ? 1 : -EBADMSG;
	return (int)!!c->has_input + (int)!!c->has_output;
}

static int msg_setup_fds(const Bulkhead__DeviceSetup *s)
{
	switch (s->backend_case) {
	case BULKHEAD__DEVICE_SETUP__BACKEND_BLK:
	case BULKHEAD__DEVICE_SETUP__BACKEND_RNG:
		return 1;
	case BULKHEAD__DEVICE_SETUP__BACKEND_NET:
		if (s->net->kind == BULKHEAD__NET_SETUP__KIND__PASST)
			return 1;
		if (s->num_queues < 2 || s->num_queues % 2 ||
		    s->num_queues / 2 > CHANNEL_FDS_MAX)
			return -EBADMSG;
		return (int)(s->num_queues / 2);
	case BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE:
		return msg_console_fds(s->console);
	default:
		return -EBADMSG;
	}
}

static int msg_body_fds(const Bulkhead__DeviceBody *b)
{
	switch (b->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND__NOT_SET:
		return -EBADMSG;
	case BULKHEAD__DEVICE_BODY__KIND_SETUP: {
		int n = msg_setup_fds(b->setup);

		return n < 0 ? n : n + (int)!!b->setup->fence;
	}
	case BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE:
		return msg_mem_table_fds(b->set_mem_table);
	case BULKHEAD__DEVICE_BODY__KIND_START_QUEUE:
		return 2;
	case BULKHEAD__DEVICE_BODY__KIND_ATTACH:
	case BULKHEAD__DEVICE_BODY__KIND_SET_INFLIGHT:
		return 1;
	default:
		return 0;
	}
}

/* Only an answer may come without a body; only it may carry a status. */
static int msg_envelope(uint32_t seq, uint32_t answers, const void *status,
			const void *body)
{
	if (!seq || !answers != !status || (!answers && !body))
		return -EBADMSG;
	return 0;
}

static int msg_device_fds(const ProtobufCMessage *msg)
{
	const Bulkhead__DeviceMessage *m = (const void *)msg;
	int r = msg_envelope(m->seq, m->answers, m->status, m->body);

	return r < 0 || !m->body ? r : msg_body_fds(m->body);
}

static int msg_create_vm_fds(const Bulkhead__CreateVm *c)
{
	int n = 1;

	if (c->serial_output_is_input) {
		if (!c->serial_has_input || !c->serial_has_output)
			return -EBADMSG;
		n++;
	} else {
		n += (int)!!c->serial_has_input + (int)!!c->serial_has_output;
	}
	return n + (int)!!c->debug_console;
}

static int msg_core_fds(const ProtobufCMessage *msg)
{
	const Bulkhead__CoreMessage *m = (const void *)msg;
	int r = msg_envelope(m->seq, m->answers, m->status, m->body);

	if (r < 0 || !m->body)
		return r;
	switch (m->body->kind_case) {
	case BULKHEAD__CORE_BODY__KIND__NOT_SET:
		return -EBADMSG;
	case BULKHEAD__CORE_BODY__KIND_CREATE_VM:
		return msg_create_vm_fds(m->body->create_vm);
	case BULKHEAD__CORE_BODY__KIND_VM_CREATED:
		return msg_mem_table_fds(m->body->vm_created->memory);
	case BULKHEAD__CORE_BODY__KIND_SERIAL_ATTACH:
		return 1;
	case BULKHEAD__CORE_BODY__KIND_DEVICE_STATE:
		return m->body->device_state->n_queues > MSG_QUEUES_MAX
			       ? -EBADMSG
			       : 2 * (int)m->body->device_state->n_queues;
	case BULKHEAD__CORE_BODY__KIND_DEVICE:
		/* An answer of the device carries a body only when it has one
		 * to carry; the relay keeps the index beside it. */
		if (!m->body->device->body)
			return m->answers ? 0 : -EBADMSG;
		return msg_body_fds(m->body->device->body);
	default:
		return 0;
	}
}

static int msg_loader_fds(const ProtobufCMessage *msg)
{
	const Bulkhead__LoaderMessage *m = (const void *)msg;
	int r = msg_envelope(m->seq, m->answers, m->status, m->body);

	if (r < 0 || !m->body)
		return r;
	if (m->body->kind_case == BULKHEAD__LOADER_BODY__KIND__NOT_SET)
		return -EBADMSG;
	if (m->body->kind_case != BULKHEAD__LOADER_BODY__KIND_LOAD)
		return 0;
	r = msg_mem_table_fds(m->body->load->memory);
	if (r < 0 || (uint32_t)r != m->body->load->num_memfds)
		return -EBADMSG;
	return r + 1 + (int)!!m->body->load->has_initramfs;
}

static int msg_control_fds(const ProtobufCMessage *msg)
{
	const Bulkhead__ControlMessage *m = (const void *)msg;
	int r = msg_envelope(m->seq, m->answers, m->status, m->body);

	if (r < 0 || !m->body)
		return r;
	switch (m->body->kind_case) {
	case BULKHEAD__CONTROL_BODY__KIND__NOT_SET:
		return -EBADMSG;
	case BULKHEAD__CONTROL_BODY__KIND_ADOPT:
		return 1;
	default:
		return 0;
	}
}

static int msg_keeper_fds(const ProtobufCMessage *msg)
{
	const Bulkhead__KeeperMessage *m = (const void *)msg;
	int r = msg_envelope(m->seq, m->answers, m->status, m->body);

	if (r < 0 || !m->body)
		return r;
	switch (m->body->kind_case) {
	case BULKHEAD__KEEPER_BODY__KIND__NOT_SET:
		return -EBADMSG;
	case BULKHEAD__KEEPER_BODY__KIND_SETUP:
	case BULKHEAD__KEEPER_BODY__KIND_HOLD:
		return 1;
	case BULKHEAD__KEEPER_BODY__KIND_KEEP:
		return m->body->keep->num_fds > MSG_KEEP_FDS_MAX
			       ? -EBADMSG
			       : (int)m->body->keep->num_fds;
	default:
		return 0;
	}
}

const struct channel_format channel_format_device = {
	.descriptor = &bulkhead__device_message__descriptor,
	.num_fds = msg_device_fds,
};

const struct channel_format channel_format_core = {
	.descriptor = &bulkhead__core_message__descriptor,
	.num_fds = msg_core_fds,
};

const struct channel_format channel_format_loader = {
	.descriptor = &bulkhead__loader_message__descriptor,
	.num_fds = msg_loader_fds,
};

const struct channel_format channel_format_control = {
	.descriptor = &bulkhead__control_message__descriptor,
	.num_fds = msg_control_fds,
};

const struct channel_format channel_format_keeper = {
	.descriptor = &bulkhead__keeper_message__descriptor,
	.num_fds = msg_keeper_fds,
};
