/* SPDX-License-Identifier: Apache-2.0 */

/* What is mapped, from where, and what may be done with it. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "broker/audit_internal.h"

#define MAPS_LOWEST 0x10000 /* below lies what a null pointer leads to */
#define MAPS_FIXED  64	    /* program, heap, stack, vdso, buffers */

struct maps_line {
	uint64_t start, end, ino;
	dev_t dev;
	bool r, w, x, shared;
	const char *name; /* "" = anonymous */
};

static bool maps_parse(char *line, struct maps_line *ret)
{
	unsigned int maj, min;
	char perms[5];
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %x:%x %" SCNu64 "%n",
		   &ret->start, &ret->end, perms, &maj, &min, &ret->ino,
		   &at) != 6 ||
	    strlen(perms) != 4)
		return false;
	ret->dev = makedev(maj, min);
	ret->r = perms[0] == 'r';
	ret->w = perms[1] == 'w';
	ret->x = perms[2] == 'x';
	ret->shared = perms[3] == 's';
	ret->name = line + at + strspn(line + at, " ");
	return true;
}

static bool maps_is_region(const struct audit *a, const struct maps_line *m)
{
	for (unsigned int i = 0; i < a->x->num_regions; i++)
		if (a->x->regions[i].ino == m->ino &&
		    a->x->regions[i].dev == m->dev)
			return true;
	return false;
}

/* Shared memory that the role has by its nature. */
static bool maps_may_share(const struct audit *a, const struct maps_line *m)
{
	if (!strncmp(m->name, "anon_inode:[io_uring]", 21))
		return !strcmp(a->x->role, "blk");
	if (!strncmp(m->name, "anon_inode:kvm-vcpu:", 20))
		return !strcmp(a->x->role, "core");
	return maps_is_region(a, m);
}

/* By name: file systems give maps and stat different device numbers. */
static bool maps_is_program(const struct audit *a, const struct maps_line *m)
{
	return m->ino && a->exe[0] == '/' && !strcmp(m->name, a->exe);
}

static void maps_vsyscall(struct audit *a, const struct maps_line *m)
{
	if (m->r)
		audit_set(a, AUDIT_MAP_VSYSCALL, AUDIT_LACKS,
			  "readable: boot the host with vsyscall=none");
}

static void maps_one(struct audit *a, const struct maps_line *m,
		     unsigned int *text)
{
	bool program = maps_is_program(a, m);

	if (!strcmp(m->name, "[vsyscall]")) {
		maps_vsyscall(a, m);
		return;
	}
	audit_that(a, AUDIT_MAP_WX, !(m->w && m->x), "%#" PRIx64 " %s",
		   m->start, m->name);
	if (m->x)
		audit_that(a, AUDIT_MAP_EXEC,
			   program || !strcmp(m->name, "[vdso]"),
			   "%#" PRIx64 " %s", m->start,
			   m->name[0] ? m->name : "anonymous");
	if (program && m->x) {
		*text += 1;
		audit_that(a, AUDIT_MAP_TEXT, !m->shared && !m->w,
			   "shared or writable");
	}
	if (m->ino)
		audit_that(a, AUDIT_MAP_FILES,
			   program ? !m->shared : maps_may_share(a, m),
			   "%#" PRIx64 " %s", m->start, m->name);
	if (m->shared)
		audit_that(a, AUDIT_MAP_SHARED, maps_may_share(a, m),
			   "%#" PRIx64 " %s", m->start, m->name);
	if (!strcmp(m->name, "[stack]"))
		audit_that(a, AUDIT_MAP_STACK, !m->x, "%#" PRIx64, m->start);
	audit_that(a, AUDIT_MAP_LOW, m->start >= MAPS_LOWEST, "%#" PRIx64,
		   m->start);
}

void audit_maps(struct audit *a)
{
	unsigned int count = 0, text = 0, most;
	int n = audit_read(a, a->proc, "maps");
	char *line = a->text, *end;
	struct maps_line m;

	if (n <= 0) {
		for (unsigned int i = AUDIT_MAP_WX; i <= AUDIT_MAP_VSYSCALL;
		     i++) {
			errno = n < 0 ? -n : ESRCH;
			audit_unread(a, i, "/proc/<pid>/maps");
		}
		return;
	}
	for (unsigned int i = AUDIT_MAP_WX; i <= AUDIT_MAP_VSYSCALL; i++)
		audit_set(a, i, AUDIT_PASS, NULL);
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		audit_that(a, AUDIT_MAP_FILES, maps_parse(line, &m),
			   "not understood: %.60s", line);
		maps_one(a, &m, &text);
		count++;
	}
	audit_that(a, AUDIT_MAP_TEXT, text == 1, "%u text mappings", text);
	/* A thread has a stack and its guard; a vCPU its shared page too. */
	most = MAPS_FIXED + 4 * (a->num_threads + a->x->vcpus) +
	       64 * a->x->num_regions;
	audit_that(a, AUDIT_MAP_COUNT, count <= most, "%u, at most %u", count,
		   most);
}
