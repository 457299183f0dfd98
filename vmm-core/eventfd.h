/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_EVENTFD_H
#define VMM_CORE_EVENTFD_H

/*
 * Eventfds that the core shares with a device process and the hypervisor.
 * vCPU threads may not make these system calls: they are made in the gate's
 * thread, except eventfd_new(), which is the control thread's.
 */

#include <stdbool.h>

#include "common/base/err.h"

/**
 * eventfd_new() - Non-blocking, close-on-exec, counter 0
 *
 * Return: the descriptor or negative errno. Context: control thread
 */
int eventfd_new(struct err *e);

/* Context: the gate's thread */
void eventfd_signal(int fd); /* add 1 */
void eventfd_drain(int fd);  /* counter = 0 */
bool eventfd_is_set(int fd); /* is the counter not 0? */

#endif
