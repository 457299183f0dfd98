/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-blk/blk_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

/* Pieces beyond one for each segment: a buffer that spans two regions of
 * guest memory is two pieces. */
#define SPARE_IOVS 8

struct blk_slot {
	struct blk_task task;
	struct chain chain;
	struct blk_slot *next; /* in the free list or among the waiting */
	struct iovec iov[];
};

struct blk_queue {
	struct blk_queue_args args;
	struct blk_io *io;
	struct queue *q; /* NULL: not started */
	bool stopping;	 /* told to stop: take no more chains */
	bool broken;	 /* the driver broke the ring: the same, until reset */
	bool starved;	 /* chains were left in the ring for want of slots */
	unsigned int under_way;

	void *mem;			  /* of the slots; owned */
	size_t mem_len, stride, mem_used; /* bytes; up to mem_used: slots */
	unsigned int max_iov;		  /* pieces of data in a slot */
	struct blk_slot *free_slots;	  /* empty only when all are in use */

	uint8_t *bounce_mem; /* owned */
	uint8_t *bounce[BLK_BOUNCE_NUM];
	unsigned int num_bounce; /* free ones: bounce[0, num_bounce) */
	struct blk_slot *waiting, **waiting_tail;

	struct iovec iov[QUEUE_IOV_MAX]; /* of the chain just taken */
};

static void queue_dispatch(struct blk_queue *bq, struct blk_slot *s,
			   enum blk_state state);

static void queue_put_slot(struct blk_queue *bq, struct blk_slot *s)
{
	/* Last in, first out: a quiet disk touches few of them. */
	s->next = bq->free_slots;
	bq->free_slots = s;
}

/* Memory becomes a slot, and resident, when all before it are in use. */
static void queue_take_slot(struct blk_queue *bq, const struct blk_slot *s)
{
	bq->free_slots = s->next;
	if (bq->free_slots || bq->mem_used == bq->mem_len)
		return;
	queue_put_slot(bq, (void *)((uint8_t *)bq->mem + bq->mem_used));
	bq->mem_used += bq->stride;
}

static void queue_wait(struct blk_queue *bq, struct blk_slot *s)
{
	s->next = NULL;
	*bq->waiting_tail = s;
	bq->waiting_tail = &s->next;
}

/* Lend free bounce buffers to those that wait longest. */
static void queue_lend(struct blk_queue *bq)
{
	while (bq->num_bounce > 0 && bq->waiting) {
		struct blk_slot *s = bq->waiting;
		uint8_t *buf = bq->bounce[--bq->num_bounce];

		bq->waiting = s->next;
		if (!bq->waiting)
			bq->waiting_tail = &bq->waiting;
		queue_dispatch(bq, s,
			       blk_task_bounce(&s->task, bq->args.disk, buf,
					       BLK_BOUNCE_SIZE));
	}
}

static void queue_complete(struct blk_queue *bq, struct blk_slot *s)
{
	const struct blk_task *t = &s->task;
	uint32_t written = t->written;

	/* The data comes first in the writable part and the status last: it
	 * counts only if there is no gap before it (virtio 1.2, 2.7.8.2). */
	if (t->status != VIRTIO_BLK_S_OK)
		written = 0;
	if (written == s->chain.len_in - 1)
		written = s->chain.len_in;
	*t->req.ret_status = t->status;
	if (t->bounce)
		bq->bounce[bq->num_bounce++] = t->bounce;
	queue_push(bq->q, &s->chain, written);
	bq->under_way--;
	queue_put_slot(bq, s);
}

static void queue_dispatch(struct blk_queue *bq, struct blk_slot *s,
			   enum blk_state state)
{
	switch (state) {
	case BLK_RUN:
		blk_io_submit(bq->io, &s->task.op, s);
		break;
	case BLK_WAIT:
		queue_wait(bq, s);
		break;
	case BLK_DONE:
		queue_complete(bq, s);
		break;
	}
}

/* Take over what the back end has finished, until it has no more. */
static void queue_reap(struct blk_queue *bq)
{
	void *token;
	int res;

	queue_lend(bq);
	blk_io_commit(bq->io);
	while (blk_io_reap(bq->io, &token, &res)) {
		do {
			struct blk_slot *s = token;

			queue_dispatch(
				bq, s,
				blk_task_step(&s->task, bq->args.disk, res));
		} while (blk_io_reap(bq->io, &token, &res));
		queue_lend(bq);
		blk_io_commit(bq->io);
	}
}

/* Give the slot its own copy of the data's pieces. */
static void queue_keep_iov(struct blk_queue *bq, struct blk_slot *s)
{
	struct blk_req *r = &s->task.req;

	if (r->num_iov > bq->max_iov) {
		/* More segments than SEG_MAX allows (virtio 1.2, 5.2.6.1). */
		r->kind = BLK_REPLY;
		r->status = VIRTIO_BLK_S_IOERR;
		r->num_iov = 0;
	}
	if (r->num_iov > 0)
		memcpy(s->iov, r->iov, r->num_iov * sizeof(s->iov[0]));
	r->iov = s->iov;
}

static void queue_break(struct blk_queue *bq, const char *why)
{
	bq->broken = true;
	device_needs_reset(bq->args.dev, bq->q, why);
}

/* Take one chain and begin with it; false: none, or no more. */
static bool queue_take(struct blk_queue *bq)
{
	struct blk_slot *s = bq->free_slots;
	struct chain chain;
	int r = queue_pop(bq->q, &chain, bq->iov, QUEUE_IOV_MAX);

	if (r == 0)
		return false;
	if (r < 0) {
		queue_break(bq, "the driver made a malformed chain available");
		return false;
	}
	queue_take_slot(bq, s);
	s->chain = chain;
	bq->under_way++;
	if (blk_req_parse(bq->iov, chain.num_out, chain.num_in, bq->args.limits,
			  &s->task.req) < 0) {
		queue_push(bq->q, &chain, 0);
		bq->under_way--;
		queue_put_slot(bq, s);
		queue_break(bq, "the driver left no room for a status");
		return false;
	}
	queue_keep_iov(bq, s);
	s->task.cache = BLK_WRITE_BACK;
	if (s->task.req.kind == BLK_WRITE || s->task.req.kind == BLK_ZEROES ||
	    s->task.req.kind == BLK_DISCARD)
		s->task.cache = bq->args.cache(bq->args.dev);
	queue_dispatch(bq, s, blk_task_start(&s->task, bq->args.disk));
	return true;
}

/* Take what there is, at most @budget. */
static unsigned int queue_take_all(struct blk_queue *bq, unsigned int budget)
{
	unsigned int n = 0;

	while (n < budget && bq->free_slots && queue_take(bq)) {
		n++;
		if (bq->io->event_fd < 0) {
			/* This back end waits for each request: so does the
			 * next one, but not the driver. */
			queue_reap(bq);
			queue_flush(bq->q);
		}
	}
	queue_reap(bq);
	queue_flush(bq->q);
	return n;
}

/*
 * A driver that never stops making requests must not keep the thread from its
 * other events (the order to stop, for one): after a few rounds, kick
 * ourselves and return.
 */
static void queue_service(struct blk_queue *bq)
{
	unsigned int budget = 4 * bq->q->size;

	bq->starved = false;
	do {
		queue_pause_kicks(bq->q);
		budget -= queue_take_all(bq, budget);
		if (bq->broken)
			return;
		if (!bq->free_slots) {
			bq->starved = true;
			return;
		}
		if (budget == 0) {
			queue_kick_self(bq->q);
			return;
		}
	} while (queue_resume_kicks(bq->q));
}

static void queue_on_event(struct worker *w, uint32_t events, void *arg)
{
	struct blk_queue *bq = arg;

	(void)w;
	(void)events;
	if (!bq->q) {
		/* Spurious: nothing is under way in a stopped queue. */
		return;
	}
	queue_reap(bq);
	queue_flush(bq->q);
	if (bq->stopping) {
		if (bq->under_way == 0) {
			struct queue *q = take_ptr(bq->q);

			device_queue_drained(bq->args.dev, q);
		}
		return;
	}
	if (bq->starved && !bq->broken)
		queue_service(bq);
}

void blk_queue_kick(struct blk_queue *bq)
{
	if (bq->q && !bq->stopping && !bq->broken)
		queue_service(bq);
}

void blk_queue_started(struct blk_queue *bq, struct queue *q)
{
	check(bq->under_way == 0);
	bq->q = q;
	bq->stopping = false;
	bq->broken = false;
	bq->starved = false;
}

bool blk_queue_stopping(struct blk_queue *bq)
{
	bq->stopping = true;
	if (bq->under_way > 0)
		return false;
	bq->q = NULL;
	return true;
}

static void *queue_map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int queue_alloc(struct blk_queue *bq, unsigned int depth)
{
	bq->max_iov = bq->args.seg_max + SPARE_IOVS;
	bq->stride = align_up(sizeof(struct blk_slot) +
				      bq->max_iov * sizeof(struct iovec),
			      _Alignof(struct blk_slot));
	bq->mem_len = depth * bq->stride;
	bq->mem = queue_map(bq->mem_len);
	if (!bq->mem)
		return -ENOMEM;
	queue_put_slot(bq, bq->mem);
	bq->mem_used = bq->stride;
	if (!bq->args.disk->direct)
		return 0;
	bq->bounce_mem = queue_map(BLK_BOUNCE_NUM * BLK_BOUNCE_SIZE);
	if (!bq->bounce_mem)
		return -ENOMEM;
	for (unsigned int i = 0; i < BLK_BOUNCE_NUM; i++)
		bq->bounce[i] = bq->bounce_mem + i * BLK_BOUNCE_SIZE;
	bq->num_bounce = BLK_BOUNCE_NUM;
	return 0;
}

void blk_queue_free(struct blk_queue *bq)
{
	if (!bq)
		return;
	blk_io_free(bq->io);
	if (bq->mem)
		munmap(bq->mem, bq->mem_len);
	if (bq->bounce_mem)
		munmap(bq->bounce_mem, BLK_BOUNCE_NUM * BLK_BOUNCE_SIZE);
	munmap(bq, sizeof(*bq));
}

/*
 * Through the page cache, data is copied by this process or by its io_uring
 * threads, without which it does not end: its own descriptor of the fence
 * tells of the last request. Direct I/O is done by the disk, for whoever; there
 * the ring has to hold the fence, and is released some 20 ms later.
 */
static int queue_ring_fence(const struct blk_queue_args *args)
{
	return args->disk->direct ? args->dev->fence_fd : -1;
}

int blk_queue_new(const struct blk_queue_args *args, struct blk_queue **ret,
		  struct err *e)
{
	unsigned int depth =
		(unsigned int)min_u64(args->queue_size, BLK_DEPTH_MAX);
	struct blk_queue *bq = queue_map(sizeof(*bq));
	int r;

	if (!bq)
		return err_set(e, -ENOMEM, "Out of memory for a disk queue");
	bq->args = *args;
	bq->waiting_tail = &bq->waiting;
	r = queue_alloc(bq, depth);
	if (r < 0)
		err_set(e, r, "Out of memory for a disk queue's requests");
	else if (args->uring)
		r = blk_uring_new(args->fd, queue_ring_fence(args), depth,
				  args->io_threads, args->disk->readonly,
				  &bq->io, e);
	else
		r = blk_sync_new(args->fd, depth, &bq->io, e);
	if (r < 0) {
		blk_queue_free(bq);
		return r;
	}
	*ret = bq;
	return 0;
}

int blk_queue_attach(struct blk_queue *bq, struct worker *w, struct err *e)
{
	int r = blk_io_attach(bq->io, e);

	if (r < 0 || bq->io->event_fd < 0)
		return r;
	r = worker_watch(w, bq->io->event_fd, EPOLLIN, queue_on_event, bq);
	if (r < 0)
		return err_set(e, r, "Cannot wait for io_uring: %s",
			       strerror(-r));
	return 0;
}
