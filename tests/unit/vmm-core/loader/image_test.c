/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/image.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/vmm-core/loader/fake.h"

static enum image_kind detect(const void *magic, size_t len, size_t off,
			      size_t size)
{
	uint8_t data[1024] = {0};
	struct fake_bytes bytes;
	struct image img = fake_image(&bytes, "kernel", data, size);
	enum image_kind kind = IMAGE_UNKNOWN;

	memcpy(data + off, magic, len);
	cr_assert_eq(image_detect(&img, &kind, NULL), 0);
	return kind;
}

Test(image_detect, knows_the_common_formats)
{
	cr_expect_eq(detect("\177ELF", 4, 0, 1024), IMAGE_ELF);
	cr_expect_eq(detect("HdrS", 4, 0x202, 1024), IMAGE_BZIMAGE);
	cr_expect_eq(detect("ARM\x64", 4, 0x38, 1024), IMAGE_LINUX_ARM64);
	cr_expect_eq(detect("\x1f\x8b", 2, 0, 1024), IMAGE_COMPRESSED);
	cr_expect_eq(detect("\x28\xb5\x2f\xfd", 4, 0, 1024), IMAGE_COMPRESSED);
	cr_expect_eq(detect("MZ", 2, 0, 1024), IMAGE_PE);
	cr_expect_eq(detect("MZ\0\0zimg", 8, 0, 1024), IMAGE_EFI_ZBOOT);
	cr_expect_eq(detect("_FVH", 4, 0x28, 1024), IMAGE_FIRMWARE_VOLUME);
	cr_expect_eq(detect("070701", 6, 0, 1024), IMAGE_CPIO);
	cr_expect_eq(detect("\x55\xaa", 2, 0x1fe, 1024), IMAGE_DISK);
	cr_expect_eq(detect("text", 4, 0, 1024), IMAGE_UNKNOWN);
}

Test(image_detect, does_not_look_past_the_end)
{
	cr_expect_eq(detect("HdrS", 4, 0x202, 0x205), IMAGE_UNKNOWN);
	cr_expect_eq(detect("\177EL", 3, 0, 3), IMAGE_UNKNOWN);
	cr_expect_eq(detect("", 0, 0, 0), IMAGE_EMPTY);
}

Test(image_read, says_truncated)
{
	uint8_t data[16] = {0}, out[16];
	struct fake_bytes bytes;
	struct image img = fake_image(&bytes, "kernel", data, sizeof(data));
	struct err e = {0};

	cr_assert_eq(image_read(&img, out, 8, 8, &e), 0);
	cr_assert_eq(image_read(&img, out, 9, 8, &e), -EINVAL);
	cr_assert(strstr(e.text, "truncated"));
	cr_assert_eq(image_read(&img, out, UINT64_MAX, 8, &e), -EINVAL);
	cr_assert_eq(image_read(&img, out, 8, UINT64_MAX, &e), -EINVAL);
}

Test(image_load, fills_pieces_of_memory)
{
	uint8_t ram[2][4096] = {0}, data[64] = {0};
	struct gmem m = {.num_regions = 2};
	struct fake_bytes bytes;
	struct image img = fake_image(&bytes, "kernel", data, sizeof(data));

	for (unsigned int i = 0; i < 2; i++) {
		m.regions[i].gpa = i * 4096;
		m.regions[i].size = 4096;
		m.regions[i].hva = ram[i];
	}
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	cr_assert_eq(image_load(&img, &m, 4096 - 10, 40, 4, NULL), 0);
	cr_assert_arr_eq(ram[0] + 4086, data + 4, 10);
	cr_assert_arr_eq(ram[1], data + 14, 30);
	cr_assert_eq(ram[1][30], 0);
	cr_assert_eq(image_load(&img, &m, 8192 - 10, 40, 4, NULL), -EFAULT);
}

Test(image_fd_init, reads_files_only)
{
	int fd = memfd_create("image", MFD_CLOEXEC), ends[2], dir;
	uint8_t out[3];
	struct image img;
	struct err e = {0};

	cr_assert_eq(write(fd, "abcdef", 6), 6);
	cr_assert_eq(image_fd_init(&img, "kernel", &fd, &e), 0);
	cr_assert_eq(img.size, 6);
	cr_assert_eq(image_read(&img, out, 3, 2, &e), 0);
	cr_assert_arr_eq(out, "cde", 3);
	/* shorter than it was */
	cr_assert_eq(ftruncate(fd, 4), 0);
	cr_assert_eq(image_read(&img, out, 3, 2, &e), -ENODATA);
	cr_assert(strstr(e.text, "shorter"));

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(image_fd_init(&img, "kernel", &ends[0], &e), -EINVAL);
	dir = open("/", O_RDONLY | O_DIRECTORY);
	cr_assert_eq(image_fd_init(&img, "kernel", &dir, &e), -EINVAL);
}
