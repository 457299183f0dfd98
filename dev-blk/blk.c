/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-blk/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/sandbox/seccomp.h"
#include "dev-blk/blk_config.h"
#include "dev-blk/blk_queue.h"

SECCOMP_PROFILE(blk);
SECCOMP_PROFILE(blksync);

struct blk {
	struct blk_disk disk;
	struct blk_limits limits;
	int fd; /* owned */
	/* Written by the control thread, read by every worker. */
	atomic_bool write_through;
	/* The driver has just given the write cache up: what it wrote before
	 * is to be made stable with its next write. */
	atomic_bool sync_all;
	bool told; /* the driver was told of a config space without cache */
	struct blk_queue *queues[BLK_QUEUES_MAX]; /* owned */
	unsigned int num_queues;
};

static struct blk *blk_of(struct device *dev)
{
	return dev->priv;
}

static enum blk_cache blk_cache_mode(struct device *dev)
{
	struct blk *b = blk_of(dev);

	if (!atomic_load_explicit(&b->write_through, memory_order_acquire))
		return BLK_WRITE_BACK;
	return atomic_exchange(&b->sync_all, false) ? BLK_SYNC_ALL
						    : BLK_WRITE_THROUGH;
}

static int blk_open_queues(struct device *dev, struct blk *b,
			   const struct blk_config *c, bool uring,
			   struct err *e)
{
	struct blk_queue_args args = {
		.dev = dev,
		.disk = &b->disk,
		.fd = b->fd,
		.queue_size = c->queue_size,
		.seg_max = c->seg_max,
		.uring = uring,
		/* A thread waits for the disk; it costs nothing but the
		 * process limit, which the queues share. */
		.io_threads = c->num_queues <= 8 ? 8 : 2,
		.limits = &b->limits,
		.cache = blk_cache_mode,
	};

	for (b->num_queues = 0; b->num_queues < c->num_queues;
	     b->num_queues++) {
		int r = blk_queue_new(&args, &b->queues[b->num_queues], e);

		if (r < 0) {
			while (b->num_queues > 0)
				blk_queue_free(b->queues[--b->num_queues]);
			return r;
		}
	}
	return 0;
}

/* io_uring if the host has it and the user allows it, else plain calls. */
static int blk_choose_io(struct device *dev, struct blk *b,
			 const struct blk_config *c, bool no_uring,
			 struct err *e)
{
	if (!no_uring) {
		struct err why = {0};

		if (blk_open_queues(dev, b, c, true, &why) == 0) {
			dev->profile = &seccomp_profile_blk;
			return 0;
		}
		log_warn("%s; the disk goes on without it, more slowly",
			 why.text);
	}
	dev->profile = &seccomp_profile_blksync;
	return blk_open_queues(dev, b, c, false, e);
}

static void blk_describe(struct device *dev, const struct blk_config *c)
{
	dev->features = c->features;
	memcpy(dev->config, c->space, sizeof(c->space));
	dev->config_len = sizeof(c->space);
	dev->num_queues = c->num_queues;
	dev->max_queue_size = c->queue_size;
	dev->num_workers = c->num_queues;
}

static int blk_open(struct device *dev, const Bulkhead__DeviceSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e)
{
	auto_free struct blk *b = calloc(1, sizeof(*b));
	struct blk_config c;
	int r;

	if (!b)
		return err_set(e, -ENOMEM, "Out of memory for the disk");
	r = blk_config_make(setup, &b->disk, &c, e);
	if (r < 0)
		return r;
	if (num_fds != 1)
		return err_set(e, -EINVAL,
			       "A disk comes with one descriptor, "
			       "not %u",
			       num_fds);
	b->fd = fds[0];
	b->limits.capacity = b->disk.size >> BLK_SECTOR_BITS;
	b->limits.readonly = b->disk.readonly;
	r = blk_choose_io(dev, b, &c, setup->blk->no_io_uring, e);
	if (r < 0)
		return r;
	take_fd(&fds[0]);
	blk_describe(dev, &c);
	dev->priv = take_ptr(b);
	return 0;
}

static int blk_worker_open(struct device *dev, struct worker *w, struct err *e)
{
	return blk_queue_attach(blk_of(dev)->queues[worker_index(w)], w, e);
}

static unsigned int blk_queue_worker(struct device *dev, uint32_t index)
{
	(void)dev;
	return index;
}

/* The driver's view and ours of the write cache (virtio 1.2, 5.2.5.2). */
static void blk_set_write_back(struct device *dev, bool on)
{
	struct blk *b = blk_of(dev);

	if (!on && !b->write_through)
		b->sync_all = true;
	atomic_store_explicit(&b->write_through, !on, memory_order_release);
	dev->config[BLK_CONFIG_WRITEBACK] = on;
}

static int blk_set_features(struct device *dev, uint64_t features)
{
	struct blk *b = blk_of(dev);
	bool flush = features & (1ULL << VIRTIO_BLK_F_FLUSH);

	b->limits.discard = features & (1ULL << VIRTIO_BLK_F_DISCARD);
	b->limits.zeroes = features & (1ULL << VIRTIO_BLK_F_WRITE_ZEROES);
	/* A driver that can't flush gets a disk without a volatile cache. */
	blk_set_write_back(dev, flush);
	if (!flush)
		device_config_changed(dev);
	b->told = !flush;
	return 0;
}

static void blk_config_write(struct device *dev, uint32_t offset,
			     const uint8_t *data, uint32_t len)
{
	/* All else in the config space is read-only: ignored. */
	if (offset == BLK_CONFIG_WRITEBACK && len == 1 && data[0] <= 1 &&
	    device_has_feature(dev, VIRTIO_BLK_F_CONFIG_WCE))
		blk_set_write_back(dev, data[0]);
}

static void blk_started(struct device *dev, struct queue *q)
{
	blk_queue_started(blk_of(dev)->queues[q->index], q);
}

static void blk_kick(struct device *dev, struct queue *q)
{
	blk_queue_kick(blk_of(dev)->queues[q->index]);
}

static bool blk_stopping(struct device *dev, struct queue *q)
{
	return blk_queue_stopping(blk_of(dev)->queues[q->index]);
}

/* The status is the last writable byte, wherever it is. */
static uint32_t blk_reject(struct device *dev, struct queue *q,
			   const struct chain *c, const struct iovec *iov)
{
	uint32_t last = c->num_out + c->num_in;

	(void)dev;
	(void)q;
	if (!c->len_in)
		return 0;
	do
		last--;
	while (!iov[last].iov_len);
	((uint8_t *)iov[last].iov_base)[iov[last].iov_len - 1] =
		VIRTIO_BLK_S_IOERR;
	return c->len_in == 1;
}

static void blk_reset(struct device *dev)
{
	struct blk *b = blk_of(dev);

	b->limits.discard = false;
	b->limits.zeroes = false;
	blk_set_write_back(dev, true);
	if (b->told)
		device_config_changed(dev);
	b->told = false;
}

const struct device_ops blk_device = {
	.name = "blk",
	.virtio_id = VIRTIO_ID_BLOCK,
	.heap = 256ULL * 1024, /* mostly results of up to 32 queues */
	.open = blk_open,
	.worker_open = blk_worker_open,
	.queue_worker = blk_queue_worker,
	.set_features = blk_set_features,
	.config_write = blk_config_write,
	.queue_started = blk_started,
	.queue_kick = blk_kick,
	.queue_reject = blk_reject,
	.queue_stopping = blk_stopping,
	.reset = blk_reset,
};
