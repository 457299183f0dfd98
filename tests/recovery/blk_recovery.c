/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a real bulkhead-blk under load, again and again: a shadow of the disk
 * holds what the driver was told; every read and, at the end, the image itself
 * must agree.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE  (8 << 20)
#define BLOCK	  4096
#define BLOCKS	  256
#define SLOTS	  16
#define RING_SIZE 64
#define KILLS	  30

struct slot {
	uint64_t header, data, status;
	bool busy, write;
	unsigned int block;
};

static struct disk {
	struct peer p;
	struct peer_queue q;
	struct slot slots[SLOTS];
	int slot_of[RING_SIZE];
	uint64_t shadow[BLOCKS]; /* version that the driver was told of */
	uint64_t version;
	bool taken[BLOCKS];
	int fd, look;
	unsigned int done, busy;
} d;

#define must(cond) peer_check(&d.p, cond)

static void *at(uint64_t gpa, uint64_t len)
{
	return driver_mem_ptr(&d.p.mem, gpa, len);
}

static void setup(bool uring)
{
	Bulkhead__DeviceSetup s;
	Bulkhead__BlkSetup blk;
	char id[] = "disk";

	peer_hello(&d.p);
	bulkhead__device_setup__init(&s);
	bulkhead__blk_setup__init(&blk);
	s.id = id;
	s.num_queues = 1;
	s.queue_size = RING_SIZE;
	s.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_BLK;
	s.blk = &blk;
	s.fence = true;
	blk.size = BLOCKS * BLOCK;
	blk.logical_block = 512;
	blk.no_io_uring = !uring;
	peer_setup(&d.p, &s, &d.fd, 1);
	peer_inflight(&d.p);
}

static void replace(bool uring, uint64_t features, bool careful)
{
	peer_kill(&d.p);
	must(peer_fence_wait(&d.p, PEER_TIMEOUT_MS));
	peer_respawn(&d.p);
	setup(uring);
	peer_recover(&d.p, NULL, 0, careful);
	peer_negotiate(&d.p, features);
	peer_queue_restart(&d.p, &d.q, driver_ring_base(&d.q.ring));
}

static void fill(uint8_t *data, unsigned int block, uint64_t version)
{
	for (unsigned int i = 0; i < BLOCK; i += 16) {
		put_le64(data + i, version);
		put_le64(data + i + 8, block);
	}
}

static void check_block(const uint8_t *data, unsigned int block)
{
	uint64_t version = d.shadow[block];

	for (unsigned int i = 0; i < BLOCK; i += 16)
		if (get_le64(data + i) != version ||
		    get_le64(data + i + 8) != (version ? block : 0))
			peer_fail(&d.p, "block %u has version %llu, not %llu",
				  block, (unsigned long long)get_le64(data + i),
				  (unsigned long long)version);
}

static bool submit(bool indirect)
{
	unsigned int s = 0, block = (unsigned int)rand() % BLOCKS;
	struct driver_buf bufs[3];
	struct slot *l;
	int id;

	while (s < SLOTS && d.slots[s].busy)
		s++;
	if (s == SLOTS || d.taken[block])
		return false;
	l = &d.slots[s];
	l->block = block;
	l->write = rand() % 3;
	put_le32(at(l->header, 4), l->write ? VIRTIO_BLK_T_OUT : 0);
	put_le64(at(l->header + 8, 8), block * (BLOCK / 512));
	*(uint8_t *)at(l->status, 1) = 0xee;
	if (l->write)
		fill(at(l->data, BLOCK), block, ++d.version);
	bufs[0] = (struct driver_buf){l->header, 16, false};
	bufs[1] = (struct driver_buf){l->data, BLOCK, !l->write};
	bufs[2] = (struct driver_buf){l->status, 1, true};
	id = driver_ring_add(&d.q.ring, bufs, 3, indirect && rand() % 2);
	if (id < 0)
		return false;
	d.slot_of[id] = (int)s;
	l->busy = d.taken[block] = true;
	d.busy++;
	return true;
}

static void complete(uint32_t id)
{
	struct slot *l = &d.slots[d.slot_of[id]];

	must(l->busy);
	must(*(uint8_t *)at(l->status, 1) == VIRTIO_BLK_S_OK);
	if (l->write)
		d.shadow[l->block] = get_le64(at(l->data, 8));
	else
		check_block(at(l->data, BLOCK), l->block);
	l->busy = d.taken[l->block] = false;
	d.done++;
	d.busy--;
}

static void load(unsigned int rounds, bool indirect)
{
	uint32_t id, len;

	for (unsigned int i = 0; i < rounds; i++) {
		for (int n = rand() % 6; n; n--)
			submit(indirect);
		peer_kick(&d.q);
		if (rand() % 4 == 0 && d.busy &&
		    peer_try_wait(&d.q, 2000, &id, &len))
			complete(id);
		while (driver_ring_get(&d.q.ring, &id, &len))
			complete(id);
	}
}

static void finish(void)
{
	uint32_t id, len;

	while (d.busy) {
		peer_wait(&d.q, &id, &len);
		complete(id);
	}
}

static void open_disk(bool uring, uint64_t features)
{
	char path[] = "/var/tmp/blk_recovery.XXXXXX";

	memset(&d, 0, sizeof(d));
	d.look = mkostemp(path, O_CLOEXEC);
	must(d.look >= 0 && ftruncate(d.look, BLOCKS * BLOCK) == 0);
	d.fd = open(path, O_RDWR | O_CLOEXEC);
	must(d.fd >= 0 && unlink(path) == 0);
	peer_spawn(&d.p, "blk", MEM_SIZE);
	setup(uring);
	peer_negotiate(&d.p, features);
	for (unsigned int i = 0; i < SLOTS; i++) {
		d.slots[i].header = driver_mem_alloc(&d.p.mem, 16, 16);
		d.slots[i].data = driver_mem_alloc(&d.p.mem, BLOCK, BLOCK);
		d.slots[i].status = driver_mem_alloc(&d.p.mem, 1, 1);
	}
	peer_queue_start(&d.p, &d.q, 0, RING_SIZE);
}

static void close_disk(void)
{
	static uint8_t data[BLOCK];

	must(peer_end(&d.p) == 0);
	for (unsigned int i = 0; i < BLOCKS; i++) {
		must(pread(d.look, data, BLOCK, (off_t)i * BLOCK) == BLOCK);
		check_block(data, i);
	}
	close(d.fd);
	close(d.look);
}

static void storm(uint64_t features, bool uring, const char *name)
{
	features |= DRIVER_F_VERSION1 | 1ULL << VIRTIO_BLK_F_FLUSH;
	open_disk(uring, features);
	for (unsigned int i = 0; i < KILLS; i++) {
		load(20 + (unsigned int)rand() % 200,
		     features & DRIVER_F_INDIRECT);
		replace(uring, features, i % 3 == 2);
		must(peer_ping(&d.p, PEER_TIMEOUT_MS));
	}
	load(100, features & DRIVER_F_INDIRECT);
	finish();
	must(!d.p.num_needs_reset);
	printf("blk %s: %u kills, %u requests: good\n", name, KILLS, d.done);
	close_disk();
}

int main(void)
{
	unsigned int seed = (unsigned int)time(NULL);

	printf("seed %u\n", seed);
	srand(seed);
	storm(0, true, "split");
	storm(DRIVER_F_EVENT | DRIVER_F_INDIRECT, true, "split, event index");
	storm(DRIVER_F_PACKED, true, "packed");
	storm(DRIVER_F_PACKED | DRIVER_F_EVENT | DRIVER_F_INDIRECT, true,
	      "packed, event index");
	storm(DRIVER_F_PACKED | DRIVER_F_EVENT, false, "packed, no io_uring");
	return 0;
}
