/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/rtc.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/num.h"

#define CMOS_SECOND  0x00
#define CMOS_MINUTE  0x02
#define CMOS_HOUR    0x04
#define CMOS_WEEKDAY 0x06
#define CMOS_DAY     0x07
#define CMOS_MONTH   0x08
#define CMOS_YEAR    0x09
#define CMOS_A	     0x0a
#define CMOS_B	     0x0b
#define CMOS_C	     0x0c
#define CMOS_D	     0x0d
#define CMOS_CENTURY 0x32
#define CMOS_LOW     0x34 /* RAM from 16 MiB to 4 GiB, in 64 KiB */
#define CMOS_HIGH    0x5b /* RAM above 4 GiB, in 64 KiB */

#define CMOS_A_RATE   0x26
#define CMOS_B_24H    0x02
#define CMOS_B_BINARY 0x04
#define CMOS_D_VALID  0x80
#define CMOS_HOUR_PM  0x80
#define CMOS_RESET    0x8f

#define DAYS_TO_1970 719468 /* from 0000-03-01 */
#define DAYS_PER_ERA 146097 /* 400 years */

void rtc_init(struct rtc *r, uint64_t low, uint64_t high,
	      int64_t (*now)(void *opaque), void (*reset)(void *opaque),
	      void *opaque)
{
	uint64_t low_units = 0, high_units = high / (64 * KIB);

	memset(r, 0, sizeof(*r));
	r->now = now;
	r->reset = reset;
	r->opaque = opaque;
	if (low > 16 * MIB)
		low_units = min_u64((low - 16 * MIB) / (64 * KIB), 0xffff);
	high_units = min_u64(high_units, 0xffffff);
	r->cmos[CMOS_LOW] = (uint8_t)low_units;
	r->cmos[CMOS_LOW + 1] = (uint8_t)(low_units >> 8);
	r->cmos[CMOS_HIGH] = (uint8_t)high_units;
	r->cmos[CMOS_HIGH + 1] = (uint8_t)(high_units >> 8);
	r->cmos[CMOS_HIGH + 2] = (uint8_t)(high_units >> 16);
	r->cmos[CMOS_A] = CMOS_A_RATE;
	r->cmos[CMOS_B] = CMOS_B_24H;
	r->cmos[CMOS_D] = CMOS_D_VALID;
}

/*
 * Years that begin in March put the leap day at their end, and then months
 * have a regular pattern: day of year = (153 * month + 2) / 5.
 */
struct rtc_time rtc_split_time(int64_t seconds)
{
	int64_t days = seconds / 86400, rest = seconds % 86400, era, year;
	unsigned int in_era, year_in_era, day, month;
	struct rtc_time t;

	if (rest < 0) {
		rest += 86400;
		days--;
	}
	t.hour = (unsigned int)(rest / 3600);
	t.minute = (unsigned int)(rest / 60 % 60);
	t.second = (unsigned int)(rest % 60);
	/* 1970-01-01 was a Thursday. */
	t.weekday = (unsigned int)(((days % 7) + 7 + 4) % 7) + 1;
	days += DAYS_TO_1970;
	era = (days >= 0 ? days : days - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
	in_era = (unsigned int)(days - era * DAYS_PER_ERA);
	year_in_era = (in_era - in_era / 1460 + in_era / 36524 -
		       in_era / (DAYS_PER_ERA - 1)) /
		      365;
	day = in_era -
	      (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
	month = (5 * day + 2) / 153;
	t.day = day - (153 * month + 2) / 5 + 1;
	t.month = month < 10 ? month + 3 : month - 9;
	year = (int64_t)year_in_era + era * 400 + (t.month <= 2 ? 1 : 0);
	t.year = (unsigned int)year;
	return t;
}

static uint8_t rtc_encode(const struct rtc *r, unsigned int v)
{
	if (r->cmos[CMOS_B] & CMOS_B_BINARY)
		return (uint8_t)v;
	return (uint8_t)(v / 10 << 4 | v % 10);
}

static uint8_t rtc_encode_hour(const struct rtc *r, unsigned int hour)
{
	unsigned int half = hour % 12 ? hour % 12 : 12;

	if (r->cmos[CMOS_B] & CMOS_B_24H)
		return rtc_encode(r, hour);
	return (uint8_t)(rtc_encode(r, half) | (hour >= 12 ? CMOS_HOUR_PM : 0));
}

static uint8_t rtc_read(struct rtc *r)
{
	unsigned int i = r->index & 0x7f;
	struct rtc_time t = rtc_split_time(r->now(r->opaque));

	switch (i) {
	case CMOS_SECOND:
		return rtc_encode(r, t.second);
	case CMOS_MINUTE:
		return rtc_encode(r, t.minute);
	case CMOS_HOUR:
		return rtc_encode_hour(r, t.hour);
	case CMOS_WEEKDAY:
		return rtc_encode(r, t.weekday);
	case CMOS_DAY:
		return rtc_encode(r, t.day);
	case CMOS_MONTH:
		return rtc_encode(r, t.month);
	case CMOS_YEAR:
		return rtc_encode(r, t.year % 100);
	case CMOS_CENTURY:
		return rtc_encode(r, t.year / 100);
	default:
		return r->cmos[i];
	}
}

static void rtc_write(struct rtc *r, uint8_t value)
{
	unsigned int i = r->index & 0x7f;

	if (r->index == CMOS_RESET && value == 0) {
		r->reset(r->opaque);
		return;
	}
	switch (i) {
	case CMOS_SECOND:
	case CMOS_MINUTE:
	case CMOS_HOUR:
	case CMOS_WEEKDAY:
	case CMOS_DAY:
	case CMOS_MONTH:
	case CMOS_YEAR:
	case CMOS_CENTURY:
	case CMOS_C:
	case CMOS_D:
		break; /* the host's clock; read-only */
	case CMOS_A:
		/* Bit 7 says "update in progress": never. */
		r->cmos[i] = value & 0x7f;
		break;
	default:
		r->cmos[i] = value;
		break;
	}
}

static void rtc_bus_read(void *opaque, uint64_t off, uint8_t *data,
			 uint32_t len)
{
	struct rtc *r = opaque;

	for (uint32_t i = 0; i < len; i++)
		data[i] = off + i == 1 ? rtc_read(r) : 0xff;
}

static void rtc_bus_write(void *opaque, uint64_t off, const uint8_t *data,
			  uint32_t len)
{
	struct rtc *r = opaque;

	for (uint32_t i = 0; i < len; i++) {
		if (off + i == 0)
			r->index = data[i];
		else
			rtc_write(r, data[i]);
	}
}

const struct bus_ops rtc_bus_ops = {
	.read = rtc_bus_read,
	.write = rtc_bus_write,
};
