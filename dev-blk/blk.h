/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_BLK_BLK_H
#define DEV_BLK_BLK_H

#include "common/virtio/device.h"

/** The virtio block device (virtio 1.2, 5.2): raw files and block devices */
extern const struct device_ops blk_device;

#endif
