/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define MEMORY_THREADS_MAX  16
#define MEMORY_PAGE	    (2ull << 20) /* granularity of sizes */
#define MEMORY_HUGE_DEFAULT (2ull << 20)
#define MEMORY_MMIO64_ALIGN GIB

struct memory {
	int fd;
	uint8_t *hva; /* the whole memfd */
	uint64_t size;
	uint64_t page; /* of the memfd */
	bool huge;
	struct memory_plan plan;
};

/* One prefault thread's share. */
struct memory_share {
	pthread_t thread;
	const struct memory *m;
	uint64_t off;
	uint64_t len;
	int error; /* errno, 0 = done */
};

int memory_plan(uint64_t size, uint64_t page_size, unsigned int phys_bits,
		struct memory_plan *ret, struct err *e)
{
	uint64_t limit = 1ull << phys_bits, low, high, top;

	if (size < MEMORY_SIZE_MIN || size > MEMORY_SIZE_MAX ||
	    size % page_size)
		return err_set(e, -EINVAL,
			       "memory size %" PRIu64 " is not a multiple of "
			       "%" PRIu64 " between 2 MiB and 16 TiB",
			       size, page_size);
	low = min_u64(size, LAYOUT_LOW_RAM_END);
	high = size - low;
	top = align_up(LAYOUT_4G + high, MEMORY_MMIO64_ALIGN);
	if (phys_bits > 52 || top > limit || limit - top < MEMORY_MMIO64_ALIGN)
		return err_set(e, -EINVAL,
			       "memory size %" PRIu64 " leaves no room for "
			       "devices below the processor's limit of %u "
			       "address bits",
			       size, phys_bits);
	memset(ret, 0, sizeof(*ret));
	ret->regions[0].size = low;
	ret->num_regions = 1;
	if (high) {
		ret->regions[1].gpa = LAYOUT_4G;
		ret->regions[1].size = high;
		ret->regions[1].offset = low;
		ret->num_regions = 2;
	}
	ret->mmio64_base = top;
	ret->mmio64_size = limit - top;
	return 0;
}

static int memory_make_fd(struct memory *m, struct err *e)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (m->huge)
		flags |= MFD_HUGETLB | (unsigned int)__builtin_ctzll(m->page)
					       << MFD_HUGE_SHIFT;
	m->fd = memfd_create("guest", flags | MFD_NOEXEC_SEAL);
	if (m->fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		m->fd = memfd_create("guest", flags);
	if (m->fd < 0 && m->huge)
		return err_errno(e,
				 "--memory hugepages=on: cannot make guest "
				 "memory of huge pages of %" PRIu64
				 " KiB; does this host have that size "
				 "(/sys/kernel/mm/hugepages)?",
				 m->page >> 10);
	if (m->fd < 0)
		return err_errno(e, "cannot make guest memory");
	if (ftruncate(m->fd, (off_t)m->size) < 0)
		return err_errno(e, "cannot give guest memory %" PRIu64 " MiB",
				 m->size >> 20);
	/* Nobody who holds it can shrink it under us (SIGBUS). */
	if (fcntl(m->fd, F_ADD_SEALS,
		  F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_errno(e, "cannot seal guest memory");
	return 0;
}

static void *memory_mmap(const struct memory *m, uint64_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_SHARED | (m->huge ? 0 : MAP_NORESERVE), m->fd, 0);
}

/*
 * A mapping reserves its huge pages, so trying sizes tells how many are free
 * without a look into /sys.
 */
static uint64_t memory_free_huge_pages(const struct memory *m)
{
	uint64_t lo = 0, hi = m->size / m->page;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo + 1) / 2;
		void *p = memory_mmap(m, mid * m->page);

		if (p == MAP_FAILED) {
			hi = mid - 1;
			continue;
		}
		munmap(p, mid * m->page);
		lo = mid;
	}
	return lo;
}

static int memory_map_fd(struct memory *m, bool thp, struct err *e)
{
	void *p = memory_mmap(m, m->size);

	if (p == MAP_FAILED && m->huge && errno == ENOMEM)
		return err_set(e, -ENOMEM,
			       "--memory hugepages=on: %" PRIu64
			       " huge pages of %" PRIu64 " KiB needed, %" PRIu64
			       " free: raise "
			       "/sys/kernel/mm/hugepages/hugepages-%" PRIu64
			       "kB/nr_hugepages (for 2 MiB: sysctl "
			       "vm.nr_hugepages)",
			       m->size / m->page, m->page >> 10,
			       memory_free_huge_pages(m), m->page >> 10);
	if (p == MAP_FAILED)
		return err_errno(e,
				 "cannot map %" PRIu64 " MiB of guest memory "
				 "(the host's overcommit or address space "
				 "limit?)",
				 m->size >> 20);
	m->hva = p;
	if (madvise(p, m->size, MADV_DONTDUMP) < 0)
		return err_errno(e, "cannot keep guest memory out of dumps");
	/* A host without transparent huge pages just has none. */
	if (!m->huge &&
	    madvise(p, m->size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0)
		log_info("no transparent huge pages for guest memory");
	return 0;
}

static int memory_touch(const struct memory *m, uint64_t off, uint64_t len)
{
	/* fallocate() says ENOMEM or ENOSPC where a touch gets SIGBUS. */
	if (fallocate(m->fd, 0, (off_t)off, (off_t)len) < 0)
		return errno;
	for (uint64_t i = 0; i < len; i += m->page)
		*(volatile uint8_t *)(m->hva + off + i) = 0;
	return 0;
}

static void *memory_prefault_share(void *arg)
{
	struct memory_share *s = arg;

	if (!s->len)
		return NULL;
	if (madvise(s->m->hva + s->off, s->len, MADV_POPULATE_WRITE) == 0)
		return NULL;
	/* EINVAL: before Linux 5.14. */
	s->error = errno == EINVAL ? memory_touch(s->m, s->off, s->len) : errno;
	return NULL;
}

static unsigned int memory_num_threads(const struct memory *m)
{
	uint64_t pieces = m->size / (64 * MIB) + 1;
	cpu_set_t set;
	unsigned int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned int)CPU_COUNT(&set);
	if (n > MEMORY_THREADS_MAX)
		n = MEMORY_THREADS_MAX;
	return pieces < n ? (unsigned int)pieces : n;
}

/*
 * More than the host has can't end well: the kernel would kill us, or a
 * bystander, in the middle of it. Huge pages were reserved by the mapping.
 */
static int memory_check_host(const struct memory *m, bool prefault,
			     struct err *e)
{
	struct sysinfo si;
	uint64_t total;

	if (m->huge || sysinfo(&si) < 0)
		return 0;
	total = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
	if (m->size <= total)
		return 0;
	if (!prefault) {
		log_warn("guest memory of %" PRIu64 " MiB is more than the "
			 "host's %" PRIu64 " MiB with swap",
			 m->size >> 20, total >> 20);
		return 0;
	}
	return err_set(e, -ENOMEM,
		       "cannot prefault %" PRIu64 " MiB of guest memory: the "
		       "host has %" PRIu64 " MiB with swap",
		       m->size >> 20, total >> 20);
}

static int memory_prefault(const struct memory *m, struct err *e)
{
	unsigned int n = memory_num_threads(m), started = 1;
	struct memory_share shares[MEMORY_THREADS_MAX] = {0};
	uint64_t pages = m->size / m->page, step = (pages / n + 1) * m->page;
	int error = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t off = min_u64(i * step, m->size);

		shares[i].m = m;
		shares[i].off = off;
		shares[i].len = min_u64(step, m->size - off);
	}
	/* This thread takes the first share and those of threads that could
	 * not start. */
	while (started < n &&
	       pthread_create(&shares[started].thread, NULL,
			      memory_prefault_share, &shares[started]) == 0)
		started++;
	memory_prefault_share(&shares[0]);
	for (unsigned int i = 1; i < n; i++) {
		if (i < started)
			pthread_join(shares[i].thread, NULL);
		else
			memory_prefault_share(&shares[i]);
	}
	for (unsigned int i = 0; i < n; i++)
		if (shares[i].error)
			error = shares[i].error;
	if (!error)
		return 0;
	errno = error == EFAULT ? ENOMEM : error;
	return err_errno(e,
			 "cannot prefault %" PRIu64 " MiB of guest memory: the "
			 "host (or the cgroup) has too little free",
			 m->size >> 20);
}

static int memory_page_size(const Bulkhead__MemoryConfig *cfg, uint64_t *ret,
			    struct err *e)
{
	*ret = (uint64_t)sysconf(_SC_PAGESIZE);
	if (!cfg->hugepages)
		return 0;
	*ret = cfg->hugepage_size ? cfg->hugepage_size : MEMORY_HUGE_DEFAULT;
	if (!is_pow2(*ret) || *ret < 64 * KIB || *ret > 16 * GIB)
		return err_set(e, -EINVAL,
			       "hugepage_size %" PRIu64
			       " is not a size of huge pages",
			       *ret);
	return 0;
}

int memory_new(const Bulkhead__MemoryConfig *cfg, unsigned int phys_bits,
	       struct memory **ret, struct err *e)
{
	struct memory *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_set(e, -ENOMEM, "no memory");
	m->fd = -1;
	m->size = cfg->size;
	m->huge = cfg->hugepages;
	r = memory_page_size(cfg, &m->page, e);
	if (r == 0)
		r = memory_plan(m->size, max_u64(m->page, MEMORY_PAGE),
				phys_bits, &m->plan, e);
	if (r == 0)
		r = memory_check_host(m, cfg->prefault, e);
	if (r == 0)
		r = memory_make_fd(m, e);
	if (r == 0)
		r = memory_map_fd(m, cfg->thp, e);
	if (r == 0 && cfg->prefault)
		r = memory_prefault(m, e);
	if (r < 0) {
		memory_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void memory_free(struct memory *m)
{
	if (!m)
		return;
	if (m->hva)
		munmap(m->hva, m->size);
	fd_close(m->fd);
	free(m);
}

const struct memory_plan *memory_get_plan(const struct memory *m)
{
	return &m->plan;
}

int memory_fd(const struct memory *m)
{
	return m->fd;
}

int memory_map(struct memory *m, struct hv *hv, struct err *e)
{
	for (unsigned int i = 0; i < m->plan.num_regions; i++) {
		const struct memory_region *g = &m->plan.regions[i];
		int r = hv_mem_map(hv, g->gpa, m->hva + g->offset, g->size, 0,
				   e);

		if (r < 0)
			return r;
	}
	return 0;
}
