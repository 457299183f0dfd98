/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/output.h"

#include <errno.h>

#define OUTPUT_RETRY_MS 10

/*
 * Control thread, machine lock held.
 *
 * @sys core gettimeofday: the retry timer, where the vDSO has no clock
 */
static void output_flush(struct output *o)
{
	int r;

	o->busy = false;
	if (o->fd < 0)
		return;
	r = bytering_flush(&o->ring, o->fd);
	if (r == 0)
		return;
	if (r > 0) {
		o->busy = true;
		loop_timer_arm(o->timer, OUTPUT_RETRY_MS);
		return;
	}
	o->fd = -1;
	if (o->failed)
		o->failed(o->opaque);
}

static void output_on_post(struct vm *vm, void *arg)
{
	pthread_mutex_lock(&vm->lock);
	output_flush(arg);
	pthread_mutex_unlock(&vm->lock);
}

static void output_on_timer(void *arg)
{
	struct output *o = arg;

	output_on_post(o->vm, o);
}

int output_init(struct output *o, struct vm *vm, int fd, bool keep,
		void (*failed)(void *opaque), void *opaque, struct err *e)
{
	o->vm = vm;
	o->fd = fd;
	o->keep = keep;
	o->failed = failed;
	o->opaque = opaque;
	if (bytering_init(&o->ring, OUTPUT_BUFFER_MAX) < 0)
		return err_set(e, -ENOMEM, "no memory for output");
	return loop_add_timer(vm->loop, output_on_timer, o, &o->timer, e);
}

void output_done(struct output *o)
{
	loop_watch_free(o->timer);
	o->timer = NULL;
	bytering_done(&o->ring);
}

static void output_kick(struct output *o)
{
	if (o->busy || o->fd < 0 || !o->ring.len)
		return;
	/* With a full queue the next byte tries again. */
	if (vm_post(o->vm, output_on_post, o) == 0)
		o->busy = true;
}

void output_put(struct output *o, const uint8_t *data, size_t len)
{
	if (o->fd < 0 && !o->keep)
		return;
	bytering_put(&o->ring, data, len);
	output_kick(o);
}

void output_set_fd(struct output *o, int fd)
{
	o->fd = fd;
	output_kick(o);
}
