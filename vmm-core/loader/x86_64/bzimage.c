/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Linux/x86 boot protocol, 2.12 and later (Documentation/arch/x86/boot.rst).
 * The file: setup sectors with a header at 0x1f1, then the protected-mode
 * kernel, which unpacks itself inside [pref_address, pref_address + init_size).
 * Its real-mode code is not used.
 */

#include <errno.h>
#include <inttypes.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/loader/x86_64/boot.h"

#define SECTOR		512u
#define ZERO_PAGE_SIZE	4096u
#define PROTOCOL_MIN	0x20cu
#define ENTRY64_OFFSET	0x200u
#define BOOT_LOADER	0xffu /* no assigned id */
#define MAX_E820	128u
#define E820_ENTRY_SIZE 20u
#define E820_TABLE	0x2d0u

/* Offsets in file and zero page */
#define HDR_START	  0x1f1u /* setup_sects */
#define HDR_SYSSIZE	  0x1f4u /* 16-byte units */
#define HDR_JUMP_OFFSET	  0x201u /* the header ends at 0x202 + this */
#define HDR_MAGIC	  0x202u
#define HDR_VERSION	  0x206u
#define HDR_LOADER_TYPE	  0x210u
#define HDR_LOADFLAGS	  0x211u
#define HDR_CODE32_START  0x214u
#define HDR_RAMDISK_IMAGE 0x218u
#define HDR_RAMDISK_SIZE  0x21cu
#define HDR_CMD_LINE_PTR  0x228u
#define HDR_INITRD_MAX	  0x22cu
#define HDR_ALIGNMENT	  0x230u
#define HDR_XLOADFLAGS	  0x236u
#define HDR_CMDLINE_SIZE  0x238u
#define HDR_SETUP_DATA	  0x250u
#define HDR_PREF_ADDRESS  0x258u
#define HDR_INIT_SIZE	  0x260u
#define HDR_MIN_END	  0x264u /* what 2.12 has */
#define HDR_MAX_END	  0x290u /* where the zero page goes on */
#define ZP_ACPI_RSDP	  0x070u
#define ZP_E820_ENTRIES	  0x1e8u
#define LOADED_HIGH	  0x01u
#define XLF_KERNEL_64	  0x01u

struct bzimage {
	uint8_t zero_page[ZERO_PAGE_SIZE]; /* the file's header in its place */
	uint64_t code_off; /* protected-mode kernel in the file */
	uint64_t code_len;
	gpa_t load;
	uint32_t init_size;
	bool entry64;
};

/* The header's extent is in its own jump instruction. */
static int bzimage_read_header(struct bzimage *z, const struct image *img,
			       struct err *e)
{
	uint8_t head[HDR_MAX_END];
	unsigned int version, end;
	int r;

	if (img->size < HDR_MIN_END)
		return err_set(e, -EINVAL,
			       "%s: bzImage of %" PRIu64 " bytes is truncated",
			       img->what, img->size);
	memset(head, 0, sizeof(head));
	r = image_read(img, head, min_u64(sizeof(head), img->size), 0, e);
	if (r < 0)
		return r;
	version = get_le16(head + HDR_VERSION);
	if (memcmp(head + HDR_MAGIC, "HdrS", 4) || version < PROTOCOL_MIN)
		return err_set(
			e, -EINVAL,
			"%s: boot protocol %u.%u is too old, 2.12 (Linux "
			"3.8) or later is needed",
			img->what, version >> 8, version & 0xff);
	end = HDR_MAGIC + head[HDR_JUMP_OFFSET];
	if (end < HDR_MIN_END || end > HDR_MAX_END)
		return err_set(
			e, -EINVAL,
			"%s: its setup header ends at 0x%x, between 0x%x "
			"and 0x%x is possible: the file is damaged",
			img->what, end, HDR_MIN_END, HDR_MAX_END);
	memcpy(z->zero_page + HDR_START, head + HDR_START, end - HDR_START);
	return 0;
}

/* Where the protected-mode kernel is in the file, and how much of it. */
static int bzimage_check_file(struct bzimage *z, const struct image *img,
			      struct err *e)
{
	const uint8_t *h = z->zero_page;
	unsigned int sects = h[HDR_START] ? h[HDR_START] : 4;
	uint64_t syssize = 16ull * get_le32(h + HDR_SYSSIZE);

	z->code_off = (sects + 1ull) * SECTOR;
	z->code_len = syssize;
	/* The last unit may be short; what follows (a signature) is not code.
	 */
	if (syssize <= ENTRY64_OFFSET ||
	    !range_ok(z->code_off, syssize - 15, img->size))
		return err_set(e, -EINVAL,
			       "%s: bzImage is truncated: its header tells of "
			       "%" PRIu64 " bytes, the file has %" PRIu64,
			       img->what, z->code_off + syssize, img->size);
	z->code_len = min_u64(z->code_len, img->size - z->code_off);
	if (!(h[HDR_LOADFLAGS] & LOADED_HIGH))
		return err_set(
			e, -EINVAL,
			"%s: is a zImage, which loads low; pass a bzImage",
			img->what);
	return 0;
}

static int bzimage_check_memory(struct bzimage *z, const struct image *img,
				struct err *e)
{
	const uint8_t *h = z->zero_page;
	uint64_t pref = get_le64(h + HDR_PREF_ADDRESS);
	uint32_t align = get_le32(h + HDR_ALIGNMENT);

	z->init_size = get_le32(h + HDR_INIT_SIZE);
	z->entry64 = get_le16(h + HDR_XLOADFLAGS) & XLF_KERNEL_64;
	z->load = pref;
	if (!is_pow2(align) || pref & (align - 1))
		return err_set(e, -EINVAL,
			       "%s: wants to lie at 0x%" PRIx64
			       " with alignment 0x%x: the header is damaged",
			       img->what, pref, align);
	/* Bounds first, so that the sum below can't overflow. */
	if (pref > LAYOUT_LOW_RAM_END ||
	    pref + z->init_size > LAYOUT_LOW_RAM_END)
		return err_set(e, -EINVAL,
			       "%s: wants to lie at 0x%" PRIx64
			       " with 0x%x bytes, which is not below 0x%llx",
			       img->what, pref, z->init_size,
			       LAYOUT_LOW_RAM_END);
	if (z->init_size < z->code_len)
		return err_set(e, -EINVAL,
			       "%s: its code of %" PRIu64
			       " bytes is larger than the %u bytes of memory "
			       "that it asks for: the header is damaged",
			       img->what, z->code_len, z->init_size);
	return 0;
}

static int bzimage_check_cmdline(const struct bzimage *z,
				 const struct boot_config *cfg, struct err *e)
{
	uint32_t max = get_le32(z->zero_page + HDR_CMDLINE_SIZE);

	if (cfg->cmdline_len <= max)
		return 0;
	return err_set(
		e, -E2BIG,
		"the kernel command line has %zu bytes, this kernel reads "
		"only %u of them: shorten it",
		cfg->cmdline_len, max);
}

/* Highest address of the initramfs' last byte -> exclusive end. */
static gpa_t bzimage_initramfs_end(const struct bzimage *z)
{
	return get_le32(z->zero_page + HDR_INITRD_MAX) + 1ull;
}

static void bzimage_put_e820(uint8_t *zp, const struct memmap *map)
{
	for (unsigned int i = 0; i < map->num; i++) {
		uint8_t *p = zp + E820_TABLE + i * E820_ENTRY_SIZE;

		put_le64(p, map->entries[i].gpa);
		put_le64(p + 8, map->entries[i].size);
		put_le32(p + 16, map->entries[i].type);
	}
	zp[ZP_E820_ENTRIES] = (uint8_t)map->num;
}
_Static_assert(MEMMAP_MAX <= MAX_E820, "the map fits the zero page");

static void bzimage_fill_zero_page(struct bzimage *z, const struct boot *b)
{
	uint8_t *zp = z->zero_page;

	zp[HDR_LOADER_TYPE] = BOOT_LOADER;
	put_le32(zp + HDR_CODE32_START, (uint32_t)z->load);
	put_le32(zp + HDR_CMD_LINE_PTR, LAYOUT_CMDLINE);
	put_le32(zp + HDR_RAMDISK_IMAGE, 0);
	put_le32(zp + HDR_RAMDISK_SIZE, 0);
	put_le64(zp + HDR_SETUP_DATA, 0); /* a list of ours: none */
	if (b->cfg->initramfs) {
		/* Below 3 GiB, so the high halves stay 0. */
		put_le32(zp + HDR_RAMDISK_IMAGE, (uint32_t)b->initramfs);
		put_le32(zp + HDR_RAMDISK_SIZE,
			 (uint32_t)b->cfg->initramfs->size);
	}
	put_le64(zp + ZP_ACPI_RSDP, LAYOUT_RSDP);
	bzimage_put_e820(zp, &b->map);
}

static void bzimage_set_entry(const struct bzimage *z, struct boot_entry *entry)
{
	entry->long_mode = z->entry64;
	entry->rip = z->load + (z->entry64 ? ENTRY64_OFFSET : 0);
	entry->rsi = LAYOUT_ZERO_PAGE;
	entry->format = z->entry64 ? "bzimage-64" : "bzimage-32";
}

int bzimage_load(struct boot *b, struct err *e)
{
	const struct image *img = b->cfg->kernel;
	struct bzimage z = {0};
	int r = bzimage_read_header(&z, img, e);

	if (r == 0)
		r = bzimage_check_file(&z, img, e);
	if (r == 0)
		r = bzimage_check_memory(&z, img, e);
	if (r == 0)
		r = bzimage_check_cmdline(&z, b->cfg, e);
	if (r == 0)
		r = placement_claim(&b->place, z.load, z.init_size, img->what,
				    e);
	if (r == 0)
		r = image_load(img, b->cfg->mem, z.load, z.code_len, z.code_off,
			       e);
	if (r == 0)
		r = boot_load_initramfs(b, bzimage_initramfs_end(&z), e);
	if (r < 0)
		return r;
	bzimage_fill_zero_page(&z, b);
	bzimage_set_entry(&z, &b->entry);
	return placement_write(&b->place, LAYOUT_ZERO_PAGE, z.zero_page,
			       sizeof(z.zero_page), e);
}
