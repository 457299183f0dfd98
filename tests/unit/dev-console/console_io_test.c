/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev-console/console_io.h"

static struct console_io io;
static Bulkhead__ConsoleSetup setup;
static struct err e;
static uint8_t block[CONSOLE_RING_SIZE];

static void prepare(void)
{
	bulkhead__console_setup__init(&setup);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7 + i / 251);
}

static void open_output(int fd)
{
	setup.has_output = true;
	cr_assert_eq(console_io_open(&io, &setup, &fd, 1, &e), 0, "%s", e.text);
	cr_assert_eq(fd, -1, "taken over");
}

TestSuite(console_io, .init = prepare, .timeout = 20);

Test(console_io, refuses_a_wrong_number_of_descriptors)
{
	int fds[2] = {0, 1};

	setup.has_output = true;
	cr_assert_eq(console_io_open(&io, &setup, fds, 2, &e), -EINVAL);
	cr_assert_eq(console_io_open(&io, &setup, fds, 0, &e), -EINVAL);
}

Test(console_io, refuses_the_wrong_direction)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setup.has_output = true;
	cr_assert_eq(console_io_open(&io, &setup, &fd, 1, &e), -EBADF);
}

Test(console_io, discards_output_that_nobody_can_get)
{
	cr_assert_eq(console_io_open(&io, &setup, NULL, 0, &e), 0);
	console_io_put(&io, 0, 0, block, 100);
	cr_assert_eq(console_state_len(io.state), 0);
	cr_assert_eq(console_io_write(&io, false), 0);
	console_io_close(&io);
}

Test(console_io, writes_to_a_blocking_pipe_only_when_it_is_ready)
{
	uint8_t back[1024];
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	open_output(fds[1]);
	cr_assert(io.out_blocks);
	console_io_put(&io, 0, 0, block, 600);
	cr_assert_eq(console_io_write(&io, false), 1);
	cr_assert_eq(console_state_len(io.state), 600, "nothing was written");
	cr_assert_eq(console_io_write(&io, true), 1);
	cr_assert_eq(console_io_write(&io, true), 1);
	cr_assert_eq(console_io_write(&io, true), 0);
	cr_assert_eq(read(fds[0], back, sizeof(back)), 600);
	cr_assert_eq(memcmp(back, block, 600), 0);
	console_io_close(&io);
	close(fds[0]);
}

Test(console_io, keeps_what_a_full_pipe_does_not_take)
{
	static uint8_t back[CONSOLE_RING_SIZE];
	size_t done = 0;
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	open_output(fds[1]);
	console_io_put(&io, 0, 0, block, sizeof(block));
	while (console_io_write(&io, false) == 1) {
		ssize_t n = read(fds[0], back + done, sizeof(back) - done);

		cr_assert_gt(n, 0);
		done += (size_t)n;
	}
	while (done < sizeof(back)) {
		ssize_t n = read(fds[0], back + done, sizeof(back) - done);

		cr_assert_gt(n, 0);
		done += (size_t)n;
	}
	cr_assert_eq(memcmp(back, block, sizeof(block)), 0);
	cr_assert_eq(io.state->dropped, 0);
	console_io_close(&io);
	close(fds[0]);
}

Test(console_io, tells_when_the_reader_is_gone)
{
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	open_output(fds[1]);
	close(fds[0]);
	console_io_put(&io, 0, 0, block, 10);
	cr_assert_eq(console_io_write(&io, false), -EPIPE);
	console_io_close_output(&io);
	console_state_drop(io.state);
	console_io_put(&io, 0, 0, block, 10);
	cr_assert_eq(console_state_len(io.state), 0, "no more is kept");
	console_io_close(&io);
}

Test(console_io, keeps_the_newest_for_the_next_client)
{
	uint8_t back[8];
	int pair[2];

	setup.waits_for_client = true;
	cr_assert_eq(console_io_open(&io, &setup, NULL, 0, &e), 0);
	console_io_put(&io, 0, 0, block, sizeof(block));
	console_io_put(&io, 0, 0, (const uint8_t *)"newest", 6);
	cr_assert_eq(io.state->dropped, 6);
	cr_assert_eq(socketpair(AF_UNIX,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				pair),
		     0);
	cr_assert_eq(console_io_attach(&io, pair[0], &e), 0);
	cr_assert(console_io_is_one(&io));
	cr_assert_geq(console_io_write(&io, false), 0);
	cr_assert_eq(read(pair[1], back, 4), 4);
	cr_assert_eq(memcmp(back, block + 6, 4), 0, "the oldest gave way");
	console_io_detach(&io);
	cr_assert(io.in == -1 && io.out == -1);
	console_io_put(&io, 0, 0, block, 1);
	cr_assert_eq(console_io_write(&io, false), 0, "waits");
	console_io_close(&io);
	close(pair[1]);
}

Test(console_io, tells_the_end_of_the_input)
{
	uint8_t buf[8];
	int fds[2], in;

	cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	setup.has_input = true;
	in = fds[0];
	cr_assert_eq(console_io_open(&io, &setup, &in, 1, &e), 0);
	cr_assert_eq(console_io_read(&io, 8), -EAGAIN);
	cr_assert_eq(write(fds[1], "abc", 3), 3);
	cr_assert_eq(console_io_read(&io, 8), 3);
	cr_assert_eq(console_state_deliver(io.state, 1, buf, 2), 2);
	console_state_delivered(io.state);
	cr_assert_eq(console_state_pending(io.state), 1);
	cr_assert_eq(console_state_deliver(io.state, 2, buf + 2, 6), 1);
	console_state_delivered(io.state);
	cr_assert_eq(memcmp(buf, "abc", 3), 0);
	close(fds[1]);
	cr_assert_eq(console_io_read(&io, 8), 0);
	console_io_close(&io);
}

/* A spare is opened long before its predecessor writes, and dies amid it. */
static void goes_on_where_a_file_was_left(int append)
{
	static struct console_state state;
	char path[] = "/tmp/console-io-XXXXXX";
	int fd = mkostemp(path, append), mine;
	struct console_io spare = {0};
	uint8_t back[1001];

	memset(&state, 0, sizeof(state));
	cr_assert(fd >= 0);
	unlink(path);
	cr_assert_eq(pwrite(fd, "before", 6, 0), 6);
	lseek(fd, append ? 0 : 6, SEEK_SET);
	mine = dup(fd);
	open_output(fd);
	cr_assert_eq(console_io_open(&spare, &setup, &mine, 1, &e), 0);
	console_io_share(&io, &state);
	console_io_put(&io, 0, 0, block, 400);
	cr_assert_eq(console_io_write(&io, false), 0);
	console_io_put(&io, 1, 0, block + 400, 300);
	cr_assert_eq(write(io.out, block + 400, 200), 200, "but not noted");
	console_io_share(&spare, &state);
	console_io_put(&spare, 2, 0, block + 700, 300);
	cr_assert_eq(console_io_write(&spare, false), 0);
	cr_assert_eq(pread(io.out, back, sizeof(back), 6), 1000);
	cr_assert_eq(memcmp(back, block, 1000), 0);
	io.state = NULL; /* is the spare's, and static */
	spare.state = NULL;
	console_io_close(&io);
	console_io_close(&spare);
}

Test(console_io, goes_on_where_a_predecessor_left_a_file)
{
	goes_on_where_a_file_was_left(0);
}

Test(console_io, goes_on_where_a_predecessor_left_a_file_that_is_appended_to)
{
	goes_on_where_a_file_was_left(O_APPEND);
}
