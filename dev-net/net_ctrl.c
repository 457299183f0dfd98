/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "dev-net/net.h"

/*
 * The control queue. A command is copied, checked, applied to net->want_*,
 * published to the pairs, then acknowledged. Pairs take it over when they
 * wake: a frame that is on its way may still be judged by the old filter.
 * After a burst of NET_BURST commands the worker's other queues have their
 * turn: a driver can add commands as fast as they are done.
 */

bool net_is_ctrl(const struct net *n, uint32_t queue_index)
{
	const struct device *dev = n->dev;
	uint32_t pairs = device_has_feature(dev, NET_F_MQ) ? n->num_pairs : 1;

	/* 5.1.2: behind the last receive and transmit queue. */
	return device_has_feature(dev, NET_F_CTRL_VQ) &&
	       queue_index == 2 * pairs;
}

static void publish(struct net *n)
{
	struct net_settings s = {.filter = n->want_filter};

	for (unsigned int i = 0; i < n->num_pairs; i++) {
		s.enabled = i < n->want_pairs;
		net_box_put(&n->pairs[i].box, &s);
		net_pair_wake(&n->pairs[i]);
	}
}

void net_ctrl_reset(struct net *n)
{
	net_filter_init(&n->want_filter, n->mac);
	n->want_pairs = 1;
	n->want_offloads = NET_OFFLOADS_ALL;
	net_state_save(n);
	publish(n);
}

int net_ctrl_restore(struct net *n, uint64_t features)
{
	uint64_t offloads = features;

	if (net_state_restore(n))
		publish(n);
	if (n->want_offloads != NET_OFFLOADS_ALL)
		offloads &= n->want_offloads;
	return n->backend->offload
		       ? n->backend->offload(n, net_offload_flags(offloads))
		       : 0;
}

static int apply_offloads(struct net *n, uint64_t offloads)
{
	int rc = -EINVAL;

	if (n->backend->offload)
		rc = n->backend->offload(n, net_offload_flags(offloads));
	if (!rc)
		n->want_offloads = offloads;
	return rc;
}

static int apply(struct net *n, const struct net_ctrl *c)
{
	switch (c->kind) {
	case NET_CTRL_OFFLOADS:
		return apply_offloads(n, c->value);
	case NET_CTRL_PAIRS:
		n->want_pairs = (unsigned int)c->value;
		publish(n);
		return 0;
	case NET_CTRL_FILTER:
		publish(n);
		return 0;
	case NET_CTRL_ANNOUNCED:
		return 0;
	}
	return -EINVAL;
}

static uint8_t run_command(struct net *n, const struct chain *c)
{
	struct net_ctrl cmd;

	if (c->len_out > sizeof(n->ctrl_buf))
		return NET_CTRL_ERR;
	net_iov_read(n->ctrl_iov, c->num_out, 0, n->ctrl_buf, c->len_out);
	if (net_ctrl_parse(n->ctrl_buf, c->len_out, n->dev->acked,
			   (uint16_t)n->num_pairs, &n->want_filter, &cmd))
		return NET_CTRL_ERR;
	if (apply(n, &cmd))
		return NET_CTRL_ERR;
	/* Before the driver learns of it: it stays decided. */
	net_state_save(n);
	return NET_CTRL_OK;
}

void net_ctrl_run(struct net *n, struct queue *q)
{
	unsigned int left = NET_BURST;
	struct chain c;
	uint8_t ack;
	int rc = 0;

	do {
		while (left && (rc = queue_pop(q, &c, n->ctrl_iov,
					       QUEUE_IOV_MAX)) > 0) {
			left--;
			if (!c.len_in) {
				queue_unpop(q, &c);
				rc = -EBADMSG;
				break;
			}
			ack = run_command(n, &c);
			net_iov_write(n->ctrl_iov + c.num_out, c.num_in, 0,
				      &ack, 1);
			queue_push(q, &c, 1);
			queue_flush(q);
		}
		if (rc < 0) {
			device_needs_reset(n->dev, q,
					   "net: malformed control request");
			return;
		}
		if (!left) {
			queue_kick_self(q);
			return;
		}
	} while (queue_resume_kicks(q));
}
