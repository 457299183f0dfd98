/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/audit_gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/family.h"
#include "broker/keep.h"
#include "broker/programs.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

/* The core, the keeper, and of each device two during a replacement. */
#define GATE_SEEN_MAX (2 * FAMILY_DEVICES_MAX + 2)

/* The namespaces of the processes that passed, to compare later ones with. */
struct audit_gate {
	struct {
		pid_t pid;
		struct audit_ns ns;
	} seen[GATE_SEEN_MAX];
	unsigned int num_seen;
	uint64_t spent_ns;
};

/* ---- what is expected ---- */

static void expect_child(struct audit_expect *x, const struct child *c)
{
	memset(x, 0, sizeof(*x));
	snprintf(x->role, sizeof(x->role), "%s", c->role);
	snprintf(x->id, sizeof(x->id), "%s", c->id);
	x->pid = c->pid;
	x->parent = getpid();
	x->creator = c->creator;
	x->privileged = sandbox_may_give_ids(c->host_uid, c->host_uid);
	x->uid = x->privileged ? c->host_uid : geteuid();
	x->gid = x->privileged ? c->host_uid : getegid();
	x->program = (struct audit_file){.dev = c->program_dev,
					 .ino = c->program_ino,
					 .size = c->program_size};
	x->upgraded =
		!programs_is_original(c->role, c->program_dev, c->program_ino);
	x->told[0] = c->outer;
	x->told[1] = c->inner;
}

static int expect_backend(struct audit_expect *x, int fd, struct err *e)
{
	int r;

	if (fd < 0)
		return 0;
	if (x->num_backends >= AUDIT_FILES_MAX)
		return err_set(e, -E2BIG, "%s: too many files to audit",
			       x->role);
	r = audit_describe_file(fd, &x->backends[x->num_backends]);
	if (r < 0)
		return err_set(e, r, "%s: cannot examine descriptor %d",
			       x->role, fd);
	x->num_backends++;
	return 0;
}

static int expect_opened(struct audit_expect *x, const struct opened *o,
			 struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < o->num_fds; i++)
		r = expect_backend(x, o->fds[i], e);
	if (o->listen_fd >= 0)
		x->clients = 1;
	return r;
}

static int expect_regions(struct audit_expect *x, const int *fds,
			  unsigned int num, struct err *e)
{
	for (unsigned int i = 0; i < num; i++) {
		int r;

		if (fds[i] < 0)
			continue;
		if (x->num_regions >= AUDIT_REGIONS_MAX)
			return err_set(e, -E2BIG, "too much memory to audit");
		r = audit_describe_file(fds[i], &x->regions[x->num_regions]);
		if (r < 0)
			return err_set(e, r, "cannot examine guest memory");
		x->num_regions++;
	}
	return 0;
}

int audit_expect_core(const struct family *f, struct audit_expect *ret,
		      struct err *e)
{
	int r;

	expect_child(ret, &f->core);
	ret->vcpus = f->cfg->cpus.boot;
	for (unsigned int i = 0; i < f->num_devices; i++)
		ret->queues += f->devices[i].info.num_queues + 2;
	r = expect_backend(ret, f->hv_fd, e);
	if (r == 0)
		r = expect_opened(ret, &f->serial, e);
	/* Of these the core gets the last one, to write to. */
	if (r == 0 && f->debug_console.num_fds)
		r = expect_backend(
			ret, f->debug_console.fds[f->debug_console.num_fds - 1],
			e);
	if (r == 0)
		r = expect_regions(ret, f->memfds, f->num_memfds, e);
	return r;
}

int audit_expect_keeper(const struct family *f, struct audit_expect *ret,
			struct err *e)
{
	int fds[AUDIT_FILES_MAX], n, r = 0;

	expect_child(ret, keep_child(f));
	n = keep_held(f, fds, ARRAY_SIZE(fds));
	if (n < 0)
		return err_set(e, n, "it holds too many files to audit");
	for (int i = 0; r == 0 && i < n; i++)
		r = expect_backend(ret, fds[i], e);
	return r;
}

int audit_expect_device(const struct session *s, const struct session_proc *p,
			struct audit_expect *ret, struct err *e)
{
	const struct family *f = s->family;
	int r;

	expect_child(ret, &p->child);
	ret->queues = p->info.num_queues;
	if (!strcmp(s->role, "blk"))
		ret->workers = p->info.num_queues;
	else if (!strcmp(s->role, "net"))
		ret->workers = s->opened.num_fds;
	r = expect_opened(ret, &s->opened, e);
	if (r == 0 && p->fence_fd >= 0) {
		r = expect_backend(ret, p->fence_fd, e);
		/* Ours is the reading end. */
		if (r == 0)
			ret->backends[ret->num_backends - 1].access = O_WRONLY;
	}
	if (r == 0)
		r = expect_regions(ret, f->memfds, f->num_memfds, e);
	if (r == 0)
		r = expect_regions(ret, &s->inflight.fd, 1, e);
	return r;
}

/* ---- the gate ---- */

static void gate_log(const struct audit_expect *x, const struct audit_result *r,
		     bool enforce)
{
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++) {
		const struct audit_text *t = &audit_texts[i];

		if (r->state[i] != AUDIT_FAIL)
			continue;
		log_line(enforce ? LOG_ERROR : LOG_WARN,
			 "audit of %s%s%s: %s: %s (%s); an attacker gains: %s",
			 x->role, x->id[0] ? " " : "", x->id, t->name, t->means,
			 r->detail[i], t->gain);
	}
}

static bool gate_is_ours(const struct family *f, pid_t pid)
{
	if (f->core.pid == pid || (keep_child(f) && keep_child(f)->pid == pid))
		return true;
	for (unsigned int i = 0; i < f->num_devices; i++) {
		const struct session *s = &f->devices[i];

		if ((s->proc && s->proc->child.pid == pid) ||
		    (s->next && s->next->child.pid == pid) ||
		    (s->spare && s->spare->child.pid == pid))
			return true;
	}
	return false;
}

/* Processes that are gone: the kernel gives the numbers of their namespaces to
 * new ones. And @pid, of which there is news. */
static void gate_forget(const struct family *f, struct audit_gate *g, pid_t pid)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < g->num_seen; i++)
		if (g->seen[i].pid != pid && gate_is_ours(f, g->seen[i].pid))
			g->seen[n++] = g->seen[i];
	g->num_seen = n;
}

static void gate_remember(struct audit_gate *g, pid_t pid,
			  const struct audit_ns *ns)
{
	if (g->num_seen == ARRAY_SIZE(g->seen))
		return;
	g->seen[g->num_seen].pid = pid;
	g->seen[g->num_seen].ns = *ns;
	g->num_seen++;
}

static unsigned int gate_others(const struct audit_gate *g,
				struct audit_ns *ret)
{
	for (unsigned int i = 0; i < g->num_seen; i++)
		ret[i] = g->seen[i].ns;
	return g->num_seen;
}

static int gate_run(struct family *f, const struct audit_expect *x,
		    struct err *e)
{
	bool enforce = f->cfg->audit == CONFIG_AUDIT_ENFORCE;
	auto_free struct audit_result *r = malloc(sizeof(*r));
	struct audit_ns others[GATE_SEEN_MAX];
	int result;

	if (!f->audit)
		f->audit = calloc(1, sizeof(*f->audit));
	if (!r || !f->audit)
		return err_set(e, -ENOMEM, "no memory for an audit");
	gate_forget(f, f->audit, x->pid);
	result = audit_process(x, others, gate_others(f->audit, others), r, e);
	if (result < 0)
		return result;
	f->audit->spent_ns += r->duration_ns;
	gate_remember(f->audit, x->pid, &r->ns);
	log_debug("audit of %s %s: %u passed, %u reported, %u lacking, %u not "
		  "readable, %u failed, in %.1f ms",
		  x->role, x->id, r->count[AUDIT_PASS],
		  r->count[AUDIT_REPORTED], r->count[AUDIT_LACKS],
		  r->count[AUDIT_HIDDEN], r->count[AUDIT_FAIL],
		  (double)r->duration_ns / 1e6);
	if (!r->count[AUDIT_FAIL])
		return 0;
	gate_log(x, r, enforce);
	if (!enforce)
		return 0;
	return err_set(e, -EPERM,
		       "bulkhead-%s%s%s is not confined as its manifest says: "
		       "%u checks of the audit failed (see the log); "
		       "--audit=warn starts the guest all the same",
		       x->role, x->id[0] ? " " : "", x->id,
		       r->count[AUDIT_FAIL]);
}

static int gate_family(struct family *f,
		       int (*expect)(const struct family *f,
				     struct audit_expect *ret, struct err *e),
		       struct err *e)
{
	auto_free struct audit_expect *x = NULL;
	int r;

	if (f->cfg->audit == CONFIG_AUDIT_OFF)
		return 0;
	x = malloc(sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "no memory for an audit");
	r = expect(f, x, e);
	return r < 0 ? r : gate_run(f, x, e);
}

int audit_gate_keeper(struct family *f, struct err *e)
{
	return gate_family(f, audit_expect_keeper, e);
}

int audit_gate_core(struct family *f, struct err *e)
{
	return gate_family(f, audit_expect_core, e);
}

int audit_gate_device(struct session *s, const struct session_proc *p,
		      struct err *e)
{
	auto_free struct audit_expect *x = NULL;
	int r;

	if (s->family->cfg->audit == CONFIG_AUDIT_OFF)
		return 0;
	x = malloc(sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "no memory for an audit");
	r = audit_expect_device(s, p, x, e);
	if (r == 0)
		r = gate_run(s->family, x, e);
	return r;
}

void audit_gate_free(struct family *f)
{
	free(f->audit);
	f->audit = NULL;
}
