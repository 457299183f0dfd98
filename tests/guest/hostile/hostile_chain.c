/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What can be wrong with a chain, for any queue: each descriptor of a
 * well-formed request in turn. Spec: virtio 1.2, 2.7.5, 2.7.6, 2.8.
 */

#include "hostile/hostile.h"

static struct act act;

static bool is_packed(const struct target *t, unsigned int queue)
{
	return t->rings[queue].packed;
}

static void bad_addresses(struct target *t, unsigned int queue)
{
	unsigned int n;

	act_make(&act, t, queue);
	n = act.n;
	for (unsigned int i = 0; i < n; i++) {
		/* All of them with the first, some with each. */
		for (unsigned int k = i % 3; k < NUM_NOWHERE; k += i ? 3 : 1) {
			act_make(&act, t, queue);
			act.d[i].addr = nowhere[k];
			act_run(&act, "address outside of RAM", RESET);
		}
		act_make(&act, t, queue);
		act.d[i].addr = target_bar(t);
		act_run(&act, "address of its own BAR", RESET);
		act_make(&act, t, queue);
		act.d[i].addr = ram_end;
		act_run(&act, "address behind RAM", RESET);
		act_make(&act, t, queue);
		act.d[i].addr = ram_end - 1;
		act.d[i].len = 2;
		act_run(&act, "across the end of RAM", RESET);
	}
}

static void bad_lengths(struct target *t, unsigned int queue)
{
	static const uint32_t lengths[] = {UINT32_MAX, 0x80000000, 0x7fffffff};
	unsigned int n;

	act_make(&act, t, queue);
	n = act.n;
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = 0; k < COUNT(lengths); k++) {
			act_make(&act, t, queue);
			act.d[i].len = lengths[k];
			act_run(&act, "length beyond RAM", RESET);
		}
		act_make(&act, t, queue);
		act.d[i].len = 0;
		act.want_status = NO_STATUS;
		act.status = NULL;
		act_run(&act, "length 0", ANY);
		act_make(&act, t, queue);
		act.d[i].addr = UINT64_MAX;
		act.d[i].len = 0;
		act.status = NULL;
		act_run(&act, "length 0 at nowhere", ANY);
	}
}

static void bad_directions(struct target *t, unsigned int queue)
{
	unsigned int n;

	act_make(&act, t, queue);
	n = act.n;
	for (unsigned int i = 0; i < n; i++) {
		act_make(&act, t, queue);
		act.d[i].a ^= DESC_WRITE;
		act.status = NULL;
		act_run(&act, "direction the wrong way", ANSWER);
	}
	for (unsigned int w = 0; w < 2; w++) {
		act_make(&act, t, queue);
		act.status = NULL;
		for (unsigned int i = 0; i < n; i++)
			act.d[i].a = (uint16_t)((act.d[i].a & ~DESC_WRITE) |
						(w ? DESC_WRITE : 0));
		act_run(&act, "all in one direction", ANSWER);
	}
	act_make(&act, t, queue);
	act_buf(&act, scratch, 64, true);
	act_buf(&act, scratch, 64, false);
	act_run(&act, "readable after writable", RESET);
}

static void bad_flags(struct target *t, unsigned int queue)
{
	/* Bits that mean nothing are ignored; in a packed ring, not those of
	 * availability. */
	for (unsigned int bit = 3; bit < 15; bit++) {
		if (bit == 7)
			continue;
		act_make(&act, t, queue);
		act.d[0].a = (uint16_t)(act.d[0].a | 1u << bit);
		act_run(&act, "unknown flag", ANSWER);
	}
}

static void split_links(struct target *t, unsigned int queue)
{
	static const uint16_t wrong[] = {RING_SIZE, RING_SIZE + 1, 0x8000,
					 0xffff};
	static const uint16_t jumps[] = {RING_SIZE + 1, 0x7fff, 0x8000, 0xffff};

	for (unsigned int k = 0; k < COUNT(wrong); k++) {
		act_make(&act, t, queue);
		act.head = wrong[k];
		act_run(&act, "head out of range", RESET);
		act_make(&act, t, queue);
		act.d[act.n - 1].a |= DESC_NEXT;
		act.d[act.n - 1].b = wrong[k];
		act_run(&act, "next out of range", RESET);
	}
	for (unsigned int k = 0; k < COUNT(jumps); k++) {
		act_make(&act, t, queue);
		act.jump = jumps[k];
		act.dirty = true;
		act_run(&act, "jump of the available index", RESET);
	}
	act_make(&act, t, queue);
	act.d[act.n - 1].a |= DESC_NEXT;
	act.d[act.n - 1].b = (uint16_t)(act.n - 1);
	act_run(&act, "link to itself", RESET);
	/* As long as the ring, and then a loop. */
	act_begin(&act, t, queue);
	while (act.n < CHAIN_MAX)
		act_buf(&act, scratch, 16, false);
	act.d[act.n - 1].a |= DESC_NEXT;
	act.d[act.n - 1].b = 0;
	act_run(&act, "loop", RESET);
}

static void packed_links(struct target *t, unsigned int queue)
{
	static const uint16_t wrong[] = {RING_SIZE, RING_SIZE + 1, 0x8000,
					 0xffff};
	struct ring *r = &t->rings[queue];

	for (unsigned int k = 0; k < COUNT(wrong); k++) {
		act_make(&act, t, queue);
		for (unsigned int i = 0; i < act.n; i++)
			act.d[i].b = wrong[k];
		act_run(&act, "id out of range", RESET);
	}
	act_begin(&act, t, queue);
	while (act.n < CHAIN_MAX)
		act_buf(&act, scratch, 16, false);
	act.d[act.n - 1].a |= DESC_NEXT;
	act_run(&act, "chain without end", RESET);
	/* Neither is available: nothing happens, and the next one is taken. */
	for (uint16_t flags = 0; flags < 2; flags++) {
		act_note(t);
		r->desc[r->avail] = (struct vq_desc){
			.addr = (uint64_t)scratch,
			.len = 16,
			.b = flags ? DESC_AVAIL | DESC_USED : 0,
		};
		ring_kick(r);
		target_others_good(NULL, "available and used");
	}
}

/* The same descriptors named twice before the first is done. */
static void named_twice(struct target *t, unsigned int queue)
{
	struct split_avail *avail = t->rings[queue].driver;

	act_make(&act, t, queue);
	act.status = NULL;
	act.dirty = true;
	if (is_packed(t, queue)) {
		unsigned int n = act.n;

		for (unsigned int i = 0; i < n; i++) {
			act.d[n + i] = act.d[i];
			act.n++;
		}
	} else {
		avail->ring[(t->rings[queue].avail + 1) % RING_SIZE] = 0;
		act.jump = 2;
	}
	act_run(&act, "named twice", ANSWER);
}

static void bad_table(struct target *t, unsigned int queue, uint32_t len,
		      const char *what, unsigned int allowed)
{
	act_make(&act, t, queue);
	act_table(&act);
	act.d[0].len = len;
	act.status = NULL;
	act_run(&act, what, allowed);
}

static void bad_tables(struct target *t, unsigned int queue)
{
	struct vq_desc *e;

	act_make(&act, t, queue);
	act_table(&act);
	act_run(&act, "a good table", USED);
	bad_table(t, queue, 0, "empty table", RESET);
	bad_table(t, queue, 1, "table of 1 byte", RESET);
	bad_table(t, queue, 15, "table of 15 bytes", RESET);
	bad_table(t, queue, 17, "table of 17 bytes", RESET);
	bad_table(t, queue, 16 * 1025, "table of 1025", RESET);
	bad_table(t, queue, 0xfffffff0, "table of 4 GiB", RESET);
	bad_table(t, queue, UINT32_MAX, "table of 4 GiB less 1", RESET);
	for (unsigned int k = 0; k < NUM_NOWHERE; k += 2) {
		act_make(&act, t, queue);
		act_table(&act);
		act.d[0].addr = nowhere[k];
		act_run(&act, "table outside of RAM", RESET);
	}
	act_make(&act, t, queue);
	act_table(&act);
	act.d[0].addr = ram_end - 8;
	act_run(&act, "table across the end of RAM", RESET);

	act_make(&act, t, queue);
	act_table(&act);
	act.d[0].a |= DESC_NEXT;
	act.d[0].b = is_packed(t, queue) ? 0 : 1;
	act_buf(&act, scratch, 64, true);
	act_run(&act, "table with next", RESET);

	act_make(&act, t, queue);
	e = act_table(&act);
	*(is_packed(t, queue) ? &e->b : &e->a) |= DESC_INDIRECT;
	act_run(&act, "table in a table", RESET);

	act_make(&act, t, queue);
	e = act_table(&act);
	e->addr = nowhere[0];
	act_run(&act, "table's entry outside of RAM", RESET);
	if (is_packed(t, queue))
		return;
	act_make(&act, t, queue);
	e = act_table(&act);
	e->a |= DESC_NEXT;
	e->b = 0;
	act_run(&act, "loop in a table", RESET);
	act_make(&act, t, queue);
	e = act_table(&act);
	e->a |= DESC_NEXT;
	e->b = 0xffff;
	act_run(&act, "link out of a table", RESET);
}

/* More entries than the queue has: only a device that can need not mind. */
static void long_table(struct target *t, unsigned int queue, unsigned int num)
{
	bool packed = is_packed(t, queue);

	act_begin(&act, t, queue);
	act_buf(&act, scratch, 16, false);
	act_table(&act);
	for (unsigned int i = 0; i < num; i++) {
		uint16_t flags = i < num / 2 ? 0 : DESC_WRITE;
		uint16_t link = i + 1 < num ? DESC_NEXT : 0;

		table[i] = (struct vq_desc){
			.addr = (uint64_t)scratch,
			.len = 1,
			.a = packed ? 0 : flags | link,
			.b = packed ? flags : (uint16_t)(i + 1),
		};
	}
	act.d[0].len = (uint32_t)(num * sizeof(*table));
	act_run(&act, "long table", num > 1024 ? RESET : ANY);
}

static void not_agreed(struct target *t, unsigned int queue)
{
	if (!target_start_with(t, t->features))
		return;
	act_make(&act, t, queue);
	act_table(&act);
	act_run(&act, "table that was not agreed on", RESET);
}

/* The device is told to write to its own rings. */
static void into_rings(struct target *t, unsigned int queue)
{
	const struct ring *r = &t->rings[queue];
	const void *const places[] = {r->desc, r->driver, r->device};

	for (unsigned int k = 0; k < COUNT(places); k++) {
		act_make(&act, t, queue);
		act.dirty = true;
		act.status = NULL;
		for (unsigned int i = 0; i < act.n; i++)
			act.d[i].addr = (uint64_t)places[k];
		act_run(&act, "data in the ring", ANY);
	}
}

/* What the driver asks to be told of. */
static void bad_events(struct target *t, unsigned int queue)
{
	static const uint16_t words[] = {0, 1, 0x7fff, 0x8000, 0xffff};
	struct ring *r = &t->rings[queue];

	for (unsigned int k = 0; k < COUNT(words); k++) {
		struct packed_event *event = r->driver;
		struct split_avail *avail = r->driver;

		act_make(&act, t, queue);
		if (r->packed) {
			event->place = words[k];
			event->flags = (uint16_t)(k % 2 ? 2 : words[k]);
		} else {
			avail->flags = words[k];
			avail->ring[r->size] = words[k];
		}
		act_run(&act, "event suppression of nonsense", USED);
	}
}

void ring_acts(struct target *t)
{
	for (unsigned int q = 0; q < t->num_queues; q++) {
		bad_addresses(t, q);
		bad_lengths(t, q);
		bad_directions(t, q);
		bad_flags(t, q);
		if (is_packed(t, q))
			packed_links(t, q);
		else
			split_links(t, q);
		named_twice(t, q);
		bad_tables(t, q);
		long_table(t, q, RING_SIZE + 1);
		long_table(t, q, 300);
		long_table(t, q, 1024);
		long_table(t, q, 1025);
		not_agreed(t, q);
		into_rings(t, q);
		bad_events(t, q);
	}
}

/* ---- nonsense without a plan ---- */

#define RANDOM_ACTS 30
#define RACES	    8
#define RACE_US	    300

static uint64_t random_address(void)
{
	uint64_t x = hostile_random();

	switch (x % 8) {
	case 0:
		return nowhere[(x >> 8) % NUM_NOWHERE];
	case 1:
		return ram_end - (x >> 8) % 64;
	case 2:
		return x;
	case 3:
		return (uint64_t)table;
	default:
		return (uint64_t)scratch + (x >> 8) % 4096;
	}
}

static uint32_t random_length(void)
{
	uint64_t x = hostile_random();

	switch (x % 6) {
	case 0:
		return (uint32_t)(x >> 32);
	case 1:
		return 0;
	case 2:
		return (uint32_t)(x >> 8) % 16 * 16;
	default:
		return (uint32_t)(x >> 8) % 2048;
	}
}

static void random_desc(struct vq_desc *d, unsigned int n)
{
	uint64_t x = hostile_random();

	d->addr = random_address();
	d->len = random_length();
	d->a = (uint16_t)(x % 16 ? x >> 8 & 3 : x >> 8);
	d->b = (uint16_t)(x >> 24 & 1 ? n + 1 : (x >> 32) % (RING_SIZE + 2));
}

static void random_chain(struct target *t, unsigned int queue)
{
	uint64_t x = hostile_random();

	act_begin(&act, t, queue);
	act.dirty = true;
	if (x & 256)
		t->make(&act);
	while (act.n < x % 8 + 1)
		act_buf(&act, scratch, 64, x & 512);
	for (unsigned int i = 0; i < 16; i++)
		random_desc(&table[i], i);
	for (unsigned int i = 0; i < act.n; i++) {
		if (hostile_random() % 3)
			random_desc(&act.d[i], i);
	}
	act.status = NULL;
	act.head = (uint16_t)(x >> 16) % (RING_SIZE + 1);
	for (unsigned int i = 0; i < act.n; i++) {
		if (t->rings[queue].packed && x >> 48 & 1)
			act.d[i].b = act.head;
	}
	if (!(x >> 32 & 15))
		act.jump = (uint16_t)(x >> 40);
	act_run(&act, "random chain", ANY);
}

/* A good chain is changed while the device looks at it. */
static void race(struct target *t, unsigned int queue)
{
	struct ring *r = &t->rings[queue];
	uint64_t start, limit = clock_ticks(RACE_US);

	act_note(t);
	act_make(&act, t, queue);
	ring_put(r, 0, act.d, act.n, 0, 1);
	ring_kick(r);
	start = rdtsc();
	while (rdtsc() - start < limit) {
		struct vq_desc *d = &r->desc[hostile_random() % 4];

		d->addr = random_address();
		d->len = random_length();
		d->a = (uint16_t)(d->a ^ 1u << hostile_random() % 16);
		d->b = (uint16_t)(d->b ^ 1u << hostile_random() % 16);
	}
	target_recover(t, "race");
}

void random_acts(struct target *t)
{
	for (unsigned int q = 0; q < t->num_queues; q++) {
		for (unsigned int i = 0; i < RANDOM_ACTS; i++)
			random_chain(t, q);
		for (unsigned int i = 0; i < RACES; i++)
			race(t, q);
	}
}
