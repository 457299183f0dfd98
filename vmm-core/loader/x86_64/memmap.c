/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/x86_64/memmap.h"

#include "common/base/err.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

static void memmap_add(struct memmap *m, gpa_t start, gpa_t end, uint32_t type)
{
	if (start >= end)
		return;
	if (m->num && m->entries[m->num - 1].type == type &&
	    m->entries[m->num - 1].gpa + m->entries[m->num - 1].size == start) {
		m->entries[m->num - 1].size += end - start;
		return;
	}
	check(m->num < MEMMAP_MAX); /* 64 regions give at most 66 entries */
	m->entries[m->num].gpa = start;
	m->entries[m->num].size = end - start;
	m->entries[m->num].type = type;
	m->num++;
}

void memmap_build(struct memmap *ret, const struct gmem *mem)
{
	bool ecam_done = false;

	ret->num = 0;
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		gpa_t start = mem->regions[i].gpa;
		gpa_t end = start + mem->regions[i].size;

		if (!ecam_done && start >= LAYOUT_ECAM) {
			memmap_add(ret, LAYOUT_ECAM,
				   LAYOUT_ECAM + LAYOUT_ECAM_SIZE,
				   MEMMAP_RESERVED);
			ecam_done = true;
		}
		memmap_add(ret, start, min_u64(end, LAYOUT_EBDA), MEMMAP_RAM);
		memmap_add(ret, max_u64(start, LAYOUT_HIGH_RAM), end,
			   MEMMAP_RAM);
	}
	if (!ecam_done)
		memmap_add(ret, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE,
			   MEMMAP_RESERVED);
}

gpa_t memmap_low_end(const struct memmap *m)
{
	for (unsigned int i = 0; i < m->num; i++) {
		if (m->entries[i].gpa == LAYOUT_HIGH_RAM)
			return m->entries[i].gpa + m->entries[i].size;
	}
	return LAYOUT_HIGH_RAM;
}
