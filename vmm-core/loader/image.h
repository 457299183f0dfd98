/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_IMAGE_H
#define VMM_CORE_LOADER_IMAGE_H

/*
 * A file to load (hostile bytes), and what kind of file it is. Knows no
 * architecture: which kinds can be started is for the architecture to say.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/virtio/gmem.h"

struct image {
	/* Read exactly [off, off + len); 0 or a negative errno */
	int (*read)(void *ctx, void *dst, uint64_t len, uint64_t off);
	void *ctx;
	uint64_t size;	  /* bytes, when it was opened */
	const char *what; /* "kernel", for sentences */
};

enum image_kind {
	IMAGE_UNKNOWN,
	IMAGE_ELF,
	IMAGE_BZIMAGE, /* Linux/x86 boot protocol */
	IMAGE_LINUX_ARM64,
	IMAGE_LINUX_RISCV,
	IMAGE_EFI_ZBOOT,
	IMAGE_PE,
	IMAGE_FIRMWARE_VOLUME,
	IMAGE_UBOOT,
	IMAGE_COMPRESSED,
	IMAGE_CPIO,
	IMAGE_DISK,
	IMAGE_EMPTY,
};

/**
 * image_fd_init() - Read from an open regular file
 * @fd: Points at the descriptor; both stay the caller's and outlive @ret
 */
int image_fd_init(struct image *ret, const char *what, int *fd, struct err *e);

/** image_read() - Exactly @len bytes at @off; -EINVAL and a sentence that says
 *  "truncated" when the file ends earlier */
int image_read(const struct image *img, void *dst, uint64_t len, uint64_t off,
	       struct err *e);

/** image_load() - The same, straight into guest memory that is known to exist
 */
int image_load(const struct image *img, const struct gmem *mem, gpa_t gpa,
	       uint64_t len, uint64_t off, struct err *e);

/** image_detect() - Look at the first bytes */
int image_detect(const struct image *img, enum image_kind *ret, struct err *e);

/** image_kind_text() - "a gzip-, xz-, ... compressed file": what it is */
const char *image_kind_text(enum image_kind kind);

/** image_kind_hint() - What to do with a file of this kind, "" if unclear */
const char *image_kind_hint(enum image_kind kind);

#endif
