/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/open.h"

static char folder[] = "/tmp/bulkhead-open-XXXXXX";
static char path[128];
static struct config_console c;
static struct opened o;
static struct err e;

static void begin(void)
{
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/it", folder);
	opened_init(&o);
	memset(&c, 0, sizeof(c));
	c.path = path;
}

static void end(void)
{
	opened_close(&o);
	unlink(path);
	rmdir(folder);
}

static int listen_at(const char *where)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, where, strnlen(where, 100));
	cr_assert(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
		  !listen(fd, 1));
	return fd;
}

static void open_as(enum config_console_mode mode, int want)
{
	c.mode = mode;
	cr_assert_eq(open_console(&c, "console", &o, &e), want, "%s", e.text);
}

TestSuite(open_console, .init = begin, .fini = end, .timeout = 20);

Test(open_console, null_has_nothing)
{
	open_as(CONSOLE_NULL, 0);
	cr_assert(o.num_fds == 0 && !o.console.has_output);
}

Test(open_console, file_is_made_for_its_owner_alone)
{
	struct stat st;

	open_as(CONSOLE_FILE, 0);
	cr_assert(o.num_fds == 1 && o.console.has_output);
	cr_assert(!stat(path, &st) && (st.st_mode & 0777) == 0600);
}

Test(open_console, file_says_why_it_fails)
{
	c.path = folder;
	open_as(CONSOLE_FILE, -EISDIR);
	cr_assert_not_null(strstr(e.text, folder));
}

Test(open_console, socket_waits_for_a_client_and_goes_with_the_vm)
{
	struct stat st;

	open_as(CONSOLE_SOCKET, 0);
	cr_assert(o.num_fds == 0 && o.listen_fd >= 0);
	cr_assert(o.console.waits_for_client);
	cr_assert(!lstat(path, &st) && S_ISSOCK(st.st_mode));
	cr_assert_eq(st.st_mode & 0777, 0600);
	opened_close(&o);
	cr_assert_eq(lstat(path, &st), -1);
}

Test(open_console, socket_never_replaces_a_live_one)
{
	int fd = listen_at(path);
	struct stat st;

	open_as(CONSOLE_SOCKET, -EADDRINUSE);
	opened_close(&o);
	cr_assert_eq(lstat(path, &st), 0, "still there");
	close(fd);
}

Test(open_console, socket_replaces_what_a_crash_left)
{
	close(listen_at(path));
	open_as(CONSOLE_SOCKET, 0);
}

Test(open_console, socket_replaces_no_other_file)
{
	struct stat st;

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	open_as(CONSOLE_SOCKET, -EEXIST);
	opened_close(&o);
	cr_assert(!lstat(path, &st) && S_ISREG(st.st_mode));
}

Test(open_console, socket_path_has_a_limit)
{
	memset(path, 'x', sizeof(path) - 1);
	open_as(CONSOLE_SOCKET, -ENAMETOOLONG);
}

Test(open_console, pty_is_raw_and_never_hangs_up)
{
	char buf[16];
	int slave;

	open_as(CONSOLE_PTY, 0);
	cr_assert(o.num_fds == 1 && o.console.output_is_input);
	slave = open(o.peer_name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_geq(slave, 0);
	cr_assert_eq(write(o.fds[0], "a\n", 2), 2);
	cr_assert_eq(read(slave, buf, sizeof(buf)), 2);
	cr_assert_eq(buf[1], '\n');
	close(slave);
	cr_assert_eq(read(o.fds[0], buf, sizeof(buf)), -1);
	cr_assert_eq(errno, EAGAIN, "no hang-up, no echo");
}

/* The flags of the descriptors that the user's shell shares stay theirs. */
Test(open_console, tty_leaves_shared_flags_alone)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	dup2(fds[0], STDIN_FILENO);
	open_as(CONSOLE_TTY, 0);
	cr_assert(o.console.has_input && o.fds[0] > 2);
	cr_assert(fcntl(o.fds[0], F_GETFL) & O_NONBLOCK);
	cr_assert(!(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK));
}

Test(open_console, tty_needs_some_descriptor)
{
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	open_as(CONSOLE_TTY, -EBADF);
}

TestSuite(open_rng, .init = begin, .fini = end, .timeout = 20);

Test(open_rng, takes_devices_files_and_fifos)
{
	char buf[4];

	cr_assert_eq(open_rng(NULL, &o, &e), 0);
	cr_assert_eq(read(o.fds[0], buf, 4), 4);
	opened_close(&o);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(open_rng(path, &o, &e), 0);
	cr_assert_eq(read(o.fds[0], buf, 4), -1);
	cr_assert_eq(errno, EAGAIN, "slow, not at its end");
}

Test(open_rng, refuses_other_things)
{
	cr_assert_eq(open_rng(folder, &o, &e), -EINVAL);
	cr_assert_eq(open_rng(path, &o, &e), -ENOENT);
	cr_assert_not_null(strstr(e.text, path));
}
