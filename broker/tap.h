/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_TAP_H
#define BROKER_TAP_H

/*
 * Tap interfaces of the host, one descriptor per queue pair. An interface
 * that did not exist before lives as long as its descriptors. Errors name the
 * interface and what the user can do.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define TAP_QUEUES_MAX 16

/**
 * tap_open() - Open a tap or make one
 * @name:     NULL: the kernel picks "bh0", "bh1", ...
 * @ret_fds:  @num non-blocking, close-on-exec descriptors, the caller's
 * @ret_name: What the interface is called
 *
 * Return: 0, -EINVAL (name; not a tap; queue count does not fit), -EPERM,
 *         -EBUSY (another program has it), -ENOENT (no /dev/net/tun), other
 */
int tap_open(const char *name, unsigned int num, int *ret_fds,
	     char ret_name[IFNAMSIZ], struct err *e);

/**
 * tap_adopt() - Take a descriptor that was opened elsewhere (tap or macvtap)
 * @fd:     Stays the caller's
 * @ret_fd: A close-on-exec, non-blocking duplicate
 */
int tap_adopt(int fd, int *ret_fd, char ret_name[IFNAMSIZ], struct err *e);

/* The host's side of the interface. What is already so needs no privilege. */
int tap_set_address(const char *name, const char *ip, const char *mask,
		    struct err *e);
int tap_set_mac(const char *name, const uint8_t mac[6], struct err *e);
int tap_set_mtu(const char *name, uint32_t mtu, struct err *e);
int tap_set_up(const char *name, struct err *e);

/**
 * tap_prefix_len() - Bits of a netmask, "255.255.255.0" or "ffff:ffff::"
 * @family: AF_INET or AF_INET6
 *
 * Return: 0 to 128, -EINVAL when it is no mask of that family
 */
int tap_prefix_len(int family, const char *mask);

#endif
