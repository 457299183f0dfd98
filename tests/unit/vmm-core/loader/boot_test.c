/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/x86_64/boot.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "tests/unit/vmm-core/loader/fake.h"
#include "vmm-core/arch/x86_64/layout.h"

static struct gmem mem;
static struct boot_config cfg;
static struct boot_entry entry;
static struct image kernel;
static struct fake_bytes bytes;
static struct err e;
static uint8_t *ram;

static void setup(void)
{
	fake_mem(&mem, 16 * MIB);
	ram = mem.regions[0].hva;
	cfg = fake_config(&mem, &kernel);
}

static void teardown(void)
{
	fake_mem_free(&mem);
}

TestSuite(boot_load, .init = setup, .fini = teardown);

Test(boot_load, starts_a_pvh_kernel)
{
	static uint8_t data[5000] = "module";
	const uint8_t *info = ram + LAYOUT_PVH_START;
	const uint8_t *map = ram + LAYOUT_PVH_MEMMAP;
	struct fake_bytes ramdisk_bytes;
	struct image ramdisk =
		fake_image(&ramdisk_bytes, "initramfs", data, sizeof(data));
	struct fake_elf elf;

	fake_elf_init(&elf);
	kernel = fake_image(&bytes, "kernel", &elf, sizeof(elf));
	cfg.initramfs = &ramdisk;
	cfg.cmdline = "quiet";
	cfg.cmdline_len = 5;
	cr_assert_eq(boot_load(&cfg, &entry, &e), 0, "%s", e.text);
	cr_assert(!entry.long_mode);
	cr_assert_eq(entry.rip, FAKE_ELF_GPA + 16);
	cr_assert_eq(entry.rbx, LAYOUT_PVH_START);
	cr_assert_str_eq(entry.format, "vmlinux-pvh");

	cr_assert_eq(get_le32(info), 0x336ec578);
	cr_assert_eq(get_le32(info + 4), 1);
	cr_assert_eq(get_le32(info + 0xc), 1);
	cr_assert_eq(get_le64(info + 0x10), LAYOUT_PVH_MODLIST);
	cr_assert_eq(get_le64(info + 0x18), LAYOUT_CMDLINE);
	cr_assert_eq(get_le64(info + 0x20), LAYOUT_RSDP);
	cr_assert_eq(get_le64(info + 0x28), LAYOUT_PVH_MEMMAP);
	cr_assert_eq(get_le32(info + 0x30), 3);
	cr_assert_eq(get_le64(ram + LAYOUT_PVH_MODLIST), 16 * MIB - 8192);
	cr_assert_eq(get_le64(ram + LAYOUT_PVH_MODLIST + 8), sizeof(data));
	cr_assert_arr_eq(ram + 16 * MIB - 8192, data, sizeof(data));
	cr_assert_eq(get_le64(map), 0);
	cr_assert_eq(get_le64(map + 8), LAYOUT_EBDA);
	cr_assert_eq(get_le32(map + 16), 1);
	cr_assert_str_eq((char *)ram + LAYOUT_CMDLINE, "quiet");
	cr_assert_arr_eq(ram + LAYOUT_RSDP, "RSD PTR ", 8);
	cr_assert_arr_eq(ram + LAYOUT_SMBIOS, "_SM3_", 5);
	cr_assert_eq(get_le16(ram + 0x40e), 0xa000);
}

Test(boot_load, refuses_an_elf_without_note)
{
	struct fake_elf elf;

	fake_elf_init(&elf);
	elf.pvh.nh.n_type = 1;
	kernel = fake_image(&bytes, "kernel", &elf, sizeof(elf));
	cr_assert_eq(boot_load(&cfg, &entry, &e), -ENOEXEC);
	cr_assert(strstr(e.text, "CONFIG_PVH"));
}

Test(boot_load, refuses_a_kernel_over_our_tables)
{
	struct fake_elf elf;

	fake_elf_init(&elf);
	elf.load.p_paddr = 0x9f000;
	elf.pvh.entry = 0x9f000;
	kernel = fake_image(&bytes, "kernel", &elf, sizeof(elf));
	cr_assert_eq(boot_load(&cfg, &entry, &e), -EEXIST);
	cr_assert(strstr(e.text, "boot data"));
}

Test(boot_load, says_what_a_file_is)
{
	static const struct {
		const char *magic;
		size_t len, off;
		const char *words;
	} cases[] = {
		{"\x1f\x8b", 2, 0, "unpack it"},
		{"\x28\xb5\x2f\xfd", 4, 0, "compressed"},
		{"ARM\x64", 4, 0x38, "AArch64"},
		{"MZ", 2, 0, "EFI program"},
		{"_FVH", 4, 0x28, "firmware"},
		{"070701", 6, 0, "--initramfs"},
		{"QFI\xfb", 4, 0, "--disk"},
		{"hello", 5, 0, "no known format"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t data[1024] = {0};

		memcpy(data + cases[i].off, cases[i].magic, cases[i].len);
		kernel = fake_image(&bytes, "kernel", data, sizeof(data));
		cr_expect_eq(boot_load(&cfg, &entry, &e), -ENOEXEC);
		cr_expect(strstr(e.text, cases[i].words), "%s", e.text);
		cr_expect(strstr(e.text, "bzImage"), "%s", e.text);
	}
	kernel = fake_image(&bytes, "kernel", "", 0);
	cr_expect_eq(boot_load(&cfg, &entry, &e), -ENOEXEC);
	cr_expect(strstr(e.text, "empty"));
}

Test(boot_load, takes_64_kib_of_command_line_and_no_more)
{
	static char text[LAYOUT_CMDLINE_MAX];
	struct fake_elf elf;

	memset(text, 'x', sizeof(text));
	fake_elf_init(&elf);
	kernel = fake_image(&bytes, "kernel", &elf, sizeof(elf));
	cfg.cmdline = text;
	cfg.cmdline_len = LAYOUT_CMDLINE_MAX - 1;
	cr_assert_eq(boot_load(&cfg, &entry, &e), 0, "%s", e.text);
	cr_assert_eq(strlen((char *)ram + LAYOUT_CMDLINE), 0xffff);
	cfg.cmdline_len = LAYOUT_CMDLINE_MAX;
	cr_assert_eq(boot_load(&cfg, &entry, &e), -E2BIG);
}

Test(boot_load, wants_memory_at_address_0)
{
	struct fake_elf elf;

	fake_elf_init(&elf);
	kernel = fake_image(&bytes, "kernel", &elf, sizeof(elf));
	mem.regions[0].gpa = 4096;
	cr_assert_eq(boot_load(&cfg, &entry, &e), -EINVAL);
	mem.regions[0].gpa = 0;
}

Test(memmap_build, cuts_holes_and_joins_regions)
{
	static const struct gmem m = {
		.regions = {{.gpa = 0, .size = GIB},
			    {.gpa = GIB, .size = 2 * GIB},
			    {.gpa = 4 * GIB, .size = GIB}},
		.num_regions = 3,
	};
	struct memmap map;

	memmap_build(&map, &m);
	cr_assert_eq(map.num, 4);
	cr_assert_eq(map.entries[0].size, 640 * KIB);
	cr_assert_eq(map.entries[1].gpa, MIB);
	cr_assert_eq(map.entries[1].size, 3 * GIB - MIB);
	cr_assert_eq(map.entries[2].gpa, LAYOUT_ECAM);
	cr_assert_eq(map.entries[2].type, MEMMAP_RESERVED);
	cr_assert_eq(map.entries[3].gpa, 4 * GIB);
	cr_assert_eq(memmap_low_end(&map), 3 * GIB);
}
