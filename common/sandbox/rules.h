/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SANDBOX_RULES_H
#define COMMON_SANDBOX_RULES_H

/*
 * A .syscalls list as data: what generate.c compiles and what the tests
 * compare the filter with. Build tools and tests only.
 */

#include <stddef.h>
#include <stdint.h>

#define RULE_MAX_ARGS 6

/* Allow if (argument & mask) == value for each of args. */
struct seccomp_rule_arg {
	unsigned int arg;
	uint64_t mask;
	uint64_t value;
};

struct seccomp_rule {
	const char *name;
	int number;
	unsigned int num_args;
	struct seccomp_rule_arg args[RULE_MAX_ARGS];
};

struct seccomp_rules {
	const char *profile;
	const struct seccomp_rule *rules;
	size_t num_rules;
	unsigned int budget; /* distinct system calls */
};

/*
 * The kernel takes most arguments as int, and then the upper half of the
 * register is whatever the compiler left there. So the type of the expression
 * says how many bits count: 4 bytes the lower half, 8 bytes all.
 */
#define RULE_BITS(expr) (sizeof(expr) > 4 ? UINT64_MAX : (uint64_t)UINT32_MAX)
#define RULE_EQ(arg, expr)                                                     \
	{                                                                      \
		(arg), RULE_BITS(expr), (uint64_t)(expr)&RULE_BITS(expr)       \
	}
#define RULE_MASKED(arg, bits, expr)                                           \
	{                                                                      \
		(arg), (uint64_t)(bits)&RULE_BITS(bits),                       \
			(uint64_t)(expr)&RULE_BITS(bits)                       \
	}

#endif
