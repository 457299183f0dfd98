/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile passt and receive buffers of any size: the first byte chooses the
 * features and the rest of the first 64 the buffers; what follows is what
 * passt says, in pieces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/num.h"
#include "tests/unit/dev-net/net_fake.h"

#define BUFFERS 63

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_ring rx;

static void run(struct net_pair *p, int peer, const uint8_t *data, size_t size)
{
	while (size && p->rx && !p->dead) {
		size_t n = min_u64(size, 1 + data[0] * 8u);

		if (send(peer, data, n, MSG_NOSIGNAL) < 0)
			break;
		data += n;
		size -= n;
		net_rx_run(p);
		net_pair_wait_events(p);
	}
	if (p->rx)
		net_rx_stop(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_pair *p;
	int fds[2];

	if (size < 1 + BUFFERS ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
		return 0;
	log_set_level(LOG_ERROR);
	memset(&rx, 0, sizeof(rx));
	for (unsigned int i = 0; i < BUFFERS; i++) {
		uint32_t len = (uint32_t)data[1 + i] * 16;

		fake_add(&rx, NULL, 0, malloc(len ? len : 1), len);
	}
	p = &fake_net(&net_stream, fds[0],
		      data[0] & 1 ? NET_BIT(NET_F_MRG_RXBUF) : 0, &rx, NULL)
		     ->pairs[0];
	rx.q.size = BUFFERS;
	if (data[0] & 2)
		p->now.filter.promisc = false;
	run(p, fds[1], data + 1 + BUFFERS, size - 1 - BUFFERS);
	check(!rx.outstanding);
	for (unsigned int i = 0; i < BUFFERS; i++)
		free(rx.bufs[i].iov[0].iov_base);
	close(fds[0]);
	close(fds[1]);
	close(p->wake_fd);
	close(p->net->settled_fd);
	return 0;
}
