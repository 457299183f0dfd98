/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_ELF_H
#define VMM_CORE_LOADER_ELF_H

/*
 * Executable ELF64 images, loaded by physical address. Knows no architecture:
 * the caller names the machine. Limits: 64 program headers, 256 notes.
 */

#include <stdbool.h>

#include "vmm-core/loader/image.h"
#include "vmm-core/loader/placement.h"

struct elf_info {
	gpa_t entry;	 /* e_entry */
	bool has_pvh;	 /* note "Xen", type 18 */
	gpa_t pvh_entry; /* its value; lies in a loaded segment */
	gpa_t start;	 /* lowest loaded byte */
	gpa_t end;	 /* one past the highest, BSS included */
};

/**
 * elf_load() - Check an image, claim and fill its PT_LOAD segments
 * @machine: EM_X86_64, ...
 * @place:   Guest memory that reads as zero (BSS is not written)
 *
 * Return: 0; -EINVAL malformed or another machine's; -ENOMEM, -EEXIST do not
 *         fit (placement_claim()); errors of reading
 */
int elf_load(const struct image *img, uint16_t machine, struct placement *place,
	     struct elf_info *ret, struct err *e);

#endif
