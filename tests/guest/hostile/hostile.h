/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_HOSTILE_HOSTILE_H
#define TESTS_GUEST_HOSTILE_HOSTILE_H

/*
 * A guest that breaks the rules. An act is one thing done to one device, and
 * after each act three things must hold:
 *
 *   - the device has answered as the specification says: with a status, or by
 *     asking for a reset (DEVICE_NEEDS_RESET);
 *   - the other devices serve a good request, within a bound, while this one
 *     is still as the act left it;
 *   - so does this one, after a reset unless it had simply answered.
 */

#include "lib/clock.h"
#include "lib/guest.h"
#include "lib/virtio.h"
#include "lib/virtio_regs.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define BOUND_US     5000000 /* for any answer; a busy host is slow */
#define QUIET_US     2000    /* when silence is an answer, too */
#define FAILURES_MAX 20

/* What a device does about an act; also as a set. */
enum outcome { NOTHING = 1, USED = 2, RESET = 4 };
#define ANSWER (USED | RESET)
#define ANY    (NOTHING | USED | RESET)

/* ---- rings: hostile_ring.c ---- */

#define RING_SIZE 64
#define RING_GOOD 48 /* first descriptor or id of good requests; acts' is 0 */
#define CHAIN_MAX RING_SIZE
#define TABLE_MAX 1100
#define NO_STATUS (-1)

struct ring {
	uint16_t index, size;
	bool packed;
	struct vq_desc *desc;
	void *driver, *device;
	volatile uint16_t *doorbell;
	uint16_t avail, used; /* split: counts; packed: places */
	bool avail_wrap, used_wrap;
	uint8_t slots[RING_SIZE]; /* packed: of a chain, by id */
};

/** ring_reset() - Empty, as at the start */
void ring_reset(struct ring *r, bool packed);
/**
 * ring_put() - Make descriptors available, whatever they say
 * @at:   Split: their first place
 * @d:    a: flags; b: next (split), id (packed)
 * @head: Split: what the available ring names
 * @jump: Split: how far the available index goes
 */
void ring_put(struct ring *r, uint16_t at, const struct vq_desc *d,
	      unsigned int n, uint16_t head, uint16_t jump);
bool ring_get(struct ring *r, uint32_t *ret_id, uint32_t *ret_len);
void ring_kick(const struct ring *r);

/** ring_post() - A good chain, and a kick */
void ring_post(struct ring *r, const struct vq_buf *bufs, unsigned int n);
/** ring_wait() - Its completion; Return: false if it does not come */
bool ring_wait(struct ring *r, uint32_t *ret_len);
/* Called while a completion is waited for; NULL: nothing to do */
extern void (*ring_meanwhile)(void);
bool ring_do(struct ring *r, const struct vq_buf *bufs, unsigned int n,
	     uint32_t *ret_len);

/* ---- devices: hostile_target.c ---- */

struct act;

struct target {
	const char *name;
	uint16_t id;
	uint64_t features; /* asked for, where they are offered */
	unsigned int num_queues;
	uint16_t queues[3]; /* their indexes in the device */
	/* A request that must work, and whether it did */
	void (*ask)(void);
	bool (*answered)(void);
	void (*started)(void);	/* after a reset; may be NULL */
	void (*requests)(void); /* acts of this device's own */
	/* Into @a: a well-formed request; one that takes a while; one that the
	 * device is done with at once, not more than two descriptors */
	void (*make)(struct act *a);
	void (*busy)(struct act *a);
	void (*cheap)(struct act *a);
	/* Make the device use what it was given; NULL: it does at once */
	void (*provoke)(unsigned int queue);
	/* Something good by the device's other queues; NULL: it has none */
	bool (*aside)(unsigned int queue);

	bool there, up;
	bool fresh; /* nothing was written since its reset */
	uint64_t offered;
	struct virtio dev;
	struct ring rings[3];
	/* What happened. */
	uint64_t acts, outcomes[RESET + 1], statuses[4], resets, served,
		flooded;
	uint64_t good_max; /* ticks */
};

#define NUM_TARGETS 4
extern struct target target_blk, target_net, target_console, target_rng;
extern struct target *const targets[NUM_TARGETS];

void target_find(struct target *t);
/** target_agree() - Reset, unless it was, then the driver's part up to
 * FEATURES_OK
 *  @features: Asked for, where they are offered */
bool target_agree(struct target *t, uint64_t features);
/** target_queue() - Tell the device where a ring is; does not enable it */
void target_queue(struct target *t, unsigned int queue);
/** target_start() - Bring up a device, whatever it is in */
bool target_start(struct target *t);
bool target_start_with(struct target *t, uint64_t features);
/** target_reset() - Return: false if it does not end */
bool target_reset(struct target *t);
/** target_good() - A good request; counts, and complains */
bool target_good(struct target *t, const char *when);
/** target_others_good() - All but @t (NULL: all) serve good requests */
void target_others_good(const struct target *t, const char *when);
/** target_recover() - @t as the act left it: others, a reset, itself */
void target_recover(struct target *t, const char *what);
uint64_t target_bar(const struct target *t);

/* ---- acts: hostile_act.c ---- */

struct act {
	struct target *t;
	unsigned int queue;
	struct vq_desc d[CHAIN_MAX];
	unsigned int n;
	uint16_t head, jump;
	volatile uint8_t *status; /* in RAM; NULL = none */
	int want_status;	  /* NO_STATUS: any */
	bool no_room;		  /* how much may be written is not known */
	bool dirty;		  /* the ring makes no sense any more */
};

/** act_begin() - Nothing in it yet; the device is up */
void act_begin(struct act *a, struct target *t, unsigned int queue);
/** act_make() - act_begin() with a well-formed request */
void act_make(struct act *a, struct target *t, unsigned int queue);
void act_buf(struct act *a, const void *addr, uint32_t len, bool device_writes);
/** act_table() - All of it becomes one indirect table; its entries */
struct vq_desc *act_table(struct act *a);
/** act_run() - Do it, and see to what follows
 *  @allowed: Outcomes */
void act_run(struct act *a, const char *what, unsigned int allowed);
/** act_note() - An act without a ring; target_recover() follows */
void act_note(struct target *t);
/** act_check() - The device must have done this */
void act_check(const struct target *t, const char *what, bool good);
/** act_sees_reset() - NEEDS_RESET comes, for act_note() */
bool act_sees_reset(struct target *t, const char *what);

/* ---- kinds of acts ---- */

void ring_acts(struct target *t);   /* descriptors, tables, indexes */
void random_acts(struct target *t); /* chains of nonsense, and races */
void setup_acts(struct target *t);  /* status, features, queues */
void pci_acts(struct target *t);    /* config space, BARs, MSI-X */
void reset_acts(struct target *t);  /* in the middle of requests */
void flood_acts(struct target *t);  /* more requests without end */

/* ---- hostile.c ---- */

/** hostile_fail() - "FAIL device: what (name value)"; counted; too many end it
 *  @name: May be NULL */
void hostile_fail(const char *device, const char *what, const char *name,
		  uint64_t value);
void *hostile_alloc(size_t size);
uint64_t hostile_random(void);
extern uint64_t ram_end;      /* of the RAM below 4 GiB */
extern uint8_t *scratch;      /* SCRATCH bytes of RAM, for anything */
extern struct vq_desc *table; /* TABLE_MAX entries */
#define SCRATCH 0x20000u

/* Places that are not RAM. */
#define NUM_NOWHERE 10
extern const uint64_t nowhere[NUM_NOWHERE];

#endif
