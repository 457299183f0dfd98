/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves that the audit sees what is missing: for each mutant a victim is
 * started that lacks one wall, and the audit must fail that wall's check, by
 * name; a victim that lacks nothing must pass all of them, many times.
 *
 * usage: audit-mutants VICTIM CLEAN-RUNS
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/audit.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "tests/audit/mutants.h"
#include "tests/audit/outer.h"

#define MUTANTS_HOST_ID 0x6f000001u
#define MUTANTS_MEMORY	(1 << 20)
#define MUTANTS_WAIT_MS 5000

enum mutant_id mutant;

static const struct {
	const char *name;
	unsigned int caught;
} mutants[] = {
#define MUTANT(id, name, caught) [MUTANT_##id] = {name, caught},
#include "tests/audit/mutants_list.h"
#undef MUTANT
};

static const char *victim_path;
static char copy_path[64];
static unsigned int failures, skips;

struct victim {
	struct audit_expect x;
	struct sandbox_child child;
	int channel, log;
	int fds[VICTIM_NUM_FDS];
	pid_t helper; /* a tracer, ...; 0 = none */
};

/* ---- what it is made of ---- */

static int victim_memory(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, MUTANTS_MEMORY) < 0)
		return -1;
	if (fd >= 0 && mutant != MUTANT_FD_UNSEALED)
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
	return fd;
}

static int victim_tun(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0)
		fd = fd_close(fd);
	return fd;
}

static int victim_uring(void)
{
	char params[256] = {0};

	return (int)__real_syscall(SYS_io_uring_setup, 4L, (long)params, 0, 0,
				   0, 0);
}

static int victim_extra(void)
{
	switch (mutant) {
	case MUTANT_FD_FILE:
	case MUTANT_MAP_FILE:
		return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	case MUTANT_FD_DIRECTORY:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case MUTANT_FD_KVM:
		return open("/dev/kvm", O_RDWR | O_CLOEXEC);
	case MUTANT_FD_TUN:
		return victim_tun();
	default:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
}

/* The copy is another file than the one that is expected. */
static int victim_copy(void)
{
	mode_t mode = mutant == MUTANT_EXE_MODE ? 0777 : 0755;
	char buf[65536];
	ssize_t n;
	auto_fd in = open(victim_path, O_RDONLY | O_CLOEXEC);
	auto_fd out =
		open(copy_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

	if (in < 0 || out < 0)
		return -1;
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (__real_write(out, buf, (size_t)n) != n)
			return -1;
	if (mutant == MUTANT_EXE_OWNER &&
	    fchown(out, MUTANTS_HOST_ID, MUTANTS_HOST_ID) < 0)
		return -1;
	return fchmod(out, mode);
}

static bool victim_is_copied(void)
{
	return mutant >= MUTANT_EXE_FILE && mutant <= MUTANT_EXE_OWNER;
}

static int victim_program(struct audit_file *ret)
{
	const char *path = victim_path;
	int fd;

	if (victim_is_copied()) {
		unlink(copy_path);
		if (victim_copy() < 0)
			return -1;
		path = copy_path;
	}
	fd = open(mutant == MUTANT_EXE_FILE ? victim_path : path,
		  O_RDONLY | O_CLOEXEC);
	if (fd < 0 || audit_describe_file(fd, ret) < 0)
		return -1;
	close(fd);
	if (mutant == MUTANT_EXE_SIZE && truncate(path, (off_t)ret->size + 9))
		return -1;
	return open(path, O_PATH | O_CLOEXEC);
}

/* ---- start ---- */

static int victim_channel(int pair[2])
{
	int type = mutant == MUTANT_FD_CHANNEL ? SOCK_STREAM : SOCK_SEQPACKET;

	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair);
}

static int victim_log(int pair[2])
{
	int r = pipe2(pair, O_CLOEXEC | O_NONBLOCK);

	if (r < 0)
		return r;
	if (mutant == MUTANT_FD_LOG) {
		close(pair[1]);
		pair[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
	} else if (mutant == MUTANT_FD_LOG_READ) {
		close(pair[1]);
		pair[1] = fcntl(pair[0], F_DUPFD_CLOEXEC, 3);
	}
	return pair[1] < 0 ? -1 : 0;
}

static int victim_send(const struct victim *v)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VICTIM_NUM_FDS * sizeof(int))];
	} control;
	struct victim_request req = {.mutant = mutant};
	struct iovec iov = {.iov_base = &req, .iov_len = sizeof(req)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c;

	memset(&control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(v->fds));
	memcpy(CMSG_DATA(c), v->fds, sizeof(v->fds));
	return sendmsg(v->channel, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int victim_spawn(struct victim *v, int program, int theirs, int log_end,
			struct err *e)
{
	const char *null = mutant == MUTANT_FD_NULL ? "/dev/zero" : "/dev/null";
	auto_fd null_fd = open(null, O_RDWR | O_CLOEXEC);
	struct sandbox_spawn_args args = {
		.manifest = sandbox_manifest_find("rng"),
		.program_fd = program,
		.null_fd = null_fd,
		.log_fd = log_end,
		.channel_fd = theirs,
		.host_uid = MUTANTS_HOST_ID,
		.host_gid = MUTANTS_HOST_ID,
		.cgroup_fd = -1,
		.die_with_parent = mutant != MUTANT_PARENT,
	};

	if (mutant != MUTANT_PARENT)
		return sandbox_spawn(&args, &v->child, e);

	/* Its parent ends, and it goes to another one. */
	struct sandbox_child *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();

	if (pid == 0)
		_exit(sandbox_spawn(&args, shared, e) < 0);
	waitpid(pid, NULL, 0);
	v->child = *shared;
	v->child.pidfd = (int)__real_syscall(SYS_pidfd_open, v->child.pid, 0, 0,
					     0, 0, 0);
	munmap(shared, sizeof(*shared));
	return v->child.pidfd < 0 ? err_errno(e, "no child") : 0;
}

static void victim_expect(struct victim *v, const struct victim_reply *reply)
{
	struct audit_expect *x = &v->x;

	snprintf(x->role, sizeof(x->role), "rng");
	x->pid = v->child.pid;
	x->parent = getpid();
	x->uid = x->gid = MUTANTS_HOST_ID;
	x->privileged = true;
	audit_describe_file(v->fds[VICTIM_SOURCE], &x->backends[0]);
	if (mutant == MUTANT_FD_ACCESS)
		x->backends[0].access = O_RDONLY;
	x->num_backends = 1;
	audit_describe_file(v->fds[VICTIM_MEMORY], &x->regions[0]);
	x->num_regions = 1;
	x->queues = 1;
	x->workers = mutant == MUTANT_SECCOMP_THREAD;
	x->told[0] = v->child.outer;
	x->told[1] = reply->report;
	/* A host without the layer would have it as a downgrade. */
	if (mutant == MUTANT_NS_USER)
		x->told[0].num_downgrades = 0;
}

static int victim_start(struct victim *v, struct err *e)
{
	struct victim_reply reply;
	struct pollfd p;
	int pair[2], log[2], r;

	memset(v, 0, sizeof(*v));
	if (victim_channel(pair) < 0 || victim_log(log) < 0)
		return err_errno(e, "no channel");
	v->channel = pair[0];
	v->log = log[0];
	v->fds[VICTIM_MEMORY] = victim_memory();
	v->fds[VICTIM_SOURCE] = open(
		"/dev/urandom",
		(mutant == MUTANT_FD_ACCESS ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	v->fds[VICTIM_EXTRA] = victim_extra();
	auto_fd program = victim_program(&v->x.program);

	if (v->fds[VICTIM_EXTRA] < 0 || program < 0)
		return err_errno(e, "no descriptors");
	r = victim_spawn(v, program, pair[1], log[1], e);
	close(pair[1]);
	close(log[1]);
	if (r < 0)
		return r;
	p = (struct pollfd){.fd = v->channel, .events = POLLIN};
	if (victim_send(v) < 0 || poll(&p, 1, MUTANTS_WAIT_MS) != 1 ||
	    recv(v->channel, &reply, sizeof(reply), MSG_WAITALL) !=
		    (ssize_t)sizeof(reply))
		return err_set(e, -EPIPE, "the victim ended early");
	victim_expect(v, &reply);
	return 0;
}

static void victim_stop(struct victim *v)
{
	if (v->helper) {
		kill(v->helper, SIGKILL);
		waitpid(v->helper, NULL, 0);
	}
	for (int i = 0; i < VICTIM_NUM_FDS; i++)
		fd_close(v->fds[i]);
	fd_close(v->channel);
	fd_close(v->log);
	if (v->child.pid)
		sandbox_spawn_abandon(&v->child);
	unlink(copy_path);
}

/* ---- what is done to it afterwards ---- */

/* A helper that does something to the victim, then stays. */
static void victim_help(struct victim *v, int (*fn)(pid_t pid))
{
	int pair[2];
	char byte;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return;
	v->helper = fork();
	if (v->helper == 0) {
		if (fn(v->child.pid) == 0 && __real_write(pair[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(pair[1]);
	if (read(pair[0], &byte, 1) != 1)
		printf("# the helper failed\n");
	close(pair[0]);
}

static int help_trace(pid_t pid)
{
	return ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ? -1 : 0;
}

static int help_link(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, CLONE_NEWNET) < 0 || victim_tun() < 0 ? -1
									 : 0;
}

static void victim_after(struct victim *v)
{
	struct sched_param param = {.sched_priority = 1};
	char path[64];
	pid_t pid = v->child.pid;
	siginfo_t si;
	int fd;

	switch (mutant) {
	case MUTANT_NICE:
		setpriority(PRIO_PROCESS, (id_t)pid, -5);
		break;
	case MUTANT_REAL_TIME:
		sched_setscheduler(pid, SCHED_RR, &param);
		break;
	case MUTANT_OOM:
		snprintf(path, sizeof(path), "/proc/%d/oom_score_adj",
			 (int)pid);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || __real_write(fd, "-500", 4) != 4)
			printf("# cannot protect it\n");
		fd_close(fd);
		break;
	case MUTANT_STOPPED:
		kill(pid, SIGSTOP);
		waitid(P_PID, (id_t)pid, &si, WSTOPPED | WNOWAIT);
		break;
	case MUTANT_TRACER:
		victim_help(v, help_trace);
		break;
	case MUTANT_NS_NET_LINK:
		victim_help(v, help_link);
		break;
	default:
		break;
	}
}

/* ---- judging ---- */

static void print_failed(const struct audit_result *r)
{
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++)
		if (r->state[i] == AUDIT_FAIL)
			printf("#   %s: %s\n", audit_texts[i].name,
			       r->detail[i]);
}

static void judge(const struct audit_result *r)
{
	unsigned int caught = mutants[mutant].caught;

	if (r->state[caught] == AUDIT_FAIL) {
		printf("ok mutant: %s (%s%s)\n", mutants[mutant].name,
		       audit_texts[caught].name,
		       r->count[AUDIT_FAIL] > 1 ? " and more" : "");
		return;
	}
	failures++;
	printf("FAIL mutant: %s: not caught by %s, which is %s\n",
	       mutants[mutant].name, audit_texts[caught].name,
	       audit_state_name(r->state[caught]));
	print_failed(r);
}

static int access_oom(void)
{
	auto_fd fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char was[16];
	ssize_t n = fd < 0 ? -1 : read(fd, was, sizeof(was));

	if (n < 0 || __real_write(fd, "-500", 4) < 0)
		return -1;
	return __real_write(fd, was, (size_t)n) < 0 ? -1 : 0;
}

/* What this host does not let us do wrong. */
static const char *why_skip(void)
{
	struct sched_param param = {.sched_priority = 1};
	struct rlimit v;
	int r;

	switch (mutant) {
	case MUTANT_LIMIT_RTPRIO:
	case MUTANT_LIMIT_NICE:
		getrlimit(mutant == MUTANT_LIMIT_NICE ? RLIMIT_NICE
						      : RLIMIT_RTPRIO,
			  &v);
		return v.rlim_cur ? NULL : "the limit is 0 here anyhow";
	case MUTANT_NICE:
		r = setpriority(PRIO_PROCESS, 0, -1);
		setpriority(PRIO_PROCESS, 0, 0);
		return r < 0 ? "needs CAP_SYS_NICE" : NULL;
	case MUTANT_REAL_TIME:
		r = sched_setscheduler(0, SCHED_RR, &param);
		param.sched_priority = 0;
		sched_setscheduler(0, SCHED_OTHER, &param);
		return r < 0 ? "needs CAP_SYS_NICE" : NULL;
	case MUTANT_OOM:
		r = access_oom();
		return r < 0 ? "needs CAP_SYS_RESOURCE" : NULL;
	case MUTANT_FD_KVM:
		return access("/dev/kvm", R_OK | W_OK) < 0 ? "no /dev/kvm"
							   : NULL;
	case MUTANT_FD_TUN:
	case MUTANT_NS_NET_LINK:
		r = victim_tun();
		fd_close(r);
		return r < 0 ? "no taps here" : NULL;
	case MUTANT_FD_URING:
		r = victim_uring();
		fd_close(r);
		return r < 0 ? "no io_uring here" : NULL;
	default:
		return NULL;
	}
}

static void run_mutant(void)
{
	static struct victim v;
	static struct audit_result r;
	struct audit_ns others;
	const char *why = why_skip();
	struct err e = {0};

	if (why) {
		skips++;
		printf("skip mutant: %s: %s\n", mutants[mutant].name, why);
		return;
	}
	if (victim_start(&v, &e) < 0) {
		failures++;
		printf("FAIL mutant: %s: cannot start it: %s\n",
		       mutants[mutant].name, e.text);
		victim_stop(&v);
		return;
	}
	victim_after(&v);
	if (audit_process(&v.x, NULL, 0, &r, &e) == 0 &&
	    mutant == MUTANT_NS_SHARED) {
		others = r.ns;
		audit_process(&v.x, &others, 1, &r, &e);
	}
	if (e.code) {
		failures++;
		printf("FAIL mutant: %s: %s\n", mutants[mutant].name, e.text);
	} else {
		judge(&r);
	}
	victim_stop(&v);
}

/* One good victim: no check may fail, ever. */
static void run_clean(unsigned int runs)
{
	static struct victim v;
	static struct audit_result r;
	struct err e = {0};
	unsigned int alarms = 0;
	uint64_t spent = 0;

	mutant = MUTANT_NONE;
	if (victim_start(&v, &e) < 0) {
		failures++;
		printf("FAIL clean: cannot start it: %s\n", e.text);
		return;
	}
	for (unsigned int i = 0; i < runs; i++) {
		if (audit_process(&v.x, NULL, 0, &r, &e) < 0 ||
		    r.count[AUDIT_FAIL] || r.count[AUDIT_HIDDEN]) {
			if (!alarms++)
				print_failed(&r);
			continue;
		}
		spent += r.duration_ns;
	}
	victim_stop(&v);
	failures += alarms;
	printf("%s clean: %u of %u audits of %d checks gave a false alarm, "
	       "%.2f ms each\n",
	       alarms ? "FAIL" : "ok", alarms, runs, AUDIT_NUM_CHECKS,
	       (double)spent / 1e6 / (runs ? runs : 1));
}

static int prepare(void)
{
	const gid_t groups[] = {1, 2};
	const struct rlimit some = {.rlim_cur = 10, .rlim_max = 10};
	int tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (tty < 0 || grantpt(tty) < 0 || unlockpt(tty) < 0 ||
	    ptsname_r(tty, outer_tty, sizeof(outer_tty)) ||
	    chmod(outer_tty, 0666) < 0)
		return -1;
	__real_umask(022);
	snprintf(copy_path, sizeof(copy_path), "/tmp/audit-mutant-%d",
		 getpid());
	/* Without CAP_SYS_RESOURCE they stay 0, and their mutants are skipped.
	 */
	__real_setrlimit(RLIMIT_RTPRIO, &some);
	__real_setrlimit(RLIMIT_NICE, &some);
	return setgroups(ARRAY_SIZE(groups), groups);
}

int main(int argc, char **argv)
{
	unsigned int caught = 0, before, skipped;

	if (argc < 3) {
		fprintf(stderr, "usage: audit-mutants VICTIM CLEAN-RUNS "
				"[MUTANT-NUMBER]\n");
		return 2;
	}
	victim_path = argv[1];
	if (geteuid() != 0) {
		printf("skip audit-mutants: needs root\n");
		return 0;
	}
	if (prepare() < 0) {
		perror("audit-mutants");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	run_clean((unsigned int)atoi(argv[2]));
	for (unsigned int i = 1; i < MUTANT_NUM; i++) {
		if (argc > 3 && (unsigned int)atoi(argv[3]) != i)
			continue;
		mutant = (enum mutant_id)i;
		before = failures;
		skipped = skips;
		run_mutant();
		caught += failures == before && skips == skipped;
	}
	printf("# %u of %u mutants caught, %u skipped\n", caught,
	       MUTANT_NUM - 1, skips);
	return failures ? 1 : 0;
}
