/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `bulkhead adopt`: become the broker of a VM whose broker died. Its keeper
 * hands over what that broker held and knew. The core is taken over as it is
 * and tells what it asked of each device; the device processes, whose
 * conversations ended half-way, are replaced as in an upgrade.
 *
 * Until the core has answered nothing is changed: if something fails, the
 * keeper goes on keeping.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker/cli.h"
#include "broker/control.h"
#include "broker/control_client.h"
#include "broker/keep.h"
#include "broker/keeper/store.h"
#include "broker/logfile.h"
#include "broker/narrow.h"
#include "broker/programs.h"
#include "broker/run.h"
#include "broker/rundir.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

#define ADOPT_TIMEOUT_S	 10
#define ADOPT_GENERATION 127

struct adopt {
	const char *name;
	const char *log_file; /* NULL: as the VM was started with */
	struct store store;
	struct channel *channel; /* to the keeper */
	uint32_t seq;
	Bulkhead__KeptVm *vm;
	struct config config;
	struct family *family;
	struct control *control;
};

static void adopt_help(void)
{
	printf("Usage: bulkhead adopt [OPTIONS] VM\n"
	       "\n"
	       "Take over a VM whose broker (the `bulkhead run` that started "
	       "it) died, and serve it\n"
	       "in the foreground until the guest powers off. Device "
	       "processes are replaced by\n"
	       "new ones under the running guest.\n"
	       "\n"
	       "  --log-file FILE     append the log there (as the VM was "
	       "started with)\n"
	       "  -v, -vv, -vvv       log more: info, debug, trace\n"
	       "  -h, --help          show this help\n"
	       "  -V, --version       show the version\n"
	       "\n"
	       "Exit status: as of `bulkhead run`. If the VM can't be taken "
	       "over it runs on\n"
	       "without broker, and the status is 1.\n"
	       "\n"
	       "Example:\n"
	       "  bulkhead adopt web1\n");
}

/* ---- from the keeper ---- */

static int adopt_answer(struct adopt *a, uint32_t answers, int code,
			const char *text, struct err *e)
{
	Bulkhead__KeeperMessage m = BULKHEAD__KEEPER_MESSAGE__INIT;
	Bulkhead__Status status;

	bulkhead__status__init(&status);
	status.code = code;
	status.text = (char *)(uintptr_t)text;
	m.seq = ++a->seq;
	m.answers = answers;
	m.status = &status;
	return channel_send(a->channel, &m.base, NULL, 0, e);
}

/* Return: 1 there is more, 0 that was all, negative errno */
static int adopt_receive_one(struct adopt *a, struct err *e)
{
	const Bulkhead__KeeperMessage *m;
	struct channel_msg cm;
	int r = channel_recv(a->channel, &cm, e);

	if (r == -EAGAIN || r == 0)
		return err_set(e, -EPIPE, "the keeper %s",
			       r ? "does not answer" : "ended");
	if (r < 0)
		return r;
	m = (const void *)cm.msg;
	r = m->answers ? -EPROTO : 0;
	if (r == 0 && m->body->kind_case == BULKHEAD__KEEPER_BODY__KIND_KEEP) {
		const Bulkhead__Keep *k = m->body->keep;

		r = store_put(&a->store, k->key, k->data.data, k->data.len,
			      cm.fds, cm.num_fds, e);
		if (r == 0)
			r = 1;
	} else if (r < 0 ||
		   m->body->kind_case != BULKHEAD__KEEPER_BODY__KIND_KEPT) {
		r = err_set(e, -EPROTO, "the keeper sent something else");
	}
	if (r >= 0 && adopt_answer(a, m->seq, 0, "", e) < 0)
		r = e->code;
	channel_msg_done(&cm);
	return r;
}

static int adopt_receive(struct adopt *a, struct err *e)
{
	int r;

	do
		r = adopt_receive_one(a, e);
	while (r > 0);
	/* From here on it is the loop's. */
	if (r == 0 && fcntl(channel_fd(a->channel), F_SETFL, O_NONBLOCK) < 0)
		r = err_errno(e, "cannot prepare the keeper's channel");
	return r;
}

static int adopt_ask(struct adopt *a, struct control_conn *conn, struct err *e)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__AdoptRequest m = BULKHEAD__ADOPT_REQUEST__INIT;
	struct timeval tv = {.tv_sec = ADOPT_TIMEOUT_S};
	int pair[2], r;

	if (!conn->orphaned)
		return err_set(e, -EEXIST,
			       "its broker is alive: there is nothing to take "
			       "over");
	r = channel_pair(pair, e);
	if (r < 0)
		return r;
	auto_fd ours = pair[0];
	auto_fd theirs = pair[1];

	if (setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
		return err_errno(e, "cannot set a time limit");
	r = channel_new(ours, &channel_format_keeper, true, &a->channel, e);
	if (r < 0)
		return r;
	take_fd(&ours);
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_ADOPT;
	body.adopt = &m;
	r = control_ask_fds(conn, &body, &theirs, 1, NULL, e);
	theirs = fd_close(theirs);
	return r < 0 ? r : adopt_receive(a, e);
}

static int adopt_connect(struct adopt *a, struct err *e)
{
	struct control_conn conn;
	int fd = rundir_connect(a->name, e);
	int r = fd < 0 ? fd : control_open(&conn, fd, e);

	if (r < 0)
		return r;
	r = adopt_ask(a, &conn, e);
	control_close(&conn);
	return r;
}

/* ---- into a family ---- */

static struct store_entry *adopt_find(struct adopt *a, const char *key)
{
	for (unsigned int i = 0; i < a->store.num; i++)
		if (!strcmp(a->store.entries[i].key, key))
			return &a->store.entries[i];
	return NULL;
}

/* Return: the message, to be freed, or NULL with @e */
static void *adopt_unpack(struct adopt *a, const char *key,
			  const ProtobufCMessageDescriptor *d,
			  struct store_entry **ret, struct err *e)
{
	struct store_entry *en = adopt_find(a, key);
	void *m = en ? protobuf_c_message_unpack(d, NULL, en->len, en->data)
		     : NULL;

	if (!m)
		err_set(e, -EBADMSG,
			"what the keeper has of \"%s\" makes no "
			"sense",
			key);
	*ret = en;
	return m;
}

static int adopt_bad(const char *key, struct err *e)
{
	return err_set(e, -EBADMSG,
		       "\"%s\" of the keeper lacks descriptors or fields", key);
}

static unsigned int adopt_process_fds(const Bulkhead__KeptProcess *m)
{
	return m ? 2 + (unsigned int)m->has_channel : 0;
}

static int adopt_port(struct adopt *a, const char *key, struct opened *o,
		      struct err *e)
{
	Bulkhead__KeptBackend *m;
	struct store_entry *en;
	int r;

	if (!adopt_find(a, key))
		return 0;
	m = adopt_unpack(a, key, &bulkhead__kept_backend__descriptor, &en, e);
	if (!m)
		return e->code;
	r = opened_adopt(o, m, en->fds, en->num_fds, e);
	bulkhead__kept_backend__free_unpacked(m, NULL);
	return r < 0 ? r : 0;
}

static int adopt_fill_session(struct session *s, const Bulkhead__KeptDevice *m,
			      struct store_entry *en, struct err *e)
{
	unsigned int process = adopt_process_fds(m->process);
	unsigned int fence = m->has_fence ? 1 : 0;
	unsigned int client = m->has_client ? 1 : 0;
	int r, n, none = -1, *fds;

	if (!m->backend || !m->info || session_info_take(&s->info, m->info) < 0)
		return adopt_bad(en->key, e);
	n = opened_adopt(&s->opened, m->backend, en->fds, en->num_fds, e);
	if (n < 0)
		return n;
	if ((unsigned int)n + process + fence + 1 + client != en->num_fds)
		return adopt_bad(en->key, e);
	fds = en->fds + n;
	r = session_adopt_proc(s, m->process, fds,
			       fence ? &fds[process] : &none, e);
	if (r < 0)
		return r;
	fds += process + fence;
	r = session_inflight_adopt(s, &fds[0], m->inflight_stride, e);
	if (r < 0)
		return r;
	if (client)
		s->client_fd = take_fd(&fds[1]);
	s->restarts = m->restarts;
	s->upgrades = m->upgrades;
	s->last_gap_us = m->last_gap_us;
	snprintf(s->last_reason, sizeof(s->last_reason), "%s", m->last_reason);
	return 0;
}

static int adopt_session(struct adopt *a, struct session *s, struct err *e)
{
	Bulkhead__KeptDevice *m;
	struct store_entry *en;
	char key[32];
	int r;

	snprintf(key, sizeof(key), "device.%u", s->index);
	m = adopt_unpack(a, key, &bulkhead__kept_device__descriptor, &en, e);
	if (!m)
		return e->code;
	r = adopt_fill_session(s, m, en, e);
	bulkhead__kept_device__free_unpacked(m, NULL);
	return r;
}

static int adopt_keeper(struct adopt *a, int listen_fd, struct err *e)
{
	Bulkhead__KeptProcess *m;
	struct store_entry *en;
	int r = keep_new(a->family, a->name, (int)a->vm->n_arguments,
			 a->vm->arguments, listen_fd, e);

	if (r < 0)
		return r;
	m = adopt_unpack(a, "keeper", &bulkhead__kept_process__descriptor, &en,
			 e);
	if (!m)
		return e->code;
	r = m->has_channel || en->num_fds != 2
		    ? adopt_bad(en->key, e)
		    : keep_adopt(a->family, m, en->fds, take_ptr(a->channel),
				 e);
	bulkhead__kept_process__free_unpacked(m, NULL);
	return r;
}

/* The descriptors of "vm" behind the core's. */
static int adopt_files(struct adopt *a, int *fds, struct err *e)
{
	struct family *f = a->family;
	unsigned int n = 0;

	for (; n < a->vm->num_memfds; n++)
		f->memfds[n] = take_fd(&fds[n]);
	f->num_memfds = n;
	f->kernel_fd = take_fd(&fds[n++]);
	if (a->vm->has_initramfs)
		f->initramfs_fd = take_fd(&fds[n++]);
	return control_adopt(f, a->name, &fds[n], &a->control, e);
}

static int adopt_fill(struct adopt *a, struct store_entry *en, struct err *e)
{
	struct family *f = a->family;
	const Bulkhead__KeptVm *vm = a->vm;
	int r;

	f->start_ns = vm->start_ns;
	f->running_ns = vm->running_ns;
	f->generation = vm->generation % ADOPT_GENERATION + 1;
	f->memory = take_ptr(a->vm->memory);
	r = family_open_hypervisor(f, e);
	if (r == 0)
		r = adopt_files(a, en->fds + adopt_process_fds(vm->core), e);
	if (r == 0)
		r = adopt_port(a, "serial", &f->serial, e);
	if (r == 0)
		r = adopt_port(a, "debug-console", &f->debug_console, e);
	if (r == 0)
		r = adopt_keeper(a, control_fd(a->control), e);
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		r = adopt_session(a, &f->devices[i], e);
	return r;
}

static int adopt_check(const struct adopt *a, const struct store_entry *en,
		       struct err *e)
{
	const Bulkhead__KeptVm *vm = a->vm;

	if (!vm->core || !vm->core->has_channel || !vm->memory ||
	    vm->num_memfds > FAMILY_MEMFDS_MAX ||
	    adopt_process_fds(vm->core) + vm->num_memfds + 2 +
			    (unsigned int)vm->has_initramfs !=
		    en->num_fds)
		return adopt_bad(en->key, e);
	return 0;
}

/* ---- serving ---- */

static int adopt_prepare(struct adopt *a, struct loop *loop,
			 struct store_entry *en, struct err *e)
{
	struct family *f = a->family;
	int r = run_watch_signals(loop, f, e);

	if (r < 0)
		return r;
	f->on_settled = run_on_settled;
	family_prepare(f, &a->config, loop);
	if (f->num_devices != a->vm->num_devices)
		return err_set(e, -EBADMSG, "%u devices of %u", f->num_devices,
			       a->vm->num_devices);
	r = adopt_fill(a, en, e);
	if (r == 0)
		r = narrow_broker(&f->own, e);
	return r;
}

static int adopt_serve(struct adopt *a, struct loop *loop,
		       struct store_entry *en)
{
	struct err e = {0};
	int r = adopt_prepare(a, loop, en, &e);

	if (r == 0)
		r = family_adopt(a->family, a->vm->core, en->fds, &e);
	if (r < 0) {
		/* The keeper has it all; the end of this process undoes what
		 * was done. */
		log_error("VM \"%s\": %s; it stays without broker", a->name,
			  e.text);
		return 1;
	}
	r = loop_run(loop);
	if (a->family->abandoned)
		return 1;
	control_free(a->control);
	family_close(a->family);
	return r < 0 ? 1 : r;
}

static int adopt_run(struct adopt *a, struct err *e)
{
	struct store_entry *en;
	struct loop *loop;
	int r;

	a->vm = adopt_unpack(a, "vm", &bulkhead__kept_vm__descriptor, &en, e);
	if (!a->vm)
		return e->code;
	r = adopt_check(a, en, e);
	if (r < 0)
		return r;
	if (run_parse(&a->config, (int)a->vm->n_arguments, a->vm->arguments) >=
	    0)
		return err_set(e, -EINVAL,
			       "this release does not understand the options "
			       "that the VM was started with");
	a->family = calloc(1, sizeof(*a->family));
	if (!a->family)
		return err_set(e, -ENOMEM, "no memory for a family");
	r = logfile_open(a->log_file ? a->log_file : a->config.log_file,
			 a->config.verbosity, e);
	if (r == 0)
		r = programs_open(e);
	if (r == 0)
		r = loop_new(&loop, e);
	return r < 0 ? r : adopt_serve(a, loop, en);
}

int cli_adopt(int argc, char **argv)
{
	static const struct option options[] = {
		{"log-file", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	static struct adopt a;
	struct err e = {0};
	int opt, verbosity = 0, r;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":hvV", options, NULL)) != -1) {
		switch (opt) {
		case 'v':
			verbosity++;
			break;
		case 'l':
			a.log_file = optarg;
			break;
		case 'h':
			adopt_help();
			return 0;
		case 'V':
			return cli_version();
		case ':':
			return cli_usage_error("adopt", "%s needs a value",
					       argv[optind - 1]);
		default:
			return cli_unknown_option("adopt", argv, "hvV");
		}
	}
	if (optind + 1 != argc)
		return cli_usage_error("adopt", "give the name of one VM");
	a.name = argv[optind];
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	umask(077);
	config_init(&a.config);
	a.config.verbosity = verbosity;
	r = adopt_connect(&a, &e);
	if (r == 0)
		r = adopt_run(&a, &e);
	if (r < 0) {
		fprintf(stderr, "bulkhead adopt: %s\n", e.text);
		r = 1;
	}
	return r;
}
