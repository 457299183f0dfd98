/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child between clone3 and exec. It shares nothing with the parent but
 * was copied from it by a raw system call, so glibc's notion of the process
 * (cached thread id, locks, buffers) is the parent's: only plain system calls
 * here, no allocation, no stdio, no abort().
 *
 * The order matters:
 *  - descriptors first, so that no step runs with what isn't declared;
 *  - mounts need no id map, so they overlap with the parent writing it;
 *  - the bounding set and securebits need CAP_SETPCAP, so before capset;
 *  - changing ids clears the parent-death signal, so that comes after;
 *  - no Landlock before exec: it would refuse the execveat of an open file.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/sandbox/internal.h"

/* Where the two private descriptors live until exec closes them. */
#define JAIL_FD_SYNC	SANDBOX_NUM_FDS
#define JAIL_FD_PROGRAM (SANDBOX_NUM_FDS + 1)
#define JAIL_FD_FIRST	(SANDBOX_NUM_FDS + 2)

static const char *const step_names[JAIL_NUM_STEPS] = {
	[JAIL_DESCRIPTORS] = "arranging descriptors",
	[JAIL_SESSION] = "starting a session",
	[JAIL_NETWORK] = "making a network namespace",
	[JAIL_HOSTNAME] = "setting the host name",
	[JAIL_MOUNT_PRIVATE] = "making mounts private",
	[JAIL_MOUNT_ROOT] = "mounting the empty root",
	[JAIL_PIVOT] = "changing to the empty root",
	[JAIL_WAIT] = "waiting for the id map",
	[JAIL_RLIMITS] = "setting resource limits",
	[JAIL_BOUNDING] = "emptying the capability bounding set",
	[JAIL_SECUREBITS] = "locking the securebits",
	[JAIL_IDS] = "changing user and group ids",
	[JAIL_CAPABILITIES] = "dropping capabilities",
	[JAIL_NO_NEW_PRIVS] = "setting no_new_privs",
	[JAIL_DEATH_SIGNAL] = "tying it to the life of its parent",
	[JAIL_EXEC] = "executing the program",
};

const char *jail_step_name(int step)
{
	if (step < 0 || step >= JAIL_NUM_STEPS)
		return "an unknown step";
	return step_names[step];
}

static void jail_tell(int fd, int step, int error)
{
	struct jail_message m = {.step = step, .error = error};

	/* Nobody to tell: the parent is gone, and so are we soon. */
	if (send(fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		_exit(127);
}

static _Noreturn void jail_fail(int fd, enum jail_step step, int error)
{
	jail_tell(fd, (int)step, error);
	_exit(127);
}

/* Put fds[i] into slot i; sources may lie in each other's slots. */
static int jail_arrange_fds(const struct jail *j, int *ret_sync)
{
	int fds[JAIL_FD_FIRST], high;

	for (int i = 0; i < SANDBOX_NUM_FDS; i++)
		fds[i] = j->fds[i];
	fds[JAIL_FD_SYNC] = j->sync_fd;
	fds[JAIL_FD_PROGRAM] = j->program_fd;
	for (int i = 0; i < JAIL_FD_FIRST; i++) {
		if (fds[i] >= JAIL_FD_FIRST)
			continue;
		high = fcntl(fds[i], F_DUPFD_CLOEXEC, JAIL_FD_FIRST);
		if (high < 0)
			return -errno;
		fds[i] = high;
		if (i == JAIL_FD_SYNC)
			*ret_sync = high;
	}
	for (int i = 0; i < JAIL_FD_FIRST; i++) {
		int flags = i < SANDBOX_NUM_FDS ? 0 : O_CLOEXEC;

		if (dup3(fds[i], i, flags) < 0)
			return -errno;
	}
	*ret_sync = JAIL_FD_SYNC;
	if (syscall(SYS_close_range, JAIL_FD_FIRST, ~0U, 0) < 0)
		return -errno;
	return 0;
}

#if !SANDBOX_SANITIZER
/*
 * pivot_root(".", ".") stacks the old root on the new one; detaching it
 * leaves the empty one alone. It may be searched, in vain, but not listed; a
 * mode of 0 would keep us out too, as its owner has no id in here yet.
 */
static enum jail_step jail_change_root(void)
{
	const unsigned long flags =
		MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return JAIL_MOUNT_PRIVATE;
	if (mount("none", "/proc", "tmpfs", flags,
		  "nr_inodes=2,size=4k,mode=0111") < 0 ||
	    chdir("/proc") < 0)
		return JAIL_MOUNT_ROOT;
	if (syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return JAIL_PIVOT;
	return JAIL_NUM_STEPS;
}
#else
static enum jail_step jail_change_root(void)
{
	return JAIL_NUM_STEPS;
}
#endif

/* One byte from the parent when the id map is written; end = it died. */
static int jail_wait_for_map(void)
{
	char go;
	ssize_t n;

	do {
		n = recv(JAIL_FD_SYNC, &go, sizeof(go), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 1 ? 0 : -EPIPE;
}

static int jail_change_ids(const struct jail *j)
{
	/* Plain calls: glibc's wrappers would signal "the other threads". */
	if (j->drop_groups && syscall(SYS_setgroups, 0, NULL) < 0)
		return -errno;
	if (syscall(SYS_setresgid, j->gid, j->gid, j->gid) < 0 ||
	    syscall(SYS_setresuid, j->uid, j->uid, j->uid) < 0)
		return -errno;
	return 0;
}

/*
 * In a pid namespace getppid() is 0, so a parent that died before the prctl
 * shows by the other end of the sync socket.
 */
static int jail_tie_to_parent(void)
{
	char byte;
	ssize_t n;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	n = recv(JAIL_FD_SYNC, &byte, sizeof(byte), MSG_DONTWAIT);
	return n < 0 && errno == EAGAIN ? 0 : -EPIPE;
}

static void jail_check(int result, int fd, enum jail_step step)
{
	if (result < 0)
		jail_fail(fd, step, -result);
}

/* Needs the capabilities of the new user namespace. */
static void jail_namespaces(const struct jail *j)
{
	static const char host[] = "bulkhead";
	enum jail_step step;

	/* The dearest namespace: here it overlaps with parent and siblings. */
	if (unshare(CLONE_NEWNET) < 0)
		jail_fail(JAIL_FD_SYNC, JAIL_NETWORK, errno);
	if (j->uts_ns && (sethostname(host, sizeof(host) - 1) < 0 ||
			  setdomainname("", 0) < 0))
		jail_fail(JAIL_FD_SYNC, JAIL_HOSTNAME, errno);
	step = jail_change_root();
	if (step != JAIL_NUM_STEPS)
		jail_fail(JAIL_FD_SYNC, step, errno);
}

static void jail_drop_privileges(const struct jail *j)
{
	int sync = JAIL_FD_SYNC;

	for (unsigned int i = 0; i < j->num_rlimits; i++)
		if (setrlimit(j->rlimits[i].resource, &j->rlimits[i].value) < 0)
			jail_fail(sync, JAIL_RLIMITS, errno);
	jail_check(caps_drop_bounding(), sync, JAIL_BOUNDING);
	jail_check(caps_lock_securebits(), sync, JAIL_SECUREBITS);
	jail_check(jail_change_ids(j), sync, JAIL_IDS);
	jail_check(caps_drop_all(), sync, JAIL_CAPABILITIES);
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0)
		jail_tell(sync, JAIL_NO_KEYRING, errno);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		jail_fail(sync, JAIL_NO_NEW_PRIVS, errno);
	if (!SANDBOX_SANITIZER &&
	    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0)
		jail_tell(sync, JAIL_NO_MDWE, errno);
	if (j->die_with_parent)
		jail_check(jail_tie_to_parent(), sync, JAIL_DEATH_SIGNAL);
}

_Noreturn void jail_enter(const struct jail *j)
{
	int sync = j->sync_fd;
	char *const argv[] = {(char *)(uintptr_t)j->name, NULL};
	char *const envp[] = {NULL};
	sigset_t none;

	jail_check(jail_arrange_fds(j, &sync), sync, JAIL_DESCRIPTORS);
	umask(077);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setsid() < 0)
		jail_fail(sync, JAIL_SESSION, errno);
	jail_namespaces(j);
	if (j->user_ns)
		jail_check(jail_wait_for_map(), sync, JAIL_WAIT);
	jail_drop_privileges(j);
	syscall(SYS_execveat, JAIL_FD_PROGRAM, "", argv, envp, AT_EMPTY_PATH);
	jail_fail(sync, JAIL_EXEC, errno);
}
