/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/ioapic.h"

#include <criterion/criterion.h>

#define WIN	0x10
#define EOI	0x40
#define MASKED	(1u << 16)
#define LEVEL	(1u << 15)
#define REMOTE	(1u << 14)
#define LOGICAL (1u << 11)

static struct {
	unsigned int routes, fired;
	unsigned int pin, fired_pin;
	struct hv_msi msi;
} sink;

static void set_route(void *opaque, unsigned int pin, const struct hv_msi *msi)
{
	(void)opaque;
	sink.routes++;
	sink.pin = pin;
	sink.msi = *msi;
}

static void fire(void *opaque, unsigned int pin)
{
	(void)opaque;
	sink.fired++;
	sink.fired_pin = pin;
}

static struct ioapic *io;

static void make(void)
{
	const struct ioapic_sink s = {set_route, fire, NULL};
	struct err e;

	cr_assert_eq(ioapic_new(&s, &io, &e), 0);
}

static void drop(void)
{
	ioapic_free(io);
}

TestSuite(ioapic, .init = make, .fini = drop);

static uint32_t reg_read(uint8_t index)
{
	ioapic_write(io, 0, index);
	return ioapic_read(io, WIN);
}

static void reg_write(uint8_t index, uint32_t v)
{
	ioapic_write(io, 0, index);
	ioapic_write(io, WIN, v);
}

static void set_pin(unsigned int pin, uint32_t high, uint32_t low)
{
	reg_write((uint8_t)(0x11 + 2 * pin), high);
	reg_write((uint8_t)(0x10 + 2 * pin), low);
}

Test(ioapic, says_what_it_is)
{
	cr_expect_eq(reg_read(0), 0);
	cr_expect_eq(reg_read(1), 23u << 16 | 0x20);
	reg_write(0, 0x5000000);
	cr_expect_eq(reg_read(0), 0x5000000);
	for (uint8_t i = 0; i < 24; i++)
		cr_expect_eq(reg_read((uint8_t)(0x10 + 2 * i)), MASKED);
	/* What does not exist reads 0 and takes nothing. */
	for (unsigned int i = 0x40; i < 0x100; i++) {
		reg_write((uint8_t)i, UINT32_MAX);
		cr_expect_eq(reg_read((uint8_t)i), 0);
	}
	cr_expect_eq(sink.routes, 0);
}

Test(ioapic, routes_an_unmasked_entry)
{
	set_pin(4, 0x03000000, 0x31);
	cr_expect_eq(sink.pin, 4);
	cr_expect_eq(sink.msi.addr, 0xfee03000);
	cr_expect_eq(sink.msi.data, 0x31);
	set_pin(4, 0x03000000, 0x131 | LOGICAL | LEVEL);
	cr_expect_eq(sink.msi.addr, 0xfee03004);
	cr_expect_eq(sink.msi.data, 0xc131);
	/* Extended destination: id 0x7f03 */
	set_pin(4, 0x03fe0000, 0x31);
	cr_expect_eq(sink.msi.addr, 0xfee03fe0);
}

Test(ioapic, masking_costs_no_route)
{
	set_pin(4, 0, 0x31);
	cr_expect_eq(sink.routes, 1);
	set_pin(4, 0, 0x31 | MASKED);
	set_pin(4, 0, 0x31);
	cr_expect_eq(sink.routes, 1);
}

Test(ioapic, delivers_edges)
{
	set_pin(9, 0, 0x20);
	ioapic_pulse(io, 9);
	ioapic_pulse(io, 9);
	cr_expect_eq(sink.fired, 2);
	cr_expect_eq(sink.fired_pin, 9);
}

Test(ioapic, keeps_one_masked_edge)
{
	ioapic_pulse(io, 9);
	ioapic_pulse(io, 9);
	cr_expect_eq(sink.fired, 0);
	set_pin(9, 0, 0x20);
	cr_expect_eq(sink.fired, 1);
	set_pin(9, 0, 0x20);
	cr_expect_eq(sink.fired, 1);
}

Test(ioapic, level_fires_again_after_eoi_while_high)
{
	set_pin(5, 0, 0x44 | LEVEL);
	ioapic_set_level(io, 5, true);
	ioapic_set_level(io, 5, true);
	cr_expect_eq(sink.fired, 1);
	cr_expect(reg_read(0x1a) & REMOTE);
	ioapic_eoi(io, 0x45); /* another vector */
	cr_expect_eq(sink.fired, 1);
	ioapic_eoi(io, 0x44);
	cr_expect_eq(sink.fired, 2);
	ioapic_set_level(io, 5, false);
	ioapic_write(io, EOI, 0x44);
	cr_expect_eq(sink.fired, 2);
	cr_expect_not(reg_read(0x1a) & REMOTE);
}

Test(ioapic, switch_to_edge_ends_a_stuck_level)
{
	set_pin(5, 0, 0x44 | LEVEL);
	ioapic_set_level(io, 5, true);
	set_pin(5, 0, 0x44 | MASKED);
	cr_expect_not(reg_read(0x1a) & REMOTE);
	set_pin(5, 0, 0x44 | LEVEL);
	cr_expect_eq(sink.fired, 2);
}

Test(ioapic, status_bits_are_read_only)
{
	set_pin(5, 0, 0x44 | LEVEL | REMOTE | 1u << 12);
	cr_expect_eq(reg_read(0x1a), 0x44 | LEVEL);
}

Test(ioapic, a_pulse_on_a_level_pin_is_one_interrupt)
{
	set_pin(5, 0, 0x44 | LEVEL);
	ioapic_pulse(io, 5);
	cr_expect_eq(sink.fired, 1);
	ioapic_eoi(io, 0x44);
	cr_expect_eq(sink.fired, 1);
	ioapic_pulse(io, 5);
	cr_expect_eq(sink.fired, 2);
}
