/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the serial port and of the virtio console.
 *
 * mode    descriptors for the device          stays with the broker
 * null    none
 * tty     standard input, standard output
 * pty     master, both ways                   slave, so that the master never
 *                                             hangs up
 * file    output
 * socket  none yet; each client by Attach     the listening socket
 *
 * The device wants O_NONBLOCK, a flag of the open file description, and the
 * user's shell shares that of our standard descriptors: so they are opened
 * once more. Where that is impossible (a socket, somebody else's pipe) the
 * device gets the shared one as it is and polls before each small transfer.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "broker/logfile.h"
#include "broker/open.h"
#include "broker/terminal.h"
#include "common/base/cleanup.h"

#define FILE_MODE 0600

/* Return: a descriptor, -1 if @fd is closed */
static int console_reopen(int fd, int access)
{
	char path[32];
	struct stat st;
	int ret = -1;

	if (fstat(fd, &st) < 0)
		return -1;
	/* A regular file has a position to share, and never blocks. */
	if (!S_ISREG(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ret = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	return ret < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : ret;
}

static int console_open_tty(const char *what, struct opened *ret, struct err *e)
{
	auto_fd in = console_reopen(STDIN_FILENO, O_RDONLY);
	auto_fd out = console_reopen(STDOUT_FILENO, O_WRONLY);

	if (in < 0 && out < 0)
		return err_set(e, -EBADF,
			       "--%s tty: standard input and output are "
			       "closed; use --%s off, null or file=",
			       what, what);
	ret->console.has_input = in >= 0;
	ret->console.has_output = out >= 0;
	terminal_size(&ret->console.cols, &ret->console.rows);
	if (in >= 0)
		ret->fds[ret->num_fds++] = take_fd(&in);
	if (out >= 0)
		ret->fds[ret->num_fds++] = take_fd(&out);
	return 0;
}

static int console_open_slave(const char *path, struct err *e)
{
	struct termios raw;

	auto_fd slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return err_errno(e, "can't open the new terminal %s", path);
	/* Bytes pass as they are; nothing is echoed to the guest. */
	if (tcgetattr(slave, &raw) < 0)
		return err_errno(e, "can't read the settings of %s", path);
	cfmakeraw(&raw);
	if (tcsetattr(slave, TCSANOW, &raw) < 0)
		return err_errno(e, "can't make %s raw", path);
	return take_fd(&slave);
}

static int console_open_pty(const char *what, struct opened *ret, struct err *e)
{
	char path[64];
	int slave;

	auto_fd master =
		posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return err_errno(e,
				 "--%s pty: can't make a pseudo-terminal (is "
				 "/dev/pts mounted?)",
				 what);
	if (ptsname_r(master, path, sizeof(path)) != 0)
		return err_errno(e, "--%s pty: the terminal has no name", what);
	slave = console_open_slave(path, e);
	if (slave < 0)
		return err_prefix(e, "--%s pty", what);
	ret->keep_fds[0] = slave;
	ret->peer_name = strdup(path);
	if (!ret->peer_name)
		return err_set(e, -ENOMEM, "--%s pty: no memory", what);
	/* Without it nobody finds the terminal. */
	logfile_notice("--%s pty: %s", what, path);
	ret->console.has_input = true;
	ret->console.has_output = true;
	ret->console.output_is_input = true;
	ret->fds[0] = take_fd(&master);
	ret->num_fds = 1;
	return 0;
}

static int console_open_file(const char *path, const char *what,
			     struct opened *ret, struct err *e)
{
	auto_fd fd = open(path,
			  O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY |
				  O_CLOEXEC,
			  FILE_MODE);

	if (fd < 0 && errno == ENXIO)
		return err_set(e, -ENXIO,
			       "--%s file=%s: nobody reads this FIFO; start "
			       "the reader first",
			       what, path);
	if (fd < 0)
		return err_errno(e, "--%s file=%s: can't open it for writing",
				 what, path);
	ret->console.has_output = true;
	ret->fds[0] = take_fd(&fd);
	ret->num_fds = 1;
	return 0;
}

/* A socket left by a crash is replaced, a live one or anything else is not. */
static int console_clear_path(const struct sockaddr_un *addr, const char *what,
			      struct err *e)
{
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT
			       ? 0
			       : err_errno(e,
					   "--%s socket=%s: can't look at it",
					   what, addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST,
			       "--%s socket=%s: it exists and is not a socket; "
			       "remove it or choose another path",
			       what, addr->sun_path);

	auto_fd fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, "--%s socket=%s: can't make a socket", what,
				 addr->sun_path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno != ECONNREFUSED)
		return err_set(e, -EADDRINUSE,
			       "--%s socket=%s: another process listens there; "
			       "choose another path",
			       what, addr->sun_path);
	if (unlink(addr->sun_path) < 0)
		return err_errno(e,
				 "--%s socket=%s: can't remove the socket left "
				 "by an earlier run",
				 what, addr->sun_path);
	return 0;
}

static int console_open_socket(const char *path, const char *what,
			       struct opened *ret, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(
			e, -ENAMETOOLONG,
			"--%s socket=%s: the path is longer than %zu bytes",
			what, path, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	r = console_clear_path(&addr, what, e);
	if (r < 0)
		return r;

	auto_fd fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, "--%s socket=%s: can't make a socket", what,
				 path);
	mask = umask(0777 & ~FILE_MODE);
	r = bind(fd, (const struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (r < 0)
		return err_errno(e, "--%s socket=%s: can't make it", what,
				 path);
	ret->unlink_path = strdup(path);
	if (!ret->unlink_path) {
		unlink(path);
		return err_set(e, -ENOMEM, "--%s socket=%s: no memory", what,
			       path);
	}
	if (listen(fd, 1) < 0)
		return err_errno(e, "--%s socket=%s: can't listen", what, path);
	ret->console.waits_for_client = true;
	ret->listen_fd = take_fd(&fd);
	return 0;
}

int open_console(const struct config_console *c, const char *what,
		 struct opened *ret, struct err *e)
{
	bulkhead__console_setup__init(&ret->console);
	switch (c->mode) {
	case CONSOLE_OFF:
	case CONSOLE_NULL:
		return 0;
	case CONSOLE_TTY:
		return console_open_tty(what, ret, e);
	case CONSOLE_PTY:
		return console_open_pty(what, ret, e);
	case CONSOLE_FILE:
		return console_open_file(c->path, what, ret, e);
	case CONSOLE_SOCKET:
		return console_open_socket(c->path, what, ret, e);
	}
	return err_set(e, -EINVAL, "--%s: unknown mode", what);
}
