/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/audit_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit_gate.h"
#include "broker/family.h"
#include "broker/keep.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

#define PLAN_PROCESSES_MAX AUDIT_PLAN_MAX
#define PLAN_NOTES_MAX	   (2 * SANDBOX_MAX_NOTES)

/* A process with all that its message points to. */
struct plan_process {
	Bulkhead__AuditProcess msg;
	struct audit_expect x;
	Bulkhead__AuditFile program;
	Bulkhead__AuditFile files[AUDIT_FILES_MAX];
	Bulkhead__AuditFile *file_list[AUDIT_FILES_MAX];
	Bulkhead__AuditFile regions[AUDIT_REGIONS_MAX];
	Bulkhead__AuditFile *region_list[AUDIT_REGIONS_MAX];
	Bulkhead__SandboxReport told;
	char *layers[PLAN_NOTES_MAX];
	char *downgrades[PLAN_NOTES_MAX];
};

struct plan {
	Bulkhead__AuditPlan msg; /* first: what the callers hold */
	Bulkhead__AuditProcess *list[PLAN_PROCESSES_MAX];
	struct plan_process processes[PLAN_PROCESSES_MAX];
};

/* ---- the broker's side ---- */

static void plan_file(Bulkhead__AuditFile *m, struct audit_file *f)
{
	bulkhead__audit_file__init(m);
	m->dev = f->dev;
	m->ino = f->ino;
	m->rdev = f->rdev;
	m->size = f->size;
	m->access = f->access;
	m->name = f->name;
}

static void plan_told(struct plan_process *p)
{
	Bulkhead__SandboxReport *m = &p->told;

	bulkhead__sandbox_report__init(m);
	m->layers = p->layers;
	m->downgrades = p->downgrades;
	for (size_t k = 0; k < ARRAY_SIZE(p->x.told); k++) {
		struct sandbox_report *r = &p->x.told[k];

		for (unsigned int i = 0; i < r->num_layers; i++)
			m->layers[m->n_layers++] = r->layers[i];
		for (unsigned int i = 0; i < r->num_downgrades; i++)
			m->downgrades[m->n_downgrades++] = r->downgrades[i];
	}
	p->msg.told = m;
}

static void plan_process(struct plan *plan, struct plan_process *p)
{
	struct audit_expect *x = &p->x;
	Bulkhead__AuditProcess *m = &p->msg;

	bulkhead__audit_process__init(m);
	m->role = x->role;
	m->id = x->id;
	m->pid = x->pid;
	m->uid = x->uid;
	m->gid = x->gid;
	m->privileged = x->privileged;
	m->upgraded = x->upgraded;
	m->creator = x->creator;
	plan_file(&p->program, &x->program);
	m->program = &p->program;
	for (unsigned int i = 0; i < x->num_backends; i++) {
		plan_file(&p->files[i], &x->backends[i]);
		p->file_list[i] = &p->files[i];
	}
	m->n_backends = x->num_backends;
	m->backends = p->file_list;
	for (unsigned int i = 0; i < x->num_regions; i++) {
		plan_file(&p->regions[i], &x->regions[i]);
		p->region_list[i] = &p->regions[i];
	}
	m->n_regions = x->num_regions;
	m->regions = p->region_list;
	m->workers = x->workers;
	m->vcpus = x->vcpus;
	m->queues = x->queues;
	m->clients = x->clients;
	plan_told(p);
	plan->list[plan->msg.n_processes++] = m;
}

/* One that is being replaced, or gets ready, is audited by the broker. */
static int plan_device(struct plan *plan, const struct session *s,
		       struct err *e)
{
	const struct session_proc *procs[] = {
		session_is_served(s) ? s->proc : NULL,
		s->spare && s->spare->info.valid ? s->spare : NULL,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(procs); i++) {
		struct plan_process *p = &plan->processes[2 + 2 * s->index + i];

		if (!procs[i])
			continue;
		r = audit_expect_device(s, procs[i], &p->x, e);
		if (i == 1)
			snprintf(p->x.id, sizeof(p->x.id), "%.50s (spare)",
				 s->id);
		if (r == 0)
			plan_process(plan, p);
	}
	return r;
}

int audit_plan_new(const struct family *f, const char *name,
		   Bulkhead__AuditPlan **ret, struct err *e)
{
	auto_free struct plan *plan = calloc(1, sizeof(*plan));
	int r = 0;

	if (!plan)
		return err_set(e, -ENOMEM, "no memory for an audit");
	if (f->state != FAMILY_RUNNING)
		return err_set(e, -EAGAIN,
			       "the VM is %s: an audit needs a running guest",
			       family_state_name(f->state));
	bulkhead__audit_plan__init(&plan->msg);
	plan->msg.name = (char *)(uintptr_t)name;
	plan->msg.release = (char *)(uintptr_t)BULKHEAD_VERSION;
	plan->msg.processes = plan->list;
	r = audit_expect_core(f, &plan->processes[0].x, e);
	if (r == 0)
		plan_process(plan, &plan->processes[0]);
	/* One that is just being told of a change is not what it will be. */
	if (r == 0 && keep_child(f) && !keep_is_busy(f)) {
		r = audit_expect_keeper(f, &plan->processes[1].x, e);
		if (r == 0)
			plan_process(plan, &plan->processes[1]);
	}
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		r = plan_device(plan, &f->devices[i], e);
	if (r < 0)
		return r;
	*ret = &take_ptr(plan)->msg;
	return 0;
}

void audit_plan_free(Bulkhead__AuditPlan *plan)
{
	free(plan);
}

/* ---- the auditor's side ---- */

static void plan_take_file(struct audit_file *f, const Bulkhead__AuditFile *m)
{
	f->dev = m->dev;
	f->ino = m->ino;
	f->rdev = m->rdev;
	f->size = m->size;
	f->access = m->access;
	snprintf(f->name, sizeof(f->name), "%s", m->name);
}

static void plan_take_notes(char (*dst)[SANDBOX_NOTE_MAX], unsigned int *num,
			    char *const *src, size_t n)
{
	for (size_t i = 0; i < n && i < SANDBOX_MAX_NOTES; i++)
		snprintf(dst[(*num)++], SANDBOX_NOTE_MAX, "%s", src[i]);
}

/* The broker joins both reports; here they fill two again. */
static void plan_take_told(struct audit_expect *x,
			   const Bulkhead__SandboxReport *m)
{
	size_t l = min_u64(m->n_layers, SANDBOX_MAX_NOTES);
	size_t d = min_u64(m->n_downgrades, SANDBOX_MAX_NOTES);

	plan_take_notes(x->told[0].layers, &x->told[0].num_layers, m->layers,
			l);
	plan_take_notes(x->told[1].layers, &x->told[1].num_layers,
			m->layers + l, m->n_layers - l);
	plan_take_notes(x->told[0].downgrades, &x->told[0].num_downgrades,
			m->downgrades, d);
	plan_take_notes(x->told[1].downgrades, &x->told[1].num_downgrades,
			m->downgrades + d, m->n_downgrades - d);
}

int audit_plan_expect(const Bulkhead__AuditPlan *plan, size_t i, pid_t broker,
		      struct audit_expect *ret, struct err *e)
{
	const Bulkhead__AuditProcess *m = plan->processes[i];

	if (m->pid <= 1 || !m->program || !m->told ||
	    m->n_backends > AUDIT_FILES_MAX ||
	    m->n_regions > AUDIT_REGIONS_MAX || m->workers > 4096 ||
	    m->vcpus > 4096 || m->queues > 65536)
		return err_set(e, -EPROTO, "the broker's plan is malformed");
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->role, sizeof(ret->role), "%s", m->role);
	snprintf(ret->id, sizeof(ret->id), "%s", m->id);
	ret->pid = m->pid;
	ret->parent = broker;
	ret->uid = m->uid;
	ret->gid = m->gid;
	ret->privileged = m->privileged;
	ret->upgraded = m->upgraded;
	ret->creator = m->creator;
	plan_take_file(&ret->program, m->program);
	for (size_t k = 0; k < m->n_backends; k++)
		plan_take_file(&ret->backends[k], m->backends[k]);
	ret->num_backends = (unsigned int)m->n_backends;
	for (size_t k = 0; k < m->n_regions; k++)
		plan_take_file(&ret->regions[k], m->regions[k]);
	ret->num_regions = (unsigned int)m->n_regions;
	ret->workers = m->workers;
	ret->vcpus = m->vcpus;
	ret->queues = m->queues;
	ret->clients = m->clients;
	plan_take_told(ret, m->told);
	return 0;
}
