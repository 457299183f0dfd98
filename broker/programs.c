/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"

static struct {
	const char *role;
	int fd;	       /* what children are started from */
	int candidate; /* of an upgrade; -1 = none */
	struct stat original;
} programs[] = {
	{.role = "core", .fd = -1, .candidate = -1},
	{.role = "loader", .fd = -1, .candidate = -1},
	{.role = "blk", .fd = -1, .candidate = -1},
	{.role = "net", .fd = -1, .candidate = -1},
	{.role = "console", .fd = -1, .candidate = -1},
	{.role = "rng", .fd = -1, .candidate = -1},
	{.role = "keeper", .fd = -1, .candidate = -1},
};

static char programs_dir[PATH_MAX];
static int programs_null = -1;

static int programs_open_one(const char *role)
{
	static const char *const places[] = {"", "/../libexec/bulkhead"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char path[PATH_MAX];
		int fd;
		int n = snprintf(path, sizeof(path), "%s%s/bulkhead-%s",
				 programs_dir, places[i], role);

		if (n < 0 || (size_t)n >= sizeof(path))
			continue;
		fd = open(path, O_PATH | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

static int programs_missing(const char *role, struct err *e)
{
	return err_errno(e,
			 "cannot open program bulkhead-%s in %s or "
			 "%s/../libexec/bulkhead",
			 role, programs_dir, programs_dir);
}

int programs_open(struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", programs_dir,
			     sizeof(programs_dir) - 1);
	char *slash;

	if (n < 0)
		return err_errno(e, "cannot find my own executable through "
				    "/proc/self/exe; is /proc mounted?");
	programs_dir[n] = '\0';
	slash = strrchr(programs_dir, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		programs[i].fd = programs_open_one(programs[i].role);
		if (programs[i].fd < 0)
			return programs_missing(programs[i].role, e);
		if (fstat(programs[i].fd, &programs[i].original) < 0)
			return err_errno(e, "cannot examine bulkhead-%s",
					 programs[i].role);
	}
	programs_null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (programs_null < 0)
		return err_errno(e, "cannot open /dev/null");
	return 0;
}

void programs_close(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		programs[i].fd = fd_close(programs[i].fd);
		programs[i].candidate = fd_close(programs[i].candidate);
	}
	programs_null = fd_close(programs_null);
}

int programs_look_again(const char *role, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		if (strcmp(programs[i].role, role))
			continue;
		fd_close(programs[i].candidate);
		programs[i].candidate = programs_open_one(role);
		return programs[i].candidate < 0 ? programs_missing(role, e)
						 : 0;
	}
	return err_set(e, -ENOENT, "no program of role %s", role);
}

void programs_accept(const char *role)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strcmp(programs[i].role, role) &&
		    programs[i].candidate >= 0) {
			fd_close(programs[i].fd);
			programs[i].fd = take_fd(&programs[i].candidate);
		}
}

int programs_fd(const char *role, bool candidate)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strcmp(programs[i].role, role))
			return candidate && programs[i].candidate >= 0
				       ? programs[i].candidate
				       : programs[i].fd;
	return -1;
}

bool programs_is_original(const char *role, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strcmp(programs[i].role, role))
			return programs[i].original.st_dev == dev &&
			       programs[i].original.st_ino == ino;
	return false;
}

int programs_open_probe(struct err *e)
{
	int fd = programs_open_one("probe-role");

	return fd < 0 ? programs_missing("probe-role", e) : fd;
}

int programs_null_fd(void)
{
	return programs_null;
}
