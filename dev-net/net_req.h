/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_NET_NET_REQ_H
#define DEV_NET_NET_REQ_H

/*
 * From the driver's bytes to checked values: the header before each frame and
 * the commands of the control queue. Pure functions; nothing here touches a
 * queue or a descriptor. Spec: virtio 1.2, 5.1.3 (features), 5.1.6 (header),
 * 5.1.6.5 (control queue).
 */

#include <stdbool.h>
#include <stdint.h>

/* Feature bits, virtio 1.2, 5.1.3. */
#define NET_F_CSUM		  0
#define NET_F_GUEST_CSUM	  1
#define NET_F_CTRL_GUEST_OFFLOADS 2
#define NET_F_MTU		  3
#define NET_F_MAC		  5
#define NET_F_GUEST_TSO4	  7
#define NET_F_GUEST_TSO6	  8
#define NET_F_GUEST_ECN		  9
#define NET_F_GUEST_UFO		  10
#define NET_F_HOST_TSO4		  11
#define NET_F_HOST_TSO6		  12
#define NET_F_HOST_ECN		  13
#define NET_F_HOST_UFO		  14
#define NET_F_MRG_RXBUF		  15
#define NET_F_STATUS		  16
#define NET_F_CTRL_VQ		  17
#define NET_F_CTRL_RX		  18
#define NET_F_CTRL_RX_EXTRA	  20
#define NET_F_GUEST_ANNOUNCE	  21
#define NET_F_MQ		  22
#define NET_F_CTRL_MAC_ADDR	  23
#define NET_F_GUEST_USO4	  54
#define NET_F_GUEST_USO6	  55
#define NET_F_HOST_USO		  56

#define NET_BIT(f) (1ULL << (f))

#define NET_HDR_LEN    12    /* bytes; with VERSION_1 always */
#define NET_FRAME_MIN  14    /* bytes; an Ethernet header */
#define NET_FRAME_MAX  65550 /* bytes; virtio 1.2, 5.1.6.3.1 less the header */
#define NET_MAC_LEN    6
#define NET_FILTER_MAX 64 /* addresses of a kind; more = all of that kind */

/* Longest control command that is read: about 2700 addresses. */
#define NET_CTRL_MAX (16 * 1024) /* bytes */

#define NET_CTRL_OK  0
#define NET_CTRL_ERR 1

enum net_verdict {
	NET_PASS,
	NET_DROP_SHORT,	 /* less than header + NET_FRAME_MIN */
	NET_DROP_LONG,	 /* more than NET_FRAME_MAX */
	NET_DROP_HEADER, /* offload not accepted, or bounds outside */
};

/**
 * net_hdr_check() - Judge a transmitted frame's header
 * @hdr:       Private copy, NET_HDR_LEN bytes; bits that a device must ignore
 *             are cleared in it
 * @frame_len: Bytes after the header
 * @features:  Accepted ones
 *
 * After NET_PASS: checksum bounds lie in the frame; a segmentation type was
 * negotiated, has a size, and asks for a checksum.
 */
enum net_verdict net_hdr_check(uint8_t hdr[NET_HDR_LEN], uint64_t frame_len,
			       uint64_t features);

/** net_offload_flags() - GUEST_* feature bits as TUN_F_* of TUNSETOFFLOAD */
unsigned int net_offload_flags(uint64_t features);

/* Which received frames the driver wants. */
struct net_filter {
	bool promisc; /* at reset on: virtio leaves it open, drivers expect it
		       */
	bool all_multi;
	bool all_uni;
	bool no_multi;
	bool no_uni;
	bool no_broadcast;
	bool uni_overflow; /* more addresses than NET_FILTER_MAX */
	bool multi_overflow;
	uint16_t num_uni;
	uint16_t num_multi;
	uint8_t mac[NET_MAC_LEN];
	uint8_t uni[NET_FILTER_MAX][NET_MAC_LEN];
	uint8_t multi[NET_FILTER_MAX][NET_MAC_LEN];
};

/** net_filter_init() - State after reset */
void net_filter_init(struct net_filter *f, const uint8_t mac[NET_MAC_LEN]);
/** net_filter_wants() - Is a frame to @dst for this driver? */
bool net_filter_wants(const struct net_filter *f,
		      const uint8_t dst[NET_MAC_LEN]);

enum net_ctrl_kind {
	NET_CTRL_FILTER,   /* *filter was changed */
	NET_CTRL_OFFLOADS, /* value: GUEST_* bits, a subset of the accepted */
	NET_CTRL_PAIRS,	   /* value: 1 to max_pairs */
	NET_CTRL_ANNOUNCED,
};

struct net_ctrl {
	enum net_ctrl_kind kind;
	uint64_t value;
};

/**
 * net_ctrl_parse() - Check one command and apply filter commands
 * @buf:    Private copy of class, command and data
 * @filter: Changed by a valid filter command only
 *
 * Return: 0; -EINVAL unknown, not negotiated, or malformed (NET_CTRL_ERR)
 */
int net_ctrl_parse(const uint8_t *buf, uint32_t len, uint64_t features,
		   uint16_t max_pairs, struct net_filter *filter,
		   struct net_ctrl *ret);

#endif
