/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_CONSOLE_CONSOLE_STATE_H
#define DEV_CONSOLE_CONSOLE_STATE_H

/*
 * The bytes that a console holds, in memory that its successor finds: output
 * on its way to a slow reader, and input on its way to the guest. The process
 * may be killed between any two stores.
 *
 * Output: the guest's bytes are in the ring, and noted as taken from this
 * chain up to here, in one store; a successor that gets the chain again goes
 * on behind them. Bytes leave the ring after write() has returned: a process
 * killed within write() leaves bytes that may be written again, at most
 * CONSOLE_WRITE_MAX of them. A regular file's position tells what was written.
 *
 * Input: read() goes into this memory, then to the guest. What a read() that
 * was cut off had brought is found by what it overwrote (0xff, which no text
 * has). Bytes count as delivered when their chain is no longer in flight.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONSOLE_RING_SIZE (256 * 1024) /* bytes kept for a slow reader */
#define CONSOLE_INPUT_MAX 4096	       /* bytes a read */
#define CONSOLE_WRITE_MAX 4096	       /* bytes a write, but to files */
#define CONSOLE_NO_CHAIN  UINT64_MAX

/* Of the guest's output, everything up to here is in the ring (or dropped). */
struct console_taken {
	uint64_t put;	/* bytes, ever */
	uint64_t chain; /* its counter */
	uint64_t offset;
};

struct console_state {
	uint32_t version; /* 0 = fresh */
	uint32_t which;	  /* of taken[] */
	struct console_taken taken[2];
	uint64_t got;	    /* bytes that left the ring, ever */
	uint64_t dropped;   /* of them, for a slow reader */
	uint64_t file_zero; /* position in the file less got; modulo 2^64 */
	uint64_t in;	    /* length | bytes delivered << 32 */
	uint64_t in_chain;  /* is being filled, */
	uint32_t in_after;  /* and so much is delivered then */
	uint32_t reading;   /* a read() is under way */
	uint8_t input[CONSOLE_INPUT_MAX];
	uint8_t ring[CONSOLE_RING_SIZE];
};

/**
 * console_state_open() - Take what a predecessor left, hostile, or begin
 * @file_pos: Position of the output, if that is a file; -1: it is not
 *
 * Return: false if it made no sense and everything in it is lost
 */
bool console_state_open(struct console_state *s, off_t file_pos);

/* Output. */
static inline uint64_t console_state_len(const struct console_state *s)
{
	return s->taken[s->which].put - s->got;
}
/** console_state_skip() - Bytes of chain @chain that are in the ring already */
uint64_t console_state_skip(const struct console_state *s, uint64_t chain);
/** console_state_put() - Bytes of the guest, from @offset of @chain on */
void console_state_put(struct console_state *s, uint64_t chain, uint64_t offset,
		       const uint8_t *data, size_t len);
/** console_state_drop() - Give all output up */
void console_state_drop(struct console_state *s);
/** console_state_write() - One write; Return: 0 all gone; 1 some is left;
 * -EAGAIN the descriptor takes no more; other errno: nothing is lost */
int console_state_write(struct console_state *s, int fd, size_t max);
/** console_state_forget() - The next chains have nothing to do with the last
 * ones */
void console_state_forget(struct console_state *s);

/* Input. */
static inline uint32_t console_state_pending(const struct console_state *s)
{
	return (uint32_t)s->in - (uint32_t)(s->in >> 32);
}
/** console_state_read() - Only if nothing is pending; Return: bytes, 0 at the
 * end of the input, or negative errno */
ssize_t console_state_read(struct console_state *s, int fd, size_t max);
/** console_state_settle() - After a recovery: was @chain, the first one of the
 * input queue, filled by a predecessor already? */
void console_state_settle(struct console_state *s, bool redone, uint64_t chain);
/** console_state_deliver() - Copy pending bytes; Return: how many. They count
 * when console_state_delivered() is called after the chain's completion. */
size_t console_state_deliver(struct console_state *s, uint64_t chain,
			     uint8_t *to, size_t max);
void console_state_delivered(struct console_state *s);

#endif
