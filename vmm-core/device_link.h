/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_DEVICE_LINK_H
#define VMM_CORE_DEVICE_LINK_H

/*
 * The core's end of one device process. Features and config space are cached
 * here, so a vCPU never waits for a device. Everything a device says is
 * hostile: a link checks it against what was negotiated.
 *
 * The virtio-pci transport (virtio_pci.h) is the guest's side of the same
 * device.
 */

#include "proto/core.pb-c.h"
#include "vmm-core/vm.h"

struct device_link;

/** device_link_add() - Build the link and its PCI function (control thread,
 *  before boot); Return: 0, -EINVAL for unacceptable DeviceInfo or slot */
int device_link_add(struct vm *vm, const Bulkhead__AddDevice *msg,
		    struct err *e);

/** device_link_event() - A device's event, relayed; Return: 0 or -EBADMSG */
int device_link_event(struct vm *vm, const Bulkhead__DeviceRelay *msg,
		      struct err *e);

/** device_link_free_all() */
void device_link_free_all(struct vm *vm);

#endif
