/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From inside: each attempt in each stage must end the way the table says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "tests/sandbox/check.h"

#define CHECK_LANDLOCK	444  /* landlock_create_ruleset */
#define CHECK_NOT_THERE 1023 /* a system call that no kernel has */

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

void check_inside(struct probe *p)
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
				check_skip(name, why);
			else if (!probe_ask(p, x->attempt, s, x->value, &r))
				check_fail(name, "the probe does not answer");
			else if (!as_expected(x->result[s], &r))
				check_fail(name, "signal %d, %s%s", r.signal,
					   r.done ? "" : "no result, ",
					   strerrordesc_np(r.error));
			else
				check_ok(name);
		}
	}
}

/* The host listens where a process in the host's network could reach it. */
void check_host_network(struct probe *p)
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
		check_fail("host's network", "cannot listen");
		return;
	}
	check_that(
		"the host's TCP port is out of reach",
		probe_ask(p, "connect", PROBE_OUTER, ntohs(in.sin_port), &r) &&
			r.done && r.error == ENETUNREACH,
		"not ENETUNREACH");
	check_that(
		"the host's abstract socket is out of reach",
		probe_ask(p, "abstract", PROBE_OUTER, (int32_t)getpid(), &r) &&
			r.done && r.error == ECONNREFUSED,
		"not ECONNREFUSED");
	check_that("the host's processes are out of reach",
		   probe_ask(p, "kill", PROBE_OUTER, (int32_t)getpid(), &r) &&
			   r.done && r.error == ESRCH,
		   "not ESRCH");
}
