/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_PLACEMENT_H
#define VMM_CORE_LOADER_PLACEMENT_H

/*
 * Who lies where in guest memory. Everything that the loader writes is claimed
 * here first, by name; a claim outside RAM or over an earlier claim is refused
 * with a sentence that names both. Knows no architecture.
 */

#include "common/base/err.h"
#include "common/virtio/gmem.h"

#define PLACEMENT_MAX 80 /* more than an ELF file's segments and our own */

struct placement {
	const struct gmem *mem; /* the caller's */
	struct {
		gpa_t gpa;
		uint64_t len;
		const char *what; /* static text */
	} claims[PLACEMENT_MAX];
	unsigned int num_claims;
};

void placement_init(struct placement *p, const struct gmem *mem);

/**
 * placement_claim() - Reserve [gpa, gpa + len) for @what
 *
 * Return: 0 (also for len 0); -ENOMEM partly or wholly outside guest memory;
 *         -EEXIST over an earlier claim; -E2BIG too many claims
 */
int placement_claim(struct placement *p, gpa_t gpa, uint64_t len,
		    const char *what, struct err *e);

/**
 * placement_claim_high() - Reserve @len bytes as high as possible
 * @align: Power of two
 * @end:   Exclusive limit: the last byte lies below it
 */
int placement_claim_high(struct placement *p, uint64_t len, uint64_t align,
			 gpa_t end, const char *what, gpa_t *ret,
			 struct err *e);

/** placement_write() - Copy into memory that was claimed */
int placement_write(struct placement *p, gpa_t gpa, const void *src,
		    uint64_t len, struct err *e);

#endif
