/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/bus.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

/* A range that remembers its accesses. */
struct fake {
	uint8_t fill;
	unsigned int reads, writes;
	uint64_t off;
	uint32_t len;
	uint8_t data[8];
};

static void fake_read(void *opaque, uint64_t off, uint8_t *data, uint32_t len)
{
	struct fake *f = opaque;

	f->reads++;
	f->off = off;
	f->len = len;
	memset(data, f->fill, len);
}

static void fake_write(void *opaque, uint64_t off, const uint8_t *data,
		       uint32_t len)
{
	struct fake *f = opaque;

	f->writes++;
	f->off = off;
	f->len = len;
	memcpy(f->data, data, len);
}

static const struct bus_ops fake_ops = {fake_read, fake_write};
static struct bus *bus;
static struct err e;

static void make(void)
{
	cr_assert_eq(bus_new(&bus, &e), 0);
}

static void drop(void)
{
	bus_free(bus);
}

TestSuite(bus, .init = make, .fini = drop);

Test(bus, unanswered_reads_are_all_ones)
{
	uint8_t data[8] = {0};

	bus_read(bus, 0x1000, data, 8);
	for (int i = 0; i < 8; i++)
		cr_expect_eq(data[i], 0xff);
	bus_write(bus, UINT64_MAX, data, 1);
	bus_read(bus, UINT64_MAX - 3, data, 8);
	cr_expect_eq(data[7], 0xff);
}

Test(bus, finds_each_of_many_ranges)
{
	static struct fake fakes[100];
	uint8_t v;

	/* Added in an order that is neither up nor down. */
	for (unsigned int i = 0; i < 100; i++) {
		unsigned int n = i * 37 % 100;

		fakes[n].fill = (uint8_t)n;
		cr_assert_eq(
			bus_add(bus, n * 16ull, 8, &fake_ops, &fakes[n], &e),
			0);
	}
	for (unsigned int n = 0; n < 100; n++) {
		bus_read(bus, n * 16ull + 7, &v, 1);
		cr_expect_eq(v, n);
		cr_expect_eq(fakes[n].off, 7);
		bus_read(bus, n * 16ull + 8, &v, 1);
		cr_expect_eq(v, 0xff);
	}
	bus_remove(bus, 50 * 16);
	bus_read(bus, 50 * 16, &v, 1);
	cr_expect_eq(v, 0xff);
	bus_read(bus, 51 * 16, &v, 1);
	cr_expect_eq(v, 51);
	bus_remove(bus, 51 * 16 + 1); /* not a start: nothing happens */
	bus_read(bus, 51 * 16, &v, 1);
	cr_expect_eq(v, 51);
}

Test(bus, rejects_overlap_and_wrap)
{
	struct fake f = {0};

	cr_assert_eq(bus_add(bus, 0x100, 0x10, &fake_ops, &f, &e), 0);
	cr_expect_eq(bus_add(bus, 0x100, 1, &fake_ops, &f, &e), -EEXIST);
	cr_expect_eq(bus_add(bus, 0x10f, 1, &fake_ops, &f, &e), -EEXIST);
	cr_expect_eq(bus_add(bus, 0xff, 2, &fake_ops, &f, &e), -EEXIST);
	cr_expect_eq(bus_add(bus, 0x80, 0x1000, &fake_ops, &f, &e), -EEXIST);
	cr_expect_eq(bus_add(bus, 0x110, 1, &fake_ops, &f, &e), 0);
	cr_expect_eq(bus_add(bus, 0xff, 1, &fake_ops, &f, &e), 0);
	cr_expect_eq(bus_add(bus, 0x1000, 0, &fake_ops, &f, &e), -EINVAL);
	cr_expect_eq(bus_add(bus, UINT64_MAX, 2, &fake_ops, &f, &e), -EINVAL);
	cr_expect_eq(bus_add(bus, UINT64_MAX, 1, &fake_ops, &f, &e), 0);
}

Test(bus, splits_what_crosses_a_border)
{
	struct fake a = {.fill = 0xaa}, b = {.fill = 0xbb};
	uint8_t data[4];

	cr_assert_eq(bus_add(bus, 0x10, 2, &fake_ops, &a, &e), 0);
	cr_assert_eq(bus_add(bus, 0x12, 1, &fake_ops, &b, &e), 0);
	bus_read(bus, 0x10, data, 4);
	cr_expect_arr_eq(data, ((uint8_t[]){0xaa, 0xaa, 0xbb, 0xff}), 4);
	cr_expect_eq(a.reads, 2);
	bus_write(bus, 0x11, (const uint8_t *)"\x01\x02", 2);
	cr_expect_eq(a.data[0], 1);
	cr_expect_eq(a.off, 1);
	cr_expect_eq(b.data[0], 2);
	cr_expect_eq(b.off, 0);
}

Test(bus, splits_odd_sizes)
{
	struct fake a = {.fill = 0xaa};
	uint8_t data[3];

	cr_assert_eq(bus_add(bus, 0, 16, &fake_ops, &a, &e), 0);
	bus_read(bus, 4, data, 3);
	cr_expect_eq(a.reads, 3);
	cr_expect_eq(a.len, 1);
	cr_expect_eq(a.off, 6);
}

Test(bus, is_bounded)
{
	struct fake f = {0};
	uint64_t i = 0;

	while (bus_add(bus, i * 2, 1, &fake_ops, &f, &e) == 0)
		cr_assert_lt(i++, 100000u);
	cr_expect_eq(e.code, -ENOSPC);
}
