/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_IMAGE_H
#define COMMON_BASE_IMAGE_H

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

#endif
