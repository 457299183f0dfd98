/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_X86_64_BOOT_H
#define VMM_CORE_LOADER_X86_64_BOOT_H

/*
 * Fill an x86-64 guest's memory so that its first vCPU can start. The first
 * MiB is ours (tables, command line; layout.h), the kernel lies where its file
 * says, the initramfs as high as possible below 3 GiB.
 */

#include "vmm-core/loader/image.h"
#include "vmm-core/loader/placement.h"
#include "vmm-core/loader/smbios.h"
#include "vmm-core/loader/x86_64/memmap.h"
#include "vmm-core/loader/x86_64/tables.h"

struct boot_config {
	const struct gmem *mem; /* reads as zero */
	const struct image *kernel;
	const struct image *initramfs; /* NULL = none */
	const void *cmdline;	       /* no NUL inside or at the end */
	size_t cmdline_len;	       /* < LAYOUT_CMDLINE_MAX */
	struct acpi_config acpi;
	struct smbios_config smbios;
};

/* Registers of the first vCPU; the rest is 0 or as at reset. */
struct boot_entry {
	bool long_mode; /* else 32-bit protected mode, paging off */
	uint64_t rip, rsp, rbx, rsi, cr3;
	uint64_t gdt_base;
	uint32_t gdt_limit;
	const char *format; /* "vmlinux-pvh", "bzimage-64", "bzimage-32" */
};

/* What the formats' files share while loading. */
struct boot {
	const struct boot_config *cfg;
	struct placement place;
	struct memmap map;
	gpa_t initramfs; /* where it was put */
	struct boot_entry entry;
};

int boot_load(const struct boot_config *cfg, struct boot_entry *ret,
	      struct err *e);

/** boot_load_initramfs() - As high as possible, its last byte below @end */
int boot_load_initramfs(struct boot *b, gpa_t end, struct err *e);

/** bzimage_load() - Kernel, initramfs, zero page, entry state */
int bzimage_load(struct boot *b, struct err *e);

/** pvh_load() - ELF kernel, initramfs, start info, entry state */
int pvh_load(struct boot *b, struct err *e);

#endif
