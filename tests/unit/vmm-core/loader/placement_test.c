/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/placement.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct gmem mem = {
	.regions = {{.gpa = 0, .size = 0x10000},
		    {.gpa = 0x10000, .size = 0x10000},
		    {.gpa = 0x100000, .size = 0x10000}},
	.num_regions = 3,
};

Test(placement_claim, refuses_overlaps_and_names_both)
{
	struct placement p;
	struct err e = {0};

	placement_init(&p, &mem);
	cr_assert_eq(placement_claim(&p, 0x1000, 0x1000, "first", &e), 0);
	cr_assert_eq(placement_claim(&p, 0x2000, 0x1000, "second", &e), 0);
	cr_assert_eq(placement_claim(&p, 0x1fff, 1, "third", &e), -EEXIST);
	cr_assert(strstr(e.text, "third") && strstr(e.text, "first"));
	cr_assert_eq(placement_claim(&p, 0, 0x10000, "third", &e), -EEXIST);
	cr_assert_eq(placement_claim(&p, 0x1800, 0, "nothing", &e), 0);
}

Test(placement_claim, spans_adjacent_regions_only)
{
	struct placement p;
	struct err e = {0};

	placement_init(&p, &mem);
	cr_assert_eq(placement_claim(&p, 0xf000, 0x2000, "a", &e), 0);
	cr_assert_eq(placement_claim(&p, 0x1f000, 0x1001, "b", &e), -ENOMEM);
	cr_assert(strstr(e.text, "--memory"));
	cr_assert_eq(placement_claim(&p, 0x20000, 1, "b", &e), -ENOMEM);
	cr_assert_eq(placement_claim(&p, 0x110000, 1, "b", &e), -ENOMEM);
	cr_assert_eq(placement_claim(&p, UINT64_MAX, 2, "b", &e), -ENOMEM);
	cr_assert_eq(placement_claim(&p, 0x8000, UINT64_MAX, "b", &e), -ENOMEM);
	cr_assert_eq(placement_claim(&p, 0x10ffff, 1, "b", &e), 0);
}

Test(placement_claim, has_a_limit)
{
	struct placement p;
	struct err e = {0};

	placement_init(&p, &mem);
	for (unsigned int i = 0; i < PLACEMENT_MAX; i++)
		cr_assert_eq(placement_claim(&p, i, 1, "x", &e), 0);
	cr_assert_eq(placement_claim(&p, 0x1000, 1, "x", &e), -E2BIG);
}

Test(placement_claim_high, goes_as_high_as_it_can)
{
	struct placement p;
	struct err e = {0};
	gpa_t gpa;

	placement_init(&p, &mem);
	cr_assert_eq(placement_claim_high(&p, 0x1800, 0x1000, UINT64_MAX, "a",
					  &gpa, &e),
		     0);
	cr_assert_eq(gpa, 0x10e000);
	cr_assert_eq(placement_claim_high(&p, 0x1000, 0x1000, UINT64_MAX, "b",
					  &gpa, &e),
		     0);
	cr_assert_eq(gpa, 0x10d000); /* below a: 0x10f800 is not aligned */
	/* the limit and the hole; across two adjacent regions */
	cr_assert_eq(placement_claim_high(&p, 0x18000, 0x1000, 0x100800, "c",
					  &gpa, &e),
		     0);
	cr_assert_eq(gpa, 0x8000);
	cr_assert_eq(placement_claim_high(&p, 0x18000, 0x1000, UINT64_MAX, "d",
					  &gpa, &e),
		     -ENOMEM);
	cr_assert(strstr(e.text, "no room"));
}
