/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-console/console_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"

/*
 * @sys console fcntl(1==F_GETFL): does a client's descriptor block?
 */
static int console_io_check(int fd, int not_access, bool *ret_blocks)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if ((flags & O_ACCMODE) == not_access)
		return -EBADF;
	*ret_blocks = !(flags & O_NONBLOCK);
	return 0;
}

/* Before lock-down: is it a file, and what had it when it was opened? */
static void console_io_look(struct console_io *io)
{
	struct stat st;

	if (io->out < 0 || fstat(io->out, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	io->out_is_file = true;
	/* The position says nothing before the first byte is appended. */
	if (fcntl(io->out, F_GETFL) & O_APPEND)
		io->out_least = st.st_size;
}

/*
 * A predecessor may have moved it since we were opened, up to its last moment.
 * A lock query that would begin before the file does fails with EINVAL, which
 * tells the position without one more system call (lseek).
 *
 * @sys console fcntl(1==F_OFD_GETLK): how far the output was written
 */
static off_t console_io_position(const struct console_io *io)
{
	off_t pos = io->out_least;

	if (!io->out_is_file)
		return -1;
	for (off_t step = (off_t)1 << 62; step; step >>= 1) {
		struct flock probe = {.l_type = F_RDLCK, .l_whence = SEEK_CUR};

		if (step > INT64_MAX - pos)
			continue;
		probe.l_start = -(pos + step);
		if (fcntl(io->out, F_OFD_GETLK, &probe) == 0)
			pos += step;
	}
	return pos;
}

int console_io_open(struct console_io *io, const Bulkhead__ConsoleSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e)
{
	unsigned int want = setup->output_is_input
				    ? 1
				    : (unsigned int)!!setup->has_input +
					      (unsigned int)!!setup->has_output;
	int r = 0;

	memset(io, 0, sizeof(*io));
	io->in = io->out = -1;
	if (num_fds != want)
		return err_set(e, -EINVAL,
			       "console: %u descriptors for %u directions",
			       num_fds, want);
	io->waits = setup->waits_for_client;
	/* Hardly ever used: calloc() would touch all of it. */
	io->state = mmap(NULL, sizeof(*io->state), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (io->state == MAP_FAILED) {
		io->state = NULL;
		return err_set(e, -ENOMEM,
			       "no memory for the console's output");
	}
	console_state_open(io->state, -1);
	if (setup->output_is_input)
		return console_io_attach(io, take_fd(&fds[0]), e);
	if (setup->has_output)
		io->out = take_fd(&fds[num_fds - 1]);
	if (setup->has_input)
		io->in = take_fd(&fds[0]);
	if (io->out >= 0)
		r = console_io_check(io->out, O_RDONLY, &io->out_blocks);
	if (r == 0 && io->in >= 0)
		r = console_io_check(io->in, O_WRONLY, &io->in_blocks);
	if (r < 0)
		return err_set(e, r,
			       "console: a descriptor is open for the wrong "
			       "direction");
	console_io_look(io);
	return 0;
}

static void console_io_free_state(struct console_io *io)
{
	if (io->state && !io->state_is_shared)
		munmap(io->state, sizeof(*io->state));
	io->state = NULL;
}

void console_io_share(struct console_io *io, struct console_state *s)
{
	if (!console_state_open(s, console_io_position(io)))
		log_warn("console: what a predecessor left makes no sense");
	console_io_free_state(io);
	io->state = s;
	io->state_is_shared = true;
}

void console_io_close(struct console_io *io)
{
	if (io->out != io->in)
		fd_close(io->out);
	fd_close(io->in);
	console_io_free_state(io);
	io->in = io->out = -1;
}

int console_io_attach(struct console_io *io, int fd, struct err *e)
{
	bool blocks = false;
	int r = console_io_check(fd, O_RDONLY, &blocks);

	if (r == 0)
		r = console_io_check(fd, O_WRONLY, &blocks);
	if (r < 0) {
		fd_close(fd);
		return err_set(e, r,
			       "console: the client is not open both ways");
	}
	console_io_detach(io);
	io->in = io->out = fd;
	io->in_blocks = io->out_blocks = blocks;
	io->in_ended = io->out_is_file = false;
	return 0;
}

void console_io_detach(struct console_io *io)
{
	if (io->out != io->in)
		fd_close(io->out);
	fd_close(io->in);
	io->in = io->out = -1;
}

void console_io_close_output(struct console_io *io)
{
	check(!console_io_is_one(io));
	io->out = fd_close(io->out);
}

void console_io_put(struct console_io *io, uint64_t chain, uint64_t offset,
		    const uint8_t *data, size_t len)
{
	if (io->out >= 0 || io->waits)
		console_state_put(io->state, chain, offset, data, len);
}

int console_io_write(struct console_io *io, bool ready)
{
	size_t max = io->out_is_file ? CONSOLE_RING_SIZE : CONSOLE_WRITE_MAX;
	int r = 1;

	if (io->out < 0 || !console_state_len(io->state))
		return 0;
	if (io->out_blocks && !io->out_is_file) {
		if (!ready)
			return 1;
		r = console_state_write(io->state, io->out,
					CONSOLE_SMALL_WRITE);
		return r == -EAGAIN ? 1 : r;
	}
	while (r > 0) {
		uint64_t before = console_state_len(io->state);

		r = console_state_write(io->state, io->out, max);
		if (r > 0 && console_state_len(io->state) == before)
			return 1;
	}
	return r == -EAGAIN ? 1 : r;
}

ssize_t console_io_read(struct console_io *io, size_t len)
{
	return console_state_read(io->state, io->in, len);
}
