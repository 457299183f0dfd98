/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A confined program that tries to get out. For each request it forks; the
 * grandchild enters the asked stage, makes one attempt and writes the result
 * into a pipe. The request "lock" locks the program itself, so that the test
 * can look at it from outside.
 *
 * @sys probe,probethread write: results
 * @sys probe,probethread read: sleep until the end
 * @sys probe fcntl(1==F_GETFL): a rule on one argument
 * @sys probe mmap(2==PROT_READ, 3&MAP_TYPE==MAP_PRIVATE): a rule on two
 * @sys probe mprotect(2&PROT_EXEC==0): a rule on a mask
 * @sys probe seccomp(0==SECCOMP_SET_MODE_FILTER, 1==0): narrower threads
 * @sys probe madvise(2==MADV_DONTDUMP): thread stacks
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "tests/sandbox/probe.h"

SECCOMP_PROFILE(probe);
SECCOMP_PROFILE(probethread);

#define PROBE_BLOCK 4096

static struct sandbox_report report;
static int thread_pipe[2];
static int ready_pipe[2];
static pthread_t thread;
static void *(*volatile thread_job)(void *arg);
static char page[8192] __attribute__((aligned(4096)));

static long try_open_root(int v)
{
	return open("/", O_RDONLY | v);
}

static long try_open_proc(int v)
{
	return open("/proc/self/status", O_RDONLY | v);
}

static long try_create(int v)
{
	return open("/file", O_CREAT | O_RDWR | v, 0600);
}

static long try_open_up(int v)
{
	return open("../../../etc/passwd", O_RDONLY | v);
}

static long try_socket(int v)
{
	return socket(v ? v : AF_INET, SOCK_STREAM, 0);
}

static long try_connect(int v)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)v),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static long try_abstract(int v)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), n;

	n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1,
		     "bulkhead-sandbox-test-%d", v);
	return connect(fd, (struct sockaddr *)&a,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   (size_t)n));
}

static long try_ptrace(int v)
{
	return ptrace(PTRACE_ATTACH, v ? v : 1, NULL, NULL);
}

static long try_read_memory(int v)
{
	struct iovec here = {.iov_base = page, .iov_len = 1}, there = here;

	/* The same program at the same address. */
	return syscall(SYS_process_vm_readv, v ? v : 1, &here, 1UL, &there, 1UL,
		       0UL);
}

static long try_kill(int v)
{
	return kill(v, 0);
}

static long try_mount(int v)
{
	(void)v;
	return mount("none", "/", "tmpfs", 0, NULL);
}

static long try_remount(int v)
{
	(void)v;
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long try_unshare(int v)
{
	return unshare(v ? v : CLONE_NEWNS);
}

static long try_chroot(int v)
{
	(void)v;
	return chroot("/");
}

static long try_setuid(int v)
{
	return setresuid((uid_t)v, (uid_t)v, (uid_t)v);
}

static long try_setgroups(int v)
{
	(void)v;
	return syscall(SYS_setgroups, 0, NULL);
}

static long try_sethostname(int v)
{
	(void)v;
	return sethostname("x", 1);
}

static long try_exec_memory(int v)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)v;
	return p == MAP_FAILED ? -1 : 0;
}

static long try_exec_mprotect(int v)
{
	(void)v;
	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long try_mprotect(int v)
{
	return mprotect(page, 4096, v);
}

static long try_execve(int v)
{
	char *none[] = {NULL};

	(void)v;
	return execve("/bin/sh", none, none);
}

static long try_syscall(int v)
{
	return syscall(v, -1L, -1L, -1L, -1L, -1L, -1L);
}

static long try_x32(int v)
{
	return syscall(0x40000000 | v, 0, 0, 0, 0, 0, 0);
}

#if defined(__x86_64__)
static long try_int80(int v)
{
	long r = v;

	__asm__ volatile("int $0x80"
			 : "+a"(r)
			 :
			 : "memory", "r8", "r9", "r10", "r11");
	if (r >= 0)
		return 0;
	errno = (int)-r;
	return -1;
}
#endif

static long try_write(int v)
{
	return write(SANDBOX_FD_NULL1, "", (size_t)v);
}

static long try_fcntl(int v)
{
	return fcntl(SANDBOX_FD_NULL1, v, 0);
}

/* Half of the prepared heap in small pieces, freed and taken again. */
static long try_heap(int v)
{
	void *blocks[PROBE_HEAP / PROBE_BLOCK / 2];

	(void)v;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
			blocks[i] = malloc(PROBE_BLOCK - 64);
			if (!blocks[i])
				return -1;
			memset(blocks[i], round, PROBE_BLOCK - 64);
		}
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			free(blocks[i]);
	}
	return 0;
}

static long try_big_heap(int v)
{
	void *p = malloc((size_t)PROBE_HEAP + (size_t)v);

	if (!p)
		return -1;
	memset(p, 1, PROBE_HEAP);
	free(p);
	return 0;
}

/* A thread made before lock-down sleeps in read() until it gets its job. */
static void *thread_main(void *arg)
{
	char byte;

	(void)arg;
	/* glibc's own first calls of a thread are on no list. */
	if (write(ready_pipe[1], "", 1) != 1 ||
	    read(thread_pipe[0], &byte, 1) != 1)
		return NULL;
	thread_job(NULL);
	for (;;)
		if (read(thread_pipe[0], &byte, 1) < 0)
			return NULL;
}

static volatile int thread_result = -1;

static void *thread_heap(void *arg)
{
	(void)arg;
	thread_result = try_heap(0) == 0 ? 0 : ENOMEM;
	return NULL;
}

static void *thread_getppid(void *arg)
{
	(void)arg;
	thread_result = getppid() == 1 ? 0 : EINVAL;
	return NULL;
}

static void *thread_narrow(void *arg)
{
	struct err e;

	(void)arg;
	if (sandbox_lock_thread(&seccomp_profile_probethread, &e) < 0) {
		thread_result = -e.code;
		return NULL;
	}
	thread_result = 0;
	/* Allowed in the process, not in this thread. */
	fcntl(SANDBOX_FD_NULL1, F_GETFL);
	thread_result = EEXIST;
	return NULL;
}

static void *thread_narrow_then_sleep(void *arg)
{
	struct err e;

	(void)arg;
	thread_result = -sandbox_lock_thread(&seccomp_profile_probethread, &e);
	return NULL;
}

static long try_thread(int v)
{
	static void *(*const jobs[])(void *) = {thread_heap, thread_getppid,
						thread_narrow,
						thread_narrow_then_sleep};

	thread_job = jobs[v];
	if (write(thread_pipe[1], "", 1) != 1)
		return -1;
	while (thread_result < 0)
		continue;
	/* The third never survives its last call: wait for that. */
	while (v == 2 && thread_result == 0)
		continue;
	/* The others of the process keep the wider list. */
	if (v == 3 && fcntl(SANDBOX_FD_NULL1, F_GETFL) < 0)
		return -1;
	errno = thread_result;
	return thread_result ? -1 : 0;
}

static long try_new_thread(int v)
{
	pthread_t t;

	(void)v;
	errno = pthread_create(&t, NULL, thread_main, NULL);
	return errno ? -1 : 0;
}

static long try_lock_twice(int v)
{
	struct err e;
	int r = sandbox_lock(&seccomp_profile_probe, NULL, &e);

	(void)v;
	errno = -r;
	return r;
}

static const struct attempt {
	const char *name;
	long (*run)(int value);
	bool threads; /* start the sleeping thread before lock-down */
} attempts[] = {
	{"open-root", try_open_root, false},
	{"open-proc", try_open_proc, false},
	{"open-up", try_open_up, false},
	{"create", try_create, false},
	{"socket", try_socket, false},
	{"connect", try_connect, false},
	{"abstract", try_abstract, false},
	{"ptrace", try_ptrace, false},
	{"read-memory", try_read_memory, false},
	{"kill", try_kill, false},
	{"mount", try_mount, false},
	{"remount", try_remount, false},
	{"unshare", try_unshare, false},
	{"chroot", try_chroot, false},
	{"setuid", try_setuid, false},
	{"setgroups", try_setgroups, false},
	{"sethostname", try_sethostname, false},
	{"exec-memory", try_exec_memory, false},
	{"exec-mprotect", try_exec_mprotect, false},
	{"mprotect", try_mprotect, false},
	{"execve", try_execve, false},
	{"syscall", try_syscall, false},
	{"x32", try_x32, false},
#if defined(__x86_64__)
	{"int80", try_int80, false},
#endif
	{"write", try_write, false},
	{"fcntl", try_fcntl, false},
	{"heap", try_heap, false},
	{"big-heap", try_big_heap, false},
	{"thread", try_thread, true},
	{"new-thread", try_new_thread, false},
	{"lock-twice", try_lock_twice, false},
};

static void enter_stage(uint32_t stage, bool threads)
{
	struct err e;
	char byte;

	if (stage >= PROBE_RESTRICTED && sandbox_restrict(NULL, &e) < 0)
		_exit(100);
	if (threads && (pipe(thread_pipe) < 0 || pipe(ready_pipe) < 0 ||
			pthread_create(&thread, NULL, thread_main, NULL) ||
			read(ready_pipe[0], &byte, 1) != 1))
		_exit(101);
	if (stage >= PROBE_LOCKED &&
	    sandbox_lock(&seccomp_profile_probe, NULL, &e) < 0)
		_exit(102);
}

static void run_attempt(const struct attempt *a,
			const struct probe_request *req,
			struct probe_reply *ret)
{
	int result[2], status;
	pid_t pid;

	check(pipe2(result, O_CLOEXEC) == 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		int32_t error = 0;

		enter_stage(req->stage, a->threads);
		errno = 0;
		if (a->run(req->value) < 0)
			error = errno;
		check(write(result[1], &error, sizeof(error)) ==
		      (ssize_t)sizeof(error));
		_exit(0);
	}
	close(result[1]);
	ret->done = read(result[0], &ret->error, sizeof(ret->error)) ==
		    (ssize_t)sizeof(ret->error);
	close(result[0]);
	check(waitpid(pid, &status, 0) == pid);
	ret->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		ret->error = -WEXITSTATUS(status);
}

static void describe(struct probe_reply *ret)
{
	size_t n = 0;

	for (unsigned int i = 0; i < report.num_layers; i++)
		n += (size_t)snprintf(ret->text + n, sizeof(ret->text) - n,
				      "%s;", report.layers[i]);
	for (unsigned int i = 0; i < report.num_downgrades; i++)
		n += (size_t)snprintf(ret->text + n, sizeof(ret->text) - n,
				      "-%s;", report.downgrades[i]);
	ret->syscalls = report.syscalls;
	ret->done = 1;
}

static void lock_self(void)
{
	struct probe_reply reply = {0};
	struct err e;
	char byte;

	check(sandbox_restrict(&report, &e) == 0);
	check(sandbox_lock(&seccomp_profile_probe, &report, &e) == 0);
	describe(&reply);
	if (write(SANDBOX_FD_CHANNEL, &reply, sizeof(reply)) < 0)
		_exit(1);
	/* The end of the channel is the end of the program. */
	while (read(SANDBOX_FD_CHANNEL, &byte, 1) > 0)
		continue;
	_exit(0);
}

int main(void)
{
	struct probe_request req;
	struct err e;

	if (sandbox_start(PROBE_HEAP, &report, &e) < 0) {
		dprintf(2, "%s\n", e.text);
		return 1;
	}
	while (read(SANDBOX_FD_CHANNEL, &req, sizeof(req)) ==
	       (ssize_t)sizeof(req)) {
		struct probe_reply reply = {0};

		if (!strcmp(req.name, "lock"))
			lock_self();
		if (!strcmp(req.name, "sleep"))
			for (;;)
				pause();
		for (size_t i = 0; i < ARRAY_SIZE(attempts); i++)
			if (!strcmp(req.name, attempts[i].name))
				run_attempt(&attempts[i], &req, &reply);
		check(write(SANDBOX_FD_CHANNEL, &reply, sizeof(reply)) ==
		      (ssize_t)sizeof(reply));
	}
	return 0;
}
