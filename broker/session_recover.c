/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A device process is replaced: because it died, or because a newer program
 * is to serve. The replacement is started and confined like any other; when it
 * has described itself, and when the kernel has finished the dead one's I/O
 * (the fence), it is given the session's record and goes on where its
 * predecessor was. Core and guest take no part.
 *
 * There is no number of deaths after which the broker gives up. A process that
 * dies again soon is replaced after a growing pause, and a request that was
 * being served at three deaths is given to the next one as poison.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit_gate.h"
#include "broker/family.h"
#include "broker/keep.h"
#include "broker/programs.h"
#include "broker/session.h"
#include "broker/session_inflight.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

#define RECOVER_QUICK_US       5000000 /* so soon, a request may be at fault */
#define RECOVER_EARLY_US       100000  /* so soon, it costs the host too much */
#define RECOVER_START_MS       30000 /* for a replacement to describe itself */
#define RECOVER_SPARE_MS       500   /* the VM has better to do at first, */
#define RECOVER_NEXT_SPARE_MS  100   /* and its device must catch up */
#define RECOVER_SPARE_RETRY_MS 5000

static uint64_t recover_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t recover_pause_ms(const struct session *s)
{
	static const uint64_t pauses[] = {0, 10, 50, 250, 1000};
	size_t n = s->early_deaths;

	return pauses[n < ARRAY_SIZE(pauses) ? n : ARRAY_SIZE(pauses) - 1];
}

/* One line a machine can read for everything that happens to a device. */
static void recover_event(const struct session *s, const char *event,
			  const char *why)
{
	log_warn("event=%s device=%s role=%s restarts=%u gap_us=%llu "
		 "in_flight=%u reason=\"%s\"",
		 event, s->id, s->role, s->restarts,
		 (unsigned long long)s->last_gap_us, s->inflight.num_taken,
		 why);
}

/* ---- the replay ---- */

static void recover_on_replayed(struct child *c, const struct envelope *env,
				int *fds, void *arg);

/* @queue: What the message starts; NULL: something else */
static int recover_send_for(struct session *s, Bulkhead__DeviceBody *body,
			    const int *fds, unsigned int num_fds,
			    struct session_queue *queue, struct err *e)
{
	int r = child_request(&s->proc->child, &body->base, fds, num_fds,
			      recover_on_replayed, queue, e);

	if (r == 0)
		s->replaying++;
	return r;
}

static int recover_send(struct session *s, Bulkhead__DeviceBody *body,
			const int *fds, unsigned int num_fds, struct err *e)
{
	return recover_send_for(s, body, fds, num_fds, NULL, e);
}

static int recover_send_memory(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__SetInflight m = BULKHEAD__SET_INFLIGHT__INIT;
	struct family *f = s->family;
	int r;

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE;
	body.set_mem_table = f->memory;
	r = recover_send(s, &body, f->memfds, f->num_memfds, e);
	if (r < 0)
		return r;
	m.num_queues = s->info.num_queues;
	m.max_queue_size = s->info.max_queue_size;
	m.stride = s->inflight.stride;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_INFLIGHT;
	body.set_inflight = &m;
	return recover_send(s, &body, &s->inflight.fd, 1, e);
}

static int recover_send_recover(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Recover m = BULKHEAD__RECOVER__INIT;

	m.n_poison = s->inflight.num_poison;
	m.poison = s->inflight.poison;
	m.careful = s->quick_deaths > 0;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_RECOVER;
	body.recover = &m;
	return recover_send(s, &body, NULL, 0, e);
}

static int recover_send_config(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__ConfigWrite m = BULKHEAD__CONFIG_WRITE__INIT;
	int r = 0;

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
	body.config_write = &m;
	for (uint32_t i = 0; r == 0 && i < s->info.config_len; i++) {
		if (!s->record.config_written[i])
			continue;
		m.offset = i;
		m.data.data = &s->record.config[i];
		m.data.len = 1;
		r = recover_send(s, &body, NULL, 0, e);
	}
	return r;
}

static int recover_send_queues(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__StartQueue m = BULKHEAD__START_QUEUE__INIT;
	int r = 0;

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
	body.start_queue = &m;
	for (uint32_t i = 0; r == 0 && i < s->info.num_queues; i++) {
		struct session_queue *q = &s->record.queues[i];
		const int fds[2] = {q->kick_fd, q->call_fd};

		if (!q->started)
			continue;
		m.index = i;
		m.size = q->size;
		m.desc = q->desc;
		m.driver = q->driver;
		m.device = q->device;
		m.ring_base = q->ring_base;
		r = recover_send_for(s, &body, fds, 2, q, e);
	}
	return r;
}

static bool recover_any_queue(const struct session *s)
{
	for (uint32_t i = 0; i < s->info.num_queues; i++)
		if (s->record.queues[i].started)
			return true;
	return false;
}

static int recover_replay(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__SetFeatures m = BULKHEAD__SET_FEATURES__INIT;
	bool running = recover_any_queue(s);
	int r = 0;

	s->replaying = 0;
	/* Another broker must know of it before it does anything. */
	keep_device(s);
	r = recover_send_memory(s, e);
	if (r == 0 && running)
		r = recover_send_recover(s, e);
	if (r == 0 && s->record.has_features) {
		m.features = s->record.features;
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
		body.set_features = &m;
		r = recover_send(s, &body, NULL, 0, e);
	}
	if (r == 0)
		r = recover_send_config(s, e);
	if (r == 0)
		r = recover_send_queues(s, e);
	return r < 0 ? r : session_client_attach(s, e);
}

static void recover_answer_owed(struct session *s)
{
	Bulkhead__Status ok;
	struct err e = {0};

	bulkhead__status__init(&ok);
	for (unsigned int i = 0; i < s->num_owed; i++)
		if (family_answer_core(s->family, s, s->owed[i], &ok, NULL,
				       &e) < 0)
			family_fail(s->family, "core: %s", e.text);
	s->num_owed = 0;
}

int session_owe(struct session *s, uint32_t core_seq)
{
	if (s->num_owed == ARRAY_SIZE(s->owed))
		return -EBUSY;
	s->owed[s->num_owed++] = core_seq;
	return 0;
}

/*
 * A queue that the driver placed where no memory is, when its device was not
 * there to refuse it: every replacement would. The driver is told instead. One
 * that a process had accepted is no fault of the driver's.
 */
static bool recover_drop_queue(struct session *s, struct session_queue *q,
			       const Bulkhead__Status *status, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__NeedsReset m = BULKHEAD__NEEDS_RESET__INIT;

	if (!q || q->accepted || s->upgrading ||
	    (status->code != -EINVAL && status->code != -EFAULT))
		return false;
	if (q->started)
		session_record_stop_queue(&s->record,
					  (uint32_t)(q - s->record.queues));
	m.reason = status->text;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET;
	body.needs_reset = &m;
	return family_device_event(s->family, s, &body, e) == 0;
}

static void recover_on_replayed(struct child *c, const struct envelope *env,
				int *fds, void *arg)
{
	struct session_proc *p = c->owner;
	struct session *s = p->session;
	struct session_queue *q = arg;
	struct err e = {0};

	(void)fds;
	if (env->status->code && !recover_drop_queue(s, q, env->status, &e)) {
		log_error("%s: the replacement refuses the record: %s", s->id,
			  env->status->text);
		child_fail(c, env->status->text);
		return;
	}
	if (env->body) {
		child_fail(c, "answer of the wrong kind");
		return;
	}
	if (q)
		q->accepted = q->started;
	if (p != s->proc || !s->replaying || --s->replaying)
		return;
	s->last_gap_us = recover_now_us() - s->down_since_us;
	recover_answer_owed(s);
	if (s->upgrading) {
		programs_accept(s->role);
		s->upgrades++;
	}
	recover_event(s,
		      s->upgrading  ? "device-upgraded"
		      : s->adopting ? "device-adopted"
				    : "device-restarted",
		      s->last_reason);
	s->upgrading = s->adopting = false;
	session_spare_soon(s);
}

/* ---- the way there ---- */

static bool recover_fence_clear(struct session *s)
{
	struct pollfd pfd = {.fd = s->fence_fd, .events = POLLIN};

	if (s->fence_fd < 0)
		return true;
	if (poll(&pfd, 1, 0) <= 0 || !(pfd.revents & POLLHUP))
		return false;
	loop_watch_free(s->w_fence);
	s->w_fence = NULL;
	s->fence_fd = fd_close(s->fence_fd);
	return true;
}

static void recover_step(struct session *s);

static void recover_on_fence(int fd, unsigned int events, void *arg)
{
	char junk[256];
	ssize_t n = read(fd, junk, sizeof(junk));

	(void)events;
	(void)n; /* nobody writes there but a process that misbehaves */
	recover_step(arg);
}

static void recover_on_retry(void *arg)
{
	struct session *s = arg;

	if (s->next && !s->next->info.valid) {
		child_fail(&s->next->child, "it does not describe itself");
		return;
	}
	s->backing_off = false;
	recover_step(s);
}

static void recover_arm(struct session *s, uint64_t ms)
{
	if (!s->w_retry && loop_add_timer(s->family->loop, recover_on_retry, s,
					  &s->w_retry, NULL) < 0) {
		family_fail(s->family, "no memory to replace device %s", s->id);
		return;
	}
	loop_timer_arm(s->w_retry, ms);
}

/* A replacement must be able to be what its predecessor was. */
static int recover_compatible(const struct session *s,
			      const struct session_info *n, struct err *e)
{
	const struct session_info *o = &s->info;

	if (n->virtio_id != o->virtio_id)
		return err_set(e, -EINVAL, "another kind of device");
	if (s->record.features & ~n->features)
		return err_set(e, -EINVAL,
			       "features %#llx in use are not offered",
			       (unsigned long long)(s->record.features &
						    ~n->features));
	if (n->num_queues < o->num_queues ||
	    n->max_queue_size < o->max_queue_size)
		return err_set(e, -EINVAL, "fewer or smaller queues");
	if (n->config_len < o->config_len)
		return err_set(e, -EINVAL, "a smaller config space");
	return 0;
}

static void recover_take_over(struct session *s)
{
	struct err e = {0};

	if (s->w_retry)
		loop_timer_disarm(s->w_retry);
	s->proc = s->next;
	s->next = NULL;
	s->state = SESSION_UP;
	s->up_since_us = recover_now_us();
	s->ping_sent_us = 0;
	s->pong_seq = 0;
	/* Without queues nothing of the dead one's notes counts. */
	if ((!recover_any_queue(s) && session_inflight_new(s, &e) < 0) ||
	    recover_replay(s, &e) < 0)
		child_fail(&s->proc->child, e.text);
}

static void recover_step(struct session *s)
{
	struct err e = {0};

	if (s->state != SESSION_WAITING || s->backing_off ||
	    (s->adopting && !s->record_known))
		return;
	if (!s->next && !s->upgrading)
		s->next = take_ptr(s->spare);
	if (!s->next && session_proc_start(s, &s->next, &e) < 0) {
		log_error("%s: %s", s->id, e.text);
		session_next_lost(s, e.text);
		return;
	}
	if (!s->next->info.valid)
		recover_arm(s, RECOVER_START_MS);
	if (!recover_fence_clear(s)) {
		if (!s->w_fence &&
		    loop_add_fd(s->family->loop, s->fence_fd, LOOP_READ,
				recover_on_fence, s, &s->w_fence, &e) < 0)
			family_fail(s->family, "%s: %s", s->id, e.text);
		return;
	}
	if (s->next->info.valid)
		recover_take_over(s);
}

/* Deaths in a row after less than @us of service each */
static void recover_count(unsigned int *deaths, const struct session *s,
			  uint64_t us)
{
	*deaths = s->down_since_us - s->up_since_us < us ? *deaths + 1 : 0;
}

/* The serving process is gone; its fence is in s->fence_fd. */
void session_lost(struct session *s, const char *why)
{
	uint64_t pause, now = recover_now_us();

	s->state = SESSION_WAITING;
	s->down_since_us = now;
	s->replaying = 0;
	s->inflight.num_taken = 0;
	if (s->upgrading && !s->next) {
		/* The newcomer died in its turn: back to the program that
		 * served before. */
		s->upgrading = false;
		recover_event(s, "upgrade-rolled-back", why);
	}
	if (!s->upgrading && !s->adopting) {
		session_inflight_note_death(s);
		recover_count(&s->quick_deaths, s, RECOVER_QUICK_US);
		recover_count(&s->early_deaths, s, RECOVER_EARLY_US);
		s->restarts++;
		recover_event(s, "device-lost", why);
	}
	pause = s->next ? 0 : recover_pause_ms(s);
	s->backing_off = pause != 0;
	if (s->backing_off)
		recover_arm(s, pause);
	else
		recover_step(s);
}

void session_next_lost(struct session *s, const char *why)
{
	if (s->state == SESSION_UP && s->adopting) {
		/* The old one hears nobody: it must go in any case. */
		recover_event(s, "replacement-failed", why);
		child_fail(&s->proc->child, "its replacement failed");
		return;
	}
	if (s->state == SESSION_UP) {
		/* An upgrade's newcomer failed: the old one just goes on. */
		s->upgrading = false;
		recover_event(s, "upgrade-refused", why);
		session_spare_soon(s);
		return;
	}
	if (s->upgrading) {
		/* The old one has gone already, but its program is there. */
		s->upgrading = false;
		recover_event(s, "upgrade-rolled-back", why);
		recover_step(s);
		return;
	}
	recover_event(s, "replacement-failed", why);
	s->early_deaths++;
	s->backing_off = true;
	recover_arm(s, recover_pause_ms(s) ? recover_pause_ms(s) : 10);
}

void session_next_described(struct session *s)
{
	struct err e = {0};
	int r = recover_compatible(s, &s->next->info, &e);

	if (r == 0)
		r = audit_gate_device(s, s->next, &e);
	if (r == -ESRCH)
		return; /* its end will be told */
	if (r < 0) {
		err_prefix(&e, "it can't take over");
		child_fail(&s->next->child, e.text);
		return;
	}
	if (s->state == SESSION_UP)
		/* All is ready: now the old one may go. */
		child_fail(&s->proc->child, s->adopting
						    ? "its broker had died"
						    : "replaced by an upgrade");
	else
		recover_step(s);
}

int session_upgrade(struct session *s, struct err *e)
{
	int r;

	if (s->state != SESSION_UP || s->next || s->adopting)
		return err_set(e, -EBUSY, "%s is being replaced already",
			       s->id);
	r = programs_look_again(s->role, e);
	if (r < 0)
		return r;
	/* It is of the old program. */
	session_proc_free(take_ptr(s->spare));
	s->upgrading = true;
	r = session_proc_start(s, &s->next, e);
	if (r < 0)
		s->upgrading = false;
	else
		recover_arm(s, RECOVER_START_MS);
	return r;
}

void session_recover_stop(struct session *s)
{
	loop_watch_free(s->w_fence);
	loop_watch_free(s->w_retry);
	loop_watch_free(s->w_spare);
	s->w_fence = s->w_retry = s->w_spare = NULL;
	s->fence_fd = fd_close(s->fence_fd);
	session_inflight_free(s);
	s->num_owed = 0;
	s->quick_deaths = s->early_deaths = 0;
	s->backing_off = s->upgrading = s->adopting = s->record_known = false;
	s->ping_sent_us = 0;
}

/*
 * A broker that died had started the process that serves, if one does. Its
 * replacement is prepared beside it, as for an upgrade.
 */
int session_adopt_start(struct session *s, struct err *e)
{
	int r;

	s->record_known = true;
	if (s->state == SESSION_WAITING) {
		recover_step(s);
		return 0;
	}
	r = session_proc_start(s, &s->next, e);
	if (r == 0)
		recover_arm(s, RECOVER_START_MS);
	return r;
}

/* ---- the spare ---- */

static void recover_on_spare(void *arg)
{
	struct session *s = arg;
	struct err e = {0};

	if (s->state != SESSION_UP || s->next || s->spare || s->adopting ||
	    s->upgrading || !family_may_recover(s->family))
		return;
	if (session_proc_start(s, &s->spare, &e) < 0)
		session_spare_lost(s, e.text);
}

static void recover_arm_spare(struct session *s, uint64_t ms)
{
	if (!s->w_spare && loop_add_timer(s->family->loop, recover_on_spare, s,
					  &s->w_spare, NULL) < 0)
		return; /* it can do without */
	loop_timer_arm(s->w_spare, ms);
}

void session_spare_soon(struct session *s)
{
	if (s->family->cfg->spares)
		recover_arm_spare(s, s->restarts || s->upgrades
					     ? RECOVER_NEXT_SPARE_MS
					     : RECOVER_SPARE_MS);
}

void session_spare_described(struct session *s)
{
	struct err e = {0};
	int r = recover_compatible(s, &s->spare->info, &e);

	if (r == 0)
		r = audit_gate_device(s, s->spare, &e);
	if (r < 0 && r != -ESRCH)
		child_fail(&s->spare->child, e.text);
	else if (s->family->on_settled)
		s->family->on_settled(s->family);
}

void session_spare_lost(struct session *s, const char *why)
{
	recover_event(s, "spare-lost", why);
	recover_arm_spare(s, RECOVER_SPARE_RETRY_MS);
}

/* ---- the first process ---- */

static void recover_on_first(struct child *c, const struct envelope *env,
			     int *fds, void *arg)
{
	struct session_proc *p = c->owner;
	struct session *s = p->session;

	(void)fds;
	(void)arg;
	if (env->status->code) {
		family_fail(s->family, "device %s: %s", s->id,
			    env->status->text);
		return;
	}
	if (!s->replaying || --s->replaying)
		return;
	s->mem_ready = true;
	s->state = SESSION_UP;
	s->pong_seq = 0;
	s->up_since_us = recover_now_us();
	family_device_memory_ready(s->family, s);
}

int session_send_memory(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__SetInflight m = BULKHEAD__SET_INFLIGHT__INIT;
	struct family *f = s->family;
	int r;

	if (!s->info.valid || !f->memory || s->replaying || s->mem_ready)
		return 0;
	r = session_inflight_new(s, e);
	if (r < 0)
		return r;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE;
	body.set_mem_table = f->memory;
	r = child_request(&s->proc->child, &body.base, f->memfds, f->num_memfds,
			  recover_on_first, NULL, e);
	s->replaying = 1;
	if (r < 0)
		return r;
	m.num_queues = s->info.num_queues;
	m.max_queue_size = s->info.max_queue_size;
	m.stride = s->inflight.stride;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_INFLIGHT;
	body.set_inflight = &m;
	s->replaying = 2;
	return child_request(&s->proc->child, &body.base, &s->inflight.fd, 1,
			     recover_on_first, NULL, e);
}

/* ---- heartbeat ---- */

static void recover_on_pong(struct child *c, const struct envelope *env,
			    int *fds, void *arg)
{
	struct session_proc *p = c->owner;
	struct session *s = p->session;

	(void)env;
	(void)fds;
	(void)arg;
	if (p != s->proc)
		return;
	s->ping_sent_us = 0;
	/* Not the one just answered: a queue's start may be a bit slower. */
	if (s->pong_seq && session_left_out(s, s->pong_seq))
		child_fail(c, "it left a request without an answer");
	s->pong_seq = s->ping_seq;
}

/*
 * Does a thread wait in the kernel for a file ('D', proc_pid_stat(5))? That is
 * the disk's fault: a successor would wait for it, too, and signals would not
 * end it.
 */
static bool recover_is_stuck(pid_t pid)
{
	char path[64], stat[256], *p;
	bool ret = false;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (!ret && dir && (d = readdir(dir))) {
		snprintf(path, sizeof(path), "%.20s/stat", d->d_name);

		auto_fd fd = openat(dirfd(dir), path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);

		if (n <= 0)
			continue;
		stat[n] = '\0';
		/* Behind the name, which may contain anything. */
		p = strrchr(stat, ')');
		ret = p && !strncmp(p, ") D", 3);
	}
	if (dir)
		closedir(dir);
	return ret;
}

static void recover_no_heartbeat(struct session *s)
{
	if (!recover_is_stuck(s->proc->child.pid)) {
		child_fail(&s->proc->child, "it hung: no heartbeat");
		return;
	}
	if (!s->stuck)
		recover_event(s, "device-waits",
			      "no heartbeat while the kernel waits for a file");
	s->stuck = true;
}

void session_heartbeat(struct session *s)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Ping ping = BULKHEAD__PING__INIT;
	uint64_t now = recover_now_us();

	if (s->state != SESSION_UP || !session_is_served(s))
		return;
	if (s->ping_sent_us) {
		if (now - s->ping_sent_us > SESSION_HUNG_MS * 1000ULL)
			recover_no_heartbeat(s);
		return;
	}
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_PING;
	body.ping = &ping;
	s->ping_seq = s->proc->child.next_seq;
	if (child_request(&s->proc->child, &body.base, NULL, 0, recover_on_pong,
			  NULL, NULL) == 0) {
		s->ping_sent_us = now;
		s->stuck = false;
	}
}
