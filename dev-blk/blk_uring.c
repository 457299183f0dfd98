/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring operations pass seccomp by, so the ring itself is the filter: made
 * disabled, given its files (the disk, and a pipe that it only has to hold)
 * and a list of operations, then enabled for good.
 * Its descriptor is registered with the thread, so that io_uring_enter's
 * rule can name it (index 0) and reach no other ring.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "dev-blk/blk_io.h"

#define ENTER_RETRIES 1000

struct blk_uring {
	struct blk_io io;
	struct io_uring ring;
	int files[2]; /* the disk; the fence, -1 = none */
	bool readonly;
	unsigned int threads;	/* the kernel's, for what has to wait */
	unsigned int submitted; /* in the ring, not yet in the kernel */
	unsigned int under_way; /* in the kernel */
};

static struct blk_uring *uring_of(struct blk_io *io)
{
	return (struct blk_uring *)(void *)io;
}

static int uring_restrict(struct blk_uring *u)
{
	static const uint8_t ops[] = {IORING_OP_READV, IORING_OP_WRITEV,
				      IORING_OP_FSYNC, IORING_OP_FALLOCATE};
	struct io_uring_restriction r[ARRAY_SIZE(ops) + 2];
	unsigned int n = 0;

	memset(r, 0, sizeof(r));
	for (unsigned int i = 0; i < (u->readonly ? 1 : ARRAY_SIZE(ops)); i++) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n++].sqe_op = ops[i];
	}
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE;
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE;
	return io_uring_register_restrictions(&u->ring, r, n);
}

static int uring_attach(struct blk_io *io, struct err *e)
{
	struct blk_uring *u = uring_of(io);
	unsigned int threads[2] = {u->threads, 1}; /* of files; of others */
	/* The ring lets go of its files when its last request is over, which
	 * may be after the end of this process: that is what the fence tells.
	 */
	int r = io_uring_register_files(&u->ring, u->files,
					u->files[1] < 0 ? 1 : 2);

	if (r < 0)
		return err_set(e, r,
			       "Cannot register the disk with io_uring: "
			       "%s",
			       strerror(-r));
	r = io_uring_register_iowq_max_workers(&u->ring, threads);
	if (r < 0)
		return err_set(e, r,
			       "Cannot limit io_uring's kernel threads: "
			       "%s",
			       strerror(-r));
	r = io_uring_register_ring_fd(&u->ring);
	if (r != 1)
		return err_set(e, r < 0 ? r : -EINVAL,
			       "Cannot register the io_uring with its thread; "
			       "use _disable_io_uring=on");
	r = uring_restrict(u);
	if (r < 0)
		return err_set(e, r,
			       "Cannot restrict io_uring: %s; use "
			       "_disable_io_uring=on",
			       strerror(-r));
	r = io_uring_enable_rings(&u->ring);
	if (r < 0)
		return err_set(e, r, "Cannot enable io_uring: %s",
			       strerror(-r));
	return 0;
}

/*
 * @sys blk io_uring_enter(0==0,
 *     3==IORING_ENTER_GETEVENTS|IORING_ENTER_REGISTERED_RING): carry requests
 *     out, on the thread's one registered ring
 */
static void uring_commit(struct blk_io *io)
{
	struct blk_uring *u = uring_of(io);

	for (unsigned int i = 0; u->submitted > 0; i++) {
		int r = io_uring_submit_and_get_events(&u->ring);

		if (r > 0) {
			/* The kernel may take a part of it and stop. */
			check((unsigned int)r <= u->submitted);
			u->submitted -= (unsigned int)r;
			u->under_way += (unsigned int)r;
			i = 0;
			continue;
		}
		check(r == 0 || r == -EAGAIN || r == -EBUSY || r == -EINTR);
		/* Short of memory. What is under way will bring us back here;
		 * with nothing under way, insist. */
		if (u->under_way > 0)
			return;
		check(i < ENTER_RETRIES);
	}
}

static void uring_prepare(struct io_uring_sqe *sqe, const struct blk_op *op)
{
	int mode = FALLOC_FL_KEEP_SIZE;

	switch (op->kind) {
	case BLK_OP_READ:
		io_uring_prep_readv(sqe, 0, op->iov, op->num_iov, op->offset);
		break;
	case BLK_OP_WRITE:
		io_uring_prep_writev2(sqe, 0, op->iov, op->num_iov, op->offset,
				      op->dsync ? RWF_DSYNC : 0);
		break;
	case BLK_OP_SYNC:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	case BLK_OP_PUNCH:
	case BLK_OP_ZERO:
		mode |= op->kind == BLK_OP_PUNCH ? FALLOC_FL_PUNCH_HOLE
						 : FALLOC_FL_ZERO_RANGE;
		io_uring_prep_fallocate(sqe, 0, mode, (off_t)op->offset,
					(off_t)op->len);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
}

static void uring_submit(struct blk_io *io, const struct blk_op *op,
			 void *token)
{
	struct blk_uring *u = uring_of(io);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe) {
		uring_commit(io);
		sqe = io_uring_get_sqe(&u->ring);
	}
	/* The ring has room for `depth`, and no more are under way. */
	check(sqe);
	uring_prepare(sqe, op);
	io_uring_sqe_set_data(sqe, token);
	u->submitted++;
}

static bool uring_reap(struct blk_io *io, void **ret_token, int *ret_res)
{
	struct blk_uring *u = uring_of(io);
	struct io_uring_cqe *cqe;

	/* Enters the kernel only if its flag tells of completions to run. */
	if (io_uring_peek_cqe(&u->ring, &cqe) != 0)
		return false;
	*ret_token = io_uring_cqe_get_data(cqe);
	*ret_res = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	check(u->under_way > 0);
	u->under_way--;
	return true;
}

static void uring_free(struct blk_io *io)
{
	struct blk_uring *u = uring_of(io);

	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct blk_io_ops uring_ops = {
	.attach = uring_attach,
	.submit = uring_submit,
	.commit = uring_commit,
	.reap = uring_reap,
	.free = uring_free,
};

/*
 * Completions are run when the thread enters the kernel anyway, not by
 * interrupting it (Linux 6.0; older kernels do without). Not DEFER_TASKRUN:
 * seen on Linux 6.18, a thread that sleeps in epoll_wait() on such a ring is
 * not woken by its completions.
 */
static int uring_setup(struct blk_uring *u, unsigned int depth)
{
	static const unsigned int wishes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int r = -EINVAL;

	for (unsigned int i = 0; i < ARRAY_SIZE(wishes) && r == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = IORING_SETUP_R_DISABLED | wishes[i],
		};

		r = io_uring_queue_init_params(depth, &u->ring, &p);
	}
	return r;
}

int blk_uring_new(int fd, int fence, unsigned int depth, unsigned int threads,
		  bool readonly, struct blk_io **ret, struct err *e)
{
	auto_free void *mem = calloc(1, sizeof(struct blk_uring));
	struct blk_uring *u = mem;

	if (!u)
		return err_set(e, -ENOMEM, "Out of memory for io_uring");

	int r = uring_setup(u, depth);

	if (r < 0)
		return err_set(e, r, "Cannot set io_uring up: %s",
			       strerror(-r));
	/* Came with Linux 5.18, as did the registration of ring descriptors. */
	if (!(u->ring.features & IORING_FEAT_LINKED_FILE)) {
		io_uring_queue_exit(&u->ring);
		return err_set(e, -ENOSYS, "This host's io_uring is too old");
	}
	u->io.ops = &uring_ops;
	u->io.event_fd = u->ring.ring_fd;
	u->files[0] = fd;
	u->files[1] = fence;
	u->threads = threads;
	u->readonly = readonly;
	*ret = &u->io;
	take_ptr(mem);
	return 0;
}
