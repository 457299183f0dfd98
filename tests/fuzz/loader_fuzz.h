/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_LOADER_FUZZ_H
#define TESTS_FUZZ_LOADER_FUZZ_H

/* Load hostile image bytes into 64 MiB of guest memory between guard pages. */

#include <stddef.h>
#include <stdint.h>

/** loader_fuzz_load() - boot_load(); the kernel's bytes are also an initramfs
 *  when their count is odd. Checks what must hold after success. */
void loader_fuzz_load(const uint8_t *kernel, size_t size);

#endif
