/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_I8042_H
#define VMM_CORE_PLATFORM_I8042_H

/*
 * What is left of the keyboard controller: command 0xfe at port 0x64 resets,
 * and so does bit 0 of port 0x92. The status port reads 0xff, "no
 * controller": a guest that reads 0 polls ten thousand times for one. Port
 * 0x61 shows the refresh bit toggling and timer 2 expired, for old delays.
 */

#include <stdint.h>

#include "vmm-core/bus.h"

#define PORT_SYSCTL_A 0x92

struct i8042 {
	uint8_t sysctl_a;
	uint8_t sysctl_b;
	void (*reset)(void *opaque);
	void *opaque;
};

/** i8042_init() - And put its ports on @pio */
int i8042_init(struct i8042 *k, struct bus *pio, void (*reset)(void *opaque),
	       void *opaque, struct err *e);

#endif
