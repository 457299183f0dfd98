/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile chain and a hostile host: the first bytes choose the limits, how
 * the chain is cut, and what the back end answers; the rest is what the guest
 * wrote. The request must stay inside the disk and inside its pieces, and the
 * task must end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/num.h"
#include "dev-blk/blk_task.h"

#define MAX_PIECES 64
#define MAX_STEPS  200000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

/* Each piece is an allocation of its own, so that ASan sees its end. */
static unsigned int make_pieces(struct input *in, struct iovec *iov,
				unsigned int max, bool fill)
{
	unsigned int n = take(in) % (max + 1);

	for (unsigned int i = 0; i < n; i++) {
		uint8_t b = take(in);
		size_t len = b < 128 ? b : (size_t)(b - 127) * 256;

		iov[i].iov_len = len;
		iov[i].iov_base = calloc(1, len ? len : 1);
		check(iov[i].iov_base);
		if (fill) {
			size_t have = min_u64(len, in->left);

			memcpy(iov[i].iov_base, in->p, have);
			in->p += have;
			in->left -= have;
		}
	}
	return n;
}

static int host_answer(struct input *in, const struct blk_op *op)
{
	static const int errors[] = {-EIO,    -ENOSPC,	   -EINTR, -EAGAIN,
				     -EINVAL, -EOPNOTSUPP, 0};
	uint64_t want = op->iov ? blk_iov_len(op->iov, op->num_iov) : 0;
	uint8_t b = take(in);

	if (b >= 0xf0)
		return errors[b % ARRAY_SIZE(errors)];
	if (b >= 0xe0) /* short */
		return (int)(want / (b - 0xdeU));
	return (int)want;
}

static volatile uint8_t sink;

static void read_all(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sink ^= p[i];
}

static void check_op(const struct blk_op *op, const struct blk_disk *d)
{
	uint64_t len = op->iov ? blk_iov_len(op->iov, op->num_iov) : op->len;

	check(!d->readonly || op->kind == BLK_OP_READ);
	if (op->kind == BLK_OP_SYNC)
		return;
	/* A bounced read may end in the block that holds the disk's end. */
	check(range_ok(op->offset, len, align_up(d->size, d->block)));
	if (op->kind == BLK_OP_READ || op->kind == BLK_OP_WRITE)
		check(len > 0);
	/* Touch all of it, as the host would. */
	for (unsigned int i = 0; op->iov && i < op->num_iov; i++) {
		if (op->kind == BLK_OP_READ)
			memset(op->iov[i].iov_base, 1, op->iov[i].iov_len);
		else
			read_all(op->iov[i].iov_base, op->iov[i].iov_len);
	}
}

static void run_task(struct input *in, struct blk_task *t, struct blk_disk *d)
{
	static uint8_t bounce[65536] __attribute__((aligned(4096)));
	enum blk_state state = blk_task_start(t, d);

	if (state == BLK_WAIT)
		state = blk_task_bounce(t, d, bounce, d->block * 2);
	for (unsigned int i = 0; state == BLK_RUN; i++) {
		check(i < MAX_STEPS);
		check_op(&t->op, d);
		state = blk_task_step(t, d, host_answer(in, &t->op));
	}
	check(state == BLK_DONE);
	check(t->status <= VIRTIO_BLK_S_UNSUPP);
	*t->req.ret_status = t->status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t bits = take(&in);
	struct blk_disk disk = {
		.readonly = bits & 1,
		.direct = bits & 2,
		.sparse = bits & 4,
		.is_block_device = bits & 8,
		.block = bits & 16 ? 4096 : 512,
		.mem_align = bits & 32 ? 512 : 4,
		.serial = "serial",
	};
	struct blk_limits limits = {
		.readonly = disk.readonly,
		.discard = bits & 64,
		.zeroes = bits & 128,
	};
	struct blk_task task = {.cache = take(&in) % 3};
	struct iovec iov[2 * MAX_PIECES], all[2 * MAX_PIECES];
	uint64_t sectors = (uint64_t)take(&in) + 8;

	if (sectors >= 200) /* a large disk: only ranges matter */
		sectors <<= (sectors - 200) % 54;
	disk.size = sectors << BLK_SECTOR_BITS;
	if (disk.direct || disk.is_block_device)
		disk.size = align_down(disk.size, disk.block);
	limits.capacity = disk.size >> BLK_SECTOR_BITS;

	unsigned int out = make_pieces(&in, iov, MAX_PIECES, true);
	unsigned int num = out + make_pieces(&in, iov + out, MAX_PIECES, false);

	memcpy(all, iov, sizeof(iov[0]) * num);
	if (limits.capacity > 0 &&
	    blk_req_parse(iov, out, num - out, &limits, &task.req) == 0)
		run_task(&in, &task, &disk);
	for (unsigned int i = 0; i < num; i++)
		free(all[i].iov_base);
	return 0;
}
