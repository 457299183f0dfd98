/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The system call filters as the kernel holds them, of every thread, compared
 * instruction by instruction with those that the programs were built with.
 *
 * The kernel shows a filter to a tracer of a stopped thread only. So all
 * threads are seized and asked to stop, read, and let go: each stands still
 * for some 50 us, and waits that it interrupted are taken up again. A signal
 * that arrives in between is delivered by the detach.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit_internal.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif
#define FILTER_WAIT_MS 2000 /* a thread that does not stop is broken */
#define FILTER_SPINS   200  /* sched_yield() before sleeping */
#define FILTER_NAP_NS  50000

struct filter_reader {
	struct audit *a;
	struct sock_filter *insns; /* BPF_MAXINSNS */
	const struct seccomp_profile *first[2];
	const struct seccomp_profile *thread;
	const struct seccomp_profile *running; /* which of first[] it is */
	unsigned int num_first;
};

static uint64_t filter_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/*
 * The end of a child must stay for the broker's pidfd. That of one of its
 * threads is its tracer's to take note of: the child does not end before.
 * Return: the signal to hand on at detach, or -errno
 */
static int filter_wait(const struct filter_reader *f, pid_t tid)
{
	const int wait = WSTOPPED | WEXITED | WNOHANG | __WALL;
	uint64_t deadline = filter_now_ms() + FILTER_WAIT_MS;
	const struct timespec nap = {.tv_nsec = FILTER_NAP_NS};
	siginfo_t si;

	for (unsigned int spins = 0;; spins++) {
		memset(&si, 0, sizeof(si));
		if (waitid(P_PID, (id_t)tid, &si, wait | WNOWAIT) < 0)
			return -errno;
		if (si.si_pid == tid)
			break;
		if (filter_now_ms() > deadline || kill(tid, 0) < 0)
			return -ETIMEDOUT;
		if (spins < FILTER_SPINS)
			sched_yield();
		else
			nanosleep(&nap, NULL);
	}
	if (si.si_code != CLD_TRAPPED && si.si_code != CLD_STOPPED) {
		if (tid != f->a->x->pid)
			waitid(P_PID, (id_t)tid, &si, wait);
		return -ESRCH;
	}
	memset(&si, 0, sizeof(si));
	if (waitid(P_PID, (id_t)tid, &si, WSTOPPED | WNOHANG | __WALL) < 0 ||
	    si.si_code != CLD_TRAPPED)
		return -EPROTO;
	/* An event has its number above the signal's bits. */
	return si.si_status >> 8 ? 0 : si.si_status;
}

static bool filter_is(const struct filter_reader *f,
		      const struct seccomp_profile *p, long len)
{
	return p && len == p->len &&
	       !memcmp(f->insns, p->filter, (size_t)len * sizeof(*p->filter));
}

static long filter_get(const struct filter_reader *f, pid_t tid,
		       unsigned long index)
{
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)index, NULL);

	if (n > BPF_MAXINSNS)
		return -1;
	return n <= 0 ? n
		      : ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)index,
			       f->insns);
}

static bool filter_read_at(int fd, uint64_t off, void *buf, size_t len)
{
	return off <= INT64_MAX - len &&
	       pread(fd, buf, len, (off_t)off) == (ssize_t)len;
}

/*
 * The list that a program's file carries (section bulkhead_filter_<name>).
 * The file is what the broker opened (exe.file), and only its owner or root
 * could have written it. Return: instructions, 0 if there is no such section
 */
static unsigned int filter_of_file(int fd, const char *name,
				   struct sock_filter *ret)
{
	Elf64_Ehdr eh;
	Elf64_Shdr names, sh;
	char want[64], got[64];

	snprintf(want, sizeof(want), "bulkhead_filter_%s", name);
	if (!filter_read_at(fd, 0, &eh, sizeof(eh)) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_shentsize != sizeof(sh) || eh.e_shoff > INT32_MAX ||
	    !filter_read_at(fd, eh.e_shoff + eh.e_shstrndx * sizeof(sh), &names,
			    sizeof(names)) ||
	    names.sh_offset > INT32_MAX)
		return 0;
	for (unsigned int i = 0; i < eh.e_shnum; i++) {
		memset(got, 0, sizeof(got));
		if (!filter_read_at(fd, eh.e_shoff + i * sizeof(sh), &sh,
				    sizeof(sh)) ||
		    pread(fd, got, sizeof(got) - 1,
			  (off_t)(names.sh_offset + sh.sh_name)) <= 0 ||
		    strcmp(got, want))
			continue;
		if (sh.sh_size > BPF_MAXINSNS * sizeof(*ret) ||
		    sh.sh_size % sizeof(*ret) ||
		    !filter_read_at(fd, sh.sh_offset, ret, sh.sh_size))
			return 0;
		return (unsigned int)(sh.sh_size / sizeof(*ret));
	}
	return 0;
}

/*
 * After an upgrade the manifest that a program was built with is in its own
 * file, not in this release. Never for the programs that the broker began
 * with: of these the lists are known here.
 */
static bool filter_is_upgraded(const struct filter_reader *f, long len)
{
	auto_free struct sock_filter *own = NULL;
	bool same = false;
	struct stat st;

	if (!f->a->x->upgraded || len <= 0)
		return false;
	auto_fd fd = openat(f->a->proc, "exe", O_RDONLY | O_CLOEXEC);

	own = malloc(BPF_MAXINSNS * sizeof(*own));
	if (fd < 0 || !own || fstat(fd, &st) < 0 ||
	    (st.st_uid != 0 && st.st_uid != geteuid()) ||
	    st.st_mode & (S_IWGRP | S_IWOTH))
		return false;
	for (unsigned int i = 0; !same && i < f->num_first; i++)
		same = filter_of_file(fd, f->first[i]->name, own) == len &&
		       !memcmp(own, f->insns, (size_t)len * sizeof(*own));
	if (same)
		audit_note(f->a, "upgraded: its list is that of its own file");
	return same;
}

static void filter_judge_first(struct filter_reader *f,
			       const struct audit_thread *t, long len)
{
	enum audit_check check = t->tid == f->a->x->pid ? AUDIT_SECCOMP_FILTER
							: AUDIT_SECCOMP_THREADS;

	for (unsigned int i = 0; i < f->num_first; i++) {
		if (!filter_is(f, f->first[i], len))
			continue;
		/* All threads have the same one. */
		if (f->running && f->running != f->first[i])
			break;
		f->running = f->first[i];
		audit_set(f->a, check, AUDIT_PASS, NULL);
		return;
	}
	if (filter_is_upgraded(f, len)) {
		audit_set(f->a, check, AUDIT_PASS, NULL);
		return;
	}
	audit_set(f->a, check, AUDIT_FAIL,
		  "thread \"%s\": %ld instructions, of \"%s\" they are %u",
		  t->name, len, f->first[0]->name, f->first[0]->len);
}

/* vCPU threads, and what the kernel makes of one, have a second filter. */
static bool filter_wants_second(const struct filter_reader *f,
				const struct audit_thread *t, bool has)
{
	if (!f->thread)
		return false;
	return !strncmp(t->name, "vcpu", 4) || (t->kernel && has);
}

/* Errors of ptrace are the host's: hidden or missing, not the child's. */
static void filter_unread(struct audit *a, const char *what)
{
	enum audit_state state = AUDIT_HIDDEN;
	const char *why = "needs root";
	int error = errno;

	if (error == EIO || error == EINVAL || error == ENOSYS) {
		state = AUDIT_LACKS;
		why = "this kernel does not show it "
		      "(CONFIG_CHECKPOINT_RESTORE)";
	} else if (error != EPERM && error != EACCES) {
		state = AUDIT_FAIL;
		why = strerrordesc_np(error);
	}
	audit_set(a, AUDIT_SECCOMP_FILTER, state, "%s: %s", what, why);
	audit_set(a, AUDIT_SECCOMP_THREADS, state, "%s: %s", what, why);
	audit_set(a, AUDIT_SECCOMP_COUNT, state, "%s: %s", what, why);
}

static void filter_read(struct filter_reader *f, const struct audit_thread *t)
{
	long len = filter_get(f, t->tid, 0);
	unsigned int count = 0, want;
	bool has;

	if (len < 0 && errno != ENOENT) {
		filter_unread(f->a, "the filter");
		return;
	}
	if (len > 0) {
		filter_judge_first(f, t, len);
		count = 1;
	}
	has = filter_get(f, t->tid, 1) > 0;
	want = filter_wants_second(f, t, has) ? 2 : 1;
	if (has) {
		len = filter_get(f, t->tid, 1);
		count = filter_get(f, t->tid, 2) > 0 ? 3 : 2;
		if (want == 2)
			audit_that(f->a, AUDIT_SECCOMP_THREADS,
				   filter_is(f, f->thread, len),
				   "thread \"%s\": the second one has %ld "
				   "instructions",
				   t->name, len);
	}
	audit_that(f->a, AUDIT_SECCOMP_COUNT, count == want,
		   "thread \"%s\": %u instead of %u", t->name, count, want);
}

/*
 * A thread that can't be stopped stays seized, and would stop for good later:
 * it must not live on. It hangs in the kernel anyhow.
 */
static void filter_give_up(struct audit *a, const struct audit_thread *t)
{
	audit_set(a, AUDIT_SECCOMP_FILTER, AUDIT_FAIL,
		  "thread \"%s\" does not stop within %d ms: killed", t->name,
		  FILTER_WAIT_MS);
	kill(a->x->pid, SIGKILL);
}

static void filter_one(struct filter_reader *f, const struct audit_thread *t)
{
	int r = filter_wait(f, t->tid);

	if (r >= 0) {
		filter_read(f, t);
		ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(long)r);
	} else if (r == -ETIMEDOUT) {
		filter_give_up(f->a, t);
		filter_wait(f, t->tid);
	}
}

/* The leader last: its end shows when the other threads' are taken note of. */
static void filter_all(struct filter_reader *f)
{
	struct audit *a = f->a;
	unsigned int leader = a->num_threads;
	auto_free bool *seized = calloc(a->num_threads + 1, sizeof(*seized));

	for (unsigned int i = 0; seized && i < a->num_threads; i++) {
		pid_t tid = a->threads[i].tid;

		/* Some kernels let nobody trace their own helpers. */
		if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
			if (!a->threads[i].kernel && errno != ESRCH)
				filter_unread(a, "tracing it");
			continue;
		}
		seized[i] = true;
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	}
	for (unsigned int i = 0; seized && i < a->num_threads; i++) {
		if (a->threads[i].tid == a->x->pid)
			leader = i;
		else if (seized[i])
			filter_one(f, &a->threads[i]);
	}
	if (seized && leader < a->num_threads && seized[leader])
		filter_one(f, &a->threads[leader]);
}

void audit_filters(struct audit *a)
{
	auto_free struct sock_filter *insns =
		malloc(BPF_MAXINSNS * sizeof(*insns));
	struct filter_reader f = {.a = a, .insns = insns};

	f.num_first = audit_profiles(a->x->role, f.first, &f.thread);
	if (!insns || !f.num_first) {
		audit_set(a, AUDIT_SECCOMP_FILTER, AUDIT_FAIL,
			  "no filter is known for this role");
		return;
	}
	filter_all(&f);
	if (f.running && f.first[1])
		audit_note(a, "system call list: %s", f.running->name);
}
