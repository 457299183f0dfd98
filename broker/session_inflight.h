/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_SESSION_INFLIGHT_H
#define BROKER_SESSION_INFLIGHT_H

/*
 * The memfd in which a device notes the requests that it has taken from the
 * guest and not yet completed (common/base/inflight_layout.h). The broker
 * keeps it from one process to the next and reads it, as hostile input, when
 * one dies: a request that is being served at three deaths is poison.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define INFLIGHT_POISON_MAX   64
#define INFLIGHT_SUSPECTS_MAX 512
#define INFLIGHT_LIST_MAX     1024 /* of one queue */
#define INFLIGHT_DEATHS	      3

struct session;

/* A request that was in flight when a process died. */
struct inflight_suspect {
	uint64_t counter; /* names it among the device's requests */
	uint32_t deaths;
	bool served; /* alone, at the last death */
};

struct session_inflight {
	int fd;
	uint64_t stride, size;	/* bytes */
	void *map;		/* read-only */
	unsigned int num_taken; /* at the last death, for the log */
	struct inflight_suspect suspects[INFLIGHT_SUSPECTS_MAX];
	unsigned int num_suspects;
	uint64_t poison[INFLIGHT_POISON_MAX]; /* counters */
	unsigned int num_poison;
};

/** session_inflight_new() - A fresh region for the device as it described
 *  itself; the former one is forgotten */
int session_inflight_new(struct session *s, struct err *e);
/** session_inflight_adopt() - A dead broker's; @fd: taken over on success */
int session_inflight_adopt(struct session *s, int *fd, uint64_t stride,
			   struct err *e);
void session_inflight_free(struct session *s);

/** session_inflight_note_death() - Count what was being served */
void session_inflight_note_death(struct session *s);

#endif
