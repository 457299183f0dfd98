/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

/*
 * The running VM's control socket (proto/control.proto): what `bulkhead ps`
 * and its kind talk to. At most CONTROL_CLIENTS_MAX at a time, one
 * message each way at a time; a client that breaks the protocol is dropped.
 */

#include "broker/family.h"

#define CONTROL_CLIENTS_MAX 8

struct control;

int control_new(struct family *f, const char *name, struct control **ret,
		struct err *e);
/** control_adopt() - A dead broker's socket; @fd: taken over on success */
int control_adopt(struct family *f, const char *name, int *fd,
		  struct control **ret, struct err *e);
/** control_fd() - Where commands connect */
int control_fd(const struct control *c);
void control_free(struct control *c); /* NULL allowed; removes the socket */

#endif
