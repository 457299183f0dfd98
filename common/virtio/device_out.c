/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the device tells the broker. Answers queue up in a ring that can't
 * overflow: while it holds any, no more requests are read. Events are flags,
 * so a broker that doesn't read costs nothing and never stalls a queue.
 */
#include <errno.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/virtio/runtime.h"

static struct out_answer *device_out_add(struct device *dev, uint32_t seq,
					 enum out_kind kind)
{
	struct device_runtime *rt = dev->rt;
	struct out_answer *a;

	check(rt->out_len < RUNTIME_OUT_MAX);
	a = &rt->out[(rt->out_head + rt->out_len++) % RUNTIME_OUT_MAX];
	a->kind = kind;
	a->answers = seq;
	a->code = 0;
	a->text[0] = '\0';
	return a;
}

void device_answer(struct device *dev, uint32_t seq, int code,
		   const struct err *e)
{
	struct out_answer *a = device_out_add(dev, seq, OUT_STATUS);

	a->code = code;
	if (code < 0 && e)
		snprintf(a->text, sizeof(a->text), "%s", e->text);
}

void device_answer_kind(struct device *dev, uint32_t seq, enum out_kind kind)
{
	device_out_add(dev, seq, kind);
}

void device_answer_queue(struct device *dev, uint32_t seq, uint32_t index,
			 uint32_t base)
{
	struct out_answer *a = device_out_add(dev, seq, OUT_QUEUE_STATE);

	a->index = index;
	a->base = base;
}

static int device_out_send(struct device *dev, uint32_t answers,
			   Bulkhead__Status *status, Bulkhead__DeviceBody *body)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	struct err e = {0};
	int r;

	m.seq = dev->rt->seq + 1;
	if (!m.seq)
		m.seq = 1;
	m.answers = answers;
	m.status = status;
	m.body = body;
	r = channel_send(dev->rt->ch, &m.base, NULL, 0, &e);
	if (r == 0)
		dev->rt->seq = m.seq;
	else if (r != -EAGAIN)
		log_debug("%s", e.text);
	return r;
}

static void device_fill_hello(const struct device *dev, Bulkhead__HelloReply *h,
			      char *name, size_t len)
{
	static char release[] = BULKHEAD_VERSION;

	snprintf(name, len, "bulkhead-%s", dev->ops->name);
	h->version = CHANNEL_VERSION;
	h->program = name;
	h->release = release;
}

static void device_fill_info(struct device *dev, Bulkhead__DeviceInfo *info,
			     Bulkhead__SandboxReport *report, char **texts)
{
	struct sandbox_report *s = &dev->rt->report;

	for (unsigned int i = 0; i < s->num_layers; i++)
		texts[i] = s->layers[i];
	for (unsigned int i = 0; i < s->num_downgrades; i++)
		texts[s->num_layers + i] = s->downgrades[i];
	report->layers = texts;
	report->n_layers = s->num_layers;
	report->downgrades = texts + s->num_layers;
	report->n_downgrades = s->num_downgrades;
	report->syscalls = s->syscalls;
	info->virtio_id = dev->ops->virtio_id;
	info->features = dev->features;
	info->num_queues = dev->num_queues;
	info->max_queue_size = dev->max_queue_size;
	info->config.data = dev->config;
	info->config.len = dev->config_len;
	info->sandbox = report;
}

static int device_out_answer(struct device *dev, struct out_answer *a)
{
	Bulkhead__Status status;
	Bulkhead__DeviceBody body;
	Bulkhead__HelloReply hello;
	Bulkhead__DeviceInfo info;
	Bulkhead__SandboxReport report;
	Bulkhead__QueueState state;
	char *texts[2 * SANDBOX_MAX_NOTES];
	char name[32];

	bulkhead__status__init(&status);
	bulkhead__device_body__init(&body);
	status.code = a->code;
	status.text = a->text;
	switch (a->kind) {
	case OUT_STATUS:
		return device_out_send(dev, a->answers, &status, NULL);
	case OUT_HELLO:
		bulkhead__hello_reply__init(&hello);
		device_fill_hello(dev, &hello, name, sizeof(name));
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_HELLO_REPLY;
		body.hello_reply = &hello;
		break;
	case OUT_INFO:
		bulkhead__device_info__init(&info);
		bulkhead__sandbox_report__init(&report);
		device_fill_info(dev, &info, &report, texts);
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_INFO;
		body.info = &info;
		break;
	case OUT_QUEUE_STATE:
		bulkhead__queue_state__init(&state);
		state.index = a->index;
		state.ring_base = a->base;
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_QUEUE_STATE;
		body.queue_state = &state;
		break;
	}
	return device_out_send(dev, a->answers, &status, &body);
}

static int device_out_config(struct device *dev)
{
	Bulkhead__DeviceBody body;
	Bulkhead__ConfigChanged c;
	int r;

	if (!dev->rt->config_dirty)
		return 0;
	bulkhead__device_body__init(&body);
	bulkhead__config_changed__init(&c);
	c.config.data = dev->config;
	c.config.len = dev->config_len;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED;
	body.config_changed = &c;
	r = device_out_send(dev, 0, NULL, &body);
	if (r == 0)
		dev->rt->config_dirty = false;
	return r;
}

/* protobuf-c's strings aren't const: @why is copied. */
static int device_out_reason(struct device *dev, _Atomic(const char *) *why,
			     bool reset)
{
	Bulkhead__DeviceBody body;
	Bulkhead__NeedsReset n;
	Bulkhead__BackendClosed b;
	const char *text = atomic_exchange(why, NULL);
	const char *none = NULL;
	char copy[RUNTIME_TEXT_MAX];
	int r;

	if (!text)
		return 0;
	snprintf(copy, sizeof(copy), "%s", text);
	bulkhead__device_body__init(&body);
	if (reset) {
		bulkhead__needs_reset__init(&n);
		n.reason = copy;
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET;
		body.needs_reset = &n;
	} else {
		bulkhead__backend_closed__init(&b);
		b.reason = copy;
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED;
		body.backend_closed = &b;
	}
	r = device_out_send(dev, 0, NULL, &body);
	if (r < 0) /* Try again later, unless a newer one came. */
		atomic_compare_exchange_strong(why, &none, text);
	return r;
}

static int device_out_all(struct device *dev)
{
	struct device_runtime *rt = dev->rt;
	int r;

	while (rt->out_len) {
		r = device_out_answer(dev, &rt->out[rt->out_head]);
		if (r < 0)
			return r;
		rt->out_head = (rt->out_head + 1) % RUNTIME_OUT_MAX;
		rt->out_len--;
	}
	rt->out_head = 0; /* few pages of it are ever touched */
	/* Events only to a broker that knows the device. */
	if (rt->state != RUNTIME_READY)
		return 0;
	r = device_out_config(dev);
	if (r == 0)
		r = device_out_reason(dev, &rt->reset_why, true);
	if (r == 0)
		r = device_out_reason(dev, &rt->closed_why, false);
	return r;
}

void device_out_flush(struct device *dev)
{
	struct device_runtime *rt = dev->rt;
	int r;

	if (rt->channel_gone)
		return;
	r = device_out_all(dev);
	if (r == -EAGAIN) {
		loop_set_events(rt->ch_watch, LOOP_WRITE);
	} else if (r < 0) {
		rt->channel_gone = true;
		loop_set_events(rt->ch_watch, 0);
		device_drain(dev, DRAIN_EXIT, 0);
	} else {
		loop_set_events(rt->ch_watch, LOOP_READ);
	}
}
