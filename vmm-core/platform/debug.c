/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/debug.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "vmm-core/arch/x86_64/layout.h"

#define DEBUG_CODES_BURST 64
#define DEBUG_READS	  0xe9 /* what a debug console answers */

struct debug_ports {
	struct vm *vm;
	struct log_limit codes;
	struct output out;
	int fd;
};

static void debug_code_read(void *opaque, uint64_t off, uint8_t *data,
			    uint32_t len)
{
	(void)opaque;
	(void)off;
	(void)len;
	data[0] = 0xff;
}

static void debug_code_write(void *opaque, uint64_t off, const uint8_t *data,
			     uint32_t len)
{
	struct debug_ports *d = opaque;

	(void)off;
	(void)len;
	if (d->codes.left == 0) /* no lines about lines */
		d->codes.dropped = 0;
	if (log_limit_pass(&d->codes))
		vm_event(d->vm, BULKHEAD__VM_EVENT__KIND__DEBUG_CODE, data[0],
			 "");
}

static void debug_console_read(void *opaque, uint64_t off, uint8_t *data,
			       uint32_t len)
{
	(void)opaque;
	(void)off;
	(void)len;
	data[0] = DEBUG_READS;
}

static void debug_console_write(void *opaque, uint64_t off, const uint8_t *data,
				uint32_t len)
{
	struct debug_ports *d = opaque;

	(void)off;
	output_put(&d->out, data, len);
}

static const struct bus_ops debug_code_ops = {debug_code_read,
					      debug_code_write};
static const struct bus_ops debug_console_ops = {debug_console_read,
						 debug_console_write};

static int debug_add_console(struct debug_ports *d,
			     const struct debug_config *cfg, struct err *e)
{
	uint32_t port = cfg->iobase ? cfg->iobase : PORT_DEBUG_CONSOLE;
	int r;

	if (port > UINT16_MAX)
		return err_set(e, -EINVAL,
			       "debug console port 0x%x is beyond 0xffff",
			       port);
	d->fd = cfg->out_fd;
	r = output_init(&d->out, d->vm, d->fd, false, NULL, NULL, e);
	if (r == 0 &&
	    bus_add(d->vm->pio, port, 1, &debug_console_ops, d, NULL) < 0)
		return err_set(e, -EINVAL,
			       "--debug-console iobase=0x%x: another device "
			       "has this port; 0xe9 or 0x402 is free",
			       port);
	if (r == 0 && port != PORT_FW_DEBUG)
		r = bus_add(d->vm->pio, PORT_FW_DEBUG, 1, &debug_console_ops, d,
			    e);
	return r;
}

int debug_ports_new(struct vm *vm, const struct debug_config *cfg,
		    struct debug_ports **ret, struct err *e)
{
	struct debug_ports *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "no memory for the debug ports");
	d->vm = vm;
	d->fd = -1;
	d->codes = (struct log_limit)LOG_LIMIT_INIT(DEBUG_CODES_BURST);
	r = bus_add(vm->pio, PORT_DEBUG_CODE, 1, &debug_code_ops, d, e);
	if (r == 0 && cfg->console)
		r = debug_add_console(d, cfg, e);
	if (r < 0)
		return r; /* the process ends: set-up failed */
	*ret = d;
	return 0;
}
