/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-blk/blk_task.h"

#include <errno.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/num.h"

/* WRITE_ZEROES by hand: one block of zeroes, written many times over. It is
 * never touched, so it costs one page of the kernel's zeroes at most. */
#define ZERO_LEN  65536 /* bytes; at least the largest disk->block */
#define ZERO_IOVS 16

static uint8_t zero_block[ZERO_LEN] __attribute__((aligned(4096)));

#define Z1                                                                     \
	{                                                                      \
		zero_block, ZERO_LEN                                           \
	}
#define Z4 Z1, Z1, Z1, Z1
static const struct iovec zero_iov[ZERO_IOVS] = {Z4, Z4, Z4, Z4};

static enum blk_state task_done(struct blk_task *t, uint8_t status)
{
	t->status = status;
	return BLK_DONE;
}

static enum blk_state task_fail(struct blk_task *t)
{
	return task_done(t, VIRTIO_BLK_S_IOERR);
}

static enum blk_state task_sync(struct blk_task *t)
{
	t->op = (struct blk_op){.kind = BLK_OP_SYNC};
	return BLK_RUN;
}

static bool task_is_aligned(const struct blk_task *t, const struct blk_disk *d)
{
	const struct blk_req *r = &t->req;

	if ((r->offset | r->len) & (d->block - 1))
		return false;
	for (unsigned int i = 0; i < r->num_iov; i++) {
		/* The lengths of pieces count as memory: where one ends, the
		 * next block may begin in the middle of a page. */
		if (((uintptr_t)r->iov[i].iov_base & (d->mem_align - 1)) ||
		    (r->iov[i].iov_len & (d->block - 1)))
			return false;
	}
	return true;
}

/* READ and WRITE straight from and to guest memory. */
static enum blk_state task_run_rw(struct blk_task *t)
{
	const struct blk_req *r = &t->req;

	t->op = (struct blk_op){
		.kind = r->kind == BLK_READ ? BLK_OP_READ : BLK_OP_WRITE,
		.dsync = t->cache == BLK_WRITE_THROUGH,
		.iov = r->iov,
		.num_iov = r->num_iov,
		.offset = r->offset,
	};
	return BLK_RUN;
}

static enum blk_state task_end_rw(struct blk_task *t)
{
	if (t->req.kind == BLK_WRITE && t->cache == BLK_SYNC_ALL &&
	    t->op.kind != BLK_OP_SYNC)
		return task_sync(t);
	if (t->req.kind == BLK_READ)
		t->written = t->req.len;
	return task_done(t, VIRTIO_BLK_S_OK);
}

static void task_advance(struct blk_task *t, uint32_t n)
{
	struct blk_req *r = &t->req;

	blk_iov_skip(&r->iov, &r->num_iov, n);
	r->offset += n;
	t->left -= n;
}

/* The next piece through the bounce buffer. */
static enum blk_state task_run_bounce(struct blk_task *t,
				      const struct blk_disk *d)
{
	const struct blk_req *r = &t->req;
	uint64_t start = align_down(r->offset, d->block);
	uint64_t end = align_up(r->offset + t->left, d->block);
	uint64_t len = min_u64(end - start, t->bounce_size);

	t->skip = (uint32_t)(r->offset - start);
	t->bounce_iov = (struct iovec){.iov_base = t->bounce, .iov_len = len};
	t->op = (struct blk_op){
		.kind = r->kind == BLK_READ ? BLK_OP_READ : BLK_OP_WRITE,
		.dsync = t->cache == BLK_WRITE_THROUGH,
		.iov = &t->bounce_iov,
		.num_iov = 1,
		.offset = start,
	};
	if (r->kind == BLK_WRITE)
		blk_iov_gather(r->iov, r->num_iov, t->bounce, len);
	return BLK_RUN;
}

static enum blk_state task_step_bounce(struct blk_task *t,
				       const struct blk_disk *d, uint32_t res)
{
	const struct blk_req *r = &t->req;

	if (res <= t->skip)
		return task_fail(t);

	uint32_t n = (uint32_t)min_u64(res - t->skip, t->left);

	if (r->kind == BLK_READ)
		blk_iov_scatter(r->iov, r->num_iov, t->bounce + t->skip, n);
	task_advance(t, n);
	if (t->left == 0)
		return task_end_rw(t);
	if (r->kind == BLK_WRITE && (r->offset & (d->block - 1)))
		return task_fail(t); /* a short write within a block */
	return task_run_bounce(t, d);
}

static enum blk_state task_step_rw(struct blk_task *t, const struct blk_disk *d,
				   int res)
{
	if (t->op.kind == BLK_OP_SYNC)
		return res < 0 ? task_fail(t) : task_end_rw(t);
	/* 0: past the end of a file that was cut. More than was asked for is
	 * no answer either. */
	if (res <= 0 || (uint64_t)res > blk_iov_len(t->op.iov, t->op.num_iov))
		return task_fail(t);
	if (t->bounce)
		return task_step_bounce(t, d, (uint32_t)res);
	task_advance(t, (uint32_t)res);
	return t->left == 0 ? task_end_rw(t) : task_run_rw(t);
}

static enum blk_state task_start_rw(struct blk_task *t,
				    const struct blk_disk *d)
{
	const struct blk_req *r = &t->req;

	t->left = r->len;
	if (t->left == 0)
		return task_done(t, VIRTIO_BLK_S_OK);
	if (!d->direct || task_is_aligned(t, d))
		return task_run_rw(t);
	if (r->kind == BLK_WRITE && ((r->offset | r->len) & (d->block - 1)))
		return task_fail(t);
	return BLK_WAIT;
}

static enum blk_state task_end_segs(struct blk_task *t)
{
	if (t->cache != BLK_WRITE_BACK && t->op.kind != BLK_OP_SYNC)
		return task_sync(t);
	return task_done(t, VIRTIO_BLK_S_OK);
}

static enum blk_state task_run_range(struct blk_task *t, enum blk_op_kind kind,
				     uint64_t offset, uint64_t len)
{
	t->op = (struct blk_op){.kind = kind, .offset = offset, .len = len};
	return BLK_RUN;
}

static enum blk_state task_write_zeroes(struct blk_task *t, uint64_t offset)
{
	uint64_t left = t->zero_end - offset;

	t->num_zero_iov = 0;
	while (t->num_zero_iov < ZERO_IOVS && left >= ZERO_LEN) {
		t->num_zero_iov++;
		left -= ZERO_LEN;
	}
	t->op = (struct blk_op){.kind = BLK_OP_WRITE, .offset = offset};
	if (t->num_zero_iov > 0) {
		t->op.iov = zero_iov;
		t->op.num_iov = t->num_zero_iov;
		return BLK_RUN;
	}
	t->bounce_iov = (struct iovec){.iov_base = zero_block, .iov_len = left};
	t->op.iov = &t->bounce_iov;
	t->op.num_iov = 1;
	return BLK_RUN;
}

/* The way after @failed (BLK_OP_READ: none yet) to zero the segment. */
static enum blk_state task_zero_seg(struct blk_task *t, struct blk_disk *d,
				    enum blk_op_kind failed)
{
	const struct blk_seg *s = &t->req.segs[t->seg];

	if (failed == BLK_OP_READ && s->unmap && d->sparse && !d->no_punch)
		return task_run_range(t, BLK_OP_PUNCH, s->offset, s->len);
	if (failed != BLK_OP_ZERO && !d->no_zero)
		return task_run_range(t, BLK_OP_ZERO, s->offset, s->len);
	if (d->direct && ((s->offset | s->len) & (d->block - 1)))
		return task_fail(t);
	t->zero_end = s->offset + s->len;
	return task_write_zeroes(t, s->offset);
}

/* The part of the segment that can be deallocated; false: none. */
static bool task_discard_range(const struct blk_seg *s,
			       const struct blk_disk *d, uint64_t *ret_offset,
			       uint64_t *ret_len)
{
	uint64_t start = s->offset, end = s->offset + s->len;

	if (d->is_block_device) {
		start = align_up(start, d->block);
		end = align_down(end, d->block);
	}
	if (start >= end)
		return false;
	*ret_offset = start;
	*ret_len = end - start;
	return true;
}

/* Begin with segs[t->seg] or the first after it that has something to do. */
static enum blk_state task_run_segs(struct blk_task *t, struct blk_disk *d)
{
	for (; t->seg < t->req.num_segs; t->seg++) {
		const struct blk_seg *s = &t->req.segs[t->seg];
		uint64_t offset, len;

		if (s->len == 0)
			continue;
		if (t->req.kind == BLK_ZEROES)
			return task_zero_seg(t, d, BLK_OP_READ);
		if (!d->no_punch && task_discard_range(s, d, &offset, &len))
			return task_run_range(t, BLK_OP_PUNCH, offset, len);
	}
	return task_end_segs(t);
}

static bool res_is_unsupported(int res)
{
	/* EINVAL: a range or mode that this back end can't take; ENODEV and
	 * EPERM: what fallocate says to odd files and sealed ones. */
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL ||
	       res == -ENODEV || res == -EPERM;
}

static enum blk_state task_seg_failed(struct blk_task *t, struct blk_disk *d,
				      int res)
{
	if (!res_is_unsupported(res))
		return task_fail(t);
	if (res == -EOPNOTSUPP)
		*(t->op.kind == BLK_OP_PUNCH ? &d->no_punch : &d->no_zero) =
			true;
	if (t->req.kind == BLK_ZEROES)
		return task_zero_seg(t, d, t->op.kind);
	t->seg++; /* DISCARD is a hint */
	return task_run_segs(t, d);
}

static enum blk_state task_step_segs(struct blk_task *t, struct blk_disk *d,
				     int res)
{
	switch (t->op.kind) {
	case BLK_OP_SYNC:
		return res < 0 ? task_fail(t) : task_end_segs(t);
	case BLK_OP_WRITE:
		if (res <= 0 || (uint64_t)res > t->zero_end - t->op.offset)
			return task_fail(t);
		if (t->op.offset + (uint64_t)res < t->zero_end)
			return task_write_zeroes(t,
						 t->op.offset + (uint64_t)res);
		break;
	case BLK_OP_PUNCH:
	case BLK_OP_ZERO:
		if (res < 0)
			return task_seg_failed(t, d, res);
		break;
	case BLK_OP_READ:
		check(false); /* a segment is never read */
	}
	t->seg++;
	return task_run_segs(t, d);
}

static enum blk_state task_get_id(struct blk_task *t, const struct blk_disk *d)
{
	blk_iov_scatter(t->req.iov, t->req.num_iov, d->serial, BLK_ID_LEN);
	t->written = BLK_ID_LEN;
	return task_done(t, VIRTIO_BLK_S_OK);
}

enum blk_state blk_task_start(struct blk_task *t, struct blk_disk *d)
{
	t->written = 0;
	t->bounce = NULL;
	t->seg = 0;
	t->retries = 0;
	t->op = (struct blk_op){.kind = BLK_OP_READ};
	switch (t->req.kind) {
	case BLK_READ:
	case BLK_WRITE:
		return task_start_rw(t, d);
	case BLK_FLUSH:
		/* Nothing was written through a read-only disk. */
		return d->readonly ? task_done(t, VIRTIO_BLK_S_OK)
				   : task_sync(t);
	case BLK_GET_ID:
		return task_get_id(t, d);
	case BLK_DISCARD:
	case BLK_ZEROES:
		return task_run_segs(t, d);
	case BLK_REPLY:
		break;
	}
	return task_done(t, t->req.status);
}

enum blk_state blk_task_bounce(struct blk_task *t, struct blk_disk *d,
			       uint8_t *buf, uint32_t size)
{
	check(size >= d->block && size % d->block == 0);
	t->bounce = buf;
	t->bounce_size = size;
	return task_run_bounce(t, d);
}

enum blk_state blk_task_step(struct blk_task *t, struct blk_disk *d, int res)
{
	if ((res == -EINTR || res == -EAGAIN) && t->retries++ < BLK_RETRIES)
		return BLK_RUN; /* the same operation again */
	switch (t->req.kind) {
	case BLK_READ:
	case BLK_WRITE:
		return task_step_rw(t, d, res);
	case BLK_FLUSH:
		return res < 0 ? task_fail(t) : task_done(t, VIRTIO_BLK_S_OK);
	case BLK_DISCARD:
	case BLK_ZEROES:
		return task_step_segs(t, d, res);
	case BLK_GET_ID:
	case BLK_REPLY:
		break;
	}
	check(false); /* nothing was under way */
	return BLK_DONE;
}
