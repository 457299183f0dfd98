/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_VIRTIO_H
#define TESTS_GUEST_LIB_VIRTIO_H

/*
 * The virtio-pci transport, and virtqueues that are polled: the device is
 * asked never to interrupt. All is checked that a driver can check: a
 * completion that nobody waits for ends the guest.
 *
 * The command line chooses for all devices: packed=1 (rings, 0), event=0 (no
 * event index, 1), indirect=1 (chains in tables, 0), queue_size=N (the most
 * that the device offers).
 */

#include "lib/guest.h"

#define VIRTIO_ID_NET	  1
#define VIRTIO_ID_BLK	  2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG	  4

#define VIRTIO_F_INDIRECT  (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_PACKED	   (1ull << 34)

struct virtio {
	unsigned int slot;
	uint64_t features; /* accepted */
	volatile uint8_t *common, *config, *notify;
	uint32_t notify_multiplier;
};

struct vq_buf {
	const void *addr;
	uint32_t len;
	bool device_writes; /* such buffers come last */
};

#define VQ_CHAIN_MAX 20 /* buffers */

/* A chain that the device has. */
struct vq_chain {
	uint64_t cookie;
	uint16_t num; /* descriptors in the ring; 0 = not in use */
	bool in_use;
};

struct vq {
	uint16_t index, size;
	bool packed, event_idx, indirect;
	const struct virtio *dev;
	volatile uint16_t *doorbell;
	void *desc, *driver, *device; /* the rings */
	struct vq_desc *tables;	      /* VQ_CHAIN_MAX entries for each id */
	struct vq_chain *chains;      /* by id; split: first descriptor */
	uint16_t *free, num_free;     /* ids; split: descriptors */
	uint16_t *next;		      /* split: of a chain */
	uint16_t room;		      /* free descriptors */
	uint16_t avail, used;	      /* split: counts; packed: places */
	bool avail_wrap, used_wrap;
	uint16_t added;	 /* since the last kick */
	uint16_t flight; /* chains that the device has */
	uint64_t kicks;
};

/** virtio_find() - The first device of this kind: reset, features agreed on
 *  Return: false if there is none */
bool virtio_find(uint16_t id, uint64_t features, struct virtio *ret);
/** virtio_locate() - The first device of this kind, as it is */
bool virtio_locate(uint16_t id, struct virtio *ret);
uint64_t virtio_offered(const struct virtio *v);
/** virtio_slot() - The first such device's PCI slot, from @slot on; it is not
 *  touched; Return: PCI_SLOTS if there is none */
unsigned int virtio_slot(uint16_t id, unsigned int slot);
/** virtio_find_at() - As virtio_find(), the one that is in this slot */
void virtio_find_at(unsigned int slot, uint64_t features, struct virtio *ret);
void virtio_queue(struct virtio *v, uint16_t index, struct vq *ret);
/** virtio_ready() - All queues are set up: DRIVER_OK */
void virtio_ready(struct virtio *v);
/** virtio_broken() - Has the device given up (NEEDS_RESET)? */
bool virtio_broken(const struct virtio *v);
/** virtio_reset() - Take everything back */
void virtio_reset(struct virtio *v);

/* For a driver that must not wait for its device, and has rings of its own:
 * reset_begin, then is_reset until it is, then begin, queue_at, ready. */
void virtio_reset_begin(struct virtio *v);
bool virtio_is_reset(const struct virtio *v);
void virtio_begin(struct virtio *v, uint64_t features);
/** virtio_queue_at() - Return: the queue's doorbell */
volatile uint16_t *virtio_queue_at(struct virtio *v, uint16_t index,
				   uint16_t size, const void *desc,
				   const void *driver, const void *device);

/** vq_add() - Give the device a chain; Return: false if there is no room */
bool vq_add(struct vq *q, const struct vq_buf *bufs, unsigned int n,
	    uint64_t cookie);
/** vq_kick() - Tell the device about what was added, if it wants to know */
void vq_kick(struct vq *q);
/** vq_get() - Take back a completed chain; Return: false if there is none */
bool vq_get(struct vq *q, uint64_t *ret_cookie, uint32_t *ret_len);

/* virtqueue.c for virtio.c */
void vq_init(struct vq *q);

#endif
