/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

static struct memory_plan p;
static struct err e;

Test(memory_plan, below_the_hole)
{
	cr_assert_eq(memory_plan(512 * MIB, 2 * MIB, 46, &p, &e), 0);
	cr_expect_eq(p.num_regions, 1);
	cr_expect_eq(p.regions[0].gpa, 0);
	cr_expect_eq(p.regions[0].size, 512 * MIB);
	cr_expect_eq(p.mmio64_base, 4 * GIB);
	cr_expect_eq(p.mmio64_base + p.mmio64_size, 1ull << 46);
}

Test(memory_plan, exactly_at_the_hole)
{
	cr_assert_eq(memory_plan(3 * GIB, 2 * MIB, 46, &p, &e), 0);
	cr_expect_eq(p.num_regions, 1);
}

Test(memory_plan, above_the_hole)
{
	cr_assert_eq(memory_plan(3 * GIB + 2 * MIB, 2 * MIB, 40, &p, &e), 0);
	cr_expect_eq(p.num_regions, 2);
	cr_expect_eq(p.regions[0].size, 3 * GIB);
	cr_expect_eq(p.regions[1].gpa, 4 * GIB);
	cr_expect_eq(p.regions[1].size, 2 * MIB);
	cr_expect_eq(p.regions[1].offset, 3 * GIB);
	/* The window begins at a GiB, above the RAM. */
	cr_expect_eq(p.mmio64_base, 5 * GIB);
	cr_expect_eq(p.mmio64_base + p.mmio64_size, 1ull << 40);
}

Test(memory_plan, refuses_what_does_not_fit)
{
	cr_expect_eq(memory_plan(0, 2 * MIB, 46, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(3 * MIB, 2 * MIB, 46, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(512 * MIB, GIB, 46, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(UINT64_MAX, 2 * MIB, 46, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(32 * TIB, 2 * MIB, 52, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(64 * GIB, 2 * MIB, 36, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(63 * GIB, 2 * MIB, 36, &p, &e), -EINVAL);
	cr_expect_eq(memory_plan(62 * GIB, 2 * MIB, 36, &p, &e), 0);
}

Test(memory, is_sealed_and_prefaulted)
{
	Bulkhead__MemoryConfig cfg = BULKHEAD__MEMORY_CONFIG__INIT;
	struct memory *m;
	struct stat st;
	int seals;

	cfg.size = 130 * MIB;
	cfg.prefault = true;
	cr_assert_eq(memory_new(&cfg, 40, &m, &e), 0, "%s", e.text);
	seals = fcntl(memory_fd(m), F_GET_SEALS);
	cr_expect_eq(seals & (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
		     F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	cr_expect_eq(ftruncate(memory_fd(m), 0), -1);
	cr_assert_eq(fstat(memory_fd(m), &st), 0);
	cr_expect_eq((uint64_t)st.st_blocks * 512, cfg.size);
	memory_free(m);
}

Test(memory, does_not_prefault_more_than_the_host_has)
{
	Bulkhead__MemoryConfig cfg = BULKHEAD__MEMORY_CONFIG__INIT;
	struct memory *m;

	cfg.size = 16 * TIB;
	cfg.prefault = true;
	cr_expect_eq(memory_new(&cfg, 46, &m, &e), -ENOMEM);
	cr_expect(strstr(e.text, "the host has"));
}

Test(memory, wants_possible_huge_pages)
{
	Bulkhead__MemoryConfig cfg = BULKHEAD__MEMORY_CONFIG__INIT;
	struct memory *m;

	cfg.size = 4 * MIB;
	cfg.hugepages = true;
	cfg.hugepage_size = 3 * MIB;
	cr_expect_eq(memory_new(&cfg, 40, &m, &e), -EINVAL);
	cfg.hugepage_size = GIB;
	cr_expect_eq(memory_new(&cfg, 40, &m, &e), -EINVAL);
	/* More than any machine that runs this has reserved. */
	cfg.hugepage_size = 2 * MIB;
	cfg.size = 8 * TIB;
	cr_expect_lt(memory_new(&cfg, 46, &m, &e), 0);
	cr_expect_neq(e.text[0], '\0');
}
