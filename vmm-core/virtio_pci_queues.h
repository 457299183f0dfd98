/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_VIRTIO_PCI_QUEUES_H
#define VMM_CORE_VIRTIO_PCI_QUEUES_H

/*
 * The virtqueue registers of one transport, and the doorbells.
 *
 * A doorbell is an ioeventfd at a queue's notify address. It is in while the
 * driver is ready, the queue enabled and the BAR decoded; otherwise a notify
 * write reaches the core and is passed on to the same eventfd.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/log.h"
#include "vmm-core/virtio_pci.h"

#define NOTIFY_MULTIPLIER 4u /* bytes */

struct vq {
	uint16_t size;
	uint16_t msix_vector;
	bool enabled;
	bool taken; /* handed to the link */
	uint64_t desc;
	uint64_t driver;
	uint64_t device;
	int kick_fd;	   /* owned */
	uint64_t doorbell; /* gpa, 0 = none */
};

struct vqs {
	struct vm *vm;
	unsigned int slot;
	unsigned int num;
	uint16_t max_size;
	struct vq q[VIRTIO_PCI_QUEUES_MAX];
	struct log_limit log;
};

int vqs_init(struct vqs *s, struct vm *vm, unsigned int slot, unsigned int num,
	     uint32_t max_size, struct err *e);
/** vqs_done() - The doorbells must be out; a zeroed struct is allowed */
void vqs_done(struct vqs *s);
/** vqs_reset() - The registers' initial values; pending kicks are dropped */
void vqs_reset(struct vqs *s);

/** vqs_set_size() - Refused sizes leave the register alone */
void vqs_set_size(struct vqs *s, struct vq *q, uint16_t size, bool packed);

/** vqs_check() - May the queue be enabled?
 *  Return: NULL, or what is wrong */
const char *vqs_check(const struct vqs *s, const struct vq *q, bool packed);

/** vqs_settle_doorbells() - Make them what they should be
 *  @notify: gpa of the notify area; 0: none at all */
void vqs_settle_doorbells(struct vqs *s, uint64_t notify);

/** vqs_kick() - A notify write that was trapped */
void vqs_kick(struct vqs *s, unsigned int index);

#endif
