/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SANDBOX_INTERNAL_H
#define COMMON_SANDBOX_INTERNAL_H

/* Shared inside common/sandbox only. */

#include <linux/securebits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "common/sandbox/sandbox.h"

/* Debian 12's headers are older than the kernels that we meet. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN (1UL << 0)
#define PR_GET_MDWE		 66
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZER 1
#endif
#endif
#ifndef SANDBOX_SANITIZER
#define SANDBOX_SANITIZER 0
#endif

/*
 * Test builds only: the sanitizers' run-time needs the dynamic loader, /proc,
 * large mappings and system calls of its own, so there the program keeps the
 * root, some rlimits, and gets neither Landlock nor seccomp.
 */
#define SANDBOX_SANITIZER_NOTE                                                 \
	"sanitizer build: no empty root, landlock, seccomp"

#define JAIL_NUM_RLIMITS 12

struct jail_rlimit {
	__rlimit_resource_t resource;
	struct rlimit value;
};

/* What the child needs, computed by the parent: after clone3 the child runs
 * no code that allocates, locks or formats. */
struct jail {
	int fds[SANDBOX_NUM_FDS];
	int program_fd;
	int sync_fd;	  /* the child's end, close-on-exec */
	const char *name; /* argv[0] */
	uid_t uid;	  /* to become, as seen inside */
	gid_t gid;
	bool user_ns; /* the parent maps ids and then says go */
	bool drop_groups;
	bool uts_ns;
	bool die_with_parent;
	struct jail_rlimit rlimits[JAIL_NUM_RLIMITS];
	unsigned int num_rlimits;
};

enum jail_step {
	JAIL_DESCRIPTORS,
	JAIL_SESSION,
	JAIL_NETWORK,
	JAIL_HOSTNAME,
	JAIL_MOUNT_PRIVATE,
	JAIL_MOUNT_ROOT,
	JAIL_PIVOT,
	JAIL_WAIT,
	JAIL_RLIMITS,
	JAIL_BOUNDING,
	JAIL_SECUREBITS,
	JAIL_IDS,
	JAIL_CAPABILITIES,
	JAIL_NO_NEW_PRIVS,
	JAIL_DEATH_SIGNAL,
	JAIL_EXEC,
	JAIL_NUM_STEPS,
	/* Not failures: layers that this kernel lacks. */
	JAIL_NO_MDWE,
	JAIL_NO_KEYRING,
};

/* The child's words to the parent. End of file = the program runs. */
struct jail_message {
	int32_t step;  /* enum jail_step */
	int32_t error; /* errno */
};

/** jail_enter() - In the child, right after clone3; never returns */
_Noreturn void jail_enter(const struct jail *j);
const char *jail_step_name(int step);

/** caps_probe() - What the caller may do */
struct caps {
	bool sys_admin;
	bool setuid;
	bool setgid;
};
int caps_probe(struct caps *ret, struct err *e);

/** host_forbids_namespaces() - By sysctl user.max_KIND_namespaces = 0 */
bool host_forbids_namespaces(const char *kind);

/* No way back to capabilities by an id, exec or inheritance; all locked. */
#define CAPS_SECUREBITS                                                        \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |       \
	 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |             \
	 SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* In the child; 0 or -errno. */
int caps_drop_bounding(void);
int caps_lock_securebits(void);
int caps_drop_all(void);

/** landlock_deny_all() - Return: ABI in force, 0 not in this kernel, -errno */
int landlock_deny_all(void);

#endif
