/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_BLK_BLK_TASK_H
#define DEV_BLK_BLK_TASK_H

/*
 * A checked request as a sequence of back-end operations. Pure: it decides
 * which operation comes next from the result of the last one; blk_io.h's back
 * ends carry the operations out. So short transfers, host errors, bounce
 * buffers and fall-backs are decided in one place for every back end.
 *
 *            start()            step(res)
 *   request ---------> RUN ----------------> RUN | DONE
 *              |        ^
 *              +-> WAIT-+ bounce()      (a buffer is lent)
 *              +-> DONE                 (nothing to do, or refused)
 *
 * Rules:
 * - READ/WRITE: short transfers are continued; a transfer of nothing is an
 *   error (the file became shorter than the disk).
 * - O_DIRECT with buffers that are not aligned as the host asks: through a
 *   bounce buffer. Reads may also start and end inside a host block. Writes
 *   may not: read-modify-write could undo a concurrent write to the same
 *   block from another queue, so such a write is answered with IOERR. The
 *   device offers the host's block size as BLK_SIZE, so no sane driver asks.
 * - DISCARD is a hint: where the host can't, it succeeds without effect.
 * - WRITE_ZEROES always works: punch a hole (if unmap), else zero the range,
 *   else write zeroes.
 * - Write-through (task->cache): nothing completes before it is on stable
 *   storage.
 */

#include <stdatomic.h>

#include "dev-blk/blk_req.h"

#define BLK_RETRIES 64 /* of an interrupted operation */

enum blk_op_kind {
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_SYNC,  /* data and size to stable storage */
	BLK_OP_PUNCH, /* deallocate; reads as zeroes */
	BLK_OP_ZERO,  /* zero, stays allocated */
};

/* One operation on the back end; exactly one at a time for each task. */
struct blk_op {
	enum blk_op_kind kind;
	bool dsync; /* WRITE: on stable storage when it completes */
	const struct iovec *iov;
	unsigned int num_iov;
	uint64_t offset; /* bytes */
	uint64_t len;	 /* PUNCH, ZERO: bytes */
};

/* What all tasks of a device share. */
struct blk_disk {
	uint64_t size; /* bytes, whole sectors */
	bool readonly;
	bool direct;
	bool sparse;	      /* may deallocate */
	uint32_t block;	      /* bytes, power of two: O_DIRECT offset, length;
			       * block device: also deallocation */
	uint32_t mem_align;   /* bytes, power of two: O_DIRECT memory */
	bool is_block_device; /* deallocates whole blocks only */
	char serial[BLK_ID_LEN];       /* NUL padded */
	atomic_bool no_punch, no_zero; /* the host can't: don't ask again */
};

enum blk_cache {
	BLK_WRITE_BACK,	   /* the driver flushes */
	BLK_WRITE_THROUGH, /* what this request wrote is stable at its end */
	BLK_SYNC_ALL,	   /* ... and all that was written before */
};

enum blk_state { BLK_RUN, BLK_WAIT, BLK_DONE };

struct blk_task {
	struct blk_req req;
	enum blk_cache cache;
	struct blk_op op; /* to carry out in BLK_RUN */
	uint8_t status;	  /* in BLK_DONE */
	uint32_t written; /* BLK_DONE: bytes written to the guest's data */
	/* The rest is blk_task.c's. */
	uint8_t *bounce; /* lent */
	uint32_t bounce_size;
	uint32_t skip; /* bytes of the bounce buffer before the data */
	uint32_t left; /* bytes of the request */
	unsigned int seg;
	unsigned int retries;
	unsigned int num_zero_iov;
	struct iovec bounce_iov;
	uint64_t zero_end; /* WRITE_ZEROES by writing: end of the segment */
};

/**
 * blk_task_start() - Begin with task->req and task->cache
 *
 * Return: BLK_RUN: carry out task->op, then blk_task_step(). BLK_WAIT: lend a
 * buffer with blk_task_bounce(), then the same. BLK_DONE.
 */
enum blk_state blk_task_start(struct blk_task *t, struct blk_disk *d);

/** blk_task_bounce() - Lend @buf until BLK_DONE; at least d->block long,
 * a multiple of it, and aligned to both of the disk's alignments */
enum blk_state blk_task_bounce(struct blk_task *t, struct blk_disk *d,
			       uint8_t *buf, uint32_t size);

/** blk_task_step() - task->op ended with @res: bytes or negative errno */
enum blk_state blk_task_step(struct blk_task *t, struct blk_disk *d, int res);

#endif
