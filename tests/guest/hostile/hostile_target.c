/* SPDX-License-Identifier: Apache-2.0 */

/* The devices: bringing them up, from whatever state, and asking them for
 * something good. Spec: virtio 1.2, 3.1.1 */

#include "hostile/hostile.h"

#include "lib/pci.h"

#define FIRST_US 20000000 /* for the host's side to be there */

struct target *const targets[NUM_TARGETS] = {&target_blk, &target_net,
					     &target_console, &target_rng};

static bool packed(void)
{
	return guest_option_number("packed", 0);
}

uint64_t target_bar(const struct target *t)
{
	return (uint64_t)t->dev.common; /* at offset 0 */
}

bool target_reset(struct target *t)
{
	uint64_t start = rdtsc(), limit = clock_ticks(BOUND_US);

	t->up = false;
	t->resets++;
	virtio_put8(&t->dev, COMMON_STATUS, 0);
	while (virtio_get8(&t->dev, COMMON_STATUS)) {
		if (rdtsc() - start > limit) {
			hostile_fail(t->name, "a reset does not end", NULL, 0);
			return false;
		}
	}
	t->fresh = true;
	return true;
}

bool target_agree(struct target *t, uint64_t features)
{
	struct virtio *v = &t->dev;
	uint64_t f;

	if (!t->fresh && !target_reset(t))
		return false;
	t->fresh = false;
	f = features | VIRTIO_F_VERSION_1;
	if (packed())
		f |= VIRTIO_F_PACKED;
	f &= t->offered;
	v->features = f;
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE);
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		virtio_put32(v, COMMON_DRIVER_SELECT, half);
		virtio_put32(v, COMMON_DRIVER, (uint32_t)(f >> 32 * half));
	}
	virtio_put8(v, COMMON_STATUS,
		    STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (virtio_get8(v, COMMON_STATUS) & STATUS_FEATURES_OK)
		return true;
	hostile_fail(t->name, "good features are refused", "features", f);
	return false;
}

/* In one access: there are many of them. */
static void put_place(const struct virtio *v, unsigned int reg, const void *p)
{
	*(volatile uint64_t *)(v->common + reg) = (uint64_t)p;
}

void target_queue(struct target *t, unsigned int queue)
{
	struct virtio *v = &t->dev;
	struct ring *r = &t->rings[queue];

	ring_reset(r, v->features & VIRTIO_F_PACKED);
	virtio_put16(v, COMMON_QUEUE_SELECT, r->index);
	virtio_put16(v, COMMON_QUEUE_SIZE, r->size);
	put_place(v, COMMON_QUEUE_DESC, r->desc);
	put_place(v, COMMON_QUEUE_DRIVER, r->driver);
	put_place(v, COMMON_QUEUE_DEVICE, r->device);
}

bool target_start_with(struct target *t, uint64_t features)
{
	if (!target_agree(t, features))
		return false;
	for (unsigned int i = 0; i < t->num_queues; i++) {
		target_queue(t, i);
		virtio_put16(&t->dev, COMMON_QUEUE_ENABLE, 1);
	}
	virtio_ready(&t->dev);
	if (t->started)
		t->started();
	t->up = true;
	return true;
}

bool target_start(struct target *t)
{
	return target_start_with(t, t->features | VIRTIO_F_INDIRECT |
					    VIRTIO_F_EVENT_IDX);
}

static bool target_listen(struct target *t, uint64_t since, const char *when)
{
	uint64_t took;

	if (!t->answered()) {
		hostile_fail(t->name, "a good request fails", when, t->acts);
		target_start(t);
		return false;
	}
	took = rdtsc() - since;
	if (took > t->good_max)
		t->good_max = took;
	t->served++;
	return true;
}

bool target_good(struct target *t, const char *when)
{
	uint64_t start = rdtsc();

	t->ask();
	return target_listen(t, start, when);
}

/* All at once: they are processes of their own. */
void target_others_good(const struct target *t, const char *when)
{
	uint64_t start = rdtsc();

	for (unsigned int i = 0; i < NUM_TARGETS; i++) {
		if (targets[i] != t && targets[i]->up)
			targets[i]->ask();
	}
	for (unsigned int i = 0; i < NUM_TARGETS; i++) {
		if (targets[i] != t && targets[i]->up)
			target_listen(targets[i], start, when);
	}
}

void target_recover(struct target *t, const char *what)
{
	t->up = false;
	target_others_good(t, what);
	if (target_start(t))
		target_good(t, what);
}

static void target_rings(struct target *t)
{
	for (unsigned int i = 0; i < t->num_queues; i++) {
		struct ring *r = &t->rings[i];
		struct virtio *v = &t->dev;

		r->index = t->queues[i];
		r->size = RING_SIZE;
		r->desc = hostile_alloc(RING_SIZE * sizeof(*r->desc));
		r->driver = hostile_alloc(6 + 2 * RING_SIZE);
		r->device = hostile_alloc(6 + 8 * RING_SIZE);
		virtio_put16(v, COMMON_QUEUE_SELECT, r->index);
		if (virtio_get16(v, COMMON_QUEUE_SIZE) < RING_SIZE)
			guest_fail("hostile: a queue is missing or too small");
		r->doorbell =
			(volatile uint16_t *)(v->notify +
					      virtio_get16(
						      v, COMMON_QUEUE_NOTIFY) *
						      v->notify_multiplier);
	}
}

/* The first answer may have to wait for the host's side. */
void target_find(struct target *t)
{
	uint64_t start = rdtsc(), limit = clock_ticks(FIRST_US);

	t->there = virtio_locate(t->id, &t->dev);
	if (!t->there)
		return;
	t->offered = virtio_offered(&t->dev);
	if (packed() && !(t->offered & VIRTIO_F_PACKED))
		guest_fail("hostile: no packed rings");
	target_rings(t);
	do {
		if (!target_start(t))
			continue;
		t->ask();
		if (t->answered())
			return;
	} while (rdtsc() - start < limit);
	hostile_fail(t->name, "it does not work from the start", NULL, 0);
}
