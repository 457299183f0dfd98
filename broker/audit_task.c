/* SPDX-License-Identifier: Apache-2.0 */

/* The program, ids, capabilities, threads and limits of a process. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit_internal.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

#define TASK_NAME_MAX	  15   /* of the kernel's names */
#define TASK_IO_WORKER	  0x10 /* flags of /proc/<pid>/stat */
#define TASK_USER_WORKER  0x4000
#define TASK_KTHREAD	  0x200000
#define TASK_SIGPENDING	  64		     /* as spawn.c sets it */
#define TASK_RT_SIGNALS	  (3ULL << 31)	     /* 32, 33: glibc's own */
#define TASK_CORE_SIGNALS (1ULL << (10 - 1)) /* SIGUSR1 stops a vCPU */

/* ---- the program ---- */

static void task_exe(struct audit *a)
{
	const struct audit_file *want = &a->x->program;
	ssize_t n = readlinkat(a->proc, "exe", a->exe, sizeof(a->exe) - 1);
	struct stat st;

	if (n < 0 || fstatat(a->proc, "exe", &st, 0) < 0) {
		audit_unread(a, AUDIT_EXE_FILE, "/proc/<pid>/exe");
		audit_unread(a, AUDIT_EXE_SIZE, "/proc/<pid>/exe");
		audit_unread(a, AUDIT_EXE_OWNER, "/proc/<pid>/exe");
		audit_unread(a, AUDIT_EXE_MODE, "/proc/<pid>/exe");
		a->exe[0] = '\0';
		return;
	}
	a->exe[n] = '\0';
	audit_that(a, AUDIT_EXE_FILE,
		   st.st_dev == want->dev && st.st_ino == want->ino,
		   "runs %s, inode %ju instead of %" PRIu64, a->exe,
		   (uintmax_t)st.st_ino, want->ino);
	audit_that(a, AUDIT_EXE_SIZE, (uint64_t)st.st_size == want->size,
		   "%jd bytes instead of %" PRIu64, (intmax_t)st.st_size,
		   want->size);
	/* An ordinary user's processes have his id; it may be his program. */
	audit_that(a, AUDIT_EXE_OWNER,
		   !a->x->privileged || st.st_uid != a->x->uid, "owner %u",
		   (unsigned)st.st_uid);
	audit_that(a, AUDIT_EXE_MODE,
		   !(st.st_mode & (S_ISUID | S_ISGID | S_IWGRP | S_IWOTH)),
		   "mode %o", (unsigned)st.st_mode & 07777);
}

/* AT_BASE is where the kernel put a loader; 0 without one. */
static void task_loader(struct audit *a)
{
	int n = audit_read(a, a->proc, "auxv");
	uint64_t pair[2];

	if (n < 0) {
		errno = -n;
		audit_unread(a, AUDIT_EXE_LOADER, "/proc/<pid>/auxv");
		return;
	}
	for (int at = 0; at + (int)sizeof(pair) <= n; at += (int)sizeof(pair)) {
		memcpy(pair, a->text + at, sizeof(pair));
		if (pair[0] == 7 && pair[1]) {
			audit_set(a, AUDIT_EXE_LOADER, AUDIT_FAIL,
				  "loader at %#" PRIx64, pair[1]);
			return;
		}
	}
	audit_that(a, AUDIT_EXE_LOADER, n > 0, "no auxiliary vector");
}

static void task_start_values(struct audit *a)
{
	char want[32];
	int n;

	snprintf(want, sizeof(want), "bulkhead-%s", a->x->role);
	n = audit_read(a, a->proc, "cmdline");
	audit_that(a, AUDIT_CMDLINE,
		   n == (int)strlen(want) + 1 && !strcmp(a->text, want),
		   "\"%.40s\", %d bytes", a->text, n);
	n = audit_read(a, a->proc, "environ");
	if (n < 0) {
		errno = -n;
		audit_unread(a, AUDIT_ENVIRON, "/proc/<pid>/environ");
	} else {
		audit_that(a, AUDIT_ENVIRON, n == 0, "%d bytes: %.40s", n,
			   a->text);
	}
	n = audit_read(a, a->proc, "personality");
	if (n < 0) {
		errno = -n;
		audit_unread(a, AUDIT_PERSONALITY, "/proc/<pid>/personality");
	} else {
		audit_that(a, AUDIT_PERSONALITY,
			   strtoul(a->text, NULL, 16) == 0, "%.8s", a->text);
	}
}

static void task_oom(struct audit *a)
{
	long own, broker;

	audit_read(a, a->parent, "oom_score_adj");
	broker = strtol(a->text, NULL, 10);
	audit_read(a, a->proc, "oom_score_adj");
	own = strtol(a->text, NULL, 10);
	audit_that(a, AUDIT_OOM, own >= broker, "%ld, the broker %ld", own,
		   broker);
}

/* An undumpable process's files belong to root, whatever its ids are. */
static void task_dumpable(struct audit *a)
{
	struct stat st;

	if (fstatat(a->proc, "mem", &st, 0) < 0)
		audit_unread(a, AUDIT_DUMPABLE, "/proc/<pid>/mem");
	else
		audit_that(a, AUDIT_DUMPABLE, st.st_uid == 0 && st.st_gid == 0,
			   "its /proc files belong to %u:%u",
			   (unsigned)st.st_uid, (unsigned)st.st_gid);
}

void audit_program(struct audit *a)
{
	task_exe(a);
	task_loader(a);
	task_start_values(a);
	task_oom(a);
	task_dumpable(a);
}

/* ---- status and stat ---- */

static bool task_field(struct audit *a, const char *key, char *ret, size_t len)
{
	const char *s = audit_field(a->text, key);

	ret[0] = '\0';
	if (s)
		audit_line(s, ret, len);
	return s;
}

static void task_number(struct audit *a, enum audit_check check,
			const char *key, int base, unsigned long long want)
{
	char v[64];
	bool there = task_field(a, key, v, sizeof(v));

	audit_that(a, check, there && strtoull(v, NULL, base) == want, "%s: %s",
		   key, there ? v : "not in /proc/<pid>/status");
}

/* "Uid: real effective saved filesystem", all the same. */
static void task_ids(struct audit *a, enum audit_check check, const char *key,
		     unsigned int want)
{
	unsigned int v[4] = {0};
	char text[64];
	bool ok, root = false;

	task_field(a, key, text, sizeof(text));
	ok = sscanf(text, "%u %u %u %u", &v[0], &v[1], &v[2], &v[3]) == 4;
	for (int i = 0; i < 4; i++) {
		ok = ok && v[i] == want;
		root = root || v[i] == 0;
	}
	audit_that(a, check, ok, "%s instead of %u", text, want);
	if (root && a->x->privileged)
		audit_set(a, AUDIT_UID_ROOT, AUDIT_FAIL, "%s: %s", key, text);
	else if (root)
		audit_set(a, AUDIT_UID_ROOT, AUDIT_LACKS,
			  "the broker is root without the right to give "
			  "another id");
	else
		audit_set(a, AUDIT_UID_ROOT, AUDIT_PASS, NULL);
}

static void task_groups(struct audit *a)
{
	char text[64];

	task_field(a, "Groups", text, sizeof(text));
	if (text[0] && !a->x->privileged)
		audit_set(a, AUDIT_GROUPS, AUDIT_LACKS,
			  "only root can drop them: %s", text);
	else
		audit_that(a, AUDIT_GROUPS, !text[0], "%s", text);
}

static void task_caps(struct audit *a)
{
	task_number(a, AUDIT_CAP_INH, "CapInh", 16, 0);
	task_number(a, AUDIT_CAP_PRM, "CapPrm", 16, 0);
	task_number(a, AUDIT_CAP_EFF, "CapEff", 16, 0);
	task_number(a, AUDIT_CAP_BND, "CapBnd", 16, 0);
	task_number(a, AUDIT_CAP_AMB, "CapAmb", 16, 0);
	task_number(a, AUDIT_NO_NEW_PRIVS, "NoNewPrivs", 10, 1);
	if (audit_told(a, "outer stage verified"))
		audit_set(a, AUDIT_SECUREBITS, AUDIT_REPORTED,
			  "the program ends itself if they are not locked");
	else
		audit_set(a, AUDIT_SECUREBITS, AUDIT_FAIL,
			  "the program did not report that it verified them");
}

static void task_signals(struct audit *a)
{
	uint64_t allowed = TASK_RT_SIGNALS, caught;
	char text[64];

	if (!strcmp(a->x->role, "core"))
		allowed |= TASK_CORE_SIGNALS;
	task_field(a, "SigCgt", text, sizeof(text));
	caught = strtoull(text, NULL, 16);
	audit_that(a, AUDIT_SIGNALS, text[0] && !(caught & ~allowed),
		   "SigCgt: %s", text);
}

/* "NSpid: <outside> <inside>": the last is the number in its namespace. */
static void task_pid_one(struct audit *a)
{
	char text[64], *last;

	task_field(a, "NSpid", text, sizeof(text));
	last = strrchr(text, '\t');
	audit_that(a, AUDIT_PID_ONE, last && atoi(last) == 1, "NSpid: %s",
		   text);
	task_field(a, "NSsid", text, sizeof(text));
	last = strrchr(text, '\t');
	audit_that(a, AUDIT_SESSION, last && atoi(last) == 1, "NSsid: %s",
		   text);
}

/* Linux before 6.14 calls what was executed by descriptor by its number. */
static bool task_is_program_name(const struct audit *a, const char *name)
{
	char program[TASK_NAME_MAX + 1], number[TASK_NAME_MAX + 1];

	snprintf(program, sizeof(program), "bulkhead-%.6s", a->x->role);
	snprintf(number, sizeof(number), "%d", SANDBOX_NUM_FDS + 1);
	return !strcmp(name, program) || !strcmp(name, number);
}

static void task_places(struct audit *a)
{
	char text[64];

	task_field(a, "Name", text, sizeof(text));
	audit_that(a, AUDIT_NAME, task_is_program_name(a, text), "%s", text);
	task_field(a, "PPid", text, sizeof(text));
	if (a->x->creator)
		audit_set(a, AUDIT_PARENT, AUDIT_LACKS,
			  "its broker, %d, died; the system gave it to %s",
			  (int)a->x->creator, text);
	else
		audit_that(a, AUDIT_PARENT, atoi(text) == a->x->parent,
			   "%s instead of %d", text, (int)a->x->parent);
	task_field(a, "State", text, sizeof(text));
	audit_that(a, AUDIT_STATE, text[0] && !strchr("TtZX", text[0]), "%s",
		   text);
	task_number(a, AUDIT_TRACER, "TracerPid", 10, 0);
	task_number(a, AUDIT_UMASK, "Umask", 8, 077);
	task_number(a, AUDIT_CORE_DUMP, "CoreDumping", 10, 0);
}

/* Fields of "stat" are counted behind the name, which may hold anything. */
static const char *task_stat(const char *stat, int field)
{
	const char *s = strrchr(stat, ')');

	for (int i = 2; s && i < field; i++) {
		s = strchr(s, ' ');
		if (s)
			s++;
	}
	return s ? s : "";
}

static void task_schedule(struct audit *a)
{
	long tty, nice, rt, policy, broker;

	audit_read(a, a->parent, "stat");
	broker = strtol(task_stat(a->text, 19), NULL, 10);
	audit_read(a, a->proc, "stat");
	tty = strtol(task_stat(a->text, 7), NULL, 10);
	nice = strtol(task_stat(a->text, 19), NULL, 10);
	rt = strtol(task_stat(a->text, 40), NULL, 10);
	policy = strtol(task_stat(a->text, 41), NULL, 10);
	audit_that(a, AUDIT_TTY, tty == 0, "device %ld", tty);
	audit_that(a, AUDIT_SCHED_NICE, nice >= 0 || nice >= broker,
		   "nice %ld, the broker %ld", nice, broker);
	/* SCHED_OTHER, BATCH, IDLE */
	audit_that(a, AUDIT_SCHED_POLICY,
		   rt == 0 && (policy == 0 || policy == 3 || policy == 5),
		   "policy %ld, priority %ld", policy, rt);
}

static void task_note_speculation(struct audit *a)
{
	char ssb[48], indirect[48];

	task_field(a, "Speculation_Store_Bypass", ssb, sizeof(ssb));
	task_field(a, "SpeculationIndirectBranch", indirect, sizeof(indirect));
	audit_note(a, "speculation: store bypass %s, indirect branches %s", ssb,
		   indirect);
}

void audit_status(struct audit *a)
{
	int n = audit_read(a, a->proc, "status");

	if (n < 0)
		return;
	task_ids(a, AUDIT_UID, "Uid", a->x->uid);
	task_ids(a, AUDIT_GID, "Gid", a->x->gid);
	task_groups(a);
	task_caps(a);
	task_signals(a);
	task_pid_one(a);
	task_places(a);
	task_number(a, AUDIT_SECCOMP_MODE, "Seccomp", 10, 2);
	task_note_speculation(a);
	task_schedule(a);
}

/* ---- threads ---- */

static bool task_name_declared(const struct audit *a,
			       const struct audit_thread *t)
{
	unsigned int n;
	char rest;

	/* Those of the kernel have their maker's name, too, for a moment. */
	if (task_is_program_name(a, t->name))
		return true;
	if (t->kernel)
		return !strncmp(t->name, "iou-", 4) ||
		       !strncmp(t->name, "kvm-", 4);
	if (strcmp(a->x->role, "core"))
		return false;
	return !strcmp(t->name, "gate") ||
	       (sscanf(t->name, "vcpu%u%c", &n, &rest) == 1 && n < a->x->vcpus);
}

/* A thread of the kernel's can't be told from ours by its name alone. */
static void task_read_thread(struct audit *a, const char *tid)
{
	struct audit_thread *t = &a->threads[a->num_threads];
	char path[300], *end;
	const char *name;
	uint64_t flags;

	snprintf(path, sizeof(path), "task/%s/stat", tid);
	if (audit_read(a, a->proc, path) <= 0)
		return;
	flags = strtoull(task_stat(a->text, 9), NULL, 10);
	name = strchr(a->text, '(');
	end = strrchr(a->text, ')');
	if (!name || !end)
		return;
	snprintf(t->name, sizeof(t->name), "%.*s", (int)(end - name - 1),
		 name + 1);
	t->tid = atoi(tid);
	t->kernel = flags & (TASK_IO_WORKER | TASK_USER_WORKER | TASK_KTHREAD);
	a->num_threads++;
	audit_that(a, AUDIT_THREAD_NAMES, task_name_declared(a, t), "\"%s\"%s",
		   t->name, t->kernel ? " of the kernel" : "");
}

static void task_thread_rights(struct audit *a, const struct audit_thread *t)
{
	static const char *const zero[] = {"CapInh", "CapPrm", "CapEff",
					   "CapBnd", "CapAmb"};
	char path[64], v[64];
	unsigned int id[4];
	bool ok;

	snprintf(path, sizeof(path), "task/%d/status", (int)t->tid);
	if (audit_read(a, a->proc, path) <= 0)
		return;
	task_field(a, "Uid", v, sizeof(v));
	ok = sscanf(v, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4;
	for (int i = 0; ok && i < 4; i++)
		ok = id[i] == a->x->uid;
	audit_that(a, AUDIT_THREAD_RIGHTS, ok, "\"%s\" Uid: %s", t->name, v);
	for (size_t i = 0; i < ARRAY_SIZE(zero); i++) {
		ok = task_field(a, zero[i], v, sizeof(v)) &&
		     strtoull(v, NULL, 16) == 0;
		audit_that(a, AUDIT_THREAD_RIGHTS, ok, "\"%s\" %s: %s", t->name,
			   zero[i], v);
	}
	task_field(a, "NoNewPrivs", v, sizeof(v));
	audit_that(a, AUDIT_THREAD_RIGHTS, atoi(v) == 1,
		   "\"%s\" NoNewPrivs: %s", t->name, v);
	task_field(a, "Seccomp", v, sizeof(v));
	audit_that(a, AUDIT_SECCOMP_THREADS, atoi(v) == 2, "\"%s\" Seccomp: %s",
		   t->name, v);
	snprintf(path, sizeof(path), "task/%d/children", (int)t->tid);
	if (audit_read(a, a->proc, path) >= 0)
		audit_that(a, AUDIT_CHILDREN, !a->text[0], "%s: %.40s", t->name,
			   a->text);
}

static unsigned int task_count_own(const struct audit *a)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < a->num_threads; i++)
		n += !a->threads[i].kernel;
	return n;
}

void audit_threads(struct audit *a)
{
	bool core = !strcmp(a->x->role, "core");
	unsigned int want = core ? 2 + a->x->vcpus : 1 + a->x->workers;
	auto_fd fd =
		openat(a->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		audit_unread(a, AUDIT_THREAD_COUNT, "/proc/<pid>/task");
		return;
	}
	take_fd(&fd);
	/* Where the kernel has no such file. */
	audit_set(a, AUDIT_CHILDREN, AUDIT_PASS, NULL);
	while ((d = readdir(dir)) && a->num_threads < AUDIT_THREADS_MAX)
		if (d->d_name[0] != '.')
			task_read_thread(a, d->d_name);
	closedir(dir);
	for (unsigned int i = 0; i < a->num_threads; i++)
		task_thread_rights(a, &a->threads[i]);
	audit_that(a, AUDIT_THREAD_COUNT, task_count_own(a) == want,
		   "%u instead of %u", task_count_own(a), want);
}

/* ---- limits ---- */

/* "Max open files            512                  512                  files"
 */
static bool task_limit(const char *text, const char *name, uint64_t *ret_soft,
		       uint64_t *ret_hard)
{
	const char *s = strstr(text, name);
	char soft[24], hard[24];

	if (!s || sscanf(s + strlen(name), "%23s %23s", soft, hard) != 2)
		return false;
	*ret_soft = soft[0] == 'u' ? UINT64_MAX : strtoull(soft, NULL, 10);
	*ret_hard = hard[0] == 'u' ? UINT64_MAX : strtoull(hard, NULL, 10);
	return true;
}

void audit_limits(struct audit *a)
{
	const struct sandbox_manifest *m = sandbox_manifest_find(a->x->role);
	const struct {
		enum audit_check check;
		const char *name;
		uint64_t want;
	} limits[] = {
		{AUDIT_LIMIT_CORE, "Max core file size", 0},
		{AUDIT_LIMIT_MSGQUEUE, "Max msgqueue size", 0},
		{AUDIT_LIMIT_RTPRIO, "Max realtime priority", 0},
		{AUDIT_LIMIT_NICE, "Max nice priority", 0},
		{AUDIT_LIMIT_SIGPENDING, "Max pending signals",
		 TASK_SIGPENDING},
		{AUDIT_LIMIT_FSIZE, "Max file size", m ? m->rlimit_fsize : 0},
		{AUDIT_LIMIT_MEMLOCK, "Max locked memory",
		 m ? m->rlimit_memlock : 0},
		{AUDIT_LIMIT_NOFILE, "Max open files",
		 m ? m->rlimit_nofile : 0},
		{AUDIT_LIMIT_STACK, "Max stack size", m ? m->rlimit_stack : 0},
		{AUDIT_LIMIT_NPROC, "Max processes",
		 m && m->rlimit_nproc ? m->rlimit_nproc : UINT64_MAX},
	};
	uint64_t most[ARRAY_SIZE(limits)], soft, hard, x;

	/* What the host does not allow the broker it can't give on. */
	audit_read(a, a->parent, "limits");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (!task_limit(a->text, limits[i].name, &x, &most[i]))
			most[i] = UINT64_MAX;
	audit_read(a, a->proc, "limits");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		uint64_t want = min_u64(limits[i].want, most[i]);

		soft = hard = 0;
		audit_that(a, limits[i].check,
			   task_limit(a->text, limits[i].name, &soft, &hard) &&
				   soft == want && hard == want,
			   "%" PRIu64 " (at most %" PRIu64
			   ") instead of %" PRIu64,
			   soft, hard, want);
	}
}
