/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ways to end a device process. It is the first one of its pid namespace, so
 * that of signals from outside only SIGKILL and SIGSTOP reach it: a crash is
 * made by sending it, through ptrace, where a fault or a forbidden system call
 * awaits it.
 */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "tests/recovery/storm.h"

#define SYSCALL_INSN 0x050f /* in memory order 0f 05 */

/* Behind a system call that was interrupted: another one instead. */
static bool crash_by_seccomp(pid_t pid, struct user_regs_struct *regs)
{
	long insn;

	errno = 0;
	insn = ptrace(PTRACE_PEEKTEXT, pid, (void *)(regs->rip - 2), NULL);
	if (errno || (insn & 0xffff) != SYSCALL_INSN)
		return false;
	regs->rip -= 2;
	regs->rax = SYS_socket;
	regs->orig_rax = (unsigned long long)-1; /* nothing to restart */
	return true;
}

/* Return: false if it is gone already */
static bool crash(pid_t pid, bool seccomp, uint64_t *ret_tsc)
{
	struct user_regs_struct regs;
	bool done = false;
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
		return false;
	if (!ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) &&
	    waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) &&
	    !ptrace(PTRACE_GETREGS, pid, NULL, &regs)) {
		if (!seccomp || !crash_by_seccomp(pid, &regs)) {
			regs.rip = 0;
			regs.orig_rax = (unsigned long long)-1;
		}
		done = !ptrace(PTRACE_SETREGS, pid, NULL, &regs);
	}
	*ret_tsc = storm_tsc();
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return done;
}

bool storm_end(pid_t pid, const char *mode, uint64_t *ret_tsc)
{
	uint64_t x = !strcmp(mode, "mixed") ? storm_random() % 4 : 0;

	if (!strcmp(mode, "segv") || x == 1)
		return crash(pid, false, ret_tsc);
	if (!strcmp(mode, "seccomp") || x == 2)
		return crash(pid, true, ret_tsc);
	*ret_tsc = storm_tsc();
	return !kill(pid, !strcmp(mode, "stop") ? SIGSTOP : SIGKILL);
}
