/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit_gate.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "proto/keeper.pb-c.h"

#define KEEP_FDS_MAX   64 /* as the keeper's */
#define KEEP_RETRY_MS  1000
#define KEEP_UID_INDEX 47 /* devices have 2 to 31, passt 48 and up */

struct keep {
	struct family *family;
	struct child child;
	const char *name;
	int argc;
	char **argv;
	int listen_fd;
	bool started;
	bool holding; /* all was sent */
	struct loop_watch *w_retry;
};

/* A Keep in the making. */
struct keep_msg {
	char key[64];
	int fds[KEEP_FDS_MAX];
	unsigned int num_fds;
};

/* What is done with each: it is sent, or looked at. */
typedef int (*keep_sink)(struct keep *k, const struct keep_msg *m,
			 const ProtobufCMessage *data, void *arg);

static void keep_add_fd(struct keep_msg *m, int fd)
{
	check(m->num_fds < ARRAY_SIZE(m->fds));
	m->fds[m->num_fds++] = fd;
}

/* ---- requests ---- */

static void keep_lost(struct keep *k, const char *why)
{
	log_warn("event=keeper-lost reason=\"%s\": until another one holds it "
		 "the VM would end with its broker",
		 why);
	k->started = k->holding = false;
	loop_timer_arm(k->w_retry, KEEP_RETRY_MS);
}

static void keep_on_answer(struct child *c, const struct envelope *env,
			   int *fds, void *arg)
{
	(void)fds;
	(void)arg;
	if (env->status->code)
		child_fail(c, env->status->text);
}

static int keep_request(struct keep *k, Bulkhead__KeeperBody *body,
			const int *fds, unsigned int num_fds,
			child_answer_cb cb)
{
	struct err e = {0};
	int r = child_request(&k->child, &body->base, fds, num_fds, cb, NULL,
			      &e);

	if (r < 0)
		child_fail(&k->child, e.text);
	return r;
}

static int keep_send(struct keep *k, const struct keep_msg *m,
		     const ProtobufCMessage *data, void *arg)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__Keep keep = BULKHEAD__KEEP__INIT;
	size_t len = protobuf_c_message_get_packed_size(data);
	auto_free uint8_t *buf = malloc(len + 1);

	(void)arg;
	if (!buf)
		return -ENOMEM;
	keep.key = (char *)(uintptr_t)m->key;
	keep.data.data = buf;
	keep.data.len = protobuf_c_message_pack(data, buf);
	keep.num_fds = m->num_fds;
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_KEEP;
	body.keep = &keep;
	return keep_request(k, &body, m->fds, m->num_fds, keep_on_answer);
}

/* ---- what there is to keep ---- */

static void keep_child_fds(struct keep_msg *m, struct child *c,
			   struct child_kept *kept)
{
	m->num_fds += child_keep(c, kept, m->fds + m->num_fds);
}

static int keep_vm(struct keep *k, keep_sink sink, void *arg)
{
	struct family *f = k->family;
	struct keep_msg m = {.key = "vm"};
	struct child_kept core;
	Bulkhead__KeptVm vm;

	bulkhead__kept_vm__init(&vm);
	vm.name = (char *)(uintptr_t)k->name;
	vm.n_arguments = (size_t)k->argc;
	vm.arguments = k->argv;
	vm.start_ns = f->start_ns;
	vm.running_ns = f->running_ns;
	keep_child_fds(&m, &f->core, &core);
	vm.core = &core.msg;
	vm.memory = f->memory;
	vm.num_memfds = f->num_memfds;
	for (unsigned int i = 0; i < f->num_memfds; i++)
		keep_add_fd(&m, f->memfds[i]);
	keep_add_fd(&m, f->kernel_fd);
	vm.has_initramfs = f->initramfs_fd >= 0;
	if (vm.has_initramfs)
		keep_add_fd(&m, f->initramfs_fd);
	keep_add_fd(&m, k->listen_fd);
	vm.num_devices = f->num_devices;
	vm.generation = f->generation;
	return sink(k, &m, &vm.base, arg);
}

static int keep_itself(struct keep *k, keep_sink sink, void *arg)
{
	struct keep_msg m = {.key = "keeper"};
	struct child_kept kept;

	keep_child_fds(&m, &k->child, &kept);
	/* Its own channel would never end. */
	kept.msg.has_channel = false;
	m.num_fds = 2;
	return sink(k, &m, &kept.msg.base, arg);
}

static int keep_port(struct keep *k, const char *key, struct opened *o,
		     keep_sink sink, void *arg)
{
	struct keep_msg m = {.num_fds = 0};
	Bulkhead__KeptBackend b;
	Bulkhead__DeviceSetup setup;

	/* A port that is off, or leads nowhere, has no resources. */
	if (!o->console.base.descriptor)
		return 0;
	snprintf(m.key, sizeof(m.key), "%s", key);
	m.num_fds = opened_keep(o, "console", &b, &setup, m.fds);
	return sink(k, &m, &b.base, arg);
}

static int keep_session(struct keep *k, struct session *s, keep_sink sink,
			void *arg)
{
	struct keep_msg m = {.num_fds = 0};
	int fence = s->proc ? s->proc->fence_fd : s->fence_fd;
	Bulkhead__KeptDevice d = BULKHEAD__KEPT_DEVICE__INIT;
	Bulkhead__KeptBackend b;
	Bulkhead__DeviceSetup setup;
	Bulkhead__DeviceInfo info = BULKHEAD__DEVICE_INFO__INIT;
	struct child_kept process;

	snprintf(m.key, sizeof(m.key), "device.%u", s->index);
	m.num_fds = opened_keep(&s->opened, s->role, &b, &setup, m.fds);
	d.backend = &b;
	if (s->proc) {
		keep_child_fds(&m, &s->proc->child, &process);
		d.process = &process.msg;
	}
	d.has_fence = fence >= 0;
	if (d.has_fence)
		keep_add_fd(&m, fence);
	keep_add_fd(&m, s->inflight.fd);
	d.inflight_stride = s->inflight.stride;
	d.has_client = s->client_fd >= 0;
	if (d.has_client)
		keep_add_fd(&m, s->client_fd);
	info.virtio_id = s->info.virtio_id;
	info.features = s->info.features;
	info.num_queues = s->info.num_queues;
	info.max_queue_size = s->info.max_queue_size;
	info.config.data = s->info.config;
	info.config.len = s->info.config_len;
	d.info = &info;
	d.restarts = s->restarts;
	d.upgrades = s->upgrades;
	d.last_reason = s->last_reason;
	d.last_gap_us = s->last_gap_us;
	return sink(k, &m, &d.base, arg);
}

static int keep_hold(struct keep *k)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__Hold hold = BULKHEAD__HOLD__INIT;

	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_HOLD;
	body.hold = &hold;
	return keep_request(k, &body, &k->family->core.pidfd, 1,
			    keep_on_answer);
}

static int keep_each(struct keep *k, keep_sink sink, void *arg)
{
	struct family *f = k->family;
	int r = keep_vm(k, sink, arg);

	if (r == 0)
		r = keep_itself(k, sink, arg);
	if (r == 0)
		r = keep_port(k, "serial", &f->serial, sink, arg);
	if (r == 0)
		r = keep_port(k, "debug-console", &f->debug_console, sink, arg);
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		r = keep_session(k, &f->devices[i], sink, arg);
	return r;
}

static void keep_everything(struct keep *k)
{
	k->holding = keep_each(k, keep_send, NULL) == 0 && keep_hold(k) == 0;
}

struct keep_list {
	int *fds;
	unsigned int num, max;
};

static int keep_list(struct keep *k, const struct keep_msg *m,
		     const ProtobufCMessage *data, void *arg)
{
	struct keep_list *l = arg;

	(void)k;
	(void)data;
	for (unsigned int i = 0; i < m->num_fds; i++) {
		if (l->num == l->max)
			return -E2BIG;
		l->fds[l->num++] = m->fds[i];
	}
	return 0;
}

int keep_held(const struct family *f, int *ret, unsigned int max)
{
	struct keep *k = f->keep;
	struct keep_list l = {.fds = ret, .max = max};
	int r;

	if (max < 2)
		return -E2BIG;
	/* KeeperSetup's and Hold's own. */
	l.fds[l.num++] = k->listen_fd;
	if (!k->holding)
		return (int)l.num;
	l.fds[l.num++] = f->core.pidfd;
	r = keep_each(k, keep_list, &l);
	return r < 0 ? r : (int)l.num;
}

/* ---- the process ---- */

static int keep_on_message(struct child *c, const struct envelope *env,
			   int *fds, unsigned int num_fds, struct err *e)
{
	(void)c;
	(void)env;
	(void)fds;
	(void)num_fds;
	return err_set(e, -EPROTO, "it sent a message of its own");
}

static void keep_on_gone(struct child *c, const char *why)
{
	keep_lost(c->owner, why);
}

static const struct child_handler keep_handler = {
	.message = keep_on_message,
	.gone = keep_on_gone,
};

static void keep_on_ready(struct child *c, const struct envelope *env, int *fds,
			  void *arg)
{
	const Bulkhead__KeeperBody *body = (const void *)env->body;
	struct keep *k = c->owner;
	struct err e = {0};

	(void)fds;
	(void)arg;
	if (env->status->code) {
		child_fail(c, env->status->text);
		return;
	}
	if (!body || body->kind_case != BULKHEAD__KEEPER_BODY__KIND_READY) {
		child_fail(c, "it answered KeeperSetup with something else");
		return;
	}
	child_note_sandbox(c, body->ready->sandbox);
	if (audit_gate_keeper(k->family, &e) < 0)
		child_fail(c, e.text);
	else if (k->family->state == FAMILY_RUNNING)
		keep_everything(k);
}

static struct child_args keep_child_args(struct keep *k)
{
	return (struct child_args){
		.role = "keeper",
		.id = "",
		.format = &channel_format_keeper,
		.loop = k->family->loop,
		.handler = &keep_handler,
		.owner = k,
		.uid_index = KEEP_UID_INDEX,
		.outlives = true,
		.generation = k->family->generation,
	};
}

static void keep_start(struct keep *k)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__Hello hello = BULKHEAD__HELLO__INIT;
	Bulkhead__KeeperSetup setup = BULKHEAD__KEEPER_SETUP__INIT;
	struct child_args args = keep_child_args(k);
	struct err e = {0};

	child_stop(&k->child);
	if (child_start(&k->child, &args, &e) < 0) {
		keep_lost(k, e.text);
		return;
	}
	k->started = true;
	hello.min_version = 1;
	hello.max_version = CHANNEL_VERSION;
	hello.log_level = log_get_level();
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_HELLO;
	body.hello = &hello;
	if (keep_request(k, &body, NULL, 0, keep_on_answer) < 0)
		return;
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_SETUP;
	body.setup = &setup;
	keep_request(k, &body, &k->listen_fd, 1, keep_on_ready);
}

static void keep_on_retry(void *arg)
{
	struct keep *k = arg;

	if (!k->started && k->family->state == FAMILY_RUNNING)
		keep_start(k);
}

int keep_new(struct family *f, const char *name, int argc, char **argv,
	     int listen_fd, struct err *e)
{
	struct keep *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_set(e, -ENOMEM, "no memory for a keeper");
	k->family = f;
	k->name = name;
	k->argc = argc;
	k->argv = argv;
	k->listen_fd = listen_fd;
	r = loop_add_timer(f->loop, keep_on_retry, k, &k->w_retry, e);
	if (r < 0) {
		free(k);
		return r;
	}
	f->keep = k;
	return 0;
}

int keep_adopt(struct family *f, const Bulkhead__KeptProcess *m, int *fds,
	       struct channel *channel, struct err *e)
{
	struct keep *k = f->keep;
	struct child_args args = keep_child_args(k);
	int r = child_adopt(&k->child, &args, m, fds, channel, e);

	if (r == 0)
		k->started = k->holding = true;
	return r;
}

void keep_all(struct family *f)
{
	struct keep *k = f->keep;

	if (!k)
		return;
	if (k->started)
		keep_everything(k);
	else
		keep_start(k);
}

void keep_core(struct family *f)
{
	if (f->keep && f->keep->holding)
		keep_vm(f->keep, keep_send, NULL);
}

void keep_device(struct session *s)
{
	struct keep *k = s->family->keep;

	if (k && k->holding && s->inflight.fd >= 0)
		keep_session(k, s, keep_send, NULL);
}

void keep_forget(struct family *f)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__Forget forget = BULKHEAD__FORGET__INIT;

	if (!f->keep || !f->keep->holding)
		return;
	f->keep->holding = false;
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_FORGET;
	body.forget = &forget;
	keep_request(f->keep, &body, NULL, 0, keep_on_answer);
}

void keep_free(struct family *f)
{
	if (!f->keep)
		return;
	child_stop(&f->keep->child);
	loop_watch_free(f->keep->w_retry);
	free(f->keep);
	f->keep = NULL;
}

bool keep_is_holding(const struct family *f)
{
	return f->keep && f->keep->holding;
}

bool keep_is_busy(const struct family *f)
{
	for (unsigned int i = 0; i < CHILD_PENDING_MAX; i++)
		if (f->keep->child.pending[i].seq)
			return true;
	return false;
}

struct child *keep_child(const struct family *f)
{
	return f->keep && f->keep->child.pid ? &f->keep->child : NULL;
}
