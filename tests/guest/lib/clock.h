/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_CLOCK_H
#define TESTS_GUEST_LIB_CLOCK_H

/* Time by the TSC, and a record of the pauses between events. */

#include "lib/guest.h"

/** clock_init() - Find the TSC's frequency: CPUID, else the ACPI timer */
void clock_init(void);
uint64_t clock_us(uint64_t ticks);
uint64_t clock_ticks(uint64_t us);
uint64_t clock_khz(void);

#define GAPS_MAX    131072
#define GAPS_MIN_US 1000

struct gap {
	uint64_t end, ticks; /* TSC */
};

/* Pauses between consecutive events; the ones of a ms and more one by one. */
struct gaps {
	const char *name;
	uint64_t last; /* TSC; 0 = none yet */
	uint64_t max;
	uint64_t events;
	uint32_t count;
	struct gap *list;  /* of GAPS_MAX, pages; later ones are not kept */
	uint64_t saved_at; /* block of the disk; 0 = they are not */
};

#define GAPS_ALL_MAX 8
extern struct gaps *gaps_all[GAPS_ALL_MAX]; /* those begun, then NULL */

/** gaps_init() - Begin a record */
void gaps_init(struct gaps *g, const char *name);
/** gaps_event() - Something was completed now, at @tsc */
void gaps_event(struct gaps *g, uint64_t tsc);
/** gaps_rest() - Nothing is asked for: the next pause is not one */
static inline void gaps_rest(struct gaps *g)
{
	g->last = 0;
}
static inline uint32_t gaps_kept(const struct gaps *g)
{
	return g->count < GAPS_MAX ? g->count : GAPS_MAX;
}
/** gaps_print() - "GAPS name ..." */
void gaps_print(struct gaps *g);

#endif
