/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_BLK_BLK_QUEUE_H
#define DEV_BLK_BLK_QUEUE_H

/*
 * One virtqueue of a disk with all that its thread needs: a back end, a pool
 * of request slots and of bounce buffers. Nothing is shared with the other
 * queues but struct blk_disk, so nothing locks.
 *
 * Limits: at most min(queue size, BLK_DEPTH_MAX) requests are under way; more
 * wait in the ring. A request that waits for a bounce buffer keeps its slot.
 */

#include "common/virtio/device.h"
#include "dev-blk/blk_io.h"

#define BLK_DEPTH_MAX	256	       /* requests under way in a queue */
#define BLK_BOUNCE_NUM	4	       /* buffers of a queue, O_DIRECT only */
#define BLK_BOUNCE_SIZE (128u * 1024u) /* bytes; at least BLK_BLOCK_MAX */

struct blk_queue;

struct blk_queue_args {
	struct device *dev;
	struct blk_disk *disk;
	int fd; /* stays the caller's */
	uint32_t queue_size;
	uint32_t seg_max;
	bool uring;
	unsigned int io_threads; /* the kernel's, for io_uring */
	/* What the driver negotiated; changed while the queue is stopped. */
	const struct blk_limits *limits;
	/* Asked once for each request. */
	enum blk_cache (*cache)(struct device *dev);
};

/** blk_queue_new() - In the control thread; all memory is taken here */
int blk_queue_new(const struct blk_queue_args *args, struct blk_queue **ret,
		  struct err *e);
void blk_queue_free(struct blk_queue *bq); /* NULL allowed */

/** blk_queue_attach() - In the worker's thread, before lock-down */
int blk_queue_attach(struct blk_queue *bq, struct worker *w, struct err *e);

/* The device's queue operations. */
void blk_queue_started(struct blk_queue *bq, struct queue *q);
void blk_queue_kick(struct blk_queue *bq);
/** blk_queue_stopping() - Return: is nothing under way? (device.h) */
bool blk_queue_stopping(struct blk_queue *bq);

#endif
