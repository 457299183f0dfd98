/* SPDX-License-Identifier: Apache-2.0 */

/* The memory map, and whether there is RAM where it says so and nowhere else.
 * Words: low= and high=, MiB below and above the hole. */

#include "platform/platform.h"

#define MIB	1048576ull
#define LOW_TOP 0xa0000ull
#define HIGH	0x100000ull
#define HOLE	0xc0000000ull
#define ECAM	0xe8000000ull
#define FOUR_G	0x100000000ull

#define TYPE_RAM      1
#define TYPE_RESERVED 2

static void expect_range(uint32_t i, uint64_t addr, uint64_t size,
			 uint32_t type)
{
	const struct guest_range *r = &guest_boot.ranges[i];

	if (i >= guest_boot.num_ranges) {
		expect_true("memory map: a range is missing", false);
		return;
	}
	expect("memory map: address", r->addr, addr);
	expect("memory map: size", r->size, size);
	expect("memory map: type", r->type, type);
}

/* The last 8 bytes before @end are RAM, and what follows isn't. */
static void check_end(uint64_t end)
{
	volatile uint64_t *last = (volatile uint64_t *)map_2m(end - 8);
	uint64_t old = *last;

	*last = 0x123456789abcdef0ull;
	expect("memory: the last bytes", *last, 0x123456789abcdef0ull);
	*last = old;
	map_2m(end);
	*(volatile uint32_t *)end = 0;
	expect("memory: behind the end", mmio32(end), 0xffffffff);
}

void check_memory(void)
{
	uint64_t low = guest_option_number("low", 64) * MIB;
	uint64_t high = guest_option_number("high", 0) * MIB;

	expect("memory map: ranges", guest_boot.num_ranges, high ? 4 : 3);
	expect_range(0, 0, LOW_TOP, TYPE_RAM);
	expect_range(1, HIGH, low - HIGH, TYPE_RAM);
	expect_range(2, ECAM, 0x10000000, TYPE_RESERVED);
	if (high)
		expect_range(3, FOUR_G, high, TYPE_RAM);
	check_end(low);
	if (high)
		check_end(FOUR_G + high);
	/* Between the last BAR that a VMM may put there and the ECAM. */
	expect("memory: the hole", mmio32(ECAM - 16), 0xffffffff);
	expect_true("memory: RAM reaches into the hole", low <= HOLE);
}
