/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "dev-blk/blk_req.h"

#define CAPACITY 1000 /* sectors */

/* A chain made of header + out data, and in data + status, cut as wished. */
struct fixture {
	uint8_t out[8192];
	uint8_t in[8192];
	struct iovec iov[64];
	unsigned int num_out, num_in;
	struct blk_limits limits;
	struct blk_req req;
};

static struct fixture f;

static void setup(void)
{
	memset(&f, 0, sizeof(f));
	f.limits = (struct blk_limits){
		.capacity = CAPACITY, .discard = true, .zeroes = true};
}

static void header(uint32_t type, uint64_t sector)
{
	put_le32(f.out, type);
	put_le64(f.out + 8, sector);
}

static unsigned int cut(uint8_t *mem, size_t len, size_t piece,
			struct iovec *iov)
{
	unsigned int n = 0;

	for (size_t at = 0; at < len; at += piece)
		iov[n++] = (struct iovec){mem + at, min_u64(piece, len - at)};
	return n;
}

/* out bytes after the header, in bytes before the status */
static int parse_cut(size_t out, size_t in, size_t piece)
{
	f.num_out = cut(f.out, BLK_HEADER_LEN + out, piece, f.iov);
	f.num_in = cut(f.in, in + 1, piece, f.iov + f.num_out);
	return blk_req_parse(f.iov, f.num_out, f.num_in, &f.limits, &f.req);
}

static int parse(size_t out, size_t in)
{
	return parse_cut(out, in, 8192);
}

static void expect_reply(uint8_t status)
{
	cr_assert_eq(f.req.kind, BLK_REPLY);
	cr_assert_eq(f.req.status, status);
}

static void put_seg(unsigned int i, uint64_t sector, uint32_t num,
		    uint32_t flags)
{
	uint8_t *p = f.out + BLK_HEADER_LEN + i * BLK_SEG_LEN;

	put_le64(p, sector);
	put_le32(p + 8, num);
	put_le32(p + 12, flags);
}

TestSuite(blk_req_parse, .init = setup);

Test(blk_req_parse, reads_one_sector)
{
	header(VIRTIO_BLK_T_IN, 7);
	cr_assert_eq(parse(0, 512), 0);
	cr_assert_eq(f.req.kind, BLK_READ);
	cr_assert_eq(f.req.offset, 7 * 512);
	cr_assert_eq(f.req.len, 512);
	cr_assert_eq(f.req.ret_status, f.in + 512);
	cr_assert_eq(f.req.num_iov, 1);
	cr_assert_eq(f.req.iov[0].iov_base, f.in);
	cr_assert_eq(f.req.iov[0].iov_len, 512);
}

Test(blk_req_parse, takes_header_and_status_at_any_cut)
{
	header(VIRTIO_BLK_T_OUT, 3);
	for (size_t piece = 300; piece < 1200; piece++) {
		cr_assert_eq(parse_cut(1024, 0, piece), 0);
		cr_assert_eq(f.req.kind, BLK_WRITE, "piece %zu", piece);
		cr_assert_eq(f.req.len, 1024);
		cr_assert_eq(f.req.iov[0].iov_base, f.out + 16);
		cr_assert_eq(blk_iov_len(f.req.iov, f.req.num_iov), 1024);
		cr_assert_eq(f.req.ret_status, f.in);
	}
	header(VIRTIO_BLK_T_IN, 3);
	for (size_t piece = 3; piece < 16; piece++) {
		f.num_out = cut(f.out, 16, piece, f.iov);
		f.num_in = cut(f.in, 513, 257, f.iov + f.num_out);
		cr_assert_eq(blk_req_parse(f.iov, f.num_out, f.num_in,
					   &f.limits, &f.req),
			     0);
		cr_assert_eq(f.req.kind, BLK_READ);
		cr_assert_eq(f.req.len, 512);
		cr_assert_eq(f.req.num_iov, 2);
		cr_assert_eq(f.req.ret_status, f.in + 512);
	}
}

Test(blk_req_parse, skips_empty_pieces)
{
	header(VIRTIO_BLK_T_IN, 0);
	f.iov[0] = (struct iovec){f.out, 0};
	f.iov[1] = (struct iovec){f.out, 16};
	f.iov[2] = (struct iovec){f.in, 512};
	f.iov[3] = (struct iovec){f.in + 512, 1};
	f.iov[4] = (struct iovec){f.in + 513, 0};
	cr_assert_eq(blk_req_parse(f.iov, 2, 3, &f.limits, &f.req), 0);
	cr_assert_eq(f.req.kind, BLK_READ);
	cr_assert_eq(f.req.ret_status, f.in + 512);
	cr_assert_eq(f.req.num_iov, 1);
}

Test(blk_req_parse, refuses_a_chain_without_status)
{
	header(VIRTIO_BLK_T_FLUSH, 0);
	f.iov[0] = (struct iovec){f.out, 16};
	f.iov[1] = (struct iovec){f.in, 0};
	cr_assert_eq(blk_req_parse(f.iov, 1, 0, &f.limits, &f.req), -EBADMSG);
	cr_assert_eq(blk_req_parse(f.iov, 1, 1, &f.limits, &f.req), -EBADMSG);
	cr_assert_eq(blk_req_parse(f.iov, 0, 0, &f.limits, &f.req), -EBADMSG);
}

Test(blk_req_parse, answers_a_short_header_with_an_error)
{
	f.iov[0] = (struct iovec){f.out, 15};
	f.iov[1] = (struct iovec){f.in, 1};
	cr_assert_eq(blk_req_parse(f.iov, 1, 1, &f.limits, &f.req), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
}

Test(blk_req_parse, checks_the_capacity_without_overflow)
{
	static const struct {
		uint64_t sector;
		bool ok;
	} cases[] = {
		{CAPACITY - 2, true},	 {CAPACITY - 1, false},
		{CAPACITY, false},	 {UINT64_MAX, false},
		{UINT64_MAX - 1, false}, {(UINT64_MAX >> 9) + 1, false},
		{1ULL << 55, false},	 {0, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		header(VIRTIO_BLK_T_IN, cases[i].sector);
		cr_assert_eq(parse(0, 1024), 0);
		cr_assert_eq(f.req.kind == BLK_READ, cases[i].ok, "case %zu",
			     i);
		header(VIRTIO_BLK_T_OUT, cases[i].sector);
		cr_assert_eq(parse(1024, 0), 0);
		cr_assert_eq(f.req.kind == BLK_WRITE, cases[i].ok);
	}
}

Test(blk_req_parse, refuses_broken_sectors)
{
	header(VIRTIO_BLK_T_IN, 0);
	cr_assert_eq(parse(0, 511), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
	header(VIRTIO_BLK_T_OUT, 0);
	cr_assert_eq(parse(513, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
}

Test(blk_req_parse, refuses_writes_to_a_readonly_disk)
{
	f.limits.readonly = true;
	header(VIRTIO_BLK_T_OUT, 0);
	cr_assert_eq(parse(512, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
	put_seg(0, 0, 8, 0);
	header(VIRTIO_BLK_T_DISCARD, 0);
	cr_assert_eq(parse(16, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
	header(VIRTIO_BLK_T_IN, 0);
	cr_assert_eq(parse(0, 512), 0);
	cr_assert_eq(f.req.kind, BLK_READ);
}

Test(blk_req_parse, answers_unknown_types_with_unsupported)
{
	static const uint32_t types[] = {2,  3,	 5,  6,		 7,	    9,
					 12, 14, 15, 0x80000000, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		header(types[i], 0);
		cr_assert_eq(parse(0, 512), 0);
		expect_reply(VIRTIO_BLK_S_UNSUPP);
		cr_assert_eq(f.req.ret_status, f.in + 512);
	}
}

Test(blk_req_parse, gives_an_id_only_to_a_full_buffer)
{
	header(VIRTIO_BLK_T_GET_ID, 0);
	cr_assert_eq(parse(0, 19), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
	cr_assert_eq(parse_cut(0, 20, 7), 0);
	cr_assert_eq(f.req.kind, BLK_GET_ID);
	cr_assert_eq(f.req.len, 20);
	cr_assert_eq(blk_iov_len(f.req.iov, f.req.num_iov), 20);
}

Test(blk_req_parse, takes_discard_segments)
{
	header(VIRTIO_BLK_T_DISCARD, 0);
	put_seg(0, 8, 16, 0);
	put_seg(1, CAPACITY - 1, 1, 0);
	cr_assert_eq(parse_cut(32, 0, 5), 0);
	cr_assert_eq(f.req.kind, BLK_DISCARD);
	cr_assert_eq(f.req.num_segs, 2);
	cr_assert_eq(f.req.segs[0].offset, 4096);
	cr_assert_eq(f.req.segs[0].len, 8192);
	cr_assert_eq(f.req.segs[1].offset, (CAPACITY - 1) * 512);
	cr_assert(f.req.segs[1].unmap);
}

Test(blk_req_parse, judges_segment_flags)
{
	put_seg(0, 0, 8, 1);
	header(VIRTIO_BLK_T_DISCARD, 0);
	cr_assert_eq(parse(16, 0), 0);
	expect_reply(VIRTIO_BLK_S_UNSUPP);
	header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	cr_assert_eq(parse(16, 0), 0);
	cr_assert_eq(f.req.kind, BLK_ZEROES);
	cr_assert(f.req.segs[0].unmap);
	put_seg(0, 0, 8, 0);
	cr_assert_eq(parse(16, 0), 0);
	cr_assert_not(f.req.segs[0].unmap);
	put_seg(0, 0, 8, 2);
	cr_assert_eq(parse(16, 0), 0);
	expect_reply(VIRTIO_BLK_S_UNSUPP);
}

Test(blk_req_parse, judges_segment_ranges)
{
	static const struct {
		uint64_t sector;
		uint32_t num;
	} bad[] = {
		{CAPACITY, 1},	 {CAPACITY - 1, 2},
		{UINT64_MAX, 2}, {UINT64_MAX, UINT32_MAX},
		{0, UINT32_MAX}, {1ULL << 55, 8},
	};

	header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put_seg(0, 0, 8, 0);
		put_seg(1, bad[i].sector, bad[i].num, 0);
		cr_assert_eq(parse(32, 0), 0);
		expect_reply(VIRTIO_BLK_S_IOERR);
	}
	f.limits.capacity = UINT64_MAX >> 9;
	put_seg(0, 0, BLK_ZEROES_SECTORS, 0);
	cr_assert_eq(parse(16, 0), 0);
	cr_assert_eq(f.req.kind, BLK_ZEROES);
	put_seg(0, 0, BLK_ZEROES_SECTORS + 1, 0);
	cr_assert_eq(parse(16, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
}

Test(blk_req_parse, bounds_the_number_of_segments)
{
	header(VIRTIO_BLK_T_DISCARD, 0);
	cr_assert_eq(parse(0, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
	cr_assert_eq(parse(17, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
	cr_assert_eq(parse(16 * BLK_MAX_SEGS, 0), 0);
	cr_assert_eq(f.req.kind, BLK_DISCARD);
	cr_assert_eq(parse(16 * BLK_MAX_SEGS + 16, 0), 0);
	expect_reply(VIRTIO_BLK_S_IOERR);
}

Test(blk_req_parse, refuses_what_was_not_negotiated)
{
	put_seg(0, 0, 8, 0);
	f.limits.discard = false;
	header(VIRTIO_BLK_T_DISCARD, 0);
	cr_assert_eq(parse(16, 0), 0);
	expect_reply(VIRTIO_BLK_S_UNSUPP);
	f.limits.zeroes = false;
	header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	cr_assert_eq(parse(16, 0), 0);
	expect_reply(VIRTIO_BLK_S_UNSUPP);
}

Test(blk_req_parse, does_not_follow_later_changes_of_the_guest)
{
	header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	put_seg(0, 8, 8, 0);
	cr_assert_eq(parse(16, 0), 0);
	memset(f.out, 0xff, sizeof(f.out));
	cr_assert_eq(f.req.segs[0].offset, 4096);
	cr_assert_eq(f.req.segs[0].len, 4096);
}
