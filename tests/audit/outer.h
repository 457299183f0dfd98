/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_AUDIT_OUTER_H
#define TESTS_AUDIT_OUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#define OUTER_SET_MDWE 65

extern char outer_tty[64]; /* path of a terminal that everybody may open */

/** outer_without_mdwe() - Does the mutant need memory that MDWE refuses? */
bool outer_without_mdwe(void);

/* What the linker makes of each wrapped function. */
int __real_caps_drop_bounding(void);
int __real_caps_lock_securebits(void);
int __real_caps_drop_all(void);
int __real_unshare(int flags);
int __real_sethostname(const char *name, size_t len);
int __real_setdomainname(const char *name, size_t len);
ssize_t __real_write(int fd, const void *buf, size_t len);
int __real_mount(const char *src, const char *dst, const char *type,
		 unsigned long flags, const void *data);
int __real_umount2(const char *path, int flags);
int __real_chdir(const char *path);
int __real_setrlimit(__rlimit_resource_t resource, const struct rlimit *value);
mode_t __real_umask(mode_t mask);
pid_t __real_setsid(void);
int __real_prctl(int option, ...);
long __real_syscall(long number, ...);

int __wrap_caps_drop_bounding(void);
int __wrap_caps_lock_securebits(void);
int __wrap_caps_drop_all(void);
int __wrap_unshare(int flags);
int __wrap_sethostname(const char *name, size_t len);
int __wrap_setdomainname(const char *name, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __wrap_mount(const char *src, const char *dst, const char *type,
		 unsigned long flags, const void *data);
int __wrap_umount2(const char *path, int flags);
int __wrap_chdir(const char *path);
int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *value);
mode_t __wrap_umask(mode_t mask);
pid_t __wrap_setsid(void);
int __wrap_prctl(int option, ...);
long __wrap_syscall(long number, ...);

#endif
