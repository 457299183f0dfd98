/* SPDX-License-Identifier: Apache-2.0 */
/* A driver that breaks every rule; each ends in -EBADMSG, and stays there. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "tests/unit/virtio/queue_rig.h"

static struct rig r;

#define SPLIT_FLAGS  12
#define SPLIT_NEXT   14
#define PACKED_ID    12
#define PACKED_FLAGS 14

#define F_NEXT	   1
#define F_WRITE	   2
#define F_INDIRECT 4

#define EACH_KIND(k) for (size_t k = 0; k < ARRAY_SIZE(rig_kinds); k++)

static void expect_bad(const char *what)
{
	cr_assert_eq(rig_pop(&r), -EBADMSG, "%s", what);
	cr_assert_eq(rig_pop(&r), -EBADMSG, "%s: broken stays broken", what);
	rig_done(&r);
}

static void try_bufs(size_t k, const struct driver_buf *bufs, unsigned int num,
		     bool indirect, const char *what)
{
	if (indirect && !(rig_kinds[k] & DRIVER_F_INDIRECT))
		return;
	rig_start(&r, 8, rig_kinds[k]);
	cr_assert_geq(driver_ring_add(&r.ring, bufs, num, indirect), 0);
	driver_ring_publish(&r.ring);
	expect_bad(what);
}

static void try_both(const struct driver_buf *bufs, unsigned int num,
		     const char *what)
{
	EACH_KIND(k)
	{
		try_bufs(k, bufs, num, false, what);
		try_bufs(k, bufs, num, true, what);
	}
}

Test(queue_pop, rejects_buffers_outside_guest_memory)
{
	struct driver_buf low = {RIG_GPA - 1, 2, true};
	struct driver_buf high = {RIG_GPA + RIG_BYTES - 1, 2, false};
	struct driver_buf wrap = {UINT64_MAX - 3, 8, true};
	struct driver_buf huge = {RIG_GPA, UINT32_MAX, true};

	try_both(&low, 1, "below");
	try_both(&high, 1, "above");
	try_both(&wrap, 1, "around");
	try_both(&huge, 1, "all");
}

Test(queue_pop, rejects_readable_after_writable)
{
	struct driver_buf bufs[3] = {
		{RIG_GPA, 8, false},
		{RIG_GPA, 8, true},
		{RIG_GPA, 8, false},
	};

	try_both(bufs, 3, "direction");
}

Test(queue_pop, rejects_more_than_four_gib)
{
	/* As many bytes as all of guest memory, over and over. */
	static struct driver_buf bufs[DRIVER_INDIRECT_MAX];
	uint8_t *d;

	for (unsigned int i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = (struct driver_buf){RIG_GPA, RIG_BYTES, true};
	EACH_KIND(k)
	{
		if (!(rig_kinds[k] & DRIVER_F_INDIRECT))
			continue;
		rig_start(&r, 8, rig_kinds[k]);
		/* Less is fine, and 2 pieces each. */
		cr_assert_geq(
			driver_ring_add(&r.ring, bufs, ARRAY_SIZE(bufs), true),
			0);
		driver_ring_publish(&r.ring);
		cr_assert_eq(rig_pop(&r), 1);
		cr_assert_eq(r.c.num_in, 2 * ARRAY_SIZE(bufs));
		rig_done(&r);
		/* Regions of 2 GiB exist only as numbers: nothing is read. */
		rig_start(&r, 8, rig_kinds[k]);
		r.gmem.regions[2] = (struct gmem_region){1ull << 40, 2ull << 30,
							 r.mem.hva, 0};
		r.gmem.num_regions = 3;
		for (unsigned int i = 0; i < 3; i++)
			bufs[i] =
				(struct driver_buf){1ull << 40, 1u << 31, true};
		cr_assert_geq(driver_ring_add(&r.ring, bufs, 3, true), 0);
		driver_ring_publish(&r.ring);
		d = rig_desc(&r, 0);
		cr_assert_eq(get_le32(d + 8), 48);
		expect_bad("4 GiB");
		for (unsigned int i = 0; i < 3; i++)
			bufs[i] = (struct driver_buf){RIG_GPA, RIG_BYTES, true};
	}
}

Test(queue_pop, rejects_more_pieces_than_the_device_has)
{
	EACH_KIND(k)
	{
		rig_start(&r, 8, rig_kinds[k]);
		rig_add(&r, 3, 2, false);
		driver_ring_publish(&r.ring);
		cr_assert_eq(queue_pop(&r.q, &r.c, r.iov, 4), -EBADMSG);
		rig_done(&r);
	}
}

Test(queue_pop, rejects_a_loop)
{
	rig_start(&r, 8, 0);
	rig_add(&r, 2, 0, false);
	put_le16(rig_desc(&r, 1) + SPLIT_FLAGS, F_NEXT);
	put_le16(rig_desc(&r, 1) + SPLIT_NEXT, 0);
	driver_ring_publish(&r.ring);
	expect_bad("loop");

	/* The same in a packed ring: every slot goes on. */
	rig_start(&r, 8, DRIVER_F_PACKED);
	rig_add(&r, 8, 0, false);
	driver_ring_publish(&r.ring);
	for (unsigned int i = 0; i < 8; i++)
		put_le16(rig_desc(&r, i) + PACKED_FLAGS, 0x80 | F_NEXT);
	expect_bad("endless chain");
}

Test(queue_pop, rejects_a_loop_in_a_table)
{
	rig_start(&r, 8, DRIVER_F_INDIRECT);
	rig_add(&r, 3, 0, true);
	driver_ring_publish(&r.ring);
	{
		uint8_t *t =
			driver_mem_ptr(&r.mem, get_le64(rig_desc(&r, 0)), 48);

		put_le16(t + 32 + SPLIT_FLAGS, F_NEXT);
		put_le16(t + 32 + SPLIT_NEXT, 0);
	}
	expect_bad("loop in a table");

	rig_start(&r, 8, DRIVER_F_INDIRECT);
	rig_add(&r, 3, 0, true);
	driver_ring_publish(&r.ring);
	put_le16((uint8_t *)driver_mem_ptr(&r.mem, get_le64(rig_desc(&r, 0)),
					   16) +
			 SPLIT_NEXT,
		 3);
	expect_bad("link out of a table");
}

Test(queue_pop, rejects_indexes_beyond_the_ring)
{
	rig_start(&r, 8, 0);
	rig_add(&r, 1, 0, false);
	driver_ring_publish(&r.ring);
	rig_store16(&r, r.ring.driver + 4, 8);
	expect_bad("head");

	rig_start(&r, 8, 0);
	rig_add(&r, 2, 0, false);
	driver_ring_publish(&r.ring);
	put_le16(rig_desc(&r, 0) + SPLIT_NEXT, 8);
	expect_bad("link");

	rig_start(&r, 8, DRIVER_F_PACKED);
	rig_add(&r, 1, 0, false);
	driver_ring_publish(&r.ring);
	put_le16(rig_desc(&r, 0) + PACKED_ID, 8);
	expect_bad("buffer id");
}

Test(queue_pop, rejects_a_jump_of_the_available_index)
{
	rig_start(&r, 8, 0);
	rig_store16(&r, r.ring.driver + 2, 9);
	expect_bad("jump");

	rig_start(&r, 8, 0);
	rig_store16(&r, r.ring.driver + 2, 0xffff);
	expect_bad("step back");
}

/* The same id twice would complete a request that a device already reuses. */
Test(queue_pop, rejects_an_id_that_is_taken)
{
	rig_start(&r, 8, 0);
	rig_add(&r, 1, 0, false);
	rig_add(&r, 1, 0, false);
	driver_ring_publish(&r.ring);
	rig_store16(&r, r.ring.driver + 6, 0);
	cr_assert_eq(rig_pop(&r), 1);
	expect_bad("head twice");

	rig_start(&r, 8, DRIVER_F_PACKED);
	rig_add(&r, 1, 0, false);
	rig_add(&r, 1, 0, false);
	put_le16(rig_desc(&r, 1) + PACKED_ID,
		 get_le16(rig_desc(&r, 0) + PACKED_ID));
	driver_ring_publish(&r.ring);
	cr_assert_eq(rig_pop(&r), 1);
	expect_bad("id twice");
}

/* Chains that share descriptors are more than the ring has. */
Test(queue_pop, rejects_more_descriptors_than_the_ring)
{
	int bad = 0;

	rig_start(&r, 4, 0);
	rig_add(&r, 3, 0, false);
	rig_add(&r, 1, 0, false);
	put_le16(rig_desc(&r, 3) + SPLIT_FLAGS, F_NEXT);
	put_le16(rig_desc(&r, 3) + SPLIT_NEXT, 1);
	driver_ring_publish(&r.ring);
	cr_assert_eq(rig_pop(&r), 1);
	bad = rig_pop(&r);
	cr_assert_eq(bad, -EBADMSG);
	rig_done(&r);
}

static void try_indirect(uint64_t features, uint16_t add_flags, uint32_t len,
			 const char *what)
{
	bool packed = features & DRIVER_F_PACKED;
	unsigned int at = packed ? PACKED_FLAGS : SPLIT_FLAGS;

	rig_start(&r, 8, features | DRIVER_F_INDIRECT);
	rig_add(&r, 2, 0, true);
	driver_ring_publish(&r.ring);
	if (!(features & DRIVER_F_INDIRECT))
		r.q.indirect = false;
	put_le16(rig_desc(&r, 0) + at,
		 (uint16_t)(get_le16(rig_desc(&r, 0) + at) | add_flags));
	if (len != 32)
		put_le32(rig_desc(&r, 0) + 8, len);
	expect_bad(what);
}

Test(queue_pop, rejects_malformed_tables)
{
	static const uint64_t packed[2] = {0, DRIVER_F_PACKED};

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t ok = packed[i] | DRIVER_F_INDIRECT;

		try_indirect(packed[i], 0, 32, "not negotiated");
		try_indirect(ok, F_NEXT, 32, "NEXT and INDIRECT");
		try_indirect(ok, 0, 0, "empty");
		try_indirect(ok, 0, 33, "not a multiple");
		try_indirect(ok, 0, 16 * (QUEUE_IOV_MAX + 1), "too long");
		try_indirect(ok, 0, UINT32_MAX - 15, "huge");
		/* A table in a table. */
		rig_start(&r, 8, ok);
		rig_add(&r, 2, 0, true);
		driver_ring_publish(&r.ring);
		put_le16((uint8_t *)driver_mem_ptr(
				 &r.mem, get_le64(rig_desc(&r, 0)), 32) +
				 (i ? PACKED_FLAGS : SPLIT_FLAGS),
			 F_INDIRECT);
		expect_bad("nested");
		/* A table outside of memory. */
		rig_start(&r, 8, ok);
		rig_add(&r, 2, 0, true);
		driver_ring_publish(&r.ring);
		put_le64(rig_desc(&r, 0), RIG_GPA + RIG_BYTES - 8);
		expect_bad("table outside");
	}
}

Test(queue_start, rejects_rings_that_cannot_be)
{
	EACH_KIND(k)
	{
		struct queue_config good, cfg;
		struct err e;

		rig_start(&r, 8, rig_kinds[k]);
		good = (struct queue_config){
			.size = 8,
			.desc = r.ring.desc,
			.driver = r.ring.driver,
			.device = r.ring.device,
			.base = driver_ring_base(&r.ring),
			.features = rig_kinds[k],
		};
		queue_stop(&r.q);
#define TRY(change, want)                                                      \
	do {                                                                   \
		cfg = good;                                                    \
		change;                                                        \
		cr_assert_eq(queue_start(&r.q, &cfg, &r.gmem, -1, -1, &e),     \
			     want, #change);                                   \
		cr_assert(!r.q.started);                                       \
	} while (0)
		TRY(cfg.size = 0, -EINVAL);
		TRY(cfg.size = 65536, -EINVAL);
		TRY(cfg.desc += 8, -EINVAL);
		TRY(cfg.driver += 1, -EINVAL);
		TRY(cfg.device += 2, -EINVAL);
		TRY(cfg.desc = RIG_GPA + RIG_BYTES - 16, -EFAULT);
		TRY(cfg.driver = RIG_GPA + RIG_BYTES, -EFAULT);
		TRY(cfg.device = 0, -EFAULT);
		TRY(cfg.desc = RIG_GPA + RIG_BYTES / 2 - 16, -EFAULT);
		if (r.ring.packed) {
			TRY(cfg.base = 8, -EINVAL);
			TRY(cfg.base = 8u << 16, -EINVAL);
		} else {
			TRY(cfg.size = 7, -EINVAL);
			TRY(cfg.base = 0x10000, -EINVAL);
		}
		rig_done(&r);
	}
}

/* Our own mistakes end the process; the broker starts another. */
Test(queue_push, traps_when_a_chain_is_pushed_twice, .signal = SIGILL)
{
	rig_start(&r, 8, 0);
	rig_add(&r, 0, 1, false);
	driver_ring_publish(&r.ring);
	rig_pop(&r);
	queue_push(&r.q, &r.c, 1);
	queue_push(&r.q, &r.c, 1);
}

Test(queue_push, traps_when_more_is_written_than_fits, .signal = SIGILL)
{
	rig_start(&r, 8, 0);
	rig_add(&r, 0, 1, false);
	driver_ring_publish(&r.ring);
	rig_pop(&r);
	queue_push(&r.q, &r.c, 17);
}

Test(queue_stop, traps_with_requests_in_flight, .signal = SIGILL)
{
	rig_start(&r, 8, 0);
	rig_add(&r, 0, 1, false);
	driver_ring_publish(&r.ring);
	rig_pop(&r);
	queue_stop(&r.q);
}
