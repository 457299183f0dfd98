/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CRASHPOINT_CRASH_HOOK_H
#define TESTS_CRASHPOINT_CRASH_HOOK_H

/*
 * Included before everything else in the queue code under test: each store to
 * a ring or a region, and each write to an eventfd, asks first whether the
 * device dies here.
 */

#include <stddef.h>
#include <unistd.h>

enum crash_mutant {
	MUTANT_none,
	MUTANT_used_not_read,	    /* the region's index starts at 0 */
	MUTANT_cleared_early,	    /* before the completion is visible */
	MUTANT_batch_not_walked,    /* after a death between the two */
	MUTANT_counter_not_rebuilt, /* names are given again from 0 */
	MUTANT_flags_not_undone,    /* packed: of a batch taken back */
	NUM_MUTANTS,
};

extern enum crash_mutant crash_mutant;

/* May not return: the device is dead. */
void crash_store(void);
/* Instead of write(): kicks and interrupts. */
ssize_t crash_write(int fd, const void *data, size_t len);

#define QUEUE_STORE_HOOK() crash_store()
#define QUEUE_MUTANT(name) (crash_mutant == MUTANT_##name)
#ifdef CRASH_UNDER_TEST
#define write crash_write
#endif

#endif
