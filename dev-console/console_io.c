/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-console/console_io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"

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

int console_io_open(struct console_io *io, const Bulkhead__ConsoleSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e)
{
	unsigned int want = setup->output_is_input
				    ? 1
				    : (unsigned int)!!setup->has_input +
					      (unsigned int)!!setup->has_output;
	struct stat st;
	int r;

	memset(io, 0, sizeof(*io));
	io->in = io->out = -1;
	if (num_fds != want)
		return err_set(e, -EINVAL,
			       "console: %u descriptors for %u directions",
			       num_fds, want);
	io->waits = setup->waits_for_client;
	r = bytering_init(&io->ring, CONSOLE_RING_SIZE);
	if (r < 0)
		return err_set(e, r, "no memory for the console's output");
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
	io->out_is_file =
		io->out >= 0 && !fstat(io->out, &st) && S_ISREG(st.st_mode);
	return 0;
}

void console_io_close(struct console_io *io)
{
	if (io->out != io->in)
		fd_close(io->out);
	fd_close(io->in);
	bytering_done(&io->ring);
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

void console_io_put(struct console_io *io, const uint8_t *data, size_t len)
{
	if (io->out >= 0 || io->waits)
		bytering_put(&io->ring, data, len);
}

int console_io_write(struct console_io *io, bool ready)
{
	if (io->out < 0 || !io->ring.len)
		return 0;
	if (!io->out_blocks || io->out_is_file)
		return bytering_flush(&io->ring, io->out);
	return ready ? bytering_write(&io->ring, io->out, CONSOLE_SMALL_WRITE)
		     : 1;
}

/*
 * @sys console read: input of the console
 */
ssize_t console_io_read(struct console_io *io, void *data, size_t len)
{
	ssize_t n;

	do
		n = read(io->in, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
