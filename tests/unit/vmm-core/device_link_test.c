/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/device_link.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "common/base/log.h"
#include "common/base/num.h"
#include "tests/unit/vmm-core/pci_fakes.h"

#define V1	   VIRTIO_FEATURE_VERSION_1
#define PACKED	   VIRTIO_FEATURE_RING_PACKED
#define WCE	   (1ull << 11)
#define DEVICE	   7u
#define NUM_QUEUES 12u

static Bulkhead__DeviceInfo info;
static Bulkhead__AddDevice add;
static char id[] = "disk0";
static uint8_t config[60];

static void fill_add(void)
{
	bulkhead__device_info__init(&info);
	info.virtio_id = 2;
	info.features = V1 | PACKED | WCE;
	info.num_queues = NUM_QUEUES;
	info.max_queue_size = 256;
	info.config.data = config;
	info.config.len = sizeof(config);
	bulkhead__add_device__init(&add);
	add.device = DEVICE;
	add.slot = FAKE_SLOT;
	add.info = &info;
	add.id = id;
}

static void setup(void)
{
	struct err e = {0};

	fake_start();
	fill_add();
	cr_assert_eq(device_link_add(&fake.vm, &add, &e), 0, "%s", e.text);
	drv_decode();
}

TestSuite(device_link, .init = setup, .fini = fake_stop);

/* Driver ready with @num queues; nothing sent yet */
static void drive(uint64_t features, unsigned int num)
{
	drv_accept(features);
	for (unsigned int i = 0; i < num; i++)
		drv_queue(i, -1);
	drv_ready();
}

static int event(Bulkhead__DeviceBody *body)
{
	Bulkhead__DeviceRelay relay = BULKHEAD__DEVICE_RELAY__INIT;
	struct err e = {0};

	relay.device = DEVICE;
	relay.body = body;
	return device_link_event(&fake.vm, &relay, &e);
}

static int event_needs_reset(void)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__NeedsReset ev;

	bulkhead__needs_reset__init(&ev);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET;
	body.needs_reset = &ev;
	return event(&body);
}

static int event_config(size_t len)
{
	static uint8_t bytes[300] = {0x42};
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__ConfigChanged ev = BULKHEAD__CONFIG_CHANGED__INIT;

	ev.config.data = bytes;
	ev.config.len = len;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED;
	body.config_changed = &ev;
	return event(&body);
}

static unsigned int num_sent(Bulkhead__DeviceBody__KindCase kind)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < fake.num_sent; i++)
		n += fake.sent[i].kind == kind;
	return n;
}

#define SET_FEATURES BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES
#define START_QUEUE  BULKHEAD__DEVICE_BODY__KIND_START_QUEUE
#define CONFIG_WRITE BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE
#define RESET	     BULKHEAD__DEVICE_BODY__KIND_RESET

Test(device_link, unacceptable_descriptions)
{
	static uint8_t big[257];
	struct err e = {0};

#define REFUSED(change)                                                        \
	do {                                                                   \
		fill_add();                                                    \
		add.device = 8;                                                \
		add.slot = 4;                                                  \
		change;                                                        \
		e.text[0] = 0;                                                 \
		cr_assert_eq(device_link_add(&fake.vm, &add, &e), -EINVAL,     \
			     #change);                                         \
		cr_assert(e.text[0]);                                          \
	} while (0)
	REFUSED(add.info = NULL);
	REFUSED(info.virtio_id = 0);
	REFUSED(info.virtio_id = 64);
	REFUSED(info.num_queues = 0);
	REFUSED(info.num_queues = 65);
	REFUSED(info.max_queue_size = 0);
	REFUSED(info.max_queue_size = 100);
	REFUSED(info.max_queue_size = 65536);
	REFUSED(info.features = 0);
	REFUSED((info.config.data = big, info.config.len = 257));
	REFUSED(add.slot = 0);
	REFUSED(add.slot = 32);
	REFUSED(add.device = DEVICE);
#undef REFUSED
	fill_add();
	add.device = 8;
	cr_assert_eq(device_link_add(&fake.vm, &add, &e), -EEXIST);
	add.slot = 4;
	cr_assert_eq(device_link_add(&fake.vm, &add, &e), 0);
	cr_assert_eq(cfg_read(4, 0, 4), 0x10421af4u);
}

Test(device_link, start_sends_features_then_queues)
{
	drive(V1 | WCE, 2);
	cr_assert_eq(fake.num_sent, 0u);
	cr_assert_eq(fake.num_posts, 1u);
	fake_run();
	cr_assert_eq(fake.num_sent, 3u);
	cr_assert_eq(fake.sent[0].kind, SET_FEATURES);
	cr_assert_eq(fake.sent[0].features, V1 | WCE);
	cr_assert_eq(fake.sent[0].num_fds, 0u);
	for (unsigned int i = 1; i < 3; i++) {
		cr_assert_eq(fake.sent[i].kind, START_QUEUE);
		cr_assert_eq(fake.sent[i].device, DEVICE);
		cr_assert_eq(fake.sent[i].index, i - 1);
		cr_assert_eq(fake.sent[i].size, 256u);
		cr_assert_eq(fake.sent[i].desc, 0x100000ull * i);
		cr_assert_eq(fake.sent[i].base, 0u);
		cr_assert_eq(fake.sent[i].num_fds, 2u);
		cr_assert(fake_has_bell(FAKE_NOTIFY + 4 * (i - 1),
					fake.sent[i].fds[0]));
		cr_assert_neq(fake.sent[i].fds[0], fake.sent[i].fds[1]);
	}
	for (unsigned int i = 0; i < 3; i++)
		fake_answer(i, 0);
	cr_assert_eq(drv_status(), 0xf);
	cr_assert_eq(fake.num_sent, 3u);
}

Test(device_link, packed_ring_base)
{
	drive(V1 | PACKED, 1);
	fake_run();
	cr_assert_eq(fake.sent[1].base, 0x80008000u);
}

Test(device_link, window_bounds_what_is_unanswered)
{
	drive(V1, NUM_QUEUES);
	fake_run();
	cr_assert_eq(fake.num_sent, (unsigned int)LINK_WINDOW);
	for (unsigned int i = 0; i < NUM_QUEUES + 1; i++)
		fake_answer(i, 0);
	cr_assert_eq(fake.num_sent, NUM_QUEUES + 1);
	cr_assert_eq(num_sent(START_QUEUE), NUM_QUEUES);
}

Test(device_link, refused_request_needs_a_reset)
{
	for (unsigned int refused = 0; refused < 2; refused++) {
		unsigned int first = fake.num_sent;

		drive(V1, 1);
		fake_run();
		fake_answer(first, refused == 0 ? -EINVAL : 0);
		fake_answer(first + 1, refused == 1 ? -EFAULT : 0);
		cr_assert_eq(drv_status(), 0x4f);
		drv_set(DRV_STATUS, 0, 1);
		fake_run();
		fake_answer(first + 2, 0);
		cr_assert_eq(drv_status(), 0);
	}
}

Test(device_link, first_reset_needs_no_device)
{
	drv_set(DRV_STATUS, 0, 1);
	drv_set(DRV_STATUS, 3, 1);
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0);
	fake_run();
	cr_assert_eq(fake.num_sent, 0u);
}

Test(device_link, reset_completes_with_the_answer)
{
	drive(V1, 1);
	fake_run();
	fake_answer(0, 0);
	fake_answer(1, 0);
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0xf);
	fake_run();
	cr_assert_eq(drv_status(), 0xf);
	cr_assert_eq(fake.sent[2].kind, RESET);
	/* polling sends no more */
	for (unsigned int i = 0; i < 10; i++) {
		cr_assert_eq(drv_status(), 0xf);
		fake_run();
	}
	cr_assert_eq(fake.num_sent, 3u);
	fake_answer(2, 0);
	cr_assert_eq(drv_status(), 0);
	/* and the next driver starts anew */
	drive(V1, 1);
	fake_run();
	cr_assert_eq(fake.sent[3].kind, SET_FEATURES);
	cr_assert_eq(fake.sent[4].kind, START_QUEUE);
}

Test(device_link, reset_before_anything_was_sent)
{
	drive(V1, 1);
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0);
	fake_run();
	cr_assert_eq(fake.num_sent, 0u);
	drive(V1, 1);
	fake_run();
	cr_assert_eq(fake.num_sent, 2u);
}

Test(device_link, reset_while_starting)
{
	drive(V1, NUM_QUEUES);
	fake_run();
	drv_set(DRV_STATUS, 0, 1);
	fake_run();
	/* the window is full, the reset goes all the same; no queue does */
	cr_assert_eq(fake.num_sent, LINK_WINDOW + 1u);
	cr_assert_eq(fake.sent[LINK_WINDOW].kind, RESET);
	/* late answers, good and bad, change nothing */
	fake_answer(0, 0);
	fake_answer(1, -EINVAL);
	cr_assert_eq(drv_status(), 0xf);
	cr_assert_eq(fake.num_sent, LINK_WINDOW + 1u);
	fake_answer(LINK_WINDOW, 0);
	cr_assert_eq(drv_status(), 0);
	/* also after the reset, with the next driver at work */
	drive(V1, 1);
	fake_run();
	cr_assert_eq(fake.num_sent, LINK_WINDOW + 3u);
	fake_answer(2, -EINVAL);
	cr_assert_eq(drv_status(), 0xf);
	fake_answer(LINK_WINDOW + 1, 0);
	fake_answer(LINK_WINDOW + 2, 0);
	cr_assert_eq(drv_status(), 0xf);
}

Test(device_link, refused_reset_is_repeated_as_the_driver_polls)
{
	drive(V1, 1);
	fake_run();
	drv_set(DRV_STATUS, 0, 1);
	fake_run();
	fake_answer(2, -EIO);
	cr_assert_eq(fake.num_sent, 3u);
	cr_assert_eq(drv_status(), 0xf);
	fake_run();
	cr_assert_eq(fake.num_sent, 4u);
	cr_assert_eq(fake.sent[3].kind, RESET);
	fake_answer(3, 0);
	cr_assert_eq(drv_status(), 0);
}

Test(device_link, full_channel_is_tried_again)
{
	fake.send_error = -EAGAIN;
	drive(V1, 2);
	fake_run();
	fake_run();
	cr_assert_eq(fake.num_sent, 0u);
	fake.send_error = 0;
	fake_run();
	cr_assert_eq(fake.num_sent, 3u);
	cr_assert_eq(fake.sent[0].kind, SET_FEATURES);
	cr_assert_eq(fake.sent[0].features, V1);
	cr_assert_eq(fake.sent[2].index, 1u);
	fake.send_error = -EAGAIN;
	drv_set(DRV_STATUS, 0, 1);
	fake_run();
	cr_assert_eq(drv_status(), 0xf);
	fake.send_error = 0;
	fake_run();
	cr_assert_eq(fake.sent[3].kind, RESET);
}

Test(device_link, reset_overtakes_what_the_channel_refused)
{
	drive(V1, 2);
	fake_run();
	fake_answer(0, 0);
	fake.send_error = -EAGAIN;
	drv_queue(2, -1);
	fake_run();
	drv_set(DRV_STATUS, 0, 1);
	fake.send_error = 0;
	fake_run();
	cr_assert_eq(fake.num_sent, 4u);
	cr_assert_eq(fake.sent[3].kind, RESET);
}

Test(device_link, dead_channel_and_full_post_queue_need_a_reset)
{
	fake.send_error = -EPIPE;
	drive(V1, 1);
	fake_run();
	cr_assert_eq(drv_status(), 0x4f);
	fake.send_error = 0;
	drv_set(DRV_STATUS, 0, 1);
	fake_run();
	fake_answer(0, 0);
	cr_assert_eq(drv_status(), 0);
	fake.post_error = -EAGAIN;
	drive(V1, 1);
	cr_assert_eq(drv_status(), 0x4f);
	fake.post_error = 0;
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0);
}

Test(device_link, config_writes_follow_the_features)
{
	drv_accept(V1 | WCE);
	drv_set(VIRTIO_PCI_DEVICE + 32, 1, 1);
	fake_run();
	cr_assert_eq(fake.num_sent, 0u);
	drv_ready();
	fake_run();
	cr_assert_eq(fake.num_sent, 2u);
	cr_assert_eq(fake.sent[0].kind, SET_FEATURES);
	cr_assert_eq(fake.sent[1].kind, CONFIG_WRITE);
	cr_assert_eq(fake.sent[1].offset, 32u);
	cr_assert_eq(fake.sent[1].len, 1u);
	cr_assert_eq(fake.sent[1].data[0], 1u);
}

Test(device_link, config_write_flood_is_bounded_and_the_last_value_wins)
{
	drive(V1 | WCE, 0);
	for (unsigned int i = 0; i < 1000; i++)
		drv_set(VIRTIO_PCI_DEVICE + 32, i & 1 ? 0xff : i, 1);
	drv_set(VIRTIO_PCI_DEVICE + 32, 0x5a, 1);
	cr_assert_eq(fake.num_posts, 1u);
	fake_run();
	cr_assert_eq(fake.num_sent, (unsigned int)LINK_WINDOW);
	for (unsigned int i = 0; i < fake.num_sent; i++)
		fake_answer(i, 0);
	cr_assert_eq(fake.num_sent, LINK_WRITES + 1u);
	cr_assert_eq(fake.sent[0].kind, SET_FEATURES);
	/* The newest value replaced a waiting one of the same bytes. */
	cr_assert_eq(fake.sent[LINK_WRITES].data[0], 0x5au);
}

Test(device_link, events)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__BackendClosed closed;
	Bulkhead__DeviceRelay relay = BULKHEAD__DEVICE_RELAY__INIT;
	struct err e = {0};

	bulkhead__backend_closed__init(&closed);
	/* no driver: ignored */
	cr_assert_eq(event_needs_reset(), 0);
	cr_assert_eq(drv_status(), 0);
	cr_assert_eq(event_config(60), 0);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE, 1), 0x42u);
	cr_assert_eq(event_config(59), -EBADMSG);
	cr_assert_eq(event_config(300), -EBADMSG);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED;
	body.backend_closed = &closed;
	cr_assert_eq(event(&body), 0);
	bulkhead__device_body__init(&body);
	cr_assert_eq(event(&body), -EBADMSG);
	cr_assert_eq(event(NULL), -EBADMSG);
	relay.device = 99;
	relay.body = &body;
	cr_assert_eq(device_link_event(&fake.vm, &relay, &e), -EBADMSG);
	drive(V1, 1);
	cr_assert_eq(event_needs_reset(), 0);
	cr_assert_eq(drv_status(), 0x4f);
}

Test(device_link, event_of_the_previous_driver_is_ignored)
{
	drive(V1, 1);
	fake_run();
	drv_set(DRV_STATUS, 0, 1);
	fake_run();
	cr_assert_eq(event_needs_reset(), 0);
	fake_answer(2, 0);
	cr_assert_eq(drv_status(), 0);
}

/* The device of the race below: answers everything, now and then badly. */
static void *control_thread(void *arg)
{
	const bool *stop = arg;
	unsigned int answered = 0;

	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
		fake_run();
		if (answered < fake.num_sent) {
			unsigned int i = answered++;

			fake_answer(i, fake.sent[i].kind == START_QUEUE &&
						       i % 7 == 0
					       ? -EINVAL
					       : 0);
		} else {
			fake.num_sent = answered = 0;
			sched_yield();
		}
	}
	return NULL;
}

/* A driver that starts and resets as fast as it can, against the control
 * thread: each reset completes, whatever it interrupts. */
Test(device_link, reset_races_with_the_start, .timeout = 60)
{
	pthread_t thread;
	bool stop = false;

	log_set_level(LOG_ERROR);
	cr_assert_eq(pthread_create(&thread, NULL, control_thread, &stop), 0);
	for (unsigned int i = 0; i < 500; i++) {
		drive(V1 | WCE, i % (NUM_QUEUES + 1));
		drv_set(VIRTIO_PCI_DEVICE + 32, i & 1, 1);
		for (unsigned int spin = 0; spin < i % 50; spin++)
			sched_yield();
		drv_set(DRV_STATUS, 0, 1);
		while (drv_status())
			sched_yield();
		drv_set(DRV_QUEUE, 0, 2);
		cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(fake.num_bells, 0u);
}

/* ---- another broker ---- */

static void adopted(void)
{
	unsigned int before = fake.num_states;

	cr_assert_eq(device_link_adopted(&fake.vm), 0);
	cr_assert_eq(fake.num_states, before + 1);
}

Test(device_link, another_broker_of_a_device_without_driver)
{
	adopted();
	cr_assert(!fake.state.has_features);
	cr_assert_eq(fake.state.num_queues, 0);
	cr_assert_eq(fake.num_sent, 0);
	/* And then all goes its way. */
	drive(V1, 1);
	fake_run();
	cr_assert_eq(fake.num_sent, 2);
}

Test(device_link, another_broker_hears_what_is_in_force)
{
	drive(V1 | WCE, 10); /* more than the window: some wait */
	drv_set(VIRTIO_PCI_DEVICE + 32, 1, 1);
	fake_run();
	cr_assert_eq(fake.num_sent, LINK_WINDOW);
	adopted();
	cr_assert(fake.state.has_features);
	cr_assert_eq(fake.state.features, V1 | WCE);
	cr_assert_eq(fake.state.num_queues, LINK_WINDOW - 1);
	cr_assert_eq(fake.state.num_fds, 2 * (LINK_WINDOW - 1));
	cr_assert_eq(fake.state.index[LINK_WINDOW - 2], LINK_WINDOW - 2);
	cr_assert_eq(fake.state.num_writes, 1);
	cr_assert_eq(fake.state.write[0].offset, 32);
	cr_assert_eq(fake.state.write[0].len, 1);
	cr_assert_eq(fake.state.write[0].data[0], 1);
	/* What was not asked yet follows; nothing is asked twice. */
	cr_assert_eq(fake.num_sent, LINK_WINDOW + 3);
	cr_assert_eq(num_sent(START_QUEUE), 10);
	cr_assert_eq(num_sent(CONFIG_WRITE), 0);
	cr_assert_eq(drv_status() & VIRTIO_STATUS_NEEDS_RESET, 0);
}

Test(device_link, another_broker_hears_what_the_channel_refused)
{
	drive(V1, 2);
	fake.send_error = -EAGAIN;
	fake_run();
	fake.send_error = 0;
	adopted();
	cr_assert(fake.state.has_features);
	cr_assert_eq(fake.state.num_queues, 0);
	cr_assert_eq(num_sent(SET_FEATURES), 0);
	cr_assert_eq(num_sent(START_QUEUE), 2);
}

Test(device_link, another_broker_before_the_features_were_sent)
{
	drive(V1, 2);
	adopted();
	cr_assert(!fake.state.has_features);
	cr_assert_eq(num_sent(SET_FEATURES), 1);
	cr_assert_eq(num_sent(START_QUEUE), 2);
}

Test(device_link, another_broker_ends_a_reset)
{
	drive(V1, 1);
	fake_run();
	drv_set(DRV_STATUS, 0, 1);
	fake_run();
	cr_assert_neq(drv_status(), 0);
	adopted();
	cr_assert(!fake.state.has_features);
	cr_assert_eq(drv_status(), 0);
	/* The next driver's writes are its own. */
	drive(V1, 1);
	fake_run();
	adopted();
	cr_assert_eq(fake.state.num_queues, 1);
	cr_assert_eq(fake.state.num_writes, 0);
}

Test(device_link, another_broker_gets_long_writes_in_pieces)
{
	drive(V1, 1);
	fake_run();
	for (uint32_t i = 0; i < 12; i += 4)
		drv_set(VIRTIO_PCI_DEVICE + 8 + i, 0x04030201 + i, 4);
	drv_set(VIRTIO_PCI_DEVICE + 40, 0x99, 1);
	fake_run();
	adopted();
	cr_assert_eq(fake.state.num_writes, 3);
	cr_assert_eq(fake.state.write[0].offset, 8);
	cr_assert_eq(fake.state.write[0].len, 8);
	cr_assert_eq(fake.state.write[0].data[4], 5);
	cr_assert_eq(fake.state.write[1].offset, 16);
	cr_assert_eq(fake.state.write[1].len, 4);
	cr_assert_eq(fake.state.write[2].offset, 40);
}
