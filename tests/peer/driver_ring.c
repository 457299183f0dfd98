/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peer/driver_ring.h"

#include <string.h>

#include "common/base/endian.h"
#include "common/base/err.h"

#define F_NEXT	   1u
#define F_WRITE	   2u
#define F_INDIRECT 4u
#define F_AVAIL	   0x80u
#define F_USED	   0x8000u

/* Offsets: split. */
#define AVAIL_IDX(r)	 ((r)->driver + 2)
#define AVAIL_RING(r, i) ((r)->driver + 4 + 2 * ((i) % (r)->size))
#define USED_EVENT(r)	 ((r)->driver + 4 + 2 * (uint64_t)(r)->size)
#define USED_IDX(r)	 ((r)->device + 2)
#define USED_RING(r, i)	 ((r)->device + 4 + 8 * ((i) % (r)->size))
#define AVAIL_EVENT(r)	 ((r)->device + 4 + 8 * (uint64_t)(r)->size)
/* Offsets in a descriptor: both kinds. */
#define DESC(r, i)   ((r)->desc + 16 * (uint64_t)(i))
#define SPLIT_FLAGS  12
#define SPLIT_NEXT   14
#define PACKED_ID    12
#define PACKED_FLAGS 14

uint64_t driver_mem_alloc(struct driver_mem *m, uint64_t size, uint64_t align)
{
	uint64_t at = (m->next + align - 1) & ~(align - 1);

	check(at <= m->size && size <= m->size - at);
	m->next = at + size;
	return m->gpa + at;
}

void *driver_mem_ptr(const struct driver_mem *m, uint64_t gpa, uint64_t len)
{
	check(gpa >= m->gpa && gpa - m->gpa <= m->size &&
	      len <= m->size - (gpa - m->gpa));
	return m->hva + (gpa - m->gpa);
}

/* Sequentially consistent, all of them: no other barrier is needed. */
static uint16_t load16(const struct driver_ring *r, uint64_t gpa)
{
	const uint16_t *p = driver_mem_ptr(r->mem, gpa, 2);

	return le16toh(__atomic_load_n(p, __ATOMIC_SEQ_CST));
}

static void store16(struct driver_ring *r, uint64_t gpa, uint16_t v)
{
	uint16_t *p = driver_mem_ptr(r->mem, gpa, 2);

	__atomic_store_n(p, htole16(v), __ATOMIC_SEQ_CST);
}

static void write_desc(struct driver_ring *r, uint64_t at, uint64_t addr,
		       uint32_t len)
{
	uint8_t *p = driver_mem_ptr(r->mem, at, 16);

	put_le64(p, addr);
	put_le32(p + 8, len);
}

void driver_ring_init(struct driver_ring *r, struct driver_mem *m,
		      uint32_t size, uint64_t features)
{
	check(size && size <= DRIVER_RING_MAX);
	memset(r, 0, sizeof(*r));
	r->mem = m;
	r->size = size;
	r->packed = features & DRIVER_F_PACKED;
	r->event_idx = features & DRIVER_F_EVENT;
	r->indirect = features & DRIVER_F_INDIRECT;
	r->desc = driver_mem_alloc(m, 16ULL * size, 16);
	r->driver = driver_mem_alloc(m, 6 + 2ULL * size, 4);
	r->device = driver_mem_alloc(m, 6 + 8ULL * size, 4);
	memset(driver_mem_ptr(m, r->desc, 16ULL * size), 0, 16ULL * size);
	memset(driver_mem_ptr(m, r->driver, 6 + 2ULL * size), 0,
	       6 + 2ULL * size);
	memset(driver_mem_ptr(m, r->device, 6 + 8ULL * size), 0,
	       6 + 8ULL * size);
	if (r->indirect)
		r->tables = driver_mem_alloc(
			m, 16ULL * DRIVER_INDIRECT_MAX * size, 16);
	r->num_free = r->num_free_ids = size;
	for (uint32_t i = 0; i < size; i++) {
		r->free_ids[i] = (uint16_t)(size - 1 - i);
		r->split_next[i] = (uint16_t)(i + 1);
	}
	r->avail_wrap = r->used_wrap = true;
}

uint32_t driver_ring_base(const struct driver_ring *r)
{
	return r->packed ? 0x80008000u : 0;
}

static uint64_t table_of(const struct driver_ring *r, unsigned int id)
{
	return r->tables + 16ULL * DRIVER_INDIRECT_MAX * id;
}

static void fill_table(struct driver_ring *r, uint64_t table,
		       const struct driver_buf *bufs, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		uint64_t at = table + 16 * i;
		uint16_t flags = bufs[i].write ? F_WRITE : 0;

		write_desc(r, at, bufs[i].gpa, bufs[i].len);
		if (r->packed) {
			store16(r, at + PACKED_ID, 0);
			store16(r, at + PACKED_FLAGS, flags);
			continue;
		}
		if (i + 1 < num)
			flags |= F_NEXT;
		store16(r, at + SPLIT_FLAGS, flags);
		store16(r, at + SPLIT_NEXT, (uint16_t)(i + 1));
	}
}

/* A chain that is one descriptor, when it went into a table. */
static int split_add(struct driver_ring *r, const struct driver_buf *bufs,
		     unsigned int num, uint16_t extra)
{
	uint16_t head = r->split_free, i = head;

	for (unsigned int n = 0; n < num; n++) {
		uint16_t flags =
			(uint16_t)((bufs[n].write ? F_WRITE : 0) | extra);

		if (n + 1 < num)
			flags |= F_NEXT;
		write_desc(r, DESC(r, i), bufs[n].gpa, bufs[n].len);
		store16(r, DESC(r, i) + SPLIT_FLAGS, flags);
		store16(r, DESC(r, i) + SPLIT_NEXT, r->split_next[i]);
		i = r->split_next[i];
	}
	r->split_free = i;
	r->slots_of[head] = (uint16_t)num;
	store16(r, AVAIL_RING(r, (uint32_t)r->avail), head);
	r->avail++;
	return head;
}

static int packed_add(struct driver_ring *r, const struct driver_buf *bufs,
		      unsigned int num, uint16_t extra)
{
	uint16_t id = r->free_ids[--r->num_free_ids];

	r->slots_of[id] = (uint16_t)num;
	for (unsigned int n = 0; n < num; n++) {
		uint16_t flags =
			(uint16_t)((bufs[n].write ? F_WRITE : 0) | extra);
		uint16_t slot = r->avail;

		flags |= r->avail_wrap ? F_AVAIL : F_USED;
		if (n + 1 < num)
			flags |= F_NEXT;
		write_desc(r, DESC(r, slot), bufs[n].gpa, bufs[n].len);
		store16(r, DESC(r, slot) + PACKED_ID, id);
		if (!r->added && !n) {
			r->first_slot = slot;
			r->first_flags = flags;
		} else {
			store16(r, DESC(r, slot) + PACKED_FLAGS, flags);
		}
		if (++r->avail == r->size) {
			r->avail = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	return id;
}

int driver_ring_add(struct driver_ring *r, const struct driver_buf *bufs,
		    unsigned int num, bool indirect)
{
	struct driver_buf table;
	unsigned int slots = indirect ? 1 : num;
	uint16_t extra = 0;
	int id;

	check(num &&
	      (!indirect || (r->indirect && num <= DRIVER_INDIRECT_MAX)));
	if (slots > r->num_free || (r->packed && !r->num_free_ids))
		return -1;
	if (indirect) {
		unsigned int owner = r->packed
					     ? r->free_ids[r->num_free_ids - 1]
					     : r->split_free;

		table = (struct driver_buf){table_of(r, owner), 16 * num,
					    false};
		fill_table(r, table.gpa, bufs, num);
		bufs = &table;
		extra = F_INDIRECT;
	}
	id = r->packed ? packed_add(r, bufs, slots, extra)
		       : split_add(r, bufs, slots, extra);
	r->num_free -= slots;
	r->added = (uint16_t)(r->added + (r->packed ? slots : 1));
	return id;
}

static bool passed(uint16_t event, uint16_t new, uint16_t added)
{
	return (uint16_t)(new - event - 1) < added;
}

static bool packed_wants_kick(struct driver_ring *r, uint16_t added)
{
	uint16_t flags = load16(r, r->device + 2);
	uint16_t off_wrap = load16(r, r->device);
	uint16_t off = off_wrap & 0x7fff;

	if (flags != 2)
		return flags == 0;
	if ((off_wrap >> 15) != r->avail_wrap)
		off = (uint16_t)(off - r->size);
	return passed(off, r->avail, added);
}

bool driver_ring_publish(struct driver_ring *r)
{
	uint16_t added = r->added;

	r->added = 0;
	if (!added)
		return false;
	if (r->packed) {
		store16(r, DESC(r, r->first_slot) + PACKED_FLAGS,
			r->first_flags);
		return packed_wants_kick(r, added);
	}
	store16(r, AVAIL_IDX(r), r->avail);
	if (r->event_idx)
		return passed(load16(r, AVAIL_EVENT(r)), r->avail, added);
	return !(load16(r, r->device) & 1);
}

static bool split_get(struct driver_ring *r, uint32_t *ret_id,
		      uint32_t *ret_len)
{
	const uint8_t *elem;
	uint16_t head, tail;

	if (load16(r, USED_IDX(r)) == r->used)
		return false;
	elem = driver_mem_ptr(r->mem, USED_RING(r, (uint32_t)r->used), 8);
	*ret_id = get_le32(elem);
	*ret_len = get_le32(elem + 4);
	r->used++;
	check(*ret_id < r->size && r->slots_of[*ret_id]);
	head = tail = (uint16_t)*ret_id;
	for (unsigned int n = 1; n < r->slots_of[head]; n++)
		tail = r->split_next[tail];
	r->num_free += r->slots_of[head];
	r->slots_of[head] = 0;
	r->split_next[tail] = r->split_free;
	r->split_free = head;
	return true;
}

static bool packed_has_used(const struct driver_ring *r)
{
	uint16_t flags = load16(r, DESC(r, r->used) + PACKED_FLAGS);

	return !!(flags & F_AVAIL) == r->used_wrap &&
	       !!(flags & F_USED) == r->used_wrap;
}

static bool packed_get(struct driver_ring *r, uint32_t *ret_id,
		       uint32_t *ret_len)
{
	const uint8_t *d;
	uint32_t next;

	if (!packed_has_used(r))
		return false;
	d = driver_mem_ptr(r->mem, DESC(r, r->used), 16);
	*ret_len = get_le32(d + 8);
	*ret_id = get_le16(d + PACKED_ID);
	check(*ret_id < r->size && r->slots_of[*ret_id]);
	next = (uint32_t)r->used + r->slots_of[*ret_id];
	if (next >= r->size) {
		next -= r->size;
		r->used_wrap = !r->used_wrap;
	}
	r->used = (uint16_t)next;
	r->num_free += r->slots_of[*ret_id];
	r->slots_of[*ret_id] = 0;
	r->free_ids[r->num_free_ids++] = (uint16_t)*ret_id;
	return true;
}

bool driver_ring_get(struct driver_ring *r, uint32_t *ret_id, uint32_t *ret_len)
{
	return r->packed ? packed_get(r, ret_id, ret_len)
			 : split_get(r, ret_id, ret_len);
}

bool driver_ring_want_call(struct driver_ring *r, uint16_t later)
{
	if (r->packed) {
		uint32_t slot = (uint32_t)r->used + later;
		bool wrap = r->used_wrap;

		if (slot >= r->size) {
			slot -= r->size;
			wrap = !wrap;
		}
		store16(r, r->driver, (uint16_t)(slot | (wrap ? 0x8000u : 0)));
		store16(r, r->driver + 2, r->event_idx ? 2 : 0);
		return packed_has_used(r);
	}
	if (r->event_idx)
		store16(r, USED_EVENT(r), (uint16_t)(r->used + later));
	else
		store16(r, r->driver, 0);
	return load16(r, USED_IDX(r)) != r->used;
}

void driver_ring_no_call(struct driver_ring *r)
{
	if (r->packed)
		store16(r, r->driver + 2, 1);
	else if (r->event_idx)
		store16(r, USED_EVENT(r), (uint16_t)(r->used - 1));
	else
		store16(r, r->driver, 1);
}
