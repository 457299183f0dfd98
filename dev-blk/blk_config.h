/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_BLK_BLK_CONFIG_H
#define DEV_BLK_BLK_CONFIG_H

/* From the broker's description of a disk to what the driver sees of it. Pure.
 */

#include "common/base/err.h"
#include "dev-blk/blk_task.h"
#include "proto/device.pb-c.h"

#define BLK_CONFIG_LEN	     60 /* bytes; up to write_zeroes_may_unmap */
#define BLK_CONFIG_WRITEBACK 32 /* offset of the only writable byte */

#define BLK_BLOCK_MAX	   65536 /* bytes: the largest host block served */
#define BLK_QUEUES_MAX	   32	 /* one thread each */
#define BLK_QUEUE_SIZE_MAX 32768
#define BLK_QUEUE_SIZE	   128 /* default */
#define BLK_SEGS_MAX	   254 /* pieces of data in a request */

struct blk_config {
	uint64_t features; /* offered, device bits only */
	uint32_t num_queues;
	uint32_t queue_size;
	uint32_t seg_max;
	uint8_t space[BLK_CONFIG_LEN]; /* virtio 1.2, 5.2.4 */
};

/**
 * blk_config_make() - Check the setup, fill in the disk and the config space
 *
 * A capacity is whole sectors; with O_DIRECT and on block devices, whole host
 * blocks. The rest of a file's last block is not part of the disk.
 *
 * Return: 0, -EINVAL
 */
int blk_config_make(const Bulkhead__DeviceSetup *setup, struct blk_disk *disk,
		    struct blk_config *ret, struct err *e);

#endif
