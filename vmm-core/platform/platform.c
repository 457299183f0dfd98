/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/platform.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/ioapic.h"
#include "vmm-core/platform/i8042.h"
#include "vmm-core/platform/power.h"
#include "vmm-core/platform/rtc.h"

#define CMOS_PORTS 2

struct platform {
	struct vm *vm;
	struct serial_line *serial; /* NULL = none */
	struct debug_ports *debug;
	struct rtc rtc;
	struct power power;
	struct i8042 i8042;
};

void platform_reset(void *vm)
{
	vm_guest_end(vm, BULKHEAD__VM_EVENT__KIND__RESET, "reset by the guest");
}

static void platform_power_off(void *vm)
{
	vm_guest_end(vm, BULKHEAD__VM_EVENT__KIND__SHUTDOWN,
		     "powered off by the guest");
}

static void platform_ged_event(void *opaque)
{
	struct vm *vm = opaque;

	ioapic_pulse(vm->ioapic, GSI_GED);
}

static uint64_t platform_now_ns(void *opaque)
{
	struct timespec ts = {0};

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int64_t platform_now(void *opaque)
{
	struct timespec ts = {0};

	(void)opaque;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

static const struct power_ops platform_power_ops = {
	.power_off = platform_power_off,
	.reset = platform_reset,
	.event = platform_ged_event,
	.now_ns = platform_now_ns,
};

static int platform_add_power(struct platform *p, struct err *e)
{
	struct bus *pio = p->vm->pio;
	int r;

	power_init(&p->power, &platform_power_ops, p->vm);
	r = bus_add(pio, PORT_ACPI_SLEEP, POWER_SLEEP_SIZE,
		    &power_sleep_bus_ops, &p->power, e);
	if (r == 0)
		r = bus_add(pio, PORT_PM_TIMER, POWER_TIMER_SIZE,
			    &power_timer_bus_ops, &p->power, e);
	if (r == 0)
		r = bus_add(pio, PORT_GED, POWER_GED_SIZE, &power_ged_bus_ops,
			    &p->power, e);
	if (r == 0)
		r = ioapic_connect(p->vm->ioapic, GSI_GED, e);
	return r;
}

int platform_new(struct vm *vm, const struct platform_config *cfg,
		 struct platform **ret, struct err *e)
{
	struct platform *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "no memory for the platform");
	p->vm = vm;
	rtc_init(&p->rtc, cfg->ram_low, cfg->ram_high, platform_now,
		 platform_reset, vm);
	r = bus_add(vm->pio, PORT_CMOS_INDEX, CMOS_PORTS, &rtc_bus_ops, &p->rtc,
		    e);
	if (r == 0)
		r = platform_add_power(p, e);
	if (r == 0)
		r = i8042_init(&p->i8042, vm->pio, platform_reset, vm, e);
	if (r == 0 && cfg->serial)
		r = serial_line_new(vm, &cfg->serial_line, &p->serial, e);
	if (r == 0)
		r = debug_ports_new(vm, &cfg->debug, &p->debug, e);
	if (r < 0)
		return r; /* the process ends: set-up failed */
	*ret = p;
	return 0;
}

void platform_power_button(struct platform *p)
{
	power_raise(&p->power, GED_POWER_BUTTON);
}

bool platform_serial_is_attached(const struct platform *p)
{
	return p->serial && serial_line_is_attached(p->serial);
}

int platform_serial_attach(struct platform *p, int fd, struct err *e)
{
	if (!p->serial) {
		fd_close(fd);
		return err_set(e, -ENODEV, "the VM has no serial port");
	}
	return serial_line_attach(p->serial, fd, e);
}
