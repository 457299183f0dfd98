/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_RTC_H
#define VMM_CORE_PLATFORM_RTC_H

/*
 * MC146818 clock and CMOS memory at ports 0x70 and 0x71. The time is the
 * host's, in UTC, and can't be set; there are no alarms (the guest has better
 * timers). The memory says how much RAM there is, where firmware looks.
 * Writing 0 to index 0x8f resets, as on Cloud Hypervisor.
 */

#include <stdint.h>

#include "vmm-core/bus.h"

struct rtc {
	uint8_t index; /* as written, with the NMI bit 7 */
	uint8_t cmos[128];
	int64_t (*now)(void *opaque); /* seconds since 1970 */
	void (*reset)(void *opaque);
	void *opaque;
};

struct rtc_time {
	unsigned int second, minute, hour;
	unsigned int weekday; /* 1 = Sunday */
	unsigned int day, month, year;
};

extern const struct bus_ops rtc_bus_ops; /* opaque: struct rtc */

/** rtc_init() - @low, @high: bytes of RAM below and above 4 GiB */
void rtc_init(struct rtc *r, uint64_t low, uint64_t high,
	      int64_t (*now)(void *opaque), void (*reset)(void *opaque),
	      void *opaque);

/** rtc_split_time() - UTC by the Gregorian calendar; no time zone files */
struct rtc_time rtc_split_time(int64_t seconds);

#endif
