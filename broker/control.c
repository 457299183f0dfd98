/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit_plan.h"
#include "broker/keep.h"
#include "broker/rundir.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/channel/channel.h"
#include "proto/control.pb-c.h"

struct control_client {
	struct control *control;
	struct channel *channel; /* NULL = free */
	struct loop_watch *watch;
	uint32_t next_seq;
	bool greeted;
};

struct control {
	struct family *family;
	char name[RUNDIR_NAME_MAX + 1];
	char path[128];
	int fd;
	struct loop_watch *watch;
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

#define CONTROL_PROCESSES_MAX (2 * FAMILY_DEVICES_MAX + 8)

/* A VmStatus with everything that it points to. */
struct control_status {
	Bulkhead__VmStatus msg;
	Bulkhead__ProcessStatus processes[CONTROL_PROCESSES_MAX];
	Bulkhead__ProcessStatus *list[CONTROL_PROCESSES_MAX];
	Bulkhead__SandboxReport reports[CONTROL_PROCESSES_MAX];
	char *layers[CONTROL_PROCESSES_MAX][2 * SANDBOX_MAX_NOTES];
	char *downgrades[CONTROL_PROCESSES_MAX][2 * SANDBOX_MAX_NOTES];
};

static Bulkhead__ProcessStatus *control_add(struct control_status *st,
					    const char *role, const char *id,
					    pid_t pid)
{
	size_t n = st->msg.n_processes;
	Bulkhead__ProcessStatus *p;

	if (n >= CONTROL_PROCESSES_MAX)
		return NULL;
	st->msg.n_processes++;
	p = &st->processes[n];
	bulkhead__process_status__init(p);
	bulkhead__sandbox_report__init(&st->reports[n]);
	st->list[n] = p;
	p->role = (char *)(uintptr_t)role;
	p->id = (char *)(uintptr_t)id;
	p->pid = pid;
	p->state = (char *)(uintptr_t)(pid ? "running" : "gone");
	p->sandbox = &st->reports[n];
	st->reports[n].layers = st->layers[n];
	st->reports[n].downgrades = st->downgrades[n];
	return p;
}

static bool control_has(char **list, size_t num, const char *text)
{
	for (size_t i = 0; i < num; i++)
		if (!strcmp(list[i], text))
			return true;
	return false;
}

static void control_add_report(Bulkhead__SandboxReport *m,
			       struct sandbox_report *r)
{
	/* Both stages of a sandbox may have, or lack, the same. */
	for (unsigned int i = 0; i < r->num_layers; i++)
		if (!control_has(m->layers, m->n_layers, r->layers[i]))
			m->layers[m->n_layers++] = r->layers[i];
	for (unsigned int i = 0; i < r->num_downgrades; i++)
		if (!control_has(m->downgrades, m->n_downgrades,
				 r->downgrades[i]))
			m->downgrades[m->n_downgrades++] = r->downgrades[i];
	if (r->syscalls)
		m->syscalls = r->syscalls;
}

static Bulkhead__ProcessStatus *control_add_child(struct control_status *st,
						  struct child *c)
{
	Bulkhead__ProcessStatus *p = control_add(st, c->role, c->id, c->pid);

	if (p) {
		control_add_report(p->sandbox, &c->outer);
		control_add_report(p->sandbox, &c->inner);
	}
	return p;
}

static uint64_t control_uptime_ms(const struct family *f)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	return (now - f->start_ns) / 1000000;
}

static void control_fill(struct control *c, struct control_status *st)
{
	struct family *f = c->family;
	Bulkhead__ProcessStatus *p;

	bulkhead__vm_status__init(&st->msg);
	st->msg.processes = st->list;
	st->msg.name = c->name;
	st->msg.state = (char *)(uintptr_t)family_state_name(f->state);
	st->msg.uptime_ms = control_uptime_ms(f);
	st->msg.cpus = f->cfg->cpus.boot;
	st->msg.memory = f->cfg->memory.size;
	st->msg.kernel = f->cfg->kernel;
	st->msg.hypervisor = (char *)(uintptr_t) "kvm";
	p = control_add(st, "broker", "", getpid());
	control_add_report(p->sandbox, &f->own);
	control_add_child(st, &f->core);
	p = keep_child(f) ? control_add_child(st, keep_child(f)) : NULL;
	if (p && !keep_is_holding(f))
		p->state = (char *)(uintptr_t) "starting";
	for (unsigned int i = 0; i < f->num_devices; i++) {
		struct session *s = &f->devices[i];

		p = s->proc ? control_add_child(st, &s->proc->child)
			    : control_add(st, s->role, s->id, 0);
		if (p) {
			if (s->state == SESSION_WAITING)
				p->state = (char *)(uintptr_t) "restarting";
			else if (s->adopting)
				p->state = (char *)(uintptr_t) "adopting";
			else if (s->upgrading)
				p->state = (char *)(uintptr_t) "upgrading";
			p->restarts = s->restarts;
			p->upgrades = s->upgrades;
			p->last_gap_us = s->last_gap_us;
			p->last_reason = s->last_reason;
		}
		p = s->spare ? control_add_child(st, &s->spare->child) : NULL;
		if (p)
			p->role = (char *)(uintptr_t) "spare";
		if (s->opened.helper)
			control_add(st, "passt", s->id, s->opened.helper);
	}
}

static void control_drop(struct control_client *cl)
{
	loop_watch_free(cl->watch);
	channel_free(cl->channel);
	memset(cl, 0, sizeof(*cl));
}

static int control_answer(struct control_client *cl, uint32_t seq, int code,
			  const char *text, Bulkhead__ControlBody *body)
{
	Bulkhead__ControlMessage m = BULKHEAD__CONTROL_MESSAGE__INIT;
	Bulkhead__Status status;
	struct err e = {0};
	int r;

	bulkhead__status__init(&status);
	m.seq = ++cl->next_seq;
	m.answers = seq;
	status.code = code;
	status.text = (char *)(uintptr_t)text;
	m.status = &status;
	m.body = body;
	r = channel_send(cl->channel, &m.base, NULL, 0, &e);
	if (r < 0)
		log_debug("control: %s", e.text);
	return r;
}

static int control_hello(struct control_client *cl, uint32_t seq,
			 const Bulkhead__Hello *hello)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__HelloReply reply;

	bulkhead__hello_reply__init(&reply);
	if (hello->min_version > CHANNEL_VERSION || hello->max_version < 1) {
		control_answer(cl, seq, -EPROTONOSUPPORT,
			       "no common version of the protocol", NULL);
		return -EPROTO;
	}
	cl->greeted = true;
	reply.version = CHANNEL_VERSION;
	reply.program = (char *)(uintptr_t) "bulkhead";
	reply.release = (char *)(uintptr_t)BULKHEAD_VERSION;
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_HELLO_REPLY;
	body.hello_reply = &reply;
	return control_answer(cl, seq, 0, "", &body);
}

static int control_status(struct control_client *cl, uint32_t seq)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	auto_free struct control_status *st = calloc(1, sizeof(*st));

	if (!st)
		return control_answer(cl, seq, -ENOMEM, "no memory", NULL);
	control_fill(cl->control, st);
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_VM_STATUS;
	body.vm_status = &st->msg;
	return control_answer(cl, seq, 0, "", &body);
}

static int control_audit(struct control_client *cl, uint32_t seq)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	struct control *c = cl->control;
	struct err e = {0};
	int r = audit_plan_new(c->family, c->name, &body.audit_plan, &e);

	if (r < 0)
		return control_answer(cl, seq, r, e.text, NULL);
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_AUDIT_PLAN;
	r = control_answer(cl, seq, 0, "", &body);
	audit_plan_free(body.audit_plan);
	return r;
}

static int control_handle(struct control_client *cl,
			  const Bulkhead__ControlMessage *m)
{
	struct family *f = cl->control->family;
	struct err e = {0};
	int r;

	if (m->answers)
		return -EPROTO;
	if (!cl->greeted)
		return m->body->kind_case == BULKHEAD__CONTROL_BODY__KIND_HELLO
			       ? control_hello(cl, m->seq, m->body->hello)
			       : -EPROTO;
	switch (m->body->kind_case) {
	case BULKHEAD__CONTROL_BODY__KIND_STATUS_REQUEST:
		return control_status(cl, m->seq);
	case BULKHEAD__CONTROL_BODY__KIND_AUDIT:
		return control_audit(cl, m->seq);
	case BULKHEAD__CONTROL_BODY__KIND_POWER_BUTTON:
		r = family_power_button(f, &e);
		return control_answer(cl, m->seq, r, e.text, NULL);
	case BULKHEAD__CONTROL_BODY__KIND_UPGRADE:
		r = family_upgrade(f, m->body->upgrade->device, &e);
		return control_answer(cl, m->seq, r, e.text, NULL);
	case BULKHEAD__CONTROL_BODY__KIND_TERMINATE:
		family_shutdown(f, 0);
		return control_answer(cl, m->seq, 0, "", NULL);
	default:
		return -EPROTO;
	}
}

static void control_on_message(int fd, unsigned int events, void *arg)
{
	struct control_client *cl = arg;
	struct channel_msg m;
	int r = channel_recv(cl->channel, &m, NULL);

	(void)fd;
	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 1) {
		r = control_handle(cl, (const void *)m.msg);
		channel_msg_done(&m);
		if (r == 0)
			return;
	}
	control_drop(cl);
}

static void control_on_client(int fd, unsigned int events, void *arg)
{
	struct control *c = arg;
	auto_fd client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	(void)events;
	if (client < 0 ||
	    getsockopt(client, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    (cred.uid != geteuid() && cred.uid != 0))
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *cl = &c->clients[i];

		if (cl->channel)
			continue;
		if (channel_new(client, &channel_format_control, false,
				&cl->channel, NULL) < 0)
			return;
		take_fd(&client);
		cl->control = c;
		if (loop_add_fd(c->family->loop, channel_fd(cl->channel),
				LOOP_READ, control_on_message, cl, &cl->watch,
				NULL) < 0)
			control_drop(cl);
		return;
	}
}

static int control_serve(struct family *f, const char *name, const char *path,
			 int *fd, struct control **ret, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "no memory for the control socket");
	c->family = f;
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->path, sizeof(c->path), "%s", path);
	r = loop_add_fd(f->loop, *fd, LOOP_READ, control_on_client, c,
			&c->watch, e);
	if (r < 0) {
		free(c);
		return r;
	}
	c->fd = take_fd(fd);
	*ret = c;
	return 0;
}

int control_new(struct family *f, const char *name, struct control **ret,
		struct err *e)
{
	char path[sizeof((*ret)->path)];
	int fd, r = rundir_listen(name, path, sizeof(path), &fd, e);

	if (r < 0)
		return r;
	r = control_serve(f, name, path, &fd, ret, e);
	if (r < 0) {
		unlink(path);
		fd_close(fd);
	}
	return r;
}

int control_adopt(struct family *f, const char *name, int *fd,
		  struct control **ret, struct err *e)
{
	char path[sizeof((*ret)->path)];
	int r = rundir_socket(name, path, sizeof(path), e);

	if (r < 0)
		return r;
	/* Once more: the kernel tells clients who did it last. */
	if (listen(*fd, CONTROL_CLIENTS_MAX) < 0)
		return err_errno(e, "cannot listen at %s", path);
	return control_serve(f, name, path, fd, ret, e);
}

int control_fd(const struct control *c)
{
	return c->fd;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		control_drop(&c->clients[i]);
	loop_watch_free(c->watch);
	unlink(c->path);
	fd_close(c->fd);
	free(c);
}
