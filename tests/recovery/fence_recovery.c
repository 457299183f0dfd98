/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that keeps requests waiting: a loop device whose file lies in a file
 * system that is frozen. What a killed bulkhead-blk left in the kernel lands
 * when the disk goes on, after the process is gone; the fence must not tell of
 * its end before. Then: what the region says is in flight, and a request that
 * is not to be served again.
 *
 * Needs root, loop devices and ext4; else it is skipped (77).
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "common/base/inflight_layout.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE   (8 << 20)
#define RING_SIZE  16
#define BLOCK	   4096
#define OUTER_SIZE (48 << 20)
#define DISK_SIZE  (4 << 20)
#define WRITES	   4

static struct world {
	char dir[64];
	int outer_loop, inner_loop, frozen_fd; /* frozen_fd: -1 = running */
	int outer_file, inner_file, look;
	bool mounted;
	int disk; /* what the device gets: O_DIRECT */
	struct peer p;
	struct peer_queue q;
	uint64_t header[WRITES], data[WRITES], status[WRITES];
	int ids[WRITES];
} w = {.outer_loop = -1, .inner_loop = -1, .frozen_fd = -1};

#define must(cond) peer_check(&w.p, cond)

static void thaw(void)
{
	if (w.frozen_fd < 0)
		return;
	ioctl(w.frozen_fd, FITHAW, 0);
	w.frozen_fd = fd_close(w.frozen_fd);
}

static void freeze(void)
{
	int fd = open(w.dir, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && ioctl(fd, FIFREEZE, 0) == 0);
	w.frozen_fd = fd;
}

/* However the test ends: nothing stays frozen or mounted. */
static void clean_up(void)
{
	thaw();
	fd_close(w.disk);
	fd_close(w.look);
	if (w.inner_loop >= 0)
		ioctl(w.inner_loop, LOOP_CLR_FD, 0);
	fd_close(w.inner_loop);
	fd_close(w.inner_file);
	if (w.mounted)
		umount2(w.dir, MNT_DETACH);
	if (w.outer_loop >= 0)
		ioctl(w.outer_loop, LOOP_CLR_FD, 0);
	fd_close(w.outer_loop);
	fd_close(w.outer_file);
	if (w.dir[0])
		rmdir(w.dir);
}

_Noreturn static void skip(const char *what)
{
	printf("skipped: %s: %m\n", what);
	exit(77);
}

static int loop_over(int file, char *path, size_t len)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config c = {.fd = (uint32_t)file};
	int n, fd;

	if (control < 0)
		skip("loop devices");
	n = ioctl(control, LOOP_CTL_GET_FREE);
	fd_close(control);
	snprintf(path, len, "/dev/loop%d", n);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (n < 0 || fd < 0 || ioctl(fd, LOOP_CONFIGURE, &c) < 0)
		skip(path);
	return fd;
}

static void make_disk(void)
{
	char outer[] = "/var/tmp/fence_recovery.XXXXXX", path[128];
	int status;
	pid_t pid;

	if (getuid() != 0)
		skip("not root");
	w.outer_file = mkostemp(outer, O_CLOEXEC);
	if (w.outer_file < 0 || ftruncate(w.outer_file, OUTER_SIZE) < 0)
		skip(outer);
	pid = fork();
	if (pid == 0) {
		execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", outer, NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	unlink(outer);
	if (status)
		skip("mkfs.ext4");
	w.outer_loop = loop_over(w.outer_file, path, sizeof(path));
	strcpy(w.dir, "/var/tmp/fence_recovery.XXXXXX");
	if (!mkdtemp(w.dir) || mount(path, w.dir, "ext4", 0, NULL) < 0)
		skip("mount");
	w.mounted = true;
	snprintf(path, sizeof(path), "%s/disk", w.dir);
	w.inner_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(w.inner_file >= 0 &&
	     posix_fallocate(w.inner_file, 0, DISK_SIZE) == 0);
	w.inner_loop = loop_over(w.inner_file, path, sizeof(path));
	w.disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	w.look = open(path, O_RDONLY | O_CLOEXEC);
	must(w.disk >= 0 && w.look >= 0);
}

static const uint64_t features =
	DRIVER_F_VERSION1 | DRIVER_F_PACKED | 1ULL << VIRTIO_BLK_F_FLUSH;

static void setup(const uint64_t *poison, size_t num)
{
	Bulkhead__DeviceSetup s;
	Bulkhead__BlkSetup blk;
	char id[] = "disk";

	peer_hello(&w.p);
	bulkhead__device_setup__init(&s);
	bulkhead__blk_setup__init(&blk);
	s.id = id;
	s.num_queues = 1;
	s.queue_size = RING_SIZE;
	s.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_BLK;
	s.blk = &blk;
	s.fence = true;
	blk.size = DISK_SIZE;
	blk.direct = blk.is_block_device = true;
	blk.logical_block = 512;
	blk.dma_alignment = 512;
	peer_setup(&w.p, &s, &w.disk, 1);
	peer_inflight(&w.p);
	if (num)
		peer_recover(&w.p, poison, num, true);
	peer_negotiate(&w.p, features);
}

static void *at(uint64_t gpa, uint64_t len)
{
	return driver_mem_ptr(&w.p.mem, gpa, len);
}

static void send_writes(uint8_t pattern)
{
	for (unsigned int i = 0; i < WRITES; i++) {
		struct driver_buf bufs[3] = {
			{w.header[i], 16, false},
			{w.data[i], BLOCK, false},
			{w.status[i], 1, true},
		};

		put_le32(at(w.header[i], 4), VIRTIO_BLK_T_OUT);
		put_le64(at(w.header[i] + 8, 8), i * (BLOCK / 512));
		memset(at(w.data[i], BLOCK), pattern + (int)i, BLOCK);
		*(uint8_t *)at(w.status[i], 1) = 0xee;
		w.ids[i] = driver_ring_add(&w.q.ring, bufs, 3, false);
		must(w.ids[i] >= 0);
	}
	peer_kick(&w.q);
}

static uint8_t on_disk(unsigned int block)
{
	static uint8_t data[BLOCK] __attribute__((aligned(BLOCK)));

	must(pread(w.disk, data, BLOCK, (off_t)block * BLOCK) == BLOCK);
	for (unsigned int i = 1; i < BLOCK; i++)
		must(data[i] == data[0]);
	return data[0];
}

static int list(struct inflight_entry *ret)
{
	return inflight_list(w.p.inflight, w.p.stride, 0, ret, RING_SIZE);
}

/* Wait until the device has taken all of them. */
static void wait_taken(void)
{
	struct inflight_entry e[RING_SIZE];

	for (int i = 0; list(e) < WRITES; i++) {
		must(i < 1000);
		usleep(10000);
	}
}

static unsigned int collect(void)
{
	unsigned int errors = 0;
	uint32_t id, len;

	for (unsigned int i = 0; i < WRITES; i++) {
		unsigned int n = 0;

		peer_wait(&w.q, &id, &len);
		while (n < WRITES && w.ids[n] != (int)id)
			n++;
		must(n < WRITES);
		w.ids[n] = -1; /* none comes twice */
		errors += *(uint8_t *)at(w.status[n], 1) == VIRTIO_BLK_S_IOERR;
	}
	return errors;
}

static void start(void)
{
	peer_spawn(&w.p, "blk", MEM_SIZE);
	setup(NULL, 0);
	for (unsigned int i = 0; i < WRITES; i++) {
		w.header[i] = driver_mem_alloc(&w.p.mem, 16, 16);
		w.data[i] = driver_mem_alloc(&w.p.mem, BLOCK, BLOCK);
		w.status[i] = driver_mem_alloc(&w.p.mem, 1, 1);
	}
	peer_queue_start(&w.p, &w.q, 0, RING_SIZE);
}

static void fence_holds(void)
{
	struct inflight_entry e[RING_SIZE];

	freeze();
	send_writes(0x40);
	wait_taken();
	must(peer_ping(&w.p, PEER_TIMEOUT_MS)); /* it waits, it doesn't hang */
	must(!peer_fence_wait(&w.p, 0));
	peer_kill(&w.p); /* returns when the process is gone */
	must(list(e) == WRITES);
	must(!peer_fence_wait(&w.p, 500));
	printf("the process is gone, %d of its requests are not: good\n",
	       WRITES);
	thaw();
	must(peer_fence_wait(&w.p, PEER_TIMEOUT_MS));
	for (unsigned int i = 0; i < WRITES; i++)
		must(on_disk(i) == 0x40 + i);
	printf("all had landed when the fence fell: good\n");
}

static void poison_is_refused(void)
{
	struct inflight_entry e[RING_SIZE];
	uint64_t name;

	must(list(e) == WRITES);
	name = e[0].counter;
	peer_respawn(&w.p);
	setup(&name, 1);
	peer_queue_restart(&w.p, &w.q, driver_ring_base(&w.q.ring));
	must(collect() == 1);
	must(list(e) == 0);
	printf("one of %d was refused: good\n", WRITES);
}

/* Recover.careful: one at a time, and the region tells which. */
static void careful_tells(void)
{
	struct inflight_entry e[RING_SIZE];
	uint64_t none = UINT64_MAX;
	int served = 0, n = 0;

	freeze();
	send_writes(0x50);
	wait_taken();
	peer_kill(&w.p);
	thaw();
	must(peer_fence_wait(&w.p, PEER_TIMEOUT_MS));
	freeze();
	peer_respawn(&w.p);
	setup(&none, 1);
	peer_queue_restart(&w.p, &w.q, driver_ring_base(&w.q.ring));
	must(peer_ping(&w.p, PEER_TIMEOUT_MS));
	for (int i = 0; i < 1000 && !served; i++) {
		n = list(e);
		for (int k = 0; k < n; k++)
			served += e[k].state == INFLIGHT_SERVED;
		usleep(1000);
	}
	must(n == WRITES && served == 1);
	thaw();
	must(collect() == 0);
	printf("careful: one of %d at a time: good\n", WRITES);
}

int main(void)
{
	w.disk = w.look = w.outer_file = w.inner_file = -1;
	atexit(clean_up);
	make_disk();
	start();
	fence_holds();
	poison_is_refused();
	careful_tells();
	must(peer_end(&w.p) == 0);
	return 0;
}
