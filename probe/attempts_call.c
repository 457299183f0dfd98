/* SPDX-License-Identifier: Apache-2.0 */

/* Attempts that are more than one system call. */

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/sandbox/sandbox.h"
#include "probe/probe.h"

#define VSYSCALL_TIME                                                          \
	0xffffffffff600400UL /* x86: time() at a fixed address                 \
			      */

static int made_memfd = -1, made_socket = -1;
static char clone_stack[16384] __attribute__((aligned(16)));

/* Descriptors that only the attempts have, to come to the second step. */
void attempts_prepare(void)
{
	made_memfd = memfd_create("probe", MFD_CLOEXEC);
	made_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* A return instruction in data. */
long attempt_exec_data(void)
{
	static unsigned char code[16] = {0xc3};
	void (*fn)(void) = (void (*)(void))(uintptr_t)code;

	fn();
	return 0;
}

long attempt_write_text(void)
{
	volatile unsigned char *p =
		(volatile unsigned char *)(uintptr_t)&attempt_exec_data;

	*p = 0xc3;
	return 0;
}

long attempt_protect_text(void)
{
	uintptr_t page = (uintptr_t)&attempt_exec_data & ~(uintptr_t)4095;

	return mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

#if defined(__x86_64__)
static long int80(long number, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

long attempt_int80_open(void)
{
	return int80(5, 0, 0, 0);
}

long attempt_int80_execve(void)
{
	return int80(11, 0, 0, 0);
}

long attempt_int80_socketcall(void)
{
	return int80(102, 1, 0, 0);
}

long attempt_vsyscall(void)
{
	long (*fn)(long *) = (long (*)(long *))VSYSCALL_TIME;

	return fn(NULL);
}
#else
/* No other way into the kernel there. */
long attempt_int80_open(void)
{
	errno = ENOSYS;
	return -1;
}

long attempt_int80_execve(void)
{
	return attempt_int80_open();
}

long attempt_int80_socketcall(void)
{
	return attempt_int80_open();
}

long attempt_vsyscall(void)
{
	return attempt_int80_open();
}
#endif

long attempt_memfd_exec(void)
{
	char *const none[] = {NULL};

	return syscall(SYS_execveat, made_memfd, "", none, none, 0x1000);
}

long attempt_connect_abstract(void)
{
	static const struct sockaddr_un a = {.sun_family = AF_UNIX,
					     .sun_path = "\0bulkhead-probe"};

	return connect(made_socket, (const struct sockaddr *)&a, sizeof(a));
}

long attempt_connect_host(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(22),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int thread_main(void *arg)
{
	(void)arg;
	syscall(SYS_exit, 0);
	return 0;
}

long attempt_thread(void)
{
	return clone(thread_main, clone_stack + sizeof(clone_stack),
		     CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, NULL);
}

long attempt_fork(void)
{
	long pid = syscall(SYS_fork);

	if (pid == 0)
		_exit(0);
	return pid;
}

/* ---- over the channel ---- */

static long smuggle(const void *data, size_t len, unsigned int num_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(64 * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data,
			    .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	int fds[64];

	memset(&control, 0, sizeof(control));
	for (unsigned int i = 0; i < num_fds; i++)
		fds[i] = SANDBOX_FD_NULL0;
	if (num_fds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
	}
	return sendmsg(SANDBOX_FD_CHANNEL, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Without a body it would be a message of some kind. */
long attempt_smuggle_empty(void)
{
	return smuggle("", 1, 1);
}

long attempt_smuggle_garbage(void)
{
	static const unsigned char junk[64] = {0xff, 0xff, 0xff, 0x0f,
					       0xde, 0xad, 0xbe, 0xef};

	return smuggle(junk, sizeof(junk), 1);
}

/* A well-formed answer {seq=1, answers=1, status={}}: no descriptors belong
 * to one of a device's or the loader's. */
long attempt_smuggle_answer(void)
{
	static const unsigned char answer[] = {0x08, 1, 0x10, 1, 0x1a, 0};

	return smuggle(answer, sizeof(answer), 1);
}

long attempt_smuggle_many(void)
{
	static const unsigned char answer[] = {0x08, 1, 0x10, 1, 0x1a, 0};

	return smuggle(answer, sizeof(answer), 64);
}

long attempt_smuggle_credentials(void)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control = {.buf = {0}};
	struct ucred root = {.pid = 1};
	struct iovec iov = {.iov_base = control.buf, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(root));
	memcpy(CMSG_DATA(c), &root, sizeof(root));
	return sendmsg(SANDBOX_FD_CHANNEL, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Longer than any message may be. */
long attempt_smuggle_large(void)
{
	static char large[160 * 1024];

	memset(large, 0xff, sizeof(large));
	return smuggle(large, sizeof(large), 0);
}
