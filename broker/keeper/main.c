/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bulkhead-keeper: holds a second descriptor of everything that a VM's broker
 * holds, and the broker's notes, so that the VM outlives its broker and
 * another one can take over. It understands nothing of what it holds.
 *
 *   state     broker   its end
 *   EMPTY     alive    the keeper ends, and with it the VM's processes
 *   HOLDING   alive    -> ORPHAN
 *   ORPHAN    dead     the keeper answers at the VM's socket: `bulkhead adopt`
 *                      makes its sender the broker -> HANDING; `bulkhead stop`
 *                      or the core's end ends the keeper
 *   HANDING   new      everything is sent to it, piece by piece -> HOLDING;
 *                      if it dies -> ORPHAN, nothing is lost
 *
 * HOLDING starts with Hold, and ends with Forget (-> EMPTY).
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/keeper/store.h"
#include "common/base/cleanup.h"
#include "common/base/image.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/channel/channel.h"
#include "common/channel/loop.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "proto/control.pb-c.h"
#include "proto/keeper.pb-c.h"

/* Three channels at a time (512 KiB each), what is kept, watches. Pages that
 * nobody touches cost nothing. */
#define KEEPER_HEAP (4u << 20)
#define PROGRAM	    "bulkhead-keeper"

SECCOMP_PROFILE(keeper);

enum keeper_state {
	KEEPER_EMPTY,
	KEEPER_HOLDING,
	KEEPER_ORPHAN,
	KEEPER_HANDING
};

struct keeper {
	enum keeper_state state;
	struct loop *loop;
	struct sandbox_report report;
	struct store store;

	struct channel *broker; /* NULL = dead */
	struct loop_watch *w_broker;
	uint32_t next_seq;
	uint32_t awaited; /* HANDING: the answer that lets us go on */
	unsigned int handed;

	int core_pidfd;
	struct loop_watch *w_core;

	int listen_fd;
	struct loop_watch *w_listen; /* paused while there is a broker */
	struct channel *client;	     /* one command at a time */
	struct loop_watch *w_client;
	uint32_t client_seq;
	bool client_greeted;
};

static struct keeper keeper = {.core_pidfd = -1, .listen_fd = -1};

/* ---- the end, and the broker's end ---- */

/* What it held is closed with it: the VM's processes see their channels' ends.
 */
static _Noreturn void keeper_end(int status)
{
	_exit(status);
}

static void keeper_drop_client(struct keeper *k)
{
	loop_watch_free(k->w_client);
	k->w_client = NULL;
	channel_free(k->client);
	k->client = NULL;
	if (k->state == KEEPER_ORPHAN)
		loop_set_events(k->w_listen, LOOP_READ);
}

static void keeper_lose_broker(struct keeper *k)
{
	loop_watch_free(k->w_broker);
	k->w_broker = NULL;
	channel_free(k->broker);
	k->broker = NULL;
	if (k->state == KEEPER_EMPTY)
		keeper_end(0);
	k->state = KEEPER_ORPHAN;
	loop_set_events(k->w_core, LOOP_READ);
	loop_set_events(k->w_listen, LOOP_READ);
}

/* ---- to the broker ---- */

static int keeper_send(struct keeper *k, uint32_t answers, int code,
		       const char *text, Bulkhead__KeeperBody *body,
		       const int *fds, unsigned int num_fds)
{
	Bulkhead__KeeperMessage m = BULKHEAD__KEEPER_MESSAGE__INIT;
	Bulkhead__Status status;
	struct err e = {0};
	int r;

	bulkhead__status__init(&status);
	status.code = code;
	status.text = (char *)(uintptr_t)text;
	m.seq = ++k->next_seq;
	m.answers = answers;
	m.status = answers ? &status : NULL;
	m.body = body;
	r = channel_send(k->broker, &m.base, fds, num_fds, &e);
	if (r < 0)
		log_error("the broker can't be reached: %s", e.text);
	return r;
}

/* The next piece, once the one before has arrived. */
static int keeper_hand_next(struct keeper *k)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__Keep keep = BULKHEAD__KEEP__INIT;
	Bulkhead__Kept kept = BULKHEAD__KEPT__INIT;
	struct store_entry *en = &k->store.entries[k->handed];

	if (k->handed == k->store.num) {
		k->state = KEEPER_HOLDING;
		body.kind_case = BULKHEAD__KEEPER_BODY__KIND_KEPT;
		body.kept = &kept;
		return keeper_send(k, 0, 0, NULL, &body, NULL, 0);
	}
	keep.key = en->key;
	keep.data.data = en->data;
	keep.data.len = en->len;
	keep.num_fds = en->num_fds;
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_KEEP;
	body.keep = &keep;
	k->handed++;
	k->awaited = k->next_seq + 1;
	return keeper_send(k, 0, 0, NULL, &body, en->fds, en->num_fds);
}

static int keeper_on_answer(struct keeper *k, const Bulkhead__KeeperMessage *m)
{
	if (k->state != KEEPER_HANDING || m->answers != k->awaited)
		return 0; /* to Kept */
	if (m->status->code)
		return err_set(NULL, -EPROTO, "%s", m->status->text);
	return keeper_hand_next(k);
}

/* ---- from the broker ---- */

static int keeper_hello(struct keeper *k, uint32_t seq,
			const Bulkhead__Hello *h)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__HelloReply reply;

	if (h->min_version > CHANNEL_VERSION ||
	    h->max_version < CHANNEL_VERSION)
		return keeper_send(k, seq, -EPROTONOSUPPORT,
				   "no common version of the protocol", NULL,
				   NULL, 0);
	if (h->log_level <= LOG_TRACE)
		log_set_level((enum log_level)h->log_level);
	bulkhead__hello_reply__init(&reply);
	reply.version = CHANNEL_VERSION;
	reply.program = (char *)(uintptr_t)PROGRAM;
	reply.release = (char *)(uintptr_t)BULKHEAD_VERSION;
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_HELLO_REPLY;
	body.hello_reply = &reply;
	return keeper_send(k, seq, 0, "", &body, NULL, 0);
}

static void keeper_on_client(int fd, unsigned int events, void *arg);

static int keeper_setup(struct keeper *k, uint32_t seq, int *fd, struct err *e)
{
	Bulkhead__KeeperBody body = BULKHEAD__KEEPER_BODY__INIT;
	Bulkhead__KeeperReady ready = BULKHEAD__KEEPER_READY__INIT;
	Bulkhead__SandboxReport sandbox = BULKHEAD__SANDBOX_REPORT__INIT;
	char *layers[SANDBOX_MAX_NOTES], *downgrades[SANDBOX_MAX_NOTES];
	int r;

	if (k->listen_fd >= 0)
		return err_set(e, -EPROTO, "KeeperSetup: it came already");
	k->listen_fd = take_fd(fd);
	r = loop_add_fd(k->loop, k->listen_fd, 0, keeper_on_client, k,
			&k->w_listen, e);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < k->report.num_layers; i++)
		layers[i] = k->report.layers[i];
	for (unsigned int i = 0; i < k->report.num_downgrades; i++)
		downgrades[i] = k->report.downgrades[i];
	sandbox.n_layers = k->report.num_layers;
	sandbox.layers = layers;
	sandbox.n_downgrades = k->report.num_downgrades;
	sandbox.downgrades = downgrades;
	sandbox.syscalls = k->report.syscalls;
	ready.sandbox = &sandbox;
	body.kind_case = BULKHEAD__KEEPER_BODY__KIND_READY;
	body.ready = &ready;
	return keeper_send(k, seq, 0, "", &body, NULL, 0);
}

/* The guest has ended, or the core: nobody is left to be adopted. */
static void keeper_on_core_gone(int fd, unsigned int events, void *arg)
{
	struct keeper *k = arg;

	(void)fd;
	(void)events;
	if (k->state == KEEPER_ORPHAN)
		keeper_end(0);
	/* Its broker knows what to do. */
	loop_set_events(k->w_core, 0);
}

static void keeper_forget_core(struct keeper *k)
{
	loop_watch_free(k->w_core);
	k->w_core = NULL;
	k->core_pidfd = fd_close(k->core_pidfd);
}

static int keeper_hold(struct keeper *k, int *pidfd, struct err *e)
{
	if (k->listen_fd < 0)
		return err_set(e, -EPROTO, "Hold: before KeeperSetup");
	keeper_forget_core(k);
	k->core_pidfd = take_fd(pidfd);
	k->state = KEEPER_HOLDING;
	return loop_add_fd(k->loop, k->core_pidfd, 0, keeper_on_core_gone, k,
			   &k->w_core, e);
}

static int keeper_forget(struct keeper *k)
{
	keeper_forget_core(k);
	store_clear(&k->store);
	k->state = KEEPER_EMPTY;
	return 0;
}

static int keeper_carry_out(struct keeper *k, const Bulkhead__KeeperBody *b,
			    int *fds, unsigned int num_fds, struct err *e)
{
	if (k->state == KEEPER_HANDING)
		return err_set(e, -EBUSY,
			       "message %d before all was handed "
			       "over",
			       (int)b->kind_case);
	switch (b->kind_case) {
	case BULKHEAD__KEEPER_BODY__KIND_KEEP:
		return store_put(&k->store, b->keep->key, b->keep->data.data,
				 b->keep->data.len, fds, num_fds, e);
	case BULKHEAD__KEEPER_BODY__KIND_HOLD:
		return keeper_hold(k, fds, e);
	case BULKHEAD__KEEPER_BODY__KIND_FORGET:
		return keeper_forget(k);
	default:
		return err_set(e, -EPROTO, "message %d is not a broker's",
			       (int)b->kind_case);
	}
}

/*
 * @sys keeper madvise(2==MADV_DONTNEED): give back what taking all this over
 *   has touched of the program
 */
static int keeper_on_request(struct keeper *k, const Bulkhead__KeeperMessage *m,
			     struct channel_msg *cm)
{
	struct err e = {0};
	int r;

	switch (m->body->kind_case) {
	case BULKHEAD__KEEPER_BODY__KIND_HELLO:
		return keeper_hello(k, m->seq, m->body->hello);
	case BULKHEAD__KEEPER_BODY__KIND_SETUP:
		r = keeper_setup(k, m->seq, cm->fds, &e);
		break;
	default:
		r = keeper_carry_out(k, m->body, cm->fds, cm->num_fds, &e);
		if (r < 0)
			break;
		r = keeper_send(k, m->seq, 0, "", NULL, NULL, 0);
		if (m->body->kind_case == BULKHEAD__KEEPER_BODY__KIND_HOLD)
			image_forget();
		return r;
	}
	return r < 0 ? keeper_send(k, m->seq, r, e.text, NULL, NULL, 0) : 0;
}

static void keeper_on_broker(int fd, unsigned int events, void *arg)
{
	struct keeper *k = arg;
	const Bulkhead__KeeperMessage *m;
	struct channel_msg cm;
	struct err e = {0};
	int r = channel_recv(k->broker, &cm, &e);

	(void)fd;
	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 1) {
		m = (const void *)cm.msg;
		r = m->answers ? keeper_on_answer(k, m)
			       : keeper_on_request(k, m, &cm);
		channel_msg_done(&cm);
		if (r == 0)
			return;
	}
	if (e.code)
		log_error("channel to the broker: %s", e.text);
	keeper_lose_broker(k);
}

static int keeper_take_broker(struct keeper *k, int fd, struct err *e)
{
	int r = channel_new(fd, &channel_format_keeper, false, &k->broker, e);

	return r < 0 ? r
		     : loop_add_fd(k->loop, fd, LOOP_READ, keeper_on_broker, k,
				   &k->w_broker, e);
}

/* ---- commands, while there is no broker ---- */

static int client_answer(struct keeper *k, uint32_t answers, int code,
			 const char *text, Bulkhead__ControlBody *body)
{
	Bulkhead__ControlMessage m = BULKHEAD__CONTROL_MESSAGE__INIT;
	Bulkhead__Status status;

	bulkhead__status__init(&status);
	status.code = code;
	status.text = (char *)(uintptr_t)text;
	m.seq = ++k->client_seq;
	m.answers = answers;
	m.status = &status;
	m.body = body;
	return channel_send(k->client, &m.base, NULL, 0, NULL);
}

static int client_hello(struct keeper *k, uint32_t seq,
			const Bulkhead__Hello *h)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__HelloReply reply;

	if (h->min_version > CHANNEL_VERSION ||
	    h->max_version < CHANNEL_VERSION)
		return -EPROTO;
	bulkhead__hello_reply__init(&reply);
	reply.version = CHANNEL_VERSION;
	reply.program = (char *)(uintptr_t)PROGRAM;
	reply.release = (char *)(uintptr_t)BULKHEAD_VERSION;
	k->client_greeted = true;
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_HELLO_REPLY;
	body.hello_reply = &reply;
	return client_answer(k, seq, 0, "", &body);
}

/* Its sender is the broker. */
static int client_adopt(struct keeper *k, uint32_t seq, int *fd)
{
	struct err e = {0};
	int r = keeper_take_broker(k, *fd, &e);

	if (r < 0)
		return client_answer(k, seq, r, e.text, NULL);
	take_fd(fd);
	k->state = KEEPER_HANDING;
	k->handed = 0;
	r = client_answer(k, seq, 0, "", NULL);
	if (r < 0 || keeper_hand_next(k) < 0) {
		keeper_lose_broker(k);
		return -EPIPE;
	}
	return -ESHUTDOWN; /* all is said here */
}

static int client_request(struct keeper *k, const Bulkhead__ControlMessage *m,
			  int *fds)
{
	if (m->answers ||
	    (!k->client_greeted &&
	     m->body->kind_case != BULKHEAD__CONTROL_BODY__KIND_HELLO))
		return -EPROTO;
	switch (m->body->kind_case) {
	case BULKHEAD__CONTROL_BODY__KIND_HELLO:
		return client_hello(k, m->seq, m->body->hello);
	case BULKHEAD__CONTROL_BODY__KIND_ADOPT:
		return client_adopt(k, m->seq, fds);
	case BULKHEAD__CONTROL_BODY__KIND_TERMINATE:
		client_answer(k, m->seq, 0, "", NULL);
		keeper_end(0);
	default:
		return client_answer(k, m->seq, -EOWNERDEAD,
				     "its broker died; the guest runs on. "
				     "`bulkhead adopt` takes the VM over, "
				     "`bulkhead stop` ends it",
				     NULL);
	}
}

static void client_on_message(int fd, unsigned int events, void *arg)
{
	struct keeper *k = arg;
	struct channel_msg m;
	int r = channel_recv(k->client, &m, NULL);

	(void)fd;
	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 1) {
		r = client_request(k, (const void *)m.msg, m.fds);
		channel_msg_done(&m);
		if (r == 0)
			return;
	}
	keeper_drop_client(k);
}

/*
 * Who may connect is decided by the folder of the socket, mode 0700. Slot 3 is
 * left free: the next broker's channel, received, falls into it.
 *
 * @sys keeper accept4: commands, while there is no broker
 * @sys keeper fcntl(1==F_DUPFD_CLOEXEC): the same
 * @sys keeper fcntl(1==F_GETFL): channels of commands and brokers
 * @sys keeper fcntl(1==F_SETFD): the same
 * @sys keeper fcntl(1==F_SETFL): the same
 */
static void keeper_on_client(int fd, unsigned int events, void *arg)
{
	struct keeper *k = arg;
	auto_fd low = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	auto_fd client =
		low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, SANDBOX_NUM_FDS);

	(void)events;
	low = fd_close(low);
	if (client < 0)
		return;
	if (channel_new(client, &channel_format_control, false, &k->client,
			NULL) < 0)
		return;
	take_fd(&client);
	k->client_greeted = false;
	loop_set_events(k->w_listen, 0);
	if (loop_add_fd(k->loop, channel_fd(k->client), LOOP_READ,
			client_on_message, k, &k->w_client, NULL) < 0)
		keeper_drop_client(k);
}

int main(void)
{
	struct keeper *k = &keeper;
	struct err e = {0};
	int r = sandbox_start(KEEPER_HEAP, &k->report, &e);

	if (r == 0)
		r = loop_new(&k->loop, &e);
	if (r == 0)
		r = keeper_take_broker(k, SANDBOX_FD_CHANNEL, &e);
	if (r == 0)
		r = sandbox_restrict(&k->report, &e);
	if (r == 0)
		r = sandbox_lock(&seccomp_profile_keeper, &k->report, &e);
	if (r == 0)
		r = loop_run(k->loop);
	if (r < 0)
		log_error("%s", e.text);
	keeper_end(r ? 1 : 0);
}
