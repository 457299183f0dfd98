/* SPDX-License-Identifier: Apache-2.0 */
/* Callers that are allowed less: root of a container with one id, hosts that
 * forbid a kind of namespaces. Both are made by a user namespace. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "tests/sandbox/check.h"

enum outcome {
	STARTS,	  /* and the report names what is missing */
	REFUSED,  /* by begin() */
	DIES_TOO, /* in the child: by finish(), or by begin() if it is quick */
};

struct host {
	const char *name;   /* of the check */
	const char *forbid; /* kind of namespaces, NULL = none */
	const char *text;   /* start of the downgrade, or part of the error */
	enum outcome outcome;
};

static bool write_to(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 &&
	       write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Root of this namespace, which has no other id: as in many containers. */
static bool map_one_id(pid_t pid)
{
	char path[64], map[32];

	snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
	if (!write_to(path, "deny"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
	if (!write_to(path, map))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)getegid());
	return write_to(path, map);
}

static int failed(int status, const struct err *e)
{
	printf("# %s\n", e->text);
	fflush(stdout);
	return status;
}

static int told(const struct host *h, const struct err *e)
{
	return strstr(e->text, h->text) ? 0 : failed(12, e);
}

static int start_there(const struct host *h)
{
	struct probe_reply r;
	struct probe p;
	char path[64];
	struct err e;

	if (h->forbid) {
		snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces",
			 h->forbid);
		if (!write_to(path, "0"))
			return 9;
	}
	if (probe_begin(&p, &check_manifest, false, &e) < 0)
		return h->outcome != STARTS ? told(h, &e) : failed(13, &e);
	if (sandbox_spawn_finish(&p.child, &e) < 0)
		return h->outcome == DIES_TOO ? told(h, &e) : failed(14, &e);
	if (h->outcome != STARTS)
		return 15;
	if (!probe_has_downgrade(&p, h->text) ||
	    !probe_has_downgrade(&p, "host id"))
		return 16;
	/* The walls that are left stand. */
	if (!probe_ask(&p, "mount", PROBE_OUTER, 0, &r) || r.error != EPERM)
		return 17;
	probe_stop(&p);
	return 0;
}

static void check_host(const struct host *h)
{
	int ready[2], go[2], status;
	char byte;
	pid_t pid;

	check(pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], "", 1) != 1 ||
		    read(go[0], &byte, 1) != 1)
			_exit(9);
		_exit(start_there(h));
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1)
		check(map_one_id(pid) && write(go[1], "", 1) == 1);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(go[0]);
	close(go[1]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		check_ok(h->name);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 9)
		check_skip(h->name, "the host refuses a user namespace");
	else
		check_fail(h->name, "status 0x%x", status);
}

void check_hosts(void)
{
	static const struct host hosts[] = {
		{"root with one id goes on", NULL, "host id", STARTS},
		{"a host that forbids ipc namespaces", "ipc", "ipc namespace",
		 STARTS},
		{"a host that forbids uts namespaces", "uts", "uts namespace",
		 STARTS},
		{"a host that forbids cgroup namespaces", "cgroup",
		 "cgroup namespace", STARTS},
		{"a host that forbids mount namespaces", "mnt",
		 "user.max_mnt_namespaces", REFUSED},
		{"a host that forbids pid namespaces", "pid",
		 "user.max_pid_namespaces", REFUSED},
		{"a host that forbids net namespaces", "net",
		 "user.max_net_namespaces", DIES_TOO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		check_host(&hosts[i]);
}
