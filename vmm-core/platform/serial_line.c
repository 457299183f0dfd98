/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/serial_line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/ioapic.h"
#include "vmm-core/platform/output.h"
#include "vmm-core/platform/serial.h"

#define SERIAL_RETRY_MS 200 /* a pty that nobody has open */

struct serial_line {
	struct vm *vm;
	struct serial uart;
	struct output out;
	int in_fd;
	int out_fd; /* may equal in_fd */
	struct loop_watch *in_watch;
	struct loop_watch *retry;
	bool paused; /* input waits for room */
	bool posted; /* a resume is on its way */
};

static void serial_line_irq(void *opaque)
{
	struct serial_line *l = opaque;

	ioapic_pulse(l->vm->ioapic, GSI_COM1);
}

static void serial_line_out(void *opaque, uint8_t byte)
{
	struct serial_line *l = opaque;

	output_put(&l->out, &byte, 1);
}

static void serial_line_resume(struct vm *vm, void *arg)
{
	struct serial_line *l = arg;

	pthread_mutex_lock(&vm->lock);
	l->posted = false;
	if (l->paused && l->in_watch && serial_rx_room(&l->uart)) {
		l->paused = false;
		loop_set_events(l->in_watch, LOOP_READ);
	}
	pthread_mutex_unlock(&vm->lock);
}

static void serial_line_room(void *opaque)
{
	struct serial_line *l = opaque;

	if (l->paused && !l->posted && serial_rx_room(&l->uart))
		l->posted = vm_post(l->vm, serial_line_resume, l) == 0;
}

static const struct serial_ops serial_line_ops = {
	.irq = serial_line_irq,
	.out = serial_line_out,
	.room = serial_line_room,
};

static void serial_line_drop_input(struct serial_line *l)
{
	loop_watch_free(l->in_watch);
	l->in_watch = NULL;
	if (l->in_fd != l->out_fd)
		fd_close(l->in_fd);
	l->in_fd = -1;
}

/* Close both ways and tell the broker. */
static void serial_line_hang_up(struct serial_line *l)
{
	Bulkhead__SerialClosed closed = BULKHEAD__SERIAL_CLOSED__INIT;
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;

	output_set_fd(&l->out, -1);
	serial_line_drop_input(l);
	l->out_fd = fd_close(l->out_fd);
	body.kind_case = BULKHEAD__CORE_BODY__KIND_SERIAL_CLOSED;
	body.serial_closed = &closed;
	if (vm_send(l->vm, &body, NULL, 0, NULL, NULL) < 0)
		log_warn("cannot report the end of the serial port's peer");
}

static void serial_line_failed(void *opaque)
{
	serial_line_hang_up(opaque);
}

/* A pty without a reader hangs up without an end: look again later. */
static void serial_line_on_retry(void *arg)
{
	struct serial_line *l = arg;

	if (l->in_watch && !l->paused)
		loop_set_events(l->in_watch, LOOP_READ);
}

static void serial_line_read(struct serial_line *l)
{
	uint8_t data[SERIAL_RX_MAX];
	unsigned int room = serial_rx_room(&l->uart);
	ssize_t n;

	if (!room) {
		l->paused = true;
		loop_set_events(l->in_watch, 0);
		return;
	}
	n = read(l->in_fd, data, room);
	if (n > 0) {
		serial_rx(&l->uart, data, (unsigned int)n);
	} else if (n < 0 && errno == EIO) {
		loop_set_events(l->in_watch, 0);
		loop_timer_arm(l->retry, SERIAL_RETRY_MS);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		if (l->in_fd == l->out_fd)
			serial_line_hang_up(l);
		else
			serial_line_drop_input(l);
	}
}

static void serial_line_on_input(int fd, unsigned int events, void *arg)
{
	struct serial_line *l = arg;

	(void)fd;
	(void)events;
	pthread_mutex_lock(&l->vm->lock);
	if (l->in_fd >= 0)
		serial_line_read(l);
	pthread_mutex_unlock(&l->vm->lock);
}

/*
 * @sys core fcntl(1==F_GETFL): a new peer must not block
 * @sys core fcntl(1==F_SETFL): a new peer must not block
 */
static int serial_line_set_nonblocking(int fd, struct err *e)
{
	int flags = fd < 0 ? O_NONBLOCK : fcntl(fd, F_GETFL);

	if (flags < 0 || (!(flags & O_NONBLOCK) &&
			  fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return err_errno(e, "cannot make the serial port's peer "
				    "non-blocking");
	return 0;
}

static int serial_line_connect(struct serial_line *l, int in, int out,
			       struct err *e)
{
	int r = serial_line_set_nonblocking(in, e);

	if (r == 0)
		r = serial_line_set_nonblocking(out, e);
	if (r < 0)
		return r;
	l->in_fd = in;
	l->out_fd = out;
	output_set_fd(&l->out, out);
	l->paused = false;
	/* A file or /dev/null can't be waited for: output only. */
	if (in >= 0 &&
	    loop_add_fd(l->vm->loop, in, LOOP_READ, serial_line_on_input, l,
			&l->in_watch, NULL) < 0) {
		l->in_watch = NULL;
		log_info("the serial port's input can't be waited for");
	}
	return 0;
}

int serial_line_new(struct vm *vm, const struct serial_line_config *cfg,
		    struct serial_line **ret, struct err *e)
{
	struct serial_line *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(e, -ENOMEM, "no memory for the serial port");
	l->vm = vm;
	l->in_fd = l->out_fd = -1;
	serial_init(&l->uart, &serial_line_ops, l);
	r = output_init(&l->out, vm, -1, cfg->waits_for_client,
			serial_line_failed, l, e);
	if (r == 0)
		r = loop_add_timer(vm->loop, serial_line_on_retry, l, &l->retry,
				   e);
	if (r == 0)
		r = bus_add(vm->pio, PORT_COM1, SERIAL_NUM_REGS,
			    &serial_bus_ops, &l->uart, e);
	if (r == 0)
		r = ioapic_connect(vm->ioapic, GSI_COM1, e);
	if (r == 0)
		r = serial_line_connect(l, cfg->in_fd, cfg->out_fd, e);
	if (r < 0)
		return r; /* the process ends: set-up failed */
	*ret = l;
	return 0;
}

void serial_line_free(struct serial_line *l)
{
	if (!l)
		return;
	serial_line_drop_input(l);
	fd_close(l->out_fd);
	loop_watch_free(l->retry);
	output_done(&l->out);
	free(l);
}

bool serial_line_is_attached(const struct serial_line *l)
{
	return l->in_fd >= 0 || l->out_fd >= 0;
}

int serial_line_attach(struct serial_line *l, int fd, struct err *e)
{
	output_set_fd(&l->out, -1);
	serial_line_drop_input(l);
	l->out_fd = fd_close(l->out_fd);
	if (serial_line_connect(l, fd, fd, e) < 0) {
		fd_close(fd);
		return e->code;
	}
	/* Output is for whoever comes, from now on. */
	l->out.keep = true;
	return 0;
}
