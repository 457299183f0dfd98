/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/elf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/num.h"
#include "tests/unit/vmm-core/loader/fake.h"

static struct fake_elf elf;
static struct gmem mem;
static struct elf_info info;
static struct err e;

static void setup(void)
{
	fake_elf_init(&elf);
	fake_mem(&mem, 4 * MIB);
}

static void teardown(void)
{
	fake_mem_free(&mem);
}

static int load(size_t size)
{
	struct fake_bytes bytes;
	struct image img = fake_image(&bytes, "kernel", &elf, size);
	struct placement place;

	placement_init(&place, &mem);
	return elf_load(&img, EM_X86_64, &place, &info, &e);
}

TestSuite(elf_load, .init = setup, .fini = teardown);

Test(elf_load, loads_by_physical_address)
{
	uint8_t zero[16] = {0};

	elf.load.p_vaddr = 0xffffffff81000000;
	cr_assert_eq(load(sizeof(elf)), 0, "%s", e.text);
	cr_assert(info.has_pvh);
	cr_assert_eq(info.pvh_entry, FAKE_ELF_GPA + 16);
	cr_assert_eq(info.start, FAKE_ELF_GPA);
	cr_assert_eq(info.end, FAKE_ELF_GPA + 8192);
	cr_assert_arr_eq(mem.regions[0].hva + FAKE_ELF_GPA, elf.code,
			 sizeof(elf.code));
	cr_assert_arr_eq(mem.regions[0].hva + FAKE_ELF_GPA + sizeof(elf.code),
			 zero, sizeof(zero));
}

Test(elf_load, takes_a_note_value_of_8_bytes)
{
	struct {
		Elf64_Nhdr nh;
		char name[4];
		uint8_t entry[8];
	} note = {{4, 8, 18}, "Xen", {0x20, 0, 0x20}};

	memcpy(elf.code, &note, sizeof(note));
	elf.note.p_offset = offsetof(struct fake_elf, code);
	elf.note.p_filesz = sizeof(note);
	cr_assert_eq(load(sizeof(elf)), 0, "%s", e.text);
	cr_assert_eq(info.pvh_entry, 0x200020);
}

Test(elf_load, finds_the_note_behind_others)
{
	struct {
		Elf64_Nhdr nh;
		char name[8];
		uint8_t value[4];
		Elf64_Nhdr pvh;
		char xen[4];
		uint32_t entry;
	} note = {{5, 1, 18}, "GNUU", {1}, {4, 4, 18}, "Xen", FAKE_ELF_GPA};

	memcpy(elf.code, &note, sizeof(note));
	elf.note.p_offset = offsetof(struct fake_elf, code);
	elf.note.p_filesz = sizeof(note);
	cr_assert_eq(load(sizeof(elf)), 0, "%s", e.text);
	cr_assert_eq(info.pvh_entry, FAKE_ELF_GPA);
}

Test(elf_load, says_that_there_is_no_note)
{
	elf.pvh.nh.n_type = 17;
	cr_assert_eq(load(sizeof(elf)), 0);
	cr_assert(!info.has_pvh);
}

Test(elf_load, refuses_notes_that_lie)
{
	elf.pvh.nh.n_descsz = 3;
	cr_assert_eq(load(sizeof(elf)), -EINVAL);
	cr_assert(strstr(e.text, "4 or 8"));
	/* lengths that leave the segment end the search */
	elf.pvh.nh.n_descsz = UINT32_MAX;
	cr_assert_eq(load(sizeof(elf)), 0);
	cr_assert(!info.has_pvh);
	elf.pvh.nh.n_namesz = UINT32_MAX;
	cr_assert_eq(load(sizeof(elf)), 0);
	cr_assert(!info.has_pvh);
	elf.note.p_filesz = UINT64_MAX;
	cr_assert_eq(load(sizeof(elf)), -EINVAL);
}

Test(elf_load, refuses_an_entry_that_is_not_loaded)
{
	elf.pvh.entry = FAKE_ELF_GPA + sizeof(elf.code);
	cr_assert_eq(load(sizeof(elf)), -EINVAL);
	cr_assert(strstr(e.text, "PVH entry"));
}

Test(elf_load, refuses_other_files)
{
	fake_elf_init(&elf);
	elf.eh.e_ident[EI_CLASS] = ELFCLASS32;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	cr_expect(strstr(e.text, "32-bit"));
	fake_elf_init(&elf);
	elf.eh.e_ident[EI_DATA] = ELFDATA2MSB;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	fake_elf_init(&elf);
	elf.eh.e_machine = EM_AARCH64;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	cr_expect(strstr(e.text, "183"));
	fake_elf_init(&elf);
	elf.eh.e_type = ET_REL;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	fake_elf_init(&elf);
	elf.eh.e_phnum = 0;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	elf.eh.e_phnum = 65;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	fake_elf_init(&elf);
	elf.load.p_type = PT_NULL;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	cr_expect(strstr(e.text, "nothing to load"));
}

Test(elf_load, refuses_truncated_files)
{
	for (size_t size = 0; size < sizeof(elf); size += 8)
		cr_assert_eq(load(size), -EINVAL, "%zu bytes", size);
}

Test(elf_load, refuses_segments_that_do_not_fit)
{
	elf.load.p_paddr = 4 * MIB - 4096;
	cr_expect_eq(load(sizeof(elf)), -ENOMEM);
	cr_expect(strstr(e.text, "--memory"));
	elf.load.p_paddr = UINT64_MAX - 100;
	cr_expect_eq(load(sizeof(elf)), -ENOMEM);
	elf.load.p_paddr = FAKE_ELF_GPA;
	elf.load.p_memsz = UINT64_MAX;
	cr_expect_eq(load(sizeof(elf)), -ENOMEM);
	elf.load.p_memsz = 8;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
	elf.load.p_memsz = 4096;
	elf.load.p_offset = UINT64_MAX;
	cr_expect_eq(load(sizeof(elf)), -EINVAL);
}

Test(elf_load, refuses_overlapping_segments)
{
	elf.note = elf.load;
	elf.note.p_paddr += 4096;
	cr_assert_eq(load(sizeof(elf)), -EEXIST);
	cr_assert(strstr(e.text, "overlaps"));
}
