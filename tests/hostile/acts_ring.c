/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Acts in memory that is shared: the driver's rings, the record of what is in
 * flight, eventfds, the fence. They hurt the guest's use of this device, and
 * the successor must live with what it finds.
 */

#include <string.h>
#include <unistd.h>

#include "common/base/inflight_layout.h"
#include "common/base/num.h"
#include "common/virtio/queue_ring.h"
#include "common/virtio/runtime.h"
#include "tests/hostile/hostile.h"

#define IRQ_FLOOD_MS 1000

static struct split_used *used(void)
{
	return hostile.queue->ring_device;
}

static void used_jump(void)
{
	used()->idx = htole16((uint16_t)(le16toh(used()->idx) + 1000));
	queue_call(hostile.queue);
}

static void used_back(void)
{
	used()->idx = htole16((uint16_t)(le16toh(used()->idx) - 1));
	queue_call(hostile.queue);
}

static void used_ids(void)
{
	for (uint32_t i = 0; i < hostile.queue->size; i++) {
		used()->ring[i].id = htole32(0xdeadbeef);
		used()->ring[i].len = htole32(0xffffffff);
	}
	used()->idx = htole16((uint16_t)(le16toh(used()->idx) + 1));
	queue_call(hostile.queue);
}

static void used_all(void)
{
	memset(used(), 0xff, 6 + 8 * (size_t)hostile.queue->size);
	queue_call(hostile.queue);
}

static void avail_all(void)
{
	memset(hostile.queue->ring_driver, 0xff,
	       6 + 2 * (size_t)hostile.queue->size);
}

static void desc_all(void)
{
	memset(hostile.queue->ring_desc, 0xff,
	       DESC_SIZE * (size_t)hostile.queue->size);
}

static void inflight_fill(bool random)
{
	const struct device *dev = hostile.dev;
	uint8_t *p = dev->rt->inflight;
	size_t len = dev->num_queues * dev->rt->inflight_stride;

	for (size_t i = 0; p && i < len; i++)
		p[i] = random ? (uint8_t)wire_random() : 0xff;
	_exit(0);
}

static void inflight_all(void)
{
	inflight_fill(false);
}

static void inflight_random(void)
{
	inflight_fill(true);
}

/* A plausible head, nonsense behind it. */
static void inflight_entries(void)
{
	struct inflight_split *r = (void *)hostile.dev->rt->inflight;

	for (uint32_t i = 0; r && i < hostile.queue->size; i++) {
		r->desc[i].state = (uint8_t)wire_random();
		r->desc[i].next = htole16((uint16_t)wire_random());
		r->desc[i].counter = htole64(wire_random());
	}
	_exit(0);
}

static void irq_flood(void)
{
	uint64_t end = wire_now_ms() + IRQ_FLOOD_MS;

	while (wire_now_ms() < end)
		queue_call(hostile.queue);
}

/* Counters at their most: who adds to them must not wait. */
static void events_full(void)
{
	const uint64_t most = ~1ull;

	if (write(hostile.queue->kick_fd, &most, sizeof(most)) < 0 ||
	    write(hostile.queue->call_fd, &most, sizeof(most)) < 0)
		queue_call(hostile.queue);
}

static void fence_junk(void)
{
	static char junk[65536];
	ssize_t n = write(hostile.dev->fence_fd, junk, sizeof(junk));

	(void)n;
	_exit(0);
}

const struct act acts_ring[] = {
	{"used-jump", ACT_KICK, used_jump},
	{"used-back", ACT_KICK, used_back},
	{"used-ids", ACT_KICK, used_ids},
	{"used-all", ACT_KICK, used_all},
	{"avail-all", ACT_KICK, avail_all},
	{"desc-all", ACT_KICK, desc_all},
	{"inflight-all", ACT_KICK, inflight_all},
	{"inflight-random", ACT_KICK, inflight_random},
	{"inflight-entries", ACT_KICK, inflight_entries},
	{"irq-flood", ACT_KICK, irq_flood},
	{"events-full", ACT_KICK, events_full},
	{"fence-junk", ACT_KICK, fence_junk},
	{0},
};
