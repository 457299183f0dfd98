/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/serial.h"

#include <criterion/criterion.h>
#include <string.h>

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR IIR

static struct serial s;
static unsigned int irqs, rooms, num_out;
static uint8_t out[64];

static void on_irq(void *opaque)
{
	(void)opaque;
	irqs++;
}

static void on_out(void *opaque, uint8_t byte)
{
	(void)opaque;
	out[num_out++ % sizeof(out)] = byte;
}

static void on_room(void *opaque)
{
	(void)opaque;
	rooms++;
}

static const struct serial_ops ops = {on_irq, on_out, on_room};

static void make(void)
{
	serial_init(&s, &ops, NULL);
	irqs = rooms = num_out = 0;
}

TestSuite(serial, .init = make);

Test(serial, starts_ready)
{
	cr_expect_eq(serial_read(&s, LSR), 0x60);
	cr_expect_eq(serial_read(&s, MSR), 0xb0);
	cr_expect_eq(serial_read(&s, IIR), 0x01);
	cr_expect_eq(serial_read(&s, IER), 0);
}

Test(serial, sends)
{
	serial_write(&s, DATA, 'x');
	cr_expect_eq(num_out, 1);
	cr_expect_eq(out[0], 'x');
	cr_expect_eq(irqs, 0);
	cr_expect_eq(serial_read(&s, LSR), 0x60);
}

Test(serial, divisor_latch_hides_data)
{
	serial_write(&s, LCR, 0x83);
	serial_write(&s, DATA, 0x01);
	serial_write(&s, IER, 0x02);
	cr_expect_eq(serial_read(&s, DATA), 0x01);
	cr_expect_eq(serial_read(&s, IER), 0x02);
	serial_write(&s, LCR, 0x03);
	cr_expect_eq(serial_read(&s, IER), 0);
	cr_expect_eq(num_out, 0);
	cr_expect_eq(serial_read(&s, LCR), 3);
}

Test(serial, fifo_shows_in_iir)
{
	serial_write(&s, FCR, 1);
	cr_expect_eq(serial_read(&s, IIR), 0xc1);
	serial_write(&s, FCR, 0);
	cr_expect_eq(serial_read(&s, IIR), 0x01);
}

Test(serial, transmitter_empty_interrupt_is_told_once)
{
	serial_write(&s, IER, 2);
	cr_expect_eq(irqs, 1);
	cr_expect_eq(serial_read(&s, IIR), 0x02);
	cr_expect_eq(serial_read(&s, IIR), 0x01);
	/* Each byte sent is an edge of its own, told or not. */
	serial_write(&s, DATA, 'a');
	cr_expect_eq(irqs, 2);
	serial_write(&s, DATA, 'b');
	cr_expect_eq(irqs, 3);
	/* Off and on again tells again. */
	cr_expect_eq(serial_read(&s, IIR), 0x02);
	serial_write(&s, IER, 0);
	serial_write(&s, IER, 2);
	cr_expect_eq(irqs, 4);
}

Test(serial, receives)
{
	serial_write(&s, FCR, 1);
	serial_write(&s, IER, 1);
	serial_rx(&s, (const uint8_t *)"ab", 2);
	cr_expect_eq(irqs, 1);
	cr_expect_eq(serial_read(&s, IIR), 0xc4);
	cr_expect_eq(serial_read(&s, LSR), 0x61);
	cr_expect_eq(serial_read(&s, DATA), 'a');
	cr_expect_eq(serial_read(&s, DATA), 'b');
	cr_expect_eq(serial_read(&s, LSR), 0x60);
	cr_expect_eq(serial_read(&s, IIR), 0xc1);
	serial_rx(&s, (const uint8_t *)"c", 1);
	cr_expect_eq(irqs, 2);
}

Test(serial, below_the_trigger_level_times_out)
{
	serial_write(&s, FCR, 0x41); /* 4 bytes */
	serial_write(&s, IER, 1);
	serial_rx(&s, (const uint8_t *)"abc", 3);
	cr_expect_eq(serial_read(&s, IIR), 0xcc);
	serial_rx(&s, (const uint8_t *)"d", 1);
	cr_expect_eq(serial_read(&s, IIR), 0xc4);
}

Test(serial, room_is_bounded)
{
	uint8_t data[SERIAL_RX_MAX] = {0};

	cr_expect_eq(serial_rx_room(&s), 1);
	serial_write(&s, FCR, 1);
	cr_expect_eq(serial_rx_room(&s), SERIAL_RX_MAX);
	serial_rx(&s, data, SERIAL_RX_MAX);
	cr_expect_eq(serial_rx_room(&s), 0);
	rooms = 0;
	serial_read(&s, DATA);
	cr_expect_eq(rooms, 1);
	cr_expect_eq(serial_rx_room(&s), 1);
	serial_write(&s, FCR, 3); /* clear */
	cr_expect_eq(serial_rx_room(&s), SERIAL_RX_MAX);
}

Test(serial, input_has_priority_over_output)
{
	serial_write(&s, FCR, 1);
	serial_write(&s, IER, 3);
	serial_rx(&s, (const uint8_t *)"a", 1);
	cr_expect_eq(irqs, 1); /* the line was up already */
	cr_expect_eq(serial_read(&s, IIR), 0xc4);
	serial_read(&s, DATA);
	cr_expect_eq(serial_read(&s, IIR), 0xc2);
}

Test(serial, loops_back)
{
	serial_write(&s, MCR, 0x10 | 0x0a);	  /* loop, RTS, OUT2 */
	cr_expect_eq(serial_read(&s, MSR), 0x92); /* DSR fell */
	cr_expect_eq(serial_read(&s, MSR), 0x90); /* told once */
	serial_write(&s, DATA, 'z');
	cr_expect_eq(num_out, 0);
	cr_expect_eq(serial_read(&s, DATA), 'z');
	cr_expect_eq(serial_rx_room(&s), 0);
	for (int i = 0; i < SERIAL_RX_MAX + 1; i++)
		serial_write(&s, DATA, 1);
	cr_expect_eq(serial_read(&s, LSR), 0x63); /* overrun, told once */
	cr_expect_eq(serial_read(&s, LSR), 0x61);
}

Test(serial, scratch_and_wide_accesses)
{
	uint8_t v[2];

	serial_write(&s, SCR, 0x5a);
	serial_bus_ops.read(&s, MSR, v, 2);
	cr_expect_eq(v[0], 0xb0);
	cr_expect_eq(v[1], 0x5a);
	serial_bus_ops.write(&s, MSR, (const uint8_t *)"\x01\xa5", 2);
	cr_expect_eq(serial_read(&s, SCR), 0xa5);
}

/* What a driver may do in any order must not break the bounds. */
Test(serial, survives_random_accesses)
{
	uint32_t x = 1;

	for (int i = 0; i < 200000; i++) {
		x = x * 1664525 + 1013904223;
		if (x >> 31)
			serial_read(&s, (x >> 16) & 15);
		else
			serial_write(&s, (x >> 16) & 15, (uint8_t)(x >> 8));
		if (serial_rx_room(&s))
			serial_rx(&s, (const uint8_t *)"!", 1);
		cr_assert_leq(s.rx_len, (unsigned int)SERIAL_RX_MAX);
		cr_assert_lt(s.rx_head, (unsigned int)SERIAL_RX_MAX);
	}
}
