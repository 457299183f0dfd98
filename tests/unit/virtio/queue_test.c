/* SPDX-License-Identifier: Apache-2.0 */
/* What an honest driver may expect, over every kind of ring. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/num.h"
#include "tests/unit/virtio/queue_rig.h"

static struct rig r;

#define EACH_KIND(k) for (size_t k = 0; k < ARRAY_SIZE(rig_kinds); k++)

static bool is_indirect(size_t k)
{
	return rig_kinds[k] & DRIVER_F_INDIRECT;
}

static void complete(struct rig *rig, uint32_t written)
{
	queue_push(&rig->q, &rig->c, written);
	queue_flush(&rig->q);
}

Test(queue_pop, gives_what_the_driver_made)
{
	EACH_KIND(k)
	{
		uint32_t id, len;
		int want;

		rig_start(&r, 8, rig_kinds[k]);
		cr_assert_eq(rig_pop(&r), 0);
		want = rig_add(&r, 2, 3, is_indirect(k));
		cr_assert_eq(rig_pop(&r), 0, "not published yet");
		driver_ring_publish(&r.ring);
		cr_assert_eq(rig_pop(&r), 1);
		cr_assert_eq(r.c.id, (uint32_t)want);
		cr_assert_eq(r.c.num_desc, is_indirect(k) ? 1u : 5u);
		cr_assert(r.c.num_out == 2 && r.c.num_in == 3);
		cr_assert(r.c.len_out == 32 && r.c.len_in == 48);
		for (unsigned int i = 0; i < 5; i++) {
			cr_assert_eq(
				r.iov[i].iov_base,
				driver_mem_ptr(&r.mem, r.buf + 16 * i, 16));
			cr_assert_eq(r.iov[i].iov_len, 16);
		}
		cr_assert_eq(rig_pop(&r), 0);
		queue_push(&r.q, &r.c, 47);
		cr_assert(!driver_ring_get(&r.ring, &id, &len),
			  "visible before the flush");
		queue_flush(&r.q);
		cr_assert(driver_ring_get(&r.ring, &id, &len));
		cr_assert(id == (uint32_t)want && len == 47);
		cr_assert(!driver_ring_get(&r.ring, &id, &len));
		rig_done(&r);
	}
}

/* Sizes that chains don't divide, so that they wrap in their middle. */
Test(queue_pop, goes_round_and_round)
{
	EACH_KIND(k)
	{
		bool packed = rig_kinds[k] & DRIVER_F_PACKED;

		rig_start(&r, packed ? 7 : 8, rig_kinds[k]);
		for (unsigned int i = 0; i < 70000; i++) {
			unsigned int out = i % 3, in = (i + 1) % 3;
			uint32_t id, len;
			int want;

			if (out + in == 0)
				in = 1;
			want = rig_add(&r, out, in, is_indirect(k) && i % 2);
			cr_assert_geq(want, 0);
			driver_ring_publish(&r.ring);
			cr_assert_eq(rig_pop(&r), 1, "round %u", i);
			cr_assert(r.c.num_out == out && r.c.num_in == in);
			complete(&r, r.c.len_in);
			cr_assert(driver_ring_get(&r.ring, &id, &len));
			cr_assert(id == (uint32_t)want && len == 16 * in);
		}
		rig_done(&r);
	}
}

Test(queue_push, completes_in_any_order)
{
	EACH_KIND(k)
	{
		struct chain c[4];

		rig_start(&r, 16, rig_kinds[k]);
		for (unsigned int round = 0; round < 100; round++) {
			static const unsigned int order[4] = {2, 0, 3, 1};

			for (unsigned int i = 0; i < 4; i++)
				cr_assert_geq(rig_add(&r, 1, i + 1, false), 0);
			driver_ring_publish(&r.ring);
			for (unsigned int i = 0; i < 4; i++) {
				cr_assert_eq(rig_pop(&r), 1);
				c[i] = r.c;
			}
			for (unsigned int i = 0; i < 4; i++)
				queue_push(&r.q, &c[order[i]], order[i]);
			queue_flush(&r.q);
			for (unsigned int i = 0; i < 4; i++) {
				uint32_t id, len;

				cr_assert(driver_ring_get(&r.ring, &id, &len));
				cr_assert_eq(id, c[order[i]].id);
				cr_assert_eq(len, order[i]);
			}
		}
		rig_done(&r);
	}
}

Test(queue_pop, takes_all_of_a_full_ring)
{
	EACH_KIND(k)
	{
		struct chain c[8];

		rig_start(&r, 8, rig_kinds[k]);
		for (unsigned int round = 0; round < 5; round++) {
			for (unsigned int i = 0; i < 8; i++)
				cr_assert_geq(rig_add(&r, 0, 1, false), 0);
			cr_assert_eq(rig_add(&r, 0, 1, false), -1);
			driver_ring_publish(&r.ring);
			for (unsigned int i = 0; i < 8; i++) {
				cr_assert_eq(rig_pop(&r), 1);
				c[i] = r.c;
			}
			cr_assert_eq(rig_pop(&r), 0);
			for (unsigned int i = 0; i < 8; i++)
				queue_push(&r.q, &c[i], 1);
			queue_flush(&r.q);
			for (unsigned int i = 0; i < 8; i++) {
				uint32_t id, len;

				cr_assert(driver_ring_get(&r.ring, &id, &len));
			}
		}
		rig_done(&r);
	}
}

Test(queue_unpop, gives_the_same_chain_again)
{
	EACH_KIND(k)
	{
		rig_start(&r, 8, rig_kinds[k]);
		for (unsigned int i = 0; i < 100; i++) {
			uint32_t id, len, base;
			int want = rig_add(&r, 1, 2, false);

			driver_ring_publish(&r.ring);
			cr_assert_eq(rig_pop(&r), 1);
			queue_unpop(&r.q, &r.c);
			if (i % 2) {
				base = queue_stop(&r.q);
				rig_restart(&r, base);
			}
			cr_assert_eq(rig_pop(&r), 1);
			cr_assert_eq(r.c.id, (uint32_t)want);
			complete(&r, 0);
			cr_assert(driver_ring_get(&r.ring, &id, &len));
		}
		rig_done(&r);
	}
}

Test(queue_stop, tells_where_to_go_on)
{
	EACH_KIND(k)
	{
		rig_start(&r, 8, rig_kinds[k]);
		for (unsigned int i = 0; i < 100; i++) {
			uint32_t id, len, base = queue_stop(&r.q);

			if (r.ring.packed)
				cr_assert_eq(base,
					     r.ring.avail |
						     (uint32_t)r.ring.avail_wrap
							     << 15 |
						     (uint32_t)r.ring.used
							     << 16 |
						     (uint32_t)r.ring.used_wrap
							     << 31);
			else
				cr_assert_eq(base, r.ring.avail);
			rig_add(&r, 1, 2, false);
			driver_ring_publish(&r.ring);
			rig_restart(&r, base);
			cr_assert_eq(rig_pop(&r), 1);
			complete(&r, 32);
			cr_assert(driver_ring_get(&r.ring, &id, &len));
			cr_assert_eq(len, 32);
		}
		rig_done(&r);
	}
}

Test(queue_pop, splits_buffers_at_the_border_of_regions)
{
	uint64_t middle = RIG_GPA + RIG_BYTES / 2;
	struct driver_buf buf = {middle - 10, 30, true};

	rig_start(&r, 8, 0);
	driver_ring_add(&r.ring, &buf, 1, false);
	driver_ring_publish(&r.ring);
	cr_assert_eq(rig_pop(&r), 1);
	cr_assert(r.c.num_desc == 1 && r.c.num_in == 2 && r.c.len_in == 30);
	cr_assert(r.iov[0].iov_len == 10 && r.iov[1].iov_len == 20);
	rig_done(&r);
}

Test(queue_pop, reads_a_table_across_the_border_of_regions)
{
	EACH_KIND(k)
	{
		struct driver_buf bufs[4];

		if (!is_indirect(k))
			continue;
		rig_start(&r, 8, rig_kinds[k]);
		/* The second of four entries has the border in its middle. */
		r.ring.tables = RIG_GPA + RIG_BYTES / 2 - 24;
		r.ring.tables -= 16ull * DRIVER_INDIRECT_MAX *
				 (r.ring.packed ? 0 : r.ring.split_free);
		for (unsigned int i = 0; i < 4; i++)
			bufs[i] = (struct driver_buf){r.buf + 100 * i, 7 + i,
						      i > 1};
		cr_assert_geq(driver_ring_add(&r.ring, bufs, 4, true), 0);
		driver_ring_publish(&r.ring);
		cr_assert_eq(rig_pop(&r), 1);
		cr_assert(r.c.num_out == 2 && r.c.num_in == 2);
		for (unsigned int i = 0; i < 4; i++)
			cr_assert_eq(r.iov[i].iov_len, 7 + i);
		rig_done(&r);
	}
}

Test(queue_pop, leaves_empty_descriptors_out)
{
	EACH_KIND(k)
	{
		struct driver_buf bufs[3] = {
			{r.buf, 0, false},
			{RIG_GPA, 5, false},
			{0xfffffffffffffff0ull, 0, true},
		};

		rig_start(&r, 8, rig_kinds[k]);
		cr_assert_geq(driver_ring_add(&r.ring, bufs, 3, is_indirect(k)),
			      0);
		driver_ring_publish(&r.ring);
		cr_assert_eq(rig_pop(&r), 1);
		cr_assert(r.c.num_out == 1 && r.c.num_in == 0);
		rig_done(&r);
	}
}

/* ---- notifications ---- */

static void one_round(unsigned int n)
{
	uint32_t id, len;

	for (unsigned int i = 0; i < n; i++)
		cr_assert_geq(rig_add(&r, 0, 1, false), 0);
	driver_ring_publish(&r.ring);
	for (unsigned int i = 0; i < n; i++) {
		cr_assert_eq(rig_pop(&r), 1);
		complete(&r, 0);
	}
	for (unsigned int i = 0; i < n; i++)
		cr_assert(driver_ring_get(&r.ring, &id, &len));
}

Test(queue_flush, interrupts_as_asked)
{
	EACH_KIND(k)
	{
		rig_start(&r, 8, rig_kinds[k]);
		one_round(1); /* always the first time */
		cr_assert_eq(rig_calls(&r), 1);
		for (unsigned int i = 0; i < 50; i++) {
			cr_assert(!driver_ring_want_call(&r.ring, 0));
			one_round(1);
			cr_assert_eq(rig_calls(&r), 1, "kind %zu round %u", k,
				     i);
			driver_ring_no_call(&r.ring);
			one_round(1);
			cr_assert_eq(rig_calls(&r), 0, "kind %zu round %u", k,
				     i);
		}
		rig_done(&r);
	}
}

Test(queue_flush, interrupts_at_the_index_asked_for)
{
	EACH_KIND(k)
	{
		if (!(rig_kinds[k] & DRIVER_F_EVENT))
			continue;
		rig_start(&r, 8, rig_kinds[k]);
		one_round(1);
		rig_calls(&r);
		for (unsigned int i = 0; i < 60; i++) {
			/* The third of five completions from here. */
			driver_ring_want_call(&r.ring, 2);
			one_round(2);
			cr_assert_eq(rig_calls(&r), 0, "kind %zu round %u", k,
				     i);
			one_round(1);
			cr_assert_eq(rig_calls(&r), 1, "kind %zu round %u", k,
				     i);
			one_round(2);
			cr_assert_eq(rig_calls(&r), 0, "kind %zu round %u", k,
				     i);
		}
		rig_done(&r);
	}
}

Test(queue_flush, interrupts_once_a_batch)
{
	EACH_KIND(k)
	{
		struct chain c[6];

		rig_start(&r, 8, rig_kinds[k]);
		for (unsigned int round = 0; round < 20; round++) {
			driver_ring_want_call(&r.ring, 3);
			for (unsigned int i = 0; i < 6; i++)
				rig_add(&r, 0, 1, false);
			driver_ring_publish(&r.ring);
			for (unsigned int i = 0; i < 6; i++) {
				cr_assert_eq(rig_pop(&r), 1);
				c[i] = r.c;
			}
			for (unsigned int i = 0; i < 6; i++)
				queue_push(&r.q, &c[i], 0);
			queue_flush(&r.q);
			queue_flush(&r.q);
			cr_assert_eq(rig_calls(&r), 1);
			for (unsigned int i = 0; i < 6; i++) {
				uint32_t id, len;

				cr_assert(driver_ring_get(&r.ring, &id, &len));
			}
		}
		rig_done(&r);
	}
}

/* Whenever the device found the ring empty, the next chain is kicked for. */
Test(queue_pop, arms_the_kick_when_empty)
{
	EACH_KIND(k)
	{
		rig_start(&r, 8, rig_kinds[k]);
		for (unsigned int i = 0; i < 50; i++) {
			uint32_t id, len;

			cr_assert_eq(rig_pop(&r), 0);
			rig_add(&r, 0, 1, false);
			cr_assert(driver_ring_publish(&r.ring),
				  "kind %zu round %u", k, i);
			cr_assert_eq(rig_pop(&r), 1);
			complete(&r, 0);
			cr_assert(driver_ring_get(&r.ring, &id, &len));
		}
		rig_done(&r);
	}
}

Test(queue_pause_kicks, keeps_the_driver_quiet)
{
	EACH_KIND(k)
	{
		rig_start(&r, 8, rig_kinds[k]);
		for (unsigned int i = 0; i < 50; i++) {
			uint32_t id, len;

			cr_assert_eq(rig_pop(&r), 0);
			rig_add(&r, 0, 1, false);
			cr_assert(driver_ring_publish(&r.ring));
			queue_pause_kicks(&r.q);
			cr_assert_eq(rig_pop(&r), 1);
			complete(&r, 0);
			cr_assert_eq(rig_pop(&r), 0);
			rig_add(&r, 0, 1, false);
			cr_assert(!driver_ring_publish(&r.ring),
				  "kind %zu round %u", k, i);
			cr_assert(queue_resume_kicks(&r.q));
			cr_assert_eq(rig_pop(&r), 1);
			complete(&r, 0);
			cr_assert(!queue_resume_kicks(&r.q));
			cr_assert(driver_ring_get(&r.ring, &id, &len));
			cr_assert(driver_ring_get(&r.ring, &id, &len));
		}
		rig_done(&r);
	}
}
