/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_BLK_BLK_REQ_H
#define DEV_BLK_BLK_REQ_H

/*
 * Hostile bytes -> checked request (virtio 1.2, 5.2.6). Pure: it reads the
 * chain's pieces and nothing else, and writes only its result. Header and
 * segments are copied out of guest memory once; what the guest changes later
 * has no effect.
 */

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLK_SECTOR	512 /* bytes; the protocol's unit, always */
#define BLK_SECTOR_BITS 9
#define BLK_HEADER_LEN	16 /* bytes */
#define BLK_SEG_LEN	16 /* bytes of one discard/write-zeroes segment */
#define BLK_ID_LEN	20 /* bytes */

#define BLK_MAX_SEGS	    16	       /* a DISCARD or WRITE_ZEROES */
#define BLK_DISCARD_SECTORS (1U << 22) /* in one segment: 2 GiB */
#define BLK_ZEROES_SECTORS  (1U << 21) /* in one segment: 1 GiB */

enum blk_kind {
	BLK_REPLY, /* nothing to do: answer with .status */
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,
	BLK_GET_ID,
	BLK_DISCARD,
	BLK_ZEROES,
};

/* What a request is judged by. */
struct blk_limits {
	uint64_t capacity; /* sectors */
	bool readonly;
	bool discard; /* negotiated */
	bool zeroes;  /* negotiated */
};

struct blk_seg {
	uint64_t offset; /* bytes */
	uint64_t len;	 /* bytes; may be 0 */
	bool unmap;
};

struct blk_req {
	enum blk_kind kind;
	uint8_t status;	     /* VIRTIO_BLK_S_*, for BLK_REPLY */
	uint8_t *ret_status; /* in guest memory: where the status goes */
	/* READ, WRITE, GET_ID: the data, trimmed in place in the array that
	 * blk_req_parse() was given. */
	struct iovec *iov;
	unsigned int num_iov;
	uint64_t offset; /* bytes into the disk; READ, WRITE */
	uint32_t len;	 /* bytes of data */
	/* DISCARD, ZEROES */
	struct blk_seg segs[BLK_MAX_SEGS];
	unsigned int num_segs;
};

/**
 * blk_req_parse() - Check one chain
 * @iov:     iov[0, num_out) device-readable, iov[num_out, num_out + num_in)
 *           writable; their bounds are trusted, their content is not. Header
 *           and segments may be split over pieces at any byte; pieces may be
 *           empty. The pieces are trimmed to the data.
 * @ret:     Everything but segs[num_segs, ...) is set
 *
 * Return: 0 (also for what is answered with an error status); -EBADMSG when
 *         there is not one writable byte for the status
 * Spec:   virtio 1.2, 5.2.6.2
 */
int blk_req_parse(struct iovec *iov, unsigned int num_out, unsigned int num_in,
		  const struct blk_limits *limits, struct blk_req *ret);

/** blk_iov_len() - Sum of the pieces, bytes */
uint64_t blk_iov_len(const struct iovec *iov, unsigned int num);

/** blk_iov_skip() - Drop the first @n bytes, which must be there */
void blk_iov_skip(struct iovec **iov, unsigned int *num, uint64_t n);

/** blk_iov_gather()/blk_iov_scatter() - Copy the first @n bytes, no more than
 * there are; Return: bytes copied */
size_t blk_iov_gather(const struct iovec *iov, unsigned int num, void *dst,
		      size_t n);
size_t blk_iov_scatter(const struct iovec *iov, unsigned int num,
		       const void *src, size_t n);

#endif
