/* SPDX-License-Identifier: Apache-2.0 */

/* Resets in the middle of requests, and requests without end. */

#include "hostile/hostile.h"

#define RESETS	  150
#define IN_FLIGHT 8
#define MARKER	  0x6b
#define MARKED	  0x10000u
#define FLOOD_US  60000
#define FLOOD_NUM 24 /* chains, of two descriptors at most: below RING_GOOD */

static struct act act;

/* As many requests as fit, not waited for. */
static void submit(struct target *t)
{
	for (unsigned int q = 0; q < t->num_queues; q++) {
		struct ring *r = &t->rings[q];

		act_begin(&act, t, q);
		t->busy(&act);
		for (unsigned int k = 0; k < IN_FLIGHT; k++) {
			uint16_t at = (uint16_t)(k * act.n);

			for (unsigned int i = 0; i < act.n; i++)
				act.d[i].b = r->packed ? (uint16_t)k
						       : (uint16_t)(at + i + 1);
			ring_put(r, at, act.d, act.n, at, 1);
		}
		ring_kick(r);
	}
}

/* After a reset the memory is the driver's again. */
static void one_reset(struct target *t, unsigned int i)
{
	uint64_t start = rdtsc(), limit = clock_ticks(hostile_random() % 200);

	act_note(t);
	submit(t);
	while (i & 1 && rdtsc() - start < limit)
		;
	if (!target_reset(t))
		return;
	memset(scratch, MARKER, MARKED);
	if (!target_start(t))
		return;
	if (i % 8)
		return;
	target_others_good(NULL, "reset in the middle");
	for (unsigned int k = 0; k < MARKED; k++) {
		if (scratch[k] == MARKER)
			continue;
		hostile_fail(t->name, "memory is written after a reset", "at",
			     k);
		return;
	}
}

void reset_acts(struct target *t)
{
	uint64_t num = guest_option_number("resets", RESETS);

	for (unsigned int i = 0; i < num; i++)
		one_reset(t, i);
	target_recover(t, "resets in the middle");
}

/* ---- floods ---- */

static struct {
	struct target *target;
	struct ring *ring;
	struct vq_desc d[FLOOD_NUM][2];
	unsigned int n;
} flood;

static void flood_put(unsigned int k)
{
	uint16_t at = (uint16_t)(2 * k);

	ring_put(flood.ring, at, flood.d[k], flood.n, at, 1);
}

/* What was served is asked for again. */
static void flood_feed(void)
{
	uint32_t id, len;

	for (unsigned int i = 0; i < FLOOD_NUM; i++) {
		if (!ring_get(flood.ring, &id, &len))
			return;
		flood.target->flooded++;
		if (!flood.ring->packed)
			id /= 2;
		if (id < FLOOD_NUM)
			flood_put(id);
	}
}

static void flood_begin(struct target *t, unsigned int queue)
{
	struct ring *r = &t->rings[queue];

	flood.ring = r;
	flood.target = t;
	act_begin(&act, t, queue);
	t->cheap(&act);
	flood.n = act.n;
	for (unsigned int k = 0; k < FLOOD_NUM; k++) {
		for (unsigned int i = 0; i < act.n; i++) {
			flood.d[k][i] = act.d[i];
			flood.d[k][i].b = r->packed ? (uint16_t)k
						    : (uint16_t)(2 * k + i + 1);
		}
		flood_put(k);
	}
	ring_kick(r);
}

/* The device's other queues have their turn, and the other devices theirs,
 * while the driver feeds this queue as fast as it can. */
static void one_flood(struct target *t, unsigned int queue)
{
	uint64_t start = rdtsc(), limit = clock_ticks(FLOOD_US);

	act_note(t);
	if (t->provoke)
		t->provoke(queue);
	flood_begin(t, queue);
	ring_meanwhile = flood_feed;
	while (rdtsc() - start < limit) {
		flood_feed();
		ring_kick(flood.ring);
		if (t->aside && !t->aside(queue)) {
			hostile_fail(t->name, "a queue has no turn", "queue",
				     queue);
			break;
		}
		target_others_good(t, "flood");
	}
	ring_meanwhile = NULL;
	target_recover(t, "flood");
}

void flood_acts(struct target *t)
{
	for (unsigned int q = 0; q < t->num_queues; q++)
		one_flood(t, q);
}
