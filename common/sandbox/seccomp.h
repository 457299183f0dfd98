/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SANDBOX_SECCOMP_H
#define COMMON_SANDBOX_SECCOMP_H

/*
 * A seccomp filter compiled at build time from a committed <profile>.syscalls
 * list; programs don't link libseccomp. Default action: kill the process.
 */

#include <linux/filter.h>
#include <stdint.h>

struct seccomp_profile {
	const char *name;
	const struct sock_filter *filter;
	uint16_t len;	       /* instructions */
	uint16_t num_syscalls; /* allowed */
};

/* One symbol per profile, e.g. `seccomp_profile_blk`, is generated. */
#define SECCOMP_PROFILE(name)                                                  \
	extern const struct seccomp_profile seccomp_profile_##name

#endif
