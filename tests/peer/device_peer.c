/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peer/device_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "common/base/inflight_layout.h"
#include "common/base/log.h"

#define PEER_PAGE 4096

static void peer_print_log(struct peer *p)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(p->log_fd, buf, sizeof(buf) - 1)) > 0) {
		buf[n] = '\0';
		fprintf(stderr, "%s: %s", p->role, buf);
	}
}

_Noreturn void peer_fail(struct peer *p, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	if (p && p->child.pid > 0) {
		siginfo_t si = {0};

		peer_print_log(p);
		if (!waitid(P_PID, (id_t)p->child.pid, &si,
			    WEXITED | WNOHANG | WNOWAIT) &&
		    si.si_pid)
			fprintf(stderr, "%s: ended, code %d status %d\n",
				p->role, si.si_code, si.si_status);
		kill(p->child.pid, SIGKILL);
	}
	exit(1);
}

static int64_t peer_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait for @fd; Return: false when @deadline (ms) is over. */
static bool peer_poll(int fd, int64_t deadline)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	for (;;) {
		int64_t left = deadline - peer_now_ms();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return true;
		if (n == 0 && left <= 0)
			return false;
	}
}

static int peer_open_program(struct peer *p)
{
	const char *bin = getenv("BULKHEAD_BIN");
	char self[PATH_MAX] = "", path[PATH_MAX + 64];
	int fd;

	if (!bin) {
		char *slash;

		if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
			peer_fail(NULL, "/proc/self/exe: %m");
		slash = strrchr(self, '/');
		*slash = '\0';
		slash = strrchr(self, '/');
		if (slash)
			snprintf(slash, sizeof(self) - (size_t)(slash - self),
				 "/bin");
		bin = self;
	}
	snprintf(path, sizeof(path), "%s/bulkhead-%s", bin, p->role);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		peer_fail(NULL, "%s: %m (set BULKHEAD_BIN)", path);
	return fd;
}

static void peer_make_memory(struct peer *p, uint64_t size)
{
	size = (size + 2 * PEER_PAGE - 1) & ~(2ULL * PEER_PAGE - 1);
	p->mem_fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->mem_fd < 0 || ftruncate(p->mem_fd, (off_t)size) < 0 ||
	    fcntl(p->mem_fd, F_ADD_SEALS,
		  F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		peer_fail(NULL, "guest memory: %m");
	p->mem.hva = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
			  MAP_SHARED, p->mem_fd, 0);
	if (p->mem.hva == MAP_FAILED)
		peer_fail(NULL, "guest memory: %m");
	p->mem.gpa = PEER_GPA;
	p->mem.size = size;
}

void peer_spawn(struct peer *p, const char *role, uint64_t mem_size)
{
	memset(p, 0, sizeof(*p));
	p->inflight_fd = p->fence_fd = -1;
	snprintf(p->role, sizeof(p->role), "%s", role);
	signal(SIGPIPE, SIG_IGN);
	peer_make_memory(p, mem_size);
	peer_respawn(p);
}

void peer_respawn(struct peer *p)
{
	const char *role = p->role;
	struct sandbox_spawn_args args = {.cgroup_fd = -1,
					  .die_with_parent = true};
	struct err e = {0};
	int pair[2], log[2];

	if (channel_pair(pair, &e) < 0)
		peer_fail(NULL, "%s", e.text);
	if (pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
		peer_fail(NULL, "pipe: %m");
	p->log_fd = log[0];
	args.manifest = sandbox_manifest_find(role);
	if (!args.manifest)
		peer_fail(NULL, "no manifest for %s", role);
	args.program_fd = peer_open_program(p);
	args.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	args.log_fd = log[1];
	args.channel_fd = pair[1];
	/* Not root outside, either. */
	args.host_uid = getuid() ? getuid() : 65534;
	args.host_gid = getuid() ? getgid() : 65534;
	if (sandbox_spawn(&args, &p->child, &e) < 0)
		peer_fail(NULL, "spawning %s: %s", role, e.text);
	fd_close(args.program_fd);
	fd_close(args.null_fd);
	fd_close(log[1]);
	fd_close(pair[1]);
	if (channel_new(pair[0], &channel_format_device, false, &p->ch, &e) < 0)
		peer_fail(p, "%s", e.text);
}

static void peer_send(struct peer *p, uint32_t answers,
		      Bulkhead__Status *status, Bulkhead__DeviceBody *body,
		      const int *fds, unsigned int num_fds)
{
	Bulkhead__DeviceMessage m;
	struct err e = {0};

	bulkhead__device_message__init(&m);
	m.seq = ++p->seq;
	m.answers = answers;
	m.status = status;
	m.body = body;
	if (channel_send(p->ch, &m.base, fds, num_fds, &e) < 0)
		peer_fail(p, "%s", e.text);
}

static void peer_event(struct peer *p, const Bulkhead__DeviceMessage *m)
{
	Bulkhead__Status ok;

	switch (m->body->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED:
		p->num_config_changed++;
		p->config_len = (uint32_t)m->body->config_changed->config.len;
		peer_check(p, p->config_len <= PEER_CONFIG_MAX);
		if (p->config_len)
			memcpy(p->config, m->body->config_changed->config.data,
			       p->config_len);
		break;
	case BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET:
		p->num_needs_reset++;
		snprintf(p->reason, sizeof(p->reason), "%s",
			 m->body->needs_reset->reason);
		break;
	case BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED:
		p->num_backend_closed++;
		snprintf(p->reason, sizeof(p->reason), "%s",
			 m->body->backend_closed->reason);
		break;
	default:
		peer_fail(p, "unexpected event, kind %d", m->body->kind_case);
	}
	bulkhead__status__init(&ok);
	peer_send(p, m->seq, &ok, NULL, NULL, 0);
}

/* Return: the next message, NULL at @deadline */
static const Bulkhead__DeviceMessage *peer_next(struct peer *p,
						int64_t deadline)
{
	struct channel_msg msg;
	struct err e = {0};
	int r;

	if (!peer_poll(channel_fd(p->ch), deadline))
		return NULL;
	r = channel_recv(p->ch, &msg, &e);
	if (r == 0)
		peer_fail(p, "the device closed its channel");
	if (r < 0)
		peer_fail(p, "receiving: %s", e.text);
	return (const void *)msg.msg;
}

bool peer_receive(struct peer *p, int ms)
{
	const Bulkhead__DeviceMessage *m = peer_next(p, peer_now_ms() + ms);

	if (!m)
		return false;
	if (m->answers)
		peer_fail(p, "answer to %u, nobody asked", m->answers);
	peer_event(p, m);
	return true;
}

int peer_request(struct peer *p, Bulkhead__DeviceBody *body, const int *fds,
		 unsigned int num_fds, const Bulkhead__DeviceBody **ret_body)
{
	int64_t deadline = peer_now_ms() + PEER_TIMEOUT_MS;
	const Bulkhead__DeviceMessage *m;
	uint32_t seq;

	peer_send(p, 0, NULL, body, fds, num_fds);
	seq = p->seq;
	for (;;) {
		m = peer_next(p, deadline);
		if (!m)
			peer_fail(p, "no answer to message kind %d",
				  body->kind_case);
		if (m->answers)
			break;
		peer_event(p, m);
	}
	if (m->answers != seq)
		peer_fail(p, "answer to %u, not %u", m->answers, seq);
	if (ret_body)
		*ret_body = m->body;
	if (m->status->code < 0)
		snprintf(p->reason, sizeof(p->reason), "%s", m->status->text);
	return m->status->code;
}

static const Bulkhead__DeviceBody *
peer_must(struct peer *p, Bulkhead__DeviceBody *body, const int *fds,
	  unsigned int num_fds, const char *what)
{
	const Bulkhead__DeviceBody *ret = NULL;
	int r = peer_request(p, body, fds, num_fds, &ret);

	if (r < 0)
		peer_fail(p, "%s: %s (%s)", what, strerror(-r), p->reason);
	return ret;
}

void peer_hello(struct peer *p)
{
	Bulkhead__DeviceBody body;
	Bulkhead__Hello hello;
	const Bulkhead__DeviceBody *r;

	bulkhead__device_body__init(&body);
	bulkhead__hello__init(&hello);
	hello.min_version = hello.max_version = 1;
	hello.log_level = LOG_INFO;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_HELLO;
	body.hello = &hello;
	r = peer_must(p, &body, NULL, 0, "Hello");
	peer_check(p, r && r->kind_case ==
				      BULKHEAD__DEVICE_BODY__KIND_HELLO_REPLY);
}

static void peer_take_report(struct peer *p, const Bulkhead__SandboxReport *s)
{
	size_t n = 0;

	p->syscalls = s->syscalls;
	for (size_t i = 0; i < s->n_layers; i++)
		n += (size_t)snprintf(p->report + n, sizeof(p->report) - n,
				      "%s ", s->layers[i]);
	for (size_t i = 0; i < s->n_downgrades; i++)
		n += (size_t)snprintf(p->report + n, sizeof(p->report) - n,
				      "(%s) ", s->downgrades[i]);
}

static const Bulkhead__DeviceBody *peer_setup_fence(struct peer *p,
						    Bulkhead__DeviceBody *body,
						    const int *fds,
						    unsigned int num_fds)
{
	const Bulkhead__DeviceBody *r;
	int all[CHANNEL_FDS_MAX], fence[2];

	if (num_fds >= CHANNEL_FDS_MAX || pipe2(fence, O_CLOEXEC) < 0)
		peer_fail(p, "fence: %m");
	memcpy(all, fds, num_fds * sizeof(fds[0]));
	all[num_fds] = fence[1];
	fd_close(p->fence_fd);
	p->fence_fd = fence[0];
	r = peer_must(p, body, all, num_fds + 1, "DeviceSetup");
	fd_close(fence[1]);
	return r;
}

void peer_setup(struct peer *p, Bulkhead__DeviceSetup *setup, const int *fds,
		unsigned int num_fds)
{
	const Bulkhead__DeviceInfo *info;
	const Bulkhead__DeviceBody *r;
	Bulkhead__DeviceBody body;

	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SETUP;
	body.setup = setup;
	if (setup->fence)
		r = peer_setup_fence(p, &body, fds, num_fds);
	else
		r = peer_must(p, &body, fds, num_fds, "DeviceSetup");
	peer_check(p, r && r->kind_case == BULKHEAD__DEVICE_BODY__KIND_INFO);
	info = r->info;
	p->features = info->features;
	p->virtio_id = info->virtio_id;
	p->num_queues = info->num_queues;
	p->max_queue_size = info->max_queue_size;
	p->config_len = (uint32_t)info->config.len;
	peer_check(p, p->config_len <= PEER_CONFIG_MAX);
	if (p->config_len)
		memcpy(p->config, info->config.data, p->config_len);
	peer_check(p, info->sandbox);
	peer_take_report(p, info->sandbox);
}

static void peer_set_mem_table(struct peer *p)
{
	Bulkhead__MemTable table;
	Bulkhead__MemRegion regions[2], *list[2] = {&regions[0], &regions[1]};
	Bulkhead__DeviceBody body;

	for (unsigned int i = 0; i < 2; i++) {
		bulkhead__mem_region__init(&regions[i]);
		regions[i].size = p->mem.size / 2;
		regions[i].offset = i * (p->mem.size / 2);
		regions[i].gpa = p->mem.gpa + regions[i].offset;
	}
	bulkhead__mem_table__init(&table);
	table.regions = list;
	table.n_regions = 2;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE;
	body.set_mem_table = &table;
	peer_must(p, &body, &p->mem_fd, 1, "SetMemTable");
}

void peer_negotiate(struct peer *p, uint64_t features)
{
	Bulkhead__SetFeatures m;
	Bulkhead__DeviceBody body;

	peer_set_mem_table(p);
	bulkhead__set_features__init(&m);
	m.features = features;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
	body.set_features = &m;
	peer_must(p, &body, NULL, 0, "SetFeatures");
	p->acked = features;
}

static void peer_make_inflight(struct peer *p)
{
	p->stride = inflight_stride(p->max_queue_size);
	p->inflight_len = inflight_total(p->num_queues, p->max_queue_size);
	p->inflight_fd =
		memfd_create("inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->inflight_fd < 0 ||
	    ftruncate(p->inflight_fd, (off_t)p->inflight_len) < 0 ||
	    fcntl(p->inflight_fd, F_ADD_SEALS,
		  F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		peer_fail(p, "in-flight memory: %m");
	p->inflight =
		mmap(NULL, (size_t)p->inflight_len, PROT_READ | PROT_WRITE,
		     MAP_SHARED, p->inflight_fd, 0);
	if (p->inflight == MAP_FAILED)
		peer_fail(p, "in-flight memory: %m");
}

void peer_inflight(struct peer *p)
{
	Bulkhead__SetInflight m;
	Bulkhead__DeviceBody body;

	if (p->inflight_fd < 0)
		peer_make_inflight(p);
	bulkhead__set_inflight__init(&m);
	m.num_queues = p->num_queues;
	m.max_queue_size = p->max_queue_size;
	m.stride = p->stride;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_INFLIGHT;
	body.set_inflight = &m;
	peer_must(p, &body, &p->inflight_fd, 1, "SetInflight");
}

void peer_recover(struct peer *p, const uint64_t *poison, size_t num,
		  bool careful)
{
	uint64_t copy[64];
	Bulkhead__Recover m;
	Bulkhead__DeviceBody body;

	peer_check(p, num <= 64);
	for (size_t i = 0; i < num; i++)
		copy[i] = poison[i];
	bulkhead__recover__init(&m);
	m.poison = copy;
	m.n_poison = num;
	m.careful = careful;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_RECOVER;
	body.recover = &m;
	peer_must(p, &body, NULL, 0, "Recover");
}

bool peer_ping(struct peer *p, int ms)
{
	int64_t deadline = peer_now_ms() + ms;
	const Bulkhead__DeviceMessage *m;
	Bulkhead__Ping ping;
	Bulkhead__DeviceBody body;
	uint32_t seq;

	bulkhead__ping__init(&ping);
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_PING;
	body.ping = &ping;
	peer_send(p, 0, NULL, &body, NULL, 0);
	seq = p->seq;
	while ((m = peer_next(p, deadline)) != NULL) {
		if (!m->answers) {
			peer_event(p, m);
			continue;
		}
		peer_check(p, m->answers == seq && !m->status->code);
		return true;
	}
	return false;
}

void peer_kill(struct peer *p)
{
	int64_t deadline = peer_now_ms() + PEER_TIMEOUT_MS;
	siginfo_t si = {0};

	kill(p->child.pid, SIGKILL);
	if (!peer_poll(p->child.pidfd, deadline) ||
	    waitid(P_PID, (id_t)p->child.pid, &si, WEXITED) < 0)
		peer_fail(p, "it does not die");
	/* By its own fault, before we came: that is no test of ours. */
	if (si.si_code != CLD_KILLED || si.si_status != SIGKILL)
		peer_fail(p, "it had ended already: code %d status %d",
			  si.si_code, si.si_status);
	channel_free(p->ch);
	p->ch = NULL;
	p->child.pid = 0;
	fd_close(p->child.pidfd);
	peer_print_log(p);
	fd_close(p->log_fd);
}

bool peer_fence_wait(struct peer *p, int ms)
{
	struct pollfd pfd = {.fd = p->fence_fd};

	return poll(&pfd, 1, ms) == 1 && pfd.revents & POLLHUP;
}

void peer_queue_restart(struct peer *p, struct peer_queue *q, uint32_t base)
{
	Bulkhead__StartQueue m;
	Bulkhead__DeviceBody body;
	int fds[2];

	bulkhead__start_queue__init(&m);
	m.index = q->index;
	m.size = q->ring.size;
	m.desc = q->ring.desc;
	m.driver = q->ring.driver;
	m.device = q->ring.device;
	m.ring_base = base;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
	body.start_queue = &m;
	fds[0] = q->kick_fd;
	fds[1] = q->call_fd;
	peer_must(p, &body, fds, 2, "StartQueue");
}

void peer_queue_start(struct peer *p, struct peer_queue *q, uint32_t index,
		      uint32_t size)
{
	q->index = index;
	driver_ring_init(&q->ring, &p->mem, size, p->acked);
	q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick_fd < 0 || q->call_fd < 0)
		peer_fail(p, "eventfd: %m");
	driver_ring_want_call(&q->ring, 0);
	peer_queue_restart(p, q, driver_ring_base(&q->ring));
}

uint32_t peer_queue_stop(struct peer *p, struct peer_queue *q)
{
	Bulkhead__StopQueue m;
	Bulkhead__DeviceBody body;
	const Bulkhead__DeviceBody *r;

	bulkhead__stop_queue__init(&m);
	m.index = q->index;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE;
	body.stop_queue = &m;
	r = peer_must(p, &body, NULL, 0, "StopQueue");
	peer_check(p, r && r->kind_case ==
				      BULKHEAD__DEVICE_BODY__KIND_QUEUE_STATE);
	peer_check(p, r->queue_state->index == q->index);
	return r->queue_state->ring_base;
}

void peer_reset(struct peer *p)
{
	Bulkhead__Reset m;
	Bulkhead__DeviceBody body;

	bulkhead__reset__init(&m);
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_RESET;
	body.reset = &m;
	peer_must(p, &body, NULL, 0, "Reset");
	p->acked = 0;
}

void peer_queue_forget(struct peer_queue *q)
{
	q->kick_fd = fd_close(q->kick_fd);
	q->call_fd = fd_close(q->call_fd);
}

void peer_kick(struct peer_queue *q)
{
	if (driver_ring_publish(&q->ring))
		eventfd_write(q->kick_fd, 1);
}

void peer_kick_always(struct peer_queue *q)
{
	driver_ring_publish(&q->ring);
	eventfd_write(q->kick_fd, 1);
}

bool peer_try_wait(struct peer_queue *q, int ms, uint32_t *ret_id,
		   uint32_t *ret_len)
{
	int64_t deadline = peer_now_ms() + ms;
	eventfd_t count;

	for (;;) {
		if (driver_ring_get(&q->ring, ret_id, ret_len))
			return true;
		if (driver_ring_want_call(&q->ring, 0))
			continue;
		/* Only the interrupt counts: a lost one is a failure. */
		if (!peer_poll(q->call_fd, deadline))
			return false;
		eventfd_read(q->call_fd, &count);
	}
}

void peer_wait(struct peer_queue *q, uint32_t *ret_id, uint32_t *ret_len)
{
	if (!peer_try_wait(q, PEER_TIMEOUT_MS, ret_id, ret_len))
		peer_fail(NULL, "queue %u: no completion", q->index);
}

unsigned long peer_pss(const struct peer *p)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", p->child.pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

unsigned long peer_cpu_ms(const struct peer *p)
{
	unsigned long user = 0, system = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", p->child.pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	/* Fields 14 and 15, after a name without spaces. */
	if (fscanf(f,
		   "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu "
		   "%lu",
		   &user, &system) != 2)
		user = system = 0;
	fclose(f);
	return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

int peer_end(struct peer *p)
{
	int64_t deadline = peer_now_ms() + PEER_TIMEOUT_MS;
	siginfo_t si = {0};

	channel_free(p->ch);
	p->ch = NULL;
	if (!peer_poll(p->child.pidfd, deadline))
		peer_fail(p, "the device does not end with its channel");
	if (waitid(P_PID, (id_t)p->child.pid, &si, WEXITED) < 0)
		peer_fail(p, "waitid: %m");
	peer_print_log(p);
	fd_close(p->child.pidfd);
	fd_close(p->log_fd);
	munmap(p->mem.hva, (size_t)p->mem.size);
	fd_close(p->mem_fd);
	if (p->inflight)
		munmap(p->inflight, (size_t)p->inflight_len);
	fd_close(p->inflight_fd);
	fd_close(p->fence_fd);
	return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}
