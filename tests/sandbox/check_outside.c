/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From outside: what /proc says about a locked probe.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "tests/sandbox/check.h"

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
	check_that(name, strstr(status, line) != NULL, "it is not");
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

static void check_namespaces(const struct probe *p)
{
	static const char *const all[] = {"user", "mnt", "pid",	  "net",
					  "ipc",  "uts", "cgroup"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		char ours[64], theirs[64], path[64], name[64];
		ssize_t a, b;

		snprintf(name, sizeof(name), "own %s namespace", all[i]);
		if (probe_has_downgrade(p, all[i])) {
			check_skip(name, "reported as missing on this host");
			continue;
		}
		snprintf(path, sizeof(path), "/proc/self/ns/%s", all[i]);
		a = readlink(path, ours, sizeof(ours));
		snprintf(path, sizeof(path), "/proc/%d/ns/%s",
			 (int)p->child.pid, all[i]);
		b = readlink(path, theirs, sizeof(theirs));
		check_that(name,
			   a > 0 && b > 0 &&
				   (a != b || memcmp(ours, theirs, (size_t)a)),
			   "it is the test's or can't be read");
	}
}

static void check_ids(const struct probe *p, const char *status)
{
	bool given = sandbox_may_give_ids(CHECK_HOST_ID, CHECK_HOST_ID);
	unsigned int uid = given ? CHECK_HOST_ID : geteuid();
	unsigned int gid = given ? CHECK_HOST_ID : getegid();
	char want[64], map[256];
	unsigned int inner, outer, num;

	snprintf(want, sizeof(want), "%u\t%u\t%u\t%u", uid, uid, uid, uid);
	check_status(status, "Uid", want);
	snprintf(want, sizeof(want), "%u\t%u\t%u\t%u", gid, gid, gid, gid);
	check_status(status, "Gid", want);
	if (given)
		check_status(status, "Groups", " ");
	if (probe_has_downgrade(p, "user namespace")) {
		check_skip("uid map", "no user namespaces on this host");
		return;
	}
	check_that("uid map has one id, not root inside",
		   read_proc(p->child.pid, "uid_map", map, sizeof(map)) &&
			   sscanf(map, "%u %u %u", &inner, &outer, &num) == 3 &&
			   inner == SANDBOX_INNER_ID && outer == uid &&
			   num == 1 && strchr(map, '\n') == strrchr(map, '\n'),
		   "it has not");
}

static void check_root(const struct probe *p)
{
	char mounts[1024], *line_end;

	check_that(
		"one mount: an empty, read-only, sealed tmpfs",
		read_proc(p->child.pid, "mountinfo", mounts, sizeof(mounts)) &&
			(line_end = strchr(mounts, '\n')) && !line_end[1] &&
			strstr(mounts, " / / ro,nosuid,nodev,noexec") &&
			strstr(mounts, " - tmpfs ") &&
			strstr(mounts, "mode=111"),
		"mountinfo says something else");
	/* Others may not list it. */
	if (geteuid() == 0)
		check_that("root is empty",
			   check_count_entries(p->child.pid, "root/") == 0,
			   "it is not");
	else
		check_skip("root is empty", "only root can list it");
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
		check_fail("limits", "cannot read them");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char name[40];

		snprintf(name, sizeof(name), "%.25s", lines[i]);
		check_that(name, strstr(limits, lines[i]) != NULL,
			   "it differs");
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

void check_outside(struct probe *p)
{
	struct probe_reply r;
	char status[4096], buf[256];

	if (!probe_ask(p, "lock", 0, 0, &r)) {
		check_fail("lock", "the probe does not answer");
		return;
	}
	printf("# inner: %s\n", r.text);
	check_that("report counts the system calls", r.syscalls == 9,
		   "it does not");
	check_that("landlock is in force or reported missing",
		   strstr(r.text, "landlock") != NULL, "neither");
	if (!read_proc(p->child.pid, "status", status, sizeof(status))) {
		check_fail("status", "cannot read it");
		return;
	}
	check_capabilities(status);
	check_ids(p, status);
	check_namespaces(p);
	check_root(p);
	check_limits(p);
	if (geteuid()) {
		/* They belong to root, since the child isn't dumpable. */
		check_skip("four descriptors", "only root can list them");
		check_skip("environment is empty", "only root can read it");
	} else {
		check_that("four descriptors",
			   check_count_entries(p->child.pid, "fd") ==
				   SANDBOX_NUM_FDS,
			   "more or fewer");
		check_that(
			"environment is empty",
			read_proc(p->child.pid, "environ", buf, sizeof(buf)) &&
				!buf[0],
			"it is not");
	}
	check_that("not dumpable", !is_dumpable(p->child.pid), "it is");
}
