/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_CONSOLE_CONSOLE_IO_H
#define DEV_CONSOLE_CONSOLE_IO_H

/*
 * The console's back end: where bytes come from and go to. The only file that
 * touches it. Output never waits: it goes into a ring first, whose oldest
 * bytes give way when the reader is too slow or not there yet.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"
#include "dev-console/console_state.h"
#include "proto/device.pb-c.h"

/* A descriptor that blocks takes so much when poll says that it is ready. */
#define CONSOLE_SMALL_WRITE 256

struct console_io {
	int in;	 /* owned, -1 = none */
	int out; /* owned, may be the same as in */
	bool in_blocks;
	bool out_blocks;
	bool out_is_file; /* always ready */
	bool in_ended;
	bool waits;	 /* a client comes by console_io_attach() */
	off_t out_least; /* where a file's next byte goes, or behind that */
	struct console_state *state;
	bool state_is_shared; /* else it is ours to free */
};

/** console_io_open() - Takes @fds over as @setup describes them */
int console_io_open(struct console_io *io, const Bulkhead__ConsoleSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e);
void console_io_close(struct console_io *io);

/** console_io_attach() - A new client both ways; takes @fd, also on error */
int console_io_attach(struct console_io *io, int fd, struct err *e);
/** console_io_detach() - The client is gone; output waits for the next */
void console_io_detach(struct console_io *io);

/** console_io_close_output() - It takes no more; input goes on */
void console_io_close_output(struct console_io *io);

static inline bool console_io_is_one(const struct console_io *io)
{
	return io->in >= 0 && io->in == io->out;
}

/** console_io_share() - Go on in @s, where a predecessor may have left bytes */
void console_io_share(struct console_io *io, struct console_state *s);

/** console_io_put() - Bytes of the guest, from @offset of @chain; all taken */
void console_io_put(struct console_io *io, uint64_t chain, uint64_t offset,
		    const uint8_t *data, size_t len);

/**
 * console_io_write() - Hand on what the ring holds
 * @ready: The descriptor was just seen to be writable
 *
 * Return: 0 nothing is left; 1 wait until it is writable; negative errno: the
 *         reader is gone (-EPIPE, ...) or the file takes no more (-ENOSPC)
 */
int console_io_write(struct console_io *io, bool ready);

/**
 * console_io_read() - Bytes for the guest, into the state; none are pending
 *
 * Return: bytes; 0 at the end of the input; -EAGAIN or another errno
 */
ssize_t console_io_read(struct console_io *io, size_t len);

#endif
