/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SANDBOX_PROBE_H
#define TESTS_SANDBOX_PROBE_H

/*
 * What the test (check.c) and the confined program (probe.c) say to each
 * other over the channel, one datagram each way.
 */

#include <stdint.h>

#define PROBE_NAME_MAX 32
#define PROBE_HEAP     (1 << 20) /* bytes ready before lock-down */

/* In which stage a grandchild makes its attempt. */
enum probe_stage {
	PROBE_OUTER,	  /* what sandbox_spawn() did */
	PROBE_RESTRICTED, /* and sandbox_restrict() */
	PROBE_LOCKED,	  /* and sandbox_lock() */
	PROBE_NUM_STAGES,
};

struct probe_request {
	uint32_t stage;
	int32_t value; /* an argument, by attempt */
	char name[PROBE_NAME_MAX];
};

struct probe_reply {
	int32_t signal; /* that killed the grandchild, or 0 */
	int32_t error;	/* errno of the attempt, 0 = it worked */
	uint32_t done;	/* did the attempt come back at all? */
	uint32_t syscalls;
	char text[448]; /* of "report": layers and downgrades */
};

#endif
