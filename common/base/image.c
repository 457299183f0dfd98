/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/image.h"

#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define IMAGE_HEADERS 16

/* Where the linker put the file's first byte. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* Start of the page of @addr; all madvise() here is only a matter of memory. */
static void image_advise(const uint8_t *addr, size_t len, int advice)
{
	uint64_t page = getauxval(AT_PAGESZ);
	uint64_t skip = page ? (uintptr_t)addr % page : 0;

	(void)madvise((void *)(uintptr_t)(addr - skip), len + (size_t)skip,
		      advice);
}

static void image_advise_segments(bool writable, int advice)
{
	const uint8_t *base = (const uint8_t *)&__ehdr_start;
	ElfW(Phdr) headers[IMAGE_HEADERS];
	unsigned int num = __ehdr_start.e_phnum;

	if (num > IMAGE_HEADERS)
		num = IMAGE_HEADERS;
	/* A copy: they lie in one of the pages. */
	memcpy(headers, base + __ehdr_start.e_phoff, num * sizeof(headers[0]));
	for (unsigned int i = 0; i < num; i++) {
		const ElfW(Phdr) *p = &headers[i];

		if (p->p_type == PT_LOAD && !!(p->p_flags & PF_W) == writable)
			image_advise(base + p->p_vaddr, (size_t)p->p_memsz,
				     advice);
	}
}

void image_forget(void)
{
	/* What can be written has private pages: they'd be lost. */
	image_advise_segments(false, MADV_DONTNEED);
}

void image_use_small_pages(void *start, size_t len)
{
	image_advise(start, len, MADV_NOHUGEPAGE);
}

void image_use_small_pages_for_data(void)
{
	image_advise_segments(true, MADV_NOHUGEPAGE);
}
