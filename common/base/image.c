/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/image.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/num.h"

static int image_forget_object(struct dl_phdr_info *info, size_t size,
			       void *arg)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)arg;
	/* Backwards: the first ones contain these headers. */
	for (unsigned int i = info->dlpi_phnum; i-- > 0;) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + p->p_vaddr;
		uint64_t skip = start % page;

		/* What can be written has private pages: they'd be lost. */
		if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
			continue;
		(void)madvise((void *)(uintptr_t)(start - skip),
			      (size_t)(p->p_memsz + skip), MADV_DONTNEED);
	}
	return 1; /* the program itself comes first */
}

void image_forget(void)
{
	dl_iterate_phdr(image_forget_object, NULL);
}
