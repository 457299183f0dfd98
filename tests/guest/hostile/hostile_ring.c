/* SPDX-License-Identifier: Apache-2.0 */

/* Split and packed rings (virtio 1.2, 2.7, 2.8) that take anything. */

#include "hostile/hostile.h"

void (*ring_meanwhile)(void);

void ring_reset(struct ring *r, bool packed)
{
	memset(r->desc, 0, RING_SIZE * sizeof(*r->desc));
	memset(r->driver, 0, 6 + 2 * RING_SIZE);
	memset(r->device, 0, 6 + 8 * RING_SIZE);
	r->packed = packed;
	r->avail = r->used = 0;
	r->avail_wrap = r->used_wrap = true;
	if (packed)
		((struct packed_event *)r->driver)->flags = EVENT_DISABLE;
	else
		((struct split_avail *)r->driver)->flags = AVAIL_NO_INTERRUPT;
}

static void split_put(struct ring *r, uint16_t at, const struct vq_desc *d,
		      unsigned int n, uint16_t head, uint16_t jump)
{
	struct split_avail *avail = r->driver;

	for (unsigned int i = 0; i < n; i++)
		r->desc[(at + i) % r->size] = d[i];
	avail->ring[r->avail % r->size] = head;
	r->avail = (uint16_t)(r->avail + jump);
	store16(&avail->idx, r->avail);
}

static void packed_put(struct ring *r, const struct vq_desc *d, unsigned int n)
{
	struct vq_desc *first = &r->desc[r->avail];
	uint16_t first_flags = 0;

	r->slots[d[n - 1].b % RING_SIZE] = (uint8_t)n;
	for (unsigned int i = 0; i < n; i++) {
		struct vq_desc *p = &r->desc[r->avail];
		uint16_t flags = d[i].a & (uint16_t) ~(DESC_AVAIL | DESC_USED);

		flags |= r->avail_wrap ? DESC_AVAIL : DESC_USED;
		p->addr = d[i].addr;
		p->len = d[i].len;
		p->a = d[i].b;
		if (i)
			p->b = flags;
		else
			first_flags = flags;
		if (++r->avail == r->size) {
			r->avail = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	store16(&first->b, first_flags); /* now the device may look */
}

void ring_put(struct ring *r, uint16_t at, const struct vq_desc *d,
	      unsigned int n, uint16_t head, uint16_t jump)
{
	if (r->packed)
		packed_put(r, d, n);
	else
		split_put(r, at, d, n, head, jump);
}

static bool split_get(struct ring *r, uint32_t *ret_id, uint32_t *ret_len)
{
	const struct split_used *used = r->device;

	if (load16(&used->idx) == r->used)
		return false;
	*ret_id = used->ring[r->used % r->size].id;
	*ret_len = used->ring[r->used % r->size].len;
	r->used++;
	return true;
}

static bool packed_get(struct ring *r, uint32_t *ret_id, uint32_t *ret_len)
{
	const struct vq_desc *d = &r->desc[r->used];
	uint16_t flags = load16(&d->b);

	if (!(flags & DESC_AVAIL) != !(flags & DESC_USED) ||
	    !(flags & DESC_USED) == r->used_wrap)
		return false;
	*ret_id = d->a;
	*ret_len = d->len;
	r->used = (uint16_t)(r->used + r->slots[d->a % RING_SIZE]);
	if (r->used >= r->size) {
		r->used = (uint16_t)(r->used - r->size);
		r->used_wrap = !r->used_wrap;
	}
	return true;
}

bool ring_get(struct ring *r, uint32_t *ret_id, uint32_t *ret_len)
{
	return r->packed ? packed_get(r, ret_id, ret_len)
			 : split_get(r, ret_id, ret_len);
}

void ring_kick(const struct ring *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*r->doorbell = r->index;
}

void ring_post(struct ring *r, const struct vq_buf *bufs, unsigned int n)
{
	struct vq_desc d[4];

	for (unsigned int i = 0; i < n; i++) {
		d[i].addr = (uint64_t)bufs[i].addr;
		d[i].len = bufs[i].len;
		d[i].a = (uint16_t)((bufs[i].device_writes ? DESC_WRITE : 0) |
				    (i + 1 < n ? DESC_NEXT : 0));
		d[i].b = r->packed ? RING_GOOD : (uint16_t)(RING_GOOD + i + 1);
	}
	ring_put(r, RING_GOOD, d, n, RING_GOOD, 1);
	ring_kick(r);
}

bool ring_wait(struct ring *r, uint32_t *ret_len)
{
	uint64_t start = rdtsc(), limit = clock_ticks(BOUND_US);
	uint32_t id;

	while (rdtsc() - start < limit) {
		if (ring_get(r, &id, ret_len) && id == RING_GOOD)
			return true;
		if (ring_meanwhile)
			ring_meanwhile();
	}
	return false;
}

bool ring_do(struct ring *r, const struct vq_buf *bufs, unsigned int n,
	     uint32_t *ret_len)
{
	ring_post(r, bufs, n);
	return ring_wait(r, ret_len);
}
