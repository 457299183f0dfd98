/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/open.h"
#include "common/base/num.h"

static char folder[64];
static char path[96];
static struct config_disk disk;
static struct opened opened, second;
static struct err err;

static void setup(void)
{
	strcpy(folder, "/var/tmp/open_disk_test.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/image", folder);
	disk = (struct config_disk){.path = path, .sparse = true};
	opened_init(&opened);
	opened_init(&second);
}

static void teardown(void)
{
	opened_close(&opened);
	opened_close(&second);
	unlink(path);
	rmdir(path);
	rmdir(folder);
}

static void make(off_t size)
{
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	close(fd);
}

static void refused(int code, const char *word)
{
	int r = open_disk(&disk, &opened, &err);

	cr_assert_eq(r, code, "%d: %s", r, err.text);
	cr_assert(strstr(err.text, path), "no path in: %s", err.text);
	cr_assert(strstr(err.text, word), "no \"%s\" in: %s", word, err.text);
	cr_assert_eq(opened.num_fds, 0);
}

TestSuite(open_disk, .init = setup, .fini = teardown, .timeout = 20);

Test(open_disk, opens_an_image)
{
	make(1 << 20);
	cr_assert_eq(open_disk(&disk, &opened, &err), 0, "%s", err.text);
	cr_assert_eq(opened.num_fds, 1);
	cr_assert_eq(opened.blk.size, 1 << 20);
	cr_assert_eq(opened.blk.logical_block, 512);
	cr_assert(is_pow2(opened.blk.physical_block));
	cr_assert(opened.blk.sparse);
	cr_assert_not(opened.blk.is_block_device);
	cr_assert(fcntl(opened.fds[0], F_GETFD) & FD_CLOEXEC);

	int flags = fcntl(opened.fds[0], F_GETFL);

	cr_assert_eq(flags & O_ACCMODE, O_RDWR);
	cr_assert_eq(flags & (O_NONBLOCK | O_DIRECT | O_APPEND), 0);
}

Test(open_disk, opens_read_only_for_reading_only)
{
	make(1 << 20);
	cr_assert_eq(chmod(path, 0400), 0);
	disk.readonly = true;
	cr_assert_eq(open_disk(&disk, &opened, &err), 0, "%s", err.text);
	cr_assert_eq(fcntl(opened.fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_assert(opened.blk.readonly);
}

Test(open_disk, opens_for_direct_io)
{
	make(1 << 20);
	disk.direct = true;
	if (open_disk(&disk, &opened, &err) < 0)
		cr_skip_test("no direct I/O on this file system");
	cr_assert(fcntl(opened.fds[0], F_GETFL) & O_DIRECT);
	cr_assert(is_pow2(opened.blk.dma_alignment));
	cr_assert(is_pow2(opened.blk.logical_block));

	/* What it says must work. */
	uint32_t block = opened.blk.logical_block;
	uint8_t *mem = aligned_alloc(8192, 16384);

	cr_assert_eq(pread(opened.fds[0], mem + opened.blk.dma_alignment, block,
			   block),
		     block);
	free(mem);
}

Test(open_disk, refuses_what_is_no_disk)
{
	refused(-ENOENT, "find");
	cr_assert_eq(mkdir(path, 0700), 0);
	refused(-EINVAL, "a directory");
	rmdir(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused(-EINVAL, "a FIFO");
	unlink(path);
	cr_assert_eq(symlink("/dev/null", path), 0);
	refused(-EINVAL, "a character device");
	unlink(path);
	make(0);
	refused(-EINVAL, "truncate");
	make(511);
	refused(-EINVAL, "511 bytes");
}

Test(open_disk, takes_odd_sizes)
{
	make(1025);
	cr_assert_eq(open_disk(&disk, &opened, &err), 0, "%s", err.text);
	cr_assert_eq(opened.blk.size, 1025);
}

Test(open_disk, locks_a_writer_out)
{
	make(1 << 20);
	cr_assert_eq(open_disk(&disk, &second, &err), 0);
	refused(-EBUSY, "in use");
	disk.readonly = true;
	refused(-EBUSY, "in use");
	opened_close(&second);
	cr_assert_eq(open_disk(&disk, &opened, &err), 0);
	cr_assert_eq(open_disk(&disk, &second, &err), 0, "readers share");
	disk.readonly = false;

	struct opened third;

	opened_init(&third);
	cr_assert_eq(open_disk(&disk, &third, &err), -EBUSY);
	opened_close(&third);
}

Test(open_disk, keeps_the_lock_with_the_descriptor)
{
	make(1 << 20);
	cr_assert_eq(open_disk(&disk, &second, &err), 0);

	int copy = dup(second.fds[0]); /* as a device process has it */

	opened_close(&second);
	refused(-EBUSY, "in use");
	close(copy);
	cr_assert_eq(open_disk(&disk, &opened, &err), 0);
}

Test(open_disk, makes_a_stable_serial)
{
	uint8_t serial[20];
	size_t len;

	make(1 << 20);
	cr_assert_eq(open_disk(&disk, &opened, &err), 0);
	len = opened.blk.serial.len;
	cr_assert(len > 0 && len <= 20);
	memcpy(serial, opened.blk.serial.data, len);
	opened_close(&opened);
	opened_init(&opened);
	cr_assert_eq(open_disk(&disk, &opened, &err), 0);
	cr_assert_eq(opened.blk.serial.len, len);
	cr_assert_eq(memcmp(opened.blk.serial.data, serial, len), 0);
	opened_close(&opened);
	opened_init(&opened);
	disk.serial = (char[]){"my disk"};
	cr_assert_eq(open_disk(&disk, &opened, &err), 0);
	cr_assert_eq(opened.blk.serial.len, 7);
	cr_assert_eq(memcmp(opened.blk.serial.data, "my disk", 7), 0);
}

Test(open_disk, takes_space_for_a_dense_disk)
{
	struct stat st;

	make(1 << 20);
	disk.sparse = false;
	cr_assert_eq(open_disk(&disk, &opened, &err), 0, "%s", err.text);
	cr_assert_not(opened.blk.sparse);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_geq(st.st_blocks * 512, 1 << 20);
}
