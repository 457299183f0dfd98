/* SPDX-License-Identifier: Apache-2.0 */
/* A task against a scripted host: what it asks for, and what it makes of the
 * answers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/num.h"
#include "dev-blk/blk_task.h"

#define FULL INT32_MAX /* answer: all that was asked for */

static struct blk_task task;
static struct blk_disk disk;
static uint8_t guest[32768] __attribute__((aligned(4096)));
static uint8_t bounce[8192] __attribute__((aligned(4096)));
static uint8_t status;
static struct iovec iov[8];

static void setup(void)
{
	memset(&task, 0, sizeof(task));
	disk = (struct blk_disk){.size = 1 * MIB,
				 .sparse = true,
				 .block = 512,
				 .mem_align = 512,
				 .serial = "bulkhead-serial"};
	task.req.ret_status = &status;
	task.req.iov = iov;
}

static void request(enum blk_kind kind, uint64_t offset, uint32_t len)
{
	task.req.kind = kind;
	task.req.iov = iov;
	task.req.offset = offset;
	task.req.len = len;
	task.req.num_iov = len > 0;
	iov[0] = (struct iovec){guest, len};
}

static void segment(uint64_t offset, uint64_t len, bool unmap)
{
	task.req.segs[task.req.num_segs++] =
		(struct blk_seg){offset, len, unmap};
}

static uint64_t op_len(void)
{
	return task.op.iov ? blk_iov_len(task.op.iov, task.op.num_iov)
			   : task.op.len;
}

static void expect_op(enum blk_state state, enum blk_op_kind kind,
		      uint64_t offset, uint64_t len)
{
	cr_assert_eq(state, BLK_RUN);
	cr_assert_eq(task.op.kind, kind, "kind %d, not %d", task.op.kind, kind);
	if (kind == BLK_OP_SYNC)
		return;
	cr_assert_eq(task.op.offset, offset);
	cr_assert_eq(op_len(), len, "%lu bytes", op_len());
}

static void expect_done(enum blk_state state, uint8_t want)
{
	cr_assert_eq(state, BLK_DONE);
	cr_assert_eq(task.status, want, "status %d", task.status);
}

static enum blk_state answer(int res)
{
	return blk_task_step(&task, &disk, res == FULL ? (int)op_len() : res);
}

TestSuite(blk_task, .init = setup);

Test(blk_task, reads_in_one_go)
{
	request(BLK_READ, 4096, 8192);
	expect_op(blk_task_start(&task, &disk), BLK_OP_READ, 4096, 8192);
	cr_assert_eq(task.op.iov[0].iov_base, guest);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(task.written, 8192);
}

Test(blk_task, continues_short_transfers)
{
	request(BLK_WRITE, 0, 4096);
	task.req.num_iov = 2;
	iov[0] = (struct iovec){guest, 1024};
	iov[1] = (struct iovec){guest + 8192, 3072};
	expect_op(blk_task_start(&task, &disk), BLK_OP_WRITE, 0, 4096);
	expect_op(answer(512), BLK_OP_WRITE, 512, 3584);
	cr_assert_eq(task.op.iov[0].iov_base, guest + 512);
	expect_op(answer(600), BLK_OP_WRITE, 1112, 2984);
	cr_assert_eq(task.op.iov[0].iov_base, guest + 8192 + 88);
	cr_assert_eq(task.op.num_iov, 1);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(task.written, 0);
}

Test(blk_task, fails_at_the_end_of_a_cut_file)
{
	request(BLK_READ, 0, 4096);
	blk_task_start(&task, &disk);
	expect_op(answer(512), BLK_OP_READ, 512, 3584);
	expect_done(answer(0), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(task.written, 0);
}

Test(blk_task, turns_host_errors_into_ioerr)
{
	static const int errors[] = {-EIO, -ENOSPC, -EFBIG, -EINVAL, -EBADF};
	static const enum blk_kind kinds[] = {BLK_READ, BLK_WRITE, BLK_FLUSH};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			request(kinds[k], 0, kinds[k] == BLK_FLUSH ? 0 : 4096);
			cr_assert_eq(blk_task_start(&task, &disk), BLK_RUN);
			expect_done(answer(errors[i]), VIRTIO_BLK_S_IOERR);
		}
	}
}

Test(blk_task, refuses_more_than_was_asked_for)
{
	request(BLK_READ, 0, 4096);
	blk_task_start(&task, &disk);
	expect_done(answer(4097), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, repeats_what_was_interrupted_but_not_forever)
{
	request(BLK_READ, 0, 512);
	blk_task_start(&task, &disk);
	for (int i = 0; i < BLK_RETRIES; i++)
		expect_op(answer(i % 2 ? -EINTR : -EAGAIN), BLK_OP_READ, 0,
			  512);
	expect_done(answer(-EINTR), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, does_nothing_for_nothing)
{
	request(BLK_READ, 0, 0);
	expect_done(blk_task_start(&task, &disk), VIRTIO_BLK_S_OK);
}

Test(blk_task, flushes_once)
{
	request(BLK_FLUSH, 0, 0);
	expect_op(blk_task_start(&task, &disk), BLK_OP_SYNC, 0, 0);
	expect_done(answer(0), VIRTIO_BLK_S_OK);
	disk.readonly = true;
	expect_done(blk_task_start(&task, &disk), VIRTIO_BLK_S_OK);
}

Test(blk_task, writes_through_without_a_cache)
{
	request(BLK_WRITE, 0, 4096);
	task.cache = BLK_WRITE_THROUGH;
	expect_op(blk_task_start(&task, &disk), BLK_OP_WRITE, 0, 4096);
	cr_assert(task.op.dsync);
	expect_op(answer(512), BLK_OP_WRITE, 512, 3584);
	cr_assert(task.op.dsync);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);

	request(BLK_READ, 0, 4096);
	cr_assert_eq(blk_task_start(&task, &disk), BLK_RUN);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);
}

Test(blk_task, syncs_everything_after_the_cache_was_given_up)
{
	request(BLK_WRITE, 0, 4096);
	task.cache = BLK_SYNC_ALL;
	expect_op(blk_task_start(&task, &disk), BLK_OP_WRITE, 0, 4096);
	expect_op(answer(FULL), BLK_OP_SYNC, 0, 0);
	expect_done(answer(0), VIRTIO_BLK_S_OK);
	request(BLK_WRITE, 0, 4096);
	blk_task_start(&task, &disk);
	expect_op(answer(FULL), BLK_OP_SYNC, 0, 0);
	expect_done(answer(-EIO), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, gives_the_serial_padded)
{
	memset(guest, 0xff, 32);
	request(BLK_GET_ID, 0, 20);
	expect_done(blk_task_start(&task, &disk), VIRTIO_BLK_S_OK);
	cr_assert_eq(memcmp(guest, "bulkhead-serial\0\0\0\0\0\xff", 21), 0);
	cr_assert_eq(task.written, 20);
}

/* O_DIRECT */

static void direct(uint32_t block)
{
	disk.direct = true;
	disk.block = block;
}

Test(blk_task, bounces_only_what_is_not_aligned)
{
	direct(4096);
	request(BLK_READ, 4096, 8192);
	expect_op(blk_task_start(&task, &disk), BLK_OP_READ, 4096, 8192);
	iov[0].iov_base = guest + 512;
	expect_op(blk_task_start(&task, &disk), BLK_OP_READ, 4096, 8192);
	iov[0].iov_base = guest + 8;
	cr_assert_eq(blk_task_start(&task, &disk), BLK_WAIT);
	/* Two pieces that do not meet on a block. */
	iov[0] = (struct iovec){guest, 512};
	iov[1] = (struct iovec){guest + 4096, 8192 - 512};
	task.req.num_iov = 2;
	cr_assert_eq(blk_task_start(&task, &disk), BLK_WAIT);
}

Test(blk_task, bounces_a_read_inside_a_block)
{
	direct(4096);
	request(BLK_READ, 4096 + 512, 1024);
	cr_assert_eq(blk_task_start(&task, &disk), BLK_WAIT);
	expect_op(blk_task_bounce(&task, &disk, bounce, sizeof(bounce)),
		  BLK_OP_READ, 4096, 4096);
	memset(bounce, 1, 512);
	memset(bounce + 512, 2, 1024);
	memset(bounce + 1536, 3, 512);
	guest[1024] = 9;
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(guest[0], 2);
	cr_assert_eq(guest[1023], 2);
	cr_assert_eq(guest[1024], 9);
}

Test(blk_task, bounces_a_long_read_in_pieces)
{
	direct(4096);
	request(BLK_READ, 512, 16384);
	iov[0].iov_base = guest + 1;
	cr_assert_eq(blk_task_start(&task, &disk), BLK_WAIT);
	expect_op(blk_task_bounce(&task, &disk, bounce, 8192), BLK_OP_READ, 0,
		  8192);
	memset(bounce, 1, 8192);
	expect_op(answer(FULL), BLK_OP_READ, 8192, 8192);
	memset(bounce, 2, 8192);
	/* The host gives half a block more than one. */
	expect_op(answer(4096 + 2048), BLK_OP_READ, 12288, 8192);
	memset(bounce, 3, 8192);
	expect_done(answer(4608), VIRTIO_BLK_S_OK);
	cr_assert_eq(guest[1], 1);
	cr_assert_eq(guest[8192 - 512], 1);
	cr_assert_eq(guest[8192 - 512 + 1], 2);
	cr_assert_eq(guest[16384], 3);
}

Test(blk_task, fails_a_bounced_read_past_the_end)
{
	direct(4096);
	request(BLK_READ, 4096 + 512, 512);
	blk_task_start(&task, &disk);
	blk_task_bounce(&task, &disk, bounce, 8192);
	expect_done(answer(512), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, bounces_writes_of_whole_blocks_only)
{
	direct(4096);
	request(BLK_WRITE, 4096, 12288);
	iov[0].iov_base = guest + 3;
	memset(guest, 0, sizeof(guest));
	memset(guest + 3, 1, 8192);
	memset(guest + 3 + 8192, 2, 4096);
	cr_assert_eq(blk_task_start(&task, &disk), BLK_WAIT);
	expect_op(blk_task_bounce(&task, &disk, bounce, 8192), BLK_OP_WRITE,
		  4096, 8192);
	cr_assert_eq(bounce[0], 1);
	cr_assert_eq(bounce[8191], 1);
	expect_op(answer(FULL), BLK_OP_WRITE, 12288, 4096);
	cr_assert_eq(bounce[0], 2);
	cr_assert_eq(bounce[4095], 2);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);

	request(BLK_WRITE, 512, 4096);
	expect_done(blk_task_start(&task, &disk), VIRTIO_BLK_S_IOERR);
	request(BLK_WRITE, 0, 512);
	expect_done(blk_task_start(&task, &disk), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, fails_a_bounced_write_that_stops_within_a_block)
{
	direct(4096);
	request(BLK_WRITE, 0, 8192);
	iov[0].iov_base = guest + 1;
	blk_task_start(&task, &disk);
	blk_task_bounce(&task, &disk, bounce, 8192);
	expect_done(answer(512), VIRTIO_BLK_S_IOERR);
}

/* DISCARD, WRITE_ZEROES */

Test(blk_task, discards_each_segment)
{
	request(BLK_DISCARD, 0, 0);
	segment(0, 4096, true);
	segment(8192, 0, true);
	segment(16384, 512, true);
	expect_op(blk_task_start(&task, &disk), BLK_OP_PUNCH, 0, 4096);
	expect_op(answer(0), BLK_OP_PUNCH, 16384, 512);
	expect_done(answer(0), VIRTIO_BLK_S_OK);
}

Test(blk_task, tolerates_hosts_that_cannot_discard)
{
	static const int errors[] = {-EINVAL, -EOPNOTSUPP};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		request(BLK_DISCARD, 0, 0);
		task.req.num_segs = 0;
		segment(0, 4096, true);
		cr_assert_eq(blk_task_start(&task, &disk), BLK_RUN);
		expect_done(answer(errors[i]), VIRTIO_BLK_S_OK);
	}
	/* EOPNOTSUPP is remembered: the host isn't asked again. */
	expect_done(blk_task_start(&task, &disk), VIRTIO_BLK_S_OK);
	disk.no_punch = false;
	blk_task_start(&task, &disk);
	expect_done(answer(-EIO), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, discards_whole_blocks_of_block_devices)
{
	disk.is_block_device = true;
	disk.block = 4096;
	request(BLK_DISCARD, 0, 0);
	segment(512, 4096, true);
	segment(512, 8192, true);
	expect_op(blk_task_start(&task, &disk), BLK_OP_PUNCH, 4096, 4096);
	expect_done(answer(0), VIRTIO_BLK_S_OK);
}

Test(blk_task, zeroes_by_the_best_way_the_host_has)
{
	request(BLK_ZEROES, 0, 0);
	segment(0, 4096, true);
	expect_op(blk_task_start(&task, &disk), BLK_OP_PUNCH, 0, 4096);
	expect_op(answer(-EOPNOTSUPP), BLK_OP_ZERO, 0, 4096);
	expect_op(answer(-EOPNOTSUPP), BLK_OP_WRITE, 0, 4096);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);
	expect_op(blk_task_start(&task, &disk), BLK_OP_WRITE, 0, 4096);
	disk.no_punch = disk.no_zero = false;
	task.req.segs[0].unmap = false;
	expect_op(blk_task_start(&task, &disk), BLK_OP_ZERO, 0, 4096);
	expect_done(answer(0), VIRTIO_BLK_S_OK);
	task.req.segs[0].unmap = true;
	disk.sparse = false;
	expect_op(blk_task_start(&task, &disk), BLK_OP_ZERO, 0, 4096);
}

Test(blk_task, writes_long_ranges_of_zeroes_in_pieces)
{
	disk.no_punch = disk.no_zero = true;
	disk.size = 1 * GIB;
	request(BLK_ZEROES, 0, 0);
	segment(512, 3 * MIB + 512, false);
	segment(64 * MIB, 512, false);

	uint64_t at = 512, end = 512 + 3 * MIB + 512;
	enum blk_state state = blk_task_start(&task, &disk);

	while (at < end) {
		cr_assert_eq(state, BLK_RUN);
		cr_assert_eq(task.op.kind, BLK_OP_WRITE);
		cr_assert_eq(task.op.offset, at);
		cr_assert(op_len() > 0 && at + op_len() <= end);
		for (unsigned int i = 0; i < task.op.num_iov; i++) {
			const uint8_t *p = task.op.iov[i].iov_base;

			for (size_t b = 0; b < task.op.iov[i].iov_len; b += 511)
				cr_assert_eq(p[b], 0);
		}
		/* Now and then a short write. */
		int res =
			at % MIB ? (int)op_len() : (int)min_u64(1024, op_len());

		at += (uint64_t)res;
		state = answer(res);
	}
	expect_op(state, BLK_OP_WRITE, 64 * MIB, 512);
	expect_done(answer(FULL), VIRTIO_BLK_S_OK);
}

Test(blk_task, fails_when_zeroes_do_not_fit)
{
	request(BLK_ZEROES, 0, 0);
	segment(0, 4096, false);
	blk_task_start(&task, &disk);
	expect_done(answer(-ENOSPC), VIRTIO_BLK_S_IOERR);
	disk.no_zero = true;
	blk_task_start(&task, &disk);
	expect_done(answer(-ENOSPC), VIRTIO_BLK_S_IOERR);
}

Test(blk_task, syncs_segments_without_a_cache)
{
	request(BLK_ZEROES, 0, 0);
	task.cache = BLK_WRITE_THROUGH;
	segment(0, 4096, false);
	segment(4096, 4096, false);
	blk_task_start(&task, &disk);
	expect_op(answer(0), BLK_OP_ZERO, 4096, 4096);
	expect_op(answer(0), BLK_OP_SYNC, 0, 0);
	expect_done(answer(0), VIRTIO_BLK_S_OK);
}
