/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/placement.h"

#include <errno.h>
#include <inttypes.h>

#include "common/base/num.h"

void placement_init(struct placement *p, const struct gmem *mem)
{
	*p = (struct placement){.mem = mem};
}

/* End of the run of adjacent regions that holds @gpa; @gpa if none does. */
static gpa_t placement_run_end(const struct placement *p, gpa_t gpa)
{
	gpa_t end = gpa;

	for (unsigned int i = 0; i < p->mem->num_regions; i++) {
		const struct gmem_region *r = &p->mem->regions[i];

		if (end >= r->gpa && end - r->gpa < r->size)
			end = r->gpa + r->size;
	}
	return end;
}

/* In MiB, rounded up, for sentences. */
static uint64_t placement_mib(uint64_t len)
{
	return len / MIB + (len % MIB != 0);
}

static uint64_t placement_ram_size(const struct placement *p)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < p->mem->num_regions; i++)
		sum += p->mem->regions[i].size;
	return sum;
}

/* Index of a claim that shares a byte with the range, or -1. */
static int placement_find(const struct placement *p, gpa_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < p->num_claims; i++) {
		if (ranges_overlap(gpa, len, p->claims[i].gpa,
				   p->claims[i].len))
			return (int)i;
	}
	return -1;
}

static int placement_outside(const struct placement *p, gpa_t gpa, uint64_t len,
			     const char *what, struct err *e)
{
	uint64_t end;

	if (!add_ok(gpa, len, &end))
		return err_set(e, -ENOMEM,
			       "%s: 0x%" PRIx64
			       " bytes at guest address 0x%" PRIx64
			       " reach past the end of the address space",
			       what, len, gpa);
	return err_set(e, -ENOMEM,
		       "%s: needs %" PRIu64
		       " MiB of guest memory from address 0x%" PRIx64
		       " on, so up to %" PRIu64 " MiB, which the VM's %" PRIu64
		       " MiB do not cover: give it more with --memory size=",
		       what, placement_mib(len), gpa, placement_mib(end),
		       placement_mib(placement_ram_size(p)));
}

int placement_claim(struct placement *p, gpa_t gpa, uint64_t len,
		    const char *what, struct err *e)
{
	int i;

	if (!len)
		return 0;
	if (!range_ok(0, len, placement_run_end(p, gpa) - gpa))
		return placement_outside(p, gpa, len, what, e);
	i = placement_find(p, gpa, len);
	if (i >= 0)
		return err_set(e, -EEXIST,
			       "%s: guest memory from 0x%" PRIx64
			       " to 0x%" PRIx64
			       " overlaps the %s at 0x%" PRIx64,
			       what, gpa, gpa + len, p->claims[i].what,
			       p->claims[i].gpa);
	if (p->num_claims == PLACEMENT_MAX)
		return err_set(e, -E2BIG, "%s: too many pieces to place", what);
	p->claims[p->num_claims].gpa = gpa;
	p->claims[p->num_claims].len = len;
	p->claims[p->num_claims].what = what;
	p->num_claims++;
	return 0;
}

/* The highest free aligned place in [start, end); false if there is none. */
static bool placement_search(const struct placement *p, uint64_t len,
			     uint64_t align, gpa_t start, gpa_t end, gpa_t *ret)
{
	/* Each round passes a claim, going down: at most num_claims rounds. */
	while (end > start && end - start >= len) {
		gpa_t gpa = align_down(end - len, align);
		int i;

		if (gpa < start)
			return false;
		i = placement_find(p, gpa, len);
		if (i < 0) {
			*ret = gpa;
			return true;
		}
		end = p->claims[i].gpa;
	}
	return false;
}

int placement_claim_high(struct placement *p, uint64_t len, uint64_t align,
			 gpa_t end, const char *what, gpa_t *ret, struct err *e)
{
	for (unsigned int i = p->mem->num_regions; i-- > 0;) {
		const struct gmem_region *r = &p->mem->regions[i];
		gpa_t run_end = placement_run_end(p, r->gpa);
		gpa_t gpa;
		int err;

		if (!placement_search(p, len, align, r->gpa,
				      min_u64(end, run_end), &gpa))
			continue;
		err = placement_claim(p, gpa, len, what, e);
		if (!err)
			*ret = gpa;
		return err;
	}
	return err_set(e, -ENOMEM,
		       "%s: no room for its %" PRIu64
		       " MiB beside the kernel below guest address 0x%" PRIx64
		       " (the VM has %" PRIu64
		       " MiB): give it more with --memory size=",
		       what, placement_mib(len), end,
		       placement_mib(placement_ram_size(p)));
}

int placement_write(struct placement *p, gpa_t gpa, const void *src,
		    uint64_t len, struct err *e)
{
	int r = gmem_write(p->mem, gpa, src, len);

	if (r < 0)
		return err_set(e, r,
			       "can't write %" PRIu64
			       " bytes at guest address 0x%" PRIx64
			       ": it is not guest memory",
			       len, gpa);
	return 0;
}
