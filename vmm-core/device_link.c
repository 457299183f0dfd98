/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/device_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/num.h"
#include "vmm-core/virtio_pci.h"

#define LINK_ID_MAX	   64 /* bytes in log lines, with the NUL */
#define LINK_VIRTIO_ID_MAX 63
#define LINK_BASE_SPLIT	   0u
#define LINK_BASE_PACKED   0x80008000u /* both wrap counters 1 */
#define LINK_WRITE_LEN_MAX 8
#define LINK_REQUESTS	   (LINK_WINDOW + 1)
#define LINK_RESET_REQUEST LINK_WINDOW /* its own slot: never waits */

enum link_state { LINK_IDLE, LINK_STARTING, LINK_RUNNING, LINK_RESETTING };

enum link_op_kind {
	LINK_OP_NONE,
	LINK_OP_SET_FEATURES,
	LINK_OP_START_QUEUE,
	LINK_OP_CONFIG_WRITE,
	LINK_OP_RESET,
};

struct link_write {
	uint32_t offset;
	uint32_t len;
	uint8_t data[LINK_WRITE_LEN_MAX];
};

/* One request, with all that its message needs. */
struct link_op {
	enum link_op_kind kind;
	uint32_t epoch;
	uint64_t features;
	struct virtio_pci_queue queue;
	struct link_write write;
};

/* An unanswered request. */
struct link_request {
	struct device_link *link;
	enum link_op_kind kind; /* NONE: the slot is free */
	uint32_t epoch;
};

struct device_link {
	struct device_link *next;
	struct vm *vm;
	struct virtio_pci *pci;
	uint32_t device; /* the broker's number */
	char id[LINK_ID_MAX];

	enum link_state state;
	uint32_t epoch;	    /* counts resets asked for */
	bool posted;	    /* link_work() is on its way */
	bool want_features; /* starting, nothing sent yet */
	bool want_reset;
	struct link_op op; /* taken up, but the channel was full */
	struct link_request requests[LINK_REQUESTS];
	struct link_write writes[LINK_WRITES];
	unsigned int first_write;
	unsigned int num_writes;
	/* What the driver wrote since its reset, for another broker. */
	uint8_t config[VIRTIO_PCI_CONFIG_MAX];
	bool written[VIRTIO_PCI_CONFIG_MAX];
	struct log_limit log;
};

static void link_work(struct vm *vm, void *arg);

static int link_post(struct device_link *l)
{
	int r;

	if (l->posted)
		return 0;
	r = vm_post(l->vm, link_work, l);
	l->posted = r == 0;
	return r;
}

/*
 * The transport's calls: vCPU threads, machine lock held
 */

static void link_start(void *opaque)
{
	struct device_link *l = opaque;

	if (l->state == LINK_IDLE)
		l->want_features = true;
	l->state = LINK_STARTING;
	if (link_post(l) < 0)
		virtio_pci_needs_reset(l->pci, "the control thread is busy");
}

/* Again and again while the driver polls for the end of the reset. */
static bool link_reset(void *opaque)
{
	struct device_link *l = opaque;

	if (l->state == LINK_RESETTING) {
		if (l->requests[LINK_RESET_REQUEST].kind == LINK_OP_NONE) {
			l->want_reset = true;
			link_post(l);
		}
		return false;
	}
	l->epoch++;
	l->num_writes = 0;
	memset(l->written, 0, sizeof(l->written));
	l->op.kind = LINK_OP_NONE;
	if (l->state == LINK_IDLE || l->want_features) {
		l->state = LINK_IDLE;
		l->want_features = false;
		return true;
	}
	l->state = LINK_RESETTING;
	l->want_reset = true;
	link_post(l);
	return false;
}

/* The newest waiting write to the same bytes, so that replacing it leaves the
 * last value last. */
static struct link_write *link_waiting_write(struct device_link *l,
					     uint32_t offset, uint32_t len)
{
	for (unsigned int i = l->num_writes; i > 0; i--) {
		struct link_write *w =
			&l->writes[(l->first_write + i - 1) % LINK_WRITES];

		if (w->offset == offset && w->len == len)
			return w;
	}
	return NULL;
}

static void link_config_write(void *opaque, uint32_t offset,
			      const uint8_t *data, uint32_t len)
{
	struct device_link *l = opaque;
	struct link_write *w;

	check(len <= LINK_WRITE_LEN_MAX &&
	      range_ok(offset, len, VIRTIO_PCI_CONFIG_MAX));
	memcpy(l->config + offset, data, len);
	memset(l->written + offset, true, len);
	if (l->num_writes == LINK_WRITES) {
		w = link_waiting_write(l, offset, len);
	} else {
		w = &l->writes[(l->first_write + l->num_writes) % LINK_WRITES];
		l->num_writes++;
	}
	if (!w) {
		log_limited(&l->log, LOG_WARN,
			    "%s: the driver writes config space faster than "
			    "the device answers; a write is lost",
			    l->id);
		return;
	}
	w->offset = offset;
	w->len = len;
	memcpy(w->data, data, len);
	link_post(l);
}

static const struct virtio_pci_ops link_ops = {
	.start = link_start,
	.reset = link_reset,
	.config_write = link_config_write,
};

/*
 * Sending: control thread
 */

static struct link_request *link_free_request(struct device_link *l)
{
	for (unsigned int i = 0; i < LINK_WINDOW; i++) {
		if (l->requests[i].kind == LINK_OP_NONE)
			return &l->requests[i];
	}
	return NULL;
}

/* What is to be sent next? Config writes follow the features, since a device
 * may judge them by these. */
static enum link_op_kind link_next_op(struct device_link *l, struct link_op *op)
{
	if (l->state == LINK_RESETTING) {
		if (l->want_reset &&
		    l->requests[LINK_RESET_REQUEST].kind == LINK_OP_NONE)
			return LINK_OP_RESET;
		return LINK_OP_NONE;
	}
	if (l->state == LINK_IDLE || !link_free_request(l))
		return LINK_OP_NONE;
	if (l->op.kind != LINK_OP_NONE) {
		*op = l->op;
		return op->kind;
	}
	if (l->want_features) {
		op->features = virtio_pci_features(l->pci);
		return LINK_OP_SET_FEATURES;
	}
	if (virtio_pci_take_queue(l->pci, &op->queue)) {
		op->features = virtio_pci_features(l->pci);
		return LINK_OP_START_QUEUE;
	}
	if (l->num_writes) {
		op->write = l->writes[l->first_write];
		l->first_write = (l->first_write + 1) % LINK_WRITES;
		l->num_writes--;
		return LINK_OP_CONFIG_WRITE;
	}
	return LINK_OP_NONE;
}

/* Take up the next request and its slot; Return: NULL if there is none */
static struct link_request *link_take_op(struct device_link *l,
					 struct link_op *op)
{
	struct link_request *req;

	*op = (struct link_op){0};
	op->kind = link_next_op(l, op);
	if (op->kind == LINK_OP_NONE)
		return NULL;
	op->epoch = l->epoch;
	l->op.kind = LINK_OP_NONE;
	if (op->kind == LINK_OP_SET_FEATURES)
		l->want_features = false;
	if (op->kind == LINK_OP_RESET) {
		l->want_reset = false;
		req = &l->requests[LINK_RESET_REQUEST];
	} else {
		req = link_free_request(l);
	}
	*req = (struct link_request){
		.link = l, .kind = op->kind, .epoch = l->epoch};
	return req;
}

static bool link_is_answered(const struct device_link *l)
{
	for (unsigned int i = 0; i < LINK_REQUESTS; i++) {
		if (l->requests[i].kind != LINK_OP_NONE)
			return false;
	}
	return true;
}

/* The channel did not take it. Full: keep it, and try again with the next
 * answer, or soon if there is none to come. */
static void link_not_sent(struct device_link *l, struct link_request *req,
			  const struct link_op *op, int error)
{
	req->kind = LINK_OP_NONE;
	if (op->epoch != l->epoch)
		return;
	if (op->kind == LINK_OP_RESET) {
		l->want_reset = true; /* sent when the driver polls */
		return;
	}
	if (error == -EAGAIN) {
		l->op = *op;
		if (link_is_answered(l))
			link_post(l);
		return;
	}
	log_limited(&l->log, LOG_ERROR, "%s: can't reach the broker: %s", l->id,
		    strerror(-error));
	virtio_pci_needs_reset(l->pci, "it can't be reached");
}

static void link_answered(struct vm *vm, const Bulkhead__CoreMessage *answer,
			  void *arg);

static int link_send_body(struct device_link *l, Bulkhead__DeviceBody *dev,
			  const int *fds, unsigned int num_fds,
			  struct link_request *req)
{
	Bulkhead__DeviceRelay relay = BULKHEAD__DEVICE_RELAY__INIT;
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;

	relay.device = l->device;
	relay.body = dev;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_DEVICE;
	body.device = &relay;
	return vm_send(l->vm, &body, fds, num_fds, link_answered, req);
}

static void link_fill_start(const struct virtio_pci_queue *q, uint64_t features,
			    Bulkhead__StartQueue *m)
{
	bulkhead__start_queue__init(m);
	m->index = q->index;
	m->size = q->size;
	m->desc = q->desc;
	m->driver = q->driver;
	m->device = q->device;
	m->ring_base = features & VIRTIO_FEATURE_RING_PACKED ? LINK_BASE_PACKED
							     : LINK_BASE_SPLIT;
}

static int link_send_start(struct device_link *l, const struct link_op *op,
			   struct link_request *req)
{
	Bulkhead__DeviceBody dev = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__StartQueue start;
	const int fds[2] = {op->queue.kick_fd, op->queue.call_fd};

	link_fill_start(&op->queue, op->features, &start);
	dev.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
	dev.start_queue = &start;
	return link_send_body(l, &dev, fds, 2, req);
}

static int link_send_op(struct device_link *l, struct link_op *op,
			struct link_request *req)
{
	Bulkhead__DeviceBody dev = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__SetFeatures features = BULKHEAD__SET_FEATURES__INIT;
	Bulkhead__ConfigWrite write = BULKHEAD__CONFIG_WRITE__INIT;
	Bulkhead__Reset reset = BULKHEAD__RESET__INIT;

	switch (op->kind) {
	case LINK_OP_SET_FEATURES:
		features.features = op->features;
		dev.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
		dev.set_features = &features;
		break;
	case LINK_OP_CONFIG_WRITE:
		write.offset = op->write.offset;
		write.data.data = op->write.data;
		write.data.len = op->write.len;
		dev.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
		dev.config_write = &write;
		break;
	case LINK_OP_RESET:
		dev.kind_case = BULKHEAD__DEVICE_BODY__KIND_RESET;
		dev.reset = &reset;
		break;
	case LINK_OP_START_QUEUE:
		return link_send_start(l, op, req);
	case LINK_OP_NONE:
		return -EINVAL;
	}
	return link_send_body(l, &dev, NULL, 0, req);
}

/* Send what the window allows. The lock is not held while sending. */
static void link_pump(struct device_link *l)
{
	int r = 0;

	while (r == 0) {
		struct link_request *req;
		struct link_op op;

		pthread_mutex_lock(&l->vm->lock);
		req = link_take_op(l, &op);
		pthread_mutex_unlock(&l->vm->lock);
		if (!req)
			return;
		r = link_send_op(l, &op, req);
		if (r < 0) {
			pthread_mutex_lock(&l->vm->lock);
			link_not_sent(l, req, &op, r);
			pthread_mutex_unlock(&l->vm->lock);
		}
	}
}

static void link_work(struct vm *vm, void *arg)
{
	struct device_link *l = arg;

	pthread_mutex_lock(&vm->lock);
	l->posted = false;
	pthread_mutex_unlock(&vm->lock);
	link_pump(l);
}

/*
 * Receiving: control thread
 */

static bool link_is_settled(const struct device_link *l)
{
	return link_is_answered(l) && !l->want_features &&
	       l->op.kind == LINK_OP_NONE;
}

static void link_reset_answered(struct device_link *l, int code,
				const char *text)
{
	if (l->state != LINK_RESETTING)
		return;
	if (code) {
		log_limited(&l->log, LOG_ERROR, "%s: reset failed: %s", l->id,
			    text);
		return;
	}
	l->state = LINK_IDLE;
	l->want_reset = false;
	virtio_pci_reset_done(l->pci);
}

static void link_answered(struct vm *vm, const Bulkhead__CoreMessage *answer,
			  void *arg)
{
	struct link_request *req = arg;
	struct device_link *l = req->link;
	struct link_request was = *req;
	int code = answer ? 0 : -EPIPE;
	const char *text = "no reason given";

	if (answer && answer->status) {
		code = answer->status->code;
		if (answer->status->text && answer->status->text[0])
			text = answer->status->text;
	}
	pthread_mutex_lock(&vm->lock);
	req->kind = LINK_OP_NONE;
	if (was.kind == LINK_OP_RESET)
		link_reset_answered(l, code, text);
	else if (was.epoch == l->epoch && code)
		virtio_pci_needs_reset(l->pci, text);
	if (l->state == LINK_STARTING && link_is_settled(l))
		l->state = LINK_RUNNING;
	pthread_mutex_unlock(&vm->lock);
	link_pump(l);
}

static struct device_link *link_find(struct vm *vm, uint32_t device)
{
	struct device_link *l = vm->links;

	while (l && l->device != device)
		l = l->next;
	return l;
}

static bool link_is_active(const struct device_link *l)
{
	return l->state == LINK_STARTING || l->state == LINK_RUNNING;
}

/* Machine lock held */
static int link_event(struct device_link *l, const Bulkhead__DeviceBody *body,
		      struct err *e)
{
	int r;

	switch (body->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED:
		r = virtio_pci_set_config(l->pci,
					  body->config_changed->config.data,
					  body->config_changed->config.len);
		if (r < 0)
			return err_set(e, r,
				       "%s: config space changed its size to "
				       "%zu bytes",
				       l->id, body->config_changed->config.len);
		return 0;
	case BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET:
		/* Else it speaks of a driver that has let go already. */
		if (link_is_active(l))
			virtio_pci_needs_reset(l->pci,
					       body->needs_reset->reason);
		return 0;
	case BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED:
		log_limited(&l->log, LOG_INFO, "%s: back end closed: %s", l->id,
			    body->backend_closed->reason);
		return 0;
	default:
		return err_set(e, -EBADMSG, "%s: message kind %d is no event",
			       l->id, (int)body->kind_case);
	}
}

int device_link_event(struct vm *vm, const Bulkhead__DeviceRelay *msg,
		      struct err *e)
{
	struct device_link *l = link_find(vm, msg->device);
	int r;

	if (!l || !msg->body)
		return err_set(e, -EBADMSG,
			       "no event, or of device %u, which "
			       "does not exist",
			       msg->device);
	pthread_mutex_lock(&vm->lock);
	r = link_event(l, msg->body, e);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

/*
 * Another broker: control thread
 */

struct link_state_msg {
	Bulkhead__DeviceState msg;
	Bulkhead__StartQueue queues[VIRTIO_PCI_QUEUES_MAX];
	Bulkhead__StartQueue *queue_list[VIRTIO_PCI_QUEUES_MAX];
	int fds[2 * VIRTIO_PCI_QUEUES_MAX];
	Bulkhead__ConfigWrite writes[VIRTIO_PCI_CONFIG_MAX];
	Bulkhead__ConfigWrite *write_list[VIRTIO_PCI_CONFIG_MAX];
};

static void link_report_queues(const struct device_link *l,
			       struct link_state_msg *s)
{
	struct virtio_pci_queue q;

	s->msg.queues = s->queue_list;
	for (uint32_t i = 0; i < VIRTIO_PCI_QUEUES_MAX; i++) {
		size_t n = s->msg.n_queues;

		if (!virtio_pci_taken_queue(l->pci, i, &q))
			continue;
		link_fill_start(&q, s->msg.features, &s->queues[n]);
		s->queue_list[n] = &s->queues[n];
		s->fds[2 * n] = q.kick_fd;
		s->fds[2 * n + 1] = q.call_fd;
		s->msg.n_queues++;
	}
}

static void link_report_writes(struct device_link *l, struct link_state_msg *s)
{
	s->msg.writes = s->write_list;
	for (uint32_t i = 0; i < VIRTIO_PCI_CONFIG_MAX; i++) {
		size_t n = s->msg.n_writes;
		Bulkhead__ConfigWrite *w = &s->writes[n];

		if (!l->written[i])
			continue;
		if (i && l->written[i - 1] &&
		    s->writes[n - 1].data.len < LINK_WRITE_LEN_MAX) {
			s->writes[n - 1].data.len++;
			continue;
		}
		bulkhead__config_write__init(w);
		w->offset = i;
		w->data.data = l->config + i;
		w->data.len = 1;
		s->write_list[n] = w;
		s->msg.n_writes++;
	}
}

/* What is in force, and from now on accepted. Machine lock held. */
static void link_report(struct device_link *l, struct link_state_msg *s)
{
	bulkhead__device_state__init(&s->msg);
	s->msg.device = l->device;
	for (unsigned int i = 0; i < LINK_REQUESTS; i++)
		l->requests[i].kind = LINK_OP_NONE;
	if (l->state == LINK_RESETTING) {
		l->state = LINK_IDLE;
		l->want_reset = false;
		virtio_pci_reset_done(l->pci);
	}
	/* Nothing was asked yet, or nothing is asked any more. */
	if (l->state == LINK_IDLE || l->want_features)
		return;
	s->msg.has_features = true;
	s->msg.features = virtio_pci_features(l->pci);
	link_report_queues(l, s);
	link_report_writes(l, s);
	l->op.kind = LINK_OP_NONE;
	l->num_writes = 0;
	l->state = LINK_RUNNING;
}

int device_link_adopted(struct vm *vm)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	struct link_state_msg s;
	int r = 0;

	body.kind_case = BULKHEAD__CORE_BODY__KIND_DEVICE_STATE;
	body.device_state = &s.msg;
	for (struct device_link *l = vm->links; l && r == 0; l = l->next) {
		pthread_mutex_lock(&vm->lock);
		link_report(l, &s);
		pthread_mutex_unlock(&vm->lock);
		do
			r = vm_send(vm, &body, s.fds,
				    2 * (unsigned int)s.msg.n_queues, NULL,
				    NULL);
		while (r == -EAGAIN && vm_send_wait(vm) == 0);
		link_pump(l);
	}
	return r;
}

/*
 * Building
 */

static int link_check_info(const Bulkhead__DeviceInfo *info, struct err *e)
{
	if (!info)
		return err_set(e, -EINVAL,
			       "the device did not describe itself");
	if (info->virtio_id < 1 || info->virtio_id > LINK_VIRTIO_ID_MAX)
		return err_set(e, -EINVAL, "virtio id %u is not 1 to %d",
			       info->virtio_id, LINK_VIRTIO_ID_MAX);
	if (info->num_queues < 1 || info->num_queues > VIRTIO_PCI_QUEUES_MAX)
		return err_set(e, -EINVAL, "%u queues are not 1 to %d",
			       info->num_queues, VIRTIO_PCI_QUEUES_MAX);
	if (!is_pow2(info->max_queue_size) ||
	    info->max_queue_size > VIRTIO_PCI_SIZE_MAX)
		return err_set(e, -EINVAL,
			       "queue size %u is not a power of two up to %d",
			       info->max_queue_size, VIRTIO_PCI_SIZE_MAX);
	if (info->config.len > VIRTIO_PCI_CONFIG_MAX)
		return err_set(e, -EINVAL,
			       "config space of %zu bytes exceeds %d",
			       info->config.len, VIRTIO_PCI_CONFIG_MAX);
	if (!(info->features & VIRTIO_FEATURE_VERSION_1))
		return err_set(e, -EINVAL, "VERSION_1 is not offered");
	return 0;
}

static int link_build(struct device_link *l, const Bulkhead__AddDevice *msg,
		      struct err *e)
{
	const struct virtio_pci_info info = {
		.virtio_id = msg->info->virtio_id,
		.features = msg->info->features,
		.num_queues = msg->info->num_queues,
		.max_queue_size = msg->info->max_queue_size,
		.config = msg->info->config.data,
		.config_len = (uint32_t)msg->info->config.len,
	};

	l->device = msg->device;
	l->log = (struct log_limit)LOG_LIMIT_INIT(4);
	snprintf(l->id, sizeof(l->id), "%s", msg->id ? msg->id : "");
	return virtio_pci_new(l->vm, msg->slot, &info, &link_ops, l, &l->pci,
			      e);
}

int device_link_add(struct vm *vm, const Bulkhead__AddDevice *msg,
		    struct err *e)
{
	struct device_link *l;
	int r = link_check_info(msg->info, e);

	if (r == 0 && link_find(vm, msg->device))
		r = err_set(e, -EINVAL, "its number %u is taken", msg->device);
	if (r < 0) {
		err_prefix(e, "device %s", msg->id ? msg->id : "");
		return r;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "no memory for device %s", msg->id);
	l->vm = vm;
	pthread_mutex_lock(&vm->lock);
	r = link_build(l, msg, e);
	if (r == 0) {
		l->next = vm->links;
		vm->links = l;
	}
	pthread_mutex_unlock(&vm->lock);
	if (r < 0) {
		err_prefix(e, "device %s", l->id);
		free(l);
	}
	return r;
}

void device_link_free_all(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	while (vm->links) {
		struct device_link *l = vm->links;

		vm->links = l->next;
		virtio_pci_free(l->pci);
		free(l);
	}
	pthread_mutex_unlock(&vm->lock);
}
