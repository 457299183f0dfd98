/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vmm-core/loader/fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/endian.h"
#include "common/base/num.h"

/* Mapped without being touched, so gigabytes cost nothing. */
void fake_mem(struct gmem *m, uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	check(p != MAP_FAILED);
	*m = (struct gmem){.num_regions = 1};
	m->regions[0].size = size;
	m->regions[0].hva = p;
}

void fake_mem_free(struct gmem *m)
{
	munmap(m->regions[0].hva, m->regions[0].size);
}

static int fake_read(void *ctx, void *dst, uint64_t len, uint64_t off)
{
	const struct fake_bytes *b = ctx;

	if (!range_ok(off, len, b->size))
		return -ENODATA;
	memcpy(dst, b->data + off, len);
	return 0;
}

struct image fake_image(struct fake_bytes *bytes, const char *what,
			const void *data, size_t size)
{
	*bytes = (struct fake_bytes){.data = data, .size = size};
	return (struct image){
		.read = fake_read, .ctx = bytes, .size = size, .what = what};
}

void fake_elf_init(struct fake_elf *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->eh.e_ident, ELFMAG, SELFMAG);
	f->eh.e_ident[EI_CLASS] = ELFCLASS64;
	f->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	f->eh.e_type = ET_EXEC;
	f->eh.e_machine = EM_X86_64;
	f->eh.e_phoff = offsetof(struct fake_elf, load);
	f->eh.e_phentsize = sizeof(Elf64_Phdr);
	f->eh.e_phnum = 2;
	f->load.p_type = PT_LOAD;
	f->load.p_paddr = FAKE_ELF_GPA;
	f->load.p_offset = offsetof(struct fake_elf, code);
	f->load.p_filesz = sizeof(f->code);
	f->load.p_memsz = 8192;
	f->note.p_type = PT_NOTE;
	f->note.p_offset = offsetof(struct fake_elf, pvh);
	f->note.p_filesz = sizeof(f->pvh);
	f->pvh.nh.n_namesz = 4;
	f->pvh.nh.n_descsz = 4;
	f->pvh.nh.n_type = 18;
	memcpy(f->pvh.name, "Xen", 4);
	f->pvh.entry = FAKE_ELF_GPA + 16;
	memset(f->code, 0xc5, sizeof(f->code));
}

void fake_bzimage_init(struct fake_bzimage *z)
{
	uint8_t *h = z->setup;

	memset(z, 0, sizeof(*z));
	memset(z->code, 0xc5, sizeof(z->code));
	h[0x1f1] = 1;
	put_le32(h + 0x1f4, FAKE_CODE_SIZE / 16);
	put_le16(h + 0x1fe, 0xaa55);
	h[0x201] = 0x6a;
	memcpy(h + 0x202, "HdrS", 4);
	put_le16(h + 0x206, 0x20f);
	h[0x211] = 1;
	put_le32(h + 0x22c, 0x7fffffff);
	put_le32(h + 0x230, 0x200000);
	h[0x234] = 1;
	put_le16(h + 0x236, 0x7f);
	put_le32(h + 0x238, 2047);
	put_le64(h + 0x258, FAKE_BZ_GPA);
	put_le32(h + 0x260, FAKE_BZ_INIT_SIZE);
}

struct boot_config fake_config(const struct gmem *m, const struct image *img)
{
	struct boot_config c = {.mem = m, .kernel = img, .cmdline = ""};

	check(!topology_init(&c.acpi.topology, 2, 0, 0, 0, 0, NULL));
	c.acpi.boot_cpus = 2;
	c.acpi.serial = true;
	return c;
}
