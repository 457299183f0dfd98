/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/family.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/channel/channel.h"

/* A request of the core on its way to the device. */
struct session_relayed {
	uint32_t core_seq;
	Bulkhead__DeviceBody__KindCase kind;
	uint32_t queue; /* start_queue */
};

static struct session *session_of(const struct child *c)
{
	const struct session_proc *p = c->owner;

	return p->session;
}

void session_init(struct session *s, struct family *f, uint32_t index,
		  const char *role, const char *id)
{
	memset(s, 0, sizeof(*s));
	s->family = f;
	s->index = index;
	s->slot = index + 1;
	s->role = role;
	s->id = id;
	opened_init(&s->opened);
	s->inflight.fd = -1;
	s->fence_fd = s->client_fd = -1;
	for (unsigned int i = 0; i < SESSION_QUEUES_MAX; i++) {
		s->record.queues[i].kick_fd = -1;
		s->record.queues[i].call_fd = -1;
	}
}

static void session_on_relayed(struct child *c, const struct envelope *env,
			       int *fds, void *arg);

/* Requests of the core that the process did not answer any more. */
static void session_take_pending(struct session_proc *p, struct session *owe)
{
	for (unsigned int i = 0; i < CHILD_PENDING_MAX; i++) {
		struct session_relayed *r = p->child.pending[i].arg;

		if (!p->child.pending[i].seq ||
		    p->child.pending[i].cb != session_on_relayed)
			continue;
		p->child.pending[i].seq = 0;
		if (owe)
			session_owe(owe, r->core_seq);
		free(r);
	}
}

void session_proc_free(struct session_proc *p)
{
	if (!p)
		return;
	session_take_pending(p, NULL);
	child_stop(&p->child);
	fd_close(p->fence_fd);
	free(p);
}

void session_stop(struct session *s)
{
	session_recover_stop(s);
	session_proc_free(s->proc);
	session_proc_free(s->next);
	session_proc_free(s->spare);
	s->proc = s->next = s->spare = NULL;
	s->state = SESSION_OFF;
	session_record_clear(&s->record);
	s->info.valid = false;
	s->mem_ready = false;
}

void session_close(struct session *s)
{
	session_stop(s);
	session_client_close(s);
	loop_watch_free(s->w_listen);
	s->w_listen = NULL;
	opened_close(&s->opened);
}

int session_info_take(struct session_info *i, const Bulkhead__DeviceInfo *m)
{
	if (!m->num_queues || m->num_queues > SESSION_QUEUES_MAX ||
	    m->config.len > SESSION_CONFIG_MAX || !is_pow2(m->max_queue_size) ||
	    m->max_queue_size > 32768)
		return -EBADMSG;
	i->virtio_id = m->virtio_id;
	i->features = m->features;
	i->num_queues = m->num_queues;
	i->max_queue_size = m->max_queue_size;
	i->config_len = (uint32_t)m->config.len;
	if (m->config.len)
		memcpy(i->config, m->config.data, m->config.len);
	i->valid = true;
	return 0;
}

static int session_take_info(struct session_proc *p,
			     const Bulkhead__DeviceInfo *m)
{
	int r = session_info_take(&p->info, m);

	if (r < 0)
		return r;
	if (p->session->no_packed)
		p->info.features &= ~(1ULL << 34);
	child_note_sandbox(&p->child, m->sandbox);
	return 0;
}

static void session_on_hello(struct child *c, const struct envelope *env,
			     int *fds, void *arg)
{
	const Bulkhead__DeviceBody *body = (const void *)env->body;
	struct err e = {0};

	(void)fds;
	(void)arg;
	if (env->status->code) {
		child_fail(c, env->status->text);
	} else if (!body ||
		   body->kind_case != BULKHEAD__DEVICE_BODY__KIND_HELLO_REPLY) {
		child_fail(c, "it answers Hello with something else");
	} else if (body->hello_reply->version < 1 ||
		   body->hello_reply->version > CHANNEL_VERSION) {
		err_set(&e, -EPROTO, "it speaks version %u, the broker 1 to %u",
			body->hello_reply->version, CHANNEL_VERSION);
		child_fail(c, e.text);
	}
}

static void session_on_setup(struct child *c, const struct envelope *env,
			     int *fds, void *arg)
{
	const Bulkhead__DeviceBody *body = (const void *)env->body;
	struct session_proc *p = c->owner;
	struct session *s = p->session;

	(void)fds;
	(void)arg;
	if (env->status->code) {
		child_fail(c, env->status->text);
		return;
	}
	if (!body || body->kind_case != BULKHEAD__DEVICE_BODY__KIND_INFO ||
	    session_take_info(p, body->info) < 0) {
		child_fail(c, "it describes itself unacceptably");
		return;
	}
	if (p == s->next) {
		session_next_described(s);
		return;
	}
	if (p == s->spare) {
		session_spare_described(s);
		return;
	}
	s->info = p->info;
	family_device_ready(s->family, s);
}

/* Is it an event, of this process's time? What it says is made fit for others
 * to hear. */
static int session_check_event(const struct session_proc *p,
			       Bulkhead__DeviceBody *body, struct err *e)
{
	ProtobufCBinaryData *config;

	if (!p->info.valid)
		return err_set(e, -EPROTO,
			       "message %d comes before it described itself",
			       (int)body->kind_case);
	switch (body->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED:
		config = &body->config_changed->config;
		if (config->len != p->info.config_len)
			return err_set(e, -EPROTO,
				       "config space of %zu bytes instead of "
				       "%u",
				       config->len, p->info.config_len);
		/* A newer program's may be longer than the core knows. */
		config->len = min_u64(config->len, p->session->info.config_len);
		break;
	case BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET:
		child_text(body->needs_reset->reason);
		break;
	case BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED:
		child_text(body->backend_closed->reason);
		break;
	default:
		return err_set(e, -EPROTO,
			       "message %d is not a device's to send",
			       (int)body->kind_case);
	}
	return 0;
}

static int session_on_message(struct child *c, const struct envelope *env,
			      int *fds, unsigned int num_fds, struct err *e)
{
	Bulkhead__DeviceBody *body = (void *)env->body;
	struct session_proc *p = c->owner;
	struct session *s = p->session;
	int r = session_check_event(p, body, e);

	(void)fds;
	(void)num_fds;
	if (r < 0)
		return r;
	/* One that does not serve yet has nothing to tell. */
	if (p != s->proc)
		return child_answer(c, env->seq, 0, NULL, NULL, e);
	if (body->kind_case == BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED) {
		log_limited(&c->log_lines, LOG_INFO, "%s: back end closed: %s",
			    s->id, body->backend_closed->reason);
		session_client_close(s);
	} else {
		r = family_device_event(s->family, s, body, e);
	}
	return r < 0 ? r : child_answer(c, env->seq, 0, NULL, NULL, e);
}

static void session_on_gone(struct child *c, const char *why)
{
	struct session_proc *p = c->owner;
	struct session *s = p->session;

	if (p == s->next) {
		s->next = NULL;
		session_next_lost(s, why);
		session_proc_free(p);
		return;
	}
	if (p == s->spare) {
		s->spare = NULL;
		session_spare_lost(s, why);
		session_proc_free(p);
		return;
	}
	snprintf(s->last_reason, sizeof(s->last_reason), "%s", why);
	if (s->state == SESSION_UP && family_may_recover(s->family)) {
		s->proc = NULL;
		session_take_pending(p, s);
		s->fence_fd = take_fd(&p->fence_fd);
		session_proc_free(p);
		session_lost(s, why);
		return;
	}
	family_device_gone(s->family, s, why);
}

static const struct child_handler session_handler = {
	.message = session_on_message,
	.gone = session_on_gone,
	.messages_max = SESSION_EVENTS_MAX,
};

static void session_fill_setup(struct session *s, Bulkhead__DeviceSetup *m)
{
	m->id = (char *)(uintptr_t)s->id;
	m->num_queues = s->num_queues;
	m->queue_size = s->queue_size;
	opened_fill_setup(&s->opened, s->role, m);
}

static int session_send_hello(struct session_proc *p, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Hello hello = BULKHEAD__HELLO__INIT;

	hello.min_version = 1;
	hello.max_version = CHANNEL_VERSION;
	hello.log_level = log_get_level();
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_HELLO;
	body.hello = &hello;
	return child_request(&p->child, &body.base, NULL, 0, session_on_hello,
			     NULL, e);
}

static int session_send_setup(struct session_proc *p, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__DeviceSetup setup;
	struct session *s = p->session;
	int fds[OPENED_MAX_FDS + 1], pipefd[2];
	unsigned int n = 0;

	bulkhead__device_setup__init(&setup);
	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "cannot make a fence for %s", s->id);
	p->fence_fd = pipefd[0];
	auto_fd fence = pipefd[1];

	session_fill_setup(s, &setup);
	setup.fence = true;
	for (; n < s->opened.num_fds; n++)
		fds[n] = s->opened.fds[n];
	fds[n++] = fence;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SETUP;
	body.setup = &setup;
	return child_request(&p->child, &body.base, fds, n, session_on_setup,
			     NULL, e);
}

static struct child_args session_child_args(struct session_proc *p)
{
	struct session *s = p->session;

	return (struct child_args){
		.role = s->role,
		.id = s->id,
		.format = &channel_format_device,
		.loop = s->family->loop,
		.handler = &session_handler,
		.owner = p,
		.uid_index = 2 + s->index + (s->other_id ? CHILD_IDS / 2 : 0),
		.outlives = s->family->keep,
	};
}

static struct session_proc *session_proc_new(struct session *s)
{
	struct session_proc *p = calloc(1, sizeof(*p));

	if (p) {
		p->session = s;
		p->fence_fd = -1;
	}
	return p;
}

int session_proc_start(struct session *s, struct session_proc **ret,
		       struct err *e)
{
	struct session_proc *p = session_proc_new(s);
	struct child_args args;
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "no memory for a device process");
	s->other_id = !s->other_id;
	args = session_child_args(p);
	args.candidate = s->upgrading;
	r = child_start(&p->child, &args, e);
	if (r == 0)
		r = session_send_hello(p, e);
	if (r == 0)
		r = session_send_setup(p, e);
	if (r < 0) {
		session_proc_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int session_start(struct session *s, struct err *e)
{
	int r = session_proc_start(s, &s->proc, e);

	if (r == 0)
		r = session_client_listen(s, e);
	return r;
}

/* Only these answers carry a body that the core may see. */
static bool session_answer_ok(const struct session_relayed *r,
			      const Bulkhead__DeviceBody *answer)
{
	if (!answer)
		return true;
	return r->kind == BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE &&
	       answer->kind_case == BULKHEAD__DEVICE_BODY__KIND_QUEUE_STATE;
}

static void session_on_relayed(struct child *c, const struct envelope *env,
			       int *fds, void *arg)
{
	auto_free struct session_relayed *r = arg;
	struct session *s = session_of(c);
	Bulkhead__DeviceBody *answer = (void *)env->body;
	struct err e = {0};

	(void)fds;
	if (!session_answer_ok(r, answer)) {
		/* Its successor's replay is the answer. */
		session_owe(s, r->core_seq);
		child_fail(c, "answer of the wrong kind");
		return;
	}
	if (r->kind == BULKHEAD__DEVICE_BODY__KIND_START_QUEUE) {
		struct session_queue *q = &s->record.queues[r->queue];

		q->accepted = q->started;
		if (env->status->code)
			session_record_stop_queue(&s->record, r->queue);
	}
	if (family_answer_core(s->family, s, r->core_seq, env->status, answer,
			       &e) < 0)
		family_fail(s->family, "core: %s", e.text);
}

int session_relay(struct session *s, uint32_t core_seq,
		  const Bulkhead__DeviceBody *body, int *fds,
		  unsigned int num_fds, struct err *e)
{
	auto_free struct session_relayed *relayed = NULL;
	int r = session_policy(&s->info, &s->record, body, e);

	if (r < 0)
		return r;
	if (!session_is_served(s)) {
		/* The replacement will be told by the replay. */
		r = session_owe(s, core_seq);
		if (r == 0)
			session_record_apply(&s->record, body, fds);
		return r < 0 ? err_set(e, r, "too many requests") : 0;
	}
	relayed = calloc(1, sizeof(*relayed));
	if (!relayed)
		return err_set(e, -ENOMEM, "no memory for a relayed request");
	relayed->core_seq = core_seq;
	relayed->kind = body->kind_case;
	if (body->kind_case == BULKHEAD__DEVICE_BODY__KIND_START_QUEUE)
		relayed->queue = body->start_queue->index;
	r = child_request(&s->proc->child, &body->base, fds, num_fds,
			  session_on_relayed, relayed, e);
	if (r < 0)
		return r;
	take_ptr(relayed);
	session_record_apply(&s->record, body, fds);
	return 0;
}

bool session_left_out(const struct session *s, uint32_t seq)
{
	const struct child *c = &s->proc->child;

	for (unsigned int i = 0; i < CHILD_PENDING_MAX; i++) {
		const struct session_relayed *r = c->pending[i].arg;

		if (!c->pending[i].seq ||
		    (int32_t)(c->pending[i].seq - seq) >= 0)
			continue;
		/* These wait for what the back end has in hand. */
		if (r && (r->kind == BULKHEAD__DEVICE_BODY__KIND_RESET ||
			  r->kind == BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE))
			continue;
		return true;
	}
	return false;
}

int session_quiesce(struct session *s, child_answer_cb done)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Quiesce quiesce = BULKHEAD__QUIESCE__INIT;

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_QUIESCE;
	body.quiesce = &quiesce;
	if (!session_is_served(s))
		return -EPIPE;
	return child_request(&s->proc->child, &body.base, NULL, 0, done, NULL,
			     NULL);
}

/* ---- adoption ---- */

int session_adopt_proc(struct session *s, const Bulkhead__KeptProcess *m,
		       int *fds, int *fence, struct err *e)
{
	struct session_proc *p;
	struct child_args args;
	int r;

	s->adopting = true;
	s->mem_ready = true;
	if (!m) {
		s->state = SESSION_WAITING;
		s->fence_fd = take_fd(fence);
		return 0;
	}
	p = session_proc_new(s);
	if (!p)
		return err_set(e, -ENOMEM, "no memory for a device process");
	args = session_child_args(p);
	r = child_adopt(&p->child, &args, m, fds, NULL, e);
	if (r < 0) {
		session_proc_free(p);
		return r;
	}
	p->fence_fd = take_fd(fence);
	p->info = s->info;
	s->proc = p;
	s->state = SESSION_UP;
	return 0;
}

static int session_adopt_one(struct session *s, Bulkhead__DeviceBody *body,
			     int *fds, struct err *e)
{
	int r = session_policy(&s->info, &s->record, body, e);

	if (r == 0)
		session_record_apply(&s->record, body, fds);
	return r;
}

int session_adopt_record(struct session *s, const Bulkhead__DeviceState *m,
			 int *fds, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__SetFeatures features = BULKHEAD__SET_FEATURES__INIT;
	int r = 0;

	/* Once: a replacement is on its way from then on. */
	if (!s->adopting || s->record_known)
		return err_set(e, -EPROTO, "nobody asked for its state");
	session_record_clear(&s->record);
	if (m->has_features) {
		features.features = m->features;
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
		body.set_features = &features;
		r = session_adopt_one(s, &body, NULL, e);
	}
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
	for (size_t i = 0; r == 0 && i < m->n_queues; i++) {
		body.start_queue = m->queues[i];
		r = session_adopt_one(s, &body, &fds[2 * i], e);
	}
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
	for (size_t i = 0; r == 0 && i < m->n_writes; i++) {
		body.config_write = m->writes[i];
		r = session_adopt_one(s, &body, NULL, e);
	}
	return r < 0 ? r : session_adopt_start(s, e);
}
