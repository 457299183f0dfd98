/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LOAD_LOAD_H
#define TESTS_GUEST_LOAD_LOAD_H

/*
 * The parts of the load guest. Each drives one device and is polled by turns;
 * after load_stopping was set it finishes what is in flight, checks the whole,
 * and is done.
 */

#include "lib/clock.h"
#include "lib/guest.h"
#include "lib/virtio.h"
#include "load/pattern.h"

struct load {
	const char *name;
	bool (*init)(void);	    /* false: no such device */
	void (*poll)(uint64_t now); /* TSC */
	bool (*done)(void);
	void (*report)(void);
};

extern const struct load load_bait, load_blk, load_console, load_net, load_rng;

extern bool load_stopping;

/** load_fail() - "FAIL name: what a=.. b=.."; counted, the first ones printed;
 *  @a, @b: may be NULL */
void load_fail(const char *name, const char *what, const char *a, uint64_t va,
	       const char *b, uint64_t vb);

/** load_alloc() - guest_alloc() that does not fail */
void *load_alloc(size_t size);

/** load_random() - The next number of a sequence that seed= chooses */
uint64_t load_random(void);

/* At most so many events a second. */
struct load_pace {
	uint64_t ticks; /* 0 = no limit */
	uint64_t next;
};
/** load_pace_init() - From the option @name: per second, 0 = no limit */
void load_pace_init(struct load_pace *p, const char *name, uint64_t absent);
/** load_pace_take() - May it happen now? What was missed is not made up. */
bool load_pace_take(struct load_pace *p, uint64_t now);

/** load_stalled() - Is it longer ago than any device may take (stall=S)? */
bool load_stalled(uint64_t since, uint64_t now);

#endif
