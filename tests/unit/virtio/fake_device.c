/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/virtio/fake_device.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"
#include "common/sandbox/seccomp.h"

static struct fake *fake; /* the one */
static const struct seccomp_profile fake_profile = {.name = "fake"};
static bool fake_ended;
static int fake_code;

int sandbox_restrict(struct sandbox_report *report, struct err *e)
{
	(void)report;
	(void)e;
	return 0;
}

int sandbox_lock(const struct seccomp_profile *profile,
		 struct sandbox_report *report, struct err *e)
{
	check(profile == &fake_profile);
	report->syscalls = 1;
	return fake->refuse_lock ? err_set(e, -EPERM, "not locked") : 0;
}

int sandbox_start(uint64_t heap, struct sandbox_report *ret, struct err *e)
{
	(void)heap;
	(void)ret;
	(void)e;
	return 0;
}

static int fake_open(struct device *dev, const Bulkhead__DeviceSetup *setup,
		     int *fds, unsigned int num_fds, struct err *e)
{
	(void)setup;
	(void)fds;
	(void)num_fds;
	if (fake->refuse_open)
		return err_set(e, -ENXIO, "no such device");
	dev->features = 1;
	dev->config_len = 8;
	dev->num_queues = 2;
	dev->max_queue_size = 16;
	dev->num_workers = fake->workers;
	dev->profile = &fake_profile;
	return 0;
}

static unsigned int fake_queue_worker(struct device *dev, uint32_t index)
{
	return dev->num_workers > 1 ? index : 0;
}

static int fake_set_features(struct device *dev, uint64_t features)
{
	(void)dev;
	(void)features;
	return 0;
}

static void fake_config_write(struct device *dev, uint32_t offset,
			      const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		dev->config[offset + i] = data[i];
	fake->writes++;
	device_config_changed(dev);
}

static void fake_queue_started(struct device *dev, struct queue *q)
{
	(void)dev;
	(void)q;
	__atomic_fetch_add(&fake->starts, 1, __ATOMIC_SEQ_CST);
}

/* Complete everything, reporting what is malformed. */
static void fake_queue_kick(struct device *dev, struct queue *q)
{
	struct iovec iov[64];
	struct chain c;
	int r;

	__atomic_fetch_add(&fake->kicks, 1, __ATOMIC_SEQ_CST);
	while ((r = queue_pop(q, &c, iov, 64)) > 0)
		queue_push(q, &c, c.len_in);
	queue_flush(q);
	if (r < 0)
		device_needs_reset(dev, q, "malformed");
}

static bool fake_queue_stopping(struct device *dev, struct queue *q)
{
	(void)dev;
	(void)q;
	return !fake->busy;
}

static void fake_reset(struct device *dev)
{
	(void)dev;
	fake->resets++;
}

static void fake_quiesce(struct device *dev)
{
	(void)dev;
	fake->quiesces++;
}

static int fake_attach(struct device *dev, int fd, struct err *e)
{
	(void)dev;
	(void)e;
	fd_close(fd);
	fake->attaches++;
	return 0;
}

static void fake_recovered(struct device *dev)
{
	uint64_t len;

	check(device_state_area(dev, &len) && len == INFLIGHT_STATE_SIZE);
	fake->reveals++;
}

static const struct device_ops fake_ops = {
	.name = "fake",
	.virtio_id = 42,
	.open = fake_open,
	.queue_worker = fake_queue_worker,
	.set_features = fake_set_features,
	.config_write = fake_config_write,
	.queue_started = fake_queue_started,
	.queue_kick = fake_queue_kick,
	.queue_stopping = fake_queue_stopping,
	.reset = fake_reset,
	.quiesce = fake_quiesce,
	.attach = fake_attach,
	.recovered = fake_recovered,
};

struct fake *fake_new(unsigned int workers)
{
	struct err e;
	int pair[2];

	fake = calloc(1, sizeof(*fake));
	check(fake);
	check(channel_pair(pair, &e) == 0);
	fake->workers = workers;
	fake->idle_ms = 1;
	fake->peer = pair[1];
	fake_ended = false;
	check(device_init(&fake->dev, &fake->rt, &fake_ops, pair[0], &e) == 0);
	return fake;
}

void fake_free(struct fake *f)
{
	fd_close(f->peer);
	device_done(&f->dev);
	free(f);
}

static void fake_on_idle(void *arg)
{
	struct fake *f = arg;

	loop_stop(f->rt.loop, -EAGAIN);
}

bool fake_run(struct fake *f)
{
	static struct loop_watch *timer;
	struct err e;

	if (fake_ended)
		return true;
	check(loop_add_timer(f->rt.loop, fake_on_idle, f, &timer, &e) == 0);
	loop_timer_arm(timer, f->idle_ms);
	fake_code = device_run(&f->dev);
	loop_watch_free(timer);
	fake_ended = fake_code != -EAGAIN;
	return fake_ended;
}

void fake_drained(struct fake *f, unsigned int index)
{
	device_queue_drained(&f->dev, &f->dev.queues[index]);
}
