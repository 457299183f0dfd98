/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/elf.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"

#define ELF_MAX_PHDRS	   64
#define ELF_MAX_NOTES	   256
#define XEN_PHYS32_ENTRY   18 /* note type: PVH entry address */
#define ELF_MAX_NOTES_SIZE MIB

struct elf_file {
	const struct image *img;
	Elf64_Ehdr eh;
	Elf64_Phdr ph[ELF_MAX_PHDRS];
	unsigned int num_ph;
};

static int elf_check_ident(const struct elf_file *f, uint16_t machine,
			   struct err *e)
{
	const Elf64_Ehdr *eh = &f->eh;
	const char *what = f->img->what;

	if (memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return err_set(e, -EINVAL, "%s: is not an ELF file", what);
	if (eh->e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(e, -EINVAL,
			       "%s: is a 32-bit ELF file; pass a 64-bit kernel",
			       what);
	if (eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, -EINVAL,
			       "%s: is a big-endian ELF file, the VM is "
			       "little-endian",
			       what);
	if (le16toh(eh->e_machine) != machine)
		return err_set(e, -EINVAL,
			       "%s: is an ELF file for machine %u, the VM's is "
			       "%u (see elf.h: 62 is x86-64, 183 AArch64)",
			       what, le16toh(eh->e_machine), machine);
	if (le16toh(eh->e_type) != ET_EXEC && le16toh(eh->e_type) != ET_DYN)
		return err_set(
			e, -EINVAL,
			"%s: is an ELF file of type %u, not an executable",
			what, le16toh(eh->e_type));
	return 0;
}

static int elf_read_headers(struct elf_file *f, uint16_t machine, struct err *e)
{
	const char *what = f->img->what;
	unsigned int num;
	int r = image_read(f->img, &f->eh, sizeof(f->eh), 0, e);

	if (r == 0)
		r = elf_check_ident(f, machine, e);
	if (r < 0)
		return r;
	num = le16toh(f->eh.e_phnum);
	if (!num || le16toh(f->eh.e_phentsize) != sizeof(Elf64_Phdr))
		return err_set(
			e, -EINVAL,
			"%s: ELF file without program headers (an object "
			"file or a debug file?)",
			what);
	if (num > ELF_MAX_PHDRS)
		return err_set(
			e, -EINVAL,
			"%s: ELF file with %u program headers, at most %d "
			"are accepted",
			what, num, ELF_MAX_PHDRS);
	f->num_ph = num;
	return image_read(f->img, f->ph, num * sizeof(Elf64_Phdr),
			  le64toh(f->eh.e_phoff), e);
}

static int elf_load_segment(const struct elf_file *f, const Elf64_Phdr *ph,
			    struct placement *place, struct elf_info *info,
			    struct err *e)
{
	uint64_t gpa = le64toh(ph->p_paddr), off = le64toh(ph->p_offset);
	uint64_t filesz = le64toh(ph->p_filesz), memsz = le64toh(ph->p_memsz);
	int r;

	if (!memsz)
		return 0;
	if (filesz > memsz)
		return err_set(
			e, -EINVAL,
			"%s: ELF segment at 0x%" PRIx64 " has more bytes in "
			"the file (%" PRIu64 ") than in memory (%" PRIu64 ")",
			f->img->what, gpa, filesz, memsz);
	r = placement_claim(place, gpa, memsz, "kernel", e);
	if (r == 0 && filesz)
		r = image_load(f->img, place->mem, gpa, filesz, off, e);
	if (r < 0)
		return r;
	info->start = min_u64(info->start, gpa);
	info->end = max_u64(info->end, gpa + memsz);
	return 0;
}

/* Read the value of the note whose header was @nh and value is at @off. */
static int elf_read_pvh(const struct elf_file *f, uint64_t off, uint32_t len,
			struct elf_info *info, struct err *e)
{
	uint8_t value[8] = {0};
	int r;

	if (len != 4 && len != 8)
		return err_set(
			e, -EINVAL,
			"%s: its PVH note has a value of %u bytes, 4 or 8 "
			"are defined",
			f->img->what, len);
	r = image_read(f->img, value, len, off, e);
	if (r < 0)
		return r;
	info->pvh_entry = get_le64(value);
	info->has_pvh = true;
	return 0;
}

/*
 * One PT_NOTE segment. Name and value are each padded to 4 bytes, or to 8 in
 * a segment that is aligned so. Return: 1 found, 0 not here.
 */
static int elf_scan_notes(const struct elf_file *f, const Elf64_Phdr *ph,
			  struct elf_info *info, struct err *e)
{
	uint64_t pos = le64toh(ph->p_offset), left = le64toh(ph->p_filesz);
	uint64_t align = le64toh(ph->p_align) == 8 ? 8 : 4;

	if (!range_ok(pos, left, f->img->size) || left > ELF_MAX_NOTES_SIZE)
		return err_set(
			e, -EINVAL,
			"%s: ELF notes of %" PRIu64 " bytes at offset %" PRIu64
			" in a file of %" PRIu64 ": truncated or damaged",
			f->img->what, left, pos, f->img->size);
	for (int i = 0; i < ELF_MAX_NOTES && left >= sizeof(Elf64_Nhdr); i++) {
		Elf64_Nhdr nh;
		uint64_t name_end, desc, end;
		char name[4] = "";
		int r = image_read(f->img, &nh, sizeof(nh), pos, e);

		if (r < 0)
			return r;
		/* 32-bit sizes: these sums can't overflow 64 bits. */
		name_end = sizeof(nh) + (uint64_t)le32toh(nh.n_namesz);
		desc = align_up(name_end, align);
		end = desc + le32toh(nh.n_descsz);
		if (end > left)
			break;
		if (le32toh(nh.n_namesz) == sizeof(name) &&
		    le32toh(nh.n_type) == XEN_PHYS32_ENTRY) {
			r = image_read(f->img, name, sizeof(name),
				       pos + sizeof(nh), e);
			if (r == 0 && !memcmp(name, "Xen", sizeof(name)))
				r = elf_read_pvh(f, pos + desc,
						 le32toh(nh.n_descsz), info, e);
			if (r < 0 || info->has_pvh)
				return r < 0 ? r : 1;
		}
		end = min_u64(align_up(end, align), left);
		pos += end;
		left -= end;
	}
	return 0;
}

/* A PVH entry outside what was loaded would run whatever lies there. */
static bool elf_is_loaded(const struct elf_file *f, gpa_t gpa)
{
	for (unsigned int i = 0; i < f->num_ph; i++) {
		uint64_t start = le64toh(f->ph[i].p_paddr);

		if (le32toh(f->ph[i].p_type) == PT_LOAD && gpa >= start &&
		    gpa - start < le64toh(f->ph[i].p_filesz))
			return true;
	}
	return false;
}

int elf_load(const struct image *img, uint16_t machine, struct placement *place,
	     struct elf_info *ret, struct err *e)
{
	struct elf_file f = {.img = img};
	struct elf_info info = {.start = UINT64_MAX};
	int r = elf_read_headers(&f, machine, e);

	for (unsigned int i = 0; r >= 0 && i < f.num_ph; i++) {
		if (le32toh(f.ph[i].p_type) == PT_NOTE && !info.has_pvh)
			r = elf_scan_notes(&f, &f.ph[i], &info, e);
	}
	for (unsigned int i = 0; r >= 0 && i < f.num_ph; i++) {
		if (le32toh(f.ph[i].p_type) == PT_LOAD)
			r = elf_load_segment(&f, &f.ph[i], place, &info, e);
	}
	if (r < 0)
		return r;
	if (!info.end)
		return err_set(e, -EINVAL, "%s: ELF file with nothing to load",
			       img->what);
	if (info.has_pvh && !elf_is_loaded(&f, info.pvh_entry))
		return err_set(e, -EINVAL,
			       "%s: its PVH entry 0x%" PRIx64
			       " is in none of its segments",
			       img->what, info.pvh_entry);
	info.entry = le64toh(f.eh.e_entry);
	*ret = info;
	return 0;
}
