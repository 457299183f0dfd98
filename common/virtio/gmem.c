/* SPDX-License-Identifier: Apache-2.0 */
#include "common/virtio/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/num.h"

#define GMEM_PAGE  4096ULL	/* alignment of every number in a table */
#define GMEM_LIMIT (1ULL << 52) /* no processor addresses more */

/*
 * The seals make the size final: nobody can truncate the file under our
 * mapping, which would turn an access into SIGBUS. A lock query relative to
 * the end of the file fails with EINVAL when that is a negative position, so
 * it answers "is the file at least this long?" without one more system call
 * (fstat) in the list of every device.
 *
 * @sys device fcntl(1==F_GET_SEALS): guest memory must not shrink
 * @sys device fcntl(1==F_OFD_GETLK): guest memory must be as long as the table
 *      says
 */
static int gmem_check_fd(int fd, uint64_t end, const char *what, struct err *e)
{
	const int need = F_SEAL_GROW | F_SEAL_SHRINK;
	struct flock probe = {
		.l_type = F_RDLCK,
		.l_whence = SEEK_END,
		.l_start = -(off_t)end,
		.l_len = 1,
	};
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return err_set(e, -EINVAL,
			       "%s: descriptor is not a memfd that can be "
			       "sealed",
			       what);
	if ((seals & need) != need)
		return err_set(e, -EINVAL,
			       "%s: memfd lacks the seals against growing and "
			       "shrinking",
			       what);
	if (fcntl(fd, F_OFD_GETLK, &probe) < 0)
		return err_set(e, -EINVAL,
			       "%s: memfd is shorter than %llu bytes", what,
			       (unsigned long long)end);
	return 0;
}

static int gmem_check_desc(const struct gmem_desc *d, gpa_t min_gpa,
			   const int *fds, unsigned int num_fds, struct err *e)
{
	uint64_t end_gpa, end_file;

	if ((d->gpa | d->size | d->offset) & (GMEM_PAGE - 1) || !d->size)
		return err_set(e, -EINVAL,
			       "memory table: region at 0x%llx is empty or not "
			       "page aligned",
			       (unsigned long long)d->gpa);
	if (!add_ok(d->gpa, d->size, &end_gpa) || end_gpa > GMEM_LIMIT ||
	    !add_ok(d->offset, d->size, &end_file) || end_file > GMEM_LIMIT)
		return err_set(e, -EINVAL,
			       "memory table: region at 0x%llx is too large",
			       (unsigned long long)d->gpa);
	if (d->gpa < min_gpa)
		return err_set(e, -EINVAL,
			       "memory table: region at 0x%llx overlaps or is "
			       "out of order",
			       (unsigned long long)d->gpa);
	if (d->fd_index >= num_fds)
		return err_set(e, -EINVAL,
			       "memory table: region at 0x%llx names "
			       "descriptor %u of %u",
			       (unsigned long long)d->gpa, d->fd_index,
			       num_fds);
	return gmem_check_fd(fds[d->fd_index], end_file, "memory table", e);
}

/*
 * @sys device mmap(2==PROT_READ|PROT_WRITE, 3==MAP_SHARED): guest memory
 */
static void *gmem_mmap(int fd, uint64_t len, uint64_t offset)
{
	void *p = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, (off_t)offset);

	return p == MAP_FAILED ? NULL : p;
}

int gmem_map_file(int fd, uint64_t len, const char *what, void **ret,
		  struct err *e)
{
	int r = gmem_check_fd(fd, len, what, e);
	void *p;

	if (r < 0)
		return r;
	p = gmem_mmap(fd, len, 0);
	if (!p)
		return err_errno(e, "%s: mapping %llu bytes", what,
				 (unsigned long long)len);
	*ret = p;
	return 0;
}

static int gmem_map_region(struct gmem *m, const struct gmem_desc *d, int fd,
			   struct err *e)
{
	void *hva = gmem_mmap(fd, d->size, d->offset);

	if (!hva)
		return err_errno(e, "mapping %llu bytes of guest memory",
				 (unsigned long long)d->size);
	m->regions[m->num_regions++] = (struct gmem_region){
		.gpa = d->gpa,
		.size = d->size,
		.hva = hva,
		.offset = d->offset,
	};
	return 0;
}

int gmem_map(struct gmem *ret, const struct gmem_desc *descs,
	     unsigned int num_descs, const int *fds, unsigned int num_fds,
	     struct err *e)
{
	gpa_t min_gpa = 0;
	int r = 0;

	ret->num_regions = 0;
	if (!num_descs || num_descs > GMEM_MAX_REGIONS || !num_fds ||
	    num_fds > GMEM_MAX_FDS)
		return err_set(e, -EINVAL,
			       "memory table: %u regions in %u descriptors, "
			       "not 1-%u in 1-%u",
			       num_descs, num_fds, GMEM_MAX_REGIONS,
			       GMEM_MAX_FDS);
	for (unsigned int i = 0; i < num_descs; i++) {
		r = gmem_check_desc(&descs[i], min_gpa, fds, num_fds, e);
		if (r < 0)
			return r;
		min_gpa = descs[i].gpa + descs[i].size;
	}
	for (unsigned int i = 0; i < num_descs && r == 0; i++)
		r = gmem_map_region(ret, &descs[i], fds[descs[i].fd_index], e);
	if (r < 0)
		gmem_unmap(ret);
	return r;
}

/*
 * @sys device munmap: a memory table that is replaced
 */
void gmem_unmap(struct gmem *m)
{
	for (unsigned int i = 0; i < m->num_regions; i++)
		munmap(m->regions[i].hva, (size_t)m->regions[i].size);
	m->num_regions = 0;
}

/* The region that holds @gpa, or NULL. */
static const struct gmem_region *gmem_find(const struct gmem *m, gpa_t gpa)
{
	unsigned int lo = 0, hi = m->num_regions;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct gmem_region *r = &m->regions[mid];

		if (gpa < r->gpa)
			hi = mid;
		else if (gpa - r->gpa >= r->size)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

void *gmem_ptr(const struct gmem *m, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *r = gmem_find(m, gpa);

	if (!r || !len || len > r->size - (gpa - r->gpa))
		return NULL;
	return r->hva + (gpa - r->gpa);
}

int gmem_iov(const struct gmem *m, gpa_t gpa, uint64_t len, struct iovec *iov,
	     unsigned int max)
{
	unsigned int n = 0;

	while (len) {
		const struct gmem_region *r = gmem_find(m, gpa);
		uint64_t part;

		if (!r)
			return -EFAULT;
		if (n == max)
			return -E2BIG;
		part = min_u64(len, r->size - (gpa - r->gpa));
		iov[n].iov_base = r->hva + (gpa - r->gpa);
		iov[n].iov_len = (size_t)part;
		n++;
		gpa += part; /* regions end below GMEM_LIMIT: no overflow */
		len -= part;
	}
	return (int)n;
}

/*
 * Ranges beyond one region are rare (a buffer across the 4 GiB hole can't
 * exist, adjacent regions can), so the table is walked twice: once to check,
 * once to copy.
 */
static int gmem_copy(const struct gmem *m, gpa_t gpa, uint8_t *dst,
		     const uint8_t *src, uint64_t len)
{
	struct iovec iov[GMEM_MAX_REGIONS];
	int n = gmem_iov(m, gpa, len, iov, GMEM_MAX_REGIONS);

	if (n < 0)
		return -EFAULT;
	for (int i = 0; i < n; i++) {
		if (dst) {
			memcpy(dst, iov[i].iov_base, iov[i].iov_len);
			dst += iov[i].iov_len;
		} else {
			memcpy(iov[i].iov_base, src, iov[i].iov_len);
			src += iov[i].iov_len;
		}
	}
	/* The copy is what gets checked: never let the compiler read again. */
	__asm__ volatile("" ::: "memory");
	return 0;
}

int gmem_read(const struct gmem *m, gpa_t gpa, void *dst, uint64_t len)
{
	return gmem_copy(m, gpa, dst, NULL, len);
}

int gmem_write(const struct gmem *m, gpa_t gpa, const void *src, uint64_t len)
{
	return gmem_copy(m, gpa, NULL, src, len);
}
