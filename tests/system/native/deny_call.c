/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deny-call CALL COMMAND...: executes COMMAND where a system call fails with
 * ENOSYS, as in a kernel that lacks it or a container that forbids it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/num.h"

static const struct {
	const char *name;
	unsigned int number;
} calls[] = {
	{"io_uring_setup", SYS_io_uring_setup},
	{"keyctl", SYS_keyctl},
	{"landlock_create_ruleset", SYS_landlock_create_ruleset},
};

static int deny(unsigned int number)
{
	struct sock_filter list[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(list), list};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(calls); i++) {
		if (strcmp(argv[1], calls[i].name))
			continue;
		if (deny(calls[i].number) < 0) {
			perror("deny-call");
			return 126;
		}
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		return 127;
	}
	fprintf(stderr, "usage: deny-call CALL COMMAND...\n");
	return 2;
}
