/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PEER_DRIVER_RING_H
#define TESTS_PEER_DRIVER_RING_H

/*
 * The driver's end of a virtqueue, for tests: what a guest's driver does with
 * split and packed rings (virtio 1.2, 2.7 and 2.8), EVENT_IDX and indirect
 * tables. Written from the specification and not from common/virtio, so that
 * the two check each other. The memory is a plain block that is "guest
 * memory" for the device's end.
 *
 *	driver_ring_init(&r, &mem, 64, features);
 *	id = driver_ring_add(&r, bufs, num, indirect);
 *	if (driver_ring_publish(&r)) kick
 *	... device ...
 *	while (driver_ring_get(&r, &id, &len)) use it
 *
 * Hostile rings are made by writing to the memory directly.
 */

#include <stdbool.h>
#include <stdint.h>

#define DRIVER_F_INDIRECT (1ULL << 28)
#define DRIVER_F_EVENT	  (1ULL << 29)
#define DRIVER_F_VERSION1 (1ULL << 32)
#define DRIVER_F_PACKED	  (1ULL << 34)

#define DRIVER_INDIRECT_MAX 64 /* entries of a table */
#define DRIVER_RING_MAX	    1024

/* Guest memory and where its unused part begins. */
struct driver_mem {
	uint8_t *hva;
	uint64_t gpa;
	uint64_t size;
	uint64_t next; /* offset */
};

struct driver_buf {
	uint64_t gpa;
	uint32_t len;
	bool write; /* the device writes it */
};

struct driver_ring {
	struct driver_mem *mem;
	uint32_t size;
	bool packed, event_idx, indirect;
	uint64_t desc, driver, device; /* guest addresses, for StartQueue */
	uint64_t tables;	       /* an indirect table per id */
	/* free ids, a stack */
	uint16_t free_ids[DRIVER_RING_MAX];
	uint32_t num_free_ids;
	uint32_t num_free;		      /* descriptors */
	uint16_t slots_of[DRIVER_RING_MAX];   /* per id */
	uint16_t split_next[DRIVER_RING_MAX]; /* chain of free descriptors */
	uint16_t split_free;
	uint16_t avail; /* split: index; packed: slot */
	uint16_t added; /* since the last publish */
	uint16_t used;
	bool avail_wrap, used_wrap;
	/* packed: the flags that publish the batch, written last */
	uint16_t first_slot, first_flags;
};

/** driver_mem_alloc() - @align a power of two; aborts when it is all used */
uint64_t driver_mem_alloc(struct driver_mem *m, uint64_t size, uint64_t align);
/** driver_mem_ptr() - Aborts outside of it */
void *driver_mem_ptr(const struct driver_mem *m, uint64_t gpa, uint64_t len);

/** driver_ring_init() - Allocate and clear a ring; @size <= DRIVER_RING_MAX */
void driver_ring_init(struct driver_ring *r, struct driver_mem *m,
		      uint32_t size, uint64_t features);
/** driver_ring_base() - StartQueue.ring_base of a fresh ring */
uint32_t driver_ring_base(const struct driver_ring *r);

/**
 * driver_ring_add() - Make a chain, not yet visible
 * @indirect: Put all of it into a table (needs the feature)
 *
 * Return: the chain's id, or -1 when the ring is full
 */
int driver_ring_add(struct driver_ring *r, const struct driver_buf *bufs,
		    unsigned int num, bool indirect);
/** driver_ring_publish() - Return: true if the device wants a kick */
bool driver_ring_publish(struct driver_ring *r);
/** driver_ring_get() - A completed chain; Return: true if there is one */
bool driver_ring_get(struct driver_ring *r, uint32_t *ret_id,
		     uint32_t *ret_len);
/** driver_ring_want_call() - Ask for an interrupt at the next completion (or,
 * with EVENT_IDX, at the one @later after it); Return: true if there is one
 * already */
bool driver_ring_want_call(struct driver_ring *r, uint16_t later);
void driver_ring_no_call(struct driver_ring *r);

#endif
