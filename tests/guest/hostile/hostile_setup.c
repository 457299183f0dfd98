/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Status, features and queues in the wrong order, and of nonsense.
 * Spec: virtio 1.2, 2.1, 3.1, 4.1.4.3.
 */

#include "hostile/hostile.h"

#include "lib/pci.h"

#define STATUS_STARTED                                                         \
	(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |             \
	 STATUS_DRIVER_OK)
#define NOTIFY_AREA 0x1000u /* bytes */
#define BAR_SIZE    0x80000u

static void select(struct target *t, uint16_t queue)
{
	virtio_put16(&t->dev, COMMON_QUEUE_SELECT, queue);
}

/* Reset, and about to be written to. */
static bool off(struct target *t)
{
	bool done = target_reset(t);

	t->fresh = false;
	return done;
}

static void wrong_sizes(struct target *t)
{
	static const uint16_t sizes[] = {0,   3,      63,     100,
					 999, 0x7fff, 0x8000, 0xffff};
	struct virtio *v = &t->dev;
	uint16_t most, now;

	if (!target_agree(t, t->features))
		return;
	select(t, 0);
	most = virtio_get16(v, COMMON_QUEUE_SIZE);
	for (unsigned int i = 0; i < COUNT(sizes); i++) {
		act_note(t);
		virtio_put16(v, COMMON_QUEUE_SIZE, sizes[i]);
		now = virtio_get16(v, COMMON_QUEUE_SIZE);
		act_check(t, "a size of nonsense is taken",
			  now && now <= most &&
				  (t->rings[0].packed || !(now & (now - 1))));
	}
	target_recover(t, "size of nonsense");
}

/* One of the three areas of queue 0 is at @addr. */
static void wrong_ring(struct target *t, unsigned int reg, uint64_t addr)
{
	struct virtio *v = &t->dev;

	if (!target_agree(t, t->features))
		return;
	act_note(t);
	for (unsigned int i = 0; i < t->num_queues; i++) {
		target_queue(t, i);
		if (!i)
			virtio_put64(v, reg, addr);
		virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
	}
	virtio_ready(v);
	ring_kick(&t->rings[0]);
	act_sees_reset(t, "ring at nowhere");
	target_recover(t, "ring at nowhere");
}

static void wrong_rings(struct target *t)
{
	static const unsigned int regs[] = {
		COMMON_QUEUE_DESC, COMMON_QUEUE_DRIVER, COMMON_QUEUE_DEVICE};

	for (unsigned int i = 0; i < COUNT(regs); i++) {
		for (unsigned int k = 0; k < NUM_NOWHERE; k++)
			wrong_ring(t, regs[i], nowhere[k]);
		wrong_ring(t, regs[i], target_bar(t));
		wrong_ring(t, regs[i], ram_end);
		wrong_ring(t, regs[i], ram_end - 2);
		wrong_ring(t, regs[i], (uint64_t)scratch + 1);
	}
}

/* All three areas are one: a mess, but in the driver's own memory. */
static void same_rings(struct target *t)
{
	struct virtio *v = &t->dev;

	if (!target_agree(t, t->features))
		return;
	act_note(t);
	for (unsigned int i = 0; i < t->num_queues; i++) {
		target_queue(t, i);
		virtio_put64(v, COMMON_QUEUE_DESC, (uint64_t)scratch);
		virtio_put64(v, COMMON_QUEUE_DRIVER, (uint64_t)scratch);
		virtio_put64(v, COMMON_QUEUE_DEVICE, (uint64_t)scratch);
		virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
	}
	virtio_ready(v);
	for (unsigned int i = 0; i < 4096; i++)
		scratch[i] = (uint8_t)hostile_random();
	for (unsigned int i = 0; i < t->num_queues; i++)
		ring_kick(&t->rings[i]);
	target_recover(t, "rings in one place");
}

/* An enabled queue stays as it is. */
static void change_enabled(struct target *t)
{
	struct virtio *v = &t->dev;
	struct ring *r = &t->rings[0];

	act_note(t);
	select(t, r->index);
	virtio_put16(v, COMMON_QUEUE_SIZE, RING_SIZE / 2);
	virtio_put64(v, COMMON_QUEUE_DESC, nowhere[0]);
	virtio_put64(v, COMMON_QUEUE_DRIVER, nowhere[0]);
	virtio_put64(v, COMMON_QUEUE_DEVICE, nowhere[0]);
	virtio_put16(v, COMMON_QUEUE_ENABLE, 0);
	virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
	virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
	virtio_put16(v, COMMON_QUEUE_ENABLE, 0xffff);
	act_check(t, "an enabled queue changes",
		  virtio_get16(v, COMMON_QUEUE_SIZE) == RING_SIZE &&
			  virtio_get32(v, COMMON_QUEUE_DESC) ==
				  (uint32_t)(uint64_t)r->desc &&
			  virtio_get16(v, COMMON_QUEUE_ENABLE) == 1);
	target_others_good(NULL, "enabled twice");
}

static void no_such_queue(struct target *t)
{
	static const uint16_t indexes[] = {5, 64, 0x7fff, 0x8000, 0xffff};
	struct virtio *v = &t->dev;

	for (unsigned int i = 0; i < COUNT(indexes); i++) {
		act_note(t);
		select(t, indexes[i]);
		act_check(t, "a queue that does not exist has a size",
			  !virtio_get16(v, COMMON_QUEUE_SIZE));
		virtio_put16(v, COMMON_QUEUE_SIZE, RING_SIZE);
		virtio_put64(v, COMMON_QUEUE_DESC, (uint64_t)scratch);
		virtio_put16(v, COMMON_QUEUE_VECTOR, 0);
		virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
		act_check(t, "a queue that does not exist is enabled",
			  !virtio_get16(v, COMMON_QUEUE_ENABLE));
	}
	target_others_good(NULL, "a queue that does not exist");
}

static void early(struct target *t)
{
	struct virtio *v = &t->dev;

	if (!off(t))
		return;
	act_note(t);
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE);
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	target_queue(t, 0);
	virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
	act_check(t, "a queue is enabled before the features are agreed on",
		  !virtio_get16(v, COMMON_QUEUE_ENABLE));
	act_note(t);
	virtio_put8(v, COMMON_STATUS,
		    STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
	act_check(t, "DRIVER_OK without FEATURES_OK",
		  !(virtio_get8(v, COMMON_STATUS) & STATUS_DRIVER_OK));
	act_note(t);
	virtio_put8(v, COMMON_STATUS, STATUS_STARTED);
	act_check(t, "FEATURES_OK without VERSION_1",
		  !(virtio_get8(v, COMMON_STATUS) &
		    (STATUS_DRIVER_OK | STATUS_FEATURES_OK)));
	for (unsigned int i = 0; i < t->num_queues; i++)
		ring_kick(&t->rings[i]);
	target_recover(t, "too early");
}

static void try_features(struct target *t, uint32_t select_more, uint64_t f)
{
	struct virtio *v = &t->dev;

	if (!off(t))
		return;
	act_note(t);
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE);
	virtio_put8(v, COMMON_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		virtio_put32(v, COMMON_DRIVER_SELECT, half);
		virtio_put32(v, COMMON_DRIVER, (uint32_t)(f >> 32 * half));
	}
	if (select_more) {
		virtio_put32(v, COMMON_DRIVER_SELECT, select_more);
		virtio_put32(v, COMMON_DRIVER, 1);
	}
	virtio_put8(v, COMMON_STATUS,
		    STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	act_check(t, "features that are not offered",
		  !(virtio_get8(v, COMMON_STATUS) & STATUS_FEATURES_OK));
}

static void wrong_features(struct target *t)
{
	uint64_t offered = t->offered;
	struct virtio *v = &t->dev;
	uint32_t low;

	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(offered & 1ull << bit))
			try_features(t, 0, VIRTIO_F_VERSION_1 | 1ull << bit);
	}
	try_features(t, 0, UINT64_MAX);
	try_features(t, 0, 0);
	try_features(t, 0, offered & ~VIRTIO_F_VERSION_1);
	try_features(t, 2, VIRTIO_F_VERSION_1);
	try_features(t, UINT32_MAX, VIRTIO_F_VERSION_1);

	/* All that is offered, at once, is fine: whatever it means. */
	if (target_agree(t, offered)) {
		virtio_put32(v, COMMON_DRIVER_SELECT, 0);
		low = virtio_get32(v, COMMON_DRIVER);
		act_note(t);
		virtio_put32(v, COMMON_DRIVER, ~low);
		act_check(t, "features change after FEATURES_OK",
			  virtio_get32(v, COMMON_DRIVER) == low);
	}
	target_recover(t, "features");
}

static bool status_is_sane(uint8_t status)
{
	return !(status & STATUS_DRIVER_OK) || (status & STATUS_FEATURES_OK);
}

static void wrong_statuses(struct target *t)
{
	struct virtio *v = &t->dev;

	for (unsigned int from = 0; from < 2; from++) {
		if (!(from ? target_agree(t, t->features) : off(t)))
			return;
		for (unsigned int x = 1; x < 256; x += 1 + 2 * from) {
			act_note(t);
			virtio_put8(v, COMMON_STATUS, (uint8_t)x);
			if (x % 4 == 0)
				act_check(t, "a status of nonsense",
					  status_is_sane(virtio_get8(
						  v, COMMON_STATUS)));
		}
	}
	target_recover(t, "status of nonsense");
}

/* Queues that come after DRIVER_OK, or never. */
static void late_queues(struct target *t)
{
	struct virtio *v = &t->dev;

	if (!target_agree(t, t->features))
		return;
	act_note(t);
	virtio_ready(v);
	for (unsigned int i = 0; i < t->num_queues; i++)
		ring_kick(&t->rings[i]);
	for (unsigned int i = 0; i < t->num_queues; i++) {
		target_queue(t, i);
		virtio_put16(v, COMMON_QUEUE_ENABLE, 1);
		ring_kick(&t->rings[i]);
	}
	target_recover(t, "queues after DRIVER_OK");
}

static void wrong_kicks(struct target *t)
{
	volatile uint8_t *p = t->dev.notify;

	for (unsigned int i = 0; i < 50; i++) {
		uint32_t off = (uint32_t)hostile_random() % NOTIFY_AREA & ~7u;

		act_note(t);
		*(volatile uint64_t *)(p + off) = hostile_random();
		*(volatile uint32_t *)(p + off) = (uint32_t)hostile_random();
		*(volatile uint16_t *)(p + off + 2) = 0xffff;
		p[off + 1] = 0xff;
	}
	target_others_good(NULL, "kicks of nonsense");
	if (!off(t))
		return;
	act_note(t);
	for (unsigned int i = 0; i < t->num_queues; i++)
		ring_kick(&t->rings[i]);
	target_recover(t, "kicks of a device that is off");
}

static void write_some(volatile uint8_t *p, uint64_t value)
{
	switch (hostile_random() % 4) {
	case 0:
		*p = (uint8_t)value;
		break;
	case 1:
		*(volatile uint16_t *)p = (uint16_t)value;
		break;
	case 2:
		*(volatile uint32_t *)p = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)p = value;
		break;
	}
}

/* The device's own configuration: what can be written there is its business. */
static void wrong_config(struct target *t)
{
	for (unsigned int i = 0; i < 100; i++) {
		uint32_t off = (uint32_t)hostile_random() % (i & 1 ? 64 : 4088);

		act_note(t);
		write_some(t->dev.config + off, hostile_random());
		(void)*(volatile uint64_t *)(t->dev.config + off);
	}
	target_recover(t, "config space");
}

/* Anywhere in the BAR, anything. */
static void wrong_registers(struct target *t)
{
	volatile uint8_t *bar = (volatile uint8_t *)target_bar(t);

	for (unsigned int i = 0; i < 300; i++) {
		uint64_t x = hostile_random();
		uint32_t off = (uint32_t)(i & 1 ? x % 64 : x % (BAR_SIZE - 8));

		act_note(t);
		write_some(bar + off, i & 2 ? x >> 32 & 0xf : x >> 32);
		if (i % 8 == 0)
			(void)*(volatile uint64_t *)(bar + off);
	}
	target_recover(t, "registers");
}

void setup_acts(struct target *t)
{
	wrong_sizes(t);
	wrong_rings(t);
	same_rings(t);
	change_enabled(t);
	no_such_queue(t);
	early(t);
	wrong_features(t);
	wrong_statuses(t);
	late_queues(t);
	wrong_kicks(t);
	wrong_config(t);
	for (unsigned int i = 0; i < 2; i++)
		wrong_registers(t);
}
