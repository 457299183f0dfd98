/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_DEVICE_LINK_H
#define VMM_CORE_DEVICE_LINK_H

/*
 * The core's end of one device process. Features and config space are cached
 * in the core, so a vCPU never waits for a device. Everything a device says is
 * hostile: a link checks it against what was negotiated.
 *
 * The virtio-pci transport (virtio_pci.h) is the guest's side of the same
 * device.
 *
 * States, and what a link sends in them (each request is answered once):
 *
 *   idle       nothing. The device knows of no driver.
 *   starting   driver ready: SetFeatures, then a StartQueue an enabled queue;
 *              then config writes
 *   running    all answered: config writes; StartQueue for late queues
 *   resetting  driver wrote status 0: Reset, once everything sent before it
 *              is on its way; its answer leads to idle. Unsent requests are
 *              forgotten; answers to earlier ones are ignored.
 *
 * When another broker has adopted the VM, no earlier request is answered any
 * more: the link tells it what is in force (DeviceState) and goes on as if all
 * of that had been accepted; a reset is over, since no driver is left.
 *
 * A refused request other than Reset means that the driver must reset the
 * device (NEEDS_RESET). A refused Reset is sent again when the driver polls.
 *
 * At most LINK_WINDOW requests and one Reset are unanswered at a time; at most
 * LINK_WRITES config writes wait, further ones replace a waiting write to the
 * same bytes or are dropped. A link does not know which process answers: the
 * broker may replace it, as long as each request is answered.
 *
 * Threads: the functions here are the control thread's and take the machine
 * lock themselves. vCPU threads come in through the transport, under the lock,
 * and only leave word (vm_post) for the control thread, which sends.
 */

#include "proto/core.pb-c.h"
#include "vmm-core/vm.h"

#define LINK_WINDOW 8
#define LINK_WRITES 64

struct device_link;

/** device_link_add() - Build the link and its PCI function (control thread,
 *  before boot); Return: 0, -EINVAL for unacceptable DeviceInfo or slot */
int device_link_add(struct vm *vm, const Bulkhead__AddDevice *msg,
		    struct err *e);

/** device_link_event() - A device's event, relayed; Return: 0, or -EBADMSG:
 *  answer the broker with it, who replaces the device */
int device_link_event(struct vm *vm, const Bulkhead__DeviceRelay *msg,
		      struct err *e);

/** device_link_adopted() - Another broker: send it each device's DeviceState;
 *  no earlier answer will come. Return: 0 or negative: it can't be reached */
int device_link_adopted(struct vm *vm);

/** device_link_free_all() - vCPUs and loop have stopped; vm->gate, vm->pci
 *  and the buses still exist */
void device_link_free_all(struct vm *vm);

#endif
