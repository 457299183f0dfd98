/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/cleanup.h"

static void rundir_where(char *ret, size_t len)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(ret, len, "/run/bulkhead");
	else if (xdg && xdg[0] == '/')
		snprintf(ret, len, "%s/bulkhead", xdg);
	else
		snprintf(ret, len, "/tmp/bulkhead-%u", (unsigned)geteuid());
}

int rundir_path(char *ret, size_t len, struct err *e)
{
	struct stat st;

	rundir_where(ret, len);
	if (mkdir(ret, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make the run folder %s", ret);
	if (lstat(ret, &st) < 0)
		return err_errno(e, "cannot examine the run folder %s", ret);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077))
		return err_set(e, -EPERM,
			       "%s is not a folder of mode 0700 that belongs "
			       "to you; remove it",
			       ret);
	return 0;
}

int rundir_name_ok(const char *name, struct err *e)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);

	if (!len || len > RUNDIR_NAME_MAX || strspn(name, ok) != len ||
	    name[0] == '.' || name[0] == '-')
		return err_set(e, -EINVAL,
			       "--name \"%s\": a name has 1 to %d letters, "
			       "digits, '.', '_', '-', and begins with a "
			       "letter, digit or '_'",
			       name, RUNDIR_NAME_MAX);
	return 0;
}

static int rundir_address(const char *name, struct sockaddr_un *sa,
			  struct err *e)
{
	char dir[PATH_MAX];
	int n, r = rundir_path(dir, sizeof(dir), e);

	if (r < 0)
		return r;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/%s.sock", dir,
		     name);
	if (n < 0 || (size_t)n >= sizeof(sa->sun_path))
		return err_set(e, -ENAMETOOLONG,
			       "%s/%s.sock is too long for a socket", dir,
			       name);
	return 0;
}

int rundir_socket(const char *name, char *ret_path, size_t len, struct err *e)
{
	struct sockaddr_un sa;
	int r = rundir_address(name, &sa, e);

	if (r == 0)
		snprintf(ret_path, len, "%s", sa.sun_path);
	return r;
}

int rundir_connect(const char *name, struct err *e)
{
	struct sockaddr_un sa;
	int r;

	if (rundir_name_ok(name, NULL) < 0)
		return err_set(e, -ENOENT,
			       "\"%s\" is not the name of a VM; `bulkhead ps` "
			       "lists those that are running",
			       name);
	r = rundir_address(name, &sa, e);
	if (r < 0)
		return r;
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(e, -ENOENT,
				       "no VM \"%s\" is running; `bulkhead "
				       "ps` lists those that are",
				       name);
		return err_errno(e, "cannot reach VM \"%s\"", name);
	}
	return take_fd(&fd);
}

int rundir_listen(const char *name, char *ret_path, size_t len, int *ret_fd,
		  struct err *e)
{
	struct sockaddr_un sa;
	int r = rundir_name_ok(name, e);

	if (r == 0)
		r = rundir_address(name, &sa, e);
	if (r < 0)
		return r;
	r = rundir_connect(name, NULL);
	if (r >= 0) {
		fd_close(r);
		return err_set(e, -EEXIST,
			       "--name \"%s\": a VM of this name is running",
			       name);
	}
	unlink(sa.sun_path);
	auto_fd fd = socket(AF_UNIX,
			    SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(e, "cannot make a socket");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 8) < 0)
		return err_errno(e, "cannot listen at %s", sa.sun_path);
	snprintf(ret_path, len, "%s", sa.sun_path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int rundir_each(int (*cb)(const char *name, int fd, void *arg), void *arg,
		struct err *e)
{
	struct dirent **list;
	char dir[PATH_MAX];
	int n, found = 0, r = 0;

	rundir_where(dir, sizeof(dir));
	n = scandir(dir, &list, NULL, alphasort);
	if (n < 0)
		return errno == ENOENT ? 0
				       : err_errno(e, "cannot list %s", dir);
	for (int i = 0; i < n; i++) {
		char *dot = strrchr(list[i]->d_name, '.');

		if (r == 0 && dot && dot != list[i]->d_name &&
		    !strcmp(dot, ".sock")) {
			*dot = '\0';
			auto_fd fd = rundir_connect(list[i]->d_name, NULL);

			if (fd >= 0) {
				r = cb(list[i]->d_name, fd, arg);
				found++;
			}
		}
		free(list[i]);
	}
	free(list);
	return r < 0 ? r : found;
}
