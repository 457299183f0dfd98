/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_AUDIT_H
#define BROKER_AUDIT_H

/*
 * What a confined process really is, from the kernel's view of it: /proc, its
 * descriptors (pidfd_getfd) and its system call filters (ptrace), compared
 * with what its manifest and the broker's record say. The same code serves
 * `bulkhead audit` and the broker, before a guest starts and before a
 * replaced device is connected.
 *
 * Every check ends in one of these states; only the first two hold:
 *   pass      seen in the kernel
 *   reported  not visible from outside; the program checked it before it said
 *             hello and ends itself if it does not hold
 *   lacks     the host has no such layer: a named downgrade
 *   hidden    not readable with the auditor's rights; never counted as passed
 *   FAIL
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"

enum audit_check {
#define CHECK(id, name, means, gain) AUDIT_##id,
#include "broker/audit_checks.h"
#undef CHECK
	AUDIT_NUM_CHECKS,
};

enum audit_state {
	AUDIT_PASS,
	AUDIT_REPORTED,
	AUDIT_LACKS,
	AUDIT_HIDDEN,
	AUDIT_FAIL,
	AUDIT_NUM_STATES,
};

struct audit_text {
	const char *name;
	const char *means;
	const char *gain;
};
extern const struct audit_text audit_texts[AUDIT_NUM_CHECKS];
const char *audit_state_name(enum audit_state state);

#define AUDIT_NAMESPACES  7
#define AUDIT_FILES_MAX	  512 /* a keeper has all of the family's */
#define AUDIT_REGIONS_MAX 40
#define AUDIT_DETAIL_MAX  120
#define AUDIT_NAME_MAX	  64

/* An open file that a process may have, or a memory that it may map. */
struct audit_file {
	uint64_t dev, ino, rdev;
	uint64_t size;	 /* the program's only */
	uint32_t access; /* O_RDONLY, O_WRONLY, O_RDWR */
	char name[32];	 /* a tap's interface; else "" */
};

/* What one process is to be. */
struct audit_expect {
	char role[16];
	char id[AUDIT_NAME_MAX];
	pid_t pid;
	pid_t parent;  /* the broker */
	pid_t creator; /* a broker that died, 0 = parent */
	uid_t uid;
	gid_t gid;
	bool privileged; /* its broker gave it an id of its own */
	bool upgraded;	 /* by a program installed after the broker started */
	struct audit_file program;
	struct audit_file backends[AUDIT_FILES_MAX];
	unsigned int num_backends;
	struct audit_file regions[AUDIT_REGIONS_MAX]; /* memfds */
	unsigned int num_regions;
	uint32_t workers, vcpus, queues;
	uint32_t clients;	       /* sockets that may be attached */
	struct sandbox_report told[2]; /* outer, inner */
};

/* Of one process; each namespace's inode, 0 = unknown. */
struct audit_ns {
	uint64_t ino[AUDIT_NAMESPACES];
};

struct audit_result {
	enum audit_state state[AUDIT_NUM_CHECKS];
	bool done[AUDIT_NUM_CHECKS];
	char detail[AUDIT_NUM_CHECKS][AUDIT_DETAIL_MAX];
	unsigned int count[AUDIT_NUM_STATES];
	struct audit_ns ns;
	uint64_t duration_ns;
	char notes[4][AUDIT_DETAIL_MAX]; /* worth knowing, not judged */
	unsigned int num_notes;
	bool gone; /* it ended meanwhile; nothing was judged */
};

/**
 * audit_process() - All checks of one process
 * @others: Namespaces of the family's processes that were audited before
 *
 * Threads are stopped one by one for some 50 us each, to read their filters.
 * Return: 0 judged (see @ret), -ESRCH no such process
 */
int audit_process(const struct audit_expect *x, const struct audit_ns *others,
		  unsigned int num_others, struct audit_result *ret,
		  struct err *e);

/** audit_profiles() - The filters that @role may have as its first one, and
 *  the second one of its vCPU threads (NULL = none)
 *  Return: their number, 0 if there is no such role */
unsigned int audit_profiles(const char *role,
			    const struct seccomp_profile *ret[2],
			    const struct seccomp_profile **ret_thread);

/** audit_describe_file() - Of an open descriptor; Return: 0 or -errno */
int audit_describe_file(int fd, struct audit_file *ret);

#endif
