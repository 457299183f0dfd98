/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/family_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/audit_gate.h"
#include "broker/downgrades.h"
#include "broker/family_config.h"
#include "broker/family_loader.h"
#include "broker/keep.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/channel/channel.h"

#define FAMILY_CORE_WAIT_MS 5000

static uint64_t family_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int family_core_on_message(struct child *c, const struct envelope *env,
				  int *fds, unsigned int num_fds,
				  struct err *e);

static void family_core_on_gone(struct child *c, const char *why)
{
	struct family *f = c->owner;

	if (f->state != FAMILY_STOPPING && f->state != FAMILY_RESETTING)
		family_fail(f, "the core %s", why);
}

static const struct child_handler family_core_handler = {
	.message = family_core_on_message,
	.gone = family_core_on_gone,
	.room_wait_ms = FAMILY_CORE_WAIT_MS,
};

static int family_core_request(struct family *f, Bulkhead__CoreBody *body,
			       const int *fds, unsigned int num_fds,
			       child_answer_cb cb, void *arg, struct err *e)
{
	return child_request(&f->core, &body->base, fds, num_fds, cb, arg, e);
}

static int family_keep_memory(struct family *f, const Bulkhead__VmCreated *m,
			      int *fds, struct err *e)
{
	size_t len = bulkhead__mem_table__get_packed_size(m->memory);
	auto_free uint8_t *buf = malloc(len + 1);

	if (!buf)
		return err_set(e, -ENOMEM, "no memory for the memory table");
	bulkhead__mem_table__pack(m->memory, buf);
	f->memory = bulkhead__mem_table__unpack(NULL, len, buf);
	if (!f->memory)
		return err_set(e, -ENOMEM, "no memory for the memory table");
	for (size_t i = 0; i < f->memory->n_regions; i++) {
		uint32_t n = f->memory->regions[i]->fd_index + 1;

		if (n > f->num_memfds)
			f->num_memfds = n;
	}
	/* The channel has checked that so many came. */
	for (unsigned int i = 0; i < f->num_memfds; i++)
		f->memfds[i] = take_fd(&fds[i]);
	f->phys_bits = m->phys_bits;
	f->mmio64_base = m->mmio64_base;
	f->mmio64_size = m->mmio64_size;
	return 0;
}

static void family_on_vm_created(struct child *c, const struct envelope *env,
				 int *fds, void *arg)
{
	const Bulkhead__CoreBody *body = (const void *)env->body;
	struct family *f = c->owner;
	struct err e = {0};
	int r;

	(void)arg;
	if (env->status->code) {
		family_fail(f, "%s", env->status->text);
		return;
	}
	if (!body || body->kind_case != BULKHEAD__CORE_BODY__KIND_VM_CREATED) {
		child_fail(c, "answered CreateVm with something else");
		return;
	}
	child_note_sandbox(c, body->vm_created->sandbox);
	r = family_keep_memory(f, body->vm_created, fds, &e);
	if (r == 0)
		r = family_loader_load(f, &e);
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		r = session_send_memory(&f->devices[i], &e);
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		if (f->devices[i].info.valid)
			r = family_core_add_device(f, &f->devices[i], &e);
	/* It has locked itself down; while all have something to do. */
	if (r == 0)
		r = audit_gate_core(f, &e);
	if (r < 0)
		family_fail(f, "%s", e.text);
}

static unsigned int family_core_fds(struct family *f, Bulkhead__CreateVm *m,
				    int *fds)
{
	unsigned int n = 0;

	fds[n++] = f->hv_fd;
	m->serial = f->cfg->serial.mode != CONSOLE_OFF;
	if (f->serial.num_fds || f->serial.listen_fd >= 0) {
		m->serial_has_input = f->serial.console.has_input;
		m->serial_has_output = f->serial.console.has_output;
		m->serial_output_is_input = f->serial.console.output_is_input;
		m->serial_waits_for_client = f->serial.console.waits_for_client;
		for (unsigned int i = 0; i < f->serial.num_fds; i++)
			fds[n++] = f->serial.fds[i];
	}
	if (f->debug_console.num_fds) {
		m->debug_console = true;
		m->debug_console_iobase = f->cfg->debug_console.iobase;
		fds[n++] = f->debug_console.fds[f->debug_console.num_fds - 1];
	}
	return n;
}

static struct child_args family_core_args(struct family *f)
{
	return (struct child_args){
		.role = "core",
		.id = "",
		.format = &channel_format_core,
		.loop = f->loop,
		.handler = &family_core_handler,
		.owner = f,
		.outlives = f->keep,
		.generation = f->generation,
	};
}

int family_core_start(struct family *f, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__CreateVm create = BULKHEAD__CREATE_VM__INIT;
	Bulkhead__MemoryConfig memory = BULKHEAD__MEMORY_CONFIG__INIT;
	Bulkhead__Hello hello = BULKHEAD__HELLO__INIT;
	struct child_args args = family_core_args(f);
	struct family_cpus cpus;
	int fds[8];
	unsigned int n;
	int r;

	r = child_start(&f->core, &args, e);
	if (r < 0)
		return r;
	family_fill_hello(&hello);
	body.kind_case = BULKHEAD__CORE_BODY__KIND_HELLO;
	body.hello = &hello;
	r = family_core_request(f, &body, NULL, 0, family_on_hello, NULL, e);
	if (r < 0)
		return r;

	r = family_fill_cpus(&f->cfg->cpus, &cpus);
	if (r == 0) {
		family_fill_memory(&f->cfg->memory, &memory);
		create.cpus = &cpus.msg;
		create.memory = &memory;
		create.start_time_ns = f->start_ns;
		n = family_core_fds(f, &create, fds);
		body.kind_case = BULKHEAD__CORE_BODY__KIND_CREATE_VM;
		body.create_vm = &create;
		r = family_core_request(f, &body, fds, n, family_on_vm_created,
					NULL, e);
	} else {
		err_set(e, r, "no memory for the CPU configuration");
	}
	family_free_cpus(&cpus);
	return r;
}

static void family_on_device_added(struct child *c, const struct envelope *env,
				   int *fds, void *arg)
{
	struct family *f = c->owner;

	(void)fds;
	(void)arg;
	if (env->status->code) {
		family_fail(f, "the core refuses a device: %s",
			    env->status->text);
		return;
	}
	f->devices_added++;
	family_maybe_boot(f);
}

int family_core_add_device(struct family *f, struct session *s, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__AddDevice add;
	Bulkhead__DeviceInfo info = BULKHEAD__DEVICE_INFO__INIT;

	bulkhead__add_device__init(&add);
	/* Called again from family_on_vm_created() for the early ones. */
	if (!f->memory)
		return 0;
	info.virtio_id = s->info.virtio_id;
	info.features = s->info.features;
	info.num_queues = s->info.num_queues;
	info.max_queue_size = s->info.max_queue_size;
	info.config.data = s->info.config;
	info.config.len = s->info.config_len;
	add.device = s->index;
	add.slot = s->slot;
	add.info = &info;
	add.id = (char *)(uintptr_t)s->id;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_ADD_DEVICE;
	body.add_device = &add;
	return family_core_request(f, &body, NULL, 0, family_on_device_added,
				   NULL, e);
}

static void family_on_booted(struct child *c, const struct envelope *env,
			     int *fds, void *arg)
{
	struct family *f = c->owner;

	(void)fds;
	(void)arg;
	if (env->status->code) {
		family_fail(f, "cannot start the guest: %s", env->status->text);
		return;
	}
	if (f->state != FAMILY_STARTING)
		return;
	f->state = FAMILY_RUNNING;
	loop_timer_disarm(f->w_deadline);
	f->running_ns = family_now_ns();
	log_info("guest started %.1f ms after the launch",
		 (double)(f->running_ns - f->start_ns) / 1e6);
	downgrades_tell(f);
	keep_all(f);
	for (unsigned int i = 0; i < f->num_devices; i++)
		session_spare_soon(&f->devices[i]);
	if (f->on_settled)
		f->on_settled(f);
}

void family_maybe_boot(struct family *f)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__Boot boot = BULKHEAD__BOOT__INIT;
	struct err e = {0};

	if (f->state != FAMILY_STARTING || f->boot_sent || !f->entry ||
	    f->devices_added != f->num_devices)
		return;
	for (unsigned int i = 0; i < f->num_devices; i++)
		if (!f->devices[i].mem_ready)
			return;
	f->boot_sent = true;
	boot.entry = f->entry;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_BOOT;
	body.boot = &boot;
	if (family_core_request(f, &body, NULL, 0, family_on_booted, NULL, &e) <
	    0)
		family_fail(f, "%s", e.text);
}

int family_core_attach_serial(struct family *f, int client,
			      child_answer_cb done, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__SerialAttach attach = BULKHEAD__SERIAL_ATTACH__INIT;

	body.kind_case = BULKHEAD__CORE_BODY__KIND_SERIAL_ATTACH;
	body.serial_attach = &attach;
	return family_core_request(f, &body, &client, 1, done, NULL, e);
}

static void family_on_pressed(struct child *c, const struct envelope *env,
			      int *fds, void *arg)
{
	(void)c;
	(void)fds;
	(void)arg;
	if (env->status->code)
		log_warn("power button: %s", env->status->text);
}

int family_power_button(struct family *f, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__PowerButton press = BULKHEAD__POWER_BUTTON__INIT;

	if (f->state != FAMILY_RUNNING)
		return err_set(e, -EAGAIN, "the VM is %s, not running",
			       family_state_name(f->state));
	body.kind_case = BULKHEAD__CORE_BODY__KIND_POWER_BUTTON;
	body.power_button = &press;
	return family_core_request(f, &body, NULL, 0, family_on_pressed, NULL,
				   e);
}

/* ---- what the core asks and tells ---- */

static int family_relay_to_device(struct family *f, const struct envelope *env,
				  int *fds, unsigned int num_fds, struct err *e)
{
	const Bulkhead__CoreBody *body = (const void *)env->body;
	const Bulkhead__DeviceRelay *m = body->device;

	if (m->device >= f->num_devices)
		return err_set(e, -EPROTO, "request for device %u of %u",
			       m->device, f->num_devices);
	return session_relay(&f->devices[m->device], env->seq, m->body, fds,
			     num_fds, e);
}

/* After Adopted. A guest that has ended needs no devices. */
static int family_on_device_state(struct family *f,
				  const Bulkhead__DeviceState *m, int *fds,
				  struct err *e)
{
	if (m->device >= f->num_devices)
		return err_set(e, -EPROTO, "state of device %u of %u",
			       m->device, f->num_devices);
	if (f->state != FAMILY_RUNNING)
		return 0;
	return session_adopt_record(&f->devices[m->device], m, fds, e);
}

static void family_vm_event(struct family *f, const Bulkhead__VmEvent *ev)
{
	switch (ev->kind) {
	case BULKHEAD__VM_EVENT__KIND__SHUTDOWN:
		log_info("the guest powered off");
		family_shutdown(f, 0);
		break;
	case BULKHEAD__VM_EVENT__KIND__RESET:
		log_info("the guest asked for a reset%s%s",
			 *ev->text ? ": " : "", ev->text);
		family_reset(f);
		break;
	case BULKHEAD__VM_EVENT__KIND__CRASHED:
		family_fail(f, "the guest can't run on: %s", ev->text);
		break;
	case BULKHEAD__VM_EVENT__KIND__DEBUG_CODE:
		log_info("debug code %#x, %.3f ms after the launch", ev->code,
			 ((double)ev->time_ns - (double)f->start_ns) / 1e6);
		break;
	default:
		break;
	}
}

static int family_core_on_message(struct child *c, const struct envelope *env,
				  int *fds, unsigned int num_fds, struct err *e)
{
	const Bulkhead__CoreBody *body = (const void *)env->body;
	struct family *f = c->owner;

	/* Said to a broker that died; it is told again in another way. */
	if (f->state == FAMILY_ADOPTING)
		return 0;
	switch (body->kind_case) {
	case BULKHEAD__CORE_BODY__KIND_DEVICE:
		return family_relay_to_device(f, env, fds, num_fds, e);
	case BULKHEAD__CORE_BODY__KIND_DEVICE_STATE:
		if (family_on_device_state(f, body->device_state, fds, e) < 0)
			return e->code;
		break;
	case BULKHEAD__CORE_BODY__KIND_VM_EVENT:
		family_vm_event(f, body->vm_event);
		break;
	case BULKHEAD__CORE_BODY__KIND_SERIAL_CLOSED:
		f->serial_has_client = false;
		break;
	default:
		return err_set(e, -EPROTO,
			       "message %d is not the core's to send",
			       (int)body->kind_case);
	}
	return child_answer(c, env->seq, 0, NULL, NULL, e);
}

static void family_on_adopted(struct child *c, const struct envelope *env,
			      int *fds, void *arg)
{
	const Bulkhead__CoreBody *body = (const void *)env->body;
	struct family *f = c->owner;

	(void)fds;
	(void)arg;
	if (env->status->code || !body ||
	    body->kind_case != BULKHEAD__CORE_BODY__KIND_ADOPTED) {
		family_abandon(f, "the core refuses another broker: %s",
			       env->status->text);
		return;
	}
	f->state = FAMILY_RUNNING;
	loop_timer_disarm(f->w_deadline);
	f->serial_has_client = body->adopted->serial_client;
	log_info("adopted");
	if (body->adopted->end)
		family_vm_event(f, body->adopted->end);
	if (f->on_settled)
		f->on_settled(f);
}

int family_core_adopt(struct family *f, const Bulkhead__KeptProcess *m,
		      int *fds, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__Adopt adopt = BULKHEAD__ADOPT__INIT;
	struct child_args args = family_core_args(f);
	struct channel *channel;
	int r = m->has_channel ? 0 : -EBADMSG;

	if (r < 0)
		return err_set(e, r, "a core without channel");
	r = channel_new(fds[2], &channel_format_core, false, &channel, e);
	if (r < 0)
		return r;
	take_fd(&fds[2]);
	r = child_adopt(&f->core, &args, m, fds, channel, e);
	if (r < 0)
		return r;
	/* Before the first request: if we die, too, a successor must not
	 * number its own alike. */
	keep_core(f);
	body.kind_case = BULKHEAD__CORE_BODY__KIND_ADOPT;
	body.adopt = &adopt;
	return family_core_request(f, &body, NULL, 0, family_on_adopted, NULL,
				   e);
}

static void family_on_event_taken(struct child *c, const struct envelope *env,
				  int *fds, void *arg)
{
	struct session *s = arg;

	(void)c;
	(void)fds;
	if (env->status->code)
		log_debug("core on a device's event: %s", env->status->text);
	if (env->status->code == -EBADMSG && s->proc)
		child_fail(&s->proc->child, env->status->text);
}

int family_device_event(struct family *f, struct session *s,
			const Bulkhead__DeviceBody *dev_body, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__DeviceRelay relay = BULKHEAD__DEVICE_RELAY__INIT;

	/* Before the core knows the device nobody can need its events. */
	if (f->state != FAMILY_RUNNING)
		return 0;
	relay.device = s->index;
	relay.body = (Bulkhead__DeviceBody *)(uintptr_t)dev_body;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_DEVICE;
	body.device = &relay;
	return family_core_request(f, &body, NULL, 0, family_on_event_taken, s,
				   e);
}

int family_answer_core(struct family *f, struct session *s, uint32_t core_seq,
		       const Bulkhead__Status *status,
		       Bulkhead__DeviceBody *answer, struct err *e)
{
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	Bulkhead__DeviceRelay relay = BULKHEAD__DEVICE_RELAY__INIT;

	relay.device = s->index;
	relay.body = answer;
	body.kind_case = BULKHEAD__CORE_BODY__KIND_DEVICE;
	body.device = &relay;
	return child_answer(&f->core, core_seq, status->code, status->text,
			    &body.base, e);
}
