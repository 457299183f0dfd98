/* SPDX-License-Identifier: Apache-2.0 */
/* The device between a queue and a runtime that are made up. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sandbox/seccomp.h"
#include "dev-console/console.h"
#include "dev-console/console_state.h"

#define CHAINS_MAX 1000000 /* of a driver that never ends */

const struct seccomp_profile seccomp_profile_console;

static struct console_state area;
static struct device dev;
static struct queue rx = {.index = 0};
static struct {
	struct iovec iov[2];
	uint32_t num_out, num_in;
	unsigned int left; /* chains that the driver still makes available */
	unsigned int pushed, written, kicked, resets;
} drv;

int queue_pop(struct queue *q, struct chain *ret, struct iovec *iov,
	      unsigned int max_iov)
{
	(void)q;
	cr_assert_geq(max_iov, 2);
	if (!drv.left)
		return 0;
	drv.left--;
	memcpy(iov, drv.iov, sizeof(drv.iov));
	*ret = (struct chain){.num_desc = 1,
			      .num_out = drv.num_out,
			      .num_in = drv.num_in,
			      .counter = drv.pushed};
	return 1;
}

void queue_unpop(struct queue *q, const struct chain *c)
{
	(void)q;
	(void)c;
	drv.left++;
}

void queue_push(struct queue *q, const struct chain *c, uint32_t written)
{
	(void)q;
	(void)c;
	drv.pushed++;
	drv.written += written;
}

void queue_flush(struct queue *q)
{
	(void)q;
}

void queue_kick_self(struct queue *q)
{
	(void)q;
	drv.kicked++;
}

int worker_watch(struct worker *w, int fd, uint32_t events, worker_fd_cb cb,
		 void *arg)
{
	(void)w;
	(void)fd;
	(void)events;
	(void)cb;
	(void)arg;
	return 0;
}

int worker_watch_events(struct worker *w, int handle, uint32_t events)
{
	(void)w;
	(void)handle;
	(void)events;
	return 0;
}

void worker_unwatch(struct worker *w, int handle)
{
	(void)w;
	(void)handle;
}

void worker_poll(struct worker *w, int timeout)
{
	(void)w;
	(void)timeout;
}

void device_needs_reset(struct device *d, struct queue *q, const char *why)
{
	(void)d;
	(void)q;
	(void)why;
	drv.resets++;
}

void device_backend_closed(struct device *d, const char *why)
{
	(void)d;
	(void)why;
}

void device_config_changed(struct device *d)
{
	(void)d;
}

void *device_state_area(const struct device *d, uint64_t *ret_len)
{
	(void)d;
	*ret_len = sizeof(area);
	return &area;
}

/* A socket's client, and @pending bytes that a predecessor had read. */
static void start(uint32_t pending)
{
	Bulkhead__DeviceSetup setup;
	Bulkhead__ConsoleSetup con;
	struct err e = {0};
	int sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv),
		     0);
	bulkhead__device_setup__init(&setup);
	bulkhead__console_setup__init(&con);
	con.has_input = con.has_output = con.output_is_input = true;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE;
	setup.console = &con;
	cr_assert_eq(console_ops.open(&dev, &setup, &sv[1], 1, &e), 0, "%s",
		     e.text);
	cr_assert_eq(console_ops.worker_open(&dev, NULL, &e), 0);
	console_state_open(&area, -1);
	area.in = pending;
	console_ops.recovered(&dev);
	console_ops.queue_started(&dev, &rx);
}

/* Buffers without room, made available as fast as they came back, kept the
 * device in one call as long as there was input from a predecessor. */
Test(console_input, comes_to_an_end_while_buffers_without_room_do_not,
     .timeout = 20)
{
	static uint8_t byte;

	start(5);
	drv.iov[0] = (struct iovec){&byte, 1};
	drv.num_out = 1;
	drv.left = CHAINS_MAX;
	console_ops.queue_kick(&dev, &rx);
	cr_expect_gt(drv.pushed, 0u);
	cr_expect_leq(drv.pushed, 1024u);
	cr_expect_eq(drv.kicked, 1u, "goes on by itself");
	cr_expect_eq(drv.written, 0u);
	/* And the input is still there. */
	drv.num_out = 0;
	drv.num_in = 1;
	console_ops.queue_kick(&dev, &rx);
	cr_expect_eq(drv.written, 5u);
	cr_expect_eq(drv.resets, 0u);
}
