/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/x86_64/boot.h"

#include <errno.h>
#include <inttypes.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

#define BDA_EBDA_SEGMENT 0x40e /* real-mode segment of the EBDA */
#define PAGE_SIZE	 4096u
#define PAGE_PRESENT	 0x1u
#define PAGE_WRITE	 0x2u
#define PAGE_LARGE	 0x80u

/* Flat segments; the base and limit of a TSS that nobody uses. */
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_DATA   0x00cf93000000ffffull
#define GDT_TSS	   0x00008b0000000067ull

static int boot_check_memory(const struct boot_config *cfg, struct err *e)
{
	const struct gmem *mem = cfg->mem;

	if (mem->num_regions && mem->regions[0].gpa == 0 &&
	    mem->regions[0].size >= 2 * LAYOUT_HIGH_RAM)
		return 0;
	return err_set(e, -EINVAL,
		       "guest memory must start at address 0 and have 2 MiB in "
		       "one piece there");
}

static int boot_write_tables(struct boot *b, struct err *e)
{
	/* Built privately: other processes can write to guest memory. */
	static uint8_t tables[LAYOUT_ACPI_END - LAYOUT_RSDP];
	uint8_t ebda[2];
	int64_t len = acpi_build(&b->cfg->acpi, tables, sizeof(tables));
	int r;

	if (len < 0)
		return err_set(e, (int)len,
			       "ACPI: the tables don't fit into their %zu KiB",
			       sizeof(tables) / (size_t)KIB);
	r = placement_write(&b->place, LAYOUT_RSDP, tables, (uint64_t)len, e);
	if (r < 0)
		return r;
	/* Whoever searches the RSDP starts at the EBDA (5.2.5.1). */
	put_le16(ebda, LAYOUT_EBDA >> 4);
	r = placement_write(&b->place, BDA_EBDA_SEGMENT, ebda, sizeof(ebda), e);
	if (r < 0)
		return r;
	r = smbios_build(&b->cfg->smbios, LAYOUT_SMBIOS, tables,
			 LAYOUT_HIGH_RAM - LAYOUT_SMBIOS, e);
	if (r < 0)
		return r;
	return placement_write(&b->place, LAYOUT_SMBIOS, tables, (uint64_t)r,
			       e);
}

static int boot_write_cmdline(struct boot *b, struct err *e)
{
	size_t len = b->cfg->cmdline_len;

	if (len >= LAYOUT_CMDLINE_MAX)
		return err_set(e, -E2BIG,
			       "the kernel command line has %zu bytes, at most "
			       "%u are possible",
			       len, LAYOUT_CMDLINE_MAX - 1);
	if (!len)
		return 0; /* memory is zero: "" */
	return placement_write(&b->place, LAYOUT_CMDLINE, b->cfg->cmdline, len,
			       e);
}

/* Null, code, data, TSS; in long mode a gap first, and a TSS of 16 bytes. */
static int boot_write_gdt(struct boot *b, struct err *e)
{
	uint8_t gdt[48] = {0};

	if (b->entry.long_mode) {
		put_le64(gdt + LAYOUT_SEL_CODE64, GDT_CODE64);
		put_le64(gdt + LAYOUT_SEL_DATA64, GDT_DATA);
		put_le64(gdt + LAYOUT_SEL_DATA64 + 8, GDT_TSS);
	} else {
		put_le64(gdt + LAYOUT_SEL_CODE32, GDT_CODE32);
		put_le64(gdt + LAYOUT_SEL_DATA32, GDT_DATA);
		put_le64(gdt + LAYOUT_SEL_DATA32 + 8, GDT_TSS);
	}
	b->entry.gdt_base = LAYOUT_GDT;
	b->entry.gdt_limit = sizeof(gdt) - 1;
	return placement_write(&b->place, LAYOUT_GDT, gdt, sizeof(gdt), e);
}

/* The first 4 GiB, identity mapped in 2 MiB pages. */
static int boot_write_page_tables(struct boot *b, struct err *e)
{
	static uint8_t pages[6 * PAGE_SIZE];
	uint8_t *pml4 = pages, *pdpt = pages + PAGE_SIZE;
	uint8_t *pd = pages + 2 * PAGE_SIZE;
	unsigned int flags = PAGE_PRESENT | PAGE_WRITE;

	if (!b->entry.long_mode)
		return 0;
	put_le64(pml4, LAYOUT_PDPT | flags);
	for (uint64_t i = 0; i < 4; i++)
		put_le64(pdpt + 8 * i, (LAYOUT_PD + i * PAGE_SIZE) | flags);
	for (uint64_t i = 0; i < 4 * 512; i++)
		put_le64(pd + 8 * i, i << 21 | flags | PAGE_LARGE);
	b->entry.cr3 = LAYOUT_PML4;
	return placement_write(&b->place, LAYOUT_PML4, pages, sizeof(pages), e);
}

int boot_load_initramfs(struct boot *b, gpa_t end, struct err *e)
{
	const struct image *img = b->cfg->initramfs;
	int r;

	if (!img)
		return 0;
	if (!img->size)
		return err_set(e, -EINVAL, "%s: is empty", img->what);
	end = min_u64(end, memmap_low_end(&b->map));
	r = placement_claim_high(&b->place, img->size, PAGE_SIZE, end,
				 img->what, &b->initramfs, e);
	if (r < 0)
		return r;
	return image_load(img, b->cfg->mem, b->initramfs, img->size, 0, e);
}

static int boot_refuse(const struct image *img, enum image_kind kind,
		       struct err *e)
{
	const char *hint = image_kind_hint(kind);

	return err_set(e, -ENOEXEC,
		       "%s: is %s%s%s; pass a Linux bzImage for x86-64 "
		       "(vmlinuz) or an uncompressed vmlinux with a PVH entry "
		       "note (CONFIG_PVH=y)",
		       img->what, image_kind_text(kind), *hint ? ": " : "",
		       hint);
}

static int boot_load_kernel(struct boot *b, struct err *e)
{
	enum image_kind kind;
	int r = image_detect(b->cfg->kernel, &kind, e);

	if (r < 0)
		return r;
	switch (kind) {
	case IMAGE_ELF:
		return pvh_load(b, e);
	case IMAGE_BZIMAGE:
		return bzimage_load(b, e);
	default:
		return boot_refuse(b->cfg->kernel, kind, e);
	}
}

int boot_load(const struct boot_config *cfg, struct boot_entry *ret,
	      struct err *e)
{
	struct boot b = {.cfg = cfg, .entry.rsp = LAYOUT_STACK};
	int r = boot_check_memory(cfg, e);

	if (r < 0)
		return r;
	memmap_build(&b.map, cfg->mem);
	placement_init(&b.place, cfg->mem);
	r = placement_claim(&b.place, 0, LAYOUT_HIGH_RAM,
			    "boot data and firmware tables in the first MiB",
			    e);
	if (r == 0)
		r = boot_write_cmdline(&b, e);
	if (r == 0)
		r = boot_load_kernel(&b, e);
	if (r == 0)
		r = boot_write_gdt(&b, e);
	if (r == 0)
		r = boot_write_page_tables(&b, e);
	if (r == 0)
		r = boot_write_tables(&b, e);
	if (r == 0)
		*ret = b.entry;
	return r;
}
