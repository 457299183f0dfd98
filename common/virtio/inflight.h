/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_INFLIGHT_H
#define COMMON_VIRTIO_INFLIGHT_H

/*
 * Private to queue*.c: keeps one queue's region (common/base/inflight_layout.h)
 * in step with its ring, so that a process that is killed between any two
 * stores leaves enough for its successor to complete every request exactly
 * once. A request may be carried out twice, never be completed twice or never.
 *
 *	take	counter; state = TAKEN		(packed: copies before it)
 *	push	into the batch list		(packed: pending end of used)
 *	flush	publish in the ring; state = FREE of the batch; used = published
 *
 * What tells on which side of "publish" a process died is the ring itself:
 * split, its index against `used`; packed, whether the first descriptor of the
 * batch still shows the driver's flags. (The driver may have used that slot
 * again, but then for the next round: its USED bit is the same as ours.)
 * A published batch is cleared, another one is taken back: its requests are
 * done again, and used flags behind its first slot are undone, because the
 * driver would believe them once that slot is used.
 *
 * The available position needs no store: chains leave the ring in order, so it
 * is the used position plus what is in flight.
 *
 * Every step of a recovery can be cut off, too: what a step needs is only
 * overwritten after the next one no longer needs it. Against the death of a
 * process its own program order is enough: nothing here is a barrier for the
 * processor.
 *
 * The region is hostile when a queue starts. Afterwards this process is the
 * only one that writes it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/inflight_layout.h"

struct queue;
struct queue_config;
struct chain;
struct packed_desc;

struct inflight {
	/* Same address; NULL: the queue has no region. */
	struct inflight_split *split;
	struct inflight_packed *packed;
	uint64_t next;	     /* counter of the next request */
	bool careful;	     /* what is done again, one at a time */
	bool serving;	     /* careful: one is under way */
	bool again;	     /* careful: come back after the flush */
	uint16_t batch_tail; /* packed: last entry of the batch list */
	uint32_t num_free;   /* packed: entries */
	/* First entries of what a predecessor left, oldest first. */
	uint32_t num_redo, redo_at;
	uint16_t redo[INFLIGHT_QUEUE_MAX];
};

/**
 * inflight_start() - Take the region over; q->used is the ring's or the base's
 *
 * Sets the queue's positions from a region that was used.
 * Return: 0 fresh; 1 a predecessor's; -EBADMSG it makes no sense
 */
int inflight_start(struct queue *q, const struct queue_config *cfg);
/** inflight_forget() - The next start is a fresh one */
void inflight_forget(struct queue *q);

/** inflight_has_redo() - Does queue_pop() return one of a predecessor's? */
static inline bool inflight_has_redo(const struct inflight *f)
{
	return f->redo_at < f->num_redo;
}

/** inflight_take() - @c left the ring */
void inflight_take(struct queue *q, struct chain *c);
/** inflight_copy() - Packed, before inflight_take(): keep a descriptor
 * Return: false when no entry is left (the driver's fault) */
bool inflight_copy(struct queue *q, struct chain *c,
		   const struct packed_desc *d);
/** inflight_untake() - @c goes back to the ring, or to what is to be redone */
void inflight_untake(struct queue *q, const struct chain *c);
/** inflight_redo() - Entry of the oldest one that is to be done again */
uint16_t inflight_redo(struct queue *q, struct chain *c);
/** inflight_poisoned() - Put a redo with one of @counters first
 * Return: false if there is none */
bool inflight_poisoned(struct queue *q, const uint64_t *counters,
		       size_t num_counters);
/** inflight_push() - @c joins the batch; packed: q->used is already behind it
 */
void inflight_push(struct queue *q, const struct chain *c);
/** inflight_flushed() - The batch of q->pushed chains is visible */
void inflight_flushed(struct queue *q);

#endif
