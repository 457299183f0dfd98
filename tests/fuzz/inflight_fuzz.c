/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue starts from a region that is all input, over a ring that is all
 * input, is used up and starts again from what it left. The region lies
 * between pages without access. The broker's reader looks at it, too.
 */
#include <string.h>
#include <sys/mman.h>

#include "common/base/inflight_layout.h"
#include "common/virtio/queue.h"

#define PAGE   4096
#define RING   (2 * PAGE)
#define GPA    0x10000
#define HEADER 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *region, *ring;

static uint8_t *guarded(size_t len)
{
	uint8_t *p = mmap(NULL, len + 2 * PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	check(!mprotect(p + PAGE, len, PROT_READ | PROT_WRITE));
	return p + PAGE;
}

static void use_up(struct queue *q, uint8_t how)
{
	static struct iovec iov[QUEUE_IOV_MAX];
	const uint64_t poison[] = {0, 3};
	struct chain c;

	while (queue_pop_poisoned(q, poison, 2, &c, iov, QUEUE_IOV_MAX) > 0)
		queue_push(q, &c, 0);
	for (unsigned int i = 0; i < 200; i++) {
		if (queue_pop(q, &c, iov, QUEUE_IOV_MAX) <= 0)
			break;
		check(c.id < q->size && c.entry < q->size);
		if (how & 1 && i % 3 == 0) {
			queue_unpop(q, &c);
			continue;
		}
		queue_push(q, &c, c.len_in);
		if (i % 4 == (how >> 1) % 4)
			queue_flush(q);
	}
	queue_flush(q);
	queue_resume_kicks(q);
	queue_stop(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct inflight_entry entries[PAGE];
	static struct queue q;
	struct gmem mem = {.num_regions = 1};
	struct queue_config cfg = {0};
	size_t n;

	if (size < HEADER)
		return 0;
	if (!region) {
		region = guarded(PAGE);
		ring = guarded(RING);
	}
	n = size - HEADER < PAGE ? size - HEADER : PAGE;
	memset(region, 0, PAGE);
	memset(ring, 0, RING);
	memcpy(region, data + HEADER, n);
	memcpy(ring, data + HEADER + n,
	       size - HEADER - n < RING ? size - HEADER - n : RING);
	mem.regions[0] = (struct gmem_region){GPA, RING, ring, 0};
	cfg.size = 1 + data[0] % 127;
	if (!(data[1] & 4))
		cfg.size = 1u << data[0] % 7;
	cfg.desc = GPA;
	cfg.driver = GPA + PAGE;
	cfg.device = GPA + PAGE + 1024;
	cfg.features = (uint64_t)(data[1] & 3) << 28 |
		       (uint64_t)(data[1] >> 2 & 1) << 34;
	cfg.inflight = region;
	cfg.inflight_len = PAGE;
	cfg.careful = data[2] & 1;
	check(inflight_list(region, PAGE, 0, entries, PAGE) <= PAGE);
	q.kick_fd = q.call_fd = -1;
	for (unsigned int i = 0; i < 2; i++) {
		if (queue_start(&q, &cfg, &mem, -1, -1, NULL) < 0)
			return 0;
		use_up(&q, data[3 + i]);
	}
	queue_forget(&q);
	return 0;
}
