/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: handle every right that this kernel knows, grant none. Numbers
 * are from the kernel's interface description; the distribution's headers
 * know only the first versions.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/sandbox/internal.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif
#define LANDLOCK_ASK_VERSION 1u

struct landlock_rules {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

/* Rights by the version that brought them; each is bits [0, n). */
static const struct {
	uint8_t fs;
	uint8_t net;
	uint8_t scoped;
	uint8_t size; /* of the part of the struct that this version knows */
} landlock_versions[] = {
	{0, 0, 0, 0},	{13, 0, 0, 8}, /* 1: files */
	{14, 0, 0, 8},		       /* 2: refer */
	{15, 0, 0, 8},		       /* 3: truncate */
	{15, 2, 0, 16},		       /* 4: TCP bind and connect */
	{16, 2, 0, 16},		       /* 5: ioctl on devices */
	{16, 2, 2, 24},		       /* 6: abstract sockets, signals */
};

static uint64_t landlock_bits(unsigned int n)
{
	return (1ULL << n) - 1;
}

int landlock_deny_all(void)
{
	const size_t newest = ARRAY_SIZE(landlock_versions) - 1;
	struct landlock_rules rules;
	long version;
	size_t known;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			  LANDLOCK_ASK_VERSION);
	if (version < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	if (version == 0)
		return -EINVAL;
	known = (size_t)version < newest ? (size_t)version : newest;
	rules = (struct landlock_rules){
		.fs = landlock_bits(landlock_versions[known].fs),
		.net = landlock_bits(landlock_versions[known].net),
		.scoped = landlock_bits(landlock_versions[known].scoped),
	};

	auto_fd fd = (int)syscall(SYS_landlock_create_ruleset, &rules,
				  (size_t)landlock_versions[known].size, 0);

	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return -errno;
	return (int)version;
}
