/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-console/console_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/num.h"

#define STATE_VERSION 1
#define UNREAD	      0xff

/* Keeps the stores before it before those after it: program order is all that
 * the death of a process asks for. */
#define in_order() __asm__ volatile("" ::: "memory")

static bool state_makes_sense(const struct console_state *s)
{
	uint32_t len = (uint32_t)s->in, done = (uint32_t)(s->in >> 32);

	return s->version == STATE_VERSION && s->which <= 1 &&
	       console_state_len(s) <= CONSOLE_RING_SIZE &&
	       len <= CONSOLE_INPUT_MAX && done <= len &&
	       s->in_after <= CONSOLE_INPUT_MAX;
}

static void state_begin(struct console_state *s, uint64_t file_zero)
{
	s->version = 0;
	in_order();
	memset(&s->which, 0,
	       offsetof(struct console_state, input) -
		       offsetof(struct console_state, which));
	memset(s->input, UNREAD, sizeof(s->input));
	s->taken[0].chain = s->in_chain = CONSOLE_NO_CHAIN;
	s->file_zero = file_zero;
	in_order();
	s->version = STATE_VERSION;
}

/* What a read() brought whose caller did not live to see it. */
static void state_find_input(struct console_state *s)
{
	uint32_t n = CONSOLE_INPUT_MAX;

	while (n && s->input[n - 1] == UNREAD)
		n--;
	if (s->reading && !s->in)
		s->in = n;
	else if (!s->in)
		memset(s->input, UNREAD, sizeof(s->input));
	in_order();
	s->reading = 0;
}

bool console_state_open(struct console_state *s, off_t file_pos)
{
	bool fresh = s->version == 0;
	bool good = fresh || state_makes_sense(s);
	uint64_t pos = (uint64_t)file_pos;

	if (fresh || !good) {
		state_begin(s, pos);
		return good;
	}
	state_find_input(s);
	/* The file moved on by what was written, noted or not. */
	if (file_pos >= 0 &&
	    pos - s->file_zero - s->got <= console_state_len(s))
		s->got = pos - s->file_zero;
	else
		s->file_zero = pos - s->got;
	return true;
}

uint64_t console_state_skip(const struct console_state *s, uint64_t chain)
{
	const struct console_taken *t = &s->taken[s->which];

	/* Chains come in order: those before the last one are in it whole. */
	if (t->chain == CONSOLE_NO_CHAIN || chain > t->chain)
		return 0;
	return chain < t->chain ? UINT64_MAX : t->offset;
}

/* One store takes it all over. */
static void state_take(struct console_state *s, uint64_t put, uint64_t chain,
		       uint64_t offset)
{
	uint32_t next = !s->which;

	s->taken[next] = (struct console_taken){put, chain, offset};
	in_order();
	s->which = next;
	in_order();
}

static void state_give_way(struct console_state *s, uint64_t len)
{
	s->file_zero -= len;
	s->dropped += len;
	in_order();
	s->got += len;
	in_order();
}

void console_state_put(struct console_state *s, uint64_t chain, uint64_t offset,
		       const uint8_t *data, size_t len)
{
	uint64_t put = s->taken[s->which].put, end = offset + len;
	uint64_t have = console_state_len(s);
	size_t tail, first;

	if (len > CONSOLE_RING_SIZE) {
		s->dropped += len - CONSOLE_RING_SIZE;
		data += len - CONSOLE_RING_SIZE;
		len = CONSOLE_RING_SIZE;
	}
	if (len > CONSOLE_RING_SIZE - have)
		state_give_way(s, len - (CONSOLE_RING_SIZE - have));
	tail = put % CONSOLE_RING_SIZE;
	first = (size_t)min_u64(len, CONSOLE_RING_SIZE - tail);
	memcpy(s->ring + tail, data, first);
	memcpy(s->ring, data + first, len - first);
	in_order();
	state_take(s, put + len, chain, end);
}

void console_state_drop(struct console_state *s)
{
	state_give_way(s, console_state_len(s));
}

void console_state_forget(struct console_state *s)
{
	state_take(s, s->taken[s->which].put, CONSOLE_NO_CHAIN, 0);
}

/*
 * @sys console write: bytes to the console's peer
 */
int console_state_write(struct console_state *s, int fd, size_t max)
{
	size_t head = s->got % CONSOLE_RING_SIZE;
	uint64_t len = min_u64(console_state_len(s), CONSOLE_RING_SIZE - head);
	ssize_t n;

	if (!len)
		return 0;
	do
		n = write(fd, s->ring + head, (size_t)min_u64(len, max));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	s->got += (uint64_t)n;
	return console_state_len(s) ? 1 : 0;
}

/*
 * @sys console read: input of the console
 */
ssize_t console_state_read(struct console_state *s, int fd, size_t max)
{
	ssize_t n;

	s->reading = 1;
	in_order();
	do
		n = read(fd, s->input, min_u64(max, CONSOLE_INPUT_MAX));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		n = -errno;
	if (n > 0)
		s->in = (uint64_t)n;
	in_order();
	s->reading = 0;
	return n;
}

void console_state_settle(struct console_state *s, bool redone, uint64_t chain)
{
	if (s->in_chain == CONSOLE_NO_CHAIN)
		return;
	if (redone && chain == s->in_chain)
		s->in_chain = CONSOLE_NO_CHAIN; /* not delivered: once more */
	else
		console_state_delivered(s);
}

size_t console_state_deliver(struct console_state *s, uint64_t chain,
			     uint8_t *to, size_t max)
{
	uint32_t done = (uint32_t)(s->in >> 32);
	size_t n = (size_t)min_u64(console_state_pending(s), max);

	memcpy(to, s->input + done, n);
	s->in_after = done + (uint32_t)n;
	in_order();
	s->in_chain = chain;
	in_order();
	return n;
}

void console_state_delivered(struct console_state *s)
{
	uint32_t len = (uint32_t)s->in;

	if (s->in_after >= len) {
		/* What the next read() does not overwrite must be unread. */
		s->in = 0;
		in_order();
		memset(s->input, UNREAD, len);
	} else {
		s->in = len | (uint64_t)s->in_after << 32;
	}
	in_order();
	s->in_chain = CONSOLE_NO_CHAIN;
}
