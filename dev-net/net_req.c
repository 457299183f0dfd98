/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-net/net_req.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"

/* Since Linux 6.2; Debian 12's headers are older. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Header, virtio 1.2, 5.1.6. */
#define HDR_FLAGS	0
#define HDR_GSO_TYPE	1
#define HDR_GSO_SIZE	4
#define HDR_CSUM_START	6
#define HDR_CSUM_OFFSET 8
#define HDR_NUM_BUFFERS 10

#define FLAG_NEEDS_CSUM 1

#define GSO_NONE   0
#define GSO_TCPV4  1
#define GSO_UDP	   3
#define GSO_TCPV6  4
#define GSO_UDP_L4 5
#define GSO_ECN	   0x80

/* Control classes and commands, virtio 1.2, 5.1.6.5. */
#define CTRL_RX		     0
#define CTRL_RX_PROMISC	     0
#define CTRL_RX_ALLMULTI     1
#define CTRL_RX_ALLUNI	     2
#define CTRL_RX_NOMULTI	     3
#define CTRL_RX_NOUNI	     4
#define CTRL_RX_NOBCAST	     5
#define CTRL_MAC	     1
#define CTRL_MAC_TABLE_SET   0
#define CTRL_MAC_ADDR_SET    1
#define CTRL_ANNOUNCE	     3
#define CTRL_ANNOUNCE_ACK    0
#define CTRL_MQ		     4
#define CTRL_MQ_VQ_PAIRS_SET 0
#define CTRL_GUEST_OFFLOADS  5
#define CTRL_OFFLOADS_SET    0

#define GUEST_OFFLOADS                                                         \
	(NET_BIT(NET_F_GUEST_CSUM) | NET_BIT(NET_F_GUEST_TSO4) |               \
	 NET_BIT(NET_F_GUEST_TSO6) | NET_BIT(NET_F_GUEST_ECN) |                \
	 NET_BIT(NET_F_GUEST_UFO) | NET_BIT(NET_F_GUEST_USO4) |                \
	 NET_BIT(NET_F_GUEST_USO6))

static bool has(uint64_t features, unsigned int bit)
{
	return features & NET_BIT(bit);
}

static bool gso_accepted(uint8_t type, uint64_t features)
{
	bool ecn = type & GSO_ECN;

	if (ecn && !has(features, NET_F_HOST_ECN))
		return false;
	switch (type & ~GSO_ECN) {
	case GSO_TCPV4:
		return has(features, NET_F_HOST_TSO4);
	case GSO_TCPV6:
		return has(features, NET_F_HOST_TSO6);
	case GSO_UDP:
		return !ecn && has(features, NET_F_HOST_UFO);
	case GSO_UDP_L4:
		return !ecn && has(features, NET_F_HOST_USO);
	default:
		return false;
	}
}

enum net_verdict net_hdr_check(uint8_t hdr[NET_HDR_LEN], uint64_t frame_len,
			       uint64_t features)
{
	bool csum;

	if (frame_len < NET_FRAME_MIN)
		return NET_DROP_SHORT;
	if (frame_len > NET_FRAME_MAX)
		return NET_DROP_LONG;
	/* A device ignores flags that it does not know (5.1.6.2.2). */
	hdr[HDR_FLAGS] &= FLAG_NEEDS_CSUM;
	put_le16(hdr + HDR_NUM_BUFFERS, 0);
	csum = hdr[HDR_FLAGS] & FLAG_NEEDS_CSUM;
	if (csum) {
		uint32_t end = (uint32_t)get_le16(hdr + HDR_CSUM_START) +
			       get_le16(hdr + HDR_CSUM_OFFSET) + 2;

		if (!has(features, NET_F_CSUM) || end > frame_len)
			return NET_DROP_HEADER;
	}
	if (hdr[HDR_GSO_TYPE] == GSO_NONE) {
		/* hdr_len and gso_size mean nothing then; the tap would still
		 * judge hdr_len. */
		memset(hdr + 2, 0, 4);
		return NET_PASS;
	}
	if (!csum || !get_le16(hdr + HDR_GSO_SIZE) ||
	    !gso_accepted(hdr[HDR_GSO_TYPE], features) ||
	    get_le16(hdr + 2) > frame_len)
		return NET_DROP_HEADER;
	return NET_PASS;
}

unsigned int net_offload_flags(uint64_t features)
{
	unsigned int flags = TUN_F_CSUM;

	if (!has(features, NET_F_GUEST_CSUM))
		return 0;
	if (has(features, NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (has(features, NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	if (has(features, NET_F_GUEST_ECN) &&
	    (flags & (TUN_F_TSO4 | TUN_F_TSO6)))
		flags |= TUN_F_TSO_ECN;
	if (has(features, NET_F_GUEST_UFO))
		flags |= TUN_F_UFO;
	/* The tap takes both or neither. */
	if (has(features, NET_F_GUEST_USO4) && has(features, NET_F_GUEST_USO6))
		flags |= TUN_F_USO4 | TUN_F_USO6;
	return flags;
}

void net_filter_init(struct net_filter *f, const uint8_t mac[NET_MAC_LEN])
{
	memset(f, 0, sizeof(*f));
	f->promisc = true;
	memcpy(f->mac, mac, NET_MAC_LEN);
}

static bool table_has(const uint8_t (*table)[NET_MAC_LEN], unsigned int n,
		      const uint8_t *mac)
{
	for (unsigned int i = 0; i < n; i++)
		if (!memcmp(table[i], mac, NET_MAC_LEN))
			return true;
	return false;
}

bool net_filter_wants(const struct net_filter *f,
		      const uint8_t dst[NET_MAC_LEN])
{
	static const uint8_t broadcast[NET_MAC_LEN] = {0xff, 0xff, 0xff,
						       0xff, 0xff, 0xff};

	if (f->promisc)
		return true;
	if (!memcmp(dst, broadcast, NET_MAC_LEN))
		return !f->no_broadcast;
	if (dst[0] & 1)
		return !f->no_multi && (f->all_multi || f->multi_overflow ||
					table_has(f->multi, f->num_multi, dst));
	return !f->no_uni && (f->all_uni || f->uni_overflow ||
			      !memcmp(dst, f->mac, NET_MAC_LEN) ||
			      table_has(f->uni, f->num_uni, dst));
}

static int parse_rx(uint8_t cmd, const uint8_t *data, uint32_t len,
		    uint64_t features, struct net_filter *f)
{
	bool *switches[] = {
		[CTRL_RX_PROMISC] = &f->promisc,
		[CTRL_RX_ALLMULTI] = &f->all_multi,
		[CTRL_RX_ALLUNI] = &f->all_uni,
		[CTRL_RX_NOMULTI] = &f->no_multi,
		[CTRL_RX_NOUNI] = &f->no_uni,
		[CTRL_RX_NOBCAST] = &f->no_broadcast,
	};
	unsigned int needs =
		cmd >= CTRL_RX_ALLUNI ? NET_F_CTRL_RX_EXTRA : NET_F_CTRL_RX;

	if (cmd >= ARRAY_SIZE(switches) || len != 1 || data[0] > 1 ||
	    !has(features, needs))
		return -EINVAL;
	*switches[cmd] = data[0];
	return 0;
}

/* One counted table: le32 entries, then the addresses. */
struct mac_table {
	const uint8_t *macs;
	uint32_t num;
};

static int take_table(const uint8_t **data, uint32_t *len,
		      struct mac_table *ret)
{
	uint64_t size;
	uint32_t num;

	if (*len < 4)
		return -EINVAL;
	num = get_le32(*data);
	size = 4 + (uint64_t)num * NET_MAC_LEN;
	if (size > *len)
		return -EINVAL;
	ret->macs = *data + 4;
	ret->num = num;
	*data += size;
	*len -= (uint32_t)size;
	return 0;
}

/* Returns how many fit; all or none, since a part would hide frames. */
static uint16_t store_table(uint8_t (*dst)[NET_MAC_LEN],
			    const struct mac_table *t, bool *ret_overflow)
{
	*ret_overflow = t->num > NET_FILTER_MAX;
	if (*ret_overflow)
		return 0;
	memcpy(dst, t->macs, (size_t)t->num * NET_MAC_LEN);
	return (uint16_t)t->num;
}

static int parse_mac(uint8_t cmd, const uint8_t *data, uint32_t len,
		     uint64_t features, struct net_filter *f)
{
	struct mac_table uni, multi;

	if (cmd == CTRL_MAC_ADDR_SET) {
		if (!has(features, NET_F_CTRL_MAC_ADDR) || len != NET_MAC_LEN)
			return -EINVAL;
		memcpy(f->mac, data, NET_MAC_LEN);
		return 0;
	}
	if (cmd != CTRL_MAC_TABLE_SET || !has(features, NET_F_CTRL_RX) ||
	    take_table(&data, &len, &uni) || take_table(&data, &len, &multi) ||
	    len)
		return -EINVAL;
	f->num_uni = store_table(f->uni, &uni, &f->uni_overflow);
	f->num_multi = store_table(f->multi, &multi, &f->multi_overflow);
	return 0;
}

int net_ctrl_parse(const uint8_t *buf, uint32_t len, uint64_t features,
		   uint16_t max_pairs, struct net_filter *filter,
		   struct net_ctrl *ret)
{
	const uint8_t *data = buf + 2;
	struct net_ctrl c = {.kind = NET_CTRL_FILTER};
	uint8_t class, cmd;

	if (len < 2)
		return -EINVAL;
	class = buf[0];
	cmd = buf[1];
	len -= 2;
	if (class == CTRL_RX || class == CTRL_MAC) {
		int rc = class == CTRL_RX
				 ? parse_rx(cmd, data, len, features, filter)
				 : parse_mac(cmd, data, len, features, filter);

		if (rc)
			return rc;
	} else if (class == CTRL_MQ && cmd == CTRL_MQ_VQ_PAIRS_SET &&
		   has(features, NET_F_MQ) && len == 2) {
		c.kind = NET_CTRL_PAIRS;
		c.value = get_le16(data);
		if (c.value < 1 || c.value > max_pairs)
			return -EINVAL;
	} else if (class == CTRL_GUEST_OFFLOADS && cmd == CTRL_OFFLOADS_SET &&
		   has(features, NET_F_CTRL_GUEST_OFFLOADS) && len == 8) {
		c.kind = NET_CTRL_OFFLOADS;
		c.value = get_le64(data);
		if (c.value & ~(features & GUEST_OFFLOADS))
			return -EINVAL;
	} else if (class == CTRL_ANNOUNCE && cmd == CTRL_ANNOUNCE_ACK &&
		   has(features, NET_F_GUEST_ANNOUNCE) && len == 0) {
		c.kind = NET_CTRL_ANNOUNCED;
	} else {
		return -EINVAL;
	}
	*ret = c;
	return 0;
}
