/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_POWER_H
#define VMM_CORE_PLATFORM_POWER_H

/*
 * Hardware-reduced ACPI's few registers: sleep control and reset (0x600), the
 * PM timer (0x608), and the generic event device's status (0x618) behind
 * which stands the power button. Spec: ACPI 6.5, 4.8.3.3, 4.8.3.7, 5.6.9
 */

#include <stdint.h>

#include "vmm-core/bus.h"

struct power_ops {
	void (*power_off)(void *opaque);
	void (*reset)(void *opaque);
	void (*event)(void *opaque);	  /* the GED's interrupt, an edge */
	uint64_t (*now_ns)(void *opaque); /* monotonic */
};

struct power {
	const struct power_ops *ops;
	void *opaque;
	uint8_t ged; /* GED_* bits that the guest hasn't fetched */
};

extern const struct bus_ops power_sleep_bus_ops; /* opaque: struct power */
extern const struct bus_ops power_timer_bus_ops;
extern const struct bus_ops power_ged_bus_ops;

#define POWER_SLEEP_SIZE 4
#define POWER_TIMER_SIZE 4
#define POWER_GED_SIZE	 1

void power_init(struct power *p, const struct power_ops *ops, void *opaque);
/** power_raise() - @bits happened (GED_*) */
void power_raise(struct power *p, uint8_t bits);
/** power_timer_ticks() - 3.579545 MHz, 32 bits */
uint32_t power_timer_ticks(uint64_t ns);

#endif
