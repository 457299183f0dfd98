/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_QUEUE_H
#define COMMON_VIRTIO_QUEUE_H

/*
 * The device's end of a virtqueue, split or packed (virtio 1.2, 2.7 and 2.8).
 *
 * The driver is hostile: every index, length, address and chain is checked
 * here, once, and a device sees only host iovecs inside guest memory. A queue
 * belongs to one thread; nothing here locks.
 *
 * Limits: size <= 32768; a chain has at most `size` descriptors, or ends in one
 * indirect table of at most QUEUE_IOV_MAX; all device-readable parts come
 * before the writable ones; total length < 4 GiB. Empty descriptors add
 * nothing. An id is less than `size` and names one chain between its
 * queue_pop() and its queue_push(): devices may index by it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/virtio/gmem.h"
#include "common/virtio/inflight.h"

#define QUEUE_SIZE_MAX 32768
#define QUEUE_IOV_MAX  1024 /* a chain with more pieces is malformed for us */

struct queue_config {
	uint32_t index;
	uint32_t size; /* split: power of two; packed: any, 1 to 32768 */
	gpa_t desc;
	gpa_t driver;
	gpa_t device;
	uint32_t base;	   /* as StartQueue.ring_base in proto/device.proto */
	uint64_t features; /* accepted: RING_PACKED, EVENT_IDX, INDIRECT_DESC */
	/* Region that outlives the process (common/base/inflight_layout.h) and
	 * the bytes of it; NULL: none. Once used, it has the say, not base. */
	void *inflight;
	uint64_t inflight_len;
	bool careful; /* do what a predecessor left one at a time */
};

/* A request. Opaque but for the counts; give it back to queue_push(). */
struct chain {
	uint32_t id;	     /* split: head index; packed: buffer id */
	uint32_t num_desc;   /* ring slots that it takes */
	uint32_t num_out;    /* iov[0, num_out): the driver wrote, we read */
	uint32_t num_in;     /* iov[num_out, num_out + num_in): we write */
	uint32_t len_out;    /* bytes */
	uint32_t len_in;     /* bytes */
	uint16_t entry;	     /* first one in the in-flight region, */
	uint16_t entry_last; /* and last one */
	bool redone;	     /* a predecessor had taken it already */
	uint64_t counter;    /* its name (inflight_layout.h); with a region */
};

struct queue {
	/* Set by queue_start(); read-only to devices. */
	uint32_t index;
	uint32_t size;
	bool packed;
	bool event_idx;
	bool indirect;
	bool started;
	const struct gmem *mem;
	int kick_fd; /* owned by the runtime */
	int call_fd;
	/* The rest belongs to queue*.c. */
	void *ring_desc;
	void *ring_driver;
	void *ring_device;
	uint16_t last_avail; /* split: index; packed: slot */
	uint16_t avail_seen; /* split: the driver's index as last read */
	uint16_t used;	     /* split: index; packed: slot */
	bool avail_wrap;
	bool used_wrap;
	bool signalled;	   /* the driver was interrupted since the start */
	bool kicks_paused; /* queue_pause_kicks() */
	bool broken;
	bool recovered;	      /* started from a region that was used */
	bool reset_told;      /* device_needs_reset() said it already */
	uint16_t pushed;      /* chains completed, not yet published */
	uint16_t batch_first; /* packed: their first slot, */
	uint16_t batch_flags; /* its flags, written last, */
	uint32_t batch_slots; /* and the slots that they took */
	uint32_t in_use;      /* slots taken and not yet pushed */
	uint64_t taken[QUEUE_SIZE_MAX / 64]; /* ids taken and not yet pushed */
	struct inflight inflight;
	/* Free for the device. */
	void *priv;
	struct worker *worker;
	struct device *device;
};

/**
 * queue_start() - Check addresses and begin at cfg->base, or where the region
 *                 says that a predecessor died
 *
 * Return: 0, -EINVAL (size, alignment), -EFAULT (ring outside guest memory).
 * A region that makes no sense leaves a queue that is started and broken.
 * After a restart the caller scans the ring without waiting for a kick; after
 * a recovery it also calls queue_call() once: the predecessor may have died
 * between a completion and its interrupt.
 */
int queue_start(struct queue *q, const struct queue_config *cfg,
		const struct gmem *mem, int kick_fd, int call_fd,
		struct err *e);

/** queue_stop() - All is pushed and flushed; Return: the base to start at again
 * (see StartQueue.ring_base) */
uint32_t queue_stop(struct queue *q);

/** queue_forget() - Stopped: the region is fresh when the queue starts again.
 * Without it, a successor goes on where this queue stopped. */
void queue_forget(struct queue *q);

/**
 * queue_pop() - Take the next available chain
 * @iov: Room for @max_iov pieces (<= QUEUE_IOV_MAX); filled
 *
 * Empty also means that a kick will follow the next chain, unless kicks are
 * paused. Simple devices need neither pause nor resume.
 *
 * After a recovery the chains that a predecessor took come first, in the order
 * in which it took them.
 *
 * Return: 1 taken; 0 empty; -EBADMSG malformed ring or chain: the queue is
 *         broken from now on and the caller reports device_needs_reset()
 * Spec:   virtio 1.2, 2.7.13 and 2.8.21
 */
int queue_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	      unsigned int max_iov);

/**
 * queue_pop_poisoned() - Before any queue_pop(): take one that is not to be
 *                        served
 * @counters: Names of requests, of any queue
 *
 * Return: as queue_pop()
 */
int queue_pop_poisoned(struct queue *q, const uint64_t *counters,
		       size_t num_counters, struct chain *ret,
		       struct iovec *iov, unsigned int max_iov);

/** queue_unpop() - Undo the last queue_pop(), when there is no resource for it
 */
void queue_unpop(struct queue *q, const struct chain *c);

/**
 * queue_push() - Complete a chain; order is free
 * @written: Bytes written to the writable part; at most c->len_in
 *
 * Not visible to the driver before queue_flush().
 */
void queue_push(struct queue *q, const struct chain *c, uint32_t written);

/**
 * queue_flush() - Publish what was pushed and interrupt the driver if it asks
 *
 * One eventfd write at most. Between pushes and flush nothing is visible.
 */
void queue_flush(struct queue *q);

/**
 * queue_pause_kicks() / queue_resume_kicks() - Tell the driver not to kick
 *
 * resume: Return: true if chains became available meanwhile: pop again
 * before sleeping.
 */
void queue_pause_kicks(struct queue *q);
bool queue_resume_kicks(struct queue *q);

/**
 * queue_kick_self() - Come back to this queue soon, as if the driver kicked
 *
 * For a device that served its share and lets the worker's others have theirs.
 */
void queue_kick_self(struct queue *q);

/** queue_call() - Interrupt the driver in any case, as after a restart */
void queue_call(struct queue *q);

#endif
