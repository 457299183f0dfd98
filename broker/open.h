/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_OPEN_H
#define BROKER_OPEN_H

/*
 * The only door to host resources. Each open_*.c turns one device's
 * configuration into opened descriptors and the DeviceSetup that goes with
 * them. What was made on the host (taps, sockets, a passt process) is taken
 * away again by opened_close().
 */

#include <sys/types.h>

#include "broker/config.h"
#include "common/base/err.h"
#include "proto/device.pb-c.h"
#include "proto/keeper.pb-c.h"

#define OPENED_MAX_FDS 16

/* A device's host side. The descriptors stay open for as long as the VM runs:
 * a replacement of the device process gets the same ones. */
struct opened {
	int fds[OPENED_MAX_FDS]; /* owned */
	unsigned int num_fds;
	/* Scalars to put into DeviceSetup; texts point into the configuration
	 * or into text[]. One of them, by the device's kind. */
	union {
		Bulkhead__BlkSetup blk;
		Bulkhead__NetSetup net;
		Bulkhead__ConsoleSetup console;
		Bulkhead__RngSetup rng;
	};
	uint8_t text[64];
	/* To undo: */
	int listen_fd;	   /* socket mode: accept clients here; -1 = none */
	char *unlink_path; /* socket mode: owned */
	int keep_fds[2];   /* pty slave and the like; -1 = none */
	pid_t helper;	   /* passt; 0 = none */
	int helper_pidfd;
	char *peer_name; /* pty path, tap name: for messages and ps; owned */
};

void opened_init(struct opened *o);
void opened_close(struct opened *o);

/** opened_fill_setup() - The back end's part of DeviceSetup for @role, "blk",
 *  "net", "console" or "rng"; points into @o */
void opened_fill_setup(struct opened *o, const char *role,
		       Bulkhead__DeviceSetup *m);

/** opened_keep() - Describe it for another broker; texts point into @o
 *  @fds: Gets OPENED_KEPT_FDS at most; Return: their number */
#define OPENED_KEPT_FDS (OPENED_MAX_FDS + 4)
unsigned int opened_keep(struct opened *o, const char *role,
			 Bulkhead__KeptBackend *ret,
			 Bulkhead__DeviceSetup *setup, int *fds);

/** opened_adopt() - What a dead broker had opened
 *  @fds: Taken over. Return: how many, or negative errno */
int opened_adopt(struct opened *o, const Bulkhead__KeptBackend *m, int *fds,
		 unsigned int num_fds, struct err *e);

int open_disk(const struct config_disk *c, struct opened *ret, struct err *e);
int open_net(const struct config_net *c, struct opened *ret, struct err *e);
/** open_console() - @what: "serial" or "console", for messages */
int open_console(const struct config_console *c, const char *what,
		 struct opened *ret, struct err *e);
int open_rng(const char *src, struct opened *ret, struct err *e);

#endif
