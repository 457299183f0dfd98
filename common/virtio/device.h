/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_DEVICE_H
#define COMMON_VIRTIO_DEVICE_H

/*
 * The device runtime: everything that all device processes share. A device is
 * an operations table; main() is device_main(&ops).
 *
 * Life of the process:
 *   exec -> Hello -> DeviceSetup -> ops->open() -> no more opening -> threads
 *   are created, ops->worker_open() -> sandbox_lock() -> answer DeviceInfo ->
 * SetMemTable, SetFeatures, StartQueue ... -> Reset / StopQueue ... -> end of
 * the channel: exit.
 *
 * Who runs what: open, set_features, config_write, attach, reset run in the
 * control thread while no queue is started (set_features, reset) or at any
 * time (config_write, attach, console_size). queue_* run in the thread of the
 * worker that the queue belongs to. A worker's queues share its thread, so
 * they need no lock between them.
 *
 * A request is never cut off: before StopQueue or Reset is answered and before
 * reset() runs, every chain taken from the ring was pushed (or un-popped).
 * Memory is replaced only while all queues are stopped. After lock-down no
 * thread is made and the heap is what sandbox_start() prepared.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/virtio/gmem.h"
#include "common/virtio/queue.h"
#include "common/virtio/worker.h"
#include "proto/device.pb-c.h"

#define DEVICE_CONFIG_MAX  256 /* bytes */
#define DEVICE_QUEUES_MAX  64
#define DEVICE_WORKERS_MAX 32

struct seccomp_profile; /* common/sandbox/seccomp.h */
struct device;

struct device_ops {
	const char *name;   /* "blk": program "bulkhead-blk" */
	uint32_t virtio_id; /* virtio 1.2, section 5 */
	uint64_t heap;	    /* bytes that open() and later calls malloc() */

	/**
	 * open() - Take the back end over and describe the device
	 * @setup: Already checked against proto limits, backend of any kind
	 * @fds:   Exactly the descriptors the protocol promises; take_fd()
	 *
	 * Sets dev->features (device bits only; the runtime adds VERSION_1,
	 * RING_PACKED, EVENT_IDX, INDIRECT_DESC, ...), config, num_queues,
	 * max_queue_size, num_workers, profile, priv; allocates everything.
	 */
	int (*open)(struct device *dev, const Bulkhead__DeviceSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e);

	/** worker_open() - In the worker's thread, before lock-down; optional
	 */
	int (*worker_open)(struct device *dev, struct worker *w, struct err *e);

	/** queue_worker() - Which worker serves queue @index; NULL: all 0 */
	unsigned int (*queue_worker)(struct device *dev, uint32_t index);

	/** set_features() - @features is a subset of the offered; optional */
	int (*set_features)(struct device *dev, uint64_t features);

	/** config_write() - Driver wrote config space; optional */
	void (*config_write)(struct device *dev, uint32_t offset,
			     const uint8_t *data, uint32_t len);

	/** queue_started() - Ring is ready; the runtime kicks once after it */
	void (*queue_started)(struct device *dev, struct queue *q);

	/** queue_kick() - Driver made chains available (or spurious) */
	void (*queue_kick)(struct device *dev, struct queue *q);

	/**
	 * queue_reject() - Complete a request without serving it: it has
	 *                  killed the device several times
	 * @iov: As from queue_pop()
	 *
	 * Return: bytes written, at most c->len_in. In the worker, after
	 * queue_started(). Optional: NULL means 0.
	 */
	uint32_t (*queue_reject)(struct device *dev, struct queue *q,
				 const struct chain *c,
				 const struct iovec *iov);

	/**
	 * queue_is_room() - Chains of queue @index are room for what comes
	 * from outside: not requests, so none of them can be the one that
	 * kills; they are not served one at a time. Optional: NULL means no.
	 */
	bool (*queue_is_room)(struct device *dev, uint32_t index);

	/**
	 * recovered() - The state area is there, before any queue starts
	 *
	 * A successor finds in device_state_area() what its predecessor left:
	 * hostile bytes; zeroes at first. Control thread. Optional.
	 */
	void (*recovered)(struct device *dev);

	/**
	 * queue_stopping() - Take no more chains; finish those taken
	 *
	 * Return: true if nothing is in flight; else false, and the device
	 * calls device_queue_drained() from the worker later. Optional: NULL
	 * means always drained.
	 */
	bool (*queue_stopping)(struct device *dev, struct queue *q);

	/** reset() - All queues are stopped; forget driver state; optional */
	void (*reset)(struct device *dev);

	/** quiesce() - Leave the back end at a clean point; optional */
	void (*quiesce)(struct device *dev);

	/** attach() - New peer of the back end; takes @fd; optional */
	int (*attach)(struct device *dev, int fd, struct err *e);

	/** console_size() - Optional */
	void (*console_size)(struct device *dev, uint32_t cols, uint32_t rows);
};

struct device {
	const struct device_ops *ops;
	/* Set by open(). */
	uint64_t features; /* offered */
	uint8_t config[DEVICE_CONFIG_MAX];
	uint32_t config_len; /* bytes */
	uint32_t num_queues;
	uint32_t max_queue_size;
	uint32_t num_workers; /* 0: one inline worker in the control thread */
	const struct seccomp_profile *profile;
	void *priv;
	/* Set by the runtime, before open(). */
	int fence_fd; /* -1 = none; see DeviceSetup.fence */
	/* Set by the runtime. */
	uint64_t acked; /* accepted features */
	struct gmem mem;
	struct queue queues[DEVICE_QUEUES_MAX];
	struct device_runtime *rt;
};

/** device_main() - The whole program; Return: exit status */
int device_main(const struct device_ops *ops);

/**
 * device_state_area() - Memory that the device's successor will find
 *
 * Zeroed at first. What a predecessor left there is hostile. Whoever kills us
 * does it between any two stores.
 * Return: page aligned, *ret_len bytes of it; NULL when nobody keeps any
 */
void *device_state_area(const struct device *dev, uint64_t *ret_len);

static inline bool device_has_feature(const struct device *dev,
				      unsigned int bit)
{
	return dev->acked & (1ULL << bit);
}

/* From any thread, where not said otherwise. They post to the control thread
 * and return at once. */

/** device_config_changed() - dev->config was changed (control thread only) */
void device_config_changed(struct device *dev);
/** device_needs_reset() - The driver broke the protocol; @why: a literal */
void device_needs_reset(struct device *dev, struct queue *q, const char *why);
/** device_backend_closed() - The back end's peer went away; @why: a literal */
void device_backend_closed(struct device *dev, const char *why);
/** device_queue_drained() - All is pushed, after queue_stopping() returned
 * false; in the queue's worker; at other times it does nothing */
void device_queue_drained(struct device *dev, struct queue *q);

#endif
