/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dev-net/net.h"

/*
 * A tap queue: one frame a call, behind a virtio header of NET_HDR_LEN bytes
 * that the kernel reads and writes itself (little-endian, set by the broker).
 */

/* The interface was deleted on the host, or the queue is detached. */
static bool is_gone(int code)
{
	return code == EBADFD || code == EBADF || code == ENODEV;
}

/* @sys net readv: receive one frame from the tap into guest memory */
static int64_t tap_recv(struct net_pair *p, struct iovec *iov,
			unsigned int num_iov)
{
	ssize_t len;

	do {
		len = readv(p->fd, iov, (int)num_iov);
	} while (len < 0 && errno == EINTR);
	if (len >= 0)
		return len;
	/* EFAULT too says that the interface is being deleted. Anything else
	 * would come again at once and make us spin. */
	return errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS ? 0
								      : -EPIPE;
}

/* @sys net writev: send one frame from guest memory to the tap */
static int tap_send(struct net_pair *p, struct iovec *iov, unsigned int num_iov,
		    uint64_t frame_len)
{
	ssize_t len;

	(void)frame_len;
	do {
		len = writev(p->fd, iov, (int)num_iov);
	} while (len < 0 && errno == EINTR);
	if (len >= 0)
		return 1;
	if (errno == EAGAIN)
		return 0;
	return is_gone(errno) ? -EPIPE : -errno;
}

static int tap_flush(struct net_pair *p)
{
	(void)p;
	return 1;
}

/*
 * @sys net ioctl(1==TUNSETQUEUE): enable or disable a queue pair
 * (the kernel asks no capability for it on a queue that is open)
 */
static int tap_enable(struct net_pair *p, bool on)
{
	struct ifreq req = {
		.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
	};

	/* The last queue may not be detached, and needs not be. */
	if (p->net->num_pairs == 1 || p->index == 0)
		return 0;
	return ioctl(p->fd, TUNSETQUEUE, &req) < 0 ? -errno : 0;
}

/*
 * @sys net ioctl(1==TUNSETOFFLOAD): what the driver accepts
 * (in received frames; for the whole interface, so pair 0 speaks for all)
 */
static int tap_offload(struct net *n, unsigned int tun_flags)
{
	if (ioctl(n->pairs[0].fd, TUNSETOFFLOAD, (unsigned long)tun_flags) < 0)
		return -errno;
	return 0;
}

const struct net_backend net_tap = {
	.recv = tap_recv,
	.send = tap_send,
	.flush = tap_flush,
	.enable = tap_enable,
	.offload = tap_offload,
};
