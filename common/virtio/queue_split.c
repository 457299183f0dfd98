/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split rings: virtio 1.2, 2.7. The device writes the ring in exactly four
 * functions: split_store_used(), split_publish(), split_store_flags() and
 * split_store_avail_event().
 */
#include "common/base/num.h"
#include "common/virtio/queue_ring.h"

static struct split_desc *split_descs(const struct queue *q)
{
	return q->ring_desc;
}

static struct split_avail *split_avail(const struct queue *q)
{
	return q->ring_driver;
}

static struct split_used *split_used(const struct queue *q)
{
	return q->ring_device;
}

static void split_store_used(struct queue *q, uint16_t idx, uint32_t id,
			     uint32_t len)
{
	struct split_used_elem *elem =
		&split_used(q)->ring[idx & (q->size - 1)];

	ring_store32(&elem->id, id);
	ring_store32(&elem->len, len);
}

/* Release: orders the used elements (and the data) before the index. */
static void split_publish(struct queue *q, uint16_t idx)
{
	ring_store_release(&split_used(q)->idx, idx);
	q->used = idx;
}

static void split_store_flags(struct queue *q, uint16_t flags)
{
	ring_store(&split_used(q)->flags, flags);
}

/* The word behind the used ring: "kick when you make this index available". */
static void split_store_avail_event(struct queue *q, uint16_t idx)
{
	le16 *event = (le16 *)(void *)&split_used(q)->ring[q->size];

	ring_store(event, idx);
}

static uint16_t split_load_used_event(const struct queue *q)
{
	return ring_load(&split_avail(q)->ring[q->size]);
}

static int split_map_rings(struct queue *q, const struct queue_config *cfg,
			   struct err *e)
{
	uint64_t n = cfg->size;

	if (cfg->desc % 16 || cfg->driver % 2 || cfg->device % 4)
		return err_set(e, -EINVAL,
			       "queue %u: ring addresses 0x%llx 0x%llx 0x%llx "
			       "are not aligned",
			       cfg->index, (unsigned long long)cfg->desc,
			       (unsigned long long)cfg->driver,
			       (unsigned long long)cfg->device);
	q->ring_desc = gmem_ptr(q->mem, cfg->desc, DESC_SIZE * n);
	q->ring_driver = gmem_ptr(q->mem, cfg->driver, 6 + 2 * n);
	q->ring_device = gmem_ptr(q->mem, cfg->device, 6 + 8 * n);
	if (!q->ring_desc || !q->ring_driver || !q->ring_device)
		return err_set(e, -EFAULT,
			       "queue %u: rings at 0x%llx 0x%llx 0x%llx are "
			       "outside guest memory",
			       cfg->index, (unsigned long long)cfg->desc,
			       (unsigned long long)cfg->driver,
			       (unsigned long long)cfg->device);
	return 0;
}

int split_start(struct queue *q, const struct queue_config *cfg, struct err *e)
{
	int r;

	if (!is_pow2(cfg->size) || cfg->base > UINT16_MAX)
		return err_set(e, -EINVAL,
			       "queue %u: size %u must be a power of two and "
			       "base 0x%x 16 bits",
			       cfg->index, cfg->size, cfg->base);
	r = split_map_rings(q, cfg, e);
	if (r < 0)
		return r;
	q->last_avail = (uint16_t)cfg->base;
	q->avail_seen = q->last_avail;
	q->used = ring_load(&split_used(q)->idx);
	return 0;
}

/* After it was clear where to go on. */
void split_open(struct queue *q)
{
	q->avail_seen = q->last_avail;
	split_store_flags(q, 0);
	split_store_avail_event(q, q->last_avail);
}

uint32_t split_stop(struct queue *q)
{
	return q->last_avail;
}

/*
 * Acquire: orders the read of the available index before the reads of the
 * ring entry and descriptors that it announces.
 *
 * Return: chains available, or -EBADMSG
 */
static int split_available(struct queue *q)
{
	uint16_t n;

	q->avail_seen = ring_load_acquire(&split_avail(q)->idx);
	n = (uint16_t)(q->avail_seen - q->last_avail);
	return n > q->size ? -EBADMSG : n;
}

/* Entries may be linked in any order; none can be visited twice. */
static int split_walk_table(struct chain_walk *w, gpa_t addr, uint32_t len)
{
	unsigned int count = chain_table_entries(len);
	unsigned int i = 0;
	struct split_desc d;

	for (unsigned int left = count; left; left--) {
		uint16_t flags;

		if (chain_table_read(w->mem, addr, i, &d) < 0)
			return -EBADMSG;
		flags = le16toh(d.flags);
		if (flags & DESC_F_INDIRECT)
			return -EBADMSG; /* 2.7.5.3.1: one level */
		if (!chain_walk_add(w, le64toh(d.addr), le32toh(d.len),
				    flags & DESC_F_WRITE))
			return -EBADMSG;
		if (!(flags & DESC_F_NEXT))
			return 0;
		i = le16toh(d.next);
		if (i >= count)
			return -EBADMSG;
	}
	return -EBADMSG; /* empty or a loop */
}

static int split_walk(struct queue *q, struct chain_walk *w, uint16_t head)
{
	struct split_desc d;
	uint16_t i = head;

	while (w->c->num_desc < q->size) {
		uint16_t flags;

		ring_copy(&d, &split_descs(q)[i], sizeof(d));
		w->c->num_desc++;
		flags = le16toh(d.flags);
		if (flags & DESC_F_INDIRECT) {
			if (!q->indirect || flags & DESC_F_NEXT)
				return -EBADMSG;
			return split_walk_table(w, le64toh(d.addr),
						le32toh(d.len));
		}
		if (!chain_walk_add(w, le64toh(d.addr), le32toh(d.len),
				    flags & DESC_F_WRITE))
			return -EBADMSG;
		if (!(flags & DESC_F_NEXT))
			return 0;
		i = le16toh(d.next);
		if (i >= q->size)
			return -EBADMSG;
	}
	return -EBADMSG; /* a loop */
}

int split_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	      unsigned int max_iov)
{
	struct chain_walk w;
	uint16_t head;
	int n;

	if (q->avail_seen == q->last_avail) {
		n = split_available(q);
		/* Arm the kick, then look again: see split_resume_kicks(). */
		if (!n && !q->kicks_paused && q->event_idx &&
		    split_resume_kicks(q))
			n = split_available(q);
		if (n <= 0)
			return n;
	}
	head = ring_load(&split_avail(q)->ring[q->last_avail & (q->size - 1)]);
	if (head >= q->size || queue_id_is_taken(q, head))
		return -EBADMSG;
	chain_walk_init(&w, q, ret, iov, max_iov);
	ret->id = head;
	if (split_walk(q, &w, head) < 0)
		return -EBADMSG;
	/* Chains can't share descriptors, so together they fit the table. */
	if (ret->num_desc > q->size - q->in_use)
		return -EBADMSG;
	ret->entry = head;
	if (q->inflight.split)
		inflight_take(q, ret);
	q->last_avail++;
	return 1;
}

int split_redo(struct queue *q, struct chain *ret, struct iovec *iov,
	       unsigned int max_iov)
{
	struct chain_walk w;

	chain_walk_init(&w, q, ret, iov, max_iov);
	ret->id = inflight_redo(q, ret);
	if (split_walk(q, &w, (uint16_t)ret->id) < 0 ||
	    ret->num_desc > q->size - q->in_use)
		return -EBADMSG;
	return 1;
}

void split_unpop(struct queue *q, const struct chain *c)
{
	if (q->inflight.split)
		inflight_untake(q, c);
	if (!c->redone)
		q->last_avail--;
}

void split_push(struct queue *q, const struct chain *c, uint32_t written)
{
	if (q->inflight.split)
		inflight_push(q, c);
	split_store_used(q, (uint16_t)(q->used + q->pushed), c->id, written);
}

bool split_flush(struct queue *q)
{
	uint16_t old = q->used;

	if (q->inflight.split && QUEUE_MUTANT(cleared_early))
		inflight_flushed(q);
	split_publish(q, (uint16_t)(old + q->pushed));
	if (q->inflight.split && !QUEUE_MUTANT(cleared_early))
		inflight_flushed(q);
	/*
	 * Orders our store of the used index before our load of the driver's
	 * used_event (flags). The driver stores those before it loads the used
	 * index and sleeps: one of us sees the other.
	 */
	queue_full_barrier();
	if (q->event_idx)
		return ring_needs_event(split_load_used_event(q), q->used, old);
	return !(ring_load(&split_avail(q)->flags) & AVAIL_F_NO_INTERRUPT);
}

void split_pause_kicks(struct queue *q)
{
	/* With EVENT_IDX a stale avail_event is silence enough. */
	if (!q->event_idx)
		split_store_flags(q, USED_F_NO_NOTIFY);
}

bool split_resume_kicks(struct queue *q)
{
	if (q->event_idx)
		split_store_avail_event(q, q->last_avail);
	else
		split_store_flags(q, 0);
	/*
	 * Orders our store of avail_event (flags) before our load of the
	 * available index. The driver stores the index before it loads
	 * avail_event: either it kicks or we see its chain.
	 */
	queue_full_barrier();
	return ring_load(&split_avail(q)->idx) != q->last_avail;
}
