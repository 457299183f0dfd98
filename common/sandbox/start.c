/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first thing a confined program does: get its heap, hide its memory,
 * and make sure that the outer stage really holds. A program that was started
 * by hand, or by a broker with a fault, ends here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/image.h"
#include "common/sandbox/internal.h"

#define START_POLL_BATCH 256

#if SANDBOX_SANITIZER
/* The environment is empty; leak checking would need ptrace. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:abort_on_error=1";
}
#endif

/*
 * One arena for all threads, on brk alone, never given back: a block of the
 * whole size is taken once and freed, and stays the top of the heap.
 */
static int start_grow_heap(uint64_t heap, struct err *e)
{
	void *block;

	/* Their allocator has no such settings. */
	if (SANDBOX_SANITIZER)
		return 0;
	if (heap > INT_MAX)
		return err_set(e, -EINVAL, "a heap of %llu bytes is too large",
			       (unsigned long long)heap);
	if (!mallopt(M_ARENA_MAX, 1) || !mallopt(M_MMAP_MAX, 0) ||
	    !mallopt(M_TRIM_THRESHOLD, INT_MAX))
		return err_set(e, -EINVAL, "mallopt refuses the settings");
	block = malloc(heap);
	if (!block)
		return err_set(e, -ENOMEM, "no memory for a heap of %llu bytes",
			       (unsigned long long)heap);
	/* The compiler may not drop the pair. */
	__asm__ volatile("" : : "r"(block) : "memory");
	image_use_small_pages(block, heap);
	free(block);
	return 0;
}

static int start_check_caps(struct err *e)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {0};

	if (syscall(SYS_capget, &head, d) < 0)
		return err_errno(e, "cannot read the capabilities");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (d[i].effective || d[i].permitted || d[i].inheritable)
			return err_set(e, -EPERM, "it still has capabilities");
	if (prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) != CAPS_SECUREBITS)
		return err_set(e, -EPERM, "the securebits are not locked");
	for (int cap = 0; cap < 64; cap++) {
		int r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (r < 0)
			break;
		if (r > 0)
			return err_set(e, -EPERM,
				       "capability %d is in the bounding set",
				       cap);
	}
	return 0;
}

static int start_check_ids(struct err *e)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) < 0 ||
	    getresgid(&rgid, &egid, &sgid) < 0)
		return err_errno(e, "cannot read the ids");
	if (!ruid || !euid || !suid || !rgid || !egid || !sgid)
		return err_set(e, -EPERM, "it still has a root id");
	if (getpid() != 1)
		return err_set(e, -EPERM, "it is not in its own pid namespace");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(e, -EPERM, "no_new_privs is not set");
	if (environ && environ[0])
		return err_set(e, -EPERM, "the environment is not empty");
	return 0;
}

/* Which of the numbers from @first on are open? No /proc to look into. */
static int start_check_fds(struct err *e)
{
	struct pollfd p[START_POLL_BATCH];
	long max = sysconf(_SC_OPEN_MAX);

	for (long first = 0; first < max; first += START_POLL_BATCH) {
		long n = max - first < START_POLL_BATCH ? max - first
							: START_POLL_BATCH;

		for (long i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = (int)(first + i)};
		if (poll(p, (nfds_t)n, 0) < 0)
			return err_errno(e, "cannot look at the descriptors");
		for (long i = 0; i < n; i++) {
			bool open = !(p[i].revents & POLLNVAL);

			if (open != (first + i < SANDBOX_NUM_FDS))
				return err_set(
					e, -EBADF, "descriptor %ld is %s",
					first + i,
					open ? "not declared" : "missing");
		}
	}
	return 0;
}

#if !SANDBOX_SANITIZER
static int start_check_root(struct err *e)
{
	const unsigned long want = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
	struct statfs fs;

	if (statfs("/", &fs) < 0)
		return err_errno(e, "cannot look at the root");
	if (fs.f_type != TMPFS_MAGIC ||
	    ((unsigned long)fs.f_flags & want) != want)
		return err_set(e, -EPERM, "the root is not the empty one");

	auto_fd fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 || errno != EACCES)
		return err_set(e, -EPERM, "the root can be read");
	if (access("/proc", F_OK) == 0)
		return err_set(e, -EPERM, "there is a /proc");
	return 0;
}
#else
static int start_check_root(struct err *e)
{
	(void)e;
	return 0;
}
#endif

int sandbox_start(uint64_t heap, struct sandbox_report *ret, struct err *e)
{
	int r;

	*ret = (struct sandbox_report){.syscalls = 0};
	/* exec made it readable again for everyone with our id */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(e, "cannot hide the process's memory");
	sandbox_note_layer(ret, "not dumpable");
	/* The broker's choice for itself came with exec; guest memory may. */
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	image_use_small_pages_for_data();
	r = start_grow_heap(heap, e);
	if (r == 0)
		r = start_check_ids(e);
	if (r == 0)
		r = start_check_caps(e);
	if (r == 0)
		r = start_check_root(e);
	if (r == 0)
		r = start_check_fds(e);
	if (r < 0) {
		err_prefix(e, "this program runs only as a confined child of "
			      "bulkhead");
		return r;
	}
	sandbox_note_layer(ret, "outer stage verified");
	return 0;
}
