/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The region of a queue: what a successor gets, poison, and regions that a
 * broken-into predecessor made. That each request is completed exactly once
 * wherever a process dies is tests/crashpoint's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/inflight_layout.h"
#include "common/base/num.h"
#include "tests/unit/virtio/queue_rig.h"

#define SIZE 16

static uint8_t region[4096] __attribute__((aligned(4096)));
static struct rig r;

/* As if a new process started the queue. */
static void successor(bool careful)
{
	struct queue_config cfg = {
		.size = r.ring.size,
		.desc = r.ring.desc,
		.driver = r.ring.driver,
		.device = r.ring.device,
		.base = driver_ring_base(&r.ring),
		.features = (r.ring.packed ? DRIVER_F_PACKED : 0) |
			    (r.ring.event_idx ? DRIVER_F_EVENT : 0) |
			    (r.ring.indirect ? DRIVER_F_INDIRECT : 0),
		.inflight = region,
		.inflight_len = sizeof(region),
		.careful = careful,
	};
	int kick = r.q.kick_fd, call = r.q.call_fd;

	memset(&r.q, 0, sizeof(r.q));
	cr_assert_eq(queue_start(&r.q, &cfg, &r.gmem, kick, call, NULL), 0);
}

static void begin(uint64_t kind)
{
	memset(region, 0, sizeof(region));
	rig_start(&r, SIZE, kind);
	queue_stop(&r.q);
	successor(false);
	cr_assert_not(r.q.recovered);
}

static int entries(struct inflight_entry *ret)
{
	return inflight_list(region, sizeof(region), 0, ret, SIZE);
}

TestSuite(inflight, .timeout = 60);

Test(inflight, returns_chains_in_their_order_and_then_new_ones)
{
	for (size_t k = 0; k < ARRAY_SIZE(rig_kinds); k++) {
		struct inflight_entry e[SIZE];
		struct chain c[4];
		uint32_t id, len;

		begin(rig_kinds[k]);
		for (unsigned int i = 0; i < 4; i++)
			cr_assert_geq(rig_add(&r, 1, 1, false), 0);
		driver_ring_publish(&r.ring);
		for (unsigned int i = 0; i < 4; i++) {
			cr_assert_eq(rig_pop(&r), 1);
			c[i] = r.c;
		}
		queue_push(&r.q, &c[1], 5);
		queue_flush(&r.q);
		cr_assert_eq(entries(e), 3);
		cr_assert_geq(rig_add(&r, 1, 1, false), 0);
		driver_ring_publish(&r.ring);
		successor(false);
		cr_assert(r.q.recovered);
		for (unsigned int i = 0; i < 4; i++) {
			if (i == 1)
				continue;
			cr_assert_eq(rig_pop(&r), 1);
			cr_assert(r.c.redone && r.c.id == c[i].id);
			cr_assert_eq(r.c.counter, c[i].counter);
			cr_assert(r.c.len_out == 16 && r.c.len_in == 16);
			queue_push(&r.q, &r.c, 6);
		}
		cr_assert_eq(rig_pop(&r), 1);
		cr_assert(!r.c.redone && r.c.counter > c[3].counter);
		queue_push(&r.q, &r.c, 7);
		queue_flush(&r.q);
		cr_assert_eq(rig_pop(&r), 0);
		for (unsigned int i = 0; i < 5; i++)
			cr_assert(driver_ring_get(&r.ring, &id, &len));
		cr_assert_not(driver_ring_get(&r.ring, &id, &len));
		cr_assert_eq(entries(e), 0);
		rig_done(&r);
	}
}

Test(inflight, gives_no_name_twice)
{
	for (size_t k = 0; k < ARRAY_SIZE(rig_kinds); k++) {
		uint64_t last = 0;

		begin(rig_kinds[k]);
		for (unsigned int i = 0; i < 5; i++) {
			uint32_t id, len;

			cr_assert_geq(rig_add(&r, 1, 1, false), 0);
			driver_ring_publish(&r.ring);
			cr_assert_eq(rig_pop(&r), 1);
			cr_assert(!i || r.c.counter > last);
			last = r.c.counter;
			queue_push(&r.q, &r.c, 0);
			queue_flush(&r.q);
			cr_assert(driver_ring_get(&r.ring, &id, &len));
			successor(false); /* with nothing in flight */
		}
		rig_done(&r);
	}
}

Test(inflight, finds_the_poisoned_ones)
{
	for (size_t k = 0; k < ARRAY_SIZE(rig_kinds); k++) {
		struct inflight_entry e[SIZE];
		uint64_t names[2];

		begin(rig_kinds[k]);
		for (unsigned int i = 0; i < 4; i++) {
			cr_assert_geq(rig_add(&r, 1, 1, false), 0);
			driver_ring_publish(&r.ring);
			cr_assert_eq(rig_pop(&r), 1);
			if (i == 2)
				names[0] = r.c.counter;
		}
		names[1] = 1234567;
		successor(true);
		cr_assert_eq(queue_pop_poisoned(&r.q, names, 2, &r.c, r.iov,
						QUEUE_IOV_MAX),
			     1);
		cr_assert_eq(r.c.counter, names[0]);
		queue_push(&r.q, &r.c, 0);
		cr_assert_eq(queue_pop_poisoned(&r.q, names, 2, &r.c, r.iov,
						QUEUE_IOV_MAX),
			     0);
		queue_flush(&r.q);
		/* And the others come, one at a time. */
		for (unsigned int i = 0; i < 3; i++) {
			unsigned int served = 0;

			cr_assert_eq(rig_pop(&r), 1);
			cr_assert(r.c.redone && r.c.counter != names[0]);
			cr_assert_eq(entries(e), 3 - (int)i);
			for (unsigned int n = 0; n < 3 - i; n++)
				served += e[n].state == INFLIGHT_SERVED;
			cr_assert_eq(served, 1);
			struct chain c = r.c;
			cr_assert_eq(rig_pop(&r), 0, "one at a time");
			cr_assert_not(queue_resume_kicks(&r.q));
			queue_push(&r.q, &c, 0);
			queue_flush(&r.q);
		}
		rig_done(&r);
	}
}

Test(inflight, takes_back_what_is_not_served_now)
{
	for (size_t k = 0; k < ARRAY_SIZE(rig_kinds); k++) {
		struct inflight_entry e[SIZE];
		uint64_t name;

		begin(rig_kinds[k]);
		cr_assert_geq(rig_add(&r, 1, 1, false), 0);
		driver_ring_publish(&r.ring);
		cr_assert_eq(rig_pop(&r), 1);
		queue_unpop(&r.q, &r.c);
		cr_assert_eq(entries(e), 0);
		cr_assert_eq(rig_pop(&r), 1);
		name = r.c.counter;
		successor(true);
		cr_assert_eq(rig_pop(&r), 1);
		queue_unpop(&r.q, &r.c);
		cr_assert_eq(entries(e), 1);
		cr_assert(e[0].state == INFLIGHT_TAKEN && e[0].counter == name);
		cr_assert(queue_resume_kicks(&r.q), "it is still there");
		queue_stop(&r.q);
		successor(false); /* after a Quiesce */
		cr_assert_eq(rig_pop(&r), 1);
		cr_assert_eq(r.c.counter, name);
		queue_push(&r.q, &r.c, 0);
		queue_flush(&r.q);
		queue_stop(&r.q);
		queue_forget(&r.q);
		successor(false);
		cr_assert_not(r.q.recovered);
		rig_done(&r);
	}
}

/* Whatever it says: no crash, no endless walk, nothing outside of it. */
static void use_up(void)
{
	for (unsigned int i = 0; i < 2 * SIZE; i++) {
		if (rig_pop(&r) <= 0)
			break;
		cr_assert(r.c.id < SIZE && r.c.entry < SIZE);
		queue_push(&r.q, &r.c, 0);
		if (i % 3 == 0)
			queue_flush(&r.q);
	}
	queue_flush(&r.q);
	queue_stop(&r.q);
	queue_forget(&r.q);
}

Test(inflight, survives_any_region)
{
	for (unsigned int i = 0; i < 40000; i++) {
		uint64_t kind = rig_kinds[i % 8];
		struct inflight_split *s = (void *)region;
		struct inflight_entry e[SIZE];

		srand(i);
		begin(kind);
		for (unsigned int n = 0; n < 6; n++) {
			rig_add(&r, 1 + n % 2, 1, n % 2 && r.ring.indirect);
			driver_ring_publish(&r.ring);
			if (rig_pop(&r) == 1 && n % 3 == 0)
				queue_push(&r.q, &r.c, 0);
		}
		/* A few bytes, some of them small numbers; or all of them. */
		for (int n = i % 16 ? rand() % 12 : 600; n >= 0; n--)
			region[rand() % (i % 3 ? 128 : 600)] =
				(uint8_t)(rand() % 2 ? rand() : rand() % SIZE);
		if (i % 4) {
			s->version = INFLIGHT_VERSION;
			s->desc_num = SIZE;
		}
		cr_assert_leq(entries(e), SIZE);
		successor(i & 64);
		use_up();
		rig_done(&r);
	}
}

Test(inflight, list_looks_at_nothing_beyond)
{
	struct inflight_split *s = (void *)region;
	struct inflight_entry e[4];

	memset(region, 0xff, sizeof(region));
	cr_assert_eq(entries(e), -EBADMSG, "version");
	s->version = INFLIGHT_VERSION;
	cr_assert_eq(entries(e), -EBADMSG, "65535 descriptors");
	s->desc_num = 4096 / 32;
	cr_assert_eq(entries(e), -EBADMSG, "one too many");
	cr_assert_eq(inflight_list(region, 16, 0, e, 4), -EBADMSG);
	s->version = 0;
	cr_assert_eq(entries(e), 0, "fresh");
}
