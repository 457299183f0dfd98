/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the probe confined and proves that the walls hold: from inside, by
 * attempts that must fail in the right way at the right stage; from outside,
 * by what /proc says. One line a check: "ok", "FAIL" or "skip".
 *
 * usage: sandbox-check PROBE
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/sandbox/sandbox.h"
#include "tests/sandbox/probe.h"

#define CHECK_HOST_ID	54321 /* what the child becomes when we are root */
#define CHECK_WAIT_MS	5000
#define CHECK_PARALLEL	5
#define CHECK_TIMED	200
#define CHECK_LANDLOCK	444  /* landlock_create_ruleset */
#define CHECK_NOT_THERE 1023 /* a system call that no kernel has */

struct probe {
	struct sandbox_child child;
	int channel;
	int log;
};

static const struct sandbox_manifest manifest = {
	.program = "bulkhead-probe",
	.role = "probe",
	.rlimit_nofile = 32,
	.rlimit_fsize = 0,
	.rlimit_memlock = 65536,
	.rlimit_nproc = 8,
	.rlimit_stack = 256 * 1024,
};

static int program_fd, null_fd;
static unsigned int failures;

static void ok(const char *name)
{
	printf("ok %s\n", name);
}

static void __attribute__((format(printf, 2, 3)))
fail(const char *name, const char *fmt, ...)
{
	va_list ap;

	failures++;
	printf("FAIL %s: ", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void skip(const char *name, const char *why)
{
	printf("skip %s: %s\n", name, why);
}

static void expect(const char *name, bool cond, const char *why)
{
	if (cond)
		ok(name);
	else
		fail(name, "%s", why);
}

/* Everything of @p that begin() needs; the child's ends are closed again. */
static int probe_begin(struct probe *p, const struct sandbox_manifest *m,
		       bool die_with_parent, struct err *e)
{
	struct timeval wait = {.tv_sec = CHECK_WAIT_MS / 1000};
	int pair[2], log[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "cannot make the probe's channel");
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));

	struct sandbox_spawn_args args = {
		.manifest = m,
		.program_fd = program_fd,
		.null_fd = null_fd,
		.log_fd = log[1],
		.channel_fd = pair[1],
		.host_uid = CHECK_HOST_ID,
		.host_gid = CHECK_HOST_ID,
		.cgroup_fd = -1,
		.die_with_parent = die_with_parent,
	};

	r = sandbox_spawn_begin(&args, &p->child, e);
	close(pair[1]);
	close(log[1]);
	p->channel = pair[0];
	p->log = log[0];
	return r;
}

static int probe_start(struct probe *p, struct err *e)
{
	int r = probe_begin(p, &manifest, false, e);

	return r < 0 ? r : sandbox_spawn_finish(&p->child, e);
}

/* What the probe had to say is worth a line. */
static void probe_stop(struct probe *p)
{
	char text[ERR_TEXT_MAX + 1];
	ssize_t n = read(p->log, text, sizeof(text) - 1);

	if (n > 0)
		printf("# probe: %.*s\n", (int)n, text);
	close(p->channel);
	close(p->log);
	sandbox_spawn_abandon(&p->child);
}

static bool probe_ask(struct probe *p, const char *name, uint32_t stage,
		      int32_t value, struct probe_reply *ret)
{
	struct probe_request req = {.stage = stage, .value = value};

	memset(ret, 0, sizeof(*ret));
	snprintf(req.name, sizeof(req.name), "%s", name);
	return send(p->channel, &req, sizeof(req), MSG_NOSIGNAL) ==
		       (ssize_t)sizeof(req) &&
	       recv(p->channel, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret);
}

#define ANY_ERROR (-2) /* it must fail, how is the kernel's choice */
#define DIES	  (-3) /* killed by SIGSYS */
#define UNTRIED	  (-4) /* that stage has nothing to say about it */
#define WORKS	  0

#define EXPECT_SYSCALL(nr, outer)                                              \
	{                                                                      \
		"syscall " #nr, "syscall", SYS_##nr,                           \
		{                                                              \
			outer, UNTRIED, DIES                                   \
		}                                                              \
	}

static const struct expectation {
	const char *name;
	const char *attempt;
	int32_t value;
	int32_t result[PROBE_NUM_STAGES]; /* errno or one of the above */
} expectations[] = {
	{"open /", "open-root", 0, {EACCES, EACCES, DIES}},
	{"open /proc", "open-proc", 0, {ENOENT, ENOENT, DIES}},
	{"open ..", "open-up", 0, {ENOENT, ENOENT, DIES}},
	{"create a file", "create", 0, {ANY_ERROR, ANY_ERROR, DIES}},
	{"connect to localhost", "connect", 22, {ENETUNREACH, EACCES, DIES}},
	{"packet socket", "socket", AF_PACKET, {EPERM, EPERM, DIES}},
	{"unix socket", "socket", AF_UNIX, {UNTRIED, UNTRIED, DIES}},
	{"ptrace", "ptrace", 0, {EPERM, EPERM, DIES}},
	{"read another's memory", "read-memory", 0, {EPERM, EPERM, DIES}},
	{"kill process 2 of the host", "kill", 2, {UNTRIED, UNTRIED, DIES}},
	{"mount", "mount", 0, {EPERM, EPERM, DIES}},
	{"remount the root", "remount", 0, {EPERM, EPERM, DIES}},
	{"unshare mounts", "unshare", CLONE_NEWNS, {EPERM, EPERM, DIES}},
	{"unshare user", "unshare", CLONE_NEWUSER, {UNTRIED, UNTRIED, DIES}},
	{"chroot", "chroot", 0, {EPERM, EPERM, DIES}},
	{"become root", "setuid", 0, {ANY_ERROR, ANY_ERROR, DIES}},
	{"setgroups", "setgroups", 0, {EPERM, EPERM, DIES}},
	{"sethostname", "sethostname", 0, {EPERM, EPERM, DIES}},
	{"writable and executable memory",
	 "exec-memory",
	 0,
	 {EACCES, EACCES, DIES}},
	{"data made executable", "exec-mprotect", 0, {EACCES, EACCES, DIES}},
	{"execve", "execve", 0, {ENOENT, ENOENT, DIES}},
	{"32-bit getpid", "int80", 20, {UNTRIED, UNTRIED, DIES}},
	{"x32 getpid", "x32", SYS_getpid, {UNTRIED, UNTRIED, DIES}},
	{"x32 of an allowed call", "x32", SYS_write, {UNTRIED, UNTRIED, DIES}},
	{"unknown system call",
	 "syscall",
	 CHECK_NOT_THERE,
	 {ENOSYS, ENOSYS, DIES}},
	EXPECT_SYSCALL(bpf, ANY_ERROR),
	EXPECT_SYSCALL(perf_event_open, ANY_ERROR),
	EXPECT_SYSCALL(init_module, ANY_ERROR),
	EXPECT_SYSCALL(kexec_load, ANY_ERROR),
	EXPECT_SYSCALL(fsopen, ANY_ERROR),
	EXPECT_SYSCALL(move_mount, ANY_ERROR),
	EXPECT_SYSCALL(setns, ANY_ERROR),
	EXPECT_SYSCALL(pidfd_getfd, ANY_ERROR),
	EXPECT_SYSCALL(settimeofday, ANY_ERROR),
	EXPECT_SYSCALL(reboot, ANY_ERROR),
	EXPECT_SYSCALL(io_uring_setup, UNTRIED),
	EXPECT_SYSCALL(userfaultfd, UNTRIED),
	EXPECT_SYSCALL(keyctl, UNTRIED),
	EXPECT_SYSCALL(memfd_create, UNTRIED),
	EXPECT_SYSCALL(clone, UNTRIED),
	EXPECT_SYSCALL(clone3, UNTRIED),
	EXPECT_SYSCALL(openat2, UNTRIED),
	EXPECT_SYSCALL(sendmsg, UNTRIED),
	EXPECT_SYSCALL(brk, UNTRIED),
	{"new thread", "new-thread", 0, {WORKS, WORKS, DIES}},
	{"write", "write", 1, {WORKS, WORKS, WORKS}},
	{"fcntl F_GETFL", "fcntl", F_GETFL, {WORKS, WORKS, WORKS}},
	{"fcntl F_SETFL", "fcntl", F_SETFL, {WORKS, WORKS, DIES}},
	{"mprotect read", "mprotect", PROT_READ, {WORKS, WORKS, WORKS}},
	{"mprotect exec", "mprotect", PROT_EXEC, {EACCES, EACCES, DIES}},
	{"prepared heap", "heap", 0, {WORKS, WORKS, WORKS}},
	{"more than the heap", "big-heap", PROBE_HEAP, {WORKS, WORKS, DIES}},
	{"heap in another thread", "thread", 0, {WORKS, WORKS, WORKS}},
	{"other thread after lock-down", "thread", 1, {WORKS, WORKS, DIES}},
	{"narrower thread", "thread", 2, {UNTRIED, UNTRIED, DIES}},
	{"process beside a narrower thread",
	 "thread",
	 3,
	 {UNTRIED, UNTRIED, WORKS}},
	{"a second list for all", "lock-twice", 0, {UNTRIED, UNTRIED, DIES}},
};

static const char *const stage_names[] = {"outer", "restricted", "locked"};

static bool as_expected(int32_t want, const struct probe_reply *r)
{
	switch (want) {
	case DIES:
		return r->signal == SIGSYS && !r->done;
	case ANY_ERROR:
		return r->done && r->error > 0;
	default:
		return r->done && !r->signal && r->error == want;
	}
}

static long landlock_version(void)
{
	return syscall(CHECK_LANDLOCK, NULL, 0UL, 1U);
}

/* Layers that this kernel may lack make one expectation void. */
static const char *missing_layer(const struct probe *p,
				 const struct expectation *x, uint32_t stage)
{
	bool exec = x->result[stage] == EACCES &&
		    (!strncmp(x->attempt, "exec-m", 6) ||
		     !strcmp(x->name, "mprotect exec"));

	for (unsigned int i = 0; i < p->child.outer.num_downgrades; i++)
		if (exec && !strncmp(p->child.outer.downgrades[i], "mdwe", 4))
			return "this kernel has no MDWE";
	if (!strcmp(x->attempt, "connect") && stage == PROBE_RESTRICTED &&
	    landlock_version() < 4)
		return "this kernel's Landlock has no rules for TCP";
	return NULL;
}

static void check_attempts(struct probe *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(expectations); i++) {
		const struct expectation *x = &expectations[i];

		for (uint32_t s = 0; s < PROBE_NUM_STAGES; s++) {
			struct probe_reply r;
			const char *why;
			char name[80];

			if (x->result[s] == UNTRIED)
				continue;
			snprintf(name, sizeof(name), "%s (%s)", x->name,
				 stage_names[s]);
			why = missing_layer(p, x, s);
			if (why)
				skip(name, why);
			else if (!probe_ask(p, x->attempt, s, x->value, &r))
				fail(name, "the probe does not answer");
			else if (!as_expected(x->result[s], &r))
				fail(name, "signal %d, %s%s", r.signal,
				     r.done ? "" : "no result, ",
				     strerrordesc_np(r.error));
			else
				ok(name);
		}
	}
}

/* The host listens where a process in the host's network could reach it. */
static void check_host_network(struct probe *p)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(in);
	struct probe_reply r;
	auto_fd tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	auto_fd abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1,
			 "bulkhead-sandbox-test-%d", (int)getpid());

	if (bind(tcp, (struct sockaddr *)&in, sizeof(in)) < 0 ||
	    listen(tcp, 1) < 0 ||
	    getsockname(tcp, (struct sockaddr *)&in, &len) < 0 ||
	    bind(abstract, (struct sockaddr *)&un,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     (size_t)n)) < 0 ||
	    listen(abstract, 1) < 0) {
		fail("host's network", "cannot listen");
		return;
	}
	expect("the host's TCP port is out of reach",
	       probe_ask(p, "connect", PROBE_OUTER, ntohs(in.sin_port), &r) &&
		       r.done && r.error == ENETUNREACH,
	       "not ENETUNREACH");
	expect("the host's abstract socket is out of reach",
	       probe_ask(p, "abstract", PROBE_OUTER, (int32_t)getpid(), &r) &&
		       r.done && r.error == ECONNREFUSED,
	       "not ECONNREFUSED");
	expect("the host's processes are out of reach",
	       probe_ask(p, "kill", PROBE_OUTER, (int32_t)getpid(), &r) &&
		       r.done && r.error == ESRCH,
	       "not ESRCH");
}

static bool read_proc(pid_t pid, const char *file, char *buf, size_t size)
{
	char path[64];
	size_t len = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);

	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	while ((n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return n == 0;
}

/* Is there a line "<key>:<tab><value>" in /proc/<pid>/status? */
static void check_status(const char *status, const char *key, const char *value)
{
	char line[80], name[80];

	snprintf(line, sizeof(line), "\n%s:\t%s\n", key, value);
	snprintf(name, sizeof(name), "status %s is %s", key, value);
	expect(name, strstr(status, line) != NULL, "it is not");
}

static void check_capabilities(const char *status)
{
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff",
					   "CapBnd", "CapAmb"};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		check_status(status, sets[i], "0000000000000000");
	check_status(status, "NoNewPrivs", "1");
	check_status(status, "Seccomp", "2");
}

static int count_entries(pid_t pid, const char *folder)
{
	char path[64];
	struct dirent *d;
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, folder);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((d = readdir(dir)))
		n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
	closedir(dir);
	return n;
}

static bool has_downgrade(const struct probe *p, const char *start)
{
	const struct sandbox_report *r = &p->child.outer;

	for (unsigned int i = 0; i < r->num_downgrades; i++)
		if (!strncmp(r->downgrades[i], start, strlen(start)))
			return true;
	return false;
}

static void check_namespaces(const struct probe *p)
{
	static const char *const all[] = {"user", "mnt", "pid",	  "net",
					  "ipc",  "uts", "cgroup"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		char ours[64], theirs[64], path[64], name[64];
		ssize_t a, b;

		snprintf(name, sizeof(name), "own %s namespace", all[i]);
		if (has_downgrade(p, all[i])) {
			skip(name, "reported as missing on this host");
			continue;
		}
		snprintf(path, sizeof(path), "/proc/self/ns/%s", all[i]);
		a = readlink(path, ours, sizeof(ours));
		snprintf(path, sizeof(path), "/proc/%d/ns/%s",
			 (int)p->child.pid, all[i]);
		b = readlink(path, theirs, sizeof(theirs));
		expect(name,
		       a > 0 && b > 0 &&
			       (a != b || memcmp(ours, theirs, (size_t)a)),
		       "it is the test's or can't be read");
	}
}

static void check_ids(const struct probe *p, const char *status)
{
	unsigned int uid = geteuid() ? geteuid() : CHECK_HOST_ID;
	unsigned int gid = geteuid() ? getegid() : CHECK_HOST_ID;
	char want[64], map[256];
	unsigned int inner, outer, num;

	snprintf(want, sizeof(want), "%u\t%u\t%u\t%u", uid, uid, uid, uid);
	check_status(status, "Uid", want);
	snprintf(want, sizeof(want), "%u\t%u\t%u\t%u", gid, gid, gid, gid);
	check_status(status, "Gid", want);
	if (!geteuid())
		check_status(status, "Groups", " ");
	if (has_downgrade(p, "user namespace")) {
		skip("uid map", "no user namespaces on this host");
		return;
	}
	expect("uid map has one id, not root inside",
	       read_proc(p->child.pid, "uid_map", map, sizeof(map)) &&
		       sscanf(map, "%u %u %u", &inner, &outer, &num) == 3 &&
		       inner == SANDBOX_INNER_ID && outer == uid && num == 1 &&
		       strchr(map, '\n') == strrchr(map, '\n'),
	       "it has not");
}

static void check_root(const struct probe *p)
{
	char mounts[1024], *line_end;

	expect("one mount: an empty, read-only, sealed tmpfs",
	       read_proc(p->child.pid, "mountinfo", mounts, sizeof(mounts)) &&
		       (line_end = strchr(mounts, '\n')) && !line_end[1] &&
		       strstr(mounts, " / / ro,nosuid,nodev,noexec") &&
		       strstr(mounts, " - tmpfs ") &&
		       strstr(mounts, "mode=111"),
	       "mountinfo says something else");
	/* Others may not list it. */
	if (geteuid() == 0)
		expect("root is empty",
		       count_entries(p->child.pid, "root/") == 0, "it is not");
	else
		skip("root is empty", "only root can list it");
}

static void check_limits(const struct probe *p)
{
	static const char *const lines[] = {
		"Max core file size        0                    0 ",
		"Max file size             0                    0 ",
		"Max open files            32                   32 ",
		"Max processes             8                    8 ",
		"Max stack size            262144               262144 ",
		"Max realtime priority     0                    0 ",
		"Max msgqueue size         0                    0 ",
	};
	char limits[4096];

	if (!read_proc(p->child.pid, "limits", limits, sizeof(limits))) {
		fail("limits", "cannot read them");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char name[40];

		snprintf(name, sizeof(name), "%.25s", lines[i]);
		expect(name, strstr(limits, lines[i]) != NULL, "it differs");
	}
}

/* The files of a process that isn't dumpable belong to root. */
static bool is_dumpable(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	return stat(path, &st) < 0 || st.st_uid != 0;
}

static void check_from_outside(struct probe *p)
{
	struct probe_reply r;
	char status[4096], buf[256];

	if (!probe_ask(p, "lock", 0, 0, &r)) {
		fail("lock", "the probe does not answer");
		return;
	}
	printf("# inner: %s\n", r.text);
	expect("report counts the system calls", r.syscalls == 9,
	       "it does not");
	expect("landlock is in force or reported missing",
	       strstr(r.text, "landlock") != NULL, "neither");
	if (!read_proc(p->child.pid, "status", status, sizeof(status))) {
		fail("status", "cannot read it");
		return;
	}
	check_capabilities(status);
	check_ids(p, status);
	check_namespaces(p);
	check_root(p);
	check_limits(p);
	if (geteuid()) {
		/* They belong to root, since the child isn't dumpable. */
		skip("four descriptors", "only root can list them");
		skip("environment is empty", "only root can read it");
	} else {
		expect("four descriptors",
		       count_entries(p->child.pid, "fd") == SANDBOX_NUM_FDS,
		       "more or fewer");
		expect("environment is empty",
		       read_proc(p->child.pid, "environ", buf, sizeof(buf)) &&
			       !buf[0],
		       "it is not");
	}
	expect("not dumpable", !is_dumpable(p->child.pid), "it is");
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void check_speed(void)
{
	static uint64_t times[CHECK_TIMED];
	struct probe p[CHECK_PARALLEL];
	uint64_t start, begun;
	struct err e;

	for (size_t i = 0; i < CHECK_TIMED; i++) {
		start = now_us();
		if (probe_start(&p[0], &e) < 0) {
			fail("spawn repeatedly", "%s", e.text);
			return;
		}
		times[i] = now_us() - start;
		probe_stop(&p[0]);
	}
	qsort(times, CHECK_TIMED, sizeof(times[0]), compare_u64);
	printf("# spawn until exec: min %llu, median %llu, p90 %llu us\n",
	       (unsigned long long)times[0],
	       (unsigned long long)times[CHECK_TIMED / 2],
	       (unsigned long long)times[CHECK_TIMED * 9 / 10]);
	start = now_us();
	for (size_t i = 0; i < CHECK_PARALLEL; i++)
		if (probe_begin(&p[i], &manifest, false, &e) < 0)
			fail("begin in parallel", "%s", e.text);
	begun = now_us() - start;
	for (size_t i = 0; i < CHECK_PARALLEL; i++)
		if (sandbox_spawn_finish(&p[i].child, &e) < 0)
			fail("finish in parallel", "%s", e.text);
	printf("# %d at once: begun after %llu, all run after %llu us\n",
	       CHECK_PARALLEL, (unsigned long long)begun,
	       (unsigned long long)(now_us() - start));
	for (size_t i = 0; i < CHECK_PARALLEL; i++) {
		struct probe_reply r;

		if (!probe_ask(&p[i], "write", PROBE_LOCKED, 1, &r) || !r.done)
			fail("started in parallel", "child %zu is deaf", i);
		probe_stop(&p[i]);
	}
	ok("many in a row, several at once");
}

static bool gone_within(int pidfd, int ms)
{
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};

	return poll(&fd, 1, ms) == 1;
}

/*
 * A forked "broker" starts a probe, puts it to sleep and is killed. We keep
 * the probe's channel open, so that end of file is not what ends it.
 */
static void check_parent_death(const char *name, bool die_with_parent)
{
	int pair[2];
	pid_t broker, child = 0;
	struct probe p;
	struct err e;
	int keep[2];

	check(pipe2(pair, O_CLOEXEC) == 0 && pipe2(keep, O_CLOEXEC) == 0);
	broker = fork();
	if (broker == 0) {
		struct probe_request req = {.name = "sleep"};

		if (probe_begin(&p, &manifest, die_with_parent, &e) < 0 ||
		    sandbox_spawn_finish(&p.child, &e) < 0 ||
		    send(p.channel, &req, sizeof(req), 0) < 0 ||
		    write(pair[1], &p.child.pid, sizeof(pid_t)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(pair[1]);
	if (read(pair[0], &child, sizeof(child)) != (ssize_t)sizeof(child)) {
		fail(name, "the broker could not start its child");
	} else {
		auto_fd pidfd = (int)syscall(SYS_pidfd_open, child, 0);
		bool before = gone_within(pidfd, 50);

		kill(broker, SIGKILL);
		expect(name,
		       !before && gone_within(pidfd,
					      die_with_parent ? 1000 : 200) ==
					  die_with_parent,
		       die_with_parent ? "it lives on" : "it died");
		kill(child, SIGKILL);
	}
	close(pair[0]);
	close(keep[0]);
	close(keep[1]);
	kill(broker, SIGKILL);
	waitpid(broker, NULL, 0);
}

static void check_end_of_channel(void)
{
	struct probe_reply r;
	struct probe p;
	struct err e;

	if (probe_start(&p, &e) < 0 || !probe_ask(&p, "lock", 0, 0, &r)) {
		fail("end of the channel", "cannot start");
		return;
	}
	shutdown(p.channel, SHUT_RDWR);
	expect("end of the channel ends a locked program",
	       gone_within(p.child.pidfd, 1000), "it lives on");
	probe_stop(&p);
}

static void check_no_children(const char *name)
{
	errno = 0;
	expect(name, waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD,
	       "a child is left");
}

static void check_errors(const char *program)
{
	struct sandbox_manifest m = manifest;
	int saved = program_fd, status;
	struct probe p;
	struct err e;
	pid_t pid;

	program_fd = null_fd;
	if (probe_begin(&p, &m, false, &e) == 0 &&
	    sandbox_spawn_finish(&p.child, &e) == 0)
		fail("not a program", "it was started");
	else
		expect("not a program: the error names the step",
		       strstr(e.text, "executing the program") != NULL, e.text);
	close(p.channel);
	close(p.log);
	program_fd = saved;
	check_no_children("not a program: nothing is left");

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (dup2(null_fd, 2) < 0)
			_exit(99);
		execl(program, program, NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	expect("started by hand it refuses to run",
	       WIFEXITED(status) && WEXITSTATUS(status) == 1, "it ran");
}

/*
 * A broker whose descriptors lie in the child's slots, in the wrong order,
 * with others around them that must not be inherited.
 */
static int with_crossed_descriptors(void)
{
	struct probe_reply r;
	struct probe p;
	struct err e;
	int n;

	if (dup2(null_fd, 901) < 0 || dup2(program_fd, 900) < 0)
		return 10;
	syscall(SYS_close_range, 0, 899, 0);
	/* Slots 0 to 5: null, spare, program, null, then the channel. */
	null_fd = dup2(901, 3);
	program_fd = dup2(900, 2);
	if (dup2(901, 1) < 0 || probe_start(&p, &e) < 0)
		return 11;
	if (!probe_ask(&p, "write", PROBE_LOCKED, 1, &r) || !r.done)
		return 12;
	if (geteuid() == 0 && !has_downgrade(&p, "sanitizer")) {
		n = count_entries(p.child.pid, "fd");
		if (n != SANDBOX_NUM_FDS)
			return 20 + n;
	}
	probe_stop(&p);
	return 0;
}

static void check_crossed_descriptors(void)
{
	const char *name = "descriptors in each other's slots";
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(with_crossed_descriptors());
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		ok(name);
	else
		fail(name, "status 0x%x", status);
}

static bool write_file(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 &&
	       write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* In a user namespace of our own we may forbid further ones. */
static int without_user_namespaces(bool keep_caps)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
	struct probe_reply r;
	struct probe p;
	struct err e;

	if (!write_file("/proc/sys/user/max_user_namespaces", "0"))
		return 10;
	if (!keep_caps && syscall(SYS_capset, &head, none) < 0)
		return 11;
	if (probe_begin(&p, &manifest, false, &e) < 0)
		return !keep_caps && strstr(e.text, "sysctl") &&
				       e.code == -ENOSPC
			       ? 0
			       : 12;
	if (!keep_caps)
		return 13;
	if (sandbox_spawn_finish(&p.child, &e) < 0) {
		printf("# %s\n", e.text);
		fflush(stdout);
		return 14;
	}
	if (!has_downgrade(&p, "user namespace"))
		return 15;
	if (!has_downgrade(&p, "sanitizer build") &&
	    (!probe_ask(&p, "open-root", PROBE_LOCKED, 0, &r) ||
	     r.signal != SIGSYS))
		return 16;
	if (!probe_ask(&p, "mount", PROBE_OUTER, 0, &r) || r.error != EPERM)
		return 17;
	probe_stop(&p);
	return 0;
}

static void check_without_user_namespaces(bool keep_caps)
{
	const char *name = keep_caps ? "root without user namespaces goes on"
				     : "a user without user namespaces is told";
	int ready[2], go[2], status;
	char path[64], byte;
	pid_t pid;

	if (keep_caps && geteuid()) {
		skip(name, "not root");
		return;
	}
	check(pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], "", 1) != 1 ||
		    read(go[0], &byte, 1) != 1)
			_exit(9);
		_exit(without_user_namespaces(keep_caps));
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1 && keep_caps) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
		check(write_file(path, "0 0 4294967295"));
		snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
		check(write_file(path, "0 0 4294967295"));
	}
	check(write(go[1], "", 1) == 1);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(go[0]);
	close(go[1]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		ok(name);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 9)
		skip(name, "the host refuses a user namespace to try it in");
	else
		fail(name, "status 0x%x", status);
}

static void print_report(const struct sandbox_report *r)
{
	printf("# outer:");
	for (unsigned int i = 0; i < r->num_layers; i++)
		printf(" %s;", r->layers[i]);
	for (unsigned int i = 0; i < r->num_downgrades; i++)
		printf(" -%s;", r->downgrades[i]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct probe p;
	struct err e;

	if (argc != 2) {
		fprintf(stderr, "usage: sandbox-check PROBE\n");
		return 2;
	}
	program_fd = open(argv[1], O_PATH | O_CLOEXEC);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (program_fd < 0 || null_fd < 0) {
		perror(argv[1]);
		return 2;
	}
	if (probe_start(&p, &e) < 0) {
		printf("FAIL spawn: %s\n", e.text);
		return 1;
	}
	print_report(&p.child.outer);
	if (has_downgrade(&p, "sanitizer build")) {
		skip("attempts and /proc", "sanitizer build");
	} else {
		check_attempts(&p);
		check_host_network(&p);
		check_from_outside(&p);
	}
	probe_stop(&p);
	check_end_of_channel();
	check_parent_death("a killed parent takes its child along", true);
	check_parent_death("a child may outlive its parent", false);
	check_errors(argv[1]);
	check_crossed_descriptors();
	check_without_user_namespaces(true);
	check_without_user_namespaces(false);
	check_speed();
	check_no_children("nothing is left");
	printf("# %u failures\n", failures);
	return failures ? 1 : 0;
}
