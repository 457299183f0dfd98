/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device takes, completes, gives back and restarts while the input is all of
 * guest memory. Nothing may be touched outside of it: the two regions lie
 * between pages without access. The first bytes choose the kind of ring, its
 * size and base, and what the device does.
 */
#include <string.h>
#include <sys/mman.h>

#include "common/base/endian.h"
#include "common/virtio/queue.h"

#define PAGE	4096
#define REGION	(4 * PAGE)
#define GPA	0x10000
#define HEADER	16
#define IN_HAND 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *regions[2];

static void make_memory(void)
{
	for (int i = 0; i < 2; i++) {
		uint8_t *p = mmap(NULL, REGION + 2 * PAGE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		check(p != MAP_FAILED);
		regions[i] = p + PAGE;
		check(!mprotect(regions[i], REGION, PROT_READ | PROT_WRITE));
	}
}

static void fill_memory(const uint8_t *data, size_t size)
{
	for (int i = 0; i < 2; i++) {
		size_t n = size < REGION ? size : REGION;

		memset(regions[i], 0, REGION);
		memcpy(regions[i], data, n);
		data += n;
		size -= n;
	}
}

/* Touch all that the chain names, as a device does. */
static void use_chain(const struct chain *c, const struct iovec *iov)
{
	uint64_t out = 0, in = 0;
	static volatile uint8_t sink;

	for (uint32_t i = 0; i < c->num_out + c->num_in; i++) {
		uint8_t *p = iov[i].iov_base;

		check(iov[i].iov_len);
		if (i < c->num_out) {
			out += iov[i].iov_len;
			sink = p[0];
			sink = p[iov[i].iov_len - 1];
		} else {
			in += iov[i].iov_len;
			p[0] = p[iov[i].iov_len - 1] = 0x5a;
		}
	}
	(void)sink;
	check(out == c->len_out && in == c->len_in);
}

static void run(struct queue *q, struct queue_config *cfg,
		const struct gmem *mem, const uint8_t *ops)
{
	static struct iovec iov[QUEUE_IOV_MAX];
	struct chain held[IN_HAND];
	unsigned int num = 0;

	for (unsigned int step = 0; step < 64; step++) {
		uint8_t op = ops[step % 8] >> (step / 8 % 4 * 2) & 3;

		if (op <= 1 && num < IN_HAND) {
			if (queue_pop(q, &held[num], iov, QUEUE_IOV_MAX) <= 0)
				break;
			use_chain(&held[num], iov);
			if (op == 1 && step & 1)
				queue_unpop(q, &held[num]);
			else
				num++;
		} else if (op == 2 && num) {
			queue_push(q, &held[0], held[0].len_in);
			memmove(held, held + 1, --num * sizeof(held[0]));
		} else {
			queue_flush(q);
			if (step & 2)
				queue_pause_kicks(q);
			else
				queue_resume_kicks(q);
		}
	}
	while (num)
		queue_push(q, &held[--num], 0);
	queue_flush(q);
	cfg->base = queue_stop(q);
	check(queue_start(q, cfg, mem, -1, -1, NULL) == 0);
	queue_stop(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct queue q;
	struct gmem mem = {.num_regions = 2};
	struct queue_config cfg = {0};

	if (size < HEADER)
		return 0;
	if (!regions[0])
		make_memory();
	fill_memory(data + HEADER, size - HEADER);
	for (unsigned int i = 0; i < 2; i++)
		mem.regions[i] = (struct gmem_region){GPA + i * REGION, REGION,
						      regions[i], 0};
	cfg.features = (data[0] & 1 ? 1ULL << 28 : 0) |
		       (data[0] & 2 ? 1ULL << 29 : 0) |
		       (data[0] & 4 ? 1ULL << 34 : 0);
	cfg.size = data[0] & 8 ? get_le16(data + 2) : 1u << (data[1] & 7);
	cfg.base = data[0] & 16 ? get_le32(data + 4)
				: (data[0] & 4 ? 0x80008000u : 0);
	/* Rings from the start of memory, or nearly anywhere. */
	cfg.desc = GPA + (data[0] & 32 ? get_le16(data + 6) : 0);
	cfg.driver = GPA + 2048;
	cfg.device = GPA + 3072;
	if (queue_start(&q, &cfg, &mem, -1, -1, NULL) == 0)
		run(&q, &cfg, &mem, data + 8);
	return 0;
}
