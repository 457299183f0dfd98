/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Disk: blocks of 4 KiB with a generation each. A model in RAM has the
 * generation that was acknowledged last; a block has one request at a time.
 * Reads must find exactly that generation. At the end every block is read,
 * the model and the records of pauses are written behind the blocks, and all is
 * flushed: the host can compare the image.
 *
 *	RUN -> (stopping) VERIFY -> TABLE -> FLUSH -> DONE
 *
 * Spec: virtio 1.2, 5.2
 */

#include "load/load.h"

#define F_FLUSH	       (1ull << 9)
#define F_WRITE_ZEROES (1ull << 14)

#define T_IN	       0
#define T_OUT	       1
#define T_FLUSH	       4
#define T_WRITE_ZEROES 13

#define STATUS_OK   0
#define STATUS_NONE 0xee

#define SECTORS	  (PATTERN_BLOCK / 512)
#define DEPTH_MAX 64
#define SPAN_MAX  16 /* blocks a request */

#define GAP_BLOCKS(n)                                                          \
	(((n) * sizeof(struct gap) + PATTERN_BLOCK - 1) / PATTERN_BLOCK)

enum phase { RUN, VERIFY, TABLE, FLUSH, DONE };

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct blk_req {
	struct blk_header header;
	struct blk_range range;
	uint8_t status;
	bool in_use;
	uint32_t span, generation; /* blocks; of a write */
	uint64_t block, sequence, since;
	uint8_t *data;
};

static struct {
	struct virtio dev;
	struct vq vq;
	struct gaps gaps;
	struct load_pace pace;
	struct blk_req *reqs;
	uint32_t depth, span_max, in_flight;
	uint64_t blocks, sequence, reads, writes, zeroes, flushes;
	uint32_t *model, generation;
	uint8_t *busy; /* by block */
	enum phase phase;
	uint64_t cursor; /* next block of the phase */
	bool zeroes_ok, flush_sent;
} b;

static bool blk_init(void)
{
	uint64_t capacity;

	if (!virtio_find(VIRTIO_ID_BLK, F_FLUSH | F_WRITE_ZEROES, &b.dev))
		return false;
	virtio_queue(&b.dev, 0, &b.vq);
	virtio_ready(&b.dev);
	b.zeroes_ok = b.dev.features & F_WRITE_ZEROES;
	capacity = *(volatile uint64_t *)b.dev.config / SECTORS;
	b.blocks = guest_option_number("blocks", 4096);
	while (b.blocks + pattern_table_blocks(b.blocks) +
		       GAPS_ALL_MAX * GAP_BLOCKS(GAPS_MAX) >
	       capacity)
		b.blocks -= b.blocks / 64 + 1;
	b.depth = (uint32_t)guest_option_number("depth", 8);
	b.span_max = (uint32_t)guest_option_number("span", 4);
	if (!b.depth || b.depth > DEPTH_MAX || !b.span_max ||
	    b.span_max > SPAN_MAX || b.span_max + 2 > b.vq.size ||
	    b.blocks < b.depth * b.span_max * 2)
		guest_fail("blk: depth= or span= is out of range");
	b.reqs = load_alloc(b.depth * sizeof(*b.reqs));
	for (uint32_t i = 0; i < b.depth; i++)
		b.reqs[i].data = load_alloc(b.span_max * PATTERN_BLOCK);
	b.model = load_alloc(pattern_table_blocks(b.blocks) * PATTERN_BLOCK);
	b.busy = load_alloc(b.blocks);
	gaps_init(&b.gaps, "blk");
	load_pace_init(&b.pace, "blk_rate", 0);
	return true;
}

/* Buffers of one block each: chains of different lengths. */
static bool blk_submit(struct blk_req *r, uint64_t now)
{
	uint32_t type = r->header.type;
	struct vq_buf bufs[SPAN_MAX + 2];
	unsigned int n = 0;

	r->status = STATUS_NONE;
	r->since = now;
	r->header.sector =
		type == T_IN || type == T_OUT ? r->block * SECTORS : 0;
	bufs[n++] = (struct vq_buf){&r->header, sizeof(r->header), false};
	if (type == T_WRITE_ZEROES) {
		r->range = (struct blk_range){r->block * SECTORS,
					      r->span * SECTORS, 1};
		bufs[n++] = (struct vq_buf){&r->range, sizeof(r->range), false};
	}
	for (uint32_t i = 0; (type == T_IN || type == T_OUT) && i < r->span;
	     i++)
		bufs[n++] = (struct vq_buf){r->data + i * PATTERN_BLOCK,
					    PATTERN_BLOCK, type == T_IN};
	bufs[n++] = (struct vq_buf){&r->status, 1, true};
	if (!vq_add(&b.vq, bufs, n, (uint64_t)r))
		return false;
	if (b.phase != TABLE && type != T_FLUSH)
		memset(b.busy + r->block, 1, r->span);
	r->in_use = true;
	b.in_flight++;
	return true;
}

static bool blk_is_idle(uint64_t block, uint32_t span)
{
	for (uint32_t i = 0; i < span; i++) {
		if (b.busy[block + i])
			return false;
	}
	return true;
}

/* 45 in 100 read, 45 write, 4 write zeroes, 6 flush. Half of the accesses go
 * to a sixteenth of the blocks: what was written is soon written again. */
static bool blk_make_random(struct blk_req *r)
{
	uint64_t x = load_random(), range = b.blocks;
	uint32_t kind = (uint32_t)(x % 100);

	r->span = (uint32_t)(x >> 8 & 0xff) % b.span_max + 1;
	if (x & 1ull << 20)
		range = b.blocks / 16 > r->span ? b.blocks / 16 : r->span;
	r->block = (x >> 24) % (range - r->span + 1);
	r->header.type = T_IN;
	if (kind >= 94)
		r->header.type = T_FLUSH;
	else if (!blk_is_idle(r->block, r->span))
		return false;
	else if (kind >= 90 && b.zeroes_ok)
		r->header.type = T_WRITE_ZEROES;
	else if (kind >= 45)
		r->header.type = T_OUT;
	if (r->header.type == T_IN || r->header.type == T_FLUSH)
		return true;
	r->generation = ++b.generation;
	if (r->header.type == T_WRITE_ZEROES)
		r->generation |= PATTERN_ZEROED;
	r->sequence = b.sequence++;
	for (uint32_t i = 0; r->header.type == T_OUT && i < r->span; i++)
		pattern_fill((uint64_t *)(r->data + i * PATTERN_BLOCK),
			     r->sequence, r->block + i, r->generation);
	return true;
}

/* What is behind the blocks: the model, then the records of pauses. */
static uint64_t blk_tail_blocks(void)
{
	uint64_t n = pattern_table_blocks(b.blocks);

	for (unsigned int i = 0; i < GAPS_ALL_MAX && gaps_all[i]; i++) {
		gaps_all[i]->saved_at = b.blocks + n;
		n += GAP_BLOCKS(gaps_kept(gaps_all[i]));
	}
	return n;
}

static const uint8_t *blk_tail(uint64_t at)
{
	uint64_t n = pattern_table_blocks(b.blocks);

	if (at < n)
		return (const uint8_t *)b.model + at * PATTERN_BLOCK;
	for (unsigned int i = 0; i < GAPS_ALL_MAX && gaps_all[i]; i++) {
		at -= n;
		n = GAP_BLOCKS(gaps_kept(gaps_all[i]));
		if (at < n)
			return (const uint8_t *)gaps_all[i]->list +
			       at * PATTERN_BLOCK;
	}
	guest_fail("FAIL blk: a block behind the end");
}

/* The phases at the end, in order of blocks. Return: nothing more to ask */
static bool blk_make_next(struct blk_req *r)
{
	uint64_t end = b.phase == VERIFY ? b.blocks : blk_tail_blocks();
	uint64_t left = end - b.cursor;

	if (b.phase == FLUSH) {
		r->header.type = T_FLUSH;
		return !b.flush_sent && (b.flush_sent = true);
	}
	if (!left)
		return false;
	r->span = left < b.span_max ? (uint32_t)left : b.span_max;
	r->header.type = b.phase == VERIFY ? T_IN : T_OUT;
	r->block = b.phase == VERIFY ? b.cursor : b.blocks + b.cursor;
	for (uint32_t i = 0; b.phase == TABLE && i < r->span; i++)
		memcpy(r->data + i * PATTERN_BLOCK, blk_tail(b.cursor + i),
		       PATTERN_BLOCK);
	b.cursor += r->span;
	return true;
}

static void blk_check_read(const struct blk_req *r)
{
	for (uint32_t i = 0; i < r->span; i++) {
		uint64_t block = r->block + i;
		const uint64_t *words =
			(const uint64_t *)(r->data + i * PATTERN_BLOCK);
		unsigned int bad = pattern_check(words, block, b.model[block]);

		if (bad == PATTERN_WORDS)
			continue;
		load_fail("blk", "a read finds other data than was written",
			  "block", block, "word", bad);
		load_fail("blk", "there", "generation_expected", b.model[block],
			  "generation_found", words[3]);
	}
}

static void blk_complete(struct blk_req *r, uint32_t len)
{
	uint32_t type = r->header.type;
	bool read = type == T_IN;

	if (r->status != STATUS_OK)
		load_fail("blk", "an error", "status", r->status, "type", type);
	else if (len != 1 + (read ? r->span * PATTERN_BLOCK : 0))
		load_fail("blk", "a wrong length", "len", len, "type", type);
	else if (read)
		blk_check_read(r);
	for (uint32_t i = 0; b.phase == RUN && i < r->span; i++) {
		if (type == T_OUT || type == T_WRITE_ZEROES)
			b.model[r->block + i] = r->generation;
	}
	b.reads += read;
	b.writes += type == T_OUT;
	b.zeroes += type == T_WRITE_ZEROES;
	b.flushes += type == T_FLUSH;
	if (b.phase != TABLE && type != T_FLUSH)
		memset(b.busy + r->block, 0, r->span);
	memset(r->data, 0x5a, r->span * PATTERN_BLOCK);
	r->in_use = false;
	b.in_flight--;
}

static void blk_check_stall(uint64_t now)
{
	for (uint32_t i = 0; i < b.depth; i++) {
		struct blk_req *r = &b.reqs[i];

		if (!r->in_use || !load_stalled(r->since, now))
			continue;
		load_fail("blk", "a request is not completed", "type",
			  r->header.type, "block", r->block);
		b.phase = DONE;
	}
}

static void blk_next_phase(void)
{
	if (b.phase == RUN && !load_stopping)
		return;
	if (b.phase != DONE)
		b.phase++;
	b.cursor = 0;
}

static void blk_poll(uint64_t now)
{
	uint64_t cookie;
	uint32_t len;
	bool more = b.phase != RUN || !load_stopping;

	while (vq_get(&b.vq, &cookie, &len)) {
		blk_complete((struct blk_req *)cookie, len);
		if (b.phase == RUN)
			gaps_event(&b.gaps, rdtsc());
	}
	for (uint32_t i = 0; more && i < b.depth && b.phase != DONE; i++) {
		struct blk_req *r = &b.reqs[i];

		if (r->in_use)
			continue;
		if (b.phase == RUN) {
			if (!load_pace_take(&b.pace, now))
				break;
			more = !blk_make_random(r) || blk_submit(r, now);
		} else {
			more = blk_make_next(r) && blk_submit(r, now);
		}
	}
	vq_kick(&b.vq);
	if (b.in_flight)
		blk_check_stall(now);
	else
		blk_next_phase();
}

static bool blk_done(void)
{
	return b.phase == DONE;
}

static void blk_report(void)
{
	guest_puts("BLK");
	guest_put_pair("reads", b.reads);
	guest_put_pair("writes", b.writes);
	guest_put_pair("zeroes", b.zeroes);
	guest_put_pair("flushes", b.flushes);
	guest_put_pair("kicks", b.vq.kicks);
	guest_puts("\nBLK-TABLE");
	guest_put_pair("blocks", b.blocks);
	guest_put_pair("digest", pattern_digest(b.model, b.blocks));
	guest_puts("\n");
	gaps_print(&b.gaps);
}

const struct load load_blk = {"blk", blk_init, blk_poll, blk_done, blk_report};
