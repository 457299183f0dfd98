/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_RUNDIR_H
#define BROKER_RUNDIR_H

/*
 * The folder where running VMs can be found: one socket a VM, named after it,
 * in /run/bulkhead (root), $XDG_RUNTIME_DIR/bulkhead, or /tmp/bulkhead-<uid>.
 * Mode 0700 and owned by the user, else it is refused.
 */

#include <stddef.h>

#include "common/base/err.h"

#define RUNDIR_NAME_MAX 48 /* characters of a VM's name */

/** rundir_path() - The folder, made if it is missing */
int rundir_path(char *ret, size_t len, struct err *e);

/** rundir_name_ok() - Letters, digits, '.', '_', '-'; not first '.' or '-' */
int rundir_name_ok(const char *name, struct err *e);

/** rundir_socket() - The path of VM @name's socket */
int rundir_socket(const char *name, char *ret_path, size_t len, struct err *e);

/** rundir_listen() - Make VM @name's socket; -EEXIST if such a VM runs */
int rundir_listen(const char *name, char *ret_path, size_t len, int *ret_fd,
		  struct err *e);

/** rundir_connect() - To VM @name; Return: a descriptor or negative errno */
int rundir_connect(const char *name, struct err *e);

/** rundir_each() - Names of the sockets found; stale ones are removed
 *  Return: their number or negative errno; @cb returns non-zero to stop */
int rundir_each(int (*cb)(const char *name, int fd, void *arg), void *arg,
		struct err *e);

#endif
