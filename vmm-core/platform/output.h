/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_OUTPUT_H
#define VMM_CORE_PLATFORM_OUTPUT_H

/*
 * Bytes from the guest on their way to a descriptor that may be slow, or not
 * there yet. vCPU threads put, the control thread writes; neither ever waits
 * for the reader. When the buffer is full the oldest bytes give way.
 *
 * A slow reader is tried again by a timer, not by waiting for the descriptor:
 * regular files can't be waited for, and a pty without a reader would report
 * "ready" for ever.
 */

#include "common/base/bytering.h"
#include "vmm-core/vm.h"

#define OUTPUT_BUFFER_MAX (64 * 1024) /* bytes */

/* Embedded; all under the machine lock. */
struct output {
	struct vm *vm;
	struct bytering ring;
	int fd;	   /* -1 = none; the owner's */
	bool keep; /* without a descriptor: keep the bytes for a later one */
	bool busy; /* a flush is posted, or the timer runs */
	struct loop_watch *timer;
	/* The descriptor failed and was forgotten; control thread. */
	void (*failed)(void *opaque);
	void *opaque;
};

int output_init(struct output *o, struct vm *vm, int fd, bool keep,
		void (*failed)(void *opaque), void *opaque, struct err *e);
void output_done(struct output *o);

/** output_put() - Any thread that holds the machine lock */
void output_put(struct output *o, const uint8_t *data, size_t len);

/** output_set_fd() - From now on to @fd (-1: none); control thread */
void output_set_fd(struct output *o, int fd);

#endif
