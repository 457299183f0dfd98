/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed rings: virtio 1.2, 2.8. The device writes the ring in exactly
 * three functions: packed_store_used(), packed_store_flags() and
 * packed_store_event().
 *
 * A batch of completions becomes visible at once because the flags of its
 * first descriptor are written last: the driver looks at the used descriptors
 * in ring order.
 */
#include "common/virtio/queue_ring.h"

#define WRAP_BIT 0x8000u

static struct packed_desc *packed_descs(const struct queue *q)
{
	return q->ring_desc;
}

static void packed_store_used(struct queue *q, uint16_t slot, uint32_t id,
			      uint32_t len)
{
	struct packed_desc *d = &packed_descs(q)[slot];

	ring_store(&d->id, (uint16_t)id);
	ring_store32(&d->len, len);
}

/* Release: orders id, length (and the data) before the flags. */
static void packed_store_flags(struct queue *q, uint16_t slot, uint16_t flags)
{
	ring_store_release(&packed_descs(q)[slot].flags, flags);
}

static void packed_store_event(struct queue *q, uint16_t off_wrap,
			       uint16_t flags)
{
	struct packed_event *event = q->ring_device;

	ring_store(&event->off_wrap, off_wrap);
	/* Release: orders the offset before the flags that make it count. */
	ring_store_release(&event->flags, flags);
}

/* Move a position forward by at most one round. */
void packed_advance(const struct queue *q, uint16_t *slot, bool *wrap,
		    uint32_t n)
{
	uint32_t to = *slot + n;

	if (to >= q->size) {
		to -= q->size;
		*wrap = !*wrap;
	}
	*slot = (uint16_t)to;
}

static uint16_t packed_position(uint16_t slot, bool wrap)
{
	return (uint16_t)(slot | (wrap ? WRAP_BIT : 0));
}

static int packed_map_rings(struct queue *q, const struct queue_config *cfg,
			    struct err *e)
{
	if (cfg->desc % 16 || cfg->driver % 4 || cfg->device % 4)
		return err_set(e, -EINVAL,
			       "queue %u: ring addresses 0x%llx 0x%llx 0x%llx "
			       "are not aligned",
			       cfg->index, (unsigned long long)cfg->desc,
			       (unsigned long long)cfg->driver,
			       (unsigned long long)cfg->device);
	q->ring_desc =
		gmem_ptr(q->mem, cfg->desc, (uint64_t)DESC_SIZE * cfg->size);
	q->ring_driver =
		gmem_ptr(q->mem, cfg->driver, sizeof(struct packed_event));
	q->ring_device =
		gmem_ptr(q->mem, cfg->device, sizeof(struct packed_event));
	if (!q->ring_desc || !q->ring_driver || !q->ring_device)
		return err_set(e, -EFAULT,
			       "queue %u: rings at 0x%llx 0x%llx 0x%llx are "
			       "outside guest memory",
			       cfg->index, (unsigned long long)cfg->desc,
			       (unsigned long long)cfg->driver,
			       (unsigned long long)cfg->device);
	return 0;
}

int packed_start(struct queue *q, const struct queue_config *cfg, struct err *e)
{
	uint16_t avail = (uint16_t)cfg->base;
	uint16_t used = (uint16_t)(cfg->base >> 16);
	int r;

	if ((avail & ~WRAP_BIT) >= cfg->size || (used & ~WRAP_BIT) >= cfg->size)
		return err_set(e, -EINVAL,
			       "queue %u: base 0x%x is beyond its size %u",
			       cfg->index, cfg->base, cfg->size);
	r = packed_map_rings(q, cfg, e);
	if (r < 0)
		return r;
	q->last_avail = avail & (uint16_t)~WRAP_BIT;
	q->avail_wrap = avail & WRAP_BIT;
	q->used = used & (uint16_t)~WRAP_BIT;
	q->used_wrap = used & WRAP_BIT;
	q->batch_slots = 0;
	return 0;
}

void packed_open(struct queue *q)
{
	packed_store_event(q, 0, EVENT_F_ENABLE);
}

bool packed_is_published(const struct queue *q, uint16_t slot, bool wrap)
{
	uint16_t flags = ring_load_acquire(&packed_descs(q)[slot].flags);

	return !!(flags & DESC_F_USED) == wrap;
}

void packed_undo_used(struct queue *q, uint16_t first, bool wrap, uint32_t num)
{
	for (; num; num--) {
		packed_store_flags(q, first, wrap ? DESC_F_AVAIL : DESC_F_USED);
		packed_advance(q, &first, &wrap, 1);
	}
}

uint32_t packed_stop(struct queue *q)
{
	return packed_position(q->last_avail, q->avail_wrap) |
	       (uint32_t)packed_position(q->used, q->used_wrap) << 16;
}

/*
 * 2.8.1: available when AVAIL equals, and USED differs from, the wrap counter.
 * Acquire: orders the read of the flags before the read of the descriptor and
 * of those that follow it in the chain.
 */
static bool packed_available(const struct queue *q)
{
	uint16_t flags =
		ring_load_acquire(&packed_descs(q)[q->last_avail].flags);
	bool avail = flags & DESC_F_AVAIL;
	bool used = flags & DESC_F_USED;

	return avail == q->avail_wrap && used != q->avail_wrap;
}

/* 2.8.7: the entries of a table follow each other; NEXT means nothing. */
static int packed_walk_table(struct chain_walk *w, gpa_t addr, uint32_t len)
{
	unsigned int count = chain_table_entries(len);
	struct packed_desc d;

	if (!count)
		return -EBADMSG;
	for (unsigned int i = 0; i < count; i++) {
		uint16_t flags;

		if (chain_table_read(w->mem, addr, i, &d) < 0)
			return -EBADMSG;
		flags = le16toh(d.flags);
		if (flags & DESC_F_INDIRECT)
			return -EBADMSG;
		if (!chain_walk_add(w, le64toh(d.addr), le32toh(d.len),
				    flags & DESC_F_WRITE))
			return -EBADMSG;
	}
	return 0;
}

static int packed_walk_desc(const struct queue *q, struct chain_walk *w,
			    const struct packed_desc *d)
{
	uint16_t flags = le16toh(d->flags);

	w->c->num_desc++;
	w->c->id = le16toh(d->id); /* the last one's counts */
	if (flags & DESC_F_INDIRECT) {
		if (!q->indirect || flags & DESC_F_NEXT)
			return -EBADMSG;
		return packed_walk_table(w, le64toh(d->addr), le32toh(d->len));
	}
	return chain_walk_add(w, le64toh(d->addr), le32toh(d->len),
			      flags & DESC_F_WRITE)
		       ? 0
		       : -EBADMSG;
}

static int packed_walk(struct queue *q, struct chain_walk *w)
{
	uint16_t slot = q->last_avail;
	bool wrap = q->avail_wrap;
	struct packed_desc d;

	while (w->c->num_desc < q->size - q->in_use) {
		uint16_t flags;

		ring_copy(&d, &packed_descs(q)[slot], sizeof(d));
		if (q->inflight.packed && !inflight_copy(q, w->c, &d))
			return -EBADMSG;
		flags = le16toh(d.flags);
		if (packed_walk_desc(q, w, &d) < 0)
			return -EBADMSG;
		if (!(flags & DESC_F_NEXT))
			return 0;
		packed_advance(q, &slot, &wrap, 1);
	}
	return -EBADMSG; /* longer than what the ring has left */
}

/* The ring has lost the chain's descriptors: their copies count. */
int packed_redo(struct queue *q, struct chain *ret, struct iovec *iov,
		unsigned int max_iov)
{
	const struct inflight_packed *f = q->inflight.packed;
	struct chain_walk w;
	uint16_t i, num;

	chain_walk_init(&w, q, ret, iov, max_iov);
	i = inflight_redo(q, ret);
	num = le16toh(f->desc[i].num); /* checked at the start, as is next */
	for (; ret->num_desc < num; i = le16toh(f->desc[i].next)) {
		struct packed_desc d = {
			.addr = f->desc[i].addr,
			.len = f->desc[i].len,
			.id = f->desc[i].id,
			.flags = f->desc[i].flags,
		};
		bool more = le16toh(d.flags) & DESC_F_NEXT;

		if (packed_walk_desc(q, &w, &d) < 0 ||
		    more != (ret->num_desc < num))
			return -EBADMSG;
	}
	return ret->id < q->size && !queue_id_is_taken(q, ret->id) &&
			       num <= q->size - q->in_use
		       ? 1
		       : -EBADMSG;
}

int packed_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	       unsigned int max_iov)
{
	struct chain_walk w;

	if (!packed_available(q)) {
		/* Arm the kick, then look again. */
		if (q->kicks_paused || !q->event_idx || !packed_resume_kicks(q))
			return 0;
	}
	chain_walk_init(&w, q, ret, iov, max_iov);
	if (packed_walk(q, &w) < 0)
		return -EBADMSG;
	if (ret->id >= q->size || queue_id_is_taken(q, ret->id))
		return -EBADMSG;
	if (q->inflight.packed)
		inflight_take(q, ret);
	packed_advance(q, &q->last_avail, &q->avail_wrap, ret->num_desc);
	return 1;
}

void packed_unpop(struct queue *q, const struct chain *c)
{
	if (q->inflight.packed)
		inflight_untake(q, c);
	if (c->redone)
		return;
	/* One turn less c->num_desc forward is c->num_desc backward. */
	packed_advance(q, &q->last_avail, &q->avail_wrap,
		       q->size - c->num_desc);
	q->avail_wrap = !q->avail_wrap;
}

void packed_push(struct queue *q, const struct chain *c, uint32_t written)
{
	uint16_t slot = q->used;
	uint16_t flags = q->used_wrap ? DESC_F_AVAIL | DESC_F_USED : 0;

	if (c->len_in)
		flags |= DESC_F_WRITE; /* 2.8.4: the length means something */
	q->batch_slots += c->num_desc;
	packed_advance(q, &q->used, &q->used_wrap, c->num_desc);
	/* Before any flag: a successor undoes those up to here. */
	if (q->inflight.packed)
		inflight_push(q, c);
	packed_store_used(q, slot, c->id, written);
	if (!q->pushed) {
		q->batch_first = slot;
		q->batch_flags = flags;
	} else {
		packed_store_flags(q, slot, flags);
	}
}

/* 2.8.10: does the driver want to hear of the slots in (old, new]? */
static bool packed_needs_call(const struct queue *q, uint32_t slots)
{
	const struct packed_event *event = q->ring_driver;
	uint16_t flags = ring_load_acquire(&event->flags);
	uint16_t off_wrap, off;

	if (flags != EVENT_F_DESC || !q->event_idx)
		return flags != EVENT_F_DISABLE;
	off_wrap = ring_load(&event->off_wrap);
	off = off_wrap & (uint16_t)~WRAP_BIT;
	if (!!(off_wrap & WRAP_BIT) != q->used_wrap)
		off = (uint16_t)(off - q->size); /* of the round before */
	return ring_needs_event(off, q->used, (uint16_t)(q->used - slots));
}

bool packed_flush(struct queue *q)
{
	uint32_t slots = q->batch_slots;

	if (q->inflight.packed && QUEUE_MUTANT(cleared_early))
		inflight_flushed(q);
	packed_store_flags(q, q->batch_first, q->batch_flags);
	if (q->inflight.packed && !QUEUE_MUTANT(cleared_early))
		inflight_flushed(q);
	q->batch_slots = 0;
	/*
	 * Orders our store of the used flags before our load of the driver's
	 * event suppression. The driver stores that before it loads the used
	 * flags and sleeps: one of us sees the other.
	 */
	queue_full_barrier();
	return packed_needs_call(q, slots);
}

void packed_pause_kicks(struct queue *q)
{
	packed_store_event(q, 0, EVENT_F_DISABLE);
}

bool packed_resume_kicks(struct queue *q)
{
	if (q->event_idx)
		packed_store_event(
			q, packed_position(q->last_avail, q->avail_wrap),
			EVENT_F_DESC);
	else
		packed_store_event(q, 0, EVENT_F_ENABLE);
	/*
	 * Orders our store of the event suppression before our load of the
	 * next descriptor's flags. The driver stores the flags before it loads
	 * the event suppression: either it kicks or we see its chain.
	 */
	queue_full_barrier();
	return packed_available(q);
}
