/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_BLK_BLK_IO_H
#define DEV_BLK_BLK_IO_H

/*
 * The back end: what carries struct blk_op out on the disk's descriptor. Two
 * implementations, one for each worker and used by its thread alone:
 *
 * uring  io_uring, restricted to four operations on the one registered file;
 *        after the ring is enabled, nothing in this process can widen that.
 * sync   preadv/pwritev/fdatasync/fallocate, where the host forbids io_uring.
 *
 * At most `depth` operations are under way at once; that is the caller's to
 * keep.
 */

#include <stdbool.h>

#include "common/base/err.h"
#include "dev-blk/blk_task.h"

struct blk_io {
	const struct blk_io_ops *ops;
	int event_fd; /* readable when blk_io_reap() has work; -1: never waits,
		       * everything is done when submit returns */
};

struct blk_io_ops {
	int (*attach)(struct blk_io *io, struct err *e);
	void (*submit)(struct blk_io *io, const struct blk_op *op, void *token);
	void (*commit)(struct blk_io *io);
	bool (*reap)(struct blk_io *io, void **ret_token, int *ret_res);
	void (*free)(struct blk_io *io);
};

/**
 * blk_uring_new()/blk_sync_new() - Prepare a back end
 * @fd:    The disk; stays the caller's and outlives the back end
 * @fence: Kept open by the ring until its last request is over; -1: none
 * @depth: Operations under way at once
 * @threads: How many kernel threads may wait for the disk at once
 *
 * Return: 0; blk_uring_new(): -ENOSYS or another errno when this host has no
 * (or a too old) io_uring for us: take the other one
 */
int blk_uring_new(int fd, int fence, unsigned int depth, unsigned int threads,
		  bool readonly, struct blk_io **ret, struct err *e);
int blk_sync_new(int fd, unsigned int depth, struct blk_io **ret,
		 struct err *e);

/** blk_io_attach() - Once, in the thread that will use it, before lock-down */
static inline int blk_io_attach(struct blk_io *io, struct err *e)
{
	return io->ops->attach(io, e);
}

/** blk_io_submit() - Queue @op; what it points to stays until it is reaped */
static inline void blk_io_submit(struct blk_io *io, const struct blk_op *op,
				 void *token)
{
	io->ops->submit(io, op, token);
}

/** blk_io_commit() - Hand what was submitted to the kernel, in one call */
static inline void blk_io_commit(struct blk_io *io)
{
	io->ops->commit(io);
}

/** blk_io_reap() - Next finished operation; false: none */
static inline bool blk_io_reap(struct blk_io *io, void **ret_token,
			       int *ret_res)
{
	return io->ops->reap(io, ret_token, ret_res);
}

static inline void blk_io_free(struct blk_io *io)
{
	if (io)
		io->ops->free(io);
}

#endif
