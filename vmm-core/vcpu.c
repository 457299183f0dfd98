/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/vcpu.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "common/base/log.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "vmm-core/arch/arch.h"
#include "vmm-core/ioapic.h"

SECCOMP_PROFILE(vcpu);

#ifdef __SANITIZE_ADDRESS__
#define VCPU_STACK (1024 * 1024)
#else
#define VCPU_STACK (128 * 1024)
#endif
#define VCPU_STOP_SECONDS 5
#define VCPU_HOST_CPUS	  CPU_SETSIZE

/* What the threads wait for, in this order. */
enum gang_phase { GANG_PREPARE, GANG_LOCK, GANG_RUN };

struct vcpu {
	struct vm *vm;
	struct hv_vcpu *hv;
	unsigned int index;
	pthread_t thread;
	const Bulkhead__CpuAffinity *affinity; /* during preparation */
};

struct vcpu_gang {
	pthread_mutex_t lock; /* guards what follows; after vm->lock */
	pthread_cond_t phase_changed;
	pthread_cond_t count_changed;
	enum gang_phase phase;
	unsigned int waiting; /* threads that reached the end of the phase */
	unsigned int parked;
	struct err error; /* the first that a thread had */
};

static struct vcpu *vcpu_of(struct vm *vm, unsigned int index)
{
	return vm->vcpus[index];
}

struct hv_vcpu *vcpu_get_hv(struct vm *vm, unsigned int index)
{
	return vcpu_of(vm, index)->hv;
}

static bool vcpu_is_stopping(const struct vm *vm)
{
	return __atomic_load_n(&vm->stopping, __ATOMIC_ACQUIRE);
}

static void vcpu_pio(struct vm *vm, const struct hv_exit *x)
{
	uint8_t *data = x->data;

	pthread_mutex_lock(&vm->lock);
	for (uint32_t i = 0; i < x->count; i++, data += x->size) {
		if (x->write)
			bus_write(vm->pio, x->addr, data, x->size);
		else
			bus_read(vm->pio, x->addr, data, x->size);
	}
	pthread_mutex_unlock(&vm->lock);
}

static void vcpu_mmio(struct vm *vm, const struct hv_exit *x)
{
	pthread_mutex_lock(&vm->lock);
	if (x->write)
		bus_write(vm->mmio, x->addr, x->data, x->size);
	else
		bus_read(vm->mmio, x->addr, x->data, x->size);
	pthread_mutex_unlock(&vm->lock);
}

struct vcpu_crash {
	struct hv_vcpu *hv;
	char where[160];
};

static int vcpu_gate_describe(struct hv *hv, void *arg)
{
	struct vcpu_crash *c = arg;

	(void)hv;
	hv_vcpu_describe(c->hv, c->where, sizeof(c->where));
	return 0;
}

static void vcpu_crashed(struct vcpu *v, const char *what)
{
	struct vcpu_crash crash = {.hv = v->hv};
	char text[ERR_TEXT_MAX];

	gate_call(v->vm->gate, vcpu_gate_describe, &crash);
	snprintf(text, sizeof(text), "vCPU %u: %s; %s", v->index, what,
		 crash.where);
	vm_guest_end(v->vm, BULKHEAD__VM_EVENT__KIND__CRASHED, text);
}

static void vcpu_dispatch(struct vcpu *v, const struct hv_exit *x)
{
	struct vm *vm = v->vm;

	switch (x->kind) {
	case HV_EXIT_NONE:
	case HV_EXIT_INTERRUPTED:
		break;
	case HV_EXIT_PIO:
		vcpu_pio(vm, x);
		break;
	case HV_EXIT_MMIO:
		vcpu_mmio(vm, x);
		break;
	case HV_EXIT_EOI:
		pthread_mutex_lock(&vm->lock);
		ioapic_eoi(vm->ioapic, x->vector);
		pthread_mutex_unlock(&vm->lock);
		break;
	case HV_EXIT_SHUTDOWN:
		/* How an x86 guest without another way restarts. */
		vm_guest_end(vm, BULKHEAD__VM_EVENT__KIND__RESET, x->text);
		break;
	case HV_EXIT_RESET:
		vm_guest_end(vm, BULKHEAD__VM_EVENT__KIND__RESET, "reset");
		break;
	case HV_EXIT_POWEROFF:
		vm_guest_end(vm, BULKHEAD__VM_EVENT__KIND__SHUTDOWN,
			     "power-off");
		break;
	case HV_EXIT_HALTED:
		vcpu_crashed(v, "halted although the hypervisor has the "
				"interrupt controller");
		break;
	case HV_EXIT_ERROR:
		vcpu_crashed(v, x->text);
		break;
	}
}

static void vcpu_run(struct vcpu *v)
{
	struct hv_exit x;
	struct err e;

	while (!vcpu_is_stopping(v->vm)) {
		if (hv_vcpu_run(v->hv, &x, &e) < 0) {
			vcpu_crashed(v, e.text);
			return;
		}
		vcpu_dispatch(v, &x);
	}
}

static int vcpu_set_affinity(const struct vcpu *v, struct err *e)
{
	const Bulkhead__CpuAffinity *a = v->affinity;
	cpu_set_t set;

	if (!a)
		return 0;
	CPU_ZERO(&set);
	for (size_t i = 0; i < a->n_host_cpus; i++) {
		if (a->host_cpus[i] >= VCPU_HOST_CPUS)
			return err_set(e, -EINVAL,
				       "--cpus affinity=[%u@...]: host CPU %u "
				       "is beyond %u",
				       v->index, a->host_cpus[i],
				       VCPU_HOST_CPUS - 1);
		CPU_SET(a->host_cpus[i], &set);
	}
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return err_errno(e,
				 "--cpus affinity=[%u@...]: cannot bind the "
				 "vCPU to these host CPUs (do they exist, does "
				 "the cgroup allow them?)",
				 v->index);
	return 0;
}

/* Tell the end of a phase (and an error), then wait for @next. */
static void vcpu_wait_phase(struct vcpu_gang *g, enum gang_phase next,
			    const struct err *e)
{
	pthread_mutex_lock(&g->lock);
	if (e->code && !g->error.code)
		g->error = *e;
	g->waiting++;
	pthread_cond_signal(&g->count_changed);
	while (g->phase < next)
		pthread_cond_wait(&g->phase_changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

/* Never returns: ending a thread needs system calls that its list lacks. */
_Noreturn static void vcpu_park(struct vcpu_gang *g)
{
	pthread_mutex_lock(&g->lock);
	g->parked++;
	pthread_cond_signal(&g->count_changed);
	for (;;)
		pthread_cond_wait(&g->phase_changed, &g->lock);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct vcpu_gang *g = v->vm->gang;
	struct err e = {0};
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->index);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	hv_vcpu_bind(v->hv);
	vcpu_set_affinity(v, &e);
	vcpu_wait_phase(g, GANG_LOCK, &e);
	sandbox_lock_thread(&seccomp_profile_vcpu, &e);
	vcpu_wait_phase(g, GANG_RUN, &e);
	vcpu_run(v);
	vcpu_park(g);
}

static int vcpu_new(struct vm *vm, unsigned int index,
		    const Bulkhead__CpuConfig *cfg, struct err *e)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_set(e, -ENOMEM, "no memory for vCPU %u", index);
	vm->vcpus[index] = v;
	v->vm = vm;
	v->index = index;
	for (size_t i = 0; i < cfg->n_affinity; i++)
		if (cfg->affinity[i]->vcpu == index)
			v->affinity = cfg->affinity[i];
	r = hv_vcpu_new(vm->hv, arch_vcpu_id(vm->arch, index), &v->hv, e);
	return r < 0 ? r : arch_vcpu_init(vm->arch, v->hv, index, e);
}

static int vcpu_start_thread(struct vcpu *v, struct err *e)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK);
	r = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_attr_destroy(&attr);
	if (!r)
		return 0;
	errno = r;
	return err_errno(e, "cannot start the thread of vCPU %u", v->index);
}

/* Wait until all threads reached the end of the phase; their first error. */
static int vcpu_gang_wait(struct vm *vm, struct err *e)
{
	struct vcpu_gang *g = vm->gang;
	int r;

	pthread_mutex_lock(&g->lock);
	while (g->waiting < vm->num_vcpus)
		pthread_cond_wait(&g->count_changed, &g->lock);
	g->waiting = 0;
	if (g->error.code)
		*e = g->error;
	r = g->error.code;
	pthread_mutex_unlock(&g->lock);
	return r;
}

static void vcpu_gang_set_phase(struct vcpu_gang *g, enum gang_phase phase)
{
	pthread_mutex_lock(&g->lock);
	g->phase = phase;
	pthread_cond_broadcast(&g->phase_changed);
	pthread_mutex_unlock(&g->lock);
}

static int vcpu_gang_alloc(struct vm *vm, unsigned int num, struct err *e)
{
	pthread_condattr_t attr;

	vm->gang = calloc(1, sizeof(*vm->gang));
	vm->vcpus = calloc(num, sizeof(struct vcpu *));
	if (!vm->gang || !vm->vcpus)
		return err_set(e, -ENOMEM, "no memory for %u vCPUs", num);
	vm->num_vcpus = num;
	pthread_mutex_init(&vm->gang->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->gang->phase_changed, &attr);
	pthread_cond_init(&vm->gang->count_changed, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

int vcpu_gang_new(struct vm *vm, const Bulkhead__CpuConfig *cfg, struct err *e)
{
	int r = vcpu_gang_alloc(vm, cfg->boot, e);

	for (unsigned int i = 0; r == 0 && i < vm->num_vcpus; i++)
		r = vcpu_new(vm, i, cfg, e);
	for (unsigned int i = 0; r == 0 && i < vm->num_vcpus; i++)
		r = vcpu_start_thread(vcpu_of(vm, i), e);
	if (r < 0)
		return r;
	r = vcpu_gang_wait(vm, e);
	/* The configuration's message doesn't outlive its handling. */
	for (unsigned int i = 0; i < vm->num_vcpus; i++)
		vcpu_of(vm, i)->affinity = NULL;
	return r;
}

int vcpu_gang_lock(struct vm *vm, struct err *e)
{
	vcpu_gang_set_phase(vm->gang, GANG_LOCK);
	return vcpu_gang_wait(vm, e);
}

void vcpu_gang_start(struct vm *vm)
{
	vcpu_gang_set_phase(vm->gang, GANG_RUN);
}

void vcpu_gang_kick(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->num_vcpus; i++)
		hv_vcpu_kick(vcpu_of(vm, i)->hv);
}

int vcpu_gang_stop(struct vm *vm, struct err *e)
{
	struct vcpu_gang *g = vm->gang;
	struct timespec until;
	int r = 0;

	__atomic_store_n(&vm->stopping, true, __ATOMIC_RELEASE);
	vcpu_gang_set_phase(g, GANG_RUN); /* those that never ran park too */
	vcpu_gang_kick(vm);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += VCPU_STOP_SECONDS;
	pthread_mutex_lock(&g->lock);
	while (g->parked < vm->num_vcpus && r == 0)
		r = pthread_cond_timedwait(&g->count_changed, &g->lock, &until);
	pthread_mutex_unlock(&g->lock);
	return r ? err_set(e, -ETIMEDOUT, "vCPUs do not stop") : 0;
}
