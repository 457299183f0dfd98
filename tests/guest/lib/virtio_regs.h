/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_VIRTIO_REGS_H
#define TESTS_GUEST_LIB_VIRTIO_REGS_H

/* Registers of virtio-pci and memory images of the rings, for the drivers and
 * for those who misuse them. Spec: virtio 1.2, 4.1.4, 2.7, 2.8 */

#include "lib/virtio.h"

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
#define COMMON_CONFIG_VECTOR 16
#define COMMON_NUM_QUEUES    18
#define COMMON_STATUS	     20
#define COMMON_QUEUE_SELECT  22
#define COMMON_QUEUE_SIZE    24
#define COMMON_QUEUE_VECTOR  26
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

static inline uint8_t virtio_get8(const struct virtio *v, unsigned int reg)
{
	return v->common[reg];
}

static inline uint16_t virtio_get16(const struct virtio *v, unsigned int reg)
{
	return *(volatile uint16_t *)(v->common + reg);
}

static inline uint32_t virtio_get32(const struct virtio *v, unsigned int reg)
{
	return *(volatile uint32_t *)(v->common + reg);
}

static inline void virtio_put8(const struct virtio *v, unsigned int reg,
			       uint8_t x)
{
	v->common[reg] = x;
}

static inline void virtio_put16(const struct virtio *v, unsigned int reg,
				uint16_t x)
{
	*(volatile uint16_t *)(v->common + reg) = x;
}

static inline void virtio_put32(const struct virtio *v, unsigned int reg,
				uint32_t x)
{
	*(volatile uint32_t *)(v->common + reg) = x;
}

static inline void virtio_put64(const struct virtio *v, unsigned int reg,
				uint64_t x)
{
	virtio_put32(v, reg, (uint32_t)x);
	virtio_put32(v, reg + 4, (uint32_t)(x >> 32));
}

/* ---- the rings ---- */

#define DESC_NEXT     0x1
#define DESC_WRITE    0x2
#define DESC_INDIRECT 0x4
#define DESC_AVAIL    0x80   /* packed */
#define DESC_USED     0x8000 /* packed */

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY	   1

/* Packed: what one side asks of the other */
#define EVENT_ENABLE  0
#define EVENT_DISABLE 1
#define EVENT_DESC    2

/* Split and indirect: flags and next; packed: id and flags. */
struct vq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t a, b;
};

struct split_avail {
	uint16_t flags, idx;
	uint16_t ring[];
};

struct split_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[];
};

struct packed_event {
	uint16_t place; /* bit 15: wrap counter */
	uint16_t flags;
};

static inline uint16_t load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

#endif
