/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bait: a driver for every disk but the first, one small request at a time, of
 * which nothing is expected. A disk that answers wrongly, late or never is
 * reset and begun anew; nothing here waits. That the others go on at the same
 * time is what is tested.
 *
 *	RESET -> (status is 0) -> RUN -> (anything odd) -> RESET
 *
 * Spec: virtio 1.2, 2.7, 5.2
 */

#include "lib/pci.h"
#include "load/load.h"

#define BAIT_MAX     28
#define BAIT_SIZE    4	    /* of the ring */
#define BAIT_LATE_US 300000 /* for a request */
#define BAIT_PACE_US 20000  /* between requests, or looks at the status */
#define BAIT_WCE     32	    /* of the config space: the write cache */

#define F_FLUSH	     (1ull << 9)
#define F_CONFIG_WCE (1ull << 11)

#define T_GET_ID 8
#define ID_LEN	 20

#define DESC_NEXT  1
#define DESC_WRITE 2

struct bait_ring {
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[BAIT_SIZE];
	struct {
		uint16_t flags, idx, ring[BAIT_SIZE], event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[BAIT_SIZE];
		uint16_t event;
	} used __attribute__((aligned(4)));
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	uint8_t id[ID_LEN], status;
};

struct bait {
	struct virtio dev;
	volatile uint16_t *doorbell;
	struct bait_ring *r; /* a page of its own */
	bool running, asked;
	uint16_t count; /* requests since the reset */
	uint64_t next, late;
	uint64_t requests, resets, odd;
};

static struct bait baits[BAIT_MAX];
static unsigned int num_baits;
static uint64_t slowest; /* poll of one bait */

static void bait_run(struct bait *b)
{
	struct bait_ring *r = b->r;

	memset(r, 0, sizeof(*r));
	b->count = 0;
	b->asked = false;
	b->running = true;
	b->doorbell = virtio_queue_at(&b->dev, 0, BAIT_SIZE, r->desc, &r->avail,
				      &r->used);
	virtio_ready(&b->dev);
}

static bool bait_init(void)
{
	unsigned int slot = virtio_slot(VIRTIO_ID_BLK, 0);

	while (num_baits < BAIT_MAX) {
		struct bait *b = &baits[num_baits];

		slot = virtio_slot(VIRTIO_ID_BLK, slot + 1);
		if (slot >= PCI_SLOTS)
			break;
		virtio_find_at(slot, F_FLUSH | F_CONFIG_WCE, &b->dev);
		b->r = load_alloc(sizeof(*b->r));
		bait_run(b);
		num_baits++;
	}
	return num_baits;
}

static void bait_reset(struct bait *b, bool odd)
{
	b->odd += odd;
	b->running = false;
	b->resets++;
	virtio_reset_begin(&b->dev);
}

static void bait_ask(struct bait *b, uint64_t now)
{
	struct bait_ring *r = b->r;

	r->header.type = T_GET_ID;
	r->desc[0].addr = (uint64_t)&r->header;
	r->desc[0].len = sizeof(r->header);
	r->desc[0].flags = DESC_NEXT;
	r->desc[0].next = 1;
	r->desc[1].addr = (uint64_t)r->id;
	r->desc[1].len = ID_LEN + 1;
	r->desc[1].flags = DESC_WRITE;
	r->avail.ring[b->count % BAIT_SIZE] = 0;
	b->count++;
	__atomic_store_n(&r->avail.idx, b->count, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	b->late = now + clock_ticks(BAIT_LATE_US);
	b->asked = true;
	*b->doorbell = 0;
	/* The device has something to say about this, too. */
	b->dev.config[BAIT_WCE] = b->count & 1;
}

/* Return: is all well so far? */
static bool bait_look(struct bait *b, uint64_t now)
{
	struct bait_ring *r = b->r;
	uint16_t done = __atomic_load_n(&r->used.idx, __ATOMIC_ACQUIRE);

	if (done == (uint16_t)(b->count - 1))
		return now < b->late;
	if (done != b->count || r->used.ring[(done - 1) % BAIT_SIZE].id)
		return false;
	b->asked = false;
	b->requests++;
	return true;
}

static void bait_poll_one(struct bait *b, uint64_t now)
{
	if (!b->running) {
		if (!virtio_is_reset(&b->dev))
			return;
		virtio_begin(&b->dev, F_FLUSH | F_CONFIG_WCE);
		bait_run(b);
	} else if (b->asked && !bait_look(b, now)) {
		bait_reset(b, true);
	} else if (virtio_broken(&b->dev)) {
		bait_reset(b, false);
	} else if (!b->asked) {
		bait_ask(b, now);
	}
}

static void bait_poll(uint64_t now)
{
	for (unsigned int i = 0; i < num_baits && !load_stopping; i++) {
		struct bait *b = &baits[i];
		uint64_t start = rdtsc();

		if (now < b->next)
			continue;
		b->next = now + clock_ticks(BAIT_PACE_US);
		bait_poll_one(b, now);
		if (rdtsc() - start > slowest)
			slowest = rdtsc() - start;
	}
}

static bool bait_done(void)
{
	return load_stopping;
}

static void bait_report(void)
{
	for (unsigned int i = 0; i < num_baits; i++) {
		guest_puts("BAIT");
		guest_put_pair("slot", baits[i].dev.slot);
		guest_put_pair("requests", baits[i].requests);
		guest_put_pair("resets", baits[i].resets);
		guest_put_pair("odd", baits[i].odd);
		guest_puts("\n");
	}
	guest_puts("BAITS");
	guest_put_pair("num", num_baits);
	guest_put_pair("slowest_us", clock_us(slowest));
	guest_puts("\n");
}

const struct load load_bait = {"bait", bait_init, bait_poll, bait_done,
			       bait_report};
