/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk: a raw image or a block device. The descriptor carries an OFD lock
 * (exclusive, or shared if read-only) that lives as long as any process of
 * the VM holds the descriptor: until the VM is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/open.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

#define DISK_SECTOR	512  /* bytes */
#define DISK_SERIAL_LEN 20   /* bytes of the answer to GET_ID */
#define DISK_PAGE	4096 /* bytes: suits any host for O_DIRECT */
#define DISK_LOCK_TRIES 50   /* each 10 ms */

#ifndef STATX_DIOALIGN /* Linux 6.1 */
#define STATX_DIOALIGN 0x2000U
#endif

static int disk_check_type(const struct config_disk *c, mode_t mode,
			   struct err *e)
{
	const char *what = "not a file";

	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	if (S_ISDIR(mode))
		what = "a directory";
	else if (S_ISCHR(mode))
		what = "a character device";
	else if (S_ISFIFO(mode))
		what = "a FIFO";
	else if (S_ISSOCK(mode))
		what = "a socket";
	return err_set(e, -EINVAL,
		       "--disk path=%s: this is %s; give a raw image file or "
		       "a block device",
		       c->path, what);
}

static int disk_open_error(const struct config_disk *c, struct err *e)
{
	switch (errno) {
	case EACCES:
	case EPERM:
	case EROFS:
		if (!c->readonly)
			return err_errno(e,
					 "--disk path=%s: can't open it for "
					 "writing; check its permissions or "
					 "use readonly=on",
					 c->path);
		break;
	case EBUSY:
		return err_errno(e,
				 "--disk path=%s: the host uses this block "
				 "device (mounted, or part of a volume); "
				 "release it or use readonly=on",
				 c->path);
	case EINVAL:
		if (c->direct)
			return err_errno(e,
					 "--disk path=%s: its file system has "
					 "no direct I/O; use direct=off",
					 c->path);
		break;
	default:
		break;
	}
	return err_errno(e, "--disk path=%s: can't open it", c->path);
}

static int disk_open(const struct config_disk *c, struct stat *ret_st,
		     struct err *e)
{
	/* Non-blocking: a FIFO or an odd device must not hold us up before it
	 * is refused. */
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
		    (c->readonly ? O_RDONLY : O_RDWR) |
		    (c->direct ? O_DIRECT : 0);
	struct stat st;

	/* Before opening, since that can have effects of its own. */
	if (stat(c->path, &st) < 0)
		return err_errno(e, "--disk path=%s: can't find it", c->path);
	int r = disk_check_type(c, st.st_mode, e);

	if (r < 0)
		return r;
	/* Of a block device: not while the host has it mounted. */
	if (S_ISBLK(st.st_mode) && !c->readonly)
		flags |= O_EXCL;
	auto_fd fd = open(c->path, flags);

	if (fd < 0)
		return disk_open_error(c, e);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "--disk path=%s: can't look at it",
				 c->path);
	r = disk_check_type(c, st.st_mode, e);
	if (r < 0)
		return r;
	/* io_uring answers EAGAIN instead of waiting for the disk if this
	 * flag stays. */
	if (fcntl(fd, F_SETFL, flags & O_DIRECT) < 0)
		return err_errno(e, "--disk path=%s: can't make it blocking",
				 c->path);
	*ret_st = st;
	return take_fd(&fd);
}

/*
 * The kernel closes the files of an io_uring some milliseconds after the end of
 * its process: a VM that is started again at once must not find its own image
 * in use.
 */
static int disk_try_lock(int fd, short type)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	struct flock l = {.l_type = type, .l_whence = SEEK_SET};
	int r = fcntl(fd, F_OFD_SETLK, &l);

	for (int i = 0; i < DISK_LOCK_TRIES && r < 0 &&
			(errno == EAGAIN || errno == EACCES);
	     i++) {
		nanosleep(&pause, NULL);
		r = fcntl(fd, F_OFD_SETLK, &l);
	}
	return r;
}

static int disk_lock(const struct config_disk *c, int fd, struct err *e)
{
	if (disk_try_lock(fd, c->readonly ? F_RDLCK : F_WRLCK) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(
			e, -EBUSY,
			"--disk path=%s: the image is in use by another VM or "
			"program%s; stop that one first (lslocks names it), "
			"or share the image with readonly=on in all of them",
			c->path, c->readonly ? ", which writes to it" : "");
	/* Some network file systems have no locks. */
	log_warn("--disk path=%s: can't lock it (%s); take care that nothing "
		 "else uses it",
		 c->path, strerror(errno));
	return 0;
}

static int disk_size(const struct config_disk *c, int fd, const struct stat *st,
		     uint64_t *ret, struct err *e)
{
	uint64_t size = (uint64_t)st->st_size;

	if (S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)
		return err_errno(e, "--disk path=%s: can't find its size out",
				 c->path);
	if (size < DISK_SECTOR)
		return err_set(e, -EINVAL,
			       "--disk path=%s: it has %llu bytes, less than "
			       "one sector; make an image with: truncate -s 1G "
			       "%s",
			       c->path, (unsigned long long)size, c->path);
	if (size % DISK_SECTOR)
		log_warn("--disk path=%s: the last %llu bytes are not a whole "
			 "sector, the VM does not see them",
			 c->path, (unsigned long long)(size % DISK_SECTOR));
	*ret = size;
	return 0;
}

/* Can it be read like this with O_DIRECT? */
static bool disk_probe(int fd, uint8_t *page, uint32_t mem, uint32_t block)
{
	return pread(fd, page + mem, block, 0) >= 0;
}

/* What O_DIRECT asks for where statx can't tell. */
static void disk_probe_alignment(int fd, Bulkhead__BlkSetup *b)
{
	auto_free void *mem = aligned_alloc(DISK_PAGE, 3 * DISK_PAGE);

	b->logical_block = DISK_PAGE;
	b->dma_alignment = DISK_PAGE;
	if (mem && disk_probe(fd, mem, 0, DISK_SECTOR))
		b->logical_block = DISK_SECTOR;
	if (mem && disk_probe(fd, mem, DISK_SECTOR, b->logical_block))
		b->dma_alignment = DISK_SECTOR;
}

static int disk_alignment(const struct config_disk *c, int fd, bool is_block,
			  Bulkhead__BlkSetup *b, struct err *e)
{
	struct statx sx;

	if (!c->direct)
		return 0;
	memset(&sx, 0, sizeof(sx));
	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) < 0 ||
	    !(sx.stx_mask & STATX_DIOALIGN)) {
		if (!is_block)
			disk_probe_alignment(fd, b);
		else
			b->dma_alignment = b->logical_block;
		return 0;
	}
	if (sx.stx_dio_offset_align == 0)
		return err_set(e, -EINVAL,
			       "--disk path=%s: its file system has no direct "
			       "I/O for this file; use direct=off",
			       c->path);
	b->dma_alignment = sx.stx_dio_mem_align;
	b->logical_block =
		(uint32_t)max_u64(max_u64(sx.stx_dio_offset_align, DISK_SECTOR),
				  is_block ? b->logical_block : 0);
	return 0;
}

/* What the guest is told of the host's disk; unknown stays 0. */
static int disk_topology(const struct config_disk *c, int fd,
			 const struct stat *st, Bulkhead__BlkSetup *b,
			 struct err *e)
{
	unsigned int physical = 0, min_io = 0, opt_io = 0;
	bool is_block = S_ISBLK(st->st_mode);
	int logical = 0;

	b->logical_block = DISK_SECTOR;
	if (is_block) {
		if (ioctl(fd, BLKSSZGET, &logical) == 0 && logical > 0)
			b->logical_block = (uint32_t)logical;
		ioctl(fd, BLKPBSZGET, &physical);
		ioctl(fd, BLKIOMIN, &min_io);
		ioctl(fd, BLKIOOPT, &opt_io);
	} else {
		physical = (unsigned int)min_u64((uint64_t)st->st_blksize,
						 DISK_PAGE);
	}
	int r = disk_alignment(c, fd, is_block, b, e);

	if (r < 0)
		return r;
	b->physical_block = (uint32_t)max_u64(physical, b->logical_block);
	b->min_io = is_block ? min_io : b->physical_block;
	b->opt_io = opt_io;
	return 0;
}

/* sparse=off: all space is taken now, so that it can't be short later. */
static int disk_preallocate(const struct config_disk *c, int fd,
			    const struct stat *st, struct err *e)
{
	if (c->sparse || c->readonly || !S_ISREG(st->st_mode))
		return 0;
	if (fallocate(fd, 0, 0, st->st_size) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return err_errno(e,
				 "--disk path=%s: can't take all its space "
				 "now, as sparse=off asks",
				 c->path);
	log_warn("--disk path=%s: its file system can't allocate in advance; "
		 "sparse=off has no effect on what is not yet written",
		 c->path);
	return 0;
}

/* A user who forgot to convert an image sees garbage in the guest. */
static void disk_warn_format(const struct config_disk *c, int fd)
{
	auto_free uint8_t *page = aligned_alloc(DISK_PAGE, DISK_PAGE);
	const char *format = NULL;

	if (!page || pread(fd, page, DISK_PAGE, 0) < 8)
		return;
	if (!memcmp(page, "QFI\xfb", 4))
		format = "qcow2";
	else if (!memcmp(page, "vhdxfile", 8))
		format = "vhdx";
	else if (!memcmp(page, "KDMV", 4))
		format = "vmdk";
	if (format)
		log_warn("--disk path=%s: this looks like a %s image, but is "
			 "served as a raw disk; convert it with: qemu-img "
			 "convert -O raw",
			 c->path, format);
}

/* The given serial, else one that is the same whenever this file is used. */
static void disk_serial(const struct config_disk *c, const struct stat *st,
			struct opened *o)
{
	char text[64];

	if (c->serial) {
		o->blk.serial.data = (uint8_t *)c->serial;
		o->blk.serial.len = strnlen(c->serial, DISK_SERIAL_LEN);
		return;
	}
	snprintf(text, sizeof(text), "%llu%llu%llu",
		 (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_rdev,
		 (unsigned long long)st->st_ino);
	o->blk.serial.len = strnlen(text, DISK_SERIAL_LEN);
	memcpy(o->text, text, o->blk.serial.len);
	o->blk.serial.data = o->text;
}

int open_disk(const struct config_disk *c, struct opened *ret, struct err *e)
{
	Bulkhead__BlkSetup *b = &ret->blk;
	struct stat st = {0};
	int r;

	auto_fd fd = disk_open(c, &st, e);

	if (fd < 0)
		return fd;
	bulkhead__blk_setup__init(b);
	r = disk_lock(c, fd, e);
	if (r == 0)
		r = disk_size(c, fd, &st, &b->size, e);
	if (r == 0)
		r = disk_topology(c, fd, &st, b, e);
	if (r == 0)
		r = disk_preallocate(c, fd, &st, e);
	if (r < 0)
		return r;
	disk_warn_format(c, fd);
	disk_serial(c, &st, ret);
	b->readonly = c->readonly;
	b->direct = c->direct;
	b->sparse = c->sparse;
	b->is_block_device = S_ISBLK(st.st_mode);
	b->no_io_uring = c->disable_io_uring;
	ret->fds[0] = take_fd(&fd);
	ret->num_fds = 1;
	return 0;
}
