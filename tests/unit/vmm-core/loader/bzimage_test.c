/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "tests/unit/vmm-core/loader/fake.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/loader/x86_64/boot.h"

static struct fake_bzimage bz;
static struct gmem mem;
static struct boot_config cfg;
static struct boot_entry entry;
static struct image kernel, initramfs;
static struct fake_bytes kernel_bytes, initramfs_bytes;
static struct err e;
static uint8_t *ram;

static void setup(void)
{
	fake_bzimage_init(&bz);
	fake_mem(&mem, 64 * MIB);
	ram = mem.regions[0].hva;
	cfg = fake_config(&mem, &kernel);
}

static void teardown(void)
{
	fake_mem_free(&mem);
}

static int load(size_t size)
{
	kernel = fake_image(&kernel_bytes, "kernel", &bz, size);
	return boot_load(&cfg, &entry, &e);
}

TestSuite(bzimage_load, .init = setup, .fini = teardown);

Test(bzimage_load, enters_in_long_mode)
{
	const uint8_t *zp = ram + LAYOUT_ZERO_PAGE;

	cfg.cmdline = "console=ttyS0";
	cfg.cmdline_len = 13;
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert(entry.long_mode);
	cr_assert_eq(entry.rip, FAKE_BZ_GPA + 0x200);
	cr_assert_eq(entry.rsi, LAYOUT_ZERO_PAGE);
	cr_assert_eq(entry.cr3, LAYOUT_PML4);
	cr_assert_str_eq(entry.format, "bzimage-64");
	cr_assert_arr_eq(ram + FAKE_BZ_GPA, bz.code, sizeof(bz.code));
	cr_assert_str_eq((char *)ram + LAYOUT_CMDLINE, "console=ttyS0");

	cr_assert_arr_eq(zp + 0x202, "HdrS", 4);
	cr_assert_eq(zp[0x210], 0xff);
	cr_assert_eq(get_le32(zp + 0x214), FAKE_BZ_GPA);
	cr_assert_eq(get_le32(zp + 0x218), 0);
	cr_assert_eq(get_le32(zp + 0x228), LAYOUT_CMDLINE);
	cr_assert_eq(get_le64(zp + 0x070), LAYOUT_RSDP);
	/* 640 KiB, 1 to 64 MiB, the reserved ECAM */
	cr_assert_eq(zp[0x1e8], 3);
	cr_assert_eq(get_le64(zp + 0x2d0 + 20), MIB);
	cr_assert_eq(get_le64(zp + 0x2d0 + 28), 63 * MIB);
	cr_assert_eq(get_le32(zp + 0x2d0 + 36), 1);
	cr_assert_eq(get_le64(zp + 0x2d0 + 40), LAYOUT_ECAM);
	cr_assert_eq(get_le32(zp + 0x2d0 + 56), 2);
}

Test(bzimage_load, maps_4_gib_one_to_one)
{
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert_eq(get_le64(ram + LAYOUT_PML4), LAYOUT_PDPT | 3);
	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(get_le64(ram + LAYOUT_PDPT + 8 * i),
			     (LAYOUT_PD + i * 4096) | 3);
	for (uint64_t i = 0; i < 2048; i++)
		cr_assert_eq(get_le64(ram + LAYOUT_PD + 8 * i), i << 21 | 0x83);
	/* the descriptors of the selectors that the core loads */
	cr_assert_eq(get_le64(ram + entry.gdt_base + LAYOUT_SEL_CODE64),
		     0x00af9b000000ffff);
	cr_assert_eq(get_le64(ram + entry.gdt_base + LAYOUT_SEL_DATA64),
		     0x00cf93000000ffff);
}

Test(bzimage_load, falls_back_to_32_bit)
{
	put_le16(bz.setup + 0x236, 0);
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert(!entry.long_mode);
	cr_assert_eq(entry.rip, FAKE_BZ_GPA);
	cr_assert_eq(entry.cr3, 0);
	cr_assert_str_eq(entry.format, "bzimage-32");
	cr_assert_eq(get_le64(ram + entry.gdt_base + LAYOUT_SEL_CODE32),
		     0x00cf9b000000ffff);
}

Test(bzimage_load, puts_the_initramfs_high)
{
	static uint8_t data[10000];
	const uint8_t *zp = ram + LAYOUT_ZERO_PAGE;

	memset(data, 0x77, sizeof(data));
	initramfs =
		fake_image(&initramfs_bytes, "initramfs", data, sizeof(data));
	cfg.initramfs = &initramfs;
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert_eq(get_le32(zp + 0x218), 64 * MIB - 3 * 4096);
	cr_assert_eq(get_le32(zp + 0x21c), sizeof(data));
	cr_assert_arr_eq(ram + 64 * MIB - 3 * 4096, data, sizeof(data));

	/* the kernel's own limit, inclusive */
	put_le32(bz.setup + 0x22c, 0x2ffffff);
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert_eq(get_le32(zp + 0x218), 48 * MIB - 3 * 4096);

	/* below the kernel when there is no room above */
	put_le32(bz.setup + 0x22c, FAKE_BZ_GPA + FAKE_BZ_INIT_SIZE);
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert_eq(get_le32(zp + 0x218), FAKE_BZ_GPA - 3 * 4096);

	put_le32(bz.setup + 0x22c, MIB);
	cr_assert_eq(load(sizeof(bz)), -ENOMEM);
	cr_assert(strstr(e.text, "initramfs"));

	initramfs.size = 0;
	cr_assert_eq(load(sizeof(bz)), -EINVAL);
	cr_assert(strstr(e.text, "empty"));
}

Test(bzimage_load, refuses_truncated_files)
{
	for (size_t size = 0x206; size < sizeof(bz) - 15; size += 61)
		cr_assert_eq(load(size), -EINVAL, "%zu bytes", size);
	/* a signature behind the code is not loaded */
	put_le32(bz.setup + 0x1f4, (FAKE_CODE_SIZE - 16) / 16);
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cr_assert_eq(ram[FAKE_BZ_GPA + FAKE_CODE_SIZE - 17], 0xc5);
}

Test(bzimage_load, says_how_much_memory_it_needs)
{
	put_le32(bz.setup + 0x260, 49 * MIB);
	cr_assert_eq(load(sizeof(bz)), -ENOMEM);
	cr_assert(strstr(e.text, "49 MiB") && strstr(e.text, "64 MiB"), "%s",
		  e.text);
}

Test(bzimage_load, refuses_a_longer_command_line)
{
	static char text[3000];

	memset(text, 'a', sizeof(text));
	cfg.cmdline = text;
	cfg.cmdline_len = 2047;
	cr_assert_eq(load(sizeof(bz)), 0, "%s", e.text);
	cfg.cmdline_len = 2048;
	cr_assert_eq(load(sizeof(bz)), -E2BIG);
	cr_assert(strstr(e.text, "2047"));
}

Test(bzimage_load, refuses_damaged_headers)
{
	static const struct {
		unsigned int off, len;
		uint64_t value;
		int want;
	} cases[] = {
		{0x206, 2, 0x20b, -EINVAL},	 /* old protocol */
		{0x201, 1, 0x10, -EINVAL},	 /* short header */
		{0x201, 1, 0xff, -EINVAL},	 /* long header */
		{0x211, 1, 0, -EINVAL},		 /* zImage */
		{0x1f4, 4, 0, -EINVAL},		 /* no code */
		{0x1f4, 4, UINT32_MAX, -EINVAL}, /* more than the file */
		{0x1f1, 1, 255, -EINVAL},	 /* setup sectors */
		{0x230, 4, 0, -EINVAL},		 /* alignment */
		{0x230, 4, 3, -EINVAL},
		{0x258, 8, 0x1000001, -EINVAL}, /* not aligned */
		{0x258, 8, 0xffffffffffe00000, -EINVAL},
		{0x258, 8, 0xc0000000, -EINVAL},
		{0x258, 8, 0, -EEXIST}, /* over our tables */
		{0x260, 4, 0, -EINVAL}, /* smaller than the code */
		{0x260, 4, UINT32_MAX, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t value[8];

		fake_bzimage_init(&bz);
		put_le64(value, cases[i].value);
		memcpy(bz.setup + cases[i].off, value, cases[i].len);
		e.text[0] = '\0';
		cr_expect_eq(load(sizeof(bz)), cases[i].want, "case %zu: %s", i,
			     e.text);
		cr_expect(e.text[0]);
	}
}
