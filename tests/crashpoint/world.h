/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CRASHPOINT_WORLD_H
#define TESTS_CRASHPOINT_WORLD_H

/*
 * A driver, a device and what lies between them, all in one thread, in steps
 * that depend on nothing but the scenario: the same crash points give the same
 * run. The driver sleeps until it is interrupted and the device until it is
 * kicked, so a lost wake-up is a run that never ends.
 */

#include <stdbool.h>
#include <stdint.h>

struct scenario {
	unsigned int size;  /* of the queue */
	unsigned int batch; /* chains taken between two flushes */
	bool packed, event_idx, indirect;
	bool lifo;   /* a batch is completed newest first */
	bool keep;   /* one of each batch stays in flight meanwhile */
	bool awake;  /* the driver goes on while the device is dead */
	bool unpop;  /* every third chain is given back once */
	bool turned; /* indexes begin just before they wrap */
	bool careful;
};

#define WORLD_CRASHES_MAX 2

enum world_end {
	WORLD_DONE,    /* all is well */
	WORLD_NO_TIME, /* ended before the last crash point: all were seen */
	WORLD_BAD,
};

/**
 * world_run() - One run to the end, dying before store crash[i] of life i
 * @ret_why: On WORLD_BAD, a literal
 */
enum world_end world_run(const struct scenario *s, const unsigned int *crash,
			 unsigned int num_crashes, const char **ret_why);

#endif
