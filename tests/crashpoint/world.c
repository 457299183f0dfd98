/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crashpoint/world.h"

#include <setjmp.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "common/virtio/queue.h"
#include "tests/crashpoint/crash_hook.h"
#include "tests/peer/driver_ring.h"

#define KICK_FD 1000
#define CALL_FD 1001

#define REQUESTS_MAX 16
#define HELD_MAX     8
#define PIECE	     16u /* bytes of a buffer */
#define PIECES	     3u	 /* of a request, at most */
#define STEPS_MAX    400 /* of one life: more is a live-lock */
#define NEVER	     0xffffffffu

enum crash_mutant crash_mutant;

struct request {
	bool added, executed, completed;
	unsigned int taken; /* order in which it left the ring, 0 = not yet */
};

static struct world {
	const struct scenario *s;
	struct driver_mem mem;
	struct driver_ring ring;
	struct gmem gmem;
	struct queue q;
	uint64_t buf;
	uint32_t base;
	struct request reqs[REQUESTS_MAX];
	unsigned int num_reqs, num_added, num_completed;
	unsigned int takes, last_redone, pops;
	unsigned int of_id[64]; /* request of a chain's id */
	struct chain held[HELD_MAX];
	unsigned int held_req[HELD_MAX], num_held;
	bool kicked, called;
	unsigned int stores, crash_at;
	const char *why;
	unsigned int crashes; /* so far */
} w;

static uint8_t world_memory[64 * 1024] __attribute__((aligned(4096)));
static uint8_t world_region[4096] __attribute__((aligned(4096)));
static jmp_buf world_dead, world_bad;

_Noreturn static void bad(const char *why)
{
	w.why = why;
	longjmp(world_bad, 1);
}

#define must(cond, why)                                                        \
	do {                                                                   \
		if (!(cond))                                                   \
			bad(why);                                              \
	} while (0)

void crash_store(void)
{
	if (w.stores++ == w.crash_at)
		longjmp(world_dead, 1);
}

#undef write
ssize_t crash_write(int fd, const void *data, size_t len)
{
	(void)data;
	crash_store();
	if (fd == KICK_FD)
		w.kicked = true;
	else
		w.called = true;
	return (ssize_t)len;
}

/* Instead of the end of this process (the linker's --wrap). */
_Noreturn void __wrap_check_failed(const char *cond, const char *file,
				   int line);
_Noreturn void __wrap_check_failed(const char *cond, const char *file, int line)
{
	(void)file;
	(void)line;
	bad(cond);
}

/* --- The driver ----------------------------------------------------------- */

/* What the device is to write into a request's last piece. */
static uint8_t request_result(unsigned int req)
{
	return (uint8_t)(0x40 + req);
}

static uint64_t request_buf(unsigned int req, unsigned int piece)
{
	return w.buf + (req * PIECES + piece) * PIECE;
}

static bool driver_add(void)
{
	struct driver_buf bufs[PIECES];
	unsigned int req = w.num_added;
	unsigned int num = 1 + req % (w.s->size < PIECES ? w.s->size : PIECES);
	bool indirect = w.s->indirect && req % 2;
	int id;

	if (w.num_added == w.num_reqs)
		return false;
	for (unsigned int i = 0; i < num; i++)
		bufs[i] = (struct driver_buf){request_buf(req, i), PIECE,
					      i + 1 == num};
	id = driver_ring_add(&w.ring, bufs, num, indirect);
	if (id < 0)
		return false;
	w.of_id[id] = req;
	w.reqs[req].added = true;
	w.num_added++;
	return true;
}

static void driver_complete(uint32_t id)
{
	unsigned int req = w.of_id[id];
	struct request *r = &w.reqs[req];
	unsigned int num = 1 + req % (w.s->size < PIECES ? w.s->size : PIECES);
	uint8_t *last =
		driver_mem_ptr(&w.mem, request_buf(req, num - 1), PIECE);

	must(r->added && !r->completed, "completed twice");
	must(r->executed && *last == request_result(req),
	     "completed without being executed");
	r->completed = true;
	w.num_completed++;
}

static bool driver_collect(void)
{
	uint32_t id, len;
	bool any = false;

	while (driver_ring_get(&w.ring, &id, &len)) {
		must(len == PIECE, "wrong length");
		driver_complete(id);
		any = true;
	}
	return any;
}

/* Return: something happened */
static bool driver_step(void)
{
	bool any = false;

	if (w.called) {
		w.called = false;
		do
			any |= driver_collect();
		while (driver_ring_want_call(&w.ring, 0));
	}
	for (unsigned int i = 0; i < 3 && driver_add(); i++)
		any = true;
	if (driver_ring_publish(&w.ring))
		w.kicked = true;
	return any;
}

/* --- The device ----------------------------------------------------------- */

static unsigned int device_request_of(const struct chain *c,
				      const struct iovec *iov)
{
	const uint8_t *first = iov[0].iov_base;
	const uint8_t *bufs = driver_mem_ptr(&w.mem, w.buf, 1);

	must(c->num_out + c->num_in >= 1, "empty chain");
	must(first >= bufs && (size_t)(first - bufs) <
				      w.num_reqs * PIECES * (size_t)PIECE,
	     "not a request's buffer");
	return (unsigned int)((size_t)(first - bufs) / PIECE / PIECES);
}

static void device_check_order(const struct chain *c, unsigned int req)
{
	struct request *r = &w.reqs[req];

	must(!r->completed, "taken after it was completed");
	for (unsigned int i = 0; i < w.num_held; i++)
		must(w.held_req[i] != req, "taken twice");
	if (!c->redone || !r->taken)
		r->taken = ++w.takes;
	if (!c->redone)
		return;
	must(w.crashes, "nothing was to be done again");
	must(r->taken > w.last_redone, "not in the order of before");
	w.last_redone = r->taken;
}

static bool device_take(void)
{
	struct iovec iov[8];
	struct chain c;
	unsigned int req;
	int r = queue_pop(&w.q, &c, iov, ARRAY_SIZE(iov));

	must(r >= 0, "the ring or the region makes no sense");
	if (!r)
		return false;
	if (w.s->unpop && ++w.pops % 3 == 0) {
		queue_unpop(&w.q, &c);
		r = queue_pop(&w.q, &c, iov, ARRAY_SIZE(iov));
		must(r == 1, "given back and gone");
	}
	req = device_request_of(&c, iov);
	device_check_order(&c, req);
	must(!c.redone || !w.s->careful || !w.num_held,
	     "more than one at a time");
	w.held_req[w.num_held] = req;
	w.held[w.num_held++] = c;
	return true;
}

static void device_complete(unsigned int i)
{
	unsigned int req = w.held_req[i];
	unsigned int num = 1 + req % (w.s->size < PIECES ? w.s->size : PIECES);
	struct chain c = w.held[i];

	must(!w.reqs[req].completed, "executed after it was completed");
	w.reqs[req].executed = true;
	*(uint8_t *)driver_mem_ptr(&w.mem, request_buf(req, num - 1), PIECE) =
		request_result(req);
	w.num_held--;
	for (; i < w.num_held; i++) {
		w.held[i] = w.held[i + 1];
		w.held_req[i] = w.held_req[i + 1];
	}
	queue_push(&w.q, &c, PIECE);
}

static void device_complete_batch(unsigned int leave)
{
	while (w.num_held > leave)
		device_complete(w.s->lifo ? w.num_held - 1 : 0);
	queue_flush(&w.q);
}

static void device_service(void)
{
	unsigned int rounds = 0;

	do {
		bool any;

		queue_pause_kicks(&w.q);
		do {
			unsigned int n = 0;

			while (n < w.s->batch && device_take())
				n++;
			any = n;
			device_complete_batch(w.s->keep ? 1 : 0);
		} while (any && ++rounds < STEPS_MAX);
	} while (queue_resume_kicks(&w.q) && ++rounds < STEPS_MAX);
	must(rounds < STEPS_MAX, "never comes to an end");
}

static void device_start(void)
{
	struct queue_config cfg = {
		.size = w.ring.size,
		.desc = w.ring.desc,
		.driver = w.ring.driver,
		.device = w.ring.device,
		.base = w.base,
		.features = (w.ring.packed ? DRIVER_F_PACKED : 0) |
			    (w.ring.event_idx ? DRIVER_F_EVENT : 0) |
			    (w.ring.indirect ? DRIVER_F_INDIRECT : 0),
		.inflight = world_region,
		.inflight_len = sizeof(world_region),
		.careful = w.s->careful,
	};

	/* A process that has just started knows nothing. */
	memset(&w.q, 0xa5, offsetof(struct queue, taken));
	memset(&w.q.inflight, 0xa5, offsetof(struct inflight, redo));
	w.q.started = false;
	w.num_held = 0;
	w.last_redone = 0;
	must(!queue_start(&w.q, &cfg, &w.gmem, KICK_FD, CALL_FD, NULL),
	     "the queue does not start");
	must(!w.q.broken, "the region makes no sense");
	if (w.q.recovered)
		queue_call(&w.q);
	w.kicked = true;
}

static void device_live(void)
{
	unsigned int steps = 0;

	device_start();
	while (w.num_completed < w.num_reqs) {
		bool any = w.kicked;

		must(++steps < STEPS_MAX, "never comes to an end");
		if (w.kicked) {
			w.kicked = false;
			device_service();
		}
		any |= driver_step();
		if (any || w.kicked || w.called)
			continue;
		/* Both sleep: what the back end kept comes at last. */
		must(w.num_held, "both sides wait for each other");
		device_complete_batch(0);
	}
	must(!w.num_held && !w.q.in_use, "held after all was completed");
	queue_stop(&w.q);
}

/* --- A run ---------------------------------------------------------------- */

static void world_turn(void)
{
	struct driver_ring *r = &w.ring;

	if (r->packed) {
		r->avail = r->used = (uint16_t)(r->size - 1);
		w.base = (r->used | 0x8000u) * 0x10001u;
		/* What came before was used. */
		for (uint64_t i = 0; i < r->used; i++)
			put_le16(driver_mem_ptr(&w.mem, r->desc + 16 * i + 14,
						2),
				 0x8080);
		return;
	}
	r->avail = r->used = 0xfffe;
	w.base = 0xfffe;
	put_le16(driver_mem_ptr(&w.mem, r->driver + 2, 2), 0xfffe);
	put_le16(driver_mem_ptr(&w.mem, r->device + 2, 2), 0xfffe);
}

static void world_init(const struct scenario *s)
{
	memset(&w.reqs, 0, sizeof(w.reqs));
	w.s = s;
	w.mem = (struct driver_mem){world_memory, 0x100000,
				    sizeof(world_memory), 0};
	w.gmem.num_regions = 1;
	w.gmem.regions[0] = (struct gmem_region){0x100000, sizeof(world_memory),
						 world_memory, 0};
	w.num_reqs = s->size + 4;
	w.num_added = w.num_completed = w.takes = w.pops = w.crashes = 0;
	w.kicked = w.called = false;
	memset(world_region, 0, sizeof(world_region));
	driver_ring_init(&w.ring, &w.mem, s->size,
			 (s->packed ? DRIVER_F_PACKED : 0) |
				 (s->event_idx ? DRIVER_F_EVENT : 0) |
				 (s->indirect ? DRIVER_F_INDIRECT : 0));
	w.buf = driver_mem_alloc(&w.mem, REQUESTS_MAX * PIECES * PIECE, PIECE);
	memset(driver_mem_ptr(&w.mem, w.buf, REQUESTS_MAX * PIECES * PIECE), 0,
	       REQUESTS_MAX * PIECES * PIECE);
	w.base = driver_ring_base(&w.ring);
	if (s->turned)
		world_turn();
	driver_ring_want_call(&w.ring, 0);
}

/* The dead device is nobody's business, but the driver may go on. */
static void world_between_lives(void)
{
	w.crashes++;
	if (!w.s->awake)
		return;
	driver_collect();
	driver_ring_want_call(&w.ring, 0);
	driver_step();
}

enum world_end world_run(const struct scenario *s, const unsigned int *crash,
			 unsigned int num_crashes, const char **ret_why)
{
	static volatile unsigned int life;

	life = 0;
	if (setjmp(world_bad)) {
		*ret_why = w.why;
		return WORLD_BAD;
	}
	w.crash_at = NEVER;
	world_init(s);
	if (setjmp(world_dead)) {
		life = life + 1;
		w.crash_at = NEVER;
		world_between_lives();
	}
	w.stores = 0;
	w.crash_at = life < num_crashes ? crash[life] : NEVER;
	device_live();
	w.crash_at = NEVER;
	driver_collect();
	must(w.num_completed == w.num_reqs, "lost");
	return life < num_crashes ? WORLD_NO_TIME : WORLD_DONE;
}
