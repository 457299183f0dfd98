/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_PASST_H
#define BROKER_PASST_H

/*
 * passt: user-mode network for one device, a helper process that the broker
 * starts with one end of a stream socket. It gets an identity of its own
 * (where the broker is root), no privilege, an empty environment and no
 * descriptor but the socket and a pipe for its words; passt then confines
 * itself further. It ends when the socket's other end is closed.
 */

#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"

struct passt_args {
	uint32_t mtu;		 /* announced by DHCP and NDP; 0: its own */
	const uint8_t *host_mac; /* 6 bytes, as the gateway's; NULL: its own */
};

struct passt {
	int fd;	    /* stream to it, non-blocking; the caller's */
	int log_fd; /* read end of its stderr; the caller keeps it open */
	int pidfd;
	pid_t pid;
};

/**
 * passt_start() - Start it and wait until it serves or has given up
 *
 * Return: 0; -ENOENT not installed; -EIO it ended (the text says what it
 *         said); other errno. On error nothing is left behind.
 */
int passt_start(const struct passt_args *args, struct passt *ret,
		struct err *e);

/** passt_stop() - End it and reap it; closes @pidfd; 0 and -1: no-op */
void passt_stop(pid_t pid, int pidfd);

#endif
