/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device: virtio 1.2, 5.3, one port, no multiport. Queue 0 carries
 * bytes to the guest, queue 1 from it.
 *
 * Output is completed as soon as it is in the ring (console_io.h), so a slow
 * reader never stalls the guest. Input is read only while the guest has given
 * us buffers, so that a host terminal feels the guest's pace.
 *
 * A back end of one descriptor both ways (socket, pseudo-terminal) is watched
 * once, for input, output and hang-up; a hang-up ends the client, and output
 * is kept for the next. Two descriptors are watched each for itself; the end
 * of the input leaves the output alone.
 *
 * Everything runs in the control thread (num_workers is 0).
 */
#include "dev-console/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/base/endian.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/sandbox/seccomp.h"
#include "dev-console/console_io.h"

#define CONSOLE_QUEUE_SIZE 256
#define CONSOLE_RX	   0
#define CONSOLE_TX	   1
#define CONSOLE_IOV_MAX	   256
#define CONSOLE_READS	   16	      /* before others get a turn, */
#define CONSOLE_CHAINS	   1024	      /* and buffers, of whatever size */
#define CONSOLE_TX_MAX	   (1 * MIB)  /* bytes of a chain; the rest is lost */
#define CONSOLE_PIECE	   (64 * KIB) /* bytes between two writes */
/* Last words when the machine ends. */
#define CONSOLE_DRAIN_ROUNDS 20
#define CONSOLE_DRAIN_MS     50

#define CONSOLE_F_SIZE	   0
#define CONSOLE_CONFIG_LEN 12 /* cols, rows, max_nr_ports, emerg_wr */

SECCOMP_PROFILE(console);

struct console {
	struct device *dev;
	struct worker *worker;
	struct console_io io;
	int in_watch;	/* -1 = none; both ways when there is one descriptor */
	int out_watch;	/* -1 = none */
	bool in_always; /* a file: can't be watched, never waits */
	struct queue *rx; /* NULL = stopped */
	bool rx_ready;	  /* the guest gave buffers */
	bool rx_settled;  /* what a predecessor delivered is known */
	bool size_told;
	int out_state; /* last console_io_write() */
	uint64_t dropped_told;
};

static void console_on_input(struct worker *w, uint32_t events, void *arg);
static void console_on_output(struct worker *w, uint32_t events, void *arg);

/* Wait for exactly what can be used now. */
static void console_update(struct console *con)
{
	bool one = console_io_is_one(&con->io);
	uint32_t in = con->rx_ready && !con->io.in_ended ? EPOLLIN : 0;
	uint32_t out = con->out_state > 0 ? EPOLLOUT : 0;

	if (one)
		in |= out | EPOLLHUP;
	if (con->in_watch >= 0)
		worker_watch_events(con->worker, con->in_watch, in);
	if (con->out_watch >= 0)
		worker_watch_events(con->worker, con->out_watch, out);
}

static void console_unwatch(struct console *con)
{
	if (con->in_watch >= 0)
		worker_unwatch(con->worker, con->in_watch);
	if (con->out_watch >= 0)
		worker_unwatch(con->worker, con->out_watch);
	con->in_watch = con->out_watch = -1;
}

/* A file can't be watched (EPERM): it is always ready. */
static int console_watch(struct console *con)
{
	int r;

	con->in_always = false;
	con->out_state = 0;
	if (con->io.in >= 0) {
		r = worker_watch(con->worker, con->io.in, EPOLLIN,
				 console_on_input, con);
		if (r < 0 && r != -EPERM)
			return r;
		con->in_always = r == -EPERM;
		con->in_watch = r < 0 ? -1 : r;
	}
	if (con->io.out >= 0 && !console_io_is_one(&con->io)) {
		r = worker_watch(con->worker, con->io.out, EPOLLOUT,
				 console_on_output, con);
		if (r < 0 && r != -EPERM)
			return r;
		/* Neither watched nor polled before each write: it is a file
		 * or a device that doesn't block. */
		if (r == -EPERM)
			con->io.out_blocks = false;
		con->out_watch = r < 0 ? -1 : r;
	}
	return 0;
}

static void console_client_gone(struct console *con)
{
	console_unwatch(con);
	console_io_detach(&con->io);
	con->out_state = 0;
	device_backend_closed(con->dev, "the console's client is gone");
}

/* Output failed with @r: nothing of it may hold the guest up. */
static void console_output_failed(struct console *con, int r)
{
	static struct log_limit limit = LOG_LIMIT_INIT(4);

	if (console_io_is_one(&con->io)) {
		console_client_gone(con);
		return;
	}
	console_state_drop(con->io.state);
	con->out_state = 0;
	log_limited(&limit, LOG_WARN, "console output is lost: %s",
		    strerrorname_np(-r));
	/* A full disk may have room later; a closed pipe is closed. */
	if (r == -ENOSPC || r == -EDQUOT || r == -EFBIG)
		return;
	if (con->out_watch >= 0)
		worker_unwatch(con->worker, con->out_watch);
	con->out_watch = -1;
	console_io_close_output(&con->io);
	device_backend_closed(con->dev, "the console's output is closed");
}

static void console_tell_dropped(struct console *con)
{
	static struct log_limit limit = LOG_LIMIT_INIT(1);
	uint64_t dropped = con->io.state->dropped;

	if (dropped == con->dropped_told)
		return;
	if (!log_limit_pass(&limit)) {
		limit.dropped = 0; /* the next line tells the sum */
		return;
	}
	log_info("console: %llu bytes dropped for a slow reader",
		 (unsigned long long)(dropped - con->dropped_told));
	con->dropped_told = dropped;
}

static void console_write(struct console *con, bool ready)
{
	int r = console_io_write(&con->io, ready);

	if (r < 0)
		console_output_failed(con, r);
	else
		con->out_state = r;
}

/* A predecessor may have put the chain's first bytes into the ring. */
static void console_put(struct console *con, const struct chain *c,
			const struct iovec *iov)
{
	uint64_t skip =
		c->redone ? console_state_skip(con->io.state, c->counter) : 0;
	uint64_t at = 0, end = min_u64(c->len_out, CONSOLE_TX_MAX);

	for (unsigned int i = 0; i < c->num_out && at < end; i++) {
		const uint8_t *data = iov[i].iov_base;
		uint64_t len = min_u64(iov[i].iov_len, end - at);

		while (len) {
			size_t part = (size_t)min_u64(len, CONSOLE_PIECE);

			if (skip > at)
				part = (size_t)min_u64(part, skip - at);
			else
				console_io_put(&con->io, c->counter, at, data,
					       part);
			if (console_state_len(con->io.state) > CONSOLE_PIECE)
				console_write(con, false);
			data += part;
			at += part;
			len -= part;
		}
	}
}

static void console_tx_kick(struct console *con, struct queue *q)
{
	struct iovec iov[CONSOLE_IOV_MAX];
	uint64_t left = CONSOLE_TX_MAX;
	struct chain c;
	int r = 0;

	while (left) {
		r = queue_pop(q, &c, iov, CONSOLE_IOV_MAX);
		if (r <= 0)
			break;
		console_put(con, &c, iov);
		left -= min_u64(left, (uint64_t)c.len_out + 1);
		queue_push(q, &c, 0);
	}
	queue_flush(q);
	console_write(con, false);
	console_tell_dropped(con);
	console_update(con);
	if (r < 0)
		device_needs_reset(con->dev, q, "malformed console output");
	else if (!left)
		queue_kick_self(q);
}

static void console_input_ended(struct console *con)
{
	con->io.in_ended = true;
	con->in_always = false;
	if (console_io_is_one(&con->io))
		return; /* its output may go on; a hang-up follows */
	if (con->in_watch >= 0)
		worker_unwatch(con->worker, con->in_watch);
	con->in_watch = -1;
}

/* Return: there are bytes for the guest */
static bool console_fill(struct console *con, uint64_t max)
{
	ssize_t n;

	if (console_state_pending(con->io.state))
		return true;
	if (con->io.in < 0 || con->io.in_ended)
		return false;
	n = console_io_read(&con->io, (size_t)max);
	if (n <= 0 && n != -EAGAIN)
		console_input_ended(con);
	return n > 0;
}

/* Return: 1 bytes went to the guest; 0 nothing to do; negative: broken ring */
static int console_read_once(struct console *con)
{
	struct iovec iov[CONSOLE_IOV_MAX];
	struct chain c;
	struct console_state *s = con->io.state;
	size_t n = 0;
	int r = queue_pop(con->rx, &c, iov, CONSOLE_IOV_MAX);

	if (r <= 0) {
		con->rx_ready = false;
		return r;
	}
	if (!con->rx_settled)
		console_state_settle(s, c.redone, c.counter);
	con->rx_settled = true;
	if (c.num_in) {
		uint8_t *to = iov[c.num_out].iov_base;
		size_t len = iov[c.num_out].iov_len;

		if (!console_fill(con, min_u64(len, CONSOLE_INPUT_MAX))) {
			queue_unpop(con->rx, &c);
			return 0;
		}
		n = console_state_deliver(s, c.counter, to, len);
	}
	queue_push(con->rx, &c, (uint32_t)n);
	/* Bytes count as delivered once their chain is seen completed. */
	queue_flush(con->rx);
	if (n)
		console_state_delivered(s);
	return 1;
}

static bool console_has_input(const struct console *con)
{
	return console_state_pending(con->io.state) ||
	       (con->io.in >= 0 && !con->io.in_ended);
}

static void console_input(struct console *con)
{
	/* Only the first read is known not to block. */
	unsigned int reads =
		con->io.in_blocks && !con->in_always ? 1 : CONSOLE_READS;
	unsigned int chains = CONSOLE_CHAINS;
	int r = 1;

	while (r > 0 && reads && chains && con->rx && console_has_input(con)) {
		chains--;
		/* What is pending is no read. */
		if (!console_state_pending(con->io.state))
			reads--;
		r = console_read_once(con);
	}
	if (r < 0)
		device_needs_reset(con->dev, con->rx,
				   "malformed buffer for console input");
	else if (r > 0 && (con->in_always || !chains) && con->rx)
		queue_kick_self(con->rx);
	console_update(con);
}

static void console_on_input(struct worker *w, uint32_t events, void *arg)
{
	struct console *con = arg;

	(void)w;
	if (console_io_is_one(&con->io) && events & EPOLLOUT)
		console_write(con, true);
	if (con->io.in >= 0 && con->rx_ready && events & (EPOLLIN | EPOLLHUP))
		console_input(con);
	/* What it said last is read first; while the guest takes nothing, the
	 * hang-up is all that there is. */
	if (console_io_is_one(&con->io) && events & (EPOLLHUP | EPOLLERR) &&
	    (!con->rx_ready || con->io.in_ended))
		console_client_gone(con);
	else
		console_update(con);
}

static void console_on_output(struct worker *w, uint32_t events, void *arg)
{
	struct console *con = arg;

	(void)w;
	(void)events;
	console_write(con, true);
	console_update(con);
}

static void console_queue_started(struct device *dev, struct queue *q)
{
	struct console *con = dev->priv;

	if (q->index != CONSOLE_RX) {
		if (!q->recovered)
			console_state_forget(con->io.state);
		return;
	}
	con->rx = q;
	con->rx_settled = false;
	con->size_told = false;
}

/* What the predecessor held goes on its way at once. */
static void console_recovered(struct device *dev)
{
	struct console *con = dev->priv;
	uint64_t len;
	void *area = device_state_area(dev, &len);

	check(area && len >= sizeof(struct console_state));
	console_io_share(&con->io, area);
	con->dropped_told = con->io.state->dropped;
	console_write(con, false);
	console_update(con);
}

/* Linux asks for the size when it is told of a change, and not before; it
 * keeps a change in mind while its driver still starts. */
static void console_tell_size(struct console *con)
{
	if (con->size_told)
		return;
	con->size_told = true;
	if (get_le16(con->dev->config) || get_le16(con->dev->config + 2))
		device_config_changed(con->dev);
}

static void console_queue_kick(struct device *dev, struct queue *q)
{
	struct console *con = dev->priv;

	if (q->index == CONSOLE_TX) {
		console_tx_kick(con, q);
		return;
	}
	con->rx_ready = true;
	console_tell_size(con);
	if (con->in_always || console_state_pending(con->io.state))
		console_input(con);
	else
		console_update(con);
}

static bool console_queue_stopping(struct device *dev, struct queue *q)
{
	struct console *con = dev->priv;

	if (q->index == CONSOLE_RX) {
		con->rx = NULL;
		con->rx_ready = false;
		console_update(con);
	}
	return true;
}

/* Not in a loop for ever: a reader may never come. */
static void console_quiesce(struct device *dev)
{
	struct console *con = dev->priv;

	console_write(con, false);
	console_update(con);
	for (int i = 0; i < CONSOLE_DRAIN_ROUNDS && con->out_state > 0; i++)
		worker_poll(con->worker, CONSOLE_DRAIN_MS);
}

static int console_attach(struct device *dev, int fd, struct err *e)
{
	struct console *con = dev->priv;
	int r;

	console_unwatch(con);
	r = console_io_attach(&con->io, fd, e);
	if (r == 0) {
		r = console_watch(con);
		if (r < 0) {
			console_io_detach(&con->io);
			err_set(e, r, "console: can't watch the client");
		}
	}
	if (r < 0)
		return r;
	console_write(con, false);
	console_update(con);
	return 0;
}

static void console_set_size(struct device *dev, uint32_t cols, uint32_t rows)
{
	put_le16(dev->config, (uint16_t)min_u64(cols, UINT16_MAX));
	put_le16(dev->config + 2, (uint16_t)min_u64(rows, UINT16_MAX));
}

static void console_size(struct device *dev, uint32_t cols, uint32_t rows)
{
	console_set_size(dev, cols, rows);
	device_config_changed(dev);
}

static int console_worker_open(struct device *dev, struct worker *w,
			       struct err *e)
{
	struct console *con = dev->priv;
	int r;

	con->worker = w;
	r = console_watch(con);
	if (r < 0)
		return err_set(e, r, "console: can't watch the back end");
	console_update(con);
	return 0;
}

static int console_open(struct device *dev, const Bulkhead__DeviceSetup *setup,
			int *fds, unsigned int num_fds, struct err *e)
{
	struct console *con;

	if (setup->backend_case != BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE)
		return err_set(e, -EINVAL,
			       "bulkhead-console needs a console back end");
	con = calloc(1, sizeof(*con));
	if (!con)
		return err_set(e, -ENOMEM, "no memory for the console");
	con->dev = dev;
	con->in_watch = con->out_watch = -1;
	dev->priv = con;
	dev->features = 1ULL << CONSOLE_F_SIZE;
	dev->config_len = CONSOLE_CONFIG_LEN;
	dev->num_queues = 2;
	dev->max_queue_size =
		setup->queue_size ? setup->queue_size : CONSOLE_QUEUE_SIZE;
	dev->profile = &seccomp_profile_console;
	console_set_size(dev, setup->console->cols, setup->console->rows);
	return console_io_open(&con->io, setup->console, fds, num_fds, e);
}

const struct device_ops console_ops = {
	.name = "console",
	.virtio_id = 3,
	.heap = sizeof(struct console_state) + 16 * KIB,
	.open = console_open,
	.worker_open = console_worker_open,
	.recovered = console_recovered,
	.queue_started = console_queue_started,
	.queue_kick = console_queue_kick,
	.queue_stopping = console_queue_stopping,
	.quiesce = console_quiesce,
	.attach = console_attach,
	.console_size = console_size,
};
