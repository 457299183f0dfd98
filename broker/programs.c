/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"

static struct {
	const char *role;
	int fd;
} programs[] = {
	{"core", -1}, {"loader", -1},  {"blk", -1},
	{"net", -1},  {"console", -1}, {"rng", -1},
};

static int programs_null = -1;

static int programs_open_one(const char *dir, const char *role)
{
	static const char *const places[] = {"", "/../libexec/bulkhead"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char path[PATH_MAX];
		int fd;
		int n = snprintf(path, sizeof(path), "%s%s/bulkhead-%s", dir,
				 places[i], role);

		if (n < 0 || (size_t)n >= sizeof(path))
			continue;
		fd = open(path, O_PATH | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

int programs_open(struct err *e)
{
	char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char *slash;

	if (n < 0)
		return err_errno(e, "cannot find my own executable through "
				    "/proc/self/exe; is /proc mounted?");
	dir[n] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		programs[i].fd = programs_open_one(dir, programs[i].role);
		if (programs[i].fd < 0)
			return err_errno(e,
					 "cannot open program bulkhead-%s in "
					 "%s or %s/../libexec/bulkhead",
					 programs[i].role, dir, dir);
	}
	programs_null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (programs_null < 0)
		return err_errno(e, "cannot open /dev/null");
	return 0;
}

void programs_close(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		programs[i].fd = fd_close(programs[i].fd);
	programs_null = fd_close(programs_null);
}

int programs_fd(const char *role)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strcmp(programs[i].role, role))
			return programs[i].fd;
	return -1;
}

int programs_null_fd(void)
{
	return programs_null;
}
