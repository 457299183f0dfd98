/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities, by plain system calls: libcap-ng allocates, reads /proc and
 * remembers the thread id of the process that used it first, and between
 * clone3 and exec the child may do none of that.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sandbox/internal.h"

/* The one user of this in the broker asks before each child: no detour by
 * /proc/self/status, which libcap-ng would read twice. */
int caps_probe(struct caps *ret, struct err *e)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {0};
	uint32_t low;

	if (syscall(SYS_capget, &head, d) < 0)
		return err_errno(e, "cannot read the capabilities of this "
				    "process");
	low = d[0].effective;
	ret->sys_admin = low & CAP_TO_MASK(CAP_SYS_ADMIN);
	ret->setuid = low & CAP_TO_MASK(CAP_SETUID);
	ret->setgid = low & CAP_TO_MASK(CAP_SETGID);
	return 0;
}

int caps_drop_bounding(void)
{
	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		/* Beyond the last one that this kernel knows. */
		if (errno == EINVAL && cap > CAP_AUDIT_READ)
			break;
		return -errno;
	}
	return 0;
}

int caps_lock_securebits(void)
{
	return prctl(PR_SET_SECUREBITS, (unsigned long)CAPS_SECUREBITS, 0, 0,
		     0) < 0
		       ? -errno
		       : 0;
}

int caps_drop_all(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}
