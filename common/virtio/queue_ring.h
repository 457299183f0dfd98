/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VIRTIO_QUEUE_RING_H
#define COMMON_VIRTIO_QUEUE_RING_H

/*
 * Private to queue*.c: the memory images of virtio 1.2, 2.7 and 2.8, and what
 * both kinds of ring share.
 *
 * Every access to a word that the driver may change or watch goes through the
 * load and store helpers below, so the compiler can neither repeat nor split
 * it. Two orders matter:
 *   - acquire: the index (flags) that announces a chain is read before the
 *     chain that it announces;
 *   - release: what a chain's completion consists of is written before the
 *     index (flags) that announces it.
 * Everything that only one side's *sleeping* depends on needs a full barrier
 * (queue_full_barrier()); its comment names the two accesses.
 */

#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/virtio/queue.h"

#define DESC_F_NEXT	1u
#define DESC_F_WRITE	2u
#define DESC_F_INDIRECT 4u
#define DESC_F_AVAIL	(1u << 7)  /* packed */
#define DESC_F_USED	(1u << 15) /* packed */

#define AVAIL_F_NO_INTERRUPT 1u /* split */
#define USED_F_NO_NOTIFY     1u /* split */

#define EVENT_F_ENABLE	0u /* packed */
#define EVENT_F_DISABLE 1u
#define EVENT_F_DESC	2u

#define DESC_SIZE 16u /* bytes, all three descriptor layouts */

struct split_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};

struct split_avail {
	le16 flags;
	le16 idx;
	le16 ring[]; /* then used_event */
};

struct split_used_elem {
	le32 id;
	le32 len;
};

struct split_used {
	le16 flags;
	le16 idx;
	struct split_used_elem ring[]; /* then avail_event */
};

struct packed_desc {
	le64 addr;
	le32 len;
	le16 id;
	le16 flags;
};

struct packed_event {
	le16 off_wrap;
	le16 flags;
};

/*
 * A test that kills the device between any two stores to memory that outlives
 * it defines this. Its mutants are mistakes that it must find.
 */
#ifndef QUEUE_STORE_HOOK
#define QUEUE_STORE_HOOK() ((void)0)
#endif
#ifndef QUEUE_MUTANT
#define QUEUE_MUTANT(name) 0
#endif

static inline uint16_t ring_load(const le16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static inline uint16_t ring_load_acquire(const le16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static inline void ring_store(le16 *p, uint16_t v)
{
	QUEUE_STORE_HOOK();
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static inline void ring_store32(le32 *p, uint32_t v)
{
	QUEUE_STORE_HOOK();
	__atomic_store_n(p, htole32(v), __ATOMIC_RELAXED);
}

static inline void ring_store_release(le16 *p, uint16_t v)
{
	QUEUE_STORE_HOOK();
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

static inline void queue_full_barrier(void)
{
#ifdef __SANITIZE_THREAD__
	/* It knows no fences; what they order is another process's anyway. */
	static int word;

	__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Copy out of shared memory once; what is checked is the copy. */
static inline void ring_copy(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	__asm__ volatile("" ::: "memory");
}

/* virtio 1.2, 2.7.7.2: did the index pass @event on its way from old to new? */
static inline bool ring_needs_event(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* A chain while it is collected. */
struct chain_walk {
	const struct gmem *mem;
	struct chain *c;
	struct iovec *iov;
	unsigned int max_iov;
	bool bad;
};

void chain_walk_init(struct chain_walk *w, const struct queue *q,
		     struct chain *c, struct iovec *iov, unsigned int max_iov);
/* One buffer; Return: false and w->bad when it is malformed. */
bool chain_walk_add(struct chain_walk *w, gpa_t addr, uint32_t len,
		    bool writable);
/* Number of entries of an indirect table of @len bytes; 0 = malformed. */
unsigned int chain_table_entries(uint32_t len);
/* Copy entry @i of the indirect table at @addr; Return: 0 or -EFAULT. */
int chain_table_read(const struct gmem *mem, gpa_t addr, unsigned int i,
		     void *ret_desc);

/* Taken and not yet completed, by id. */
bool queue_id_is_taken(const struct queue *q, uint32_t id);
void queue_take(struct queue *q, const struct chain *c);
void queue_untake(struct queue *q, const struct chain *c);

int split_start(struct queue *q, const struct queue_config *cfg, struct err *e);
void split_open(struct queue *q);
uint32_t split_stop(struct queue *q);
int split_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	      unsigned int max_iov);
void split_unpop(struct queue *q, const struct chain *c);
void split_push(struct queue *q, const struct chain *c, uint32_t written);
bool split_flush(struct queue *q); /* true: interrupt */
int split_redo(struct queue *q, struct chain *ret, struct iovec *iov,
	       unsigned int max_iov);
void split_pause_kicks(struct queue *q);
bool split_resume_kicks(struct queue *q);

int packed_start(struct queue *q, const struct queue_config *cfg,
		 struct err *e);
void packed_open(struct queue *q);
uint32_t packed_stop(struct queue *q);
int packed_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	       unsigned int max_iov);
void packed_unpop(struct queue *q, const struct chain *c);
void packed_push(struct queue *q, const struct chain *c, uint32_t written);
bool packed_flush(struct queue *q);
int packed_redo(struct queue *q, struct chain *ret, struct iovec *iov,
		unsigned int max_iov);
/* The slots [first, first + num) of the round @wrap are not used after all. */
void packed_undo_used(struct queue *q, uint16_t first, bool wrap, uint32_t num);
/* Was the batch whose first slot this is made visible? */
bool packed_is_published(const struct queue *q, uint16_t slot, bool wrap);
void packed_advance(const struct queue *q, uint16_t *slot, bool *wrap,
		    uint32_t n);
void packed_pause_kicks(struct queue *q);
bool packed_resume_kicks(struct queue *q);

#endif
