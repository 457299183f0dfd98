/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a confined program starts, how it ends, and how a start fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "tests/sandbox/check.h"

#define CHECK_PARALLEL 5
#define CHECK_TIMED    200

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

void check_speed(void)
{
	static uint64_t times[CHECK_TIMED];
	struct probe p[CHECK_PARALLEL];
	uint64_t start, begun;
	struct err e;

	for (size_t i = 0; i < CHECK_TIMED; i++) {
		start = now_us();
		if (probe_start(&p[0], &e) < 0) {
			check_fail("spawn repeatedly", "%s", e.text);
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
		if (probe_begin(&p[i], &check_manifest, false, &e) < 0)
			check_fail("begin in parallel", "%s", e.text);
	begun = now_us() - start;
	for (size_t i = 0; i < CHECK_PARALLEL; i++)
		if (sandbox_spawn_finish(&p[i].child, &e) < 0)
			check_fail("finish in parallel", "%s", e.text);
	printf("# %d at once: begun after %llu, all run after %llu us\n",
	       CHECK_PARALLEL, (unsigned long long)begun,
	       (unsigned long long)(now_us() - start));
	for (size_t i = 0; i < CHECK_PARALLEL; i++) {
		struct probe_reply r;

		if (!probe_ask(&p[i], "write", PROBE_LOCKED, 1, &r) || !r.done)
			check_fail("started in parallel", "child %zu is deaf",
				   i);
		probe_stop(&p[i]);
	}
	check_ok("many in a row, several at once");
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
void check_parent_death(const char *name, bool die_with_parent)
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

		if (probe_begin(&p, &check_manifest, die_with_parent, &e) < 0 ||
		    sandbox_spawn_finish(&p.child, &e) < 0 ||
		    send(p.channel, &req, sizeof(req), 0) < 0 ||
		    write(pair[1], &p.child.pid, sizeof(pid_t)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(pair[1]);
	if (read(pair[0], &child, sizeof(child)) != (ssize_t)sizeof(child)) {
		check_fail(name, "the broker could not start its child");
	} else {
		auto_fd pidfd = (int)syscall(SYS_pidfd_open, child, 0);
		bool before = gone_within(pidfd, 50);

		kill(broker, SIGKILL);
		check_that(name,
			   !before &&
				   gone_within(pidfd,
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

void check_end_of_channel(void)
{
	struct probe_reply r;
	struct probe p;
	struct err e;

	if (probe_start(&p, &e) < 0 || !probe_ask(&p, "lock", 0, 0, &r)) {
		check_fail("end of the channel", "cannot start");
		return;
	}
	shutdown(p.channel, SHUT_RDWR);
	check_that("end of the channel ends a locked program",
		   gone_within(p.child.pidfd, 1000), "it lives on");
	probe_stop(&p);
}

void check_no_children(const char *name)
{
	errno = 0;
	check_that(name, waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD,
		   "a child is left");
}

void check_bad_program(const char *program)
{
	struct sandbox_manifest m = check_manifest;
	int saved = check_program_fd, status;
	struct probe p;
	struct err e;
	pid_t pid;

	check_program_fd = check_null_fd;
	if (probe_begin(&p, &m, false, &e) == 0 &&
	    sandbox_spawn_finish(&p.child, &e) == 0)
		check_fail("not a program", "it was started");
	else
		check_that("not a program: the error names the step",
			   strstr(e.text, "executing the program") != NULL,
			   e.text);
	close(p.channel);
	close(p.log);
	check_program_fd = saved;
	check_no_children("not a program: nothing is left");

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (dup2(check_null_fd, 2) < 0)
			_exit(99);
		execl(program, program, NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	check_that("started by hand it refuses to run",
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

	if (dup2(check_null_fd, 901) < 0 || dup2(check_program_fd, 900) < 0)
		return 10;
	syscall(SYS_close_range, 0, 899, 0);
	/* Slots 0 to 5: null, spare, program, null, then the channel. */
	check_null_fd = dup2(901, 3);
	check_program_fd = dup2(900, 2);
	if (dup2(901, 1) < 0 || probe_start(&p, &e) < 0)
		return 11;
	if (!probe_ask(&p, "write", PROBE_LOCKED, 1, &r) || !r.done)
		return 12;
	if (geteuid() == 0 && !probe_has_downgrade(&p, "sanitizer")) {
		n = check_count_entries(p.child.pid, "fd");
		if (n != SANDBOX_NUM_FDS)
			return 20 + n;
	}
	probe_stop(&p);
	return 0;
}

void check_crossed_descriptors(void)
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
		check_ok(name);
	else
		check_fail(name, "status 0x%x", status);
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
	if (probe_begin(&p, &check_manifest, false, &e) < 0)
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
	if (!probe_has_downgrade(&p, "user namespace"))
		return 15;
	if (!probe_has_downgrade(&p, "sanitizer build") &&
	    (!probe_ask(&p, "open-root", PROBE_LOCKED, 0, &r) ||
	     r.signal != SIGSYS))
		return 16;
	if (!probe_ask(&p, "mount", PROBE_OUTER, 0, &r) || r.error != EPERM)
		return 17;
	probe_stop(&p);
	return 0;
}

void check_without_user_namespaces(bool keep_caps)
{
	const char *name = keep_caps ? "root without user namespaces goes on"
				     : "a user without user namespaces is told";
	int ready[2], go[2], status;
	char path[64], byte;
	pid_t pid;

	if (keep_caps && geteuid()) {
		check_skip(name, "not root");
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
		check_ok(name);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 9)
		check_skip(name,
			   "the host refuses a user namespace to try it in");
	else
		check_fail(name, "status 0x%x", status);
}
