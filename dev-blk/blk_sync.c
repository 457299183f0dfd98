/* SPDX-License-Identifier: Apache-2.0 */
/* The back end of hosts without io_uring: each operation is carried out when
 * it is submitted. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "dev-blk/blk_io.h"

struct sync_result {
	void *token;
	int res;
};

struct blk_sync {
	struct blk_io io;
	int fd;
	unsigned int depth;
	unsigned int head, num; /* of results[], a ring */
	struct sync_result results[];
};

static struct blk_sync *sync_of(struct blk_io *io)
{
	return (struct blk_sync *)(void *)io;
}

static int sync_attach(struct blk_io *io, struct err *e)
{
	(void)io;
	(void)e;
	return 0;
}

/*
 * @sys blksync pwritev: write, straight from guest memory
 * @sys blksync fdatasync: flush; each write of a disk without a write cache
 */
static ssize_t sync_write(int fd, const struct blk_op *op)
{
	ssize_t n = pwritev(fd, op->iov, (int)op->num_iov, (off_t)op->offset);

	if (n >= 0 && op->dsync && fdatasync(fd) < 0)
		return -1;
	return n;
}

/*
 * @sys blksync preadv: read, straight into guest memory
 * @sys blksync fallocate(1==FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE): discard
 * @sys blksync fallocate(1==FALLOC_FL_KEEP_SIZE|FALLOC_FL_ZERO_RANGE): write
 *     zeroes
 */
static int sync_do(int fd, const struct blk_op *op)
{
	off_t offset = (off_t)op->offset, len = (off_t)op->len;
	ssize_t r = -1;

	switch (op->kind) {
	case BLK_OP_READ:
		r = preadv(fd, op->iov, (int)op->num_iov, offset);
		break;
	case BLK_OP_WRITE:
		r = sync_write(fd, op);
		break;
	case BLK_OP_SYNC:
		r = fdatasync(fd);
		break;
	case BLK_OP_PUNCH:
		r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      offset, len);
		break;
	case BLK_OP_ZERO:
		r = fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
			      offset, len);
		break;
	}
	/* One transfer is at most 0x7ffff000 bytes: it fits an int. */
	return r < 0 ? -errno : (int)r;
}

static void sync_submit(struct blk_io *io, const struct blk_op *op, void *token)
{
	struct blk_sync *s = sync_of(io);
	struct sync_result *r;

	check(s->num < s->depth);
	r = &s->results[(s->head + s->num) % s->depth];
	s->num++;
	r->token = token;
	r->res = sync_do(s->fd, op);
}

static void sync_commit(struct blk_io *io)
{
	(void)io;
}

static bool sync_reap(struct blk_io *io, void **ret_token, int *ret_res)
{
	struct blk_sync *s = sync_of(io);

	if (s->num == 0)
		return false;
	*ret_token = s->results[s->head].token;
	*ret_res = s->results[s->head].res;
	s->head = (s->head + 1) % s->depth;
	s->num--;
	return true;
}

static void sync_free(struct blk_io *io)
{
	free(sync_of(io));
}

static const struct blk_io_ops sync_ops = {
	.attach = sync_attach,
	.submit = sync_submit,
	.commit = sync_commit,
	.reap = sync_reap,
	.free = sync_free,
};

int blk_sync_new(int fd, unsigned int depth, struct blk_io **ret, struct err *e)
{
	struct blk_sync *s =
		calloc(1, sizeof(*s) + depth * sizeof(s->results[0]));

	if (!s)
		return err_set(e, -ENOMEM, "Out of memory for the disk");
	s->io.ops = &sync_ops;
	s->io.event_fd = -1;
	s->fd = fd;
	s->depth = depth;
	*ret = &s->io;
	return 0;
}
