/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ELF kernels. The first bytes are made right, so that the rest is reached:
 * the fuzzer's bytes are laid over a good header from its program headers on.
 */

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/loader_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Elf64_Ehdr eh = {.e_ident = ELFMAG,
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr)};
	uint8_t *file;

	if (size < 1)
		return 0;
	/* An odd first byte: the header is the fuzzer's, too. */
	if (data[0] & 1) {
		loader_fuzz_load(data + 1, size - 1);
		return 0;
	}
	file = malloc(sizeof(eh) + size);
	if (!file)
		return 0;
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_phnum = data[0] >> 1;
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + sizeof(eh), data + 1, size - 1);
	loader_fuzz_load(file, sizeof(eh) + size - 1);
	free(file);
	return 0;
}
