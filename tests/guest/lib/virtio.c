/* SPDX-License-Identifier: Apache-2.0 */

/* Spec: virtio 1.2, 3.1.1 (initialization), 4.1.4 (PCI capabilities) */

#include "lib/virtio.h"

#include "lib/pci.h"
#include "lib/virtio_regs.h"

#define VENDOR	     0x1af4
#define DEVICE_FIRST 0x1040 /* + virtio id */

#define RESET_POLLS 100000 /* each an exit of some us */

static void virtio_map(struct virtio *v)
{
	unsigned int pos = 0;

	while ((pos = pci_next_cap(v->slot, pos, PCI_CAP_VENDOR))) {
		uint32_t type = pci_read(v->slot, pos + CAP_TYPE, 1);
		uint32_t bar = pci_read(v->slot, pos + CAP_BAR, 1);
		uint32_t offset = pci_read(v->slot, pos + CAP_OFFSET, 4);
		volatile uint8_t *p;

		if (type != TYPE_COMMON && type != TYPE_NOTIFY &&
		    type != TYPE_DEVICE)
			continue;
		p = (volatile uint8_t *)(pci_bar(v->slot, bar) + offset);
		if (type == TYPE_COMMON)
			v->common = p;
		else if (type == TYPE_DEVICE)
			v->config = p;
		else
			v->notify = p;
		if (type == TYPE_NOTIFY)
			v->notify_multiplier =
				pci_read(v->slot, pos + CAP_MULTIPLIER, 4);
	}
	if (!v->common || !v->notify)
		guest_fail("virtio: capabilities are missing");
	pci_write(v->slot, PCI_COMMAND, 2,
		  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void virtio_reset_begin(struct virtio *v)
{
	virtio_put8(v, COMMON_STATUS, 0);
}

bool virtio_is_reset(const struct virtio *v)
{
	return !virtio_get8(v, COMMON_STATUS);
}

void virtio_reset(struct virtio *v)
{
	virtio_reset_begin(v);
	for (int i = 0; !virtio_is_reset(v); i++) {
		if (i == RESET_POLLS)
			guest_fail("virtio: the reset does not end");
	}
}

uint64_t virtio_offered(const struct virtio *v)
{
	uint64_t f;

	virtio_put32(v, COMMON_DEVICE_SELECT, 1);
	f = (uint64_t)virtio_get32(v, COMMON_DEVICE) << 32;
	virtio_put32(v, COMMON_DEVICE_SELECT, 0);
	return f | virtio_get32(v, COMMON_DEVICE);
}

static void virtio_negotiate(struct virtio *v, uint64_t wanted)
{
	uint64_t offered = virtio_offered(v);

	wanted |= VIRTIO_F_VERSION_1;
	if (guest_option_number("packed", 0))
		wanted |= VIRTIO_F_PACKED;
	if (guest_option_number("event", 1))
		wanted |= VIRTIO_F_EVENT_IDX;
	if (guest_option_number("indirect", 0))
		wanted |= VIRTIO_F_INDIRECT;
	v->features = wanted & offered;
	/* A run that is to use packed rings must not use others silently. */
	if (wanted & ~offered & (VIRTIO_F_PACKED | VIRTIO_F_VERSION_1))
		guest_fail("virtio: no packed rings, or a legacy device");
	virtio_put32(v, COMMON_DRIVER_SELECT, 0);
	virtio_put32(v, COMMON_DRIVER, (uint32_t)v->features);
	virtio_put32(v, COMMON_DRIVER_SELECT, 1);
	virtio_put32(v, COMMON_DRIVER, (uint32_t)(v->features >> 32));
	virtio_put8(v, COMMON_STATUS,
		    STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(virtio_get8(v, COMMON_STATUS) & STATUS_FEATURES_OK))
		guest_fail("virtio: the features are refused");
}

void virtio_begin(struct virtio *v, uint64_t features)
{
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE);
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	virtio_negotiate(v, features);
}

unsigned int virtio_slot(uint16_t id, unsigned int slot)
{
	for (; slot < PCI_SLOTS; slot++) {
		if (pci_read(slot, PCI_VENDOR_ID, 2) == VENDOR &&
		    pci_read(slot, PCI_DEVICE_ID, 2) ==
			    (uint32_t)DEVICE_FIRST + id)
			break;
	}
	return slot;
}

static void virtio_locate_at(unsigned int slot, struct virtio *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->slot = slot;
	virtio_map(ret);
}

bool virtio_locate(uint16_t id, struct virtio *ret)
{
	unsigned int slot = virtio_slot(id, 0);

	if (slot == PCI_SLOTS)
		return false;
	virtio_locate_at(slot, ret);
	return true;
}

void virtio_find_at(unsigned int slot, uint64_t features, struct virtio *ret)
{
	virtio_locate_at(slot, ret);
	virtio_reset(ret);
	virtio_begin(ret, features);
}

bool virtio_find(uint16_t id, uint64_t features, struct virtio *ret)
{
	unsigned int slot = virtio_slot(id, 0);

	if (slot == PCI_SLOTS)
		return false;
	virtio_find_at(slot, features, ret);
	return true;
}

volatile uint16_t *virtio_queue_at(struct virtio *v, uint16_t index,
				   uint16_t size, const void *desc,
				   const void *driver, const void *device)
{
	volatile uint8_t *doorbell;

	virtio_put16(v, COMMON_QUEUE_SELECT, index);
	virtio_put16(v, COMMON_QUEUE_SIZE, size);
	virtio_put64(v, COMMON_QUEUE_DESC, (uint64_t)desc);
	virtio_put64(v, COMMON_QUEUE_DRIVER, (uint64_t)driver);
	virtio_put64(v, COMMON_QUEUE_DEVICE, (uint64_t)device);
	doorbell = v->notify +
		   virtio_get16(v, COMMON_QUEUE_NOTIFY) * v->notify_multiplier;
	virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
	return (volatile uint16_t *)doorbell;
}

void virtio_queue(struct virtio *v, uint16_t index, struct vq *q)
{
	uint64_t limit = guest_option_number("queue_size", 0);

	memset(q, 0, sizeof(*q));
	virtio_put16(v, COMMON_QUEUE_SELECT, index);
	q->dev = v;
	q->index = index;
	q->size = virtio_get16(v, COMMON_QUEUE_SIZE);
	if (!q->size)
		guest_fail("virtio: the queue does not exist");
	if (limit && limit < q->size)
		q->size = (uint16_t)limit;
	q->packed = v->features & VIRTIO_F_PACKED;
	q->event_idx = v->features & VIRTIO_F_EVENT_IDX;
	q->indirect = v->features & VIRTIO_F_INDIRECT;
	vq_init(q);
	q->doorbell = virtio_queue_at(v, index, q->size, q->desc, q->driver,
				      q->device);
}

void virtio_ready(struct virtio *v)
{
	virtio_put8(v, COMMON_STATUS,
		    STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
			    STATUS_DRIVER_OK);
}

bool virtio_broken(const struct virtio *v)
{
	return virtio_get8(v, COMMON_STATUS) & STATUS_NEEDS_RESET;
}
