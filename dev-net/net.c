/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "common/base/num.h"
#include "common/sandbox/seccomp.h"

#define VIRTIO_ID_NET	   1
#define QUEUE_SIZE_DEFAULT 256
#define SETTLE_MS	   300 /* then the successor starts afresh */

/* struct virtio_net_config, virtio 1.2, 5.1.4. */
#define CONFIG_MAC	 0
#define CONFIG_STATUS	 6
#define CONFIG_MAX_PAIRS 8
#define CONFIG_MTU	 10
#define CONFIG_LEN	 12
#define STATUS_LINK_UP	 1

SECCOMP_PROFILE(net);

/* One device a process; the pages of unused pairs are never touched. */
static struct net the_net;

#define ALWAYS                                                                 \
	(NET_BIT(NET_F_MAC) | NET_BIT(NET_F_STATUS) |                          \
	 NET_BIT(NET_F_MRG_RXBUF) | NET_BIT(NET_F_CTRL_VQ) |                   \
	 NET_BIT(NET_F_CTRL_RX) | NET_BIT(NET_F_CTRL_RX_EXTRA) |               \
	 NET_BIT(NET_F_CTRL_MAC_ADDR) | NET_BIT(NET_F_GUEST_ANNOUNCE))
#define OFFLOAD_CSUM                                                           \
	(NET_BIT(NET_F_CSUM) | NET_BIT(NET_F_GUEST_CSUM) |                     \
	 NET_BIT(NET_F_CTRL_GUEST_OFFLOADS))
#define OFFLOAD_TSO                                                            \
	(NET_BIT(NET_F_GUEST_TSO4) | NET_BIT(NET_F_GUEST_TSO6) |               \
	 NET_BIT(NET_F_GUEST_ECN) | NET_BIT(NET_F_HOST_TSO4) |                 \
	 NET_BIT(NET_F_HOST_TSO6) | NET_BIT(NET_F_HOST_ECN))
#define OFFLOAD_UFO (NET_BIT(NET_F_GUEST_UFO) | NET_BIT(NET_F_HOST_UFO))
#define OFFLOAD_USO                                                            \
	(NET_BIT(NET_F_GUEST_USO4) | NET_BIT(NET_F_GUEST_USO6) |               \
	 NET_BIT(NET_F_HOST_USO))

/* A kernel since 6.2 and a tap of it; before lock-down. */
static bool tap_has_uso(struct net *n)
{
	bool has = !net_tap.offload(
		n, net_offload_flags(OFFLOAD_CSUM | OFFLOAD_USO));

	net_tap.offload(n, 0);
	return has;
}

static uint64_t offered(struct net *n, const Bulkhead__NetSetup *s)
{
	uint64_t features = ALWAYS;

	if (s->mtu)
		features |= NET_BIT(NET_F_MTU);
	if (n->num_pairs > 1)
		features |= NET_BIT(NET_F_MQ);
	if (n->backend != &net_tap || !s->offload_csum)
		return features;
	features |= OFFLOAD_CSUM;
	if (s->offload_tso)
		features |= OFFLOAD_TSO;
	if (s->offload_ufo)
		features |= OFFLOAD_UFO | (tap_has_uso(n) ? OFFLOAD_USO : 0);
	return features;
}

static int check_setup(const Bulkhead__DeviceSetup *setup, unsigned int num_fds,
		       struct err *e)
{
	const Bulkhead__NetSetup *s;

	if (setup->backend_case != BULKHEAD__DEVICE_SETUP__BACKEND_NET)
		return err_set(e, -EINVAL,
			       "net: the set-up is not for a "
			       "network device");
	s = setup->net;
	if (s->mac.len != NET_MAC_LEN || s->mac.data[0] & 1)
		return err_set(e, -EINVAL,
			       "net: the MAC address is not one "
			       "interface's");
	if (num_fds < 1 || num_fds > NET_PAIRS_MAX ||
	    (s->kind == BULKHEAD__NET_SETUP__KIND__PASST && num_fds != 1))
		return err_set(e, -EINVAL,
			       "net: %u queue pairs; 1 to %u are possible, 1 "
			       "with passt",
			       num_fds, NET_PAIRS_MAX);
	if (setup->num_queues && setup->num_queues != 2 * num_fds)
		return err_set(e, -EINVAL,
			       "net: %u queues do not go with %u descriptors",
			       setup->num_queues, num_fds);
	if (setup->queue_size > NET_QUEUE_MAX)
		return err_set(e, -EINVAL,
			       "net: queue size %u; at most %u is possible",
			       setup->queue_size, NET_QUEUE_MAX);
	if (s->mtu > 65535)
		return err_set(e, -EINVAL, "net: MTU %u is above 65535",
			       s->mtu);
	return 0;
}

static int open_pair(struct net *n, unsigned int index, int *fd, struct err *e)
{
	struct net_pair *p = &n->pairs[index];
	int flags = fcntl(*fd, F_GETFL);

	p->net = n;
	p->index = index;
	p->mark = &n->own.marks[index];
	p->watch = -1;
	p->complaints = (struct log_limit)LOG_LIMIT_INIT(5);
	net_box_init(&p->box);
	if (flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_errno(e,
				 "net: can't make descriptor %u "
				 "non-blocking",
				 index);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0)
		return err_errno(e, "net: can't make an eventfd");
	p->fd = take_fd(fd);
	/* Only pair 0 is in use until the driver asks for more; the host must
	 * not steer frames to the others. */
	if (index && n->backend->enable)
		n->backend->enable(p, false);
	return 0;
}

static int open_settled(struct net *n, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN};

	n->settled_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	n->settled_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (n->settled_fd < 0 || n->settled_epoll < 0 ||
	    epoll_ctl(n->settled_epoll, EPOLL_CTL_ADD, n->settled_fd, &ev) < 0)
		return err_errno(e, "net: can't prepare to settle");
	return 0;
}

static int net_open(struct device *dev, const Bulkhead__DeviceSetup *setup,
		    int *fds, unsigned int num_fds, struct err *e)
{
	int rc = check_setup(setup, num_fds, e);
	const Bulkhead__NetSetup *s = setup->net;
	struct net *n = &the_net;

	if (rc)
		return rc;
	dev->priv = n;
	n->dev = dev;
	n->backend = s->kind == BULKHEAD__NET_SETUP__KIND__PASST ? &net_stream
								 : &net_tap;
	n->num_pairs = num_fds;
	memcpy(n->mac, s->mac.data, NET_MAC_LEN);
	for (unsigned int i = 0; i < num_fds; i++) {
		rc = open_pair(n, i, &fds[i], e);
		if (rc)
			return rc;
	}
	rc = open_settled(n, e);
	if (rc)
		return rc;
	net_ctrl_reset(n);

	dev->features = offered(n, s);
	memcpy(dev->config + CONFIG_MAC, n->mac, NET_MAC_LEN);
	put_le16(dev->config + CONFIG_STATUS, STATUS_LINK_UP);
	put_le16(dev->config + CONFIG_MAX_PAIRS, (uint16_t)num_fds);
	put_le16(dev->config + CONFIG_MTU, (uint16_t)s->mtu);
	dev->config_len = CONFIG_LEN;
	dev->num_queues = 2 * num_fds + 1;
	dev->max_queue_size =
		setup->queue_size ? setup->queue_size : QUEUE_SIZE_DEFAULT;
	dev->num_workers = num_fds;
	dev->profile = &seccomp_profile_net;
	return 0;
}

static int net_worker_open(struct device *dev, struct worker *w, struct err *e)
{
	struct net *n = dev->priv;

	return net_pair_open(&n->pairs[worker_index(w)], w, e);
}

/* NULL: the control queue, or a queue that the driver has no use for. */
static struct net_pair *pair_of(struct net *n, uint32_t index)
{
	if (net_is_ctrl(n, index) || index / 2 >= n->num_pairs)
		return NULL;
	return &n->pairs[index / 2];
}

/* The control queue has no thread of its own; where it comes after pair 0's
 * queues it is served by worker 1, which makes no difference. */
static unsigned int net_queue_worker(struct device *dev, uint32_t index)
{
	const struct net *n = dev->priv;

	return index / 2 < n->num_pairs ? index / 2 : 0;
}

static int net_set_features(struct device *dev, uint64_t features)
{
	return net_ctrl_restore(dev->priv, features);
}

/* Receive buffers wait for frames: none of them can be what kills us. */
static bool net_queue_is_room(struct device *dev, uint32_t index)
{
	return !net_is_ctrl(dev->priv, index) && index % 2 == 0;
}

static void net_recovered(struct device *dev)
{
	struct net *n = dev->priv;
	uint64_t len;
	void *area = device_state_area(dev, &len);

	check(area && len >= sizeof(struct net_state));
	net_state_share(n, area);
}

static void net_queue_started(struct device *dev, struct queue *q)
{
	struct net_pair *p = pair_of(dev->priv, q->index);

	if (!p)
		return;
	if (q->index % 2) {
		p->tx = q;
		if (!q->recovered)
			p->mark->now = p->mark->done = NET_NO_CHAIN;
	} else {
		p->rx = q;
	}
	p->rx_starved = p->tx_blocked = false;
	net_pair_sync(p);
}

static void net_queue_kick(struct device *dev, struct queue *q)
{
	struct net *n = dev->priv;
	struct net_pair *p = pair_of(n, q->index);

	if (net_is_ctrl(n, q->index))
		net_ctrl_run(n, q);
	if (!p)
		return;
	if (q->index % 2)
		net_tx_run(p);
	else
		net_rx_run(p);
	net_pair_wait_events(p);
}

static bool net_queue_stopping(struct device *dev, struct queue *q)
{
	struct net_pair *p = pair_of(dev->priv, q->index);

	if (!p)
		return true;
	if (q == p->tx)
		p->tx = NULL;
	if (q == p->rx) {
		net_rx_stop(p);
		p->rx = NULL;
	}
	net_pair_wait_events(p);
	return true;
}

static void net_reset(struct device *dev)
{
	net_ctrl_reset(dev->priv);
}

/* Wait until the stream is between two frames, but not for ever. */
static void net_quiesce(struct device *dev)
{
	struct net *n = dev->priv;
	struct epoll_event ev;

	if (!n->backend->settle)
		return;
	atomic_store_explicit(&n->pairs[0].settle, true, memory_order_release);
	net_pair_wake(&n->pairs[0]);
	if (epoll_wait(n->settled_epoll, &ev, 1, SETTLE_MS) < 1)
		log_info("net: passt left a frame unfinished");
}

const struct device_ops net_device_ops = {
	.name = "net",
	.virtio_id = VIRTIO_ID_NET,
	.open = net_open,
	.worker_open = net_worker_open,
	.queue_worker = net_queue_worker,
	.set_features = net_set_features,
	.recovered = net_recovered,
	.queue_is_room = net_queue_is_room,
	.queue_started = net_queue_started,
	.queue_kick = net_queue_kick,
	.queue_stopping = net_queue_stopping,
	.reset = net_reset,
	.quiesce = net_quiesce,
};
