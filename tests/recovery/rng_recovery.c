/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a real bulkhead-rng with requests under way: each is completed exactly
 * once, with entropy.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE  (2 << 20)
#define RING_SIZE 32
#define BUF	  4096
#define KILLS	  60

static struct rng {
	struct peer p;
	struct peer_queue q;
	uint64_t buf[RING_SIZE];
	int slot[RING_SIZE];
	bool busy[RING_SIZE];
	unsigned int sent, done;
	int source;
} r;

#define must(cond) peer_check(&r.p, cond)

static void setup(void)
{
	Bulkhead__DeviceSetup s;
	Bulkhead__RngSetup rng;
	char id[] = "rng";

	peer_hello(&r.p);
	bulkhead__device_setup__init(&s);
	bulkhead__rng_setup__init(&rng);
	s.id = id;
	s.queue_size = RING_SIZE;
	s.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_RNG;
	s.rng = &rng;
	peer_setup(&r.p, &s, &r.source, 1);
	peer_inflight(&r.p);
}

static void ask(void)
{
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		struct driver_buf buf = {r.buf[i], BUF, true};
		int id;

		if (r.busy[i] || rand() % 2)
			continue;
		memset(driver_mem_ptr(&r.p.mem, r.buf[i], BUF), 0, BUF);
		id = driver_ring_add(&r.q.ring, &buf, 1, false);
		must(id >= 0);
		r.slot[id] = (int)i;
		r.busy[i] = true;
		r.sent++;
	}
	peer_kick(&r.q);
}

static void take(uint32_t id, uint32_t len)
{
	int slot = r.slot[id];
	const uint8_t *data = driver_mem_ptr(&r.p.mem, r.buf[slot], BUF);
	unsigned int zeroes = 0;

	must(r.busy[slot] && len && len <= BUF);
	for (uint32_t i = 0; i < len; i++)
		zeroes += !data[i];
	must(zeroes < len / 16 + 8);
	r.busy[slot] = false;
	r.done++;
}

static void storm(uint64_t features, const char *name)
{
	uint32_t id, len;

	memset(&r, 0, sizeof(r));
	features |= DRIVER_F_VERSION1;
	r.source = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	peer_spawn(&r.p, "rng", MEM_SIZE);
	setup();
	peer_negotiate(&r.p, features);
	for (unsigned int i = 0; i < RING_SIZE; i++)
		r.buf[i] = driver_mem_alloc(&r.p.mem, BUF, 16);
	peer_queue_start(&r.p, &r.q, 0, RING_SIZE);
	for (unsigned int i = 0; i < KILLS; i++) {
		for (int k = rand() % 30; k >= 0; k--) {
			ask();
			while (driver_ring_get(&r.q.ring, &id, &len))
				take(id, len);
		}
		peer_kill(&r.p);
		peer_respawn(&r.p);
		setup();
		peer_recover(&r.p, NULL, 0, i % 2);
		peer_negotiate(&r.p, features);
		peer_queue_restart(&r.p, &r.q, driver_ring_base(&r.q.ring));
	}
	while (r.done < r.sent) {
		peer_wait(&r.q, &id, &len);
		take(id, len);
	}
	must(!r.p.num_needs_reset && peer_end(&r.p) == 0);
	printf("rng %s: %u kills, %u requests: good\n", name, KILLS, r.done);
	fd_close(r.source);
}

int main(void)
{
	unsigned int seed = (unsigned int)time(NULL);

	printf("seed %u\n", seed);
	srand(seed);
	storm(DRIVER_F_EVENT, "split");
	storm(DRIVER_F_PACKED, "packed");
	return 0;
}
