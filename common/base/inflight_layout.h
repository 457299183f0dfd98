/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_INFLIGHT_LAYOUT_H
#define COMMON_BASE_INFLIGHT_LAYOUT_H

/*
 * The memory that outlives a device process: which requests its queues have
 * taken and not yet completed, and a few bytes of the device's own state. One
 * sealed memfd a device, made and kept by the broker, zeroed at first, passed
 * by SetInflight:
 *
 *	queue i			[i * stride, (i + 1) * stride)
 *	the device's own state	[num_queues * stride, inflight_total())
 *
 * The device writes it and its successor goes on from it
 * (common/virtio/inflight.h has the rules); the broker reads it to see what a
 * dead device was doing. Both treat it as hostile. Numbers are little-endian;
 * the layout is that of vhost-user's in-flight buffers.
 *
 * A counter names one request of one device: the queue's index in the upper
 * bits, below it the order in which the queue's requests were taken.
 */

#include <stdint.h>

#include "common/base/endian.h"
#include "common/base/num.h"

#define INFLIGHT_VERSION 1 /* 0: fresh, nothing was ever taken */
#define INFLIGHT_NONE	 0xffffu
#define INFLIGHT_PACKED	 (1ULL << 34) /* in features: the packed layout */

#define INFLIGHT_QUEUE_MAX  32768	/* descriptors */
#define INFLIGHT_QUEUES_MAX 64		/* of a device */
#define INFLIGHT_STATE_SIZE (512 * KIB) /* bytes for the device itself */

#define INFLIGHT_QUEUE_SHIFT 58 /* bits of a counter that count */

enum inflight_state {
	INFLIGHT_FREE = 0,
	INFLIGHT_TAKEN = 1,
	/* After Recover.careful: this one was being served, alone. */
	INFLIGHT_SERVED = 2,
};

struct inflight_split_desc {
	uint8_t state; /* enum inflight_state; of a chain's first descriptor */
	uint8_t pad[5];
	le16 next; /* completed just before this one, in the same batch */
	le64 counter;
};

struct inflight_split {
	le64 features;
	le16 version;
	le16 desc_num;
	le16 batch; /* completed last; meaningful while used differs */
	le16 used;  /* as published, the batch's entries being cleared */
	struct inflight_split_desc desc[];
};

struct inflight_packed_desc {
	uint8_t state; /* enum inflight_state; of a chain's first entry */
	uint8_t pad0;
	le16 next; /* entry: of the chain, the batch or the free ones */
	le16 last; /* first entry: the chain's last one */
	le16 num;  /* first entry: descriptors in the ring, and entries */
	le64 counter;
	le16 id; /* copy of the descriptor, which the ring won't keep */
	le16 flags;
	le32 len;
	le64 addr;
};

/* Where the used descriptors end; stored as one word. */
struct inflight_packed_used {
	le16 used;     /* with the batch that is not yet published */
	le16 old_used; /* without */
	uint8_t wrap;
	uint8_t old_wrap;
	uint8_t pad[2];
};

struct inflight_packed {
	le64 features;
	le16 version;
	le16 desc_num;
	le16 free;  /* first free entry */
	le16 batch; /* first entry of the chain completed last */
	struct inflight_packed_used used;
	uint8_t pad[8];
	struct inflight_packed_desc desc[];
};

/** inflight_stride() - Bytes between two queues' regions, for SetInflight */
static inline uint64_t inflight_stride(uint32_t max_queue_size)
{
	return align_up(sizeof(struct inflight_packed) +
				sizeof(struct inflight_packed_desc) *
					(uint64_t)max_queue_size,
			4096);
}

/** inflight_total() - Bytes of the memfd (sparse: few are ever touched) */
static inline uint64_t inflight_total(uint32_t num_queues,
				      uint32_t max_queue_size)
{
	return num_queues * inflight_stride(max_queue_size) +
	       INFLIGHT_STATE_SIZE;
}

static inline uint32_t inflight_queue_of(uint64_t counter)
{
	return (uint32_t)(counter >> INFLIGHT_QUEUE_SHIFT);
}

struct inflight_entry {
	uint64_t counter;
	uint8_t state; /* TAKEN or SERVED */
};

/**
 * inflight_list() - The requests that one queue's region says are in flight
 * @region: May be written by a hostile process meanwhile
 * @len:    Bytes of it, at most the stride
 * @index:  The queue's; requests that claim another one's counter are left out
 * @ret:    Filled in no order
 *
 * Return: how many (at most @max), -EBADMSG a region that makes no sense
 */
int inflight_list(const void *region, uint64_t len, uint32_t index,
		  struct inflight_entry *ret, unsigned int max);

#endif
