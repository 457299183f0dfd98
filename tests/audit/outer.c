/* SPDX-License-Identifier: Apache-2.0 */

/* The outer mutants: what common/sandbox calls, wrapped by the linker. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/audit/mutants.h"
#include "tests/audit/outer.h"

#define OUTER_CAP CAP_NET_RAW

char outer_tty[64];

/* ---- capabilities ---- */

int __wrap_caps_drop_bounding(void)
{
	if (mutant == MUTANT_CAP_BOUNDING)
		return 0;
	if (mutant < MUTANT_CAP_ONE_BOUNDING || mutant > MUTANT_CAP_EFFECTIVE)
		return __real_caps_drop_bounding();
	/* What is to be left in another set must be in this one. */
	for (int cap = 0; cap < 64; cap++)
		if (cap != OUTER_CAP)
			__real_prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	return 0;
}

int __wrap_caps_lock_securebits(void)
{
	switch (mutant) {
	case MUTANT_SECUREBITS:
	case MUTANT_CAP_AMBIENT:
	case MUTANT_CAP_PERMITTED:
	case MUTANT_CAP_EFFECTIVE:
		/* Else none could be left over exec. */
		return __real_prctl(PR_SET_SECUREBITS, 4, 0, 0, 0);
	default:
		return __real_caps_lock_securebits();
	}
}

/* Only now the process has an id that the file system knows. */
static int outer_fill_root(void)
{
	if (__real_mount(NULL, "/", NULL, MS_REMOUNT, "nr_inodes=2,size=4k") <
		    0 ||
	    mkdir("/x", 0755) < 0 ||
	    __real_mount(NULL, "/", NULL,
			 MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV |
				 MS_NOEXEC,
			 NULL) < 0)
		return -errno;
	return mutant == MUTANT_CWD && __real_chdir("/x") < 0 ? -errno : 0;
}

int __wrap_caps_drop_all(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {0};

	switch (mutant) {
	case MUTANT_ROOT_FILLED:
	case MUTANT_CWD:
		if (outer_fill_root() < 0)
			return -errno;
		return __real_caps_drop_all();
	case MUTANT_CAP_INHERITABLE:
		d[0].inheritable = 1u << OUTER_CAP;
		return (int)__real_syscall(SYS_capset, (long)&head, (long)d, 0,
					   0, 0, 0);
	case MUTANT_CAP_AMBIENT:
	case MUTANT_CAP_PERMITTED:
	case MUTANT_CAP_EFFECTIVE:
		d[0].inheritable = d[0].permitted = d[0].effective =
			1u << OUTER_CAP;
		__real_syscall(SYS_capset, (long)&head, (long)d, 0, 0, 0, 0);
		return __real_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE,
				    OUTER_CAP, 0, 0);
	default:
		return __real_caps_drop_all();
	}
}

/* ---- namespaces and the id map ---- */

int __wrap_unshare(int flags)
{
	if (mutant == MUTANT_NS_NET)
		return 0;
	return __real_unshare(flags);
}

int __wrap_sethostname(const char *name, size_t len)
{
	return mutant == MUTANT_NS_UTS ? 0 : __real_sethostname(name, len);
}

int __wrap_setdomainname(const char *name, size_t len)
{
	return mutant == MUTANT_NS_UTS ? 0 : __real_setdomainname(name, len);
}

/* The first map that is written is the users', the second the groups'. */
ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	static unsigned int maps;
	char wider[64];
	bool users;

	if (len < 8 || memcmp(buf, "1000 ", 5))
		return __real_write(fd, buf, len);
	users = maps++ % 2 == 0;
	if (mutant != (users ? MUTANT_UID_MAP : MUTANT_GID_MAP))
		return __real_write(fd, buf, len);
	snprintf(wider, sizeof(wider), "%.*s6", (int)len, (const char *)buf);
	return __real_write(fd, wider, strlen(wider)) < 0 ? -1 : (ssize_t)len;
}

/* ---- the root ---- */

static int outer_mount_root(const char *src, const char *dst, const char *type,
			    unsigned long flags, const void *data)
{
	switch (mutant) {
	case MUTANT_MOUNT_RO:
		return __real_mount(src, dst, type,
				    flags & ~(unsigned long)MS_RDONLY, data);
	case MUTANT_MOUNT_FLAGS:
		return __real_mount(src, dst, type,
				    flags & ~(unsigned long)MS_NOEXEC, data);
	case MUTANT_MOUNT_SIZE:
		return __real_mount(src, dst, type, flags,
				    "nr_inodes=1000,size=1m,mode=0111");
	case MUTANT_MOUNT_TYPE:
		return __real_mount(src, dst, "ramfs", flags, "mode=0111");
	case MUTANT_ROOT_FILLED:
	case MUTANT_CWD:
	case MUTANT_ROOT_MODE:
		return __real_mount(src, dst, type, flags,
				    "nr_inodes=2,size=4k,mode=0777");
	default:
		return __real_mount(src, dst, type, flags, data);
	}
}

int __wrap_mount(const char *src, const char *dst, const char *type,
		 unsigned long flags, const void *data)
{
	if (mutant == MUTANT_NS_MNT)
		return 0; /* never over the host's own */
	if (type && !strcmp(type, "tmpfs"))
		return outer_mount_root(src, dst, type, flags, data);
	return __real_mount(src, dst, type, flags, data);
}

int __wrap_umount2(const char *path, int flags)
{
	int r;

	if (mutant == MUTANT_NS_MNT || mutant == MUTANT_MOUNT_EXTRA)
		return 0;
	r = __real_umount2(path, flags);
	if (r == 0 && mutant == MUTANT_MOUNT_SHARED)
		r = __real_mount(NULL, ".", NULL, MS_SHARED, NULL);
	return r;
}

int __wrap_chdir(const char *path)
{
	if (mutant == MUTANT_NS_MNT)
		return 0;
	return __real_chdir(path);
}

/* ---- limits, session, rights ---- */

int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *value)
{
	static const struct {
		enum mutant_id id;
		__rlimit_resource_t resource;
		rlim_t value;
	} wrong[] = {
		{MUTANT_LIMIT_CORE, RLIMIT_CORE, 4096},
		{MUTANT_LIMIT_MSGQUEUE, RLIMIT_MSGQUEUE, 4096},
		{MUTANT_LIMIT_RTPRIO, RLIMIT_RTPRIO, 0},
		{MUTANT_LIMIT_NICE, RLIMIT_NICE, 0},
		{MUTANT_LIMIT_SIGPENDING, RLIMIT_SIGPENDING, 65},
		{MUTANT_LIMIT_FSIZE, RLIMIT_FSIZE, 1 << 20},
		{MUTANT_LIMIT_MEMLOCK, RLIMIT_MEMLOCK, 1 << 20},
		{MUTANT_LIMIT_NOFILE, RLIMIT_NOFILE, 256},
		{MUTANT_LIMIT_NOFILE_HARD, RLIMIT_NOFILE, 256},
		{MUTANT_LIMIT_STACK, RLIMIT_STACK, 1 << 20},
		{MUTANT_LIMIT_NPROC, RLIMIT_NPROC, 99},
	};
	struct rlimit v = *value;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (wrong[i].id != mutant || wrong[i].resource != resource)
			continue;
		if (mutant != MUTANT_LIMIT_NOFILE_HARD)
			v.rlim_cur = wrong[i].value;
		v.rlim_max = wrong[i].value;
		/* These can't be raised from 0: the harness has some. */
		if (resource == RLIMIT_RTPRIO || resource == RLIMIT_NICE)
			return 0;
	}
	return __real_setrlimit(resource, &v);
}

mode_t __wrap_umask(mode_t mask)
{
	return __real_umask(mutant == MUTANT_UMASK ? 022 : mask);
}

pid_t __wrap_setsid(void)
{
	pid_t r;
	int fd;

	if (mutant == MUTANT_SESSION)
		return 1;
	r = __real_setsid();
	if (mutant == MUTANT_TTY) {
		fd = open(outer_tty, O_RDWR);
		if (fd < 0)
			return -1;
		close(fd);
	}
	return r;
}

int __wrap_prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_NO_NEW_PRIVS && mutant == MUTANT_NO_NEW_PRIVS)
		return 0;
	if (option == OUTER_SET_MDWE && outer_without_mdwe())
		return 0;
	if (option == OUTER_SET_MDWE && mutant == MUTANT_MDWE) {
		errno = EINVAL;
		return -1;
	}
	return __real_prctl(option, a[0], a[1], a[2], a[3]);
}

bool outer_without_mdwe(void)
{
	return mutant == MUTANT_MAP_WX || mutant == MUTANT_MAP_STACK ||
	       mutant == MUTANT_MAP_TEXT;
}

/* ---- raw system calls ---- */

static uint64_t outer_missing(void)
{
	switch (mutant) {
	case MUTANT_NS_MNT:
		return CLONE_NEWNS;
	case MUTANT_NS_PID:
		return CLONE_NEWPID;
	case MUTANT_NS_IPC:
		return CLONE_NEWIPC;
	case MUTANT_NS_UTS:
		return CLONE_NEWUTS;
	case MUTANT_NS_CGROUP:
		return CLONE_NEWCGROUP;
	default:
		return 0;
	}
}

static long outer_clone(struct clone_args *args, long size)
{
	if (mutant == MUTANT_NS_USER && args->flags & CLONE_NEWUSER) {
		errno = EPERM;
		return -1;
	}
	args->flags &= ~outer_missing();
	return __real_syscall(SYS_clone3, (long)args, size, 0, 0, 0, 0);
}

static long outer_exec(long fd, long path, char *const *argv, char *const *envp,
		       long flags)
{
	static char *const env[] = {(char *)(uintptr_t) "SECRET=42", NULL};
	char *const more[] = {argv[0], (char *)(uintptr_t) "--free", NULL};

	if (mutant == MUTANT_ENVIRON)
		envp = env;
	if (mutant == MUTANT_CMDLINE)
		argv = more;
	if (mutant == MUTANT_PERSONALITY)
		personality(ADDR_NO_RANDOMIZE);
	if (mutant == MUTANT_FD_INHERITED && dup(0) < 0)
		return -1;
	return __real_syscall(SYS_execveat, fd, path, (long)argv, (long)envp,
			      flags, 0);
}

long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	switch (number) {
	case SYS_clone3:
		return outer_clone((struct clone_args *)a[0], a[1]);
	case SYS_execveat:
		return outer_exec(a[0], a[1], (char *const *)a[2],
				  (char *const *)a[3], a[4]);
	case SYS_pivot_root:
		if (mutant == MUTANT_NS_MNT)
			return 0;
		break;
	case SYS_setgroups:
		if (mutant == MUTANT_GROUPS)
			return 0;
		break;
	case SYS_setresuid:
		if (mutant == MUTANT_UID || mutant == MUTANT_UID_ROOT)
			return 0;
		break;
	case SYS_setresgid:
		if (mutant == MUTANT_GID)
			return 0;
		break;
	default:
		break;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
