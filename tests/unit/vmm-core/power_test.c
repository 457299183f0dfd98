/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/power.h"

#include <criterion/criterion.h>

#include "vmm-core/platform/i8042.h"

static unsigned int offs, resets, events;
static uint64_t now;

static void on_off(void *opaque)
{
	(void)opaque;
	offs++;
}

static void on_reset(void *opaque)
{
	(void)opaque;
	resets++;
}

static void on_event(void *opaque)
{
	(void)opaque;
	events++;
}

static uint64_t on_now(void *opaque)
{
	(void)opaque;
	return now;
}

static const struct power_ops ops = {on_off, on_reset, on_event, on_now};
static struct power p;

static void make(void)
{
	power_init(&p, &ops, NULL);
	offs = resets = events = 0;
}

TestSuite(power, .init = make);

static void sleep_write(uint64_t off, uint8_t v)
{
	power_sleep_bus_ops.write(&p, off, &v, 1);
}

Test(power, sleep_register)
{
	uint8_t v = 1;

	sleep_write(0, 0x30); /* sleep enable without S5's type */
	sleep_write(0, 0x14); /* the type without the enable */
	sleep_write(1, 0x34);
	cr_expect_eq(offs + resets, 0);
	sleep_write(0, 0x34);
	cr_expect_eq(offs, 1);
	sleep_write(0, 0x01);
	cr_expect_eq(resets, 1);
	power_sleep_bus_ops.read(&p, 0, &v, 1);
	cr_expect_eq(v, 0);
}

Test(power, timer_runs_at_its_rate)
{
	uint8_t v[4], w[2];

	cr_expect_eq(power_timer_ticks(0), 0);
	cr_expect_eq(power_timer_ticks(1000000000), 3579545);
	cr_expect_eq(power_timer_ticks(500000000), 1789772);
	/* Ten years: no overflow on the way, and it wraps. */
	cr_expect_eq(power_timer_ticks(315360000000000000),
		     (uint32_t)(315360000ull * 3579545));
	now = 12345678901234;
	power_timer_bus_ops.read(&p, 0, v, 4);
	power_timer_bus_ops.read(&p, 2, w, 2);
	cr_expect_eq(v[2], w[0]);
	cr_expect_eq(v[3], w[1]);
}

Test(power, timer_never_goes_back)
{
	uint32_t last = power_timer_ticks(999999000);

	for (uint64_t ns = 999999000; ns < 1000001000; ns += 7) {
		uint32_t t = power_timer_ticks(ns);

		cr_assert_leq(last, t);
		last = t;
	}
}

Test(power, event_status_is_cleared_by_reading)
{
	uint8_t v;

	power_raise(&p, 8);
	power_raise(&p, 4);
	cr_expect_eq(events, 2);
	power_ged_bus_ops.read(&p, 0, &v, 1);
	cr_expect_eq(v, 12);
	power_ged_bus_ops.read(&p, 0, &v, 1);
	cr_expect_eq(v, 0);
}

Test(power, keyboard_controller_resets)
{
	struct i8042 k;
	struct bus *bus;
	struct err e;
	uint8_t v, w;

	cr_assert_eq(bus_new(&bus, &e), 0);
	cr_assert_eq(i8042_init(&k, bus, on_reset, NULL, &e), 0);
	bus_read(bus, 0x64, &v, 1);
	cr_expect_eq(v, 0xff);
	bus_read(bus, 0x61, &v, 1);
	bus_read(bus, 0x61, &w, 1);
	cr_expect_eq(v ^ w, 0x10);
	cr_expect(v & 0x20);
	bus_write(bus, 0x64, (const uint8_t *)"\xff", 1);
	bus_write(bus, 0x60, (const uint8_t *)"\xfe", 1);
	bus_write(bus, 0x92, (const uint8_t *)"\x02", 1);
	cr_expect_eq(resets, 0);
	bus_write(bus, 0x64, (const uint8_t *)"\xfe", 1);
	bus_write(bus, 0x92, (const uint8_t *)"\x01", 1);
	cr_expect_eq(resets, 2);
	bus_free(bus);
}
