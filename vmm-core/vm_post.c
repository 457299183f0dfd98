/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From any thread to the control thread: a bounded queue of calls and an
 * eventfd that wakes the loop. Events to the broker take a slot of a small
 * pool, so that a vCPU thread needs no heap; when the pool is empty an event
 * that the guest may repeat at will is dropped and counted, and the guest's
 * end, which has a slot of its own, is not.
 *
 * A guest that powered off while there is no broker would leave the family
 * behind for nothing: when nobody answers, the core ends, and the rest with it.
 * A guest that asked for a reset waits for another broker, who carries it out.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "vmm-core/eventfd.h"
#include "vmm-core/vcpu.h"
#include "vmm-core/vm.h"

#define POSTS_MAX	 1024
#define EVENTS_MAX	 32
#define EVENT_TEXT_MAX	 ERR_TEXT_MAX
#define EVENTS_IN_FLIGHT 64 /* sent, not answered: the broker is slow */
#define UNHEARD_MS	 30000

struct vm_call {
	void (*fn)(struct vm *vm, void *arg);
	void *arg;
};

struct vm_event_slot {
	bool used;
	Bulkhead__VmEvent__Kind kind;
	uint32_t code;
	uint64_t time_ns;
	char text[EVENT_TEXT_MAX];
};

struct vm_posts {
	pthread_mutex_t lock; /* innermost: nothing is called under it */
	int fd;		      /* eventfd, owned */
	unsigned int head;
	unsigned int num;
	struct vm_call calls[POSTS_MAX];
	struct vm_event_slot events[EVENTS_MAX + 1]; /* the last: the end */
	unsigned int in_flight;			     /* control thread */
	struct loop_watch *w_unheard;		     /* likewise */
	uint64_t dropped;
};

/*
 * @sys core,vcpu write: wake the control thread, raise an interrupt
 */
int vm_post(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg)
{
	struct vm_posts *p = vm->posts;
	bool wake;

	pthread_mutex_lock(&p->lock);
	if (p->num == POSTS_MAX) {
		pthread_mutex_unlock(&p->lock);
		return -EAGAIN;
	}
	p->calls[(p->head + p->num) % POSTS_MAX] = (struct vm_call){fn, arg};
	wake = p->num++ == 0;
	pthread_mutex_unlock(&p->lock);
	if (wake)
		eventfd_signal(p->fd);
	return 0;
}

static bool vm_posts_take(struct vm_posts *p, struct vm_call *ret)
{
	bool some;

	pthread_mutex_lock(&p->lock);
	some = p->num > 0;
	if (some) {
		*ret = p->calls[p->head];
		p->head = (p->head + 1) % POSTS_MAX;
		p->num--;
	}
	pthread_mutex_unlock(&p->lock);
	return some;
}

/*
 * @sys core read: posted calls, serial input
 */
static void vm_posts_run(int fd, unsigned int events, void *arg)
{
	struct vm *vm = arg;
	struct vm_call call;

	(void)events;
	/* Drain first: a post after the last take wakes us again. */
	eventfd_drain(fd);
	for (unsigned int i = 0; i < POSTS_MAX; i++) {
		if (!vm_posts_take(vm->posts, &call))
			return;
		call.fn(vm, call.arg);
	}
	/* Others want the loop too; come back for the rest. */
	eventfd_signal(fd);
}

static void vm_on_unheard(void *arg)
{
	struct vm *vm = arg;

	log_warn("the guest has ended and nobody wants to know");
	loop_stop(vm->loop, 0);
}

static void vm_event_answered(struct vm *vm, const Bulkhead__CoreMessage *m,
			      void *arg)
{
	(void)m;
	(void)arg;
	vm->posts->in_flight--;
	if (__atomic_load_n(&vm->over, __ATOMIC_ACQUIRE))
		loop_timer_disarm(vm->posts->w_unheard);
}

static int vm_event_put(struct vm *vm, Bulkhead__CoreBody *body)
{
	int r;

	do
		r = vm_send(vm, body, NULL, 0, vm_event_answered, NULL);
	while (r == -EAGAIN && vm_send_wait(vm) == 0);
	return r;
}

static void vm_event_send(struct vm *vm, void *arg)
{
	struct vm_event_slot *s = arg;
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__VmEvent ev;

	bulkhead__vm_event__init(&ev);
	ev.kind = s->kind;
	ev.code = s->code;
	ev.time_ns = s->time_ns;
	ev.text = s->text;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_VM_EVENT;
	body.vm_event = &ev;
	if (s->kind == BULKHEAD__VM_EVENT__KIND__DEBUG_CODE &&
	    vm->posts->in_flight >= EVENTS_IN_FLIGHT)
		vm->posts->dropped++;
	else if (vm_event_put(vm, &body) == 0)
		vm->posts->in_flight++;
	else
		log_error("cannot report an event: %s", s->text);
	if (s->kind == BULKHEAD__VM_EVENT__KIND__SHUTDOWN ||
	    s->kind == BULKHEAD__VM_EVENT__KIND__CRASHED)
		loop_timer_arm(vm->posts->w_unheard, UNHEARD_MS);
	pthread_mutex_lock(&vm->posts->lock);
	s->used = false;
	pthread_mutex_unlock(&vm->posts->lock);
}

static struct vm_event_slot *vm_event_slot(struct vm_posts *p, bool end)
{
	struct vm_event_slot *s = NULL;

	pthread_mutex_lock(&p->lock);
	for (unsigned int i = end ? EVENTS_MAX : 0;
	     i < (end ? EVENTS_MAX + 1 : EVENTS_MAX); i++)
		if (!p->events[i].used) {
			s = &p->events[i];
			s->used = true;
			break;
		}
	if (!s)
		p->dropped++;
	pthread_mutex_unlock(&p->lock);
	return s;
}

static void vm_report(struct vm *vm, Bulkhead__VmEvent__Kind kind,
		      uint32_t code, const char *text, bool end)
{
	struct vm_event_slot *s = vm_event_slot(vm->posts, end);
	struct timespec ts = {0};

	if (!s)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	s->kind = kind;
	s->code = code;
	s->time_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	snprintf(s->text, sizeof(s->text), "%s", text ? text : "");
	if (vm_post(vm, vm_event_send, s) < 0) {
		pthread_mutex_lock(&vm->posts->lock);
		s->used = false;
		vm->posts->dropped++;
		pthread_mutex_unlock(&vm->posts->lock);
	}
}

void vm_event(struct vm *vm, Bulkhead__VmEvent__Kind kind, uint32_t code,
	      const char *text)
{
	vm_report(vm, kind, code, text, false);
}

static void vm_stop_vcpus(struct vm *vm, void *arg)
{
	(void)arg;
	vcpu_gang_kick(vm);
}

/*
 * @sys core,vcpu clock_gettime: when events happened, where the vDSO has no
 *   clock
 */
void vm_guest_end(struct vm *vm, Bulkhead__VmEvent__Kind kind, const char *text)
{
	bool before = __atomic_exchange_n(&vm->over, true, __ATOMIC_ACQ_REL);

	__atomic_store_n(&vm->stopping, true, __ATOMIC_RELEASE);
	if (before)
		return;
	vm_report(vm, kind, 0, text, true);
	vm_post(vm, vm_stop_vcpus, NULL);
}

const Bulkhead__VmEvent *vm_posts_adopted(struct vm *vm, Bulkhead__VmEvent *buf)
{
	struct vm_event_slot *end = &vm->posts->events[EVENTS_MAX];

	vm->posts->in_flight = 0;
	loop_timer_disarm(vm->posts->w_unheard);
	bulkhead__vm_event__init(buf);
	pthread_mutex_lock(&vm->posts->lock);
	buf->kind = end->kind;
	buf->time_ns = end->time_ns;
	buf->text = end->text;
	pthread_mutex_unlock(&vm->posts->lock);
	return buf->kind ? buf : NULL;
}

int vm_posts_init(struct vm *vm, struct err *e)
{
	struct vm_posts *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "no memory for the event queue");
	pthread_mutex_init(&p->lock, NULL);
	vm->posts = p;
	r = eventfd_new(e);
	if (r < 0)
		return r;
	p->fd = r;
	r = loop_add_timer(vm->loop, vm_on_unheard, vm, &p->w_unheard, e);
	if (r < 0)
		return r;
	return loop_add_fd(vm->loop, p->fd, LOOP_READ, vm_posts_run, vm, NULL,
			   e);
}
