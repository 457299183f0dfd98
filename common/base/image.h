/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_IMAGE_H
#define COMMON_BASE_IMAGE_H

/* The memory of the program itself, for a small family. */

#include <stddef.h>

/**
 * image_forget() - Unmap the pages of the program file that start-up used
 *
 * Code and constants come back from the page cache when they are needed
 * again; most of what a start needs (relocation, parsing, set-up, errors) never
 * is. Changed pages stay. Only a matter of memory: it can't fail.
 *
 * Context: before the lock-down, madvise() is on no list
 */
void image_forget(void);

/**
 * image_use_small_pages() - No huge pages for this memory
 *
 * Where the host gives them to everything, one touched byte of a large table
 * would cost 2 MiB. Guest memory is another matter.
 */
void image_use_small_pages(void *start, size_t len);

/** image_use_small_pages_for_data() - ... for the program's variables */
void image_use_small_pages_for_data(void);

#endif
