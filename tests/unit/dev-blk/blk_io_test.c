/* SPDX-License-Identifier: Apache-2.0 */
/* Both back ends do the same things to a real file. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "dev-blk/blk_io.h"

#define DEPTH	  16
#define FILE_SIZE (4 * MIB)

static int make_file(void)
{
	char path[] = "/var/tmp/blk_io_test.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(ftruncate(fd, (off_t)FILE_SIZE), 0);
	return fd;
}

static struct blk_io *open_io(int kind, int fd, bool readonly)
{
	struct err e = {0};
	struct blk_io *io = NULL;
	int r = kind == 0 ? blk_uring_new(fd, -1, DEPTH, 4, readonly, &io, &e)
			  : blk_sync_new(fd, DEPTH, &io, &e);

	if (kind == 0 && (r == -ENOSYS || r == -EPERM))
		cr_skip_test("no io_uring on this host");
	cr_assert_eq(r, 0, "%s", e.text);
	cr_assert_eq(blk_io_attach(io, &e), 0, "%s", e.text);
	return io;
}

static void *wait_one(struct blk_io *io, int *ret_res)
{
	void *token;

	while (!blk_io_reap(io, &token, ret_res)) {
		struct pollfd p = {.fd = io->event_fd, .events = POLLIN};

		cr_assert_geq(io->event_fd, 0);
		cr_assert_eq(poll(&p, 1, 5000), 1);
	}
	return token;
}

static int do_op(struct blk_io *io, const struct blk_op *op)
{
	int res, token;

	blk_io_submit(io, op, &token);
	blk_io_commit(io);
	cr_assert_eq(wait_one(io, &res), &token);
	return res;
}

static uint64_t allocated(int fd)
{
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void check_round_trip(int kind)
{
	auto_fd fd = make_file();
	struct blk_io *io = open_io(kind, fd, false);
	static uint8_t a[65536], b[65536];
	struct iovec out[2] = {{a, 4096}, {a + 8192, 4096}};
	struct iovec in = {b, 8192};
	struct blk_op op = {
		.kind = BLK_OP_WRITE, .iov = out, .num_iov = 2, .offset = 512};

	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = (uint8_t)(i * 7 + i / 256);
	cr_assert_eq(do_op(io, &op), 8192);
	op.dsync = true;
	cr_assert_eq(do_op(io, &op), 8192);
	op = (struct blk_op){
		.kind = BLK_OP_READ, .iov = &in, .num_iov = 1, .offset = 512};
	cr_assert_eq(do_op(io, &op), 8192);
	cr_assert_eq(memcmp(b, a, 4096), 0);
	cr_assert_eq(memcmp(b + 4096, a + 8192, 4096), 0);
	op = (struct blk_op){.kind = BLK_OP_SYNC};
	cr_assert_eq(do_op(io, &op), 0);
	op = (struct blk_op){.kind = BLK_OP_READ,
			     .iov = &in,
			     .num_iov = 1,
			     .offset = FILE_SIZE};
	cr_assert_eq(do_op(io, &op), 0, "at the end of the file");
	blk_io_free(io);
}

static void check_ranges(int kind)
{
	auto_fd fd = make_file();
	struct blk_io *io = open_io(kind, fd, false);
	auto_free uint8_t *buf = malloc(MIB);
	struct blk_op op = {.kind = BLK_OP_PUNCH, .len = MIB};
	struct stat st;

	memset(buf, 0xaa, MIB);
	cr_assert_eq(pwrite(fd, buf, MIB, 0), MIB);
	cr_assert_eq(fsync(fd), 0);
	cr_assert_geq(allocated(fd), MIB);
	cr_assert_eq(do_op(io, &op), 0);
	cr_assert_lt(allocated(fd), MIB);
	cr_assert_eq(pread(fd, buf, 4096, 4096), 4096);
	cr_assert_eq(buf[0], 0);
	op.kind = BLK_OP_ZERO;
	op.offset = FILE_SIZE - 4096;
	op.len = 8192;

	int r = do_op(io, &op);

	cr_assert(r == 0 || r == -EOPNOTSUPP, "zero range: %d", r);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, FILE_SIZE, "the size is kept");
	blk_io_free(io);
}

static void check_full_depth(int kind)
{
	auto_fd fd = make_file();
	struct blk_io *io = open_io(kind, fd, false);
	static uint8_t mem[DEPTH][4096];
	struct iovec iov[DEPTH];
	struct blk_op ops[DEPTH];
	bool seen[DEPTH];
	int res;

	for (int round = 0; round < 20; round++) {
		memset(seen, 0, sizeof(seen));
		for (unsigned int i = 0; i < DEPTH; i++) {
			iov[i] = (struct iovec){mem[i], 4096};
			ops[i] = (struct blk_op){.kind = BLK_OP_WRITE,
						 .iov = &iov[i],
						 .num_iov = 1,
						 .offset = i * 4096ULL};
			blk_io_submit(io, &ops[i], &seen[i]);
		}
		blk_io_commit(io);
		for (unsigned int i = 0; i < DEPTH; i++) {
			bool *token = wait_one(io, &res);

			cr_assert_eq(res, 4096);
			cr_assert_not(*token);
			*token = true;
		}
	}
	blk_io_free(io);
}

static void check_errors(int kind)
{
	auto_fd fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct blk_io *io = open_io(kind, fd, false);
	uint8_t buf[512] = {0};
	struct iovec iov = {buf, sizeof(buf)};
	struct blk_op op = {.kind = BLK_OP_WRITE, .iov = &iov, .num_iov = 1};

	cr_assert_eq(do_op(io, &op), -ENOSPC);
	op.kind = BLK_OP_PUNCH;
	op.len = 512;
	cr_assert_lt(do_op(io, &op), 0);
	iov.iov_base = (void *)8;
	op.kind = BLK_OP_READ;
	cr_assert_lt(do_op(io, &op), 1);
	blk_io_free(io);
}

/* Is data of the first block still only in the page cache? */
static bool is_delayed(int fd)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extent;
	} f = {.map = {.fm_length = 4096, .fm_extent_count = 1}};

	cr_assert_eq(ioctl(fd, FS_IOC_FIEMAP, &f), 0);
	return f.map.fm_mapped_extents == 1 &&
	       (f.extent.fe_flags & FIEMAP_EXTENT_DELALLOC);
}

static void check_stable_writes(int kind)
{
	auto_fd fd = make_file();
	struct blk_io *io = open_io(kind, fd, false);
	uint8_t buf[4096] = {1};
	struct iovec iov = {buf, sizeof(buf)};
	struct blk_op op = {.kind = BLK_OP_WRITE, .iov = &iov, .num_iov = 1};

	cr_assert_eq(do_op(io, &op), 4096);
	if (!is_delayed(fd))
		cr_skip_test("this file system does not tell");
	op.kind = BLK_OP_SYNC;
	cr_assert_eq(do_op(io, &op), 0);
	cr_assert_not(is_delayed(fd));
	op.kind = BLK_OP_PUNCH;
	op.len = 4096;
	cr_assert_eq(do_op(io, &op), 0);
	op.kind = BLK_OP_WRITE;
	op.dsync = true;
	cr_assert_eq(do_op(io, &op), 4096);
	cr_assert_not(is_delayed(fd));
	blk_io_free(io);
}

#define BOTH(name)                                                             \
	Test(blk_uring, name, .timeout = 30)                                   \
	{                                                                      \
		check_##name(0);                                               \
	}                                                                      \
	Test(blk_sync, name, .timeout = 30)                                    \
	{                                                                      \
		check_##name(1);                                               \
	}

BOTH(round_trip)
BOTH(ranges)
BOTH(full_depth)
BOTH(errors)
BOTH(stable_writes)

Test(blk_uring, of_a_readonly_disk_only_reads, .timeout = 30)
{
	static const enum blk_op_kind forbidden[] = {BLK_OP_WRITE, BLK_OP_SYNC,
						     BLK_OP_PUNCH, BLK_OP_ZERO};
	auto_fd fd = make_file(); /* itself writable */
	struct blk_io *io = open_io(0, fd, true);
	uint8_t buf[512] = {0};
	struct iovec iov = {buf, sizeof(buf)};
	struct blk_op op = {.iov = &iov, .num_iov = 1, .len = 512};

	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		op.kind = forbidden[i];
		cr_assert_eq(do_op(io, &op), -EACCES, "operation %d",
			     forbidden[i]);
	}
	op.kind = BLK_OP_READ;
	cr_assert_eq(do_op(io, &op), 512);
	blk_io_free(io);
}
