/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Split rings (virtio 1.2, 2.7) and packed rings (2.8). On x86 stores are seen
 * in their order and loads done in theirs, so only the compiler is held back,
 * but for the one place where a store must be seen before a load: vq_kick().
 */

#include "lib/virtio.h"
#include "lib/virtio_regs.h"

_Noreturn static void vq_bad(const struct vq *q, const char *why)
{
	guest_puts("FAIL virtio");
	guest_put_pair("slot", q->dev->slot);
	guest_put_pair("queue", q->index);
	guest_puts(": ");
	guest_fail(why);
}

static void *vq_alloc(size_t size)
{
	void *p = guest_alloc(size);

	if (!p)
		guest_fail("virtio: no memory for a queue");
	return p;
}

void vq_init(struct vq *q)
{
	size_t n = q->size;

	q->desc = vq_alloc(n * sizeof(struct vq_desc));
	q->driver = vq_alloc(6 + 2 * n);
	q->device = vq_alloc(6 + 8 * n);
	q->chains = vq_alloc(n * sizeof(*q->chains));
	q->free = vq_alloc(n * sizeof(*q->free));
	q->next = vq_alloc(n * sizeof(*q->next));
	if (q->indirect)
		q->tables = vq_alloc(n * VQ_CHAIN_MAX * sizeof(*q->tables));
	for (uint16_t i = q->size; i-- > 0;)
		q->free[q->num_free++] = i;
	q->room = q->size;
	q->avail_wrap = q->used_wrap = true;
	if (q->packed)
		((struct packed_event *)q->driver)->flags = EVENT_DISABLE;
	else
		((struct split_avail *)q->driver)->flags = AVAIL_NO_INTERRUPT;
}

/* The chain as a table of its own. Return: one buffer, the table */
static struct vq_buf vq_fill_table(struct vq *q, uint16_t id,
				   const struct vq_buf *bufs, unsigned int n)
{
	struct vq_desc *t = q->tables + (size_t)id * VQ_CHAIN_MAX;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t flags = bufs[i].device_writes ? DESC_WRITE : 0;

		t[i].addr = (uint64_t)bufs[i].addr;
		t[i].len = bufs[i].len;
		if (q->packed) {
			t[i].a = 0;
			t[i].b = flags;
		} else {
			t[i].a = i + 1 < n ? flags | DESC_NEXT : flags;
			t[i].b = (uint16_t)(i + 1);
		}
	}
	return (struct vq_buf){.addr = t, .len = (uint32_t)(n * sizeof(*t))};
}

static uint16_t split_add(struct vq *q, const struct vq_buf *bufs,
			  unsigned int n, uint16_t extra)
{
	struct split_avail *avail = q->driver;
	struct vq_desc *desc = q->desc;
	uint16_t first = q->free[--q->num_free], d = first;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t flags = bufs[i].device_writes ? DESC_WRITE : 0;

		desc[d].addr = (uint64_t)bufs[i].addr;
		desc[d].len = bufs[i].len;
		desc[d].a = flags | extra;
		if (i + 1 == n)
			break;
		q->next[d] = q->free[--q->num_free];
		desc[d].a |= DESC_NEXT;
		desc[d].b = q->next[d];
		d = q->next[d];
	}
	avail->ring[q->avail % q->size] = first;
	q->avail++;
	store16(&avail->idx, q->avail);
	return first;
}

static void packed_add(struct vq *q, uint16_t id, const struct vq_buf *bufs,
		       unsigned int n, uint16_t extra)
{
	struct vq_desc *desc = q->desc, *first = &desc[q->avail];
	uint16_t first_flags = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct vq_desc *d = &desc[q->avail];
		uint16_t flags = extra;

		flags |= q->avail_wrap ? DESC_AVAIL : DESC_USED;
		if (bufs[i].device_writes)
			flags |= DESC_WRITE;
		if (i + 1 < n)
			flags |= DESC_NEXT;
		d->addr = (uint64_t)bufs[i].addr;
		d->len = bufs[i].len;
		d->a = id;
		if (i)
			d->b = flags;
		else
			first_flags = flags;
		if (++q->avail == q->size) {
			q->avail = 0;
			q->avail_wrap = !q->avail_wrap;
		}
	}
	store16(&first->b, first_flags); /* now the device may look */
}

bool vq_add(struct vq *q, const struct vq_buf *bufs, unsigned int n,
	    uint64_t cookie)
{
	bool table = q->indirect && n > 1;
	uint16_t num = table ? 1 : (uint16_t)n, id;
	uint16_t extra = table ? DESC_INDIRECT : 0;
	struct vq_buf one;

	if (!n || n > VQ_CHAIN_MAX)
		vq_bad(q, "a chain of a wrong length");
	if (num > q->room)
		return false;
	id = q->free[q->num_free - 1];
	if (table) {
		one = vq_fill_table(q, id, bufs, n);
		bufs = &one;
		n = 1;
	}
	q->chains[id] = (struct vq_chain){cookie, num, true};
	if (q->packed) {
		q->num_free--;
		packed_add(q, id, bufs, n, extra);
	} else {
		split_add(q, bufs, n, extra);
	}
	q->room = (uint16_t)(q->room - num);
	q->added = (uint16_t)(q->added + (q->packed ? num : 1));
	q->flight++;
	return true;
}

/* Has @event been passed by the last @added of those before @now? 2.7.10 */
static bool vq_passed(uint16_t event, uint16_t now, uint16_t added)
{
	return (uint16_t)(now - event - 1) < added;
}

static bool split_wants_kick(const struct vq *q)
{
	const struct split_used *used = q->device;
	uint16_t event = load16((const uint16_t *)&used->ring[q->size]);

	if (q->event_idx)
		return vq_passed(event, q->avail, q->added);
	return !(load16(&used->flags) & USED_NO_NOTIFY);
}

static bool packed_wants_kick(const struct vq *q)
{
	const struct packed_event *e = q->device;
	uint16_t flags = load16(&e->flags), place = load16(&e->place);
	uint16_t event = place & 0x7fff;

	if (flags != EVENT_DESC || !q->event_idx)
		return flags != EVENT_DISABLE;
	if ((place >> 15) != q->avail_wrap)
		event = (uint16_t)(event - q->size);
	return vq_passed(event, q->avail, q->added);
}

void vq_kick(struct vq *q)
{
	bool wants;

	if (!q->added)
		return;
	/* What was added must be seen before it is asked who watches. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wants = q->packed ? packed_wants_kick(q) : split_wants_kick(q);
	q->added = 0;
	if (!wants)
		return;
	*q->doorbell = q->index;
	q->kicks++;
}

static bool split_get(struct vq *q, uint32_t *ret_id, uint32_t *ret_len)
{
	const struct split_used *used = q->device;
	struct split_avail *avail = q->driver;
	uint16_t ready = (uint16_t)(load16(&used->idx) - q->used);

	if (!ready)
		return false;
	if (ready > q->flight)
		vq_bad(q, "more completions than requests");
	*ret_id = used->ring[q->used % q->size].id;
	*ret_len = used->ring[q->used % q->size].len;
	q->used++;
	/* Far ahead: never. */
	if (q->event_idx)
		store16(&avail->ring[q->size], (uint16_t)(q->used + 0x8000));
	return true;
}

static bool packed_get(struct vq *q, uint32_t *ret_id, uint32_t *ret_len)
{
	const struct vq_desc *d = (struct vq_desc *)q->desc + q->used;
	uint16_t flags = load16(&d->b);

	if (!(flags & DESC_AVAIL) != !(flags & DESC_USED) ||
	    !(flags & DESC_USED) == q->used_wrap)
		return false;
	*ret_id = d->a;
	*ret_len = d->len;
	return true;
}

bool vq_get(struct vq *q, uint64_t *ret_cookie, uint32_t *ret_len)
{
	struct vq_chain *c;
	uint32_t id;

	if (!(q->packed ? packed_get(q, &id, ret_len)
			: split_get(q, &id, ret_len)))
		return false;
	if (id >= q->size || !q->chains[id].in_use)
		vq_bad(q, "a completion of what was not asked");
	c = &q->chains[id];
	c->in_use = false;
	*ret_cookie = c->cookie;
	q->room = (uint16_t)(q->room + c->num);
	q->flight--;
	if (q->packed) {
		q->free[q->num_free++] = (uint16_t)id;
		q->used = (uint16_t)(q->used + c->num);
		if (q->used >= q->size) {
			q->used = (uint16_t)(q->used - q->size);
			q->used_wrap = !q->used_wrap;
		}
		return true;
	}
	for (uint16_t n = c->num, d = (uint16_t)id; n > 0; n--) {
		q->free[q->num_free++] = d;
		d = q->next[d];
	}
	return true;
}
