/* SPDX-License-Identifier: Apache-2.0 */

/* Acts before service: of the handshake, and of the record's replay. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/sandbox/sandbox.h"
#include "common/virtio/runtime.h"
#include "tests/hostile/hostile.h"

#define KIND(name) BULKHEAD__DEVICE_BODY__KIND_##name

/* ---- DeviceSetup has come ---- */

static void open_silent(void)
{
	for (;;)
		pause();
}

static void open_exit(void)
{
	_exit(0);
}

static void open_trap(void)
{
	__builtin_trap();
}

static void open_refuse(void)
{
	wire_hello();
	wire_answer(hostile.asked[KIND(SETUP)], -EIO, WIRE_FORGED, NULL);
	open_silent();
}

static void open_hello_body(void)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Ping m = BULKHEAD__PING__INIT;

	body.kind_case = KIND(PING);
	body.ping = &m;
	wire_answer(hostile.asked[KIND(HELLO)], 0, "", &body);
}

static void open_hello_version(void)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__HelloReply m = BULKHEAD__HELLO_REPLY__INIT;

	m.version = 77;
	body.kind_case = KIND(HELLO_REPLY);
	body.hello_reply = &m;
	wire_answer(hostile.asked[KIND(HELLO)], 0, "", &body);
}

static void open_garbage(void)
{
	wire_raw("\377\377\377garbage", 10, NULL, 0);
}

static void open_event(void)
{
	wire_config(60);
}

static void open_close(void)
{
	close(SANDBOX_FD_CHANNEL);
	open_silent();
}

/* ---- DeviceInfo goes out ---- */

static Bulkhead__DeviceInfo *info(void)
{
	return hostile.out->body->info;
}

static void info_no_body(void)
{
	hostile.out->body = NULL;
}

static void info_other_body(void)
{
	static Bulkhead__QueueState m = BULKHEAD__QUEUE_STATE__INIT;

	hostile.out->body->kind_case = KIND(QUEUE_STATE);
	hostile.out->body->queue_state = &m;
}

static void info_no_queues(void)
{
	info()->num_queues = 0;
}

static void info_queues(void)
{
	info()->num_queues = 65536;
}

static void info_size_none(void)
{
	info()->max_queue_size = 0;
}

static void info_size_odd(void)
{
	info()->max_queue_size = 100;
}

static void info_size_huge(void)
{
	info()->max_queue_size = 65536;
}

static void info_config_long(void)
{
	static uint8_t bytes[4096];

	info()->config.data = bytes;
	info()->config.len = sizeof(bytes);
}

static void info_config_short(void)
{
	info()->config.len = 8;
}

/* As long as may be: later ConfigChanged are of this length. */
static void info_config_grown(void)
{
	static uint8_t bytes[256];

	memcpy(bytes, hostile.dev->config, sizeof(bytes));
	info()->config.data = bytes;
	info()->config.len = sizeof(bytes);
}

static void info_features(void)
{
	info()->features = 0;
}

static void info_id_other(void)
{
	info()->virtio_id = 4;
}

static void info_id_huge(void)
{
	info()->virtio_id = 0xffffffff;
}

static void info_notes(void)
{
	static char note[] = WIRE_FORGED;
	static char *notes[2000];

	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		notes[i] = note;
	info()->sandbox->layers = notes;
	info()->sandbox->n_layers = ARRAY_SIZE(notes);
	info()->sandbox->downgrades = notes;
	info()->sandbox->n_downgrades = ARRAY_SIZE(notes);
	info()->sandbox->syscalls = 0xffffffff;
}

static void info_twice(void)
{
	wire_message(hostile.out, NULL, 0);
}

static void info_then_exit(void)
{
	wire_message(hostile.out, NULL, 0);
	_exit(0);
}

/* ---- other answers ---- */

static bool answers(Bulkhead__DeviceBody__KindCase kind)
{
	return hostile.out && hostile.asked[kind] &&
	       hostile.out->answers == hostile.asked[kind];
}

static void keep_back(Bulkhead__DeviceBody__KindCase kind)
{
	if (answers(kind))
		hostile.out = NULL;
}

static void features_unanswered(void)
{
	keep_back(KIND(SET_FEATURES));
}

static void start_unanswered(void)
{
	keep_back(KIND(START_QUEUE));
}

static void reset_unanswered(void)
{
	keep_back(KIND(RESET));
}

static void ping_unanswered(void)
{
	keep_back(KIND(PING));
}

static void refuse(Bulkhead__DeviceBody__KindCase kind)
{
	if (!answers(kind))
		return;
	hostile.out->status->code = -EIO;
	hostile.out->status->text = (char *)(uintptr_t)WIRE_FORGED;
}

static void memory_refused(void)
{
	refuse(KIND(SET_MEM_TABLE));
}

static void inflight_refused(void)
{
	refuse(KIND(SET_INFLIGHT));
}

static void features_refused(void)
{
	refuse(KIND(SET_FEATURES));
}

static void start_refused(void)
{
	refuse(KIND(START_QUEUE));
}

/* A body that is none of this answer's, with the descriptors that it has. */
static void answer_with(Bulkhead__DeviceBody__KindCase kind)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__StartQueue m = BULKHEAD__START_QUEUE__INIT;
	const int fds[2] = {SANDBOX_FD_CHANNEL, SANDBOX_FD_LOG};

	if (!answers(kind))
		return;
	body.kind_case = KIND(START_QUEUE);
	body.start_queue = &m;
	hostile.out->body = &body;
	wire_message(hostile.out, fds, 2);
	hostile.out = NULL;
}

static void start_body(void)
{
	answer_with(KIND(START_QUEUE));
}

static void reset_body(void)
{
	answer_with(KIND(RESET));
}

static void start_twice(void)
{
	if (answers(KIND(START_QUEUE)))
		wire_message(hostile.out, NULL, 0);
}

static void slow_answers(void)
{
	wire_spin(200);
}

const struct act acts_start[] = {
	{"silent", ACT_OPEN, open_silent},
	{"exit-early", ACT_OPEN, open_exit},
	{"trap-early", ACT_OPEN, open_trap},
	{"refuse", ACT_OPEN, open_refuse},
	{"hello-body", ACT_OPEN, open_hello_body},
	{"hello-version", ACT_OPEN, open_hello_version},
	{"garbage-early", ACT_OPEN, open_garbage},
	{"event-early", ACT_OPEN, open_event},
	{"close-early", ACT_OPEN, open_close},
	{"info-no-body", ACT_INFO, info_no_body},
	{"info-other-body", ACT_INFO, info_other_body},
	{"info-no-queues", ACT_INFO, info_no_queues},
	{"info-queues", ACT_INFO, info_queues},
	{"info-size-none", ACT_INFO, info_size_none},
	{"info-size-odd", ACT_INFO, info_size_odd},
	{"info-size-huge", ACT_INFO, info_size_huge},
	{"info-config-long", ACT_INFO, info_config_long},
	{"info-config-short", ACT_INFO, info_config_short},
	{"info-config-grown", ACT_INFO, info_config_grown},
	{"info-features", ACT_INFO, info_features},
	{"info-id-other", ACT_INFO, info_id_other},
	{"info-id-huge", ACT_INFO, info_id_huge},
	{"info-notes", ACT_INFO, info_notes},
	{"info-twice", ACT_INFO, info_twice},
	{"info-then-exit", ACT_INFO, info_then_exit},
	{"features-unanswered", ACT_REPLY, features_unanswered},
	{"start-unanswered", ACT_REPLY, start_unanswered},
	{"reset-unanswered", ACT_REPLY, reset_unanswered},
	{"ping-unanswered", ACT_REPLY, ping_unanswered},
	{"memory-refused", ACT_REPLY, memory_refused},
	{"inflight-refused", ACT_REPLY, inflight_refused},
	{"features-refused", ACT_REPLY, features_refused},
	{"start-refused", ACT_REPLY, start_refused},
	{"start-body", ACT_REPLY, start_body},
	{"reset-body", ACT_REPLY, reset_body},
	{"start-twice", ACT_REPLY, start_twice},
	{"slow-answers", ACT_REPLY, slow_answers},
	{0},
};
