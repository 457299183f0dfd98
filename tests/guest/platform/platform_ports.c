/* SPDX-License-Identifier: Apache-2.0 */

/* The small devices behind ports. Words: low=, high= (MiB), now= (seconds of
 * UTC), debug=1 (there is a debug console). */

#include "lib/clock.h"
#include "platform/platform.h"

#define CMOS_SECOND  0x00
#define CMOS_MINUTE  0x02
#define CMOS_HOUR    0x04
#define CMOS_DAY     0x07
#define CMOS_MONTH   0x08
#define CMOS_YEAR    0x09
#define CMOS_A	     0x0a
#define CMOS_B	     0x0b
#define CMOS_D	     0x0d
#define CMOS_CENTURY 0x32

#define PM_TIMER_HZ 3579545u
#define NOW_SLACK   60 /* s: a busy machine */
#define TRIES	    20

static uint8_t cmos(uint8_t index)
{
	outb(0x70, index);
	return inb(0x71);
}

static uint64_t bcd(uint8_t v)
{
	return (uint64_t)(v >> 4) * 10 + (v & 15);
}

/* Days from 1970-01-01: years that begin in March end in the leap day. */
static uint64_t days(uint64_t year, uint64_t month, uint64_t day)
{
	uint64_t y = month <= 2 ? year - 1 : year;
	uint64_t m = month <= 2 ? month + 9 : month - 3;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day -
	       1 - 719468;
}

static uint64_t rtc_read(void)
{
	uint64_t year = bcd(cmos(CMOS_CENTURY)) * 100 + bcd(cmos(CMOS_YEAR));
	uint64_t day = days(year, bcd(cmos(CMOS_MONTH)), bcd(cmos(CMOS_DAY)));

	return ((day * 24 + bcd(cmos(CMOS_HOUR))) * 60 +
		bcd(cmos(CMOS_MINUTE))) *
		       60 +
	       bcd(cmos(CMOS_SECOND));
}

static void check_cmos(void)
{
	uint64_t low = guest_option_number("low", 64);
	uint64_t high = guest_option_number("high", 0);
	uint64_t now = guest_option_number("now", 0), a, b;

	expect("CMOS A", cmos(CMOS_A) & 0x80, 0);    /* no update in progress */
	expect("CMOS B", cmos(CMOS_B) & 0x06, 0x02); /* 24 hours, BCD */
	expect("CMOS D", cmos(CMOS_D), 0x80);
	do { /* not across the end of a second */
		a = rtc_read();
		b = rtc_read();
	} while (a != b);
	if (now)
		expect_near("CMOS time", a, now, NOW_SLACK);
	/* 64 KiB each, from 16 MiB on */
	expect("CMOS 0x34", cmos(0x34) | cmos(0x35) << 8, (low - 16) * 16);
	expect("CMOS 0x5b",
	       cmos(0x5b) | cmos(0x5c) << 8 | (uint32_t)cmos(0x5d) << 16,
	       high * 16);
}

/* A reading of both clocks that nothing came between. */
static void read_clocks(uint32_t *ret_timer, uint64_t *ret_tsc)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t start = rdtsc();
		uint32_t timer = inl(0x608);
		uint64_t took = rdtsc() - start;

		if (took >= best)
			continue;
		best = took;
		*ret_timer = timer;
		*ret_tsc = start + took / 2;
	}
}

static void check_pm_timer(void)
{
	uint32_t start = 0, end = 0;
	uint64_t tsc_start = 0, tsc_end = 0;

	read_clocks(&start, &tsc_start);
	do
		read_clocks(&end, &tsc_end);
	while (tsc_end - tsc_start < clock_ticks(100000));
	expect_near("PM timer: ticks of 100 ms", end - start,
		    clock_us(tsc_end - tsc_start) * (PM_TIMER_HZ / 1000) / 1000,
		    PM_TIMER_HZ / 10 / 100);
	/* A part of the register is a part of the value. */
	expect_near("PM timer: upper half", inw(0x60a), inl(0x608) >> 16, 1);
}

void check_ports(void)
{
	uint8_t first = inb(0x61);

	check_cmos();
	check_pm_timer();
	expect("port 0x61 toggles", (first ^ inb(0x61)) & 0x10, 0x10);
	expect("port 0x61 timer 2", inb(0x61) & 0x20, 0x20);
	/* "No controller", or its driver waits for it. */
	expect("port 0x64", inb(0x64), 0xff);
	expect("port 0x60", inb(0x60), 0xff);
	expect("port 0x80", inb(0x80), 0xff);
	if (guest_option_number("debug", 0)) {
		expect("port 0xe9", inb(0xe9), 0xe9);
		expect("port 0x402", inb(0x402), 0xe9);
	}
	expect("port 0x600", inb(0x600), 0);
	expect("port 0x618: events", inb(0x618), 0);
	outb(0xcf9, 0x06 & ~0x04); /* announces a reset, doesn't begin it */
	expect("port 0xcf9", inb(0xcf9), 0x02);
	expect("nothing at 0x1234", inl(0x1234), 0xffffffff);
	expect("nothing at 0x20", inb(0x20), 0xff); /* no PIC */
	expect("nothing at 0x40", inb(0x40), 0xff); /* no PIT */
}
