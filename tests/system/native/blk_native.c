/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-blk in its sandbox: a shadow model against the image through every
 * back end and kind of ring; flush, discard, zeroes, identity, read-only; a
 * full and a cut host file; stop, reset and restart under load; hostile
 * drivers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE  (16 << 20)
#define DISK_SIZE (4 << 20)
#define BLOCK	  4096 /* grain of what is under way at once */
#define DATA_MAX  65536
#define QUEUES	  4
#define SLOTS	  8 /* a queue */
#define RING_SIZE 64
#define REQUESTS  600 /* a case of the model */

struct image {
	char path[64];
	int fd;	  /* what the device gets */
	int look; /* ours, buffered */
	bool direct;
	bool no_uring;
	bool readonly;
	bool no_flush; /* the driver doesn't know FLUSH */
	uint32_t block;
	unsigned int queues;
	unsigned int queue_size;
};

/* One request under way, with its part of guest memory. */
struct slot {
	uint64_t header, segs, data, status;
	bool busy;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	uint64_t gpa; /* of the data in this request */
	uint8_t want; /* status */
};

struct driver {
	struct peer p;
	struct peer_queue q[QUEUES];
	struct slot slots[QUEUES][SLOTS];
	int slot_of[QUEUES][RING_SIZE];
	unsigned int num_queues;
	unsigned int done;
	uint64_t features; /* accepted */
	uint8_t shadow[DISK_SIZE];
	bool taken[DISK_SIZE / BLOCK];
};

static struct driver d;

#define must(cond) peer_check(&d.p, cond)

static void image_make(struct image *im, off_t size)
{
	int flags = im->readonly ? O_RDONLY : O_RDWR;

	strcpy(im->path, "/var/tmp/blk_native.XXXXXX");
	im->look = mkostemp(im->path, O_CLOEXEC);
	must(im->look >= 0);
	must(ftruncate(im->look, size) == 0);
	im->fd =
		open(im->path, flags | O_CLOEXEC | (im->direct ? O_DIRECT : 0));
	must(im->fd >= 0);
	must(unlink(im->path) == 0);
}

static void image_close(struct image *im)
{
	close(im->fd);
	close(im->look);
}

static void start(const struct image *im, uint64_t size, uint64_t features)
{
	Bulkhead__DeviceSetup setup;
	Bulkhead__BlkSetup blk;
	char id[] = "_disk0";
	uint8_t serial[] = "a-serial-of-20-bytes";

	memset(&d, 0, sizeof(d));
	peer_spawn(&d.p, "blk", MEM_SIZE);
	peer_hello(&d.p);
	bulkhead__device_setup__init(&setup);
	bulkhead__blk_setup__init(&blk);
	setup.id = id;
	setup.num_queues = im->queues ? im->queues : 1;
	setup.queue_size = im->queue_size ? im->queue_size : RING_SIZE;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_BLK;
	setup.blk = &blk;
	blk.size = size;
	blk.direct = im->direct;
	blk.readonly = im->readonly;
	blk.no_io_uring = im->no_uring;
	blk.sparse = true;
	blk.logical_block = im->block ? im->block : 512;
	blk.physical_block = 4096;
	blk.dma_alignment = 512;
	blk.serial.data = serial;
	blk.serial.len = 20;
	peer_setup(&d.p, &setup, &im->fd, 1);
	must(d.p.virtio_id == 2 && d.p.num_queues == setup.num_queues);
	must(d.p.syscalls > 0 && d.p.syscalls <= 16);
	features |= d.p.features &
		    ~(DRIVER_F_PACKED | DRIVER_F_EVENT | DRIVER_F_INDIRECT);
	if (im->no_flush)
		features &= ~(1ULL << VIRTIO_BLK_F_FLUSH);
	peer_negotiate(&d.p, features);
	d.features = features;
	d.num_queues = setup.num_queues;
}

static void start_queues(void)
{
	for (unsigned int i = 0; i < d.num_queues; i++) {
		peer_queue_start(&d.p, &d.q[i], i, RING_SIZE);
		for (unsigned int s = 0; s < SLOTS; s++) {
			struct slot *l = &d.slots[i][s];

			l->header = driver_mem_alloc(&d.p.mem, 16, 1);
			l->segs = driver_mem_alloc(&d.p.mem, 512, 1);
			l->data = driver_mem_alloc(&d.p.mem, DATA_MAX + BLOCK,
						   BLOCK);
			l->status = driver_mem_alloc(&d.p.mem, 1, 1);
		}
	}
}

static void open_disk(struct image *im, uint64_t features)
{
	image_make(im, DISK_SIZE);
	start(im, DISK_SIZE, features | DRIVER_F_VERSION1);
	start_queues();
}

static void close_disk(struct image *im)
{
	int status = peer_end(&d.p);

	if (status)
		peer_fail(&d.p, "bulkhead-blk ended with %d", status);
	image_close(im);
}

static void *at(uint64_t gpa, uint64_t len)
{
	return driver_mem_ptr(&d.p.mem, gpa, len);
}

/* Header, data in @cuts pieces, status. */
static void send_request(unsigned int q, struct slot *l, unsigned int cuts,
			 bool indirect)
{
	bool in = l->type == VIRTIO_BLK_T_IN || l->type == VIRTIO_BLK_T_GET_ID;
	struct driver_buf bufs[16];
	unsigned int n = 0;
	uint32_t done = 0;
	uint8_t *header = at(l->header, 16);

	put_le32(header, l->type);
	put_le32(header + 4, 0);
	put_le64(header + 8, l->sector);
	*(uint8_t *)at(l->status, 1) = 0xee;
	bufs[n++] = (struct driver_buf){l->header, 16, false};
	while (done < l->len) {
		uint32_t piece = l->len - done;

		if (cuts > 1 && piece > 1)
			piece = 1 + (uint32_t)rand() % (piece - 1);
		/* Pieces of O_DIRECT's grain as well as any other. */
		if (piece > 512 && rand() % 2)
			piece -= piece % 512;
		if (cuts)
			cuts--;
		bufs[n++] = (struct driver_buf){l->gpa + done, piece, in};
		done += piece;
		if (n == ARRAY_SIZE(bufs) - 2) {
			bufs[n++] = (struct driver_buf){l->gpa + done,
							l->len - done, in};
			break;
		}
	}
	if (bufs[n - 1].len == 0)
		n--;
	bufs[n++] = (struct driver_buf){l->status, 1, true};

	int id = driver_ring_add(&d.q[q].ring, bufs, n, indirect);

	must(id >= 0);
	d.slot_of[q][id] = (int)(l - d.slots[q]);
	l->busy = true;
}

static void take_blocks(const struct slot *l, bool taken)
{
	uint64_t first = l->sector * 512 / BLOCK;
	uint64_t end = (l->sector * 512 + l->len + BLOCK - 1) / BLOCK;

	for (uint64_t b = first; b < end; b++)
		d.taken[b] = taken;
}

static bool blocks_free(uint64_t sector, uint32_t len)
{
	for (uint64_t b = sector * 512 / BLOCK;
	     b < (sector * 512 + len + BLOCK - 1) / BLOCK; b++)
		if (d.taken[b])
			return false;
	return true;
}

static void finish(unsigned int q, uint32_t id, uint32_t len)
{
	struct slot *l = &d.slots[q][d.slot_of[q][id]];
	uint8_t status = *(uint8_t *)at(l->status, 1);

	must(l->busy);
	if (status != l->want)
		peer_fail(&d.p, "type %u sector %lu len %u: status %u, not %u",
			  l->type, l->sector, l->len, status, l->want);
	if (l->type == VIRTIO_BLK_T_IN && status == 0) {
		must(len == l->len + 1);
		if (memcmp(at(l->gpa, l->len), d.shadow + l->sector * 512,
			   l->len))
			peer_fail(&d.p, "wrong data: sector %lu len %u",
				  l->sector, l->len);
	} else if (l->type != VIRTIO_BLK_T_IN &&
		   l->type != VIRTIO_BLK_T_GET_ID) {
		must(len == 1);
	}
	take_blocks(l, false);
	l->busy = false;
	d.done++;
}

static void wait_one(unsigned int q)
{
	uint32_t id, len;

	peer_wait(&d.q[q], &id, &len);
	finish(q, id, len);
}

static bool any_busy(unsigned int q)
{
	for (unsigned int s = 0; s < SLOTS; s++)
		if (d.slots[q][s].busy)
			return true;
	return false;
}

static void wait_all(void)
{
	for (unsigned int q = 0; q < d.num_queues; q++)
		while (any_busy(q))
			wait_one(q);
}

/* One request now, alone. Return: its status */
static uint8_t request_at(uint32_t type, uint64_t sector, uint64_t gpa,
			  uint32_t len, uint8_t want)
{
	struct slot *l = &d.slots[0][0];
	must(!l->busy);
	l->type = type;
	l->sector = sector;
	l->gpa = gpa;
	l->len = len;
	l->want = want;
	send_request(0, l, 1, false);
	peer_kick(&d.q[0]);

	uint32_t id, used;

	peer_wait(&d.q[0], &id, &used);
	must(d.slot_of[0][id] == 0);
	l->busy = false;

	uint8_t status = *(uint8_t *)at(l->status, 1);

	if (status != want)
		peer_fail(&d.p, "type %u sector %lu len %u: status %u, not %u",
			  type, sector, len, status, want);
	return status;
}

static void request(uint32_t type, uint64_t sector, uint32_t len, uint8_t want)
{
	request_at(type, sector, d.slots[0][0].data, len, want);
}

static void ranges(uint32_t type, uint64_t sector, uint32_t num, uint32_t flags,
		   uint8_t want)
{
	uint8_t *p = at(d.slots[0][0].segs, 16);

	put_le64(p, sector);
	put_le32(p + 8, num);
	put_le32(p + 12, flags);
	request_at(type, 0, d.slots[0][0].segs, 16, want);
}

/* The model */

static void random_data(struct slot *l)
{
	uint8_t *data = at(l->gpa, l->len);

	for (uint32_t i = 0; i < l->len; i += 4) {
		uint32_t v = (uint32_t)rand();

		memcpy(data + i, &v, 4);
	}
	memcpy(d.shadow + l->sector * 512, data, l->len);
}

static void random_range(struct slot *l, uint64_t sector, uint32_t len)
{
	uint8_t *p = at(l->segs, 16);

	put_le64(p, sector);
	put_le32(p + 8, len / 512);
	put_le32(p + 12, l->type == VIRTIO_BLK_T_WRITE_ZEROES
				 ? (uint32_t)rand() % 2
				 : 0);
	memset(d.shadow + sector * 512, 0, len);
}

static bool add_random(unsigned int q, struct slot *l, bool indirect)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN,	   VIRTIO_BLK_T_IN,
		VIRTIO_BLK_T_IN,	   VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_OUT,	   VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_DISCARD,	   VIRTIO_BLK_T_FLUSH,
		VIRTIO_BLK_T_WRITE_ZEROES,
	};
	uint32_t len = 512 * (1 + (uint32_t)rand() % (DATA_MAX / 512));
	uint64_t sector;

	if (rand() % 2)
		len = 4096;
	sector = (uint64_t)rand() % ((DISK_SIZE - len) / 512 + 1);
	l->type = types[(unsigned int)rand() % ARRAY_SIZE(types)];
	l->want = VIRTIO_BLK_S_OK;
	l->gpa = l->data;
	if (rand() % 3 == 0)
		l->gpa += (uint64_t)rand() % BLOCK;
	l->sector = sector;
	l->len = len;
	if (l->type == VIRTIO_BLK_T_FLUSH) {
		l->len = 0;
		l->sector = 0;
		send_request(q, l, 0, indirect);
		return true;
	}
	if (!blocks_free(sector, len))
		return false;
	if (l->type == VIRTIO_BLK_T_OUT)
		random_data(l);
	if (l->type == VIRTIO_BLK_T_DISCARD ||
	    l->type == VIRTIO_BLK_T_WRITE_ZEROES) {
		/* A range keeps no blocks busy: wait for its end. */
		random_range(l, sector, len);
		l->gpa = l->segs;
		l->len = 16;
		l->sector = 0;
		send_request(q, l, 1, indirect);
		peer_kick(&d.q[q]);
		while (l->busy)
			wait_one(q);
		return true;
	}
	take_blocks(l, true);
	send_request(q, l, (unsigned int)rand() % 6, indirect);
	return true;
}

static void compare_image(const struct image *im)
{
	uint8_t *disk = malloc(DISK_SIZE);

	must(disk);
	must(pread(im->look, disk, DISK_SIZE, 0) == DISK_SIZE);
	for (uint32_t i = 0; i < DISK_SIZE; i += 512)
		if (memcmp(disk + i, d.shadow + i, 512))
			peer_fail(&d.p, "the image differs in sector %u",
				  i / 512);
	free(disk);
}

static void run_model(struct image *im, uint64_t features)
{
	bool can_indirect = features & DRIVER_F_INDIRECT;

	open_disk(im, features);
	while (d.done < REQUESTS) {
		for (unsigned int q = 0; q < d.num_queues; q++) {
			for (unsigned int s = 0; s < SLOTS; s++)
				if (!d.slots[q][s].busy && rand() % 4)
					add_random(q, &d.slots[q][s],
						   can_indirect && rand() % 2);
			peer_kick(&d.q[q]);
		}
		for (unsigned int q = 0; q < d.num_queues; q++)
			for (int n = rand() % SLOTS; n > 0 && any_busy(q); n--)
				wait_one(q);
	}
	wait_all();
	request(VIRTIO_BLK_T_FLUSH, 0, 0, VIRTIO_BLK_S_OK);
	compare_image(im);
	must(d.p.num_needs_reset == 0);
	close_disk(im);
}

static void test_model(bool no_uring, bool direct)
{
	static const uint64_t kinds[] = {
		0,
		DRIVER_F_EVENT | DRIVER_F_INDIRECT,
		DRIVER_F_PACKED,
		DRIVER_F_PACKED | DRIVER_F_EVENT | DRIVER_F_INDIRECT,
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		for (unsigned int queues = 1; queues <= 4; queues += 3) {
			struct image im = {.no_uring = no_uring,
					   .direct = direct,
					   .queues = queues};

			run_model(&im, kinds[k]);
		}
	printf("model, %s, %s: as the shadow says\n",
	       no_uring ? "plain calls" : "io_uring",
	       direct ? "direct" : "buffered");
}

static uint64_t allocated(const struct image *im)
{
	struct stat st;

	must(fstat(im->look, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_commands(bool no_uring)
{
	struct image im = {.no_uring = no_uring};
	uint8_t *data;

	open_disk(&im, 0);
	must(get_le64(d.p.config) == DISK_SIZE / 512);
	must(d.p.features & (1ULL << VIRTIO_BLK_F_DISCARD));
	data = at(d.slots[0][0].data, DATA_MAX);
	request(VIRTIO_BLK_T_GET_ID, 0, 20, VIRTIO_BLK_S_OK);
	must(!memcmp(data, "a-serial-of-20-bytes", 20));
	request(VIRTIO_BLK_T_GET_ID, 0, 19, VIRTIO_BLK_S_IOERR);
	request(77, 0, 512, VIRTIO_BLK_S_UNSUPP);
	request(VIRTIO_BLK_T_IN, DISK_SIZE / 512, 512, VIRTIO_BLK_S_IOERR);
	request(VIRTIO_BLK_T_IN, DISK_SIZE / 512 - 1, 1024, VIRTIO_BLK_S_IOERR);
	request(VIRTIO_BLK_T_OUT, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR);
	request(VIRTIO_BLK_T_IN, 0, 100, VIRTIO_BLK_S_IOERR);

	memset(data, 0x5a, DATA_MAX);
	for (unsigned int i = 0; i < 16; i++)
		request(VIRTIO_BLK_T_OUT, i * DATA_MAX / 512, DATA_MAX,
			VIRTIO_BLK_S_OK);
	request(VIRTIO_BLK_T_FLUSH, 0, 0, VIRTIO_BLK_S_OK);

	uint64_t before = allocated(&im);

	must(before >= 1 << 20);
	ranges(VIRTIO_BLK_T_DISCARD, 0, 1024, 0, VIRTIO_BLK_S_OK);
	must(allocated(&im) <= before - (1024 * 512));
	ranges(VIRTIO_BLK_T_WRITE_ZEROES, 1024, 512, 1, VIRTIO_BLK_S_OK);
	must(allocated(&im) <= before - (1536 * 512));
	ranges(VIRTIO_BLK_T_WRITE_ZEROES, 1536, 512, 0, VIRTIO_BLK_S_OK);
	ranges(VIRTIO_BLK_T_DISCARD, 0, 8, 1, VIRTIO_BLK_S_UNSUPP);
	ranges(VIRTIO_BLK_T_DISCARD, DISK_SIZE / 512, 8, 0, VIRTIO_BLK_S_IOERR);
	for (unsigned int i = 0; i < 16; i++) {
		request(VIRTIO_BLK_T_IN, i * DATA_MAX / 512, DATA_MAX,
			VIRTIO_BLK_S_OK);
		must(data[0] == 0 && !memcmp(data, data + 1, DATA_MAX - 1));
	}
	close_disk(&im);
	printf("commands, %s: good\n", no_uring ? "plain calls" : "io_uring");
}

static void test_readonly(void)
{
	struct image im = {.readonly = true};

	open_disk(&im, 0);
	must(d.p.features & (1ULL << VIRTIO_BLK_F_RO));
	must(pwrite(im.look, "hello", 5, 512) == 5);
	request(VIRTIO_BLK_T_IN, 1, 512, VIRTIO_BLK_S_OK);
	must(!memcmp(at(d.slots[0][0].data, 5), "hello", 5));
	request(VIRTIO_BLK_T_OUT, 0, 512, VIRTIO_BLK_S_IOERR);
	request(VIRTIO_BLK_T_FLUSH, 0, 0, VIRTIO_BLK_S_OK);
	ranges(VIRTIO_BLK_T_DISCARD, 0, 8, 0, VIRTIO_BLK_S_UNSUPP);
	close_disk(&im);
	printf("read-only: good\n");
}

static void write_cache(uint8_t on)
{
	Bulkhead__DeviceBody body;
	Bulkhead__ConfigWrite m;

	bulkhead__config_write__init(&m);
	m.offset = 32;
	m.data.data = &on;
	m.data.len = 1;
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
	body.config_write = &m;
	must(peer_request(&d.p, &body, NULL, 0, NULL) == 0);
}

static void test_write_through(bool no_uring)
{
	struct image im = {.no_uring = no_uring};

	open_disk(&im, 0);
	must(d.p.config[32] == 1);
	for (unsigned int i = 0; i < 4; i++) {
		write_cache(i % 2);
		request(VIRTIO_BLK_T_OUT, i, 512, VIRTIO_BLK_S_OK);
		request(VIRTIO_BLK_T_OUT, i, 512, VIRTIO_BLK_S_OK);
		ranges(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0, VIRTIO_BLK_S_OK);
	}
	close_disk(&im);
	printf("write cache on and off, %s: good\n",
	       no_uring ? "plain calls" : "io_uring");
}

/* Without FLUSH the disk has no write cache, until the next driver. */
static void test_no_flush(void)
{
	struct image im = {.no_flush = true};

	open_disk(&im, 0);
	while (d.p.num_config_changed < 1)
		must(peer_receive(&d.p, PEER_TIMEOUT_MS));
	must(d.p.config[32] == 0);
	request(VIRTIO_BLK_T_OUT, 0, 512, VIRTIO_BLK_S_OK);
	peer_reset(&d.p);
	while (d.p.num_config_changed < 2)
		must(peer_receive(&d.p, PEER_TIMEOUT_MS));
	must(d.p.config[32] == 1);
	close_disk(&im);
	printf("driver without FLUSH: good\n");
}

/* A file system that fills up: the request fails, the disk goes on. */
static void test_enospc(bool no_uring)
{
	char folder[] = "/var/tmp/blk_native_fs.XXXXXX", path[96];
	struct image im = {.no_uring = no_uring};
	unsigned int failed = 0;

	must(mkdtemp(folder));
	if (mount("tmpfs", folder, "tmpfs", 0, "size=1M") < 0) {
		rmdir(folder);
		printf("full host disk: skipped, needs the right to mount\n");
		return;
	}
	snprintf(path, sizeof(path), "%s/image", folder);
	im.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(im.fd >= 0 && ftruncate(im.fd, DISK_SIZE) == 0);
	im.look = dup(im.fd);
	umount2(folder, MNT_DETACH);
	rmdir(folder);
	start(&im, DISK_SIZE, DRIVER_F_VERSION1);
	start_queues();
	for (unsigned int i = 0; i < 32; i++) {
		struct slot *l = &d.slots[0][1];
		uint32_t id, len;

		l->type = VIRTIO_BLK_T_OUT;
		l->sector = i * DATA_MAX / 512;
		l->gpa = l->data;
		l->len = DATA_MAX;
		send_request(0, l, 1, false);
		peer_kick(&d.q[0]);
		peer_wait(&d.q[0], &id, &len);
		l->busy = false;
		if (*(uint8_t *)at(l->status, 1) == VIRTIO_BLK_S_IOERR)
			failed++;
		else
			must(*(uint8_t *)at(l->status, 1) == VIRTIO_BLK_S_OK);
	}
	must(failed >= 16 && failed < 32);
	request(VIRTIO_BLK_T_IN, 0, 4096, VIRTIO_BLK_S_OK);
	ranges(VIRTIO_BLK_T_DISCARD, 0, 1024, 0, VIRTIO_BLK_S_OK);
	request(VIRTIO_BLK_T_OUT, 0, 4096, VIRTIO_BLK_S_OK);
	close_disk(&im);
	printf("full host disk, %s: %u of 32 writes failed, the rest works\n",
	       no_uring ? "plain calls" : "io_uring", failed);
}

static void test_cut_file(bool no_uring)
{
	struct image im = {.no_uring = no_uring};

	open_disk(&im, 0);
	must(ftruncate(im.look, 8192) == 0);
	request(VIRTIO_BLK_T_IN, 0, 8192, VIRTIO_BLK_S_OK);
	request(VIRTIO_BLK_T_IN, 8, 8192, VIRTIO_BLK_S_IOERR);
	request(VIRTIO_BLK_T_IN, 1000, 512, VIRTIO_BLK_S_IOERR);
	must(ftruncate(im.look, DISK_SIZE) == 0);
	request(VIRTIO_BLK_T_IN, 1000, 512, VIRTIO_BLK_S_OK);
	must(d.p.num_needs_reset == 0);
	close_disk(&im);
	printf("cut image, %s: good\n", no_uring ? "plain calls" : "io_uring");
}

/* O_DIRECT on 4 KiB blocks: reads of any sector, writes of whole blocks. */
static void test_direct_blocks(void)
{
	struct image im = {.direct = true, .block = 4096};
	uint64_t odd;

	open_disk(&im, 0);
	odd = d.slots[0][0].data + 3;
	must(get_le32(d.p.config + 20) == 4096);
	memset(at(odd, 8192), 0x77, 8192);
	request_at(VIRTIO_BLK_T_OUT, 8, odd, 8192, VIRTIO_BLK_S_OK);
	memset(at(odd, 8192), 0, 8192);
	request_at(VIRTIO_BLK_T_IN, 7, odd, 1024, VIRTIO_BLK_S_OK);
	must(*(uint8_t *)at(odd + 511, 1) == 0);
	must(*(uint8_t *)at(odd + 512, 1) == 0x77);
	must(*(uint8_t *)at(odd + 1024, 1) == 0);
	request_at(VIRTIO_BLK_T_OUT, 9, odd, 512, VIRTIO_BLK_S_IOERR);
	/* More requests than bounce buffers. */
	for (unsigned int round = 0; round < 50; round++) {
		must(pread(im.look, d.shadow, DISK_SIZE, 0) == DISK_SIZE);
		for (unsigned int s = 0; s < SLOTS; s++) {
			struct slot *l = &d.slots[0][s];

			l->type = VIRTIO_BLK_T_IN;
			l->sector = s * 7;
			l->gpa = l->data + 1 + s;
			l->len = 8192;
			l->want = VIRTIO_BLK_S_OK;
			send_request(0, l, 1, false);
		}
		peer_kick(&d.q[0]);
		wait_all();
	}
	close_disk(&im);
	printf("direct, 4 KiB blocks: good\n");
}

static void fill_queue(unsigned int q)
{
	for (unsigned int s = 0; s < SLOTS; s++) {
		struct slot *l = &d.slots[q][s];

		l->type = s == 3 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_OUT;
		l->sector = s == 3 ? 0 : (q * SLOTS + s) * (DATA_MAX / 512);
		l->gpa = l->data;
		l->len = s == 3 ? 0 : DATA_MAX;
		l->want = VIRTIO_BLK_S_OK;
		if (l->len)
			random_data(l);
		send_request(q, l, 1, false);
	}
	peer_kick(&d.q[q]);
}

static void drain_now(unsigned int q)
{
	uint32_t id, len;

	while (driver_ring_get(&d.q[q].ring, &id, &len))
		finish(q, id, len);
}

/* After an answered StopQueue or Reset nothing is under way any more. */
static void test_stop_under_load(uint64_t features, bool no_uring)
{
	struct image im = {.queues = QUEUES, .no_uring = no_uring};

	open_disk(&im, features);
	for (unsigned int round = 0; round < 20; round++) {
		uint32_t base[QUEUES];

		for (unsigned int q = 0; q < QUEUES; q++)
			fill_queue(q);
		for (unsigned int q = 0; q < QUEUES; q++)
			base[q] = peer_queue_stop(&d.p, &d.q[q]);
		for (unsigned int q = 0; q < QUEUES; q++)
			drain_now(q);
		/* What was not taken yet is served after the restart. */
		for (unsigned int q = 0; q < QUEUES; q++)
			peer_queue_restart(&d.p, &d.q[q], base[q]);
		wait_all();
	}
	compare_image(&im);
	for (unsigned int round = 0; round < 10; round++) {
		unsigned int before = d.done;

		for (unsigned int q = 0; q < QUEUES; q++)
			fill_queue(q);
		peer_reset(&d.p);
		for (unsigned int q = 0; q < QUEUES; q++) {
			drain_now(q);
			for (unsigned int s = 0; s < SLOTS; s++)
				d.slots[q][s].busy = false;
			peer_queue_forget(&d.q[q]);
		}
		memset(d.taken, 0, sizeof(d.taken));
		must(d.done <= before + QUEUES * SLOTS);
		d.p.mem.next = 0;
		peer_negotiate(&d.p, d.features);
		start_queues();
		/* Whatever the reset left out is written again. */
		for (unsigned int q = 0; q < QUEUES; q++)
			fill_queue(q);
		wait_all();
	}
	compare_image(&im);
	close_disk(&im);
	printf("stop and reset under load, %s, %s: good\n",
	       features & DRIVER_F_PACKED ? "packed" : "split",
	       no_uring ? "plain calls" : "io_uring");
}

/* More requests in the ring than a queue works on at once. */
static void test_deep_queue(uint64_t features, bool no_uring)
{
	struct image im = {.no_uring = no_uring, .queue_size = DRIVER_RING_MAX};
	struct peer_queue *q = &d.q[0];
	uint64_t header, flush, data, status;
	uint32_t id, len;

	image_make(&im, DISK_SIZE);
	start(&im, DISK_SIZE, features | DRIVER_F_VERSION1 | DRIVER_F_INDIRECT);
	peer_queue_start(&d.p, q, 0, DRIVER_RING_MAX);
	header = driver_mem_alloc(&d.p.mem, 16, 16);
	memset(at(header, 16), 0, 16); /* IN, sector 0 */
	flush = driver_mem_alloc(&d.p.mem, 16, 16);
	memset(at(flush, 16), 0, 16);
	put_le32(at(flush, 4), VIRTIO_BLK_T_FLUSH);
	data = driver_mem_alloc(&d.p.mem, DRIVER_RING_MAX * 512, 512);
	status = driver_mem_alloc(&d.p.mem, DRIVER_RING_MAX, 1);
	memset(at(status, DRIVER_RING_MAX), 0xee, DRIVER_RING_MAX);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < DRIVER_RING_MAX; i++) {
			struct driver_buf bufs[] = {
				{header, 16, false},
				{data + i * 512ULL, 512, true},
				{status + i, 1, true},
			};

			/* The kernel never finishes a flush at once. */
			if (i % 4)
				bufs[0].gpa = flush;
			must(driver_ring_add(&q->ring, bufs, 3, true) >= 0);
		}
		peer_kick(q);
		for (unsigned int i = 0; i < DRIVER_RING_MAX; i++)
			peer_wait(q, &id, &len);
	}
	for (unsigned int i = 0; i < DRIVER_RING_MAX; i++)
		must(*(uint8_t *)at(status + i, 1) == VIRTIO_BLK_S_OK);
	close_disk(&im);
	printf("deep queue, %s, %s: good\n",
	       features & DRIVER_F_PACKED ? "packed" : "split",
	       no_uring ? "plain calls" : "io_uring");
}

static void hostile_chain(const struct driver_buf *bufs, unsigned int num)
{
	must(driver_ring_add(&d.q[0].ring, bufs, num, false) >= 0);
	peer_kick_always(&d.q[0]);
	while (d.p.num_needs_reset == 0)
		must(peer_receive(&d.p, PEER_TIMEOUT_MS));
}

static void revive(void)
{
	peer_reset(&d.p);
	peer_queue_forget(&d.q[0]);
	d.p.num_needs_reset = 0;
	d.p.mem.next = 0;
	peer_negotiate(&d.p, d.features);
	start_queues();
	request(VIRTIO_BLK_T_IN, 0, 512, VIRTIO_BLK_S_OK);
}

static void test_hostile(uint64_t features)
{
	struct image im = {0};
	struct driver_buf bufs[3];

	open_disk(&im, features);
	/* No byte for the status. */
	bufs[0] = (struct driver_buf){d.slots[0][0].header, 16, false};
	hostile_chain(bufs, 1);
	revive();
	/* A buffer outside guest memory. */
	bufs[0] = (struct driver_buf){d.slots[0][0].header, 16, false};
	bufs[1] = (struct driver_buf){UINT64_MAX - 100, 512, true};
	bufs[2] = (struct driver_buf){d.slots[0][0].status, 1, true};
	hostile_chain(bufs, 3);
	revive();
	/* A header too short, on the other hand, has an answer. */
	bufs[0] = (struct driver_buf){d.slots[0][0].header, 15, false};
	bufs[1] = (struct driver_buf){d.slots[0][0].status, 1, true};
	must(driver_ring_add(&d.q[0].ring, bufs, 2, false) >= 0);
	peer_kick(&d.q[0]);

	uint32_t id, len;

	peer_wait(&d.q[0], &id, &len);
	must(*(uint8_t *)at(d.slots[0][0].status, 1) == VIRTIO_BLK_S_IOERR);
	/* Kicks without end, and without work. */
	for (unsigned int i = 0; i < 10000; i++)
		peer_kick_always(&d.q[0]);
	request(VIRTIO_BLK_T_IN, 0, 512, VIRTIO_BLK_S_OK);
	must(d.p.num_needs_reset == 0);
	close_disk(&im);
	printf("hostile driver, %s: good\n",
	       features & DRIVER_F_PACKED ? "packed" : "split");
}

int main(void)
{
	srand(1);
	for (unsigned int no_uring = 0; no_uring < 2; no_uring++) {
		test_commands(no_uring);
		test_write_through(no_uring);
		test_enospc(no_uring);
		test_cut_file(no_uring);
		test_stop_under_load(DRIVER_F_EVENT, no_uring);
		test_stop_under_load(DRIVER_F_PACKED, no_uring);
		test_deep_queue(0, no_uring);
		test_deep_queue(DRIVER_F_EVENT, no_uring);
		test_deep_queue(DRIVER_F_PACKED, no_uring);
		test_model(no_uring, false);
		test_model(no_uring, true);
	}
	test_readonly();
	test_no_flush();
	test_direct_blocks();
	test_hostile(0);
	test_hostile(DRIVER_F_PACKED);
	return 0;
}
