/* SPDX-License-Identifier: Apache-2.0 */

/* Spec: virtio 1.2, 5.4 */

#include "hostile/hostile.h"

#define GOOD   64
#define MARKER 0xa5

static uint8_t bytes[GOOD];
static struct act act;

static void rng_make(struct act *a)
{
	act_buf(a, scratch, 256, true);
}

static void rng_ask(void)
{
	const struct vq_buf buf = {bytes, GOOD, true};

	memset(bytes, MARKER, sizeof(bytes));
	ring_post(&target_rng.rings[0], &buf, 1);
}

static bool rng_answered(void)
{
	unsigned int same = 0;
	uint32_t len;

	if (!ring_wait(&target_rng.rings[0], &len) || !len || len > GOOD)
		return false;
	for (uint32_t i = 0; i < len; i++)
		same += bytes[i] == MARKER;
	return same <= len / 4 + 4;
}

static void rng_cheap(struct act *a)
{
	act_buf(a, scratch, 0, true);
}

static void rng_requests(void)
{
	act_begin(&act, &target_rng, 0);
	act_buf(&act, scratch, 0, true);
	act_run(&act, "request of 0 bytes", USED);
	act_begin(&act, &target_rng, 0);
	act_buf(&act, scratch, 256, false);
	act_run(&act, "nothing to write to", USED);
	act_begin(&act, &target_rng, 0);
	act_buf(&act, scratch, 256, false);
	act_buf(&act, scratch, 256, true);
	act_run(&act, "something to read first", USED);
	act_begin(&act, &target_rng, 0);
	while (act.n < CHAIN_MAX)
		act_buf(&act, scratch, 1, true);
	act_run(&act, "64 bytes in 64 pieces", USED);
	act_begin(&act, &target_rng, 0);
	while (act.n < 32)
		act_buf(&act, (void *)0x100000, (uint32_t)ram_end - 0x100000,
			false);
	act_run(&act, "2 GiB to read", USED);
	act_begin(&act, &target_rng, 0);
	while (act.n < 32)
		act_buf(&act, scratch, SCRATCH, true);
	act_run(&act, "4 MiB to fill", USED);
}

struct target target_rng = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.num_queues = 1,
	.queues = {0},
	.ask = rng_ask,
	.answered = rng_answered,
	.requests = rng_requests,
	.make = rng_make,
	.busy = rng_make,
	.cheap = rng_cheap,
};
