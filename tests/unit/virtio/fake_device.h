/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VIRTIO_FAKE_DEVICE_H
#define TESTS_UNIT_VIRTIO_FAKE_DEVICE_H

/*
 * The device runtime around a device of two queues that does nothing, in this
 * process and without a sandbox (sandbox_restrict() and sandbox_lock() are the
 * test's own), with the broker's end of its channel in the test's hand.
 */

#include "common/virtio/runtime.h"

struct fake {
	struct device dev;
	struct device_runtime rt;
	int peer; /* the broker's end */
	/* What the device saw. */
	unsigned int starts, kicks, resets, quiesces, writes, attaches, reveals;
	bool busy; /* queue_stopping() returns false */
	bool refuse_open, refuse_lock;
	unsigned int workers;
	unsigned int idle_ms; /* how long fake_run() waits for more */
};

/* One at a time. */
struct fake *fake_new(unsigned int workers);
void fake_free(struct fake *f);
/* Let the loop run until it has nothing to do, or ended (then true). */
bool fake_run(struct fake *f);
/* As if a worker finished what queue_stopping() left. */
void fake_drained(struct fake *f, unsigned int index);

#endif
