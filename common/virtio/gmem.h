/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_GMEM_H
#define COMMON_VIRTIO_GMEM_H

/*
 * A view of guest memory: the one place that turns guest-physical addresses
 * into pointers. Whatever is read through a pointer can change at any time:
 * copy once, check the copy, use the copy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/err.h"

typedef uint64_t gpa_t; /* guest-physical address, bytes */

#define GMEM_MAX_REGIONS 64
#define GMEM_MAX_FDS	 16

struct gmem_region {
	gpa_t gpa;
	uint64_t size;	 /* bytes */
	uint8_t *hva;	 /* mapping of this process */
	uint64_t offset; /* into the descriptor */
};

struct gmem {
	struct gmem_region regions[GMEM_MAX_REGIONS]; /* ascending, disjoint */
	unsigned int num_regions;
};

/* As decoded from a MemTable; checked by gmem_map(). */
struct gmem_desc {
	gpa_t gpa;
	uint64_t size;
	uint64_t offset;
	uint32_t fd_index;
};

/**
 * gmem_map() - Check a memory table and map all of it read-write, shared
 * @fds: Sealed memfds (F_SEAL_GROW, F_SEAL_SHRINK), the caller's
 *
 * Return: 0; -EINVAL a malformed table (unaligned, overlapping, outside the
 *         descriptor, missing seals); other errno from mmap. On error nothing
 *         stays mapped and *ret is empty.
 */
int gmem_map(struct gmem *ret, const struct gmem_desc *descs,
	     unsigned int num_descs, const int *fds, unsigned int num_fds,
	     struct err *e);
void gmem_unmap(struct gmem *m);

/**
 * gmem_map_file() - Map the first @len bytes of a sealed memfd, read-write
 * @what: Begins the sentence of an error
 *
 * Return: 0; -EINVAL seals are missing or it is shorter; errno from mmap
 */
int gmem_map_file(int fd, uint64_t len, const char *what, void **ret,
		  struct err *e);

/**
 * gmem_ptr() - Address of [gpa, gpa + len), which must lie in one region
 *
 * Return: NULL if any byte of it is outside guest memory or len is 0
 */
void *gmem_ptr(const struct gmem *m, gpa_t gpa, uint64_t len);

/**
 * gmem_iov() - Translate a range that may span adjacent regions
 * @iov:     Filled from [0]
 * @max:     Capacity of @iov
 *
 * Return: number of entries used (0 only for len 0), -EFAULT outside guest
 *         memory, -E2BIG when @max does not suffice
 */
int gmem_iov(const struct gmem *m, gpa_t gpa, uint64_t len, struct iovec *iov,
	     unsigned int max);

/** gmem_read()/gmem_write() - Copy; Return: 0 or -EFAULT (nothing copied) */
int gmem_read(const struct gmem *m, gpa_t gpa, void *dst, uint64_t len);
int gmem_write(const struct gmem *m, gpa_t gpa, const void *src, uint64_t len);

#endif
