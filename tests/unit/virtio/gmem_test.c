/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/virtio/gmem.h"

#define SIZE (64 * KIB)

static struct gmem m;
static struct err e;

static int make_memfd(int seals)
{
	int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	cr_assert(fd >= 0 && !ftruncate(fd, SIZE));
	cr_assert(!fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static int make_sealed(void)
{
	return make_memfd(F_SEAL_GROW | F_SEAL_SHRINK);
}

static void expect_invalid(struct gmem_desc d, const char *what)
{
	int fd = make_sealed();

	m.num_regions = 7;
	cr_assert_eq(gmem_map(&m, &d, 1, &fd, 1, &e), -EINVAL, "%s", what);
	cr_assert_eq(m.num_regions, 0);
	close(fd);
}

Test(gmem_map, rejects_malformed_regions)
{
	expect_invalid((struct gmem_desc){0, 0, 0, 0}, "empty");
	expect_invalid((struct gmem_desc){1, SIZE, 0, 0}, "gpa");
	expect_invalid((struct gmem_desc){0, SIZE - 1, 0, 0}, "size");
	expect_invalid((struct gmem_desc){0, 4096, 5, 0}, "offset");
	expect_invalid((struct gmem_desc){0, SIZE, 0, 1}, "fd index");
	expect_invalid((struct gmem_desc){0, SIZE + 4096, 0, 0}, "too long");
	expect_invalid((struct gmem_desc){0, SIZE, 4096, 0}, "too far");
	expect_invalid((struct gmem_desc){0, 4096, 1ull << 62, 0}, "far off");
	expect_invalid((struct gmem_desc){-4096ull, 8192, 0, 0}, "wrap");
	expect_invalid((struct gmem_desc){1ull << 52, 4096, 0, 0}, "high");
}

Test(gmem_map, rejects_memory_that_can_change_its_size)
{
	struct gmem_desc d = {0, SIZE, 0, 0};
	int fd = make_memfd(F_SEAL_GROW);

	cr_assert_eq(gmem_map(&m, &d, 1, &fd, 1, &e), -EINVAL);
	close(fd);
	fd = make_memfd(F_SEAL_SHRINK);
	cr_assert_eq(gmem_map(&m, &d, 1, &fd, 1, &e), -EINVAL);
	close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	cr_assert_eq(gmem_map(&m, &d, 1, &fd, 1, &e), -EINVAL);
	close(fd);
}

Test(gmem_map, rejects_overlap_and_disorder)
{
	struct gmem_desc over[2] = {{0, 8192, 0, 0}, {4096, 4096, 0, 0}};
	struct gmem_desc back[2] = {{8192, 4096, 0, 0}, {0, 4096, 0, 0}};
	int fd = make_sealed();

	cr_assert_eq(gmem_map(&m, over, 2, &fd, 1, &e), -EINVAL);
	cr_assert_eq(gmem_map(&m, back, 2, &fd, 1, &e), -EINVAL);
	cr_assert_eq(gmem_map(&m, over, 0, &fd, 1, &e), -EINVAL);
	cr_assert_eq(gmem_map(&m, over, 65, &fd, 1, &e), -EINVAL);
	close(fd);
}

/* Two adjacent regions in swapped order of the file, then a hole. */
static int map_three(void)
{
	struct gmem_desc d[3] = {
		{0x10000, 8192, 8192, 0},
		{0x12000, 8192, 0, 0},
		{0x20000, 4096, 16384, 0},
	};
	int fd = make_sealed();

	cr_assert_eq(gmem_map(&m, d, 3, &fd, 1, &e), 0, "%s", e.text);
	return fd;
}

Test(gmem_ptr, stays_in_one_region)
{
	int fd = map_three();

	cr_assert_not_null(gmem_ptr(&m, 0x10000, 8192));
	cr_assert_not_null(gmem_ptr(&m, 0x11fff, 1));
	cr_assert_not_null(gmem_ptr(&m, 0x20fff, 1));
	cr_assert_null(gmem_ptr(&m, 0x11fff, 2));
	cr_assert_null(gmem_ptr(&m, 0xffff, 1));
	cr_assert_null(gmem_ptr(&m, 0x21000, 1));
	cr_assert_null(gmem_ptr(&m, 0x14000, 1));
	cr_assert_null(gmem_ptr(&m, 0x10000, 0));
	cr_assert_null(gmem_ptr(&m, 0x10000, UINT64_MAX));
	cr_assert_null(gmem_ptr(&m, UINT64_MAX, 2));
	gmem_unmap(&m);
	close(fd);
}

Test(gmem_iov, spans_adjacent_regions_and_no_hole)
{
	struct iovec iov[4];
	int fd = map_three();

	cr_assert_eq(gmem_iov(&m, 0x11ffe, 4, iov, 4), 2);
	cr_assert(iov[0].iov_len == 2 && iov[1].iov_len == 2);
	cr_assert_eq(iov[0].iov_base, m.regions[0].hva + 8190);
	cr_assert_eq(iov[1].iov_base, m.regions[1].hva);
	cr_assert_eq(gmem_iov(&m, 0x11ffe, 4, iov, 1), -E2BIG);
	cr_assert_eq(gmem_iov(&m, 0x11ffe, 0, iov, 0), 0);
	cr_assert_eq(gmem_iov(&m, 0x13fff, 2, iov, 4), -EFAULT);
	cr_assert_eq(gmem_iov(&m, 0x20fff, 2, iov, 4), -EFAULT);
	cr_assert_eq(gmem_iov(&m, UINT64_MAX, 1, iov, 4), -EFAULT);
	gmem_unmap(&m);
	close(fd);
}

Test(gmem_read, copies_across_regions_or_not_at_all)
{
	char text[8] = "abcdefg", back[8] = "";
	int fd = map_three();

	cr_assert_eq(gmem_write(&m, 0x11ffd, text, 8), 0);
	cr_assert_eq(pread(fd, back, 3, 16384 - 3), 3);
	cr_assert_eq(pread(fd, back + 3, 5, 0), 5);
	cr_assert_str_eq(back, "abcdefg");
	memset(back, 0, sizeof(back));
	cr_assert_eq(gmem_read(&m, 0x11ffd, back, 8), 0);
	cr_assert_str_eq(back, "abcdefg");
	memset(back, 'x', sizeof(back));
	cr_assert_eq(gmem_read(&m, 0x13ffc, back, 8), -EFAULT);
	cr_assert_eq(back[0], 'x');
	cr_assert_eq(gmem_write(&m, 0x13ffc, text, 8), -EFAULT);
	cr_assert_eq(gmem_read(&m, 0x13ffc, back, 4), 0);
	cr_assert_eq(back[0], 0);
	gmem_unmap(&m);
	close(fd);
}
