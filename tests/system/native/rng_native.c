/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-rng in its sandbox: every kind of ring, stop and go on, reset, a
 * slow source, and drivers that break the rules.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/endian.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE (4 << 20)

static const uint64_t kinds[] = {
	DRIVER_F_VERSION1,
	DRIVER_F_VERSION1 | DRIVER_F_EVENT,
	DRIVER_F_VERSION1 | DRIVER_F_INDIRECT,
	DRIVER_F_VERSION1 | DRIVER_F_EVENT | DRIVER_F_INDIRECT,
	DRIVER_F_VERSION1 | DRIVER_F_PACKED,
	DRIVER_F_VERSION1 | DRIVER_F_PACKED | DRIVER_F_EVENT,
	DRIVER_F_VERSION1 | DRIVER_F_PACKED | DRIVER_F_INDIRECT,
	DRIVER_F_VERSION1 | DRIVER_F_PACKED | DRIVER_F_EVENT |
		DRIVER_F_INDIRECT,
};
#define NUM_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void start_source(struct peer *p, int source)
{
	Bulkhead__DeviceSetup setup;
	Bulkhead__RngSetup rng;
	char id[] = "_rng0";

	peer_spawn(p, "rng", MEM_SIZE);
	peer_hello(p);
	bulkhead__device_setup__init(&setup);
	bulkhead__rng_setup__init(&rng);
	setup.id = id;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_RNG;
	setup.rng = &rng;
	peer_setup(p, &setup, &source, 1);
	peer_check(p, p->virtio_id == 4 && p->num_queues == 1);
	peer_check(p, p->config_len == 0);
}

static void start(struct peer *p)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	peer_check(p, fd >= 0);
	start_source(p, fd);
	close(fd);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* One request of two buffers, the second across the regions' border. */
static void one_request(struct peer *p, struct peer_queue *q, uint64_t gpa,
			bool indirect)
{
	uint64_t middle = p->mem.gpa + p->mem.size / 2;
	struct driver_buf bufs[2] = {
		{gpa, 100, true},
		{middle - 50, 100, true},
	};
	uint8_t *a = driver_mem_ptr(&p->mem, gpa, 100);
	uint8_t *b = driver_mem_ptr(&p->mem, middle - 50, 100);
	uint32_t id, len;
	int want;

	memset(a, 0, 100);
	memset(b, 0, 100);
	want = driver_ring_add(&q->ring, bufs, 2, indirect);
	peer_check(p, want >= 0);
	peer_kick(q);
	peer_wait(q, &id, &len);
	peer_check(p, id == (uint32_t)want && len == 200);
	peer_check(p, !is_zero(a, 100) && !is_zero(a + 50, 50));
	peer_check(p, !is_zero(b, 50) && !is_zero(b + 50, 50));
}

static void test_kind(struct peer *p, uint64_t features)
{
	bool indirect = features & DRIVER_F_INDIRECT;
	struct peer_queue q;
	uint64_t gpa;
	uint32_t base;

	peer_negotiate(p, features);
	/* A size that is a power of two for split rings only. */
	peer_queue_start(p, &q, 0, features & DRIVER_F_PACKED ? 7 : 8);
	gpa = driver_mem_alloc(&p->mem, 4096, 4096);
	for (int i = 0; i < 40; i++)
		one_request(p, &q, gpa, indirect);
	for (int i = 0; i < 3; i++) {
		base = peer_queue_stop(p, &q);
		peer_queue_restart(p, &q, base);
		one_request(p, &q, gpa, indirect);
	}
	/* What was made available while it was stopped is found. */
	base = peer_queue_stop(p, &q);
	{
		struct driver_buf buf = {gpa, 64, true};
		uint32_t id, len;

		peer_check(p, driver_ring_add(&q.ring, &buf, 1, false) >= 0);
		driver_ring_publish(&q.ring);
		peer_queue_restart(p, &q, base);
		peer_wait(&q, &id, &len);
		peer_check(p, len == 64);
	}
	peer_reset(p);
	peer_queue_forget(&q);
	p->mem.next = 0;
}

static void test_kinds(void)
{
	struct peer p;

	start(&p);
	for (size_t i = 0; i < NUM_KINDS; i++)
		test_kind(&p, kinds[i]);
	peer_check(&p, p.num_needs_reset == 0);
	printf("rng: %s\nrng: %u system calls, %lu KiB\n", p.report, p.syscalls,
	       peer_pss(&p));
	peer_check(&p, p.syscalls && p.syscalls <= 12);
	peer_check(NULL, peer_end(&p) == 0);
}

/* A driver that breaks the rules is told, and a reset heals it. */
static void test_hostile(void)
{
	struct peer p;

	start(&p);
	for (size_t i = 0; i < NUM_KINDS; i++) {
		struct driver_buf bad = {0xffffffff00000000ull, 64, true};
		struct peer_queue q;

		peer_negotiate(&p, kinds[i]);
		peer_queue_start(&p, &q, 0, 8);
		driver_ring_add(&q.ring, &bad, 1, false);
		peer_kick_always(&q);
		peer_check(&p, peer_receive(&p, PEER_TIMEOUT_MS));
		peer_check(&p, p.num_needs_reset == i + 1);
		peer_kick_always(&q);
		peer_reset(&p);
		peer_queue_forget(&q);
		p.mem.next = 0;
		test_kind(&p, kinds[i]);
	}
	peer_check(NULL, peer_end(&p) == 0);
}

/* The source has bytes now and then; at its end nothing is made up. */
static void test_slow_source(void)
{
	struct driver_buf buf;
	struct peer_queue q;
	uint32_t id, len;
	struct peer p;
	int fds[2];

	peer_check(NULL, pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
	start_source(&p, fds[0]);
	peer_negotiate(&p, DRIVER_F_VERSION1 | DRIVER_F_EVENT);
	peer_queue_start(&p, &q, 0, 8);
	buf = (struct driver_buf){driver_mem_alloc(&p.mem, 64, 64), 64, true};
	for (int i = 0; i < 5; i++) {
		peer_check(&p, driver_ring_add(&q.ring, &buf, 1, false) >= 0);
		peer_kick(&q);
		peer_check(&p, !peer_try_wait(&q, 50, &id, &len));
		if (i % 2)
			peer_queue_restart(&p, &q, peer_queue_stop(&p, &q));
		peer_check(&p, write(fds[1], "entropy", 7) == 7);
		peer_wait(&q, &id, &len);
		peer_check(&p, len == 7);
		peer_check(&p, !memcmp(driver_mem_ptr(&p.mem, buf.gpa, 7),
				       "entropy", 7));
	}
	close(fds[1]);
	peer_check(&p, driver_ring_add(&q.ring, &buf, 1, false) >= 0);
	peer_kick(&q);
	peer_check(&p, peer_receive(&p, PEER_TIMEOUT_MS));
	peer_check(&p, p.num_backend_closed == 1);
	peer_check(&p, !peer_try_wait(&q, 50, &id, &len));
	peer_check(NULL, peer_end(&p) == 0);
	close(fds[0]);
}

static int status_only(struct peer *p, Bulkhead__DeviceBody *b)
{
	return peer_request(p, b, NULL, 0, NULL);
}

/* The session's rules, as the broker would see them broken. */
static void test_session(void)
{
	Bulkhead__DeviceBody body;
	Bulkhead__SetFeatures features;
	Bulkhead__StopQueue stop;
	Bulkhead__ConfigWrite write;
	Bulkhead__Hello hello;
	struct peer_queue q;
	uint8_t data[8] = {0};
	struct peer p;

	start(&p);
	bulkhead__device_body__init(&body);
	bulkhead__hello__init(&hello);
	hello.min_version = hello.max_version = 1;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_HELLO;
	body.hello = &hello;
	peer_check(&p, status_only(&p, &body) == -EPROTO);

	bulkhead__stop_queue__init(&stop);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE;
	body.stop_queue = &stop;
	peer_check(&p, status_only(&p, &body) == -EPROTO);
	stop.index = 1;
	peer_check(&p, status_only(&p, &body) == -EINVAL);

	bulkhead__set_features__init(&features);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
	body.set_features = &features;
	features.features = ~p.features | DRIVER_F_VERSION1;
	peer_check(&p, status_only(&p, &body) == -EINVAL);
	features.features = 0;
	peer_check(&p, status_only(&p, &body) == -EINVAL);

	bulkhead__config_write__init(&write);
	write.data.data = data;
	write.data.len = 4;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
	body.config_write = &write;
	peer_check(&p, status_only(&p, &body) == -EINVAL);

	peer_negotiate(&p, DRIVER_F_VERSION1);
	peer_queue_start(&p, &q, 0, 8);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
	body.set_features = &features;
	features.features = DRIVER_F_VERSION1;
	peer_check(&p, status_only(&p, &body) == -EBUSY);
	peer_check(NULL, peer_end(&p) == 0);
}

int main(void)
{
	test_kinds();
	test_hostile();
	test_slow_source();
	test_session();
	printf("rng: all passed\n");
	return 0;
}
