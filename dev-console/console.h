/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_CONSOLE_CONSOLE_H
#define DEV_CONSOLE_CONSOLE_H

#include "common/virtio/device.h"

extern const struct device_ops console_ops;

#endif
