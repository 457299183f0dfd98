/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/programs.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "proto/core.pb-c.h"
#include "proto/device.pb-c.h"
#include "proto/loader.pb-c.h"

#define CHILD_REAP_MS	5000
#define CHILD_TICK_MS	1000
#define CHILD_LOG_LINES 100	    /* at once; then one a second */
#define CHILD_LOG_BYTES (64 * 1024) /* read of its log a second */

#define ENVELOPE_CHECK(type)                                                   \
	_Static_assert(sizeof(type) == sizeof(struct envelope) &&              \
			       offsetof(type, seq) ==                          \
				       offsetof(struct envelope, seq) &&       \
			       offsetof(type, answers) ==                      \
				       offsetof(struct envelope, answers) &&   \
			       offsetof(type, status) ==                       \
				       offsetof(struct envelope, status) &&    \
			       offsetof(type, body) ==                         \
				       offsetof(struct envelope, body),        \
		       #type " is no envelope")
ENVELOPE_CHECK(Bulkhead__CoreMessage);
ENVELOPE_CHECK(Bulkhead__DeviceMessage);
ENVELOPE_CHECK(Bulkhead__LoaderMessage);
ENVELOPE_CHECK(Bulkhead__KeeperMessage);

static void child_name(const struct child *c, char *buf, size_t len)
{
	if (c->id[0])
		snprintf(buf, len, "%s (%s)", c->role, c->id);
	else
		snprintf(buf, len, "%s", c->role);
}

/* A child's text is hostile: one line, printable, bounded. */
static void child_log_line(struct child *c)
{
	static const char letters[] = "EWIDT";
	enum log_level level = LOG_INFO;
	const char *text = c->log_line;
	const char *p;
	char name[96];

	c->log_line[c->log_len] = '\0';
	for (uint32_t i = 0; i < c->log_len; i++)
		if ((unsigned char)c->log_line[i] < 0x20 ||
		    (unsigned char)c->log_line[i] >= 0x7f)
			c->log_line[i] = '?';
	p = c->log_len > 2 && text[1] == ' ' ? strchr(letters, text[0]) : NULL;
	if (p && *p) {
		level = (enum log_level)(p - letters);
		text += 2;
	}
	child_name(c, name, sizeof(name));
	if (level <= log_get_level())
		log_limited(&c->log_lines, level, "%s: %s", name, text);
	c->log_len = 0;
}

void child_text(char *text)
{
	/* The default of protobuf's texts is a constant, and empty. */
	if (strnlen(text, ERR_TEXT_MAX) == ERR_TEXT_MAX)
		text[ERR_TEXT_MAX - 1] = '\0';
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			*text = '?';
		else if (*text == '"')
			*text = '\'';
	}
}

/*
 * A child that says too much is read no further until the next second: it
 * finds its pipe or channel full, and nobody else suffers.
 */
static void child_on_tick(void *arg)
{
	struct child *c = arg;

	if (c->w_log)
		loop_set_events(c->w_log, LOOP_READ);
	if (c->w_channel)
		loop_set_events(c->w_channel, LOOP_READ);
	if (c->hung_up)
		child_fail(c, "it closed its channel");
}

static bool child_arm(struct child *c)
{
	if (!c->w_tick &&
	    loop_add_timer(c->loop, child_on_tick, c, &c->w_tick, NULL) < 0)
		return false;
	loop_timer_arm(c->w_tick, CHILD_TICK_MS);
	return true;
}

static void child_spend(struct child *c, struct child_budget *b, uint32_t cost,
			uint32_t most, struct loop_watch *w)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	if (b->second != ts.tv_sec) {
		b->second = ts.tv_sec;
		b->spent = 0;
	}
	b->spent += cost;
	if (w && b->spent >= most && child_arm(c))
		loop_set_events(w, 0);
}

static void child_on_log(int fd, unsigned int events, void *arg)
{
	struct child *c = arg;
	char buf[2048];
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)events;
	if (n <= 0) {
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		loop_watch_free(c->w_log);
		c->w_log = NULL;
		return;
	}
	child_spend(c, &c->log_bytes, (uint32_t)n, CHILD_LOG_BYTES, c->w_log);
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n' || c->log_len == sizeof(c->log_line) - 1)
			child_log_line(c);
		if (buf[i] != '\n')
			c->log_line[c->log_len++] = buf[i];
	}
}

static void child_drain_log(struct child *c)
{
	/* Bounded: a pipe holds at most 64 KiB. */
	for (int i = 0; c->w_log && i < 64; i++)
		child_on_log(c->log_fd, LOOP_READ, c);
	if (c->log_len)
		child_log_line(c);
}

static void child_describe_exit(const siginfo_t *si, char *buf, size_t len)
{
	if (!si->si_pid)
		snprintf(buf, len, "ended");
	else if (si->si_code == CLD_EXITED)
		snprintf(buf, len, "exited with status %d", si->si_status);
	else if (si->si_status == SIGSYS)
		snprintf(buf, len, "killed by its seccomp filter");
	else
		snprintf(buf, len, "killed by signal %d (%s)", si->si_status,
			 sigdescr_np(si->si_status) ? sigdescr_np(si->si_status)
						    : "unknown");
}

static void child_tell_gone(struct child *c, const char *why)
{
	if (c->gone)
		return;
	c->gone = true;
	if (c->handler->gone)
		c->handler->gone(c, why);
}

static int child_take_answer(struct child *c, const struct envelope *env,
			     int *fds, struct err *e)
{
	for (unsigned int i = 0; i < CHILD_PENDING_MAX; i++) {
		child_answer_cb cb = c->pending[i].cb;

		if (c->pending[i].seq != env->answers)
			continue;
		c->pending[i].seq = 0;
		if (cb)
			cb(c, env, fds, c->pending[i].arg);
		return 0;
	}
	/* It answers a broker that died. */
	if (c->creator && env->answers < c->first_seq)
		return 0;
	return err_set(e, -EPROTO, "answer to message %u, which nobody sent",
		       env->answers);
}

static int child_take(struct child *c, struct channel_msg *m, struct err *e)
{
	const struct envelope *env = (const struct envelope *)m->msg;
	int r;

	if (env->status)
		child_text(env->status->text);
	if (env->answers)
		return child_take_answer(c, env, m->fds, e);
	r = c->handler->message(c, env, m->fds, m->num_fds, e);
	if (c->handler->messages_max)
		child_spend(c, &c->messages, 1, c->handler->messages_max,
			    c->w_channel);
	return r;
}

/* Return: false if there is nothing */
static bool child_receive(struct child *c)
{
	struct channel_msg m;
	struct err e = {0};
	int r = channel_recv(c->channel, &m, &e);

	if (r == -EAGAIN)
		return false;
	if (r == 0) {
		/* The exit status tells more than the closed channel; but one
		 * that lives on is of no use to anybody. */
		loop_watch_free(c->w_channel);
		c->w_channel = NULL;
		c->hung_up = true;
		if (!child_arm(c))
			child_fail(c, "it closed its channel");
		return false;
	}
	if (r == 1) {
		r = child_take(c, &m, &e);
		channel_msg_done(&m);
	}
	if (r < 0)
		child_fail(c, e.text);
	return true;
}

static void child_on_channel(int fd, unsigned int events, void *arg)
{
	(void)fd;
	(void)events;
	child_receive(arg);
}

static void child_on_exit(int fd, unsigned int events, void *arg)
{
	struct child *c = arg;
	siginfo_t si = {0};
	char why[sizeof(c->failure)];

	(void)events;
	/* What it said before it ended comes first; this event comes again. No
	 * end of the channel may come: it can have given its own away. */
	if (c->w_channel && child_receive(c))
		return;
	if (!c->creator &&
	    (waitid(P_PIDFD, (id_t)fd, &si, WEXITED | WNOHANG) < 0 ||
	     si.si_pid == 0))
		return;
	child_drain_log(c);
	if (c->failure[0])
		snprintf(why, sizeof(why), "%s", c->failure);
	else
		child_describe_exit(&si, why, sizeof(why));
	loop_watch_free(c->w_pid);
	c->w_pid = NULL;
	c->pid = 0;
	child_tell_gone(c, why);
}

static int child_watch_exit(struct child *c, struct err *e)
{
	return loop_add_fd(c->loop, c->pidfd, LOOP_READ, child_on_exit, c,
			   &c->w_pid, e);
}

/* Wait until the program runs, or for the step of its jail that failed. */
static int child_finish(struct child *c, struct err *e)
{
	struct sandbox_child spawned = {.pid = c->pid,
					.pidfd = c->pidfd,
					.outer = c->outer,
					.sync_fd = c->sync_fd};
	int r;

	loop_watch_free(c->w_sync);
	c->w_sync = NULL;
	r = sandbox_spawn_finish(&spawned, e);
	c->outer = spawned.outer;
	c->pidfd = spawned.pidfd;
	c->sync_fd = spawned.sync_fd;
	if (r == 0)
		return child_watch_exit(c, e);
	c->pid = 0; /* reaped */
	return r;
}

static void child_on_sync(int fd, unsigned int events, void *arg)
{
	struct child *c = arg;
	struct err e = {0};

	(void)fd;
	(void)events;
	if (child_finish(c, &e) < 0) {
		err_prefix(&e, "did not start");
		child_tell_gone(c, e.text);
	}
}

static int child_watch(struct child *c, struct err *e)
{
	int r = 0;

	if (c->channel)
		r = loop_add_fd(c->loop, channel_fd(c->channel), LOOP_READ,
				child_on_channel, c, &c->w_channel, e);
	if (r == 0 && c->creator)
		r = child_watch_exit(c, e);
	else if (r == 0)
		r = loop_add_fd(c->loop, c->sync_fd, LOOP_READ, child_on_sync,
				c, &c->w_sync, e);
	if (r == 0)
		r = loop_add_fd(c->loop, c->log_fd, LOOP_READ, child_on_log, c,
				&c->w_log, e);
	return r;
}

/*
 * As root each process has a host id of its own that no account and no other
 * running process has, made from the broker's pid (at most 22 bits).
 */
static uid_t child_host_id(unsigned int index)
{
	return 0x70000000u + (uid_t)getpid() * CHILD_IDS + index % CHILD_IDS;
}

/* For audits: the installation may change while it runs. */
static void child_note_program(struct child *c, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	c->program_dev = st.st_dev;
	c->program_ino = st.st_ino;
	c->program_size = (uint64_t)st.st_size;
}

static void child_init(struct child *c, const struct child_args *args)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->role, sizeof(c->role), "%s", args->role);
	snprintf(c->id, sizeof(c->id), "%s", args->id);
	c->pidfd = -1;
	c->sync_fd = -1;
	c->log_fd = -1;
	c->held_channel = -1;
	c->loop = args->loop;
	c->handler = args->handler;
	c->owner = args->owner;
	c->next_seq = 1;
	c->log_lines = (struct log_limit)LOG_LIMIT_INIT(CHILD_LOG_LINES);
}

int child_start(struct child *c, const struct child_args *args, struct err *e)
{
	struct sandbox_spawn_args spawn = {0};
	struct sandbox_child spawned;
	int pair[2], pipefd[2], r;

	child_init(c, args);
	r = channel_pair(pair, e);
	if (r < 0)
		return r;
	auto_fd mine = pair[0];
	auto_fd theirs = pair[1];

	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "cannot make a log pipe");
	c->log_fd = pipefd[0];
	auto_fd log_end = pipefd[1];

	spawn.manifest = sandbox_manifest_find(args->role);
	check(spawn.manifest);
	spawn.program_fd = programs_fd(args->role, args->candidate);
	spawn.null_fd = programs_null_fd();
	spawn.log_fd = log_end;
	spawn.channel_fd = theirs;
	spawn.host_uid = child_host_id(args->uid_index);
	spawn.host_gid = spawn.host_uid;
	spawn.cgroup_fd = -1;
	spawn.die_with_parent = !args->outlives;
	r = sandbox_spawn_begin(&spawn, &spawned, e);
	if (r < 0) {
		c->log_fd = fd_close(c->log_fd);
		err_prefix(e, "cannot start bulkhead-%s", args->role);
		return r;
	}
	c->pid = spawned.pid;
	c->host_uid = spawn.host_uid;
	child_note_program(c, spawn.program_fd);
	c->pidfd = spawned.pidfd;
	c->sync_fd = spawned.sync_fd;
	c->outer = spawned.outer;
	r = channel_new(mine, args->format, false, &c->channel, e);
	if (r == 0) {
		take_fd(&mine);
		r = child_watch(c, e);
	}
	if (r < 0)
		child_stop(c);
	return r;
}

static int child_put(struct child *c, const ProtobufCMessage *msg,
		     const int *fds, unsigned int num_fds, struct err *e)
{
	int r = channel_send(c->channel, msg, fds, num_fds, e);
	struct pollfd p = {.fd = channel_fd(c->channel), .events = POLLOUT};

	if (r == -EAGAIN && c->handler->room_wait_ms &&
	    poll(&p, 1, c->handler->room_wait_ms) == 1)
		r = channel_send(c->channel, msg, fds, num_fds, e);
	return r;
}

/* Its end is in the channel before it is in the pidfd, and some don't read. */
static bool child_is_lost(struct child *c, int error)
{
	if (error == -EAGAIN)
		child_fail(c, "it does not read its channel");
	return error == -EAGAIN || error == -EPIPE || error == -ECONNRESET;
}

/* Return: 0, 1 lost: the owner will be told, or negative */
static int child_send(struct child *c, uint32_t answers,
		      Bulkhead__Status *status, const ProtobufCMessage *body,
		      const int *fds, unsigned int num_fds, uint32_t *ret_seq,
		      struct err *e)
{
	/* Large enough for each envelope; they are alike (see above). */
	struct envelope env;
	int r;

	if (!c->channel || c->gone)
		return err_set(e, -EPIPE, "%s is not running", c->role);
	protobuf_c_message_init(channel_descriptor(c->channel), &env);
	env.seq = c->next_seq;
	env.answers = answers;
	env.status = status;
	env.body = (ProtobufCMessage *)(uintptr_t)body;
	r = child_put(c, &env.base, fds, num_fds, e);
	if (r < 0 && !child_is_lost(c, r))
		return r;
	if (ret_seq)
		*ret_seq = env.seq;
	if (++c->next_seq == 0)
		c->next_seq = 1;
	return r < 0;
}

int child_request(struct child *c, const ProtobufCMessage *body, const int *fds,
		  unsigned int num_fds, child_answer_cb cb, void *arg,
		  struct err *e)
{
	struct err why = {0};

	for (unsigned int i = 0; i < CHILD_PENDING_MAX; i++) {
		int r;

		if (c->pending[i].seq)
			continue;
		r = child_send(c, 0, NULL, body, fds, num_fds,
			       &c->pending[i].seq, e);
		c->pending[i].cb = cb;
		c->pending[i].arg = arg;
		/* Better than that it can't be reached: why it isn't there. */
		if (r > 0 && c->sync_fd >= 0 && child_finish(c, &why) < 0)
			return err_set(e, -EPIPE,
				       "cannot start bulkhead-%s: %s", c->role,
				       why.text);
		return r < 0 ? r : 0;
	}
	return err_set(e, -EBUSY, "%s leaves %d requests without an answer",
		       c->role, CHILD_PENDING_MAX);
}

int child_answer(struct child *c, uint32_t seq, int code, const char *text,
		 const ProtobufCMessage *body, struct err *e)
{
	Bulkhead__Status status;
	char copy[ERR_TEXT_MAX];
	int r;

	bulkhead__status__init(&status);
	snprintf(copy, sizeof(copy), "%s", text ? text : "");
	status.code = code;
	status.text = copy;
	r = child_send(c, seq, &status, body, NULL, 0, NULL, e);
	return r < 0 ? r : 0;
}

static void child_kill(struct child *c)
{
	if (c->pid && c->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
}

void child_fail(struct child *c, const char *why)
{
	if (c->failure[0] || c->gone)
		return;
	snprintf(c->failure, sizeof(c->failure), "%s", why);
	child_text(c->failure);
	loop_watch_free(c->w_channel);
	c->w_channel = NULL;
	/* Its exit tells the owner. */
	child_kill(c);
}

/* SIGKILL ends a process at once unless the kernel is in the middle of an
 * operation for it that can't be interrupted, such as a lost network disk. */
static void child_reap(struct child *c)
{
	struct pollfd pfd = {.fd = c->pidfd, .events = POLLIN};
	siginfo_t si;
	int r;

	child_kill(c);
	do
		r = poll(&pfd, 1, CHILD_REAP_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		log_error("bulkhead-%s, pid %d, does not end: it waits for the "
			  "host's storage or network",
			  c->role, c->pid);
	else if (!c->creator)
		waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED | WNOHANG);
	c->pid = 0;
}

void child_stop(struct child *c)
{
	c->gone = true;
	if (c->pid)
		child_reap(c);
	if (c->w_log)
		child_drain_log(c);
	loop_watch_free(c->w_channel);
	loop_watch_free(c->w_pid);
	loop_watch_free(c->w_log);
	loop_watch_free(c->w_sync);
	loop_watch_free(c->w_tick);
	c->w_channel = c->w_pid = c->w_log = c->w_sync = c->w_tick = NULL;
	channel_free(c->channel);
	c->channel = NULL;
	if (c->role[0]) {
		c->sync_fd = fd_close(c->sync_fd);
		c->pidfd = fd_close(c->pidfd);
		c->log_fd = fd_close(c->log_fd);
		c->held_channel = fd_close(c->held_channel);
	}
}

static void child_copy_notes(char (*dst)[SANDBOX_NOTE_MAX],
			     unsigned int *ret_num, char **src, size_t num)
{
	*ret_num = 0;
	for (size_t i = 0; i < num && i < SANDBOX_MAX_NOTES; i++) {
		char *d = dst[(*ret_num)++];

		snprintf(d, SANDBOX_NOTE_MAX, "%s", src[i]);
		for (; *d; d++)
			if ((unsigned char)*d < 0x20 ||
			    (unsigned char)*d >= 0x7f)
				*d = '?';
	}
}

static void child_take_report(struct sandbox_report *r,
			      const Bulkhead__SandboxReport *m)
{
	if (!m)
		return;
	child_copy_notes(r->layers, &r->num_layers, m->layers, m->n_layers);
	child_copy_notes(r->downgrades, &r->num_downgrades, m->downgrades,
			 m->n_downgrades);
	r->syscalls = m->syscalls;
}

void child_note_sandbox(struct child *c, const Bulkhead__SandboxReport *r)
{
	child_take_report(&c->inner, r);
}

/* ---- for another broker, and from one ---- */

static void child_keep_report(struct sandbox_report *r, char **layers,
			      char **downgrades, Bulkhead__SandboxReport *m)
{
	bulkhead__sandbox_report__init(m);
	for (unsigned int i = 0; i < r->num_layers; i++)
		layers[i] = r->layers[i];
	for (unsigned int i = 0; i < r->num_downgrades; i++)
		downgrades[i] = r->downgrades[i];
	m->layers = layers;
	m->n_layers = r->num_layers;
	m->downgrades = downgrades;
	m->n_downgrades = r->num_downgrades;
	m->syscalls = r->syscalls;
}

unsigned int child_keep(struct child *c, struct child_kept *ret, int *fds)
{
	Bulkhead__KeptProcess *m = &ret->msg;
	int channel = c->channel ? channel_fd(c->channel) : c->held_channel;
	unsigned int n = 0;

	bulkhead__kept_process__init(m);
	m->pid = c->pid;
	m->host_uid = c->host_uid;
	m->program_dev = c->program_dev;
	m->program_ino = c->program_ino;
	m->program_size = c->program_size;
	m->creator = c->creator ? c->creator : getpid();
	child_keep_report(&c->outer, ret->lists[0], ret->lists[1], &ret->outer);
	child_keep_report(&c->inner, ret->lists[2], ret->lists[3], &ret->inner);
	m->outer = &ret->outer;
	m->inner = &ret->inner;
	fds[n++] = c->pidfd;
	fds[n++] = c->log_fd;
	m->has_channel = channel >= 0;
	if (m->has_channel)
		fds[n++] = channel;
	return n;
}

int child_adopt(struct child *c, const struct child_args *args,
		const Bulkhead__KeptProcess *m, int *fds,
		struct channel *channel, struct err *e)
{
	int r;

	child_init(c, args);
	c->pid = m->pid;
	c->creator = m->creator;
	c->host_uid = m->host_uid;
	c->program_dev = m->program_dev;
	c->program_ino = m->program_ino;
	c->program_size = m->program_size;
	child_take_report(&c->outer, m->outer);
	child_take_report(&c->inner, m->inner);
	c->next_seq = c->first_seq = args->generation << 24;
	c->channel = channel;
	c->pidfd = take_fd(&fds[0]);
	c->log_fd = take_fd(&fds[1]);
	if (m->has_channel && !channel)
		c->held_channel = take_fd(&fds[2]);
	r = child_watch(c, e);
	if (r < 0) {
		c->pid = 0; /* not to be killed for our trouble */
		child_stop(c);
	}
	return r;
}
