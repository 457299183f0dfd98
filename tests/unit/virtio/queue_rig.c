/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/virtio/queue_rig.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/endian.h"

const uint64_t rig_kinds[8] = {
	0,
	DRIVER_F_EVENT,
	DRIVER_F_INDIRECT,
	DRIVER_F_EVENT | DRIVER_F_INDIRECT,
	DRIVER_F_PACKED,
	DRIVER_F_PACKED | DRIVER_F_EVENT,
	DRIVER_F_PACKED | DRIVER_F_INDIRECT,
	DRIVER_F_PACKED | DRIVER_F_EVENT | DRIVER_F_INDIRECT,
};

void rig_restart(struct rig *r, uint32_t base)
{
	struct queue_config cfg = {
		.size = r->ring.size,
		.desc = r->ring.desc,
		.driver = r->ring.driver,
		.device = r->ring.device,
		.base = base,
		.features = (r->ring.packed ? DRIVER_F_PACKED : 0) |
			    (r->ring.event_idx ? DRIVER_F_EVENT : 0) |
			    (r->ring.indirect ? DRIVER_F_INDIRECT : 0),
	};
	struct err e = {0};

	cr_assert_eq(queue_start(&r->q, &cfg, &r->gmem, r->q.kick_fd,
				 r->q.call_fd, &e),
		     0, "%s", e.text);
}

void rig_start(struct rig *r, uint32_t size, uint64_t features)
{
	memset(r, 0, sizeof(*r));
	r->mem.gpa = RIG_GPA;
	r->mem.size = RIG_BYTES;
	r->mem.hva = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq((void *)r->mem.hva, MAP_FAILED);
	r->gmem.num_regions = 2;
	r->gmem.regions[0] =
		(struct gmem_region){RIG_GPA, RIG_BYTES / 2, r->mem.hva, 0};
	r->gmem.regions[1] =
		(struct gmem_region){RIG_GPA + RIG_BYTES / 2, RIG_BYTES / 2,
				     r->mem.hva + RIG_BYTES / 2, RIG_BYTES / 2};
	r->buf = driver_mem_alloc(&r->mem, 65536, 4096);
	driver_ring_init(&r->ring, &r->mem, size, features);
	r->q.kick_fd = eventfd(0, EFD_NONBLOCK);
	r->q.call_fd = eventfd(0, EFD_NONBLOCK);
	rig_restart(r, driver_ring_base(&r->ring));
}

void rig_done(struct rig *r)
{
	close(r->q.kick_fd);
	close(r->q.call_fd);
	munmap(r->mem.hva, RIG_BYTES);
}

int rig_add(struct rig *r, unsigned int out, unsigned int in, bool indirect)
{
	struct driver_buf bufs[DRIVER_INDIRECT_MAX];

	for (unsigned int i = 0; i < out + in; i++)
		bufs[i] = (struct driver_buf){r->buf + 16 * i, 16, i >= out};
	return driver_ring_add(&r->ring, bufs, out + in, indirect);
}

int rig_pop(struct rig *r)
{
	return queue_pop(&r->q, &r->c, r->iov, QUEUE_IOV_MAX);
}

uint64_t rig_calls(struct rig *r)
{
	eventfd_t n = 0;

	return eventfd_read(r->q.call_fd, &n) < 0 ? 0 : n;
}

uint8_t *rig_desc(struct rig *r, unsigned int i)
{
	return driver_mem_ptr(&r->mem, r->ring.desc + 16 * i, 16);
}

void rig_store16(struct rig *r, uint64_t gpa, uint16_t v)
{
	put_le16(driver_mem_ptr(&r->mem, gpa, 2), v);
}
