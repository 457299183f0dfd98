/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/power.h"

#include <string.h>

#include "common/base/endian.h"
#include "vmm-core/arch/x86_64/layout.h"

#define PM_TIMER_HZ 3579545u
#define NS_PER_SEC  1000000000u

void power_init(struct power *p, const struct power_ops *ops, void *opaque)
{
	p->ops = ops;
	p->opaque = opaque;
	p->ged = 0;
}

void power_raise(struct power *p, uint8_t bits)
{
	p->ged |= bits;
	p->ops->event(p->opaque);
}

uint32_t power_timer_ticks(uint64_t ns)
{
	uint64_t s = ns / NS_PER_SEC, rest = ns % NS_PER_SEC;

	/* Wraps as the register does; no step at a second's end. */
	return (uint32_t)(s * PM_TIMER_HZ + rest * PM_TIMER_HZ / NS_PER_SEC);
}

/* Nothing sleeps, so the status register never says "woken". */
static void power_sleep_read(void *opaque, uint64_t off, uint8_t *data,
			     uint32_t len)
{
	(void)opaque;
	(void)off;
	memset(data, 0, len);
}

static void power_sleep_write(void *opaque, uint64_t off, const uint8_t *data,
			      uint32_t len)
{
	struct power *p = opaque;

	(void)len;
	if (off)
		return;
	if (data[0] == ACPI_SLEEP_RESET)
		p->ops->reset(p->opaque);
	else if (data[0] == ACPI_SLEEP_S5)
		p->ops->power_off(p->opaque);
}

static void power_timer_read(void *opaque, uint64_t off, uint8_t *data,
			     uint32_t len)
{
	struct power *p = opaque;
	uint8_t v[POWER_TIMER_SIZE];

	put_le32(v, power_timer_ticks(p->ops->now_ns(p->opaque)));
	memcpy(data, v + off, len);
}

static void power_ignore_write(void *opaque, uint64_t off, const uint8_t *data,
			       uint32_t len)
{
	(void)opaque;
	(void)off;
	(void)data;
	(void)len;
}

static void power_ged_read(void *opaque, uint64_t off, uint8_t *data,
			   uint32_t len)
{
	struct power *p = opaque;

	(void)off;
	(void)len;
	data[0] = p->ged;
	p->ged = 0;
}

const struct bus_ops power_sleep_bus_ops = {
	.read = power_sleep_read,
	.write = power_sleep_write,
};

const struct bus_ops power_timer_bus_ops = {
	.read = power_timer_read,
	.write = power_ignore_write,
};

const struct bus_ops power_ged_bus_ops = {
	.read = power_ged_read,
	.write = power_ignore_write,
};
