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
 * Inner stage (the program itself), in this order:
 *   sandbox_start()       first call of main(): heap, check of the outer stage
 *   sandbox_restrict()    before the first thread: Landlock is per thread and
 *                         inherited by those created later
 *   (threads are created and wait)
 *   sandbox_lock()        the program's seccomp list for all threads, kill on
 *                         violation
 *   sandbox_lock_thread() a narrower list in threads that need less (vCPUs)
 *
 * A layer that the host lacks is named in the report, never skipped in
 * silence. Order and traps: README.md here.
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
#define SANDBOX_NUM_FDS	   4

/* Where the host ids begin that a broker of root's gives its children. */
#define SANDBOX_HOST_IDS 0x70000000u

/* Inside its user namespace every confined process has this uid and gid. */
#define SANDBOX_INNER_ID 1000

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
	const char *program;	 /* "bulkhead-blk" */
	const char *role;	 /* "blk" */
	uint64_t rlimit_nofile;	 /* descriptors it may ever hold */
	uint64_t rlimit_fsize;	 /* bytes; UINT64_MAX = unlimited */
	uint64_t rlimit_memlock; /* bytes */
	uint64_t rlimit_nproc;	 /* processes and threads; 0 = not limited */
	uint64_t rlimit_stack;	 /* bytes */
};

/** sandbox_manifest_find() - By role; NULL if unknown */
const struct sandbox_manifest *sandbox_manifest_find(const char *role);

struct sandbox_spawn_args {
	const struct sandbox_manifest *manifest;
	int program_fd; /* O_PATH or O_RDONLY descriptor of the executable */
	int null_fd;	/* /dev/null */
	int log_fd;	/* write end of the log pipe */
	int channel_fd; /* the child's end */
	uid_t host_uid; /* what the child is outside its user namespace; */
	gid_t host_gid; /* own ids are used if sandbox_may_give_ids() not */
	int cgroup_fd;	/* cgroup v2 folder, -1 = stay */
	bool die_with_parent; /* SIGKILL when the caller's thread ends */
};

struct sandbox_child {
	pid_t pid;
	int pidfd; /* the caller's to close */
	struct sandbox_report outer;
	int sync_fd; /* between begin and finish; else -1 */
};

/**
 * sandbox_may_give_ids() - May the caller give a child these ids?
 *
 * It needs the capabilities, and a user namespace that has the ids: root in a
 * container may have no others than its own.
 */
bool sandbox_may_give_ids(uid_t uid, gid_t gid);

/**
 * sandbox_spawn() - Start one confined program
 *
 * The caller must be single-threaded. Set-up errors of the child come back as
 * this function's error (named step); after success the program runs.
 * Equals sandbox_spawn_begin() and sandbox_spawn_finish().
 */
int sandbox_spawn(const struct sandbox_spawn_args *args,
		  struct sandbox_child *ret, struct err *e);

/**
 * sandbox_spawn_begin() - Start it, don't wait until it runs
 *
 * To start several children at once: begin them all, then finish them all.
 * The descriptors in @args may be closed when this returns. On success
 * sandbox_spawn_finish() or sandbox_spawn_abandon() must follow.
 */
int sandbox_spawn_begin(const struct sandbox_spawn_args *args,
			struct sandbox_child *ret, struct err *e);

/**
 * sandbox_spawn_finish() - Wait until the program runs
 *
 * On error the child is dead and reaped, its pidfd closed (-1). A child that
 * is killed before exec looks like one that is killed right after it.
 */
int sandbox_spawn_finish(struct sandbox_child *child, struct err *e);

/** sandbox_spawn_abandon() - Kill and reap; also after finish() */
void sandbox_spawn_abandon(struct sandbox_child *child);

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

/**
 * sandbox_restrict() - Inner stage, first half: no paths, no ports
 *
 * Single-threaded: threads created later inherit it. From here on nothing can
 * be opened; what is open stays usable.
 */
int sandbox_restrict(struct sandbox_report *report, struct err *e);

/**
 * sandbox_lock() - Inner stage, second half, for all threads of the process
 *
 * All threads exist (no list allows making more). Fails if a thread already
 * has a filter of its own.
 */
int sandbox_lock(const struct seccomp_profile *profile,
		 struct sandbox_report *report, struct err *e);

/**
 * sandbox_lock_thread() - A narrower list for the calling thread only
 *
 * After sandbox_lock(): filters add up, so the process's list must contain
 * this one, and seccomp itself.
 */
int sandbox_lock_thread(const struct seccomp_profile *profile, struct err *e);

/** sandbox_note_layer()/_downgrade() - Add a text to a report; NULL allowed */
void sandbox_note_layer(struct sandbox_report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sandbox_note_downgrade(struct sandbox_report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
