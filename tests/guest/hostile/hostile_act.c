/* SPDX-License-Identifier: Apache-2.0 */

/* One act: put it into the ring, see what the device makes of it, and whether
 * all goes on. */

#include "hostile/hostile.h"

#define LOOK_US 100 /* between looks at the status, each an exit */

void act_begin(struct act *a, struct target *t, unsigned int queue)
{
	memset(a, 0, sizeof(*a));
	a->t = t;
	a->queue = queue;
	a->jump = 1;
	a->want_status = NO_STATUS;
}

void act_make(struct act *a, struct target *t, unsigned int queue)
{
	act_begin(a, t, queue);
	t->make(a);
}

void act_buf(struct act *a, const void *addr, uint32_t len, bool device_writes)
{
	bool is_packed = a->t->rings[a->queue].packed;
	struct vq_desc *d = &a->d[a->n];

	if (a->n == CHAIN_MAX)
		guest_fail("hostile: an act is too long");
	if (a->n)
		d[-1].a |= DESC_NEXT;
	d->addr = (uint64_t)addr;
	d->len = len;
	d->a = device_writes ? DESC_WRITE : 0;
	d->b = is_packed ? 0 : (uint16_t)(a->n + 1);
	a->n++;
}

struct vq_desc *act_table(struct act *a)
{
	memcpy(table, a->d, a->n * sizeof(*table));
	if (a->t->rings[a->queue].packed) {
		/* Entries follow each other; there are no links. */
		for (unsigned int i = 0; i < a->n; i++) {
			table[i].a = 0;
			table[i].b = a->d[i].a & DESC_WRITE;
		}
	}
	a->d[0] = (struct vq_desc){.addr = (uint64_t)table,
				   .len = (uint32_t)(a->n * sizeof(*table)),
				   .a = DESC_INDIRECT};
	a->n = 1;
	return table;
}

/* Bytes that the device may say it wrote. */
static uint64_t act_room(const struct act *a)
{
	uint64_t room = 0;

	for (unsigned int i = 0; i < a->n; i++) {
		if (a->d[i].a & DESC_INDIRECT)
			return UINT64_MAX;
		if (a->d[i].a & DESC_WRITE)
			room += a->d[i].len;
	}
	return room;
}

static enum outcome act_wait(struct act *a, unsigned int allowed,
			     uint32_t *ret_len)
{
	uint64_t start = rdtsc(), look = start, now;
	uint64_t limit = clock_ticks(allowed & NOTHING ? QUIET_US : BOUND_US);
	struct ring *r = &a->t->rings[a->queue];
	uint32_t id;

	do {
		/* Where only a reset will do, a completion before it is no
		 * answer yet. */
		if (allowed != RESET && ring_get(r, &id, ret_len) &&
		    id == a->head)
			return USED;
		now = rdtsc();
		if (now < look)
			continue;
		if (virtio_broken(&a->t->dev))
			return RESET;
		look = now + clock_ticks(LOOK_US);
	} while (now - start < limit);
	return NOTHING;
}

void act_check(const struct target *t, const char *what, bool good)
{
	if (!good)
		hostile_fail(t->name, what, "act", t->acts);
}

static void act_judge(const struct act *a, const char *what,
		      unsigned int allowed, enum outcome outcome, uint32_t len)
{
	struct target *t = a->t;
	uint8_t status;

	if (!(outcome & allowed)) {
		hostile_fail(t->name,
			     outcome == NOTHING ? "no answer"
			     : outcome == USED	? "a completion"
						: "it asks for a reset",
			     what, a->queue);
		return;
	}
	if (outcome != USED || a->dirty)
		return;
	if (!a->no_room && len > act_room(a))
		hostile_fail(t->name, "more was written than there is room",
			     what, len);
	if (!a->status)
		return;
	status = *a->status;
	t->statuses[status < 3 ? status : 3]++;
	if (a->want_status != NO_STATUS && status != a->want_status)
		hostile_fail(t->name, "a wrong status", what, status);
}

void act_run(struct act *a, const char *what, unsigned int allowed)
{
	struct target *t = a->t;
	struct ring *r = &t->rings[a->queue];
	enum outcome outcome;
	uint32_t len = 0;

	t->acts++;
	if (a->status)
		*a->status = 0xee;
	ring_put(r, 0, a->d, a->n, a->head, a->jump);
	ring_kick(r);
	if (t->provoke)
		t->provoke(a->queue);
	outcome = act_wait(a, allowed, &len);
	t->outcomes[outcome]++;
	act_judge(a, what, allowed, outcome, len);
	if (outcome != USED || a->dirty || (allowed & RESET)) {
		target_recover(t, what);
		return;
	}
	target_others_good(NULL, what);
}

void act_note(struct target *t)
{
	t->acts++;
}

bool act_sees_reset(struct target *t, const char *what)
{
	uint64_t start = rdtsc(), limit = clock_ticks(BOUND_US);

	while (!virtio_broken(&t->dev)) {
		if (rdtsc() - start < limit)
			continue;
		t->outcomes[NOTHING]++;
		hostile_fail(t->name, "it does not ask for a reset", what,
			     t->acts);
		return false;
	}
	t->outcomes[RESET]++;
	return true;
}
