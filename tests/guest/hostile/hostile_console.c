/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host's end answers a line "PING 12345678" with "PONG 12345678"; all else
 * that is printed it ignores. Spec: virtio 1.2, 5.3
 */

#include "hostile/hostile.h"

#define RX   0
#define TX   1
#define LINE 14 /* "PING 12345678\n" */

static struct {
	char line[LINE + 1], input[64];
	char tail[LINE]; /* the last bytes of what was typed */
	bool posted;
	uint32_t number;
	struct act act;
} c;

static void console_started(void)
{
	c.posted = false;
}

static void console_make(struct act *a)
{
	memset(scratch, '.', 128);
	act_buf(a, scratch, 128, a->queue == RX);
}

static void console_line(char *line, const char *word)
{
	uint32_t n = c.number;

	memcpy(line, word, 5);
	for (int i = 12; i > 4; i--, n /= 10)
		line[i] = (char)('0' + n % 10);
	line[13] = '\n';
}

static void console_say(void)
{
	const struct vq_buf buf = {c.line, LINE + 1, false};

	c.number++;
	/* It may follow half a line of nonsense. */
	c.line[0] = '\n';
	console_line(c.line + 1, "PING ");
	ring_post(&target_console.rings[TX], &buf, 1);
}

static bool console_said(void)
{
	uint32_t len;

	return ring_wait(&target_console.rings[TX], &len);
}

static bool console_ping(void)
{
	console_say();
	return console_said();
}

static void console_listen(void)
{
	const struct vq_buf buf = {c.input, sizeof(c.input), true};

	if (!c.posted)
		ring_post(&target_console.rings[RX], &buf, 1);
	c.posted = true;
}

static void console_ask(void)
{
	console_listen();
	console_say();
}

/* What a predecessor of this question was told comes first. */
static bool console_hears(uint32_t len)
{
	char want[LINE];

	console_line(want, "PONG ");
	for (uint32_t i = 0; i < len && i < sizeof(c.input); i++) {
		memcpy(c.tail, c.tail + 1, LINE - 1);
		c.tail[LINE - 1] = c.input[i];
		if (!memcmp(c.tail, want, LINE))
			return true;
	}
	return false;
}

static bool console_answered(void)
{
	uint64_t start = rdtsc(), limit = clock_ticks(BOUND_US);
	uint32_t len;

	if (!console_said())
		return false;
	while (rdtsc() - start < limit) {
		console_listen();
		if (!ring_wait(&target_console.rings[RX], &len))
			return false;
		c.posted = false;
		if (console_hears(len))
			return true;
	}
	return false;
}

static void console_provoke(unsigned int queue)
{
	if (queue == RX && !console_ping())
		hostile_fail("console", "output stops when input is given",
			     NULL, 0);
}

static bool console_aside(unsigned int queue)
{
	return queue == TX || console_ping();
}

/* Room for nothing; a byte. */
static void console_cheap(struct act *a)
{
	act_buf(a, scratch, 1, false);
}

/* @num pieces of @len bytes */
static void console_table(const char *what, unsigned int num, uint32_t len,
			  unsigned int allowed)
{
	bool packed = target_console.rings[TX].packed;

	act_make(&c.act, &target_console, TX);
	act_table(&c.act);
	for (unsigned int i = 0; i < num; i++)
		table[i] = (struct vq_desc){
			.addr = (uint64_t)scratch,
			.len = len,
			.a = packed || i + 1 == num ? 0 : DESC_NEXT,
			.b = packed ? 0 : (uint16_t)(i + 1),
		};
	c.act.d[0].len = num * (uint32_t)sizeof(*table);
	act_run(&c.act, what, allowed);
}

static void console_requests(void)
{
	act_begin(&c.act, &target_console, TX);
	act_buf(&c.act, scratch, 0, false);
	act_run(&c.act, "nothing to print", USED);
	act_begin(&c.act, &target_console, TX);
	act_buf(&c.act, scratch, 64, true);
	act_run(&c.act, "output that is room", USED);
	act_begin(&c.act, &target_console, TX);
	while (c.act.n < CHAIN_MAX)
		act_buf(&c.act, scratch, 1, false);
	act_run(&c.act, "64 bytes in 64 pieces", USED);
	console_table("16 MiB of output", 250, 0x10000, USED);
	console_table("32 MiB of output", 250, SCRATCH, USED);
	console_table("more pieces than the device has", 400, 1, ANSWER);
	console_table("4 GiB of output", 1000, 0x1000000, RESET);

	act_begin(&c.act, &target_console, RX);
	act_buf(&c.act, scratch, 1, true);
	act_run(&c.act, "room for 1 byte", USED);
	act_begin(&c.act, &target_console, RX);
	act_buf(&c.act, scratch, 0, true);
	act_run(&c.act, "room for 0 bytes", ANSWER);
	act_begin(&c.act, &target_console, RX);
	act_buf(&c.act, scratch, 64, false);
	act_run(&c.act, "input that is output", ANSWER);
	act_begin(&c.act, &target_console, RX);
	while (c.act.n < CHAIN_MAX)
		act_buf(&c.act, scratch, 1, true);
	act_run(&c.act, "room in 64 pieces", USED);
}

struct target target_console = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.num_queues = 2,
	.queues = {RX, TX},
	.ask = console_ask,
	.answered = console_answered,
	.started = console_started,
	.requests = console_requests,
	.make = console_make,
	.busy = console_make,
	.cheap = console_cheap,
	.aside = console_aside,
	.provoke = console_provoke,
};
