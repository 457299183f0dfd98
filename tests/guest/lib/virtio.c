/* SPDX-License-Identifier: Apache-2.0 */

/* Spec: virtio 1.2, 3.1.1 (initialization), 4.1.4 (PCI capabilities) */

#include "lib/virtio.h"

#include "lib/pci.h"

#define VENDOR	     0x1af4
#define DEVICE_FIRST 0x1040 /* + virtio id */

/* A capability, 4.1.4 */
#define CAP_TYPE       3
#define CAP_BAR	       4
#define CAP_OFFSET     8
#define CAP_MULTIPLIER 16
#define TYPE_COMMON    1
#define TYPE_NOTIFY    2
#define TYPE_DEVICE    4

/* The common configuration, 4.1.4.3 */
#define COMMON_DEVICE_SELECT 0
#define COMMON_DEVICE	     4
#define COMMON_DRIVER_SELECT 8
#define COMMON_DRIVER	     12
#define COMMON_NUM_QUEUES    18
#define COMMON_STATUS	     20
#define COMMON_QUEUE_SELECT  22
#define COMMON_QUEUE_SIZE    24
#define COMMON_QUEUE_ENABLE  28
#define COMMON_QUEUE_NOTIFY  30
#define COMMON_QUEUE_DESC    32
#define COMMON_QUEUE_DRIVER  40
#define COMMON_QUEUE_DEVICE  48

#define STATUS_ACKNOWLEDGE 0x01
#define STATUS_DRIVER	   0x02
#define STATUS_DRIVER_OK   0x04
#define STATUS_FEATURES_OK 0x08
#define STATUS_NEEDS_RESET 0x40

#define RESET_POLLS 100000 /* each an exit of some us */

static uint8_t get8(const struct virtio *v, unsigned int reg)
{
	return v->common[reg];
}

static uint16_t get16(const struct virtio *v, unsigned int reg)
{
	return *(volatile uint16_t *)(v->common + reg);
}

static uint32_t get32(const struct virtio *v, unsigned int reg)
{
	return *(volatile uint32_t *)(v->common + reg);
}

static void put8(const struct virtio *v, unsigned int reg, uint8_t x)
{
	v->common[reg] = x;
}

static void put16(const struct virtio *v, unsigned int reg, uint16_t x)
{
	*(volatile uint16_t *)(v->common + reg) = x;
}

static void put32(const struct virtio *v, unsigned int reg, uint32_t x)
{
	*(volatile uint32_t *)(v->common + reg) = x;
}

static void put64(const struct virtio *v, unsigned int reg, const void *p)
{
	put32(v, reg, (uint32_t)(uint64_t)p);
	put32(v, reg + 4, (uint32_t)((uint64_t)p >> 32));
}

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
	put8(v, COMMON_STATUS, 0);
}

bool virtio_is_reset(const struct virtio *v)
{
	return !get8(v, COMMON_STATUS);
}

void virtio_reset(struct virtio *v)
{
	virtio_reset_begin(v);
	for (int i = 0; !virtio_is_reset(v); i++) {
		if (i == RESET_POLLS)
			guest_fail("virtio: the reset does not end");
	}
}

static uint64_t virtio_offered(struct virtio *v)
{
	uint64_t f;

	put32(v, COMMON_DEVICE_SELECT, 1);
	f = (uint64_t)get32(v, COMMON_DEVICE) << 32;
	put32(v, COMMON_DEVICE_SELECT, 0);
	return f | get32(v, COMMON_DEVICE);
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
	put32(v, COMMON_DRIVER_SELECT, 0);
	put32(v, COMMON_DRIVER, (uint32_t)v->features);
	put32(v, COMMON_DRIVER_SELECT, 1);
	put32(v, COMMON_DRIVER, (uint32_t)(v->features >> 32));
	put8(v, COMMON_STATUS,
	     STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(get8(v, COMMON_STATUS) & STATUS_FEATURES_OK))
		guest_fail("virtio: the features are refused");
}

void virtio_begin(struct virtio *v, uint64_t features)
{
	put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE);
	put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
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

void virtio_find_at(unsigned int slot, uint64_t features, struct virtio *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->slot = slot;
	virtio_map(ret);
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

	put16(v, COMMON_QUEUE_SELECT, index);
	put16(v, COMMON_QUEUE_SIZE, size);
	put64(v, COMMON_QUEUE_DESC, desc);
	put64(v, COMMON_QUEUE_DRIVER, driver);
	put64(v, COMMON_QUEUE_DEVICE, device);
	doorbell = v->notify +
		   get16(v, COMMON_QUEUE_NOTIFY) * v->notify_multiplier;
	put16(v, COMMON_QUEUE_ENABLE, 1);
	return (volatile uint16_t *)doorbell;
}

void virtio_queue(struct virtio *v, uint16_t index, struct vq *q)
{
	uint64_t limit = guest_option_number("queue_size", 0);

	memset(q, 0, sizeof(*q));
	put16(v, COMMON_QUEUE_SELECT, index);
	q->dev = v;
	q->index = index;
	q->size = get16(v, COMMON_QUEUE_SIZE);
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
	put8(v, COMMON_STATUS,
	     STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
		     STATUS_DRIVER_OK);
}

bool virtio_broken(const struct virtio *v)
{
	return get8(v, COMMON_STATUS) & STATUS_NEEDS_RESET;
}
