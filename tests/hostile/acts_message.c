/* SPDX-License-Identifier: Apache-2.0 */

/* Acts in service: messages, log lines, ends. */

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/channel/channel.h"
#include "common/sandbox/sandbox.h"
#include "common/virtio/runtime.h"
#include "tests/hostile/hostile.h"

#define KIND(name) BULKHEAD__DEVICE_BODY__KIND_##name

#define FLOOD_MS   1500
#define MUTATIONS  2000
#define FDS_MOST   253
#define TEXT_LARGE (120 * 1024)

static Bulkhead__DeviceBody body;

static Bulkhead__DeviceBody *body_of(Bulkhead__DeviceBody__KindCase kind)
{
	bulkhead__device_body__init(&body);
	body.kind_case = kind;
	return &body;
}

static void wait_more(void)
{
}

/* ---- no messages ---- */

static void garbage(void)
{
	uint64_t words[8];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = wire_random() | 7; /* no wire type 7 */
	wire_raw(words, sizeof(words), NULL, 0);
}

static void empty(void)
{
	wire_raw("", 0, NULL, 0);
}

static void truncated(void)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__StartQueue q = BULKHEAD__START_QUEUE__INIT;
	uint8_t *data;
	size_t len;

	q.size = q.index = 256;
	m.seq = 1;
	m.body = body_of(KIND(START_QUEUE));
	m.body->start_queue = &q;
	len = wire_pack(&m, &data);
	wire_raw(data, len - 1, NULL, 0);
}

static void oversized(void)
{
	wire_config(CHANNEL_MSG_MAX + 1);
}

/* More memory decoded than on the wire: fields that nobody knows are kept. */
static void bulky(void)
{
	static uint8_t bytes[CHANNEL_MSG_MAX];

	for (size_t i = 0; i < sizeof(bytes); i += 2)
		bytes[i] = 0x2a; /* field 5, of no bytes */
	wire_raw(bytes, sizeof(bytes), NULL, 0);
}

/* ---- messages that are not well formed ---- */

static void no_kind(void)
{
	wire_body(body_of(KIND(_NOT_SET)), NULL, 0);
}

static void no_number(void)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__Ping ping = BULKHEAD__PING__INIT;

	m.body = body_of(KIND(PING));
	m.body->ping = &ping;
	wire_message(&m, NULL, 0);
}

static void no_status(void)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;

	m.seq = m.answers = hostile.asked[KIND(START_QUEUE)];
	wire_message(&m, NULL, 0);
}

static void no_body(void)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;

	m.seq = 1;
	wire_message(&m, NULL, 0);
}

/* Some bits of a good message differ; at last one is taken amiss. */
static void mutate(void)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__NeedsReset event = BULKHEAD__NEEDS_RESET__INIT;
	Bulkhead__Status status = BULKHEAD__STATUS__INIT;
	uint8_t copy[256], *data;
	size_t len;

	event.reason = (char *)(uintptr_t) "a reason";
	status.text = (char *)(uintptr_t) "a text";
	m.seq = 1;
	m.answers = hostile.asked[KIND(PING)];
	m.status = &status;
	m.body = body_of(KIND(NEEDS_RESET));
	m.body->needs_reset = &event;
	len = wire_pack(&m, &data);
	for (unsigned int i = 0; i < MUTATIONS; i++) {
		memcpy(copy, data, len);
		for (uint64_t k = 0; k <= wire_random() % 4; k++)
			copy[wire_random() % len] ^=
				(uint8_t)(1u << wire_random() % 8);
		wire_raw(copy, len - wire_random() % 3, NULL, 0);
	}
}

/* ---- answers that nobody waits for ---- */

static void answer_nobody(void)
{
	wire_answer(999999, 0, "", NULL);
}

static void answer_again(void)
{
	wire_answer(hostile.asked[KIND(SETUP)], 0, "", NULL);
}

/* ---- what others may say ---- */

static void say_features(void)
{
	Bulkhead__SetFeatures m = BULKHEAD__SET_FEATURES__INIT;

	body_of(KIND(SET_FEATURES))->set_features = &m;
	wire_body(&body, NULL, 0);
}

static void say_start(void)
{
	Bulkhead__StartQueue m = BULKHEAD__START_QUEUE__INIT;
	const int fds[2] = {hostile.queue->kick_fd, hostile.queue->call_fd};

	body_of(KIND(START_QUEUE))->start_queue = &m;
	wire_body(&body, fds, 2);
}

static void say_memory(void)
{
	Bulkhead__MemTable m = BULKHEAD__MEM_TABLE__INIT;
	Bulkhead__MemRegion region = BULKHEAD__MEM_REGION__INIT;
	Bulkhead__MemRegion *regions[] = {&region};
	const int fd = SANDBOX_FD_CHANNEL;

	m.n_regions = 1;
	m.regions = regions;
	region.size = ~0ull;
	body_of(KIND(SET_MEM_TABLE))->set_mem_table = &m;
	wire_body(&body, &fd, 1);
}

static void say_hello(void)
{
	Bulkhead__Hello m = BULKHEAD__HELLO__INIT;

	body_of(KIND(HELLO))->hello = &m;
	wire_body(&body, NULL, 0);
}

static void say_reset(void)
{
	Bulkhead__Reset m = BULKHEAD__RESET__INIT;

	body_of(KIND(RESET))->reset = &m;
	wire_body(&body, NULL, 0);
}

static void say_info(void)
{
	Bulkhead__DeviceInfo m = BULKHEAD__DEVICE_INFO__INIT;

	m.num_queues = 1;
	m.max_queue_size = 1;
	body_of(KIND(INFO))->info = &m;
	wire_body(&body, NULL, 0);
}

/* ---- descriptors ---- */

static void send_fds(const char *data, size_t len, unsigned int num)
{
	int fds[FDS_MOST];

	for (unsigned int i = 0; i < num; i++)
		fds[i] = (int)(i % SANDBOX_NUM_FDS);
	wire_raw(data, len, fds, num);
}

static void fds_unwanted(void)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__NeedsReset event = BULKHEAD__NEEDS_RESET__INIT;
	uint8_t *data;
	size_t len;

	m.seq = 1;
	m.body = body_of(KIND(NEEDS_RESET));
	m.body->needs_reset = &event;
	len = wire_pack(&m, &data);
	send_fds((const char *)data, len, 1);
}

static void fds_missing(void)
{
	Bulkhead__StartQueue m = BULKHEAD__START_QUEUE__INIT;

	body_of(KIND(START_QUEUE))->start_queue = &m;
	wire_body(&body, NULL, 0);
}

static void fds_many(void)
{
	send_fds("x", 1, FDS_MOST);
}

static void fds_some(void)
{
	send_fds("x", 1, CHANNEL_FDS_MAX);
}

static void fds_alone(void)
{
	send_fds("", 0, CHANNEL_FDS_MAX);
}

/* ---- events that say too much ---- */

static void config_short(void)
{
	wire_config(3);
}

static void config_none(void)
{
	wire_config(0);
}

static void config_long(void)
{
	wire_config(DEVICE_CONFIG_MAX);
}

static void config_large(void)
{
	wire_config(TEXT_LARGE);
}

static const char *large_text(void)
{
	static char text[TEXT_LARGE + 1];

	memset(text, 'A', TEXT_LARGE);
	return text;
}

static void reset_large(void)
{
	for (int i = 0; i < 20; i++)
		wire_needs_reset(large_text());
}

static void closed_large(void)
{
	for (int i = 0; i < 20; i++)
		wire_closed(large_text());
}

static void reset_forged(void)
{
	wire_needs_reset(WIRE_FORGED);
}

static void closed_forged(void)
{
	wire_closed(WIRE_FORGED);
}

/* ---- floods ---- */

static bool flood_goes_on(void)
{
	static uint64_t end;

	if (!end)
		end = wire_now_ms() + FLOOD_MS;
	return wire_now_ms() < end;
}

static void config_flood(void)
{
	while (flood_goes_on())
		wire_config(hostile.dev->config_len);
}

static void reset_flood(void)
{
	while (flood_goes_on())
		wire_needs_reset("flood");
}

static void closed_flood(void)
{
	while (flood_goes_on())
		wire_closed("flood");
}

static void log_flood(void)
{
	static const char text[] = "E a line of a flood of lines\n";

	while (flood_goes_on())
		wire_log(text, sizeof(text) - 1);
}

static void log_lines(void)
{
	char text[4096];

	memset(text, '\n', sizeof(text));
	while (flood_goes_on())
		wire_log(text, sizeof(text));
}

static void log_endless(void)
{
	while (flood_goes_on())
		wire_log(large_text(), TEXT_LARGE);
}

static void log_forged(void)
{
	static const char text[] = "E " WIRE_FORGED "\0behind a NUL\n";

	wire_log(text, sizeof(text) - 1);
}

static void log_close(void)
{
	close(SANDBOX_FD_LOG);
	close(SANDBOX_FD_NULL0);
}

/* ---- ends ---- */

static void deaf(void)
{
	hostile.deaf = true;
}

static void channel_close(void)
{
	close(SANDBOX_FD_CHANNEL);
}

static void end_exit(void)
{
	_exit(0);
}

static void end_trap(void)
{
	__builtin_trap();
}

static void end_fault(void)
{
	static volatile uint32_t *volatile nowhere;

	*nowhere = 1;
}

static void end_syscall(void)
{
	syscall(SYS_socket, 1, 1, 0);
}

const struct act acts_message[] = {
	{"wait", ACT_KICK, wait_more},
	{"garbage", ACT_KICK, garbage},
	{"empty", ACT_KICK, empty},
	{"truncated", ACT_KICK, truncated},
	{"oversized", ACT_KICK, oversized},
	{"bulky", ACT_KICK, bulky},
	{"no-kind", ACT_KICK, no_kind},
	{"no-number", ACT_KICK, no_number},
	{"no-status", ACT_KICK, no_status},
	{"no-body", ACT_KICK, no_body},
	{"mutate", ACT_KICK, mutate},
	{"answer-nobody", ACT_KICK, answer_nobody},
	{"answer-again", ACT_KICK, answer_again},
	{"say-features", ACT_KICK, say_features},
	{"say-start", ACT_KICK, say_start},
	{"say-memory", ACT_KICK, say_memory},
	{"say-hello", ACT_KICK, say_hello},
	{"say-reset", ACT_KICK, say_reset},
	{"say-info", ACT_KICK, say_info},
	{"fds-unwanted", ACT_KICK, fds_unwanted},
	{"fds-missing", ACT_KICK, fds_missing},
	{"fds-many", ACT_KICK, fds_many},
	{"fds-some", ACT_KICK, fds_some},
	{"fds-alone", ACT_KICK, fds_alone},
	{"config-short", ACT_KICK, config_short},
	{"config-none", ACT_KICK, config_none},
	{"config-long", ACT_KICK, config_long},
	{"config-large", ACT_KICK, config_large},
	{"reset-large", ACT_KICK, reset_large},
	{"closed-large", ACT_KICK, closed_large},
	{"reset-forged", ACT_KICK, reset_forged},
	{"closed-forged", ACT_KICK, closed_forged},
	{"config-flood", ACT_KICK, config_flood},
	{"reset-flood", ACT_KICK, reset_flood},
	{"closed-flood", ACT_KICK, closed_flood},
	{"log-flood", ACT_KICK, log_flood},
	{"log-lines", ACT_KICK, log_lines},
	{"log-endless", ACT_KICK, log_endless},
	{"log-forged", ACT_KICK, log_forged},
	{"log-close", ACT_KICK, log_close},
	{"deaf", ACT_KICK, deaf},
	{"channel-close", ACT_KICK, channel_close},
	{"exit", ACT_KICK, end_exit},
	{"trap", ACT_KICK, end_trap},
	{"fault", ACT_KICK, end_fault},
	{"syscall", ACT_KICK, end_syscall},
	{0},
};
