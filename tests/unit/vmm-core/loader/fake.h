/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VMM_CORE_LOADER_FAKE_H
#define TESTS_UNIT_VMM_CORE_LOADER_FAKE_H

/* Guest memory and images made of plain memory, and crafted kernels. */

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm-core/loader/image.h"
#include "vmm-core/loader/x86_64/boot.h"

/** fake_mem() - One region of zeroed memory at address 0 */
void fake_mem(struct gmem *m, uint64_t size);
void fake_mem_free(struct gmem *m);

/** fake_image() - The bytes stay the caller's */
struct fake_bytes {
	const uint8_t *data;
	uint64_t size;
};
struct image fake_image(struct fake_bytes *bytes, const char *what,
			const void *data, size_t size);

/* A good ELF file with a PVH note and one segment; change it, then load it. */
struct fake_elf {
	Elf64_Ehdr eh;
	Elf64_Phdr load;
	Elf64_Phdr note;
	struct {
		Elf64_Nhdr nh;
		char name[4];
		uint32_t entry;
	} pvh;
	uint8_t code[256];
};
#define FAKE_ELF_GPA 0x200000
void fake_elf_init(struct fake_elf *f);

/* A good bzImage: 1 setup sector and FAKE_CODE_SIZE bytes of code. */
#define FAKE_CODE_SIZE 4096
struct fake_bzimage {
	uint8_t setup[2 * 512];
	uint8_t code[FAKE_CODE_SIZE];
};
#define FAKE_BZ_GPA	  0x1000000
#define FAKE_BZ_INIT_SIZE 0x200000
void fake_bzimage_init(struct fake_bzimage *z);

/** fake_config() - Two CPUs, serial, an empty command line */
struct boot_config fake_config(const struct gmem *m, const struct image *img);

#endif
