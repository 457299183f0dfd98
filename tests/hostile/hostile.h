/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

/*
 * The parts of the hostile device: the real bulkhead-blk, in its real sandbox,
 * which turns against broker, core and driver as the script on its disk says
 * (README.md).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/virtio/device.h"

/* When an act takes place */
enum act_when {
	ACT_OPEN,  /* DeviceSetup has come: nothing is answered yet */
	ACT_INFO,  /* hostile.out is the answer to DeviceSetup */
	ACT_REPLY, /* hostile.out is another answer; may be set to NULL */
	ACT_KICK,  /* in service, with hostile.queue */
};

struct act {
	const char *name;
	enum act_when when;
	void (*fn)(void);
};

#define HOSTILE_ACTS_MAX 4

struct hostile {
	struct device *dev;
	struct queue *queue;
	Bulkhead__DeviceMessage *out;
	uint32_t life; /* counts the starts of this program, per disk */
	const struct act *acts[HOSTILE_ACTS_MAX]; /* of this life */
	unsigned int num_acts;
	unsigned int kicks;
	uint32_t asked[64]; /* number of the broker's latest of each kind, */
	uint32_t latest;    /* and of all */
	/* The control thread reads no more; the worker answers unread. */
	volatile bool deaf;
};
extern struct hostile hostile;

/* ---- wire.c: messages past the runtime's own checks ---- */

void wire_raw(const void *data, size_t len, const int *fds,
	      unsigned int num_fds);
/** wire_pack() - @m into one static buffer; Return: bytes */
size_t wire_pack(const Bulkhead__DeviceMessage *m, uint8_t **ret);
void wire_message(const Bulkhead__DeviceMessage *m, const int *fds,
		  unsigned int num_fds);
/** wire_body() - A message that is no answer */
void wire_body(Bulkhead__DeviceBody *body, const int *fds,
	       unsigned int num_fds);
void wire_answer(uint32_t seq, int code, const char *text,
		 Bulkhead__DeviceBody *body);
/** wire_config() - ConfigChanged to @len bytes */
void wire_config(size_t len);
void wire_needs_reset(const char *reason);
void wire_closed(const char *reason);
/** wire_hello() - The honest answer to Hello */
void wire_hello(void);
void wire_log(const char *text, size_t len);
uint64_t wire_now_ms(void);
void wire_spin(unsigned int ms);
uint64_t wire_random(void);

/* What must not reach a log, a terminal or an operator as it is */
#define WIRE_FORGED                                                            \
	"no\"\nevent=device-lost device=forged reason=\"\033[31mforged\377"

/* ---- acts ---- */

extern const struct act acts_message[], acts_start[], acts_ring[];

/** acts_run() - Those of this life whose time is @when */
void acts_run(enum act_when when);

#endif
