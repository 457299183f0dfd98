/* SPDX-License-Identifier: Apache-2.0 */

/* Spec: virtio 1.2, 5.2.6 */

#include "hostile/hostile.h"

#define F_SEG_MAX      (1ull << 2)
#define F_DISCARD      (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)
#define F_FLUSH	       (1ull << 9)
#define F_CONFIG_WCE   (1ull << 11)

#define T_IN	       0
#define T_OUT	       1
#define T_FLUSH	       4
#define T_GET_ID       8
#define T_DISCARD      11
#define T_WRITE_ZEROES 13

#define OK     0
#define IOERR  1
#define UNSUPP 2

#define SECTOR	       512
#define BIG	       0x10000u /* bytes, of which many make a request */
#define CONFIG_SEG_MAX 12
#define SEGMENT	       16

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct segment {
	uint64_t sector;
	uint32_t sectors, flags;
};

static struct {
	struct header header, good_header;
	uint8_t status, good_status;
	uint8_t data[SECTOR], back[SECTOR];
	uint64_t good, capacity; /* sectors */
	uint32_t seg_max;
	struct act act;
} b;

static void blk_started(void)
{
	volatile uint8_t *config = target_blk.dev.config;

	b.capacity = *(volatile uint64_t *)config;
	b.seg_max = *(volatile uint32_t *)(config + CONFIG_SEG_MAX);
}

static void blk_make(struct act *a)
{
	b.header = (struct header){.type = T_IN};
	act_buf(a, &b.header, sizeof(b.header), false);
	act_buf(a, scratch, SECTOR, true);
	act_buf(a, &b.status, 1, true);
	a->status = &b.status;
	a->want_status = OK;
}

/* Enough to be under way when a reset comes. */
static void blk_busy(struct act *a)
{
	b.header = (struct header){.type = T_IN};
	act_buf(a, &b.header, sizeof(b.header), false);
	act_buf(a, scratch, BIG, true);
	act_buf(a, &b.status, 1, true);
}

static void blk_cheap(struct act *a)
{
	act_buf(a, &b.status, 1, true);
}

/* What one request writes, in a part of the disk that is for this, the next
 * one reads. */
static void blk_ask(void)
{
	bool read = b.good & 1;
	uint64_t sector = b.capacity - 1 - b.good / 2 % 64;
	const struct vq_buf bufs[] = {
		{&b.good_header, sizeof(b.good_header), false},
		{read ? b.back : b.data, SECTOR, read},
		{&b.good_status, 1, true},
	};

	for (unsigned int i = 0; i < SECTOR && !read; i++)
		b.data[i] = (uint8_t)(b.good * 7 + i);
	memset(b.back, 0, sizeof(b.back));
	b.good_header =
		(struct header){.type = read ? T_IN : T_OUT, .sector = sector};
	b.good_status = 0xee;
	ring_post(&target_blk.rings[0], bufs, 3);
}

static bool blk_answered(void)
{
	bool read = b.good & 1;
	uint32_t len;

	if (!ring_wait(&target_blk.rings[0], &len) || b.good_status != OK)
		return false;
	b.good++;
	return !read || !memcmp(b.data, b.back, SECTOR);
}

/* @out, @in: bytes of data in each direction */
static void blk_begin(uint32_t type, uint64_t sector, uint32_t out, uint32_t in,
		      int want)
{
	act_begin(&b.act, &target_blk, 0);
	b.header = (struct header){.type = type, .sector = sector};
	act_buf(&b.act, &b.header, sizeof(b.header), false);
	if (out)
		act_buf(&b.act, scratch, out, false);
	if (in)
		act_buf(&b.act, scratch, in, true);
	act_buf(&b.act, &b.status, 1, true);
	b.act.status = &b.status;
	b.act.want_status = want;
}

static void blk_do(const char *what, uint32_t type, uint64_t sector,
		   uint32_t out, uint32_t in, int want)
{
	blk_begin(type, sector, out, in, want);
	act_run(&b.act, what, USED);
}

static void blk_places(uint32_t type)
{
	uint32_t out = type == T_OUT, in = type == T_IN;
	uint64_t end = b.capacity;

	blk_do("a sector", type, 0, out * SECTOR, in * SECTOR, OK);
	blk_do("the last sector but the good ones", type, end - 65,
	       out * SECTOR, in * SECTOR, OK);
	blk_do("behind the end", type, end, out * SECTOR, in * SECTOR, IOERR);
	blk_do("across the end", type, end - 1, out * 2 * SECTOR,
	       in * 2 * SECTOR, IOERR);
	blk_do("sector 2^55", type, 1ull << 55, out * SECTOR, in * SECTOR,
	       IOERR);
	blk_do("sector 2^63", type, 1ull << 63, out * SECTOR, in * SECTOR,
	       IOERR);
	blk_do("sector 2^64 - 1", type, UINT64_MAX, out * SECTOR, in * SECTOR,
	       IOERR);
	blk_do("1 byte", type, 0, out, in, IOERR);
	blk_do("511 bytes", type, 0, out * 511, in * 511, IOERR);
	blk_do("513 bytes", type, 0, out * 513, in * 513, IOERR);
	blk_do("no data", type, 0, 0, 0, OK);
	blk_do("no data behind the end", type, end + 1, 0, 0, IOERR);
}

static void blk_types(void)
{
	static const uint32_t unknown[] = {
		2,  3,	5,	 6,	     7,		 9,
		10, 12, 14,	 15,	     16,	 25,
		26, 99, 1u << 8, 0x80000000, 0x80000001, UINT32_MAX};

	for (unsigned int i = 0; i < COUNT(unknown); i++) {
		blk_do("unknown type", unknown[i], 0, 0, SECTOR, UNSUPP);
		blk_do("unknown type", unknown[i], 0, SECTOR, 0, UNSUPP);
	}
	blk_do("flush", T_FLUSH, 0, 0, 0, OK);
	blk_do("flush with data", T_FLUSH, UINT64_MAX, SECTOR, SECTOR, OK);
	blk_do("id", T_GET_ID, 0, 0, 20, OK);
	blk_do("id of 19 bytes", T_GET_ID, 0, 0, 19, IOERR);
	blk_do("id of 0 bytes", T_GET_ID, 0, 0, 0, IOERR);
	blk_do("id of 1 byte", T_GET_ID, 0, 0, 1, IOERR);
	blk_do("id of 4 KiB", T_GET_ID, 0, 0, 4096, OK);
	blk_do("read into readable", T_IN, 0, SECTOR, 0, OK);
	blk_do("write from writable", T_OUT, 0, 0, SECTOR, OK);
}

static void blk_headers(void)
{
	for (uint32_t len = 0; len < sizeof(struct header); len++) {
		act_begin(&b.act, &target_blk, 0);
		if (len)
			act_buf(&b.act, &b.header, len, false);
		act_buf(&b.act, &b.status, 1, true);
		b.act.status = &b.status;
		b.act.want_status = IOERR;
		act_run(&b.act, "short header", USED);
	}
	/* In pieces of a byte it is a good one. */
	b.header = (struct header){.type = T_IN};
	act_begin(&b.act, &target_blk, 0);
	for (unsigned int i = 0; i < sizeof(struct header); i++)
		act_buf(&b.act, (uint8_t *)&b.header + i, 1, false);
	for (unsigned int i = 0; i < 8; i++)
		act_buf(&b.act, scratch, SECTOR / 8, true);
	act_buf(&b.act, &b.status, 1, true);
	b.act.status = &b.status;
	b.act.want_status = OK;
	act_run(&b.act, "header in 16 pieces", USED);

	act_begin(&b.act, &target_blk, 0);
	act_buf(&b.act, &b.header, sizeof(b.header), false);
	act_run(&b.act, "no status", RESET);
	act_buf(&b.act, scratch, SECTOR, false);
	act_run(&b.act, "no status behind data", RESET);
	act_begin(&b.act, &target_blk, 0);
	act_buf(&b.act, &b.header, sizeof(b.header), false);
	act_buf(&b.act, &b.status, 0, true);
	act_run(&b.act, "status of 0 bytes", RESET);
}

static void blk_segment(const char *what, uint32_t type, struct segment s,
			int want)
{
	*(struct segment *)scratch = s;
	blk_do(what, type, 0, SEGMENT, 0, want);
}

static void blk_segments(uint32_t type)
{
	uint64_t end = b.capacity;
	struct segment *s = (struct segment *)scratch;
	int unmap = type == T_DISCARD ? UNSUPP : OK;

	blk_segment("a segment", type, (struct segment){0, 8, 0}, OK);
	blk_segment("unmap", type, (struct segment){0, 8, 1}, unmap);
	blk_segment("unknown flag", type, (struct segment){0, 8, 2}, UNSUPP);
	blk_segment("all flags", type, (struct segment){0, 8, UINT32_MAX},
		    UNSUPP);
	blk_segment("no sectors", type, (struct segment){0, 0, 0}, OK);
	blk_segment("behind the end", type, (struct segment){end, 1, 0}, IOERR);
	blk_segment("across the end", type, (struct segment){end - 1, 2, 0},
		    IOERR);
	blk_segment("more than the disk", type,
		    (struct segment){0, UINT32_MAX, 0}, IOERR);
	blk_segment("sector 2^64 - 1", type, (struct segment){UINT64_MAX, 1, 0},
		    IOERR);
	blk_segment("sector 2^64 - 1, and more", type,
		    (struct segment){UINT64_MAX, UINT32_MAX, 0}, IOERR);
	blk_segment("sector 2^55", type, (struct segment){1ull << 55, 8, 0},
		    IOERR);
	for (unsigned int i = 0; i < 17; i++)
		s[i] = (struct segment){i * 8, 8, 0};
	blk_do("no segment", type, 0, 0, 0, IOERR);
	blk_do("a segment of 15 bytes", type, 0, 15, 0, IOERR);
	blk_do("a segment of 17 bytes", type, 0, 17, 0, IOERR);
	blk_do("16 segments", type, 0, 16 * SEGMENT, 0, OK);
	blk_do("17 segments", type, 0, 17 * SEGMENT, 0, IOERR);
	blk_do("4096 segments", type, 0, 4096 * SEGMENT, 0, IOERR);
	s[15].sector = end;
	blk_do("the last of 16 is wrong", type, 0, 16 * SEGMENT, 0, IOERR);
}

/* Data of @num pieces of @len bytes, all the same bytes. */
static void blk_pieces(const char *what, uint32_t type, unsigned int num,
		       uint32_t len, int want, unsigned int allowed)
{
	bool packed = target_blk.rings[0].packed;
	uint16_t write = type == T_IN ? DESC_WRITE : 0;

	blk_begin(type, 0, type == T_OUT ? 1 : 0, type == T_IN ? 1 : 0, want);
	act_table(&b.act);
	table[num + 1] = table[2];
	for (unsigned int i = 1; i <= num; i++)
		table[i] = (struct vq_desc){
			.addr = (uint64_t)scratch,
			.len = len,
			.a = packed ? 0 : write | DESC_NEXT,
			.b = packed ? write : (uint16_t)(i + 1),
		};
	b.act.d[0].len = (num + 2) * (uint32_t)sizeof(*table);
	act_run(&b.act, what, allowed);
}

static void blk_requests(void)
{
	blk_places(T_IN);
	blk_places(T_OUT);
	blk_types();
	blk_headers();
	blk_segments(T_DISCARD);
	blk_segments(T_WRITE_ZEROES);
	blk_pieces("as much as can be", T_IN, b.seg_max, BIG, OK, USED);
	blk_pieces("as much as can be", T_OUT, b.seg_max, BIG, OK, USED);
	blk_pieces("too many pieces", T_IN, 300, SECTOR, IOERR, USED);
	blk_pieces("too many pieces", T_OUT, 1000, SECTOR, IOERR, USED);
	blk_pieces("more pieces than there are", T_IN, 1023, SECTOR, NO_STATUS,
		   RESET);
	blk_pieces("more than the disk", T_IN, 1000, BIG, IOERR, USED);
	blk_pieces("more than 4 GiB", T_IN, 1000, 0x1000000, NO_STATUS, RESET);
}

struct target target_blk = {
	.name = "blk",
	.id = VIRTIO_ID_BLK,
	.features =
		F_SEG_MAX | F_DISCARD | F_WRITE_ZEROES | F_FLUSH | F_CONFIG_WCE,
	.num_queues = 1,
	.queues = {0},
	.ask = blk_ask,
	.answered = blk_answered,
	.started = blk_started,
	.requests = blk_requests,
	.make = blk_make,
	.busy = blk_busy,
	.cheap = blk_cheap,
};
