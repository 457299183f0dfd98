/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_RUNTIME_H
#define COMMON_VIRTIO_RUNTIME_H

/*
 * Private to the device runtime (device*.c, worker.c).
 *
 * Two kinds of threads: the control thread owns the channel and every queue's
 * state; a worker owns the rings of its queues while they are started. They
 * hand a queue to each other through one word per direction and queue
 * (request, done), each followed by a write to the other side's eventfd. A
 * word can hold all that may ever be outstanding, so nothing overflows and
 * nothing locks.
 *
 *	state		what may arrive			leaves by
 *	STOPPED		StartQueue			-> STARTING
 *	STARTING	StopQueue, Reset (remembered)	start done -> STARTED,
 *							STOPPED when it failed
 *	STARTED		StopQueue, Reset		-> STOPPING
 *	STOPPING	Reset				drained -> STOPPED
 */

#include <pthread.h>
#include <stdatomic.h>

#include "common/channel/channel.h"
#include "common/channel/loop.h"
#include "common/sandbox/sandbox.h"
#include "common/virtio/device.h"

#define RUNTIME_HEAP	   (768ULL * 1024) /* bytes; plus ops->heap */
#define RUNTIME_TEXT_MAX   ERR_TEXT_MAX	   /* bytes of text in an answer */
#define RUNTIME_POISON_MAX 64

/* Per queue a start and a stop; a drain; a ping; one answered at once. */
#define RUNTIME_OUT_MAX (2 * DEVICE_QUEUES_MAX + 8)

struct worker_slot {
	int fd; /* -1 = free */
	uint32_t generation;
	uint32_t events; /* 0 = paused: not in the epoll set */
	worker_fd_cb cb;
	void *arg;
};

struct worker {
	unsigned int index;
	int epoll_fd;
	int mail_fd; /* eventfd: look at the requests of your queues */
	struct worker_slot slots[WORKER_MAX_WATCHES + 1]; /* + mail */
	struct device *dev;
	pthread_t thread;
	int affinity;	    /* host CPU, -1 = any */
	atomic_bool pinged; /* to the worker */
	atomic_bool ponged; /* and back */
	/* Until lock-down: how worker_open() went. */
	atomic_bool opened;
	int open_result;
	struct err open_err;
};

enum queue_request { QUEUE_REQ_NONE, QUEUE_REQ_START, QUEUE_REQ_STOP };

enum queue_state {
	QUEUE_STOPPED,
	QUEUE_STARTING,
	QUEUE_STARTED,
	QUEUE_STOPPING
};

struct queue_link {
	/* Control thread. */
	enum queue_state state;
	int kick_fd;	    /* owned */
	int call_fd;	    /* owned */
	bool stop_wanted;   /* arrived while STARTING */
	uint32_t start_seq; /* to answer, 0 = nobody waits */
	uint32_t stop_seq;
	/* Hand-over; result and base are written before done is released. */
	atomic_uint request; /* enum queue_request, to the worker */
	atomic_bool done;    /* to the control thread */
	int result;
	uint32_t base;
	/* Worker. */
	int watch;
	bool draining;
};

enum runtime_state { RUNTIME_HELLO, RUNTIME_SETUP, RUNTIME_READY };
enum runtime_drain { DRAIN_NONE, DRAIN_RESET, DRAIN_QUIESCE, DRAIN_EXIT };

enum out_kind { OUT_STATUS, OUT_HELLO, OUT_INFO, OUT_QUEUE_STATE };

struct out_answer {
	enum out_kind kind;
	uint32_t answers;
	int code;
	uint32_t index;
	uint32_t base;
	char text[RUNTIME_TEXT_MAX];
};

struct device_runtime {
	struct channel *ch;
	struct loop *loop;
	struct loop_watch *ch_watch;
	enum runtime_state state;
	bool features_set;
	enum runtime_drain drain;
	uint32_t drain_seq;
	int exit_code;
	bool channel_gone;
	struct sandbox_report report;

	uint32_t seq;				/* of our last message */
	struct out_answer out[RUNTIME_OUT_MAX]; /* ring */
	unsigned int out_head, out_len;
	bool config_dirty;

	/* Set by any thread, sent by the control thread. Literals. */
	int wake_fd;
	_Atomic(const char *) reset_why;
	_Atomic(const char *) closed_why;

	/* SetInflight and Recover. */
	uint8_t *inflight; /* mapping, NULL = none */
	uint64_t inflight_stride;
	bool queues_used; /* a queue was started: too late for both */
	uint64_t poison[RUNTIME_POISON_MAX];
	size_t num_poison;
	bool careful;
	uint32_t ping_seq; /* to answer, 0 = none */

	struct queue_link links[DEVICE_QUEUES_MAX];
	struct worker workers[DEVICE_WORKERS_MAX];
	unsigned int num_workers; /* at least 1 */
};

/* device.c */
/* @dev and @rt are zeroed, but for rt->report. */
int device_init(struct device *dev, struct device_runtime *rt,
		const struct device_ops *ops, int ch_fd, struct err *e);
void device_done(struct device *dev);
int device_run(struct device *dev);
/* Stop all queues, then do @what; its answer goes to @seq. */
void device_drain(struct device *dev, enum runtime_drain what, uint32_t seq);
/* Ask the queue's worker; STARTED or STOPPED -> on the way. */
void device_request(struct device *dev, unsigned int index,
		    enum queue_request req);
void device_wake(struct device *dev);
unsigned int device_queue_worker(struct device *dev, uint32_t index);

/* device_msg.c: one message of the broker */
void device_msg_handle(struct device *dev, struct channel_msg *msg);
/* Everything between DeviceSetup and its answer. */
int device_setup(struct device *dev, const Bulkhead__DeviceSetup *setup,
		 int *fds, unsigned int num_fds, struct err *e);

/* device_recover.c */
int device_msg_set_inflight(struct device *dev, const Bulkhead__SetInflight *m,
			    int fd, struct err *e);
int device_msg_recover(struct device *dev, const Bulkhead__Recover *m,
		       struct err *e);
int device_msg_ping(struct device *dev, uint32_t seq, struct err *e);
void device_ping_step(struct device *dev);
/* In the queue's worker, before its first kick. */
void device_recover_queue(struct device *dev, struct queue *q);
void device_recover_config(struct device *dev, struct queue_config *cfg);
void device_forget_all(struct device *dev);
void device_recover_done(struct device *dev);

/* device_out.c */
void device_answer(struct device *dev, uint32_t seq, int code,
		   const struct err *e);
void device_answer_kind(struct device *dev, uint32_t seq, enum out_kind kind);
void device_answer_queue(struct device *dev, uint32_t seq, uint32_t index,
			 uint32_t base);
/* Send what can be sent; read on only when nothing is left. */
void device_out_flush(struct device *dev);

/* worker.c */
int worker_init(struct worker *w, struct device *dev, unsigned int index,
		struct err *e);
void worker_done(struct worker *w);
int worker_start_thread(struct worker *w, struct err *e);
int worker_start_inline(struct worker *w, struct err *e);
void worker_mail(struct worker *w);

#endif
