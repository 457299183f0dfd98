/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_RNG_RNG_H
#define DEV_RNG_RNG_H

#include "common/virtio/device.h"

extern const struct device_ops rng_ops;

#endif
