/* SPDX-License-Identifier: Apache-2.0 */

/* Xen's PVH direct boot: an ELF file, its note, and a start info structure. */

#include <elf.h>
#include <errno.h>
#include <inttypes.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/loader/elf.h"
#include "vmm-core/loader/x86_64/boot.h"

#define PVH_MAGIC 0x336ec578u

struct pvh_start_info {
	le32 magic;
	le32 version;
	le32 flags;
	le32 nr_modules;
	le64 modlist_paddr;
	le64 cmdline_paddr;
	le64 rsdp_paddr;
	le64 memmap_paddr;
	le32 memmap_entries;
	le32 reserved;
};

struct pvh_module {
	le64 paddr;
	le64 size;
	le64 cmdline_paddr;
	le64 reserved;
};

struct pvh_memmap {
	le64 addr;
	le64 size;
	le32 type;
	le32 reserved;
};

static int pvh_write_memmap(struct boot *b, struct err *e)
{
	struct pvh_memmap out[MEMMAP_MAX] = {0};

	for (unsigned int i = 0; i < b->map.num; i++) {
		out[i].addr = htole64(b->map.entries[i].gpa);
		out[i].size = htole64(b->map.entries[i].size);
		out[i].type = htole32(b->map.entries[i].type);
	}
	return placement_write(&b->place, LAYOUT_PVH_MEMMAP, out,
			       b->map.num * sizeof(out[0]), e);
}

static int pvh_write_start_info(struct boot *b, struct err *e)
{
	struct pvh_start_info info = {
		.magic = htole32(PVH_MAGIC),
		.version = htole32(1),
		.cmdline_paddr = htole64(LAYOUT_CMDLINE),
		.rsdp_paddr = htole64(LAYOUT_RSDP),
		.memmap_paddr = htole64(LAYOUT_PVH_MEMMAP),
		.memmap_entries = htole32(b->map.num),
	};
	struct pvh_module module = {0};
	int r;

	if (b->cfg->initramfs) {
		module.paddr = htole64(b->initramfs);
		module.size = htole64(b->cfg->initramfs->size);
		info.nr_modules = htole32(1);
		info.modlist_paddr = htole64(LAYOUT_PVH_MODLIST);
		r = placement_write(&b->place, LAYOUT_PVH_MODLIST, &module,
				    sizeof(module), e);
		if (r < 0)
			return r;
	}
	return placement_write(&b->place, LAYOUT_PVH_START, &info, sizeof(info),
			       e);
}

int pvh_load(struct boot *b, struct err *e)
{
	const struct image *img = b->cfg->kernel;
	struct elf_info elf;
	int r = elf_load(img, EM_X86_64, &b->place, &elf, e);

	if (r < 0)
		return r;
	if (!elf.has_pvh)
		return err_set(
			e, -ENOEXEC,
			"%s: is an ELF file without a PVH entry note: "
			"build the kernel with CONFIG_PVH=y, or pass its "
			"bzImage (vmlinuz)",
			img->what);
	/* The entry is 32-bit code with paging off. */
	if (elf.pvh_entry >= LAYOUT_4G || elf.end > LAYOUT_LOW_RAM_END)
		return err_set(e, -EINVAL,
			       "%s: PVH kernel from 0x%" PRIx64 " to 0x%" PRIx64
			       " (entry 0x%" PRIx64
			       "): it must lie below 0x%llx",
			       img->what, elf.start, elf.end, elf.pvh_entry,
			       LAYOUT_LOW_RAM_END);
	r = boot_load_initramfs(b, LAYOUT_LOW_RAM_END, e);
	if (r == 0)
		r = pvh_write_memmap(b, e);
	if (r == 0)
		r = pvh_write_start_info(b, e);
	if (r < 0)
		return r;
	b->entry.rip = elf.pvh_entry;
	b->entry.rbx = LAYOUT_PVH_START;
	b->entry.format = "vmlinux-pvh";
	return 0;
}
