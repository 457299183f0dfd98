/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Stands in for bulkhead-blk. All that it does honestly is the real device's;
 * three places are its own: what the device runtime receives, what it sends
 * (both wrapped by the linker), and the device's open() and queue_kick().
 *
 * The disk begins with a script: a line for each life, with the acts of that
 * life. Without a script, and after its last line, it is honest. A life begins
 * with open(), while the disk may still be read by plain calls.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/num.h"
#include "common/channel/channel.h"
#include "common/virtio/runtime.h"
#include "dev-blk/blk.h"
#include "tests/hostile/hostile.h"

#define SCRIPT_MAGIC "hostile script\n"
#define SCRIPT_MAX   4096
#define SCRIPT_LIFE  8192 /* where the lives are counted */
#define ACT_KICKS    6	  /* of service before an act, and between two */

struct hostile hostile;

void __real_device_msg_handle(struct device *dev, struct channel_msg *msg);
void __wrap_device_msg_handle(struct device *dev, struct channel_msg *msg);
int __real_channel_send(struct channel *ch, const ProtobufCMessage *msg,
			const int *fds, unsigned int num_fds, struct err *e);
int __wrap_channel_send(struct channel *ch, const ProtobufCMessage *msg,
			const int *fds, unsigned int num_fds, struct err *e);

/* ---- the script ---- */

static const struct act *act_find(const char *name, size_t len)
{
	const struct act *const tables[] = {acts_start, acts_message,
					    acts_ring};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct act *a = tables[i]; a->name; a++)
			if (!strncmp(a->name, name, len) && !a->name[len])
				return a;
	return NULL;
}

static void script_take(const char *line, size_t len)
{
	while (len) {
		size_t n = strcspn(line, "+\n");
		const struct act *a = act_find(line, n);

		if (!a)
			log_error("no act \"%.*s\"", (int)n, line);
		else if (hostile.num_acts < HOSTILE_ACTS_MAX)
			hostile.acts[hostile.num_acts++] = a;
		n += n < len;
		line += n;
		len -= n;
	}
}

static void script_read(int fd)
{
	static char text[SCRIPT_MAX + 1];
	const char *p = text + strlen(SCRIPT_MAGIC);
	uint32_t next;

	if (pread(fd, text, SCRIPT_MAX, 0) != SCRIPT_MAX ||
	    strncmp(text, SCRIPT_MAGIC, strlen(SCRIPT_MAGIC)) ||
	    pread(fd, &hostile.life, sizeof(hostile.life), SCRIPT_LIFE) < 0)
		return;
	next = hostile.life + 1;
	if (pwrite(fd, &next, sizeof(next), SCRIPT_LIFE) < 0)
		log_error("this life can't be counted");
	for (uint32_t i = 0; i < hostile.life && *p; i++) {
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	script_take(p, strcspn(p, "\n"));
}

void acts_run(enum act_when when)
{
	for (unsigned int i = 0; i < hostile.num_acts; i++)
		if (hostile.acts[i]->when == when)
			hostile.acts[i]->fn();
}

/* ---- in the runtime's place ---- */

void __wrap_device_msg_handle(struct device *dev, struct channel_msg *msg)
{
	const Bulkhead__DeviceMessage *m = (const void *)msg->msg;

	if (hostile.deaf) {
		loop_set_events(dev->rt->ch_watch, 0);
		dev->rt->channel_gone = true;
		return;
	}
	if (!m->answers && m->body->kind_case < ARRAY_SIZE(hostile.asked))
		hostile.asked[m->body->kind_case] = m->seq;
	hostile.latest = m->seq;
	__real_device_msg_handle(dev, msg);
}

int __wrap_channel_send(struct channel *ch, const ProtobufCMessage *msg,
			const int *fds, unsigned int num_fds, struct err *e)
{
	Bulkhead__DeviceMessage *m = (void *)(uintptr_t)msg;

	/* Hello is answered when the script is known: by hostile_open(). */
	if (m->body &&
	    m->body->kind_case == BULKHEAD__DEVICE_BODY__KIND_HELLO_REPLY)
		return 0;
	hostile.out = m;
	if (m->body && m->body->kind_case == BULKHEAD__DEVICE_BODY__KIND_INFO)
		acts_run(ACT_INFO);
	else if (m->answers)
		acts_run(ACT_REPLY);
	if (!hostile.out)
		return 0;
	hostile.out = NULL;
	return __real_channel_send(ch, msg, fds, num_fds, e);
}

/* ---- in the device's place ---- */

static int hostile_open(struct device *dev, const Bulkhead__DeviceSetup *setup,
			int *fds, unsigned int num_fds, struct err *e)
{
	hostile.dev = dev;
	if (num_fds)
		script_read(fds[0]);
	acts_run(ACT_OPEN);
	wire_hello();
	return blk_device.open(dev, setup, fds, num_fds, e);
}

static void hostile_kick(struct device *dev, struct queue *q)
{
	unsigned int n = ++hostile.kicks / ACT_KICKS;

	hostile.queue = q;
	/* A config write of the driver's follows each kick: one is there. */
	if (hostile.deaf && hostile.kicks > 2 * ACT_KICKS)
		wire_answer(++hostile.latest, 0, "", NULL);
	/* One at a time, so that the driver may see what each one does. */
	if (hostile.kicks % ACT_KICKS == 0 && n <= hostile.num_acts &&
	    hostile.acts[n - 1]->when == ACT_KICK)
		hostile.acts[n - 1]->fn();
	blk_device.queue_kick(dev, q);
}

int main(void)
{
	struct device_ops ops = blk_device;

	ops.open = hostile_open;
	ops.queue_kick = hostile_kick;
	return device_main(&ops);
}
