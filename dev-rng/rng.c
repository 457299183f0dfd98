/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device: virtio 1.2, 5.4. One queue; whatever the driver lets us
 * write is filled from the entropy source. No features, no configuration.
 *
 * The source may be slow (a FIFO, a hardware generator): the chain goes back
 * to the ring until the source has more. At its end no request is completed
 * any more, which a driver takes for a slow source; made-up bytes would be a
 * lie.
 */
#include "dev-rng/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/sandbox/seccomp.h"

#define RNG_QUEUE_SIZE	256
#define RNG_REQUEST_MAX (64 * KIB) /* bytes; more is left unfilled */
#define RNG_WAKE_MAX	(1 * MIB)  /* bytes before others get a turn */
#define RNG_IOV_MAX	64

SECCOMP_PROFILE(rng);

struct rng {
	int source; /* owned; non-blocking where that means something */
	int watch;  /* of the source, -1 = none */
	bool ended;
};

static int rng_open(struct device *dev, const Bulkhead__DeviceSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e)
{
	struct rng *rng;

	if (setup->backend_case != BULKHEAD__DEVICE_SETUP__BACKEND_RNG ||
	    num_fds != 1)
		return err_set(e, -EINVAL,
			       "bulkhead-rng needs one entropy source");
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return err_set(e, -ENOMEM, "no memory for the entropy device");
	rng->source = take_fd(&fds[0]);
	rng->watch = -1;
	dev->priv = rng;
	dev->num_queues = 1;
	dev->max_queue_size =
		setup->queue_size ? setup->queue_size : RNG_QUEUE_SIZE;
	dev->profile = &seccomp_profile_rng;
	return 0;
}

/*
 * Return: bytes, 0 at the end of the source, -EAGAIN or another errno
 *
 * @sys rng read: entropy from the source
 */
static ssize_t rng_fill(struct rng *rng, const struct iovec *iov,
			unsigned int num)
{
	size_t done = 0;

	for (unsigned int i = 0; i < num && done < RNG_REQUEST_MAX; i++) {
		size_t want =
			(size_t)min_u64(iov[i].iov_len, RNG_REQUEST_MAX - done);
		ssize_t n = read(rng->source, iov[i].iov_base, want);

		if (n < 0 && !done)
			return -errno;
		if (n > 0)
			done += (size_t)n;
		if (n < (ssize_t)want)
			break;
	}
	return (ssize_t)done;
}

static void rng_on_source(struct worker *w, uint32_t events, void *arg)
{
	struct queue *q = arg;
	struct rng *rng = q->device->priv;

	(void)events;
	worker_unwatch(w, rng->watch);
	rng->watch = -1;
	queue_kick_self(q);
}

/* The source has nothing now (@r -EAGAIN), or never again. */
static void rng_wait(struct rng *rng, struct queue *q, ssize_t r)
{
	if (r == -EAGAIN)
		rng->watch = worker_watch(q->worker, rng->source, EPOLLIN,
					  rng_on_source, q);
	if (r == -EAGAIN && rng->watch >= 0)
		return;
	rng->ended = true;
	device_backend_closed(q->device,
			      r ? "the entropy source fails"
				: "the entropy source is at its end");
}

static void rng_queue_kick(struct device *dev, struct queue *q)
{
	struct rng *rng = dev->priv;
	struct iovec iov[RNG_IOV_MAX];
	uint64_t left = RNG_WAKE_MAX;
	struct chain c;
	int r = 0;

	while (!rng->ended && rng->watch < 0 && left) {
		ssize_t n = 0;

		r = queue_pop(q, &c, iov, RNG_IOV_MAX);
		if (r <= 0)
			break;
		if (c.len_in)
			n = rng_fill(rng, iov + c.num_out, c.num_in);
		if (n < 0 || (!n && c.len_in)) {
			queue_unpop(q, &c);
			rng_wait(rng, q, n);
			break;
		}
		left -= min_u64(left, (uint64_t)n + 1);
		queue_push(q, &c, (uint32_t)n);
	}
	queue_flush(q);
	if (r < 0)
		device_needs_reset(dev, q, "malformed request for entropy");
	else if (!left)
		queue_kick_self(q);
}

static bool rng_queue_stopping(struct device *dev, struct queue *q)
{
	struct rng *rng = dev->priv;

	if (rng->watch >= 0)
		worker_unwatch(q->worker, rng->watch);
	rng->watch = -1;
	return true;
}

const struct device_ops rng_ops = {
	.name = "rng",
	.virtio_id = 4,
	.open = rng_open,
	.queue_kick = rng_queue_kick,
	.queue_stopping = rng_queue_stopping,
};
