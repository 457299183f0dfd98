/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/num.h"

#define DETECT_BYTES 1024
#define LOAD_PIECES  16 /* adjacent memory regions under one segment */

/*
 * Straight into guest memory: the kernel copies from the page cache, this
 * process does not touch the bytes.
 * @sys loader pread64: kernel and initramfs, straight into guest memory
 */
static int image_fd_read(void *ctx, void *dst, uint64_t len, uint64_t off)
{
	const int *fd = ctx;
	uint8_t *p = dst;

	while (len) {
		ssize_t n = pread(*fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA; /* shrank since fstat() */
		p += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int image_fd_init(struct image *ret, const char *what, int *fd, struct err *e)
{
	struct stat st;

	if (fstat(*fd, &st) < 0)
		return err_errno(e, "%s: can't ask for its size", what);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: is not a regular file", what);
	*ret = (struct image){
		.read = image_fd_read,
		.ctx = fd,
		.size = (uint64_t)st.st_size,
		.what = what,
	};
	return 0;
}

static int image_read_failed(const struct image *img, int code, struct err *e)
{
	if (code == -ENODATA)
		return err_set(e, code, "%s: became shorter while it was read",
			       img->what);
	return err_set(e, code, "%s: reading failed: %s", img->what,
		       strerrordesc_np(-code) ? strerrordesc_np(-code)
					      : "unknown error");
}

static int image_check_range(const struct image *img, uint64_t len,
			     uint64_t off, struct err *e)
{
	if (range_ok(off, len, img->size))
		return 0;
	return err_set(e, -EINVAL,
		       "%s: is truncated: %" PRIu64
		       " bytes from offset %" PRIu64
		       " on are needed, the file has %" PRIu64,
		       img->what, len, off, img->size);
}

int image_read(const struct image *img, void *dst, uint64_t len, uint64_t off,
	       struct err *e)
{
	int r = image_check_range(img, len, off, e);

	if (r < 0 || !len)
		return r;
	r = img->read(img->ctx, dst, len, off);
	return r < 0 ? image_read_failed(img, r, e) : 0;
}

int image_load(const struct image *img, const struct gmem *mem, gpa_t gpa,
	       uint64_t len, uint64_t off, struct err *e)
{
	struct iovec iov[LOAD_PIECES];
	int n, r = image_check_range(img, len, off, e);

	if (r < 0)
		return r;
	n = gmem_iov(mem, gpa, len, iov, LOAD_PIECES);
	if (n < 0)
		return err_set(e, n,
			       "%s: %" PRIu64
			       " bytes at guest address 0x%" PRIx64
			       " are not in guest memory",
			       img->what, len, gpa);
	for (int i = 0; i < n; i++) {
		r = img->read(img->ctx, iov[i].iov_base, iov[i].iov_len, off);
		if (r < 0)
			return image_read_failed(img, r, e);
		off += iov[i].iov_len;
	}
	return 0;
}

/* What stands where in a file of a kind; the first that fits decides. */
static const struct {
	enum image_kind kind;
	uint16_t off;
	uint8_t len;
	char magic[9];
} image_magics[] = {
	{IMAGE_ELF, 0, 4, "\177ELF"},
	{IMAGE_BZIMAGE, 0x202, 4, "HdrS"}, /* also a PE file: goes first */
	{IMAGE_LINUX_ARM64, 0x38, 4, "ARM\x64"},
	{IMAGE_LINUX_RISCV, 0x38, 4, "RSC\x05"},
	{IMAGE_EFI_ZBOOT, 4, 4, "zimg"},
	{IMAGE_PE, 0, 2, "MZ"},
	{IMAGE_FIRMWARE_VOLUME, 0x28, 4, "_FVH"},
	{IMAGE_UBOOT, 0, 4, "\x27\x05\x19\x56"},
	{IMAGE_UBOOT, 0, 4, "\xd0\x0d\xfe\xed"},
	{IMAGE_COMPRESSED, 0, 2, "\x1f\x8b"},
	{IMAGE_COMPRESSED, 0, 6,
	 "\xfd"
	 "7zXZ"},
	{IMAGE_COMPRESSED, 0, 4, "\x28\xb5\x2f\xfd"},
	{IMAGE_COMPRESSED, 0, 4, "\x02\x21\x4c\x18"},
	{IMAGE_COMPRESSED, 0, 4, "\x04\x22\x4d\x18"},
	{IMAGE_COMPRESSED, 0, 3, "BZh"},
	{IMAGE_COMPRESSED, 0, 3, "\x5d\0\0"},
	{IMAGE_COMPRESSED, 0, 4, "\x89LZO"},
	{IMAGE_CPIO, 0, 5, "07070"},
	{IMAGE_DISK, 0, 4, "QFI\xfb"},
	{IMAGE_DISK, 0x1fe, 2, "\x55\xaa"},
};

int image_detect(const struct image *img, enum image_kind *ret, struct err *e)
{
	uint8_t head[DETECT_BYTES] = {0};
	uint64_t len = min_u64(sizeof(head), img->size);
	int r = image_read(img, head, len, 0, e);

	if (r < 0)
		return r;
	*ret = img->size ? IMAGE_UNKNOWN : IMAGE_EMPTY;
	for (size_t i = 0; i < ARRAY_SIZE(image_magics); i++) {
		if (!range_ok(image_magics[i].off, image_magics[i].len, len))
			continue;
		if (!memcmp(head + image_magics[i].off, image_magics[i].magic,
			    image_magics[i].len)) {
			*ret = image_magics[i].kind;
			break;
		}
	}
	return 0;
}

const char *image_kind_text(enum image_kind kind)
{
	static const char *const texts[] = {
		[IMAGE_UNKNOWN] = "in no known format",
		[IMAGE_ELF] = "an ELF file",
		[IMAGE_BZIMAGE] = "a Linux bzImage for x86",
		[IMAGE_LINUX_ARM64] = "a Linux Image for AArch64",
		[IMAGE_LINUX_RISCV] = "a Linux Image for RISC-V",
		[IMAGE_EFI_ZBOOT] = "a compressed EFI (zboot) kernel",
		[IMAGE_PE] = "an EFI program (PE)",
		[IMAGE_FIRMWARE_VOLUME] = "a UEFI firmware image",
		[IMAGE_UBOOT] = "a U-Boot image",
		[IMAGE_COMPRESSED] = "a compressed file",
		[IMAGE_CPIO] = "a cpio archive",
		[IMAGE_DISK] = "a disk image",
		[IMAGE_EMPTY] = "empty",
	};

	return texts[kind];
}

const char *image_kind_hint(enum image_kind kind)
{
	switch (kind) {
	case IMAGE_COMPRESSED:
	case IMAGE_EFI_ZBOOT:
		return "unpack it first";
	case IMAGE_FIRMWARE_VOLUME:
		return "firmware is not a kernel";
	case IMAGE_CPIO:
		return "an initramfs belongs to --initramfs";
	case IMAGE_DISK:
		return "a disk belongs to --disk";
	default:
		return "";
	}
}
