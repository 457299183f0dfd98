/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_SERIAL_LINE_H
#define VMM_CORE_PLATFORM_SERIAL_LINE_H

/*
 * COM1: the UART of serial.h on the port bus, connected to the broker's
 * descriptors. Input is read only as fast as the guest takes it. When a peer
 * that is both input and output goes away the broker is told (SerialClosed)
 * and output is kept for the next one (SerialAttach).
 */

#include "vmm-core/vm.h"

struct serial_line;

struct serial_line_config {
	int in_fd;  /* -1 = none; taken over, as out_fd */
	int out_fd; /* may equal in_fd */
	bool waits_for_client;
};

/** serial_line_new() - Before lock-down. @fds of @cfg are closed on error */
int serial_line_new(struct vm *vm, const struct serial_line_config *cfg,
		    struct serial_line **ret, struct err *e);
void serial_line_free(struct serial_line *l);

/** serial_line_attach() - A new peer for both ways; takes @fd over; control
 *  thread, under the machine lock */
int serial_line_attach(struct serial_line *l, int fd, struct err *e);
/** serial_line_is_attached() - Has it a peer? */
bool serial_line_is_attached(const struct serial_line *l);

#endif
