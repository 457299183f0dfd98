/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for bulkhead-rng: the same sandbox calls, one descriptor, guest
 * memory, an event loop that sleeps. Unlike the real one it goes on when it
 * finds its confinement wanting, and it can leave out or add what its mutant
 * says. The executable is called bulkhead-rng, too: its name is a check.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "tests/audit/mutants.h"

SECCOMP_PROFILE(rng);
SECCOMP_PROFILE(core);

#define VICTIM_PAGE	   4096
#define VICTIM_MEMORY_SIZE (1 << 20)

enum mutant_id mutant;
static struct victim_reply reply;
static int thread_pipe[2];

static int victim_receive(int fds[VICTIM_NUM_FDS])
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VICTIM_NUM_FDS * sizeof(int))];
	} control;
	struct victim_request req;
	struct iovec iov = {.iov_base = &req, .iov_len = sizeof(req)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};

	if (recvmsg(SANDBOX_FD_CHANNEL, &msg, MSG_CMSG_CLOEXEC) !=
		    (ssize_t)sizeof(req) ||
	    !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)),
	       VICTIM_NUM_FDS * sizeof(int));
	mutant = (enum mutant_id)req.mutant;
	return 0;
}

static void *victim_thread(void *arg)
{
	char byte;

	(void)arg;
	if (mutant == MUTANT_THREAD_NAME)
		prctl(PR_SET_NAME, "evil", 0, 0, 0);
	if (write(thread_pipe[1], "", 1) != 1)
		return NULL;
	for (;;)
		if (read(SANDBOX_FD_CHANNEL, &byte, 1) <= 0)
			return NULL;
}

static int victim_start_thread(void)
{
	pthread_t t;
	char byte;

	if (pipe2(thread_pipe, O_CLOEXEC) < 0 ||
	    pthread_create(&t, NULL, victim_thread, NULL) ||
	    read(thread_pipe[0], &byte, 1) != 1)
		return -1;
	close(thread_pipe[0]);
	close(thread_pipe[1]);
	return 0;
}

static void victim_on_signal(int signo)
{
	(void)signo;
}

static void victim_many_maps(void)
{
	for (int i = 0; i < 300; i++)
		mmap(NULL, VICTIM_PAGE, i % 2 ? PROT_READ : PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int victim_protect(uintptr_t at, size_t len)
{
	return mprotect((void *)(at & ~(uintptr_t)(VICTIM_PAGE - 1)), len,
			PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* What the mutant adds. Return: negative if it could not. */
static int victim_mutate(const int *fds)
{
	char on_stack, params[256] = {0};
	int pair[2];

	switch (mutant) {
	case MUTANT_THREAD:
	case MUTANT_THREAD_NAME:
	case MUTANT_SECCOMP_THREAD:
		return victim_start_thread();
	case MUTANT_NAME:
		return prctl(PR_SET_NAME, "kworker/0:1", 0, 0, 0);
	case MUTANT_CHILD:
		if (fork() == 0)
			for (;;)
				pause();
		return 0;
	case MUTANT_SIGNAL:
		return signal(SIGTERM, victim_on_signal) == SIG_ERR ? -1 : 0;
	case MUTANT_FD_TWICE:
		return dup(fds[VICTIM_SOURCE]);
	case MUTANT_FD_SOCKET:
		return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	case MUTANT_FD_NET_SOCKET:
		return socket(AF_INET, SOCK_DGRAM, 0);
	case MUTANT_FD_MEMFD:
		return memfd_create("own", MFD_CLOEXEC);
	case MUTANT_FD_UNSEALED:
		return dup(fds[VICTIM_MEMORY]);
	case MUTANT_FD_PIPE:
		return pipe(pair) < 0 ? -1 : pipe(pair);
	case MUTANT_FD_TIMER:
		return timerfd_create(CLOCK_MONOTONIC, 0);
	case MUTANT_FD_URING:
		return (int)syscall(SYS_io_uring_setup, 4, params);
	case MUTANT_FD_EVENTS:
		for (int i = 0; i < 40; i++)
			if (eventfd(0, 0) < 0)
				return -1;
		return 0;
	case MUTANT_FD_MISSING:
		return close(SANDBOX_FD_LOG);
	case MUTANT_MAP_WX:
		return mmap(NULL, VICTIM_PAGE,
			    PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
			       ? -1
			       : 0;
	case MUTANT_MAP_EXEC:
		return mmap(NULL, VICTIM_PAGE, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
			       ? -1
			       : 0;
	case MUTANT_MAP_FILE:
		return mmap(NULL, VICTIM_PAGE, PROT_READ, MAP_PRIVATE,
			    fds[VICTIM_EXTRA], 0) == MAP_FAILED
			       ? -1
			       : 0;
	case MUTANT_MAP_SHARED:
		return mmap(NULL, VICTIM_PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
			       ? -1
			       : 0;
	case MUTANT_MAP_STACK:
		/* Up to its top, and in vain beyond. */
		victim_protect((uintptr_t)&on_stack, 8 * VICTIM_PAGE);
		return 0;
	case MUTANT_MAP_TEXT:
		return victim_protect((uintptr_t)&victim_protect, VICTIM_PAGE);
	case MUTANT_MAP_COUNT:
		victim_many_maps();
		return 0;
	default:
		return 0;
	}
}

/* ---- filters ---- */

static int victim_filter(const struct sock_filter *f, unsigned short len,
			 unsigned int flags)
{
	struct sock_fprog prog = {.len = len,
				  .filter = (struct sock_filter *)(uintptr_t)f};

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* The list with one call more in front. */
static int victim_wider(void)
{
	static struct sock_filter f[BPF_MAXINSNS];
	const struct sock_filter more[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct seccomp_profile *p = &seccomp_profile_rng;

	memcpy(f, more, sizeof(more));
	memcpy(f + ARRAY_SIZE(more), p->filter, p->len * sizeof(*f));
	return victim_filter(f, (unsigned short)(p->len + ARRAY_SIZE(more)), 0);
}

/* One instruction differs. */
static int victim_changed(void)
{
	static struct sock_filter f[BPF_MAXINSNS];
	const struct seccomp_profile *p = &seccomp_profile_rng;

	memcpy(f, p->filter, p->len * sizeof(*f));
	for (unsigned int i = 0; i < p->len; i++) {
		if (mutant == MUTANT_SECCOMP_CONSTANT &&
		    f[i].code == (BPF_JMP | BPF_JEQ | BPF_K) &&
		    f[i].k == SYS_munmap) {
			f[i].k = SYS_mremap;
			return victim_filter(f, p->len, 0);
		}
		if (mutant == MUTANT_SECCOMP_ERRNO &&
		    f[i].code == (BPF_RET | BPF_K) &&
		    f[i].k == SECCOMP_RET_KILL_PROCESS) {
			f[i].k = SECCOMP_RET_ERRNO | EPERM;
			return victim_filter(f, p->len, 0);
		}
	}
	errno = ENOENT;
	return -1;
}

static int victim_lock(struct err *e)
{
	static const struct sock_filter all[] = {
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	switch (mutant) {
	case MUTANT_SECCOMP_NONE:
	case MUTANT_NO_NEW_PRIVS: /* without it the kernel refuses */
		return 0;
	case MUTANT_SECCOMP_WIDER:
		return victim_wider();
	case MUTANT_SECCOMP_CONSTANT:
	case MUTANT_SECCOMP_ERRNO:
		return victim_changed();
	case MUTANT_SECCOMP_SECOND:
		if (victim_filter(all, ARRAY_SIZE(all), 0) < 0)
			return -1;
		break;
	case MUTANT_SECCOMP_OTHER:
		return sandbox_lock(&seccomp_profile_core, &reply.report, e);
	case MUTANT_SECCOMP_THREAD:
		return sandbox_lock_thread(&seccomp_profile_rng, e);
	default:
		break;
	}
	return sandbox_lock(&seccomp_profile_rng, &reply.report, e);
}

static bool victim_keeps_extra(void)
{
	return mutant == MUTANT_FD_FILE || mutant == MUTANT_FD_DIRECTORY ||
	       mutant == MUTANT_FD_KVM || mutant == MUTANT_FD_TUN;
}

static bool victim_restricts(void)
{
	return mutant != MUTANT_LANDLOCK && mutant != MUTANT_MDWE &&
	       mutant != MUTANT_MAP_WX && mutant != MUTANT_MAP_STACK &&
	       mutant != MUTANT_MAP_TEXT && mutant != MUTANT_NO_NEW_PRIVS;
}

int main(void)
{
	struct sandbox_report found;
	int fds[VICTIM_NUM_FDS];
	struct err e;
	char byte;

	/* Its heap, and the report that the real one would end without. */
	if (sandbox_start(1 << 20, &found, &e) < 0)
		found.num_layers = 1;
	reply.report = found;
	if (victim_receive(fds) < 0)
		return 2;
	if (mutant == MUTANT_DUMPABLE)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (mmap(NULL, VICTIM_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fds[VICTIM_MEMORY], 0) == MAP_FAILED)
		return 3;
	if (epoll_create1(EPOLL_CLOEXEC) < 0 || victim_mutate(fds) < 0)
		return 4;
	close(fds[VICTIM_MEMORY]);
	if (!victim_keeps_extra())
		close(fds[VICTIM_EXTRA]);
	if (mutant == MUTANT_MDWE)
		sandbox_note_layer(&reply.report, "landlock-0");
	if (victim_restricts() && sandbox_restrict(&reply.report, &e) < 0)
		return 5;
	if (victim_lock(&e) < 0)
		return 6;
	if (write(SANDBOX_FD_CHANNEL, &reply, sizeof(reply)) !=
	    (ssize_t)sizeof(reply))
		return 7;
	while (read(SANDBOX_FD_CHANNEL, &byte, 1) > 0)
		continue;
	_exit(0);
}
