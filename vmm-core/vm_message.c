/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The channel to the broker: requests are carried out one after another and
 * answered; answers find the request that they belong to. All in the control
 * thread. The broker is the boundary's other side: a message that breaks the
 * protocol ends the process, one that asks for the impossible is refused.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/sandbox/sandbox.h"
#include "vmm-core/device_link.h"
#include "vmm-core/memory.h"
#include "vmm-core/platform/platform.h"
#include "vmm-core/vm.h"

#define ANSWERS_MAX  1024 /* unanswered requests */
#define SEND_WAIT_MS 1000
#define PROGRAM	     "bulkhead-core"

struct vm_answer {
	uint32_t seq; /* 0 = free */
	vm_answer_cb done;
	void *arg;
};

struct vm_answers {
	struct vm_answer waiting[ANSWERS_MAX]; /* at seq % ANSWERS_MAX */
	struct sandbox_report *report;
	bool greeted;
	bool stop; /* after the answer */
};

static uint32_t vm_take_seq(struct vm *vm)
{
	uint32_t seq = vm->next_seq++;

	if (!vm->next_seq)
		vm->next_seq = 1;
	return seq;
}

/* The slot of the next message. A number whose slot still waits for an older
 * answer is passed over: one device that is slow must not stop the others. */
static struct vm_answer *vm_answer_slot(struct vm *vm)
{
	for (unsigned int i = 0; i < ANSWERS_MAX; i++) {
		struct vm_answer *a =
			&vm->answers->waiting[vm->next_seq % ANSWERS_MAX];

		if (!a->seq)
			return a;
		vm_take_seq(vm);
	}
	return NULL;
}

int vm_send(struct vm *vm, Bulkhead__CoreBody *body, const int *fds,
	    unsigned int num_fds, vm_answer_cb done, void *arg)
{
	Bulkhead__CoreMessage m = BULKHEAD__CORE_MESSAGE__INIT;
	struct vm_answer *a = vm_answer_slot(vm);
	struct err e;
	int r;

	if (!a)
		return -EAGAIN;
	m.seq = vm->next_seq;
	m.body = body;
	r = channel_send(vm->channel, &m.base, fds, num_fds, &e);
	if (r < 0)
		return r;
	a->seq = vm_take_seq(vm);
	a->done = done;
	a->arg = arg;
	return 0;
}

/*
 * @sys core poll(1==1, 2==1000): a slow broker
 * @sys core restart_syscall: poll goes on so after a stop (a freezer, ptrace)
 */
int vm_send_wait(struct vm *vm)
{
	struct pollfd p = {.fd = channel_fd(vm->channel), .events = POLLOUT};

	return poll(&p, 1, SEND_WAIT_MS) == 1 ? 0 : -EAGAIN;
}

/* Answer @m: the result @r with @e's sentence, or @body. */
static int vm_answer(struct vm *vm, const Bulkhead__CoreMessage *m, int r,
		     struct err *e, Bulkhead__CoreBody *body, const int *fds,
		     unsigned int num_fds)
{
	Bulkhead__CoreMessage answer = BULKHEAD__CORE_MESSAGE__INIT;
	struct err send_error;
	Bulkhead__Status status;
	int sent;

	bulkhead__status__init(&status);
	status.code = r;
	if (r < 0)
		status.text = e->text;
	answer.seq = vm_take_seq(vm);
	answer.answers = m->seq;
	answer.status = &status;
	answer.body = r < 0 ? NULL : body;
	if (r < 0)
		num_fds = 0;
	do
		sent = channel_send(vm->channel, &answer.base, fds, num_fds,
				    &send_error);
	while (sent == -EAGAIN && vm_send_wait(vm) == 0);
	if (sent < 0)
		log_error("cannot answer the broker: %s", send_error.text);
	return sent;
}

static int vm_on_answer(struct vm *vm, const Bulkhead__CoreMessage *m)
{
	struct vm_answer *a = &vm->answers->waiting[m->answers % ANSWERS_MAX];
	struct vm_answer was = *a;

	if (a->seq != m->answers)
		return -EBADMSG;
	a->seq = 0;
	if (was.done)
		was.done(vm, m, was.arg);
	return 0;
}

static int vm_on_hello(struct vm *vm, const Bulkhead__CoreMessage *m)
{
	const Bulkhead__Hello *h = m->body->hello;
	Bulkhead__HelloReply reply;
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	static char program[] = PROGRAM, release[] = BULKHEAD_VERSION;
	struct err e = {0};
	int r = 0;

	if (h->min_version > CHANNEL_VERSION ||
	    h->max_version < CHANNEL_VERSION)
		r = err_set(&e, -EPROTO,
			    "%s speaks version %u, the broker %u to %u",
			    PROGRAM, CHANNEL_VERSION, h->min_version,
			    h->max_version);
	if (h->log_level <= LOG_TRACE)
		log_set_level((enum log_level)h->log_level);
	vm->answers->greeted = r == 0;
	bulkhead__hello_reply__init(&reply);
	reply.version = CHANNEL_VERSION;
	reply.program = program;
	reply.release = release;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_HELLO_REPLY;
	body.hello_reply = &reply;
	return vm_answer(vm, m, r, &e, &body, NULL, 0);
}

static int vm_answer_created(struct vm *vm, const Bulkhead__CoreMessage *m)
{
	const struct memory_plan *plan = memory_get_plan(vm->memory);
	struct sandbox_report *report = vm->answers->report;
	Bulkhead__SandboxReport sandbox = BULKHEAD__SANDBOX_REPORT__INIT;
	Bulkhead__MemRegion regions[MEMORY_MAX_REGIONS];
	Bulkhead__MemRegion *region_ptrs[MEMORY_MAX_REGIONS];
	char *layers[SANDBOX_MAX_NOTES], *downgrades[SANDBOX_MAX_NOTES];
	Bulkhead__MemTable table = BULKHEAD__MEM_TABLE__INIT;
	Bulkhead__VmCreated created = BULKHEAD__VM_CREATED__INIT;
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	int fd = memory_fd(vm->memory);

	for (unsigned int i = 0; i < plan->num_regions; i++) {
		bulkhead__mem_region__init(&regions[i]);
		regions[i].gpa = plan->regions[i].gpa;
		regions[i].size = plan->regions[i].size;
		regions[i].offset = plan->regions[i].offset;
		region_ptrs[i] = &regions[i];
	}
	table.n_regions = plan->num_regions;
	table.regions = region_ptrs;
	for (unsigned int i = 0; i < report->num_layers; i++)
		layers[i] = report->layers[i];
	for (unsigned int i = 0; i < report->num_downgrades; i++)
		downgrades[i] = report->downgrades[i];
	sandbox.n_layers = report->num_layers;
	sandbox.layers = layers;
	sandbox.n_downgrades = report->num_downgrades;
	sandbox.downgrades = downgrades;
	sandbox.syscalls = report->syscalls;
	created.memory = &table;
	created.phys_bits = vm->phys_bits;
	created.tsc_khz = vm->caps.tsc_khz;
	created.mmio64_base = vm->mmio64_base;
	created.mmio64_size = vm->mmio64_size;
	created.sandbox = &sandbox;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_VM_CREATED;
	body.vm_created = &created;
	return vm_answer(vm, m, 0, NULL, &body, &fd, 1);
}

static int vm_on_create(struct vm *vm, const Bulkhead__CoreMessage *m,
			struct channel_msg *cm)
{
	struct err e = {0};
	int fds[CHANNEL_FDS_MAX], r;

	if (vm->state != VM_EMPTY) {
		r = err_set(&e, -EBUSY, "the VM exists already");
		return vm_answer(vm, m, r, &e, NULL, NULL, 0);
	}
	for (unsigned int i = 0; i < cm->num_fds; i++)
		fds[i] = take_fd(&cm->fds[i]);
	r = vm_create(vm, m->body->create_vm, fds, vm->answers->report, &e);
	if (r < 0)
		return vm_answer(vm, m, r, &e, NULL, NULL, 0);
	return vm_answer_created(vm, m);
}

/*
 * Another broker has the other end now. Answers to what we asked its
 * predecessor won't come; it is told what is in force instead.
 */
static int vm_on_adopt(struct vm *vm, const Bulkhead__CoreMessage *m)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__Adopted adopted = BULKHEAD__ADOPTED__INIT;
	Bulkhead__VmEvent end;
	struct err e = {0};
	int r;

	if (vm->state != VM_RUNNING && vm->state != VM_STOPPED) {
		r = err_set(&e, -EBUSY, "the guest was not started yet");
		return vm_answer(vm, m, r, &e, NULL, NULL, 0);
	}
	memset(vm->answers->waiting, 0, sizeof(vm->answers->waiting));
	if (vm_posts_adopted(vm, &end))
		adopted.end = &end;
	pthread_mutex_lock(&vm->lock);
	adopted.serial_client = platform_serial_is_attached(vm->platform);
	pthread_mutex_unlock(&vm->lock);
	body.kind_case = BULKHEAD__CORE_BODY__KIND_ADOPTED;
	body.adopted = &adopted;
	r = vm_answer(vm, m, 0, &e, &body, NULL, 0);
	return r < 0 ? r : device_link_adopted(vm);
}

static int vm_on_serial_attach(struct vm *vm, struct channel_msg *cm,
			       struct err *e)
{
	int r;

	pthread_mutex_lock(&vm->lock);
	r = platform_serial_attach(vm->platform, take_fd(&cm->fds[0]), e);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

static int vm_on_power_button(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	platform_power_button(vm->platform);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

/* Requests that are answered by a status alone. */
static int vm_carry_out(struct vm *vm, const Bulkhead__CoreMessage *m,
			struct channel_msg *cm, struct err *e)
{
	static const struct {
		Bulkhead__CoreBody__KindCase kind;
		enum vm_state from, to;
	} allowed[] = {
		{BULKHEAD__CORE_BODY__KIND_ADD_DEVICE, VM_CREATED, VM_CREATED},
		{BULKHEAD__CORE_BODY__KIND_BOOT, VM_CREATED, VM_CREATED},
		{BULKHEAD__CORE_BODY__KIND_POWER_BUTTON, VM_CREATED,
		 VM_RUNNING},
		{BULKHEAD__CORE_BODY__KIND_SERIAL_ATTACH, VM_CREATED,
		 VM_RUNNING},
		{BULKHEAD__CORE_BODY__KIND_DEVICE, VM_CREATED, VM_STOPPED},
		{BULKHEAD__CORE_BODY__KIND_STOP, VM_EMPTY, VM_STOPPED},
	};
	const Bulkhead__CoreBody *b = m->body;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(allowed); i++)
		if (allowed[i].kind == b->kind_case)
			break;
	if (i == ARRAY_SIZE(allowed))
		return err_set(e, -EBADMSG, "the core takes no message %d",
			       (int)b->kind_case);
	if (vm->state < allowed[i].from || vm->state > allowed[i].to)
		return err_set(e, -EBUSY, "message %d comes too %s",
			       (int)b->kind_case,
			       vm->state < allowed[i].from ? "early" : "late");
	switch (b->kind_case) {
	case BULKHEAD__CORE_BODY__KIND_ADD_DEVICE:
		return device_link_add(vm, b->add_device, e);
	case BULKHEAD__CORE_BODY__KIND_BOOT:
		return vm_boot(vm, b->boot, e);
	case BULKHEAD__CORE_BODY__KIND_POWER_BUTTON:
		return vm_on_power_button(vm);
	case BULKHEAD__CORE_BODY__KIND_SERIAL_ATTACH:
		return vm_on_serial_attach(vm, cm, e);
	case BULKHEAD__CORE_BODY__KIND_DEVICE:
		return device_link_event(vm, b->device, e);
	default: /* STOP */
		vm->answers->stop = true;
		return vm_stop(vm, e);
	}
}

static int vm_on_request(struct vm *vm, const Bulkhead__CoreMessage *m,
			 struct channel_msg *cm)
{
	struct err e = {0};
	int r;

	if (m->body->kind_case == BULKHEAD__CORE_BODY__KIND_HELLO)
		return vm_on_hello(vm, m);
	if (!vm->answers->greeted)
		return -EBADMSG;
	if (m->body->kind_case == BULKHEAD__CORE_BODY__KIND_CREATE_VM)
		return vm_on_create(vm, m, cm);
	if (m->body->kind_case == BULKHEAD__CORE_BODY__KIND_ADOPT)
		return vm_on_adopt(vm, m);
	r = vm_carry_out(vm, m, cm, &e);
	return vm_answer(vm, m, r, &e, NULL, NULL, 0);
}

/* Return: > 0 go on, 0 the broker is gone, negative errno */
static int vm_receive(struct vm *vm)
{
	struct channel_msg cm;
	const Bulkhead__CoreMessage *m;
	struct err e = {0};
	int r = channel_recv(vm->channel, &cm, &e);

	if (r == -EAGAIN)
		return 1;
	if (r <= 0) {
		if (r < 0)
			log_error("channel to the broker: %s", e.text);
		return r;
	}
	m = (const Bulkhead__CoreMessage *)(const void *)cm.msg;
	r = m->answers ? vm_on_answer(vm, m) : vm_on_request(vm, m, &cm);
	channel_msg_done(&cm);
	if (r < 0)
		log_error("the broker broke the protocol, or is gone");
	return r < 0 ? r : 1;
}

static void vm_on_channel(int fd, unsigned int events, void *arg)
{
	struct vm *vm = arg;
	int r = vm_receive(vm);

	(void)fd;
	(void)events;
	if (r <= 0)
		loop_stop(vm->loop, r < 0 ? 1 : 0);
	else if (vm->answers->stop)
		loop_stop(vm->loop, 0);
}

int vm_messages_init(struct vm *vm, struct sandbox_report *report,
		     struct err *e)
{
	vm->answers = calloc(1, sizeof(*vm->answers));
	if (!vm->answers)
		return err_set(e, -ENOMEM, "no memory for the channel");
	vm->answers->report = report;
	vm->next_seq = 1;
	return loop_add_fd(vm->loop, channel_fd(vm->channel), LOOP_READ,
			   vm_on_channel, vm, NULL, e);
}
