/* SPDX-License-Identifier: Apache-2.0 */
#include "common/virtio/queue.h"

#include <unistd.h>

#include "common/base/num.h"
#include "common/virtio/queue_ring.h"

#define FEATURE_INDIRECT_DESC 28
#define FEATURE_EVENT_IDX     29
#define FEATURE_RING_PACKED   34

void chain_walk_init(struct chain_walk *w, const struct queue *q,
		     struct chain *c, struct iovec *iov, unsigned int max_iov)
{
	memset(c, 0, sizeof(*c));
	w->mem = q->mem;
	w->c = c;
	w->iov = iov;
	w->max_iov = max_iov < QUEUE_IOV_MAX ? max_iov : QUEUE_IOV_MAX;
	w->bad = false;
}

bool chain_walk_add(struct chain_walk *w, gpa_t addr, uint32_t len,
		    bool writable)
{
	struct chain *c = w->c;
	uint32_t used = c->num_out + c->num_in;
	uint32_t *bytes = writable ? &c->len_in : &c->len_out;
	uint32_t total;
	int n;

	w->bad = true;
	/* 2.7.4.2: readable before writable. */
	if (!writable && c->num_in)
		return false;
	/* 2.7.5: a chain has less than 2^32 bytes. */
	if (!add_ok(c->len_out + c->len_in, len, &total))
		return false;
	n = gmem_iov(w->mem, addr, len, w->iov + used, w->max_iov - used);
	if (n < 0)
		return false;
	*bytes += len;
	if (writable)
		c->num_in += (uint32_t)n;
	else
		c->num_out += (uint32_t)n;
	w->bad = false;
	return true;
}

unsigned int chain_table_entries(uint32_t len)
{
	/*
	 * 2.7.5.3.1 also limits a table to the queue size, which Linux ignores
	 * for small queues; the pieces bound the work just as well.
	 */
	if (len % DESC_SIZE || len / DESC_SIZE > QUEUE_IOV_MAX)
		return 0;
	return len / DESC_SIZE;
}

int chain_table_read(const struct gmem *mem, gpa_t addr, unsigned int i,
		     void *ret_desc)
{
	gpa_t at;

	if (!add_ok(addr, (uint64_t)i * DESC_SIZE, &at))
		return -EFAULT;
	return gmem_read(mem, at, ret_desc, DESC_SIZE);
}

bool queue_id_is_taken(const struct queue *q, uint32_t id)
{
	return q->taken[id / 64] & (1ULL << (id % 64));
}

void queue_take(struct queue *q, const struct chain *c)
{
	q->taken[c->id / 64] |= 1ULL << (c->id % 64);
	q->in_use += c->num_desc;
}

/* A chain that is given back twice is our mistake, not the driver's. */
void queue_untake(struct queue *q, const struct chain *c)
{
	check(c->id < q->size && queue_id_is_taken(q, c->id));
	check(q->in_use >= c->num_desc);
	q->taken[c->id / 64] &= ~(1ULL << (c->id % 64));
	q->in_use -= c->num_desc;
}

int queue_start(struct queue *q, const struct queue_config *cfg,
		const struct gmem *mem, int kick_fd, int call_fd, struct err *e)
{
	int r;

	check(!q->started);
	if (!cfg->size || cfg->size > QUEUE_SIZE_MAX)
		return err_set(e, -EINVAL, "queue %u: size %u is not 1-%u",
			       cfg->index, cfg->size, QUEUE_SIZE_MAX);
	q->index = cfg->index;
	q->size = cfg->size;
	q->packed = cfg->features & (1ULL << FEATURE_RING_PACKED);
	q->event_idx = cfg->features & (1ULL << FEATURE_EVENT_IDX);
	q->indirect = cfg->features & (1ULL << FEATURE_INDIRECT_DESC);
	q->mem = mem;
	q->kick_fd = kick_fd;
	q->call_fd = call_fd;
	q->pushed = 0;
	q->in_use = 0;
	q->signalled = false;
	q->kicks_paused = false;
	q->broken = false;
	q->reset_told = false;
	memset(q->taken, 0, (cfg->size + 63) / 64 * sizeof(q->taken[0]));
	q->recovered = false;
	r = q->packed ? packed_start(q, cfg, e) : split_start(q, cfg, e);
	if (r < 0)
		return r;
	r = inflight_start(q, cfg);
	q->broken = r < 0;
	q->recovered = r > 0;
	if (q->packed)
		packed_open(q);
	else
		split_open(q);
	/*
	 * Orders our store of the event suppression before our first load of
	 * what is available: see split_resume_kicks().
	 */
	queue_full_barrier();
	q->started = true;
	return 0;
}

void queue_forget(struct queue *q)
{
	check(!q->started);
	inflight_forget(q);
}

uint32_t queue_stop(struct queue *q)
{
	/* The base names one position: everything before it is completed. */
	check(q->started && !q->in_use && !q->pushed);
	q->started = false;
	return q->packed ? packed_stop(q) : split_stop(q);
}

static int queue_took(struct queue *q, const struct chain *c, int r)
{
	if (r < 0)
		q->broken = true;
	else if (r > 0)
		queue_take(q, c);
	return r;
}

static int queue_redo(struct queue *q, struct chain *ret, struct iovec *iov,
		      unsigned int max_iov)
{
	return queue_took(q, ret,
			  q->packed ? packed_redo(q, ret, iov, max_iov)
				    : split_redo(q, ret, iov, max_iov));
}

int queue_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	      unsigned int max_iov)
{
	int r;

	if (q->broken)
		return -EBADMSG;
	if (q->inflight.serving)
		return 0;
	if (inflight_has_redo(&q->inflight))
		return queue_redo(q, ret, iov, max_iov);
	r = q->packed ? packed_pop(q, ret, iov, max_iov)
		      : split_pop(q, ret, iov, max_iov);
	return queue_took(q, ret, r);
}

int queue_pop_poisoned(struct queue *q, const uint64_t *counters,
		       size_t num_counters, struct chain *ret,
		       struct iovec *iov, unsigned int max_iov)
{
	if (q->broken)
		return -EBADMSG;
	if (q->inflight.serving ||
	    !inflight_poisoned(q, counters, num_counters))
		return 0;
	return queue_redo(q, ret, iov, max_iov);
}

void queue_unpop(struct queue *q, const struct chain *c)
{
	queue_untake(q, c);
	if (q->packed)
		packed_unpop(q, c);
	else
		split_unpop(q, c);
}

void queue_push(struct queue *q, const struct chain *c, uint32_t written)
{
	check(written <= c->len_in);
	queue_untake(q, c);
	if (q->packed)
		packed_push(q, c, written);
	else
		split_push(q, c, written);
	q->pushed++;
}

void queue_flush(struct queue *q)
{
	bool call;

	if (!q->pushed)
		return;
	call = q->packed ? packed_flush(q) : split_flush(q);
	/* Whatever happened before we started, the driver may wait for it. */
	call |= !q->signalled;
	q->pushed = 0;
	if (call)
		queue_call(q);
	if (q->inflight.again) {
		q->inflight.again = false;
		queue_kick_self(q);
	}
}

void queue_pause_kicks(struct queue *q)
{
	if (q->kicks_paused)
		return;
	q->kicks_paused = true;
	if (q->packed)
		packed_pause_kicks(q);
	else
		split_pause_kicks(q);
}

bool queue_resume_kicks(struct queue *q)
{
	bool more;

	q->kicks_paused = false;
	if (q->broken)
		return false;
	more = q->packed ? packed_resume_kicks(q) : split_resume_kicks(q);
	if (q->inflight.serving)
		return false; /* queue_flush() will see to it */
	return more || inflight_has_redo(&q->inflight);
}

/*
 * @sys device write: a kick for ourselves, by eventfd
 */
void queue_kick_self(struct queue *q)
{
	const uint64_t one = 1;

	if (write(q->kick_fd, &one, sizeof(one)) < 0)
		errno = 0; /* a full counter is a kick, too */
}

/*
 * @sys device write: interrupts by eventfd
 */
void queue_call(struct queue *q)
{
	const uint64_t one = 1;

	q->signalled = true;
	/* A full counter (EAGAIN) means that an interrupt is pending. */
	if (write(q->call_fd, &one, sizeof(one)) < 0)
		errno = 0;
}
