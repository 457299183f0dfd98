/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/rtc.h"

#include <criterion/criterion.h>
#include <time.h>

#define GIB (1ull << 30)

static int64_t now;
static unsigned int resets;

static int64_t on_now(void *opaque)
{
	(void)opaque;
	return now;
}

static void on_reset(void *opaque)
{
	(void)opaque;
	resets++;
}

static struct rtc rtc;

static void make(void)
{
	rtc_init(&rtc, 3 * GIB, GIB, on_now, on_reset, NULL);
	resets = 0;
}

TestSuite(rtc, .init = make);

static uint8_t cmos(uint8_t index)
{
	uint8_t v;

	rtc_bus_ops.write(&rtc, 0, &index, 1);
	rtc_bus_ops.read(&rtc, 1, &v, 1);
	return v;
}

static void set_cmos(uint8_t index, uint8_t v)
{
	rtc_bus_ops.write(&rtc, 0, &index, 1);
	rtc_bus_ops.write(&rtc, 1, &v, 1);
}

Test(rtc, calendar_equals_the_library)
{
	/* Steps of 11 days and some over 400 years, both sides of 1970. */
	for (int64_t t = -6000000000; t < 12000000000; t += 987654) {
		time_t tt = t;
		struct tm tm;
		struct rtc_time r = rtc_split_time(t);

		cr_assert(gmtime_r(&tt, &tm));
		cr_assert_eq(r.year, (unsigned int)tm.tm_year + 1900);
		cr_assert_eq(r.month, (unsigned int)tm.tm_mon + 1);
		cr_assert_eq(r.day, (unsigned int)tm.tm_mday);
		cr_assert_eq(r.weekday, (unsigned int)tm.tm_wday + 1);
		cr_assert_eq(r.hour, (unsigned int)tm.tm_hour);
		cr_assert_eq(r.minute, (unsigned int)tm.tm_min);
		cr_assert_eq(r.second, (unsigned int)tm.tm_sec);
	}
}

Test(rtc, tells_the_time_in_bcd)
{
	now = 1709251199; /* 2024-02-29 23:59:59, a Thursday */
	cr_expect_eq(cmos(0x00), 0x59);
	cr_expect_eq(cmos(0x02), 0x59);
	cr_expect_eq(cmos(0x04), 0x23);
	cr_expect_eq(cmos(0x06), 5);
	cr_expect_eq(cmos(0x07), 0x29);
	cr_expect_eq(cmos(0x08), 0x02);
	cr_expect_eq(cmos(0x09), 0x24);
	cr_expect_eq(cmos(0x32), 0x20);
	cr_expect_eq(cmos(0x0a) & 0x80, 0);
	cr_expect_eq(cmos(0x0b), 0x02);
	cr_expect_eq(cmos(0x0d), 0x80);
}

Test(rtc, other_formats)
{
	now = 1709251199;
	set_cmos(0x0b, 0x06); /* binary, 24 h */
	cr_expect_eq(cmos(0x04), 23);
	cr_expect_eq(cmos(0x09), 24);
	set_cmos(0x0b, 0x00);		/* BCD, 12 h */
	cr_expect_eq(cmos(0x04), 0x91); /* 11 pm */
	now = 1709251200;		/* midnight */
	cr_expect_eq(cmos(0x04), 0x12);
}

Test(rtc, tells_the_memory)
{
	/* (3 GiB - 16 MiB) and 1 GiB in 64 KiB */
	cr_expect_eq(cmos(0x34) | cmos(0x35) << 8, 0xbf00);
	cr_expect_eq(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, 0x4000);
	rtc_init(&rtc, 8 << 20, 0, on_now, on_reset, NULL);
	cr_expect_eq(cmos(0x34) | cmos(0x35) << 8, 0);
}

Test(rtc, keeps_what_is_stored_but_not_the_time)
{
	now = 1709251199;
	set_cmos(0x0f, 0x0a);
	cr_expect_eq(cmos(0x0f), 0x0a);
	set_cmos(0x07, 0x01);
	cr_expect_eq(cmos(0x07), 0x29);
	set_cmos(0x0a, 0xa6);
	cr_expect_eq(cmos(0x0a), 0x26);
	cr_expect_eq(resets, 0);
}

Test(rtc, index_8f_resets)
{
	set_cmos(0x8f, 0x01);
	cr_expect_eq(resets, 0);
	set_cmos(0x0f, 0x00);
	cr_expect_eq(resets, 0);
	set_cmos(0x8f, 0x00);
	cr_expect_eq(resets, 1);
}

Test(rtc, the_index_port_reads_all_ones)
{
	uint8_t v[2];

	cmos(0x0d);
	rtc_bus_ops.read(&rtc, 0, v, 2);
	cr_expect_eq(v[0], 0xff);
	cr_expect_eq(v[1], 0x80);
}
