/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/passt.h"
#include "broker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/sandbox/sandbox.h"

#define START_MS  1000 /* it takes about 5 */
#define STOP_MS	  500  /* then SIGKILL */
#define SOCKET_FD 3    /* in passt */
#define TEXT_MAX  4096
#define ARGS_MAX  16
#define FILES_MAX 65536 /* one a connection */

/* Our own processes use the lower 48 of the first 64 identities, and others
 * behind these. */
#define HOST_ID_PASST 48u

static const char *const paths[] = {"/usr/bin/passt", "/usr/local/bin/passt"};

static const char *find_program(struct err *e)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++)
		if (!access(paths[i], X_OK))
			return paths[i];
	err_set(e, -ENOENT,
		"backend=passt: %s is missing; install the package passt "
		"(apt install passt)",
		paths[0]);
	return NULL;
}

struct arguments {
	const char *argv[ARGS_MAX];
	char mtu[16];
	char mac[32];
};

static void build_arguments(struct arguments *a, const char *path,
			    const struct passt_args *args)
{
	unsigned int n = 0;

	a->argv[n++] = path;
	a->argv[n++] = "--foreground";
	a->argv[n++] = "--one-off"; /* ends with the connection */
	a->argv[n++] = "--fd";
	a->argv[n++] = "3"; /* SOCKET_FD */
	if (args->mtu) {
		snprintf(a->mtu, sizeof(a->mtu), "%u", args->mtu);
		a->argv[n++] = "--mtu";
		a->argv[n++] = a->mtu;
	}
	if (args->host_mac) {
		const uint8_t *m = args->host_mac;

		snprintf(a->mac, sizeof(a->mac),
			 "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
			 m[3], m[4], m[5]);
		a->argv[n++] = "--mac-addr";
		a->argv[n++] = a->mac;
	}
	a->argv[n] = NULL;
}

static void limit(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit r;

	if (getrlimit(what, &r) < 0)
		return;
	if (r.rlim_max > most)
		r.rlim_max = most;
	if (r.rlim_cur > r.rlim_max)
		r.rlim_cur = r.rlim_max;
	setrlimit(what, &r);
}

static bool drop_identity(uid_t id)
{
	if (!sandbox_may_give_ids(id, id))
		return true;
	return !setgroups(0, NULL) && !setresgid(id, id, id) &&
	       !setresuid(id, id, id);
}

/* Descriptors 0-3 and nothing else; the sources may be anything above 2. */
static bool arrange_fds(int null_fd, int log_fd, int socket_fd)
{
	int high_log = fcntl(log_fd, F_DUPFD_CLOEXEC, 10);
	int high_socket = fcntl(socket_fd, F_DUPFD_CLOEXEC, 10);
	int high_null = fcntl(null_fd, F_DUPFD_CLOEXEC, 10);

	return high_log >= 0 && high_socket >= 0 && high_null >= 0 &&
	       dup2(high_null, 0) == 0 && dup2(high_null, 1) == 1 &&
	       dup2(high_log, 2) == 2 && dup2(high_socket, SOCKET_FD) >= 0 &&
	       !close_range(SOCKET_FD + 1, ~0u, 0);
}

_Noreturn static void child(const struct arguments *a, uid_t id, int null_fd,
			    int log_fd, int socket_fd)
{
	char *const no_environment[] = {NULL};
	const char *step = "arrange descriptors";
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!arrange_fds(null_fd, log_fd, socket_fd))
		goto fail;
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_NOFILE, FILES_MAX);
	step = "leave the terminal";
	if (setsid() < 0 || chdir("/") < 0)
		goto fail;
	step = "give up privileges";
	if (!drop_identity(id) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		goto fail;
	step = "execute it";
	execve(a->argv[0], (char *const *)(uintptr_t)a->argv, no_environment);
fail:
	dprintf(2, "can't %s: %s\n", step, strerror(errno));
	_exit(127);
}

/* What it said last; without the lines about a missing syslog. */
static void last_words(char *text, char *ret, size_t len)
{
	char *save = NULL;

	snprintf(ret, len, "no reason given");
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, "Failed to send", 14))
			continue;
		for (char *c = line; *c; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
		snprintf(ret, len, "%.200s", line);
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * It serves once it has told its configuration ("MAC:" is in it since ever),
 * or is silent for long; it has given up when its end of the pipe is closed.
 */
static int wait_until_ready(int log_fd, struct err *e)
{
	char text[TEXT_MAX], reason[256];
	int64_t end = now_ms() + START_MS;
	size_t used = 0;

	for (;;) {
		struct pollfd p = {.fd = log_fd, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0 || used == sizeof(text) - 1)
			return 0;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(log_fd, text + used, sizeof(text) - 1 - used);
		if (n < 0)
			continue;
		if (!n)
			break;
		used += (size_t)n;
		text[used] = '\0';
		if (strstr(text, "MAC:"))
			return 0;
	}
	text[used] = '\0';
	last_words(text, reason, sizeof(reason));
	return err_set(e, -EIO, "backend=passt: passt ended at once: %s",
		       reason);
}

int passt_start(const struct passt_args *args, struct passt *ret, struct err *e)
{
	static unsigned int started;
	const char *path = find_program(e);
	uid_t id = SANDBOX_HOST_IDS + (uid_t)getpid() * CHILD_IDS +
		   HOST_ID_PASST + (started++ & 15);
	auto_fd null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int pair[2] = {-1, -1}, log[2] = {-1, -1}, rc;
	struct arguments a;
	pid_t pid;

	if (!path)
		return -ENOENT;
	if (null_fd < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "backend=passt: can't make a socket pair");
	auto_fd ours = pair[0];
	auto_fd theirs = pair[1];
	if (pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "backend=passt: can't make a pipe");
	auto_fd log_in = log[0];
	auto_fd log_out = log[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(e, "backend=passt: can't set up its socket");
	build_arguments(&a, path, args);
	pid = fork();
	if (pid < 0)
		return err_errno(e, "backend=passt: can't start a process");
	if (!pid)
		child(&a, id, null_fd, log_out, theirs);
	/* Not reaped yet, so the number is still the child's. */
	auto_fd pidfd = pidfd_open(pid, 0);
	log_out = fd_close(log_out);
	theirs = fd_close(theirs);
	if (pidfd < 0)
		rc = err_errno(e, "backend=passt: can't watch the process");
	else
		rc = wait_until_ready(log_in, e);
	if (rc) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return rc;
	}
	ret->fd = take_fd(&ours);
	ret->log_fd = take_fd(&log_in);
	ret->pidfd = take_fd(&pidfd);
	ret->pid = pid;
	return 0;
}

void passt_stop(pid_t pid, int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pid <= 0 || pidfd < 0)
		return;
	pidfd_send_signal(pidfd, SIGTERM, NULL, 0);
	if (poll(&p, 1, STOP_MS) < 1)
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	waitpid(pid, NULL, 0);
	fd_close(pidfd);
}
