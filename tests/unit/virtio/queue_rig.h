/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VIRTIO_QUEUE_RIG_H
#define TESTS_UNIT_VIRTIO_QUEUE_RIG_H

/* A driver's ring and the device's queue over the same memory. */

#include "common/virtio/queue.h"
#include "tests/peer/driver_ring.h"

#define RIG_GPA	  0x100000
#define RIG_BYTES (1 << 20) /* two regions that meet in the middle */

struct rig {
	struct driver_mem mem;
	struct driver_ring ring;
	struct gmem gmem;
	struct queue q;
	struct iovec iov[QUEUE_IOV_MAX];
	struct chain c;
	uint64_t buf; /* guest address of 64 KiB */
};

/* Features (DRIVER_F_...) without VERSION_1, one of each kind of ring. */
extern const uint64_t rig_kinds[8];

void rig_start(struct rig *r, uint32_t size, uint64_t features);
void rig_done(struct rig *r);
/* Start the same ring again where it stopped. */
void rig_restart(struct rig *r, uint32_t base);
/* Add @out readable and @in writable buffers of 16 bytes each. */
int rig_add(struct rig *r, unsigned int out, unsigned int in, bool indirect);
int rig_pop(struct rig *r);
/* Interrupts since the last question. */
uint64_t rig_calls(struct rig *r);
/* Raw words of the ring, for hostile tests. */
uint8_t *rig_desc(struct rig *r, unsigned int i);
void rig_store16(struct rig *r, uint64_t gpa, uint16_t v);

#endif
