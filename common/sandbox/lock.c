/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner stage. What glibc itself does in every program is tagged here.
 *
 * @sys all exit_group: the end of the program
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/image.h"
#include "common/sandbox/internal.h"
#include "common/sandbox/seccomp.h"

#define LOCK_COPY_MAX 256 /* instructions; the longest list has some 80 */

static int lock_apply_filter(const struct seccomp_profile *profile,
			     const struct sock_filter *filter,
			     unsigned int flags, struct err *e)
{
	struct sock_fprog prog = {
		.len = profile->len,
		/* The kernel only reads it. */
		.filter = (struct sock_filter *)(uintptr_t)filter,
	};
	long r;

	if (SANDBOX_SANITIZER)
		return 0;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (r < 0)
		return err_errno(e, "cannot apply the system call list \"%s\"",
				 profile->name);
	if (r > 0)
		return err_set(e, -EBUSY,
			       "cannot apply the system call list \"%s\": "
			       "thread %ld has one of its own",
			       profile->name, r);
	return 0;
}

int sandbox_restrict(struct sandbox_report *report, struct err *e)
{
	int version;

	if (SANDBOX_SANITIZER) {
		sandbox_note_downgrade(report, SANDBOX_SANITIZER_NOTE);
		return 0;
	}
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0 ||
	    prctl(PR_GET_MDWE, 0, 0, 0, 0) > 0)
		sandbox_note_layer(report, "mdwe");
	else
		sandbox_note_downgrade(report, "mdwe: not in this kernel");
	version = landlock_deny_all();
	if (version < 0) {
		errno = -version;
		return err_errno(e, "cannot apply Landlock");
	}
	if (version)
		sandbox_note_layer(report, "landlock-%d", version);
	else
		sandbox_note_downgrade(report, "landlock: not in this kernel");
	return 0;
}

int sandbox_lock(const struct seccomp_profile *profile,
		 struct sandbox_report *report, struct err *e)
{
	const struct sock_filter *filter = profile->filter;
	struct sock_filter copy[LOCK_COPY_MAX];

	/* If it fails nobody will see the report. */
	if (!SANDBOX_SANITIZER)
		sandbox_note_layer(report, "seccomp");
	if (report)
		report->syscalls = profile->num_syscalls;
	/* Read in its place it would bring its neighbourhood back. */
	if (profile->len <= LOCK_COPY_MAX) {
		memcpy(copy, filter, profile->len * sizeof(*filter));
		filter = copy;
	}
	/* From here on the program does its work and no more set-up. */
	image_forget();
	return lock_apply_filter(profile, filter, SECCOMP_FILTER_FLAG_TSYNC, e);
}

/*
 * @sys core seccomp(0==SECCOMP_SET_MODE_FILTER, 1==0): vCPU threads narrow
 *   themselves further
 */
int sandbox_lock_thread(const struct seccomp_profile *profile, struct err *e)
{
	return lock_apply_filter(profile, profile->filter, 0, e);
}
