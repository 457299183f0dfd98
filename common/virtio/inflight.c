/* SPDX-License-Identifier: Apache-2.0 */
#include "common/virtio/inflight.h"

#include "common/virtio/queue_ring.h"

#define COUNTER_MASK ((1ULL << INFLIGHT_QUEUE_SHIFT) - 1)

/*
 * Every store to the region. The compiler keeps them, and those to the ring,
 * in the order of the program.
 */
#define STORE(p, v)                                                            \
	do {                                                                   \
		__asm__ volatile("" ::: "memory");                             \
		QUEUE_STORE_HOOK();                                            \
		__atomic_store_n(p, v, __ATOMIC_RELAXED);                      \
		__asm__ volatile("" ::: "memory");                             \
	} while (0)
#define STORE16(p, v) STORE(p, htole16((uint16_t)(v)))
#define LOAD16(p)     le16toh(__atomic_load_n(p, __ATOMIC_RELAXED))
#define LOAD64(p)     le64toh(__atomic_load_n(p, __ATOMIC_RELAXED))

_Static_assert(QUEUE_SIZE_MAX == INFLIGHT_QUEUE_MAX, "one limit");

/* --- What both layouts share --------------------------------------------- */

static le64 *entry_counter(const struct queue *q, uint16_t i)
{
	return q->packed ? &q->inflight.packed->desc[i].counter
			 : &q->inflight.split->desc[i].counter;
}

static uint8_t *entry_state(const struct queue *q, uint16_t i)
{
	return q->packed ? &q->inflight.packed->desc[i].state
			 : &q->inflight.split->desc[i].state;
}

static bool entry_is_older(const struct queue *q, uint16_t a, uint16_t b)
{
	return LOAD64(entry_counter(q, a)) < LOAD64(entry_counter(q, b));
}

/* Heap order below @i: the youngest on top. */
static void redo_sift(struct queue *q, uint32_t i, uint32_t num)
{
	uint16_t *h = q->inflight.redo;

	for (uint32_t child; (child = 2 * i + 1) < num; i = child) {
		uint16_t v = h[i];

		if (child + 1 < num &&
		    entry_is_older(q, h[child], h[child + 1]))
			child++;
		if (!entry_is_older(q, v, h[child]))
			return;
		h[i] = h[child];
		h[child] = v;
	}
}

/* Not qsort(), which may take memory. */
static void redo_sort(struct queue *q)
{
	uint16_t *h = q->inflight.redo;
	uint32_t num = q->inflight.num_redo;

	for (uint32_t i = num / 2; i-- > 0;)
		redo_sift(q, i, num);
	while (num > 1) {
		uint16_t oldest = h[--num];

		h[num] = h[0];
		h[0] = oldest;
		redo_sift(q, 0, num);
	}
}

/*
 * Counters of free entries count, too: a name is not given twice even when
 * nothing is in flight. A hostile one is cut down to our own queue's names.
 */
static void redo_collect(struct queue *q)
{
	struct inflight *f = &q->inflight;
	uint64_t max = 0;

	for (uint32_t i = 0; i < q->size; i++) {
		uint16_t entry = (uint16_t)i;
		uint64_t counter = LOAD64(entry_counter(q, entry));

		if (inflight_queue_of(counter) == q->index && counter >= max &&
		    counter < (f->next | COUNTER_MASK))
			max = counter + 1;
		if (*entry_state(q, entry) == INFLIGHT_FREE)
			continue;
		/* Served alone, or not: that starts anew. */
		STORE(entry_state(q, entry), INFLIGHT_TAKEN);
		f->redo[f->num_redo++] = entry;
	}
	if (max > f->next && !QUEUE_MUTANT(counter_not_rebuilt))
		f->next = max;
	redo_sort(q);
}

uint16_t inflight_redo(struct queue *q, struct chain *c)
{
	struct inflight *f = &q->inflight;

	check(inflight_has_redo(f));
	c->entry = f->redo[f->redo_at++];
	c->redone = true;
	c->counter = LOAD64(entry_counter(q, c->entry));
	if (f->careful) {
		f->serving = true;
		STORE(entry_state(q, c->entry), INFLIGHT_SERVED);
	}
	return c->entry;
}

bool inflight_poisoned(struct queue *q, const uint64_t *counters,
		       size_t num_counters)
{
	struct inflight *f = &q->inflight;

	for (uint32_t at = f->redo_at; at < f->num_redo; at++) {
		uint16_t entry = f->redo[at];
		uint64_t counter = LOAD64(entry_counter(q, entry));

		for (size_t i = 0; i < num_counters; i++) {
			if (counters[i] != counter)
				continue;
			memmove(&f->redo[f->redo_at + 1], &f->redo[f->redo_at],
				(at - f->redo_at) * sizeof(f->redo[0]));
			f->redo[f->redo_at] = entry;
			return true;
		}
	}
	return false;
}

/* --- Split ---------------------------------------------------------------- */

static int split_recover(struct queue *q)
{
	struct inflight_split *r = q->inflight.split;
	uint16_t num = (uint16_t)(q->used - LOAD16(&r->used));
	uint16_t i = LOAD16(&r->batch);

	if (num > q->size)
		return -EBADMSG;
	if (QUEUE_MUTANT(batch_not_walked))
		num = 0;
	for (; num; num--) {
		if (i >= q->size)
			return -EBADMSG;
		STORE(&r->desc[i].state, INFLIGHT_FREE);
		i = LOAD16(&r->desc[i].next);
	}
	STORE16(&r->used, q->used);
	redo_collect(q);
	q->last_avail = (uint16_t)(q->used + q->inflight.num_redo);
	return 0;
}

static void split_fresh(struct queue *q)
{
	struct inflight_split *r = q->inflight.split;

	for (uint32_t i = 0; i < q->size; i++)
		STORE(&r->desc[i].state, INFLIGHT_FREE);
	STORE16(&r->batch, INFLIGHT_NONE);
	STORE16(&r->used, QUEUE_MUTANT(used_not_read) ? 0 : q->used);
}

static void split_flushed(struct queue *q)
{
	struct inflight_split *r = q->inflight.split;
	uint16_t i = LOAD16(&r->batch);

	for (uint32_t n = q->pushed; n; n--) {
		check(i < q->size);
		STORE(&r->desc[i].state, INFLIGHT_FREE);
		i = LOAD16(&r->desc[i].next);
	}
	STORE16(&r->used, q->used);
}

/* --- Packed --------------------------------------------------------------- */

static void packed_store_ends(struct queue *q, uint16_t used, bool wrap,
			      uint16_t old_used, bool old_wrap)
{
	const struct inflight_packed_used v = {
		.used = htole16(used),
		.old_used = htole16(old_used),
		.wrap = wrap,
		.old_wrap = old_wrap,
	};
	uint64_t word;

	memcpy(&word, &v, sizeof(word));
	STORE((uint64_t *)(void *)&q->inflight.packed->used, word);
}

/* All entries that no chain owns, in a list; @owned has a bit for each. */
static void packed_link_free(struct queue *q, const uint64_t *owned)
{
	struct inflight_packed *r = q->inflight.packed;
	uint16_t first = INFLIGHT_NONE;

	q->inflight.num_free = 0;
	for (uint32_t i = q->size; i-- > 0;) {
		if (owned[i / 64] & (1ULL << (i % 64)))
			continue;
		STORE16(&r->desc[i].next, first);
		first = (uint16_t)i;
		q->inflight.num_free++;
	}
	STORE16(&r->free, first);
	STORE16(&r->batch, INFLIGHT_NONE);
}

/* Clear the published batch of @slots slots. */
static int packed_finish_batch(struct queue *q, uint32_t slots)
{
	struct inflight_packed *r = q->inflight.packed;
	uint16_t i = LOAD16(&r->batch);

	if (QUEUE_MUTANT(batch_not_walked))
		return 0;
	while (slots) {
		uint16_t num, last;

		if (i >= q->size)
			return -EBADMSG;
		num = LOAD16(&r->desc[i].num);
		last = LOAD16(&r->desc[i].last);
		if (!num || num > slots || last >= q->size)
			return -EBADMSG;
		STORE(&r->desc[i].state, INFLIGHT_FREE);
		slots -= num;
		i = LOAD16(&r->desc[last].next);
	}
	return 0;
}

/* Where did the predecessor stop: before or after a batch became visible? */
static int packed_settle_batch(struct queue *q)
{
	uint64_t word =
		__atomic_load_n((uint64_t *)(void *)&q->inflight.packed->used,
				__ATOMIC_RELAXED);
	struct inflight_packed_used v;
	uint16_t used, old;
	uint32_t slots;

	memcpy(&v, &word, sizeof(v));
	used = le16toh(v.used);
	old = le16toh(v.old_used);
	if (used >= q->size || old >= q->size || v.wrap > 1 || v.old_wrap > 1)
		return -EBADMSG;
	if (v.wrap == v.old_wrap ? used < old : used > old)
		return -EBADMSG;
	slots = (uint32_t)used + (v.wrap == v.old_wrap ? 0 : q->size) - old;
	if (slots && packed_is_published(q, old, v.old_wrap)) {
		if (packed_finish_batch(q, slots) < 0)
			return -EBADMSG;
		old = used;
		v.old_wrap = v.wrap;
	} else if (slots && !QUEUE_MUTANT(flags_not_undone)) {
		uint16_t second = old;
		bool wrap = v.old_wrap;

		packed_advance(q, &second, &wrap, 1);
		packed_undo_used(q, second, wrap, slots - 1);
	}
	q->used = old;
	q->used_wrap = v.old_wrap;
	packed_store_ends(q, old, v.old_wrap, old, v.old_wrap);
	return 0;
}

/* An entry that is in flight and all that it claims to own. */
static int packed_check_chain(const struct queue *q, uint16_t i,
			      uint64_t *owned, uint32_t *slots)
{
	const struct inflight_packed *r = q->inflight.packed;
	uint16_t num = LOAD16(&r->desc[i].num);
	uint16_t last = i;

	if (!num || num > q->size - *slots)
		return -EBADMSG;
	*slots += num;
	for (uint32_t n = num, at = i; n; n--, at = LOAD16(&r->desc[at].next)) {
		if (at >= q->size || owned[at / 64] & (1ULL << (at % 64)))
			return -EBADMSG;
		owned[at / 64] |= 1ULL << (at % 64);
		last = (uint16_t)at;
	}
	return LOAD16(&r->desc[i].last) == last ? 0 : -EBADMSG;
}

static int packed_recover(struct queue *q)
{
	uint64_t owned[INFLIGHT_QUEUE_MAX / 64] = {0};
	struct inflight *f = &q->inflight;
	uint32_t slots = 0;

	if (packed_settle_batch(q) < 0)
		return -EBADMSG;
	redo_collect(q);
	for (uint32_t i = 0; i < f->num_redo; i++)
		if (packed_check_chain(q, f->redo[i], owned, &slots) < 0)
			return -EBADMSG;
	packed_link_free(q, owned);
	q->last_avail = q->used;
	q->avail_wrap = q->used_wrap;
	packed_advance(q, &q->last_avail, &q->avail_wrap, slots);
	return 0;
}

static void packed_fresh(struct queue *q)
{
	static const uint64_t none[INFLIGHT_QUEUE_MAX / 64];
	struct inflight_packed *r = q->inflight.packed;

	for (uint32_t i = 0; i < q->size; i++)
		STORE(&r->desc[i].state, INFLIGHT_FREE);
	packed_link_free(q, none);
	if (QUEUE_MUTANT(used_not_read))
		packed_store_ends(q, 0, true, 0, true);
	else
		packed_store_ends(q, q->used, q->used_wrap, q->used,
				  q->used_wrap);
}

bool inflight_copy(struct queue *q, struct chain *c,
		   const struct packed_desc *d)
{
	struct inflight_packed *r = q->inflight.packed;
	struct inflight_packed_desc *e;
	uint16_t i;

	/* Called before the descriptor is counted. Entries are missing when a
	 * driver makes descriptors available that it has not got back. */
	if (c->num_desc >= q->inflight.num_free)
		return false;
	i = c->num_desc ? LOAD16(&r->desc[c->entry_last].next)
			: LOAD16(&r->free);
	check(i < q->size);
	if (!c->num_desc)
		c->entry = i;
	c->entry_last = i;
	e = &r->desc[i];
	STORE(&e->id, d->id);
	STORE(&e->flags, d->flags);
	STORE(&e->len, d->len);
	STORE(&e->addr, d->addr);
	return true;
}

static void packed_take(struct queue *q, struct chain *c)
{
	struct inflight_packed *r = q->inflight.packed;

	STORE16(&r->desc[c->entry].num, c->num_desc);
	STORE16(&r->desc[c->entry].last, c->entry_last);
	q->inflight.num_free -= c->num_desc;
}

static void packed_untake(struct queue *q, const struct chain *c)
{
	struct inflight_packed *r = q->inflight.packed;

	STORE16(&r->desc[LOAD16(&r->desc[c->entry].last)].next,
		LOAD16(&r->free));
	STORE16(&r->free, c->entry);
	q->inflight.num_free += c->num_desc;
}

static void packed_join(struct queue *q, const struct chain *c)
{
	struct inflight_packed *r = q->inflight.packed;
	uint16_t last = LOAD16(&r->desc[c->entry].last);
	const struct inflight_packed_used *v = &r->used;

	STORE16(&r->desc[last].next,
		q->pushed ? LOAD16(&r->batch) : INFLIGHT_NONE);
	STORE16(&r->batch, c->entry);
	if (!q->pushed)
		q->inflight.batch_tail = last;
	packed_store_ends(q, q->used, q->used_wrap, LOAD16(&v->old_used),
			  v->old_wrap);
}

static void packed_flushed(struct queue *q)
{
	struct inflight_packed *r = q->inflight.packed;
	uint16_t batch = LOAD16(&r->batch);

	for (uint32_t n = q->pushed, i = batch; n; n--) {
		check(i < q->size);
		STORE(&r->desc[i].state, INFLIGHT_FREE);
		i = LOAD16(&r->desc[LOAD16(&r->desc[i].last)].next);
	}
	packed_store_ends(q, q->used, q->used_wrap, q->used, q->used_wrap);
	/* From here on nobody needs the batch: its entries are free. */
	STORE16(&r->desc[q->inflight.batch_tail].next, LOAD16(&r->free));
	STORE16(&r->free, batch);
	q->inflight.num_free += q->batch_slots;
}

/* --- Entry points --------------------------------------------------------- */

static bool region_fits(const struct queue *q, const struct queue_config *cfg)
{
	return cfg->inflight_len >=
	       sizeof(struct inflight_packed) +
		       q->size * sizeof(struct inflight_packed_desc);
}

/* Features that decide how ring and region are read. */
static uint64_t region_features(const struct queue *q)
{
	return q->packed ? INFLIGHT_PACKED : 0;
}

int inflight_start(struct queue *q, const struct queue_config *cfg)
{
	struct inflight *f = &q->inflight;
	struct inflight_split *r = cfg->inflight; /* both begin alike */
	uint16_t version;

	f->split = NULL;
	f->packed = NULL;
	f->num_redo = f->redo_at = 0;
	f->careful = cfg->careful;
	f->serving = f->again = false;
	f->next = (uint64_t)q->index << INFLIGHT_QUEUE_SHIFT;
	if (!r)
		return 0;
	check(region_fits(q, cfg) && q->index < INFLIGHT_QUEUES_MAX);
	version = LOAD16(&r->version);
	f->split = q->packed ? NULL : cfg->inflight;
	f->packed = q->packed ? cfg->inflight : NULL;
	if (version) {
		if (version != INFLIGHT_VERSION ||
		    LOAD16(&r->desc_num) != q->size ||
		    (LOAD64(&r->features) & INFLIGHT_PACKED) !=
			    region_features(q) ||
		    (q->packed ? packed_recover(q) : split_recover(q)) < 0) {
			f->num_redo = 0;
			return -EBADMSG;
		}
		return 1;
	}
	/* Nothing is in flight: both positions are one. */
	if (q->packed &&
	    (q->last_avail != q->used || q->avail_wrap != q->used_wrap))
		return -EBADMSG;
	if (q->packed)
		packed_fresh(q);
	else
		split_fresh(q);
	STORE16(&r->desc_num, q->size);
	STORE(&r->features, htole64(region_features(q)));
	STORE16(&r->version, INFLIGHT_VERSION);
	return 0;
}

void inflight_forget(struct queue *q)
{
	if (q->inflight.packed)
		STORE16(&q->inflight.packed->version, 0);
	else if (q->inflight.split)
		STORE16(&q->inflight.split->version, 0);
	q->inflight.split = NULL;
	q->inflight.packed = NULL;
	q->inflight.num_redo = q->inflight.redo_at = 0;
}

void inflight_take(struct queue *q, struct chain *c)
{
	c->counter = q->inflight.next++;
	if (q->packed)
		packed_take(q, c);
	STORE(entry_counter(q, c->entry), htole64(c->counter));
	STORE(entry_state(q, c->entry), INFLIGHT_TAKEN);
	if (q->packed)
		STORE16(&q->inflight.packed->free,
			LOAD16(&q->inflight.packed->desc[c->entry_last].next));
}

void inflight_untake(struct queue *q, const struct chain *c)
{
	struct inflight *f = &q->inflight;

	if (c->redone) {
		check(f->redo_at && f->redo[f->redo_at - 1] == c->entry);
		f->redo_at--;
		f->serving = false;
		STORE(entry_state(q, c->entry), INFLIGHT_TAKEN);
		return;
	}
	STORE(entry_state(q, c->entry), INFLIGHT_FREE);
	if (q->packed)
		packed_untake(q, c);
}

void inflight_push(struct queue *q, const struct chain *c)
{
	struct inflight_split *r = q->inflight.split;

	if (c->redone && q->inflight.serving) {
		q->inflight.serving = false;
		q->inflight.again = true;
	}
	if (q->packed) {
		packed_join(q, c);
		return;
	}
	STORE16(&r->desc[c->entry].next, LOAD16(&r->batch));
	STORE16(&r->batch, c->entry);
}

void inflight_flushed(struct queue *q)
{
	if (q->packed)
		packed_flushed(q);
	else
		split_flushed(q);
}
