/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_PLATFORM_H
#define VMM_CORE_PLATFORM_PLATFORM_H

/*
 * The machine's few devices that are not PCI: serial port, clock, power
 * management, keyboard controller's remains, debug ports.
 */

#include "vmm-core/platform/debug.h"
#include "vmm-core/platform/serial_line.h"
#include "vmm-core/vm.h"

struct platform;

struct platform_config {
	bool serial;
	struct serial_line_config serial_line;
	struct debug_config debug;
	uint64_t ram_low;  /* bytes below 4 GiB */
	uint64_t ram_high; /* and above */
};

/** platform_new() - On @vm's buses and IOAPIC; before lock-down. Takes the
 *  configuration's descriptors over */
int platform_new(struct vm *vm, const struct platform_config *cfg,
		 struct platform **ret, struct err *e);

/* Control thread, under the machine lock: */
void platform_power_button(struct platform *p);
/** platform_serial_attach() - Takes @fd over */
int platform_serial_attach(struct platform *p, int fd, struct err *e);
/** platform_serial_is_attached() - Has the serial port a peer? */
bool platform_serial_is_attached(const struct platform *p);

/** platform_reset() - For port 0xcf9, which is the PCI bus's */
void platform_reset(void *vm);

#endif
