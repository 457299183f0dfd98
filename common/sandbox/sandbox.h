/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SANDBOX_SANDBOX_H
#define COMMON_SANDBOX_SANDBOX_H

/*
 * How a process of the family is confined, in two stages.
 *
 * Outer stage (the broker, sandbox_spawn()): clone3 into new user, mount, pid,
 * net, ipc, uts and cgroup namespaces; one non-zero id; an empty read-only
 * root; only the declared descriptors; rlimits; no capabilities in any set;
 * no_new_privs; a fresh session; then execveat of a static-PIE program with an
 * empty environment.
 *
 * Inner stage (the program itself, sandbox_lock(), still single-threaded or
 * with its worker threads waiting): not dumpable, no new executable memory,
 * Landlock deny-all with every scope the kernel knows, then the program's
 * seccomp list for all threads (TSYNC), kill on violation.
 *
 * A layer that the host lacks is named in the report, never skipped in
 * silence. Order and traps: docs/architecture.md and README.md here.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"

/* Descriptors of every confined program; the rest arrives over the channel. */
#define SANDBOX_FD_NULL0   0 /* /dev/null */
#define SANDBOX_FD_NULL1   1 /* /dev/null */
#define SANDBOX_FD_LOG	   2 /* pipe to the broker, non-blocking */
#define SANDBOX_FD_CHANNEL 3 /* SOCK_SEQPACKET to the broker */

#define SANDBOX_MAX_NOTES 16
#define SANDBOX_NOTE_MAX  64

/* Layers in force and downgrades, as short texts. */
struct sandbox_report {
	char layers[SANDBOX_MAX_NOTES][SANDBOX_NOTE_MAX];
	unsigned int num_layers;
	char downgrades[SANDBOX_MAX_NOTES][SANDBOX_NOTE_MAX];
	unsigned int num_downgrades;
	unsigned int syscalls; /* allowed in steady state; 0 in the outer one */
};

/* One program's manifest, compiled from <folder>/<name>.manifest. */
struct sandbox_manifest {
	const char *program;	/* "bulkhead-blk" */
	const char *role;	/* "blk" */
	uint64_t rlimit_nofile; /* descriptors it may ever hold */
	uint64_t rlimit_fsize;	/* bytes; UINT64_MAX = unlimited */
	uint64_t rlimit_memlock; /* bytes */
	uint64_t rlimit_nproc;	/* threads; 0 = not limited */
	uint64_t rlimit_stack;	/* bytes */
};

/** sandbox_manifest_find() - By role; NULL if unknown */
const struct sandbox_manifest *sandbox_manifest_find(const char *role);

struct sandbox_spawn_args {
	const struct sandbox_manifest *manifest;
	int program_fd;	 /* O_PATH or O_RDONLY descriptor of the executable */
	int null_fd;	 /* /dev/null */
	int log_fd;	 /* write end of the log pipe */
	int channel_fd;	 /* the child's end */
	uid_t host_uid;	 /* what the child is outside its user namespace */
	gid_t host_gid;	 /* (ignored, own ids used, for an ordinary user) */
	int cgroup_fd;	 /* cgroup v2 folder, -1 = stay */
};

struct sandbox_child {
	pid_t pid;
	int pidfd;
	struct sandbox_report outer;
};

/**
 * sandbox_spawn() - Start one confined program
 *
 * The caller must be single-threaded. Set-up errors of the child come back as
 * this function's error (named step); after success the program runs.
 */
int sandbox_spawn(const struct sandbox_spawn_args *args,
		  struct sandbox_child *ret, struct err *e);

struct seccomp_profile; /* seccomp.h; generated from <profile>.syscalls */

/**
 * sandbox_start() - First call of a confined program's main()
 * @heap: Bytes of heap to have ready before lock-down; malloc uses no system
 *        call until they are used up
 *
 * Checks that the outer stage really holds (no capability, no_new_privs, not
 * more descriptors than declared, an unreadable root, pid 1, no environment)
 * and fails closed.
 */
int sandbox_start(uint64_t heap, struct sandbox_report *ret, struct err *e);

/** sandbox_lock() - Inner stage for the whole process */
int sandbox_lock(const struct seccomp_profile *profile,
		 struct sandbox_report *report, struct err *e);

/** sandbox_lock_thread() - A narrower list for the calling thread only */
int sandbox_lock_thread(const struct seccomp_profile *profile, struct err *e);

#endif
