/* SPDX-License-Identifier: Apache-2.0 */
/* The session: every message in every state, as the broker sees it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/num.h"
#include "tests/peer/driver_ring.h"
#include "tests/unit/virtio/fake_device.h"

#define MEM_SIZE (64 * 1024)
#define ROUNDS	 2000 /* of the loop, until an answer must be there */

static struct fake *f;
static struct channel *ch;
static struct channel_msg got;
static uint32_t seq;
static unsigned int events[64]; /* by kind */

static void use(unsigned int workers)
{
	struct err e;

	f = fake_new(workers);
	seq = 0;
	cr_assert_eq(channel_new(dup(f->peer), &channel_format_device, false,
				 &ch, &e),
		     0);
}

static void begin(void)
{
	use(0);
}

static void done(void)
{
	channel_free(ch);
	fake_free(f);
}

static uint32_t post(Bulkhead__DeviceBody *body, const int *fds,
		     unsigned int num)
{
	Bulkhead__DeviceMessage m;
	struct err e = {0};

	bulkhead__device_message__init(&m);
	m.seq = ++seq;
	m.body = body;
	cr_assert_eq(channel_send(ch, &m.base, fds, num, &e), 0, "%s", e.text);
	return seq;
}

/* The next answer; events before it are counted. */
static const Bulkhead__DeviceMessage *answer_to(uint32_t want)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct err e = {0};
		const Bulkhead__DeviceMessage *m;

		fake_run(f);
		if (channel_recv(ch, &got, &e) <= 0)
			continue;
		m = (const void *)got.msg;
		if (!m->answers) {
			events[m->body->kind_case]++;
			continue;
		}
		cr_assert_eq(m->answers, want);
		return m;
	}
	cr_assert_fail("no answer to %u", want);
	return NULL;
}

static int code_of(Bulkhead__DeviceBody *body, const int *fds, unsigned int num)
{
	return answer_to(post(body, fds, num))->status->code;
}

/* ---- one function a message ---- */

#define MESSAGE(var, field, kind)                                              \
	Bulkhead__DeviceBody body;                                             \
	bulkhead__device_body__init(&body);                                    \
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_##kind;                   \
	body.field = var

static int hello(uint32_t min, uint32_t max)
{
	Bulkhead__Hello m;

	bulkhead__hello__init(&m);
	m.min_version = min;
	m.max_version = max;
	MESSAGE(&m, hello, HELLO);
	return code_of(&body, NULL, 0);
}

static int setup_with(uint32_t queue_size)
{
	Bulkhead__DeviceSetup m;
	Bulkhead__RngSetup rng;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	bulkhead__device_setup__init(&m);
	bulkhead__rng_setup__init(&rng);
	m.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_RNG;
	m.rng = &rng;
	m.queue_size = queue_size;
	MESSAGE(&m, setup, SETUP);
	r = code_of(&body, &fd, 1);
	close(fd);
	return r;
}

static int setup(void)
{
	return setup_with(0);
}

static int set_features(uint64_t features)
{
	Bulkhead__SetFeatures m;

	bulkhead__set_features__init(&m);
	m.features = features;
	MESSAGE(&m, set_features, SET_FEATURES);
	return code_of(&body, NULL, 0);
}

static int set_features_ok(void)
{
	return set_features(DRIVER_F_VERSION1);
}

static int set_mem_table(void)
{
	Bulkhead__MemTable m;
	Bulkhead__MemRegion region, *list = &region;
	int fd = memfd_create("guest", MFD_ALLOW_SEALING | MFD_CLOEXEC), r;

	cr_assert(fd >= 0 && !ftruncate(fd, MEM_SIZE) &&
		  !fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
	bulkhead__mem_region__init(&region);
	region.size = MEM_SIZE;
	bulkhead__mem_table__init(&m);
	m.regions = &list;
	m.n_regions = 1;
	MESSAGE(&m, set_mem_table, SET_MEM_TABLE);
	r = code_of(&body, &fd, 1);
	close(fd);
	return r;
}

static uint32_t post_start(uint32_t index, uint32_t size, int call_flags)
{
	Bulkhead__StartQueue m;
	int fds[2] = {eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		      open("/dev/null", call_flags | O_CLOEXEC)};
	uint32_t ret;

	bulkhead__start_queue__init(&m);
	m.index = index;
	m.size = size;
	m.desc = 4096ull * (3 * index + 1);
	m.driver = 4096ull * (3 * index + 2);
	m.device = 4096ull * (3 * index + 3);
	MESSAGE(&m, start_queue, START_QUEUE);
	ret = post(&body, fds, 2);
	close(fds[0]);
	close(fds[1]);
	return ret;
}

static int start_queue(void)
{
	return answer_to(post_start(0, 8, O_RDWR))->status->code;
}

static uint32_t post_stop(uint32_t index)
{
	Bulkhead__StopQueue m;

	bulkhead__stop_queue__init(&m);
	m.index = index;
	MESSAGE(&m, stop_queue, STOP_QUEUE);
	return post(&body, NULL, 0);
}

static int stop_queue(void)
{
	return answer_to(post_stop(0))->status->code;
}

static int config_write(uint32_t offset, size_t len)
{
	Bulkhead__ConfigWrite m;
	uint8_t data[16] = {1, 2, 3, 4, 5, 6, 7, 8};

	bulkhead__config_write__init(&m);
	m.offset = offset;
	m.data.data = data;
	m.data.len = len;
	MESSAGE(&m, config_write, CONFIG_WRITE);
	return code_of(&body, NULL, 0);
}

static int config_write_ok(void)
{
	return config_write(0, 8);
}

static uint32_t post_reset(void)
{
	Bulkhead__Reset m;

	bulkhead__reset__init(&m);
	MESSAGE(&m, reset, RESET);
	return post(&body, NULL, 0);
}

static int reset(void)
{
	return answer_to(post_reset())->status->code;
}

static int quiesce(void)
{
	Bulkhead__Quiesce m;

	bulkhead__quiesce__init(&m);
	MESSAGE(&m, quiesce, QUIESCE);
	return code_of(&body, NULL, 0);
}

static int attach(void)
{
	Bulkhead__Attach m;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	bulkhead__attach__init(&m);
	MESSAGE(&m, attach, ATTACH);
	r = code_of(&body, &fd, 1);
	close(fd);
	return r;
}

static int console_size(void)
{
	Bulkhead__ConsoleSize m;

	bulkhead__console_size__init(&m);
	MESSAGE(&m, console_size, CONSOLE_SIZE);
	return code_of(&body, NULL, 0);
}

static int needs_reset(void) /* only devices say so */
{
	Bulkhead__NeedsReset m;

	bulkhead__needs_reset__init(&m);
	MESSAGE(&m, needs_reset, NEEDS_RESET);
	return code_of(&body, NULL, 0);
}

/* @add: bytes more than announced; negative: too short */
static int set_inflight_with(uint32_t queues, uint32_t size, uint64_t stride,
			     int64_t add, int seals)
{
	Bulkhead__SetInflight m;
	int fd = memfd_create("inflight", MFD_ALLOW_SEALING | MFD_CLOEXEC), r;
	int64_t len = (int64_t)(2 * stride + INFLIGHT_STATE_SIZE) + add;

	cr_assert(fd >= 0 && !ftruncate(fd, len) &&
		  !fcntl(fd, F_ADD_SEALS, seals));
	bulkhead__set_inflight__init(&m);
	m.num_queues = queues;
	m.max_queue_size = size;
	m.stride = stride;
	MESSAGE(&m, set_inflight, SET_INFLIGHT);
	r = code_of(&body, &fd, 1);
	close(fd);
	return r;
}

#define SEALS (F_SEAL_GROW | F_SEAL_SHRINK)

static int set_inflight(void)
{
	return set_inflight_with(2, 16, 4096, 0, SEALS);
}

static int recover_with(size_t num)
{
	Bulkhead__Recover m;
	uint64_t poison[65] = {0};

	bulkhead__recover__init(&m);
	m.poison = poison;
	m.n_poison = num;
	MESSAGE(&m, recover, RECOVER);
	return code_of(&body, NULL, 0);
}

static int recover(void)
{
	return recover_with(64);
}

static int ping(void)
{
	Bulkhead__Ping m;

	bulkhead__ping__init(&m);
	MESSAGE(&m, ping, PING);
	return code_of(&body, NULL, 0);
}

static int hello_ok(void)
{
	return hello(1, 1);
}

static void get_ready(void)
{
	cr_assert_eq(hello_ok(), 0);
	cr_assert_eq(setup(), 0);
	cr_assert_eq(set_mem_table(), 0);
	cr_assert_eq(set_features_ok(), 0);
}

/* ---- the table ---- */

enum state { HELLO, SETUP, READY, STARTED, NUM_STATES };

static const struct {
	const char *name;
	int (*send)(void);
	int want[NUM_STATES];
} table[] = {
	{"Hello", hello_ok, {0, -EPROTO, -EPROTO, -EPROTO}},
	{"DeviceSetup", setup, {-EPROTO, 0, -EPROTO, -EPROTO}},
	{"SetFeatures", set_features_ok, {-EPROTO, -EPROTO, 0, -EBUSY}},
	{"SetMemTable", set_mem_table, {-EPROTO, -EPROTO, 0, -EBUSY}},
	{"StartQueue", start_queue, {-EPROTO, -EPROTO, 0, -EPROTO}},
	{"StopQueue", stop_queue, {-EPROTO, -EPROTO, -EPROTO, 0}},
	{"ConfigWrite", config_write_ok, {-EPROTO, -EPROTO, 0, 0}},
	{"Reset", reset, {-EPROTO, -EPROTO, 0, 0}},
	{"Quiesce", quiesce, {-EPROTO, -EPROTO, 0, 0}},
	{"Attach", attach, {-EPROTO, -EPROTO, 0, 0}},
	{"ConsoleSize", console_size, {-EPROTO, -EPROTO, 0, 0}},
	{"SetInflight", set_inflight, {-EPROTO, -EPROTO, 0, -EPROTO}},
	{"Recover", recover, {-EPROTO, -EPROTO, -EPROTO, -EPROTO}},
	{"Ping", ping, {-EPROTO, -EPROTO, 0, 0}},
	{"NeedsReset", needs_reset, {-EPROTO, -EPROTO, -EPROTO, -EPROTO}},
};

Test(device_msg, answers_each_message_in_each_state, .timeout = 60)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		for (int state = HELLO; state < NUM_STATES; state++) {
			begin();
			if (state == SETUP)
				cr_assert_eq(hello_ok(), 0);
			if (state >= READY)
				get_ready();
			if (state == STARTED)
				cr_assert_eq(start_queue(), 0);
			cr_assert_eq(table[i].send(), table[i].want[state],
				     "%s in state %d", table[i].name, state);
			done();
		}
}

TestSuite(session, .init = begin, .fini = done, .timeout = 60);

Test(session, refuses_other_versions)
{
	cr_assert_eq(hello(2, 3), -EPROTONOSUPPORT);
	cr_assert(fake_run(f), "the process ends");
}

Test(session, refuses_versions_in_disorder)
{
	cr_assert_eq(hello(1, 0), -EPROTONOSUPPORT);
}

Test(session, needs_memory_and_features_for_a_queue)
{
	hello_ok();
	setup();
	cr_assert_eq(start_queue(), -EPROTO);
	cr_assert_eq(set_mem_table(), 0);
	cr_assert_eq(start_queue(), -EPROTO);
	cr_assert_eq(set_features_ok(), 0);
	cr_assert_eq(start_queue(), 0);
	cr_assert_eq(f->starts, 1);
	cr_assert_geq(f->kicks, 1, "scanned without a kick");
}

Test(session, reset_forgets_the_features)
{
	get_ready();
	cr_assert_eq(reset(), 0);
	cr_assert_eq(f->resets, 1);
	cr_assert_eq(f->dev.acked, 0);
	cr_assert_eq(start_queue(), -EPROTO);
	cr_assert_eq(set_features_ok(), 0);
	cr_assert_eq(start_queue(), 0);
}

Test(session, checks_numbers)
{
	get_ready();
	cr_assert_eq(set_features(0), -EINVAL);
	cr_assert_eq(set_features(DRIVER_F_VERSION1 | 1ull << 60), -EINVAL);
	cr_assert_eq(config_write(0, 9), -EINVAL);
	cr_assert_eq(config_write(1, 8), -EINVAL);
	cr_assert_eq(config_write(UINT32_MAX, 1), -EINVAL);
	cr_assert_eq(answer_to(post_start(2, 8, O_RDWR))->status->code,
		     -EINVAL);
	cr_assert_eq(answer_to(post_start(0, 32, O_RDWR))->status->code,
		     -EINVAL);
	cr_assert_eq(answer_to(post_start(0, 8, O_RDONLY))->status->code,
		     -EBADF);
	cr_assert_eq(answer_to(post_stop(UINT32_MAX))->status->code, -EINVAL);
	cr_assert_eq(start_queue(), 0, "and is none the worse for it");
}

Test(session, refuses_an_impossible_setup)
{
	hello_ok();
	cr_assert_eq(setup_with(3), -EINVAL);
	cr_assert(fake_run(f), "half open: the process ends");
}

Test(session, ends_when_the_device_cannot_open)
{
	f->refuse_open = true;
	hello_ok();
	cr_assert_eq(setup(), -ENXIO);
	cr_assert(fake_run(f));
}

Test(session, ends_when_it_cannot_be_locked)
{
	f->refuse_lock = true;
	hello_ok();
	cr_assert_eq(setup(), -EPERM);
	cr_assert(fake_run(f));
}

/* The answers to Stop and Reset wait for what is in flight. */
Test(session, drains_before_it_answers)
{
	const Bulkhead__DeviceMessage *m;
	uint32_t stop, again;

	get_ready();
	f->busy = true;
	cr_assert_eq(start_queue(), 0);
	stop = post_stop(0);
	fake_run(f);
	again = post_stop(0);
	m = answer_to(again);
	cr_assert_eq(m->status->code, -EPROTO);
	fake_drained(f, 0);
	fake_drained(f, 0);
	m = answer_to(stop);
	cr_assert_eq(m->status->code, 0);
	cr_assert_eq(m->body->kind_case,
		     BULKHEAD__DEVICE_BODY__KIND_QUEUE_STATE);
	cr_assert_eq(m->body->queue_state->index, 0);
}

Test(session, reset_drains_all_queues)
{
	uint32_t seq_reset;

	get_ready();
	f->busy = true;
	cr_assert_eq(start_queue(), 0);
	cr_assert_eq(answer_to(post_start(1, 8, O_RDWR))->status->code, 0);
	seq_reset = post_reset();
	fake_run(f);
	cr_assert_eq(reset(), -EBUSY);
	cr_assert_eq(start_queue(), -EBUSY);
	cr_assert_eq(set_features_ok(), -EBUSY);
	cr_assert_eq(f->resets, 0);
	fake_drained(f, 1);
	fake_run(f);
	cr_assert_eq(f->resets, 0);
	fake_drained(f, 0);
	cr_assert_eq(answer_to(seq_reset)->status->code, 0);
	cr_assert_eq(f->resets, 1);
}

/* A broker that doesn't wait for answers gets all of them, in an order that
 * makes sense. */
Test(session, takes_a_stop_that_overtakes_its_start)
{
	uint32_t start, stop;

	get_ready();
	start = post_start(0, 8, O_RDWR);
	stop = post_stop(0);
	cr_assert_eq(answer_to(start)->status->code, 0);
	cr_assert_eq(answer_to(stop)->status->code, 0);
	start = post_start(0, 8, O_RDWR);
	stop = post_reset();
	cr_assert_eq(answer_to(start)->status->code, 0);
	cr_assert_eq(answer_to(stop)->status->code, 0);
}

Test(session, tells_of_a_broken_driver_once)
{
	struct gmem *mem = &f->dev.mem;

	get_ready();
	cr_assert_eq(start_queue(), 0);
	/* An available index that jumps. */
	((uint16_t *)gmem_ptr(mem, 8192, 4))[1] = 100;
	eventfd_write(f->rt.links[0].kick_fd, 1);
	fake_run(f);
	eventfd_write(f->rt.links[0].kick_fd, 1);
	cr_assert_eq(attach(), 0);
	cr_assert_eq(events[BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET], 1);
}

Test(session, tells_of_a_changed_configuration)
{
	get_ready();
	cr_assert_eq(config_write(2, 4), 0);
	cr_assert_eq(f->dev.config[2], 1);
	cr_assert_eq(attach(), 0);
	cr_assert_eq(events[BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED], 1);
}

Test(session, ends_cleanly_with_its_channel)
{
	get_ready();
	cr_assert_eq(start_queue(), 0);
	channel_free(ch);
	ch = NULL;
	close(f->peer);
	f->peer = -1;
	cr_assert(fake_run(f));
	cr_assert_eq(f->quiesces, 1);
	cr_assert_eq(f->rt.exit_code, 0);
}

Test(session, ends_with_a_fault_on_garbage)
{
	get_ready();
	cr_assert_eq(send(f->peer, "garbage", 7, 0), 7);
	fake_run(f);
	cr_assert(fake_run(f));
	cr_assert_eq(f->rt.exit_code, 1);
}

/* A broker that doesn't read: no more requests are read, nothing is lost and
 * nothing grows. */
Test(session, outlasts_a_broker_that_does_not_read)
{
	Bulkhead__ConfigWrite w;
	uint8_t byte = 7;
	unsigned int posted = 0, answered = 0;
	struct err e;

	get_ready();
	bulkhead__config_write__init(&w);
	w.data.data = &byte;
	w.data.len = 1;
	MESSAGE(&w, config_write, CONFIG_WRITE);
	for (unsigned int i = 0; i < 3000; i++) {
		Bulkhead__DeviceMessage m;

		bulkhead__device_message__init(&m);
		m.seq = seq + 1;
		m.body = &body;
		if (channel_send(ch, &m.base, NULL, 0, &e) == 0) {
			seq++;
			posted++;
		} else {
			fake_run(f);
		}
		cr_assert_leq(f->rt.out_len, 2);
	}
	cr_assert_gt(posted, 0);
	for (unsigned int i = 0; i < 20 * ROUNDS && answered < posted; i++) {
		const Bulkhead__DeviceMessage *m;

		if (channel_recv(ch, &got, &e) <= 0) {
			fake_run(f);
			continue;
		}
		m = (const void *)got.msg;
		answered += m->answers != 0;
	}
	cr_assert_eq(answered, posted);
}

Test(session, checks_the_inflight_memory)
{
	get_ready();
	cr_assert_eq(set_inflight_with(1, 16, 4096, 0, SEALS), -EINVAL);
	cr_assert_eq(set_inflight_with(2, 32, 4096, 0, SEALS), -EINVAL);
	cr_assert_eq(set_inflight_with(2, 16, 4095, 0, SEALS), -EINVAL);
	cr_assert_eq(set_inflight_with(2, 16, 0, 0, SEALS), -EINVAL);
	cr_assert_eq(set_inflight_with(2, 16, 1 << 24, 0, SEALS), -EINVAL);
	cr_assert_eq(set_inflight_with(2, 16, 4096, -1, SEALS), -EINVAL);
	cr_assert_eq(set_inflight_with(2, 16, 4096, 0, F_SEAL_GROW), -EINVAL);
	cr_assert_eq(set_inflight(), 0);
	cr_assert_eq(set_inflight(), -EPROTO, "once");
	cr_assert_eq(recover_with(65), -EINVAL);
	cr_assert_eq(recover(), 0);
	cr_assert_eq(start_queue(), 0);
	cr_assert_eq(recover(), -EPROTO, "before the first queue");
	cr_assert_eq(f->reveals, 1);
}

/* A ring that the queue never saw, and a region that can't be. */
Test(session, refuses_a_region_that_makes_no_sense)
{
	struct inflight_split *r;

	get_ready();
	cr_assert_eq(set_inflight(), 0);
	r = (void *)f->rt.inflight;
	r->version = 7;
	cr_assert_eq(start_queue(), 0);
	cr_assert_eq(ping(), 0);
	cr_assert_eq(events[BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET], 1);
	cr_assert_eq(reset(), 0);
	cr_assert_eq(r->version, 0, "the next start is a fresh one");
	cr_assert_eq(set_features_ok(), 0);
	cr_assert_eq(start_queue(), 0);
	cr_assert_eq(ping(), 0);
	cr_assert_eq(events[BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET], 1);
	cr_assert_eq(r->version, INFLIGHT_VERSION);
	cr_assert_eq(quiesce(), 0);
	cr_assert_eq(r->version, INFLIGHT_VERSION, "for the successor");
}

Test(session_threads, asks_each_worker_for_a_sign_of_life, .timeout = 60)
{
	use(2);
	get_ready();
	for (unsigned int i = 0; i < 50; i++)
		cr_assert_eq(ping(), 0);
}

/* The same with threads of their own. */
Test(session_threads, starts_and_stops_many_times, .timeout = 60)
{
	use(2);
	get_ready();
	for (unsigned int i = 0; i < 50; i++) {
		uint32_t a = post_start(0, 8, O_RDWR), b, c;

		cr_assert_eq(answer_to(a)->status->code, 0);
		b = post_start(1, 8, O_RDWR);
		cr_assert_eq(answer_to(b)->status->code, 0);
		if (i % 2) {
			cr_assert_eq(reset(), 0);
			cr_assert_eq(set_features_ok(), 0);
			continue;
		}
		c = post_stop(0);
		cr_assert_eq(answer_to(c)->status->code, 0);
		c = post_stop(1);
		cr_assert_eq(answer_to(c)->status->code, 0);
	}
	cr_assert_eq(f->starts, 100);
	/* Threads have no end but the process's. */
}
