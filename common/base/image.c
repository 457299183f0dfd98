/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/image.h"

#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define IMAGE_HEADERS 16

/* Where the linker put the file's first byte. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

void image_forget(void)
{
	const uint8_t *base = (const uint8_t *)&__ehdr_start;
	ElfW(Phdr) headers[IMAGE_HEADERS];
	unsigned int num = __ehdr_start.e_phnum;
	uint64_t page = getauxval(AT_PAGESZ);

	if (!page)
		return;
	if (num > IMAGE_HEADERS)
		num = IMAGE_HEADERS;
	/* A copy: they lie in one of the pages. */
	memcpy(headers, base + __ehdr_start.e_phoff, num * sizeof(headers[0]));
	for (unsigned int i = 0; i < num; i++) {
		const ElfW(Phdr) *p = &headers[i];
		uint64_t skip = p->p_vaddr % page;

		/* What can be written has private pages: they'd be lost. */
		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)madvise(
				(void *)(uintptr_t)(base + p->p_vaddr - skip),
				(size_t)(p->p_memsz + skip), MADV_DONTNEED);
	}
}
