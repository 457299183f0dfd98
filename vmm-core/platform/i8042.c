/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/i8042.h"

#include "vmm-core/arch/x86_64/layout.h"

#define I8042_RESET	  0xfe
#define SYSCTL_A_RESET	  0x01
#define SYSCTL_B_REFRESH  0x10
#define SYSCTL_B_TIMER2	  0x20
#define SYSCTL_B_WRITABLE 0x0f

static void i8042_cmd_read(void *opaque, uint64_t off, uint8_t *data,
			   uint32_t len)
{
	(void)opaque;
	(void)off;
	(void)len;
	data[0] = 0xff;
}

static void i8042_cmd_write(void *opaque, uint64_t off, const uint8_t *data,
			    uint32_t len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	if (data[0] == I8042_RESET)
		k->reset(k->opaque);
}

static void i8042_b_read(void *opaque, uint64_t off, uint8_t *data,
			 uint32_t len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->sysctl_b ^= SYSCTL_B_REFRESH;
	data[0] = k->sysctl_b | SYSCTL_B_TIMER2;
}

static void i8042_b_write(void *opaque, uint64_t off, const uint8_t *data,
			  uint32_t len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->sysctl_b = (uint8_t)((k->sysctl_b & SYSCTL_B_REFRESH) |
				(data[0] & SYSCTL_B_WRITABLE));
}

static void i8042_a_read(void *opaque, uint64_t off, uint8_t *data,
			 uint32_t len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	data[0] = k->sysctl_a;
}

static void i8042_a_write(void *opaque, uint64_t off, const uint8_t *data,
			  uint32_t len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->sysctl_a = (uint8_t)(data[0] & ~SYSCTL_A_RESET);
	if (data[0] & SYSCTL_A_RESET)
		k->reset(k->opaque);
}

/* One byte each: the bus splits what is wider. */
static const struct bus_ops i8042_cmd_ops = {i8042_cmd_read, i8042_cmd_write};
static const struct bus_ops i8042_b_ops = {i8042_b_read, i8042_b_write};
static const struct bus_ops i8042_a_ops = {i8042_a_read, i8042_a_write};

int i8042_init(struct i8042 *k, struct bus *pio, void (*reset)(void *opaque),
	       void *opaque, struct err *e)
{
	int r;

	k->sysctl_a = 0x02; /* A20 open */
	k->sysctl_b = 0;
	k->reset = reset;
	k->opaque = opaque;
	r = bus_add(pio, PORT_I8042_CMD, 1, &i8042_cmd_ops, k, e);
	if (r == 0)
		r = bus_add(pio, PORT_SYSCTL_B, 1, &i8042_b_ops, k, e);
	if (r == 0)
		r = bus_add(pio, PORT_SYSCTL_A, 1, &i8042_a_ops, k, e);
	return r;
}
