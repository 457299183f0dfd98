/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_NET_NET_STATE_H
#define DEV_NET_NET_STATE_H

/*
 * What a successor of this process has to know, in memory that it finds: what
 * the driver decided by control commands, how far transmission went, and for a
 * stream the bytes of frames that are half read or half written. The process
 * may be killed between any two stores.
 *
 * A stream that is off by one byte is lost. So the number of bytes that a call
 * moved is written here by the kernel itself (recvmmsg, sendmmsg: msg_len):
 * there is no moment in which bytes are gone from the socket and not counted.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "dev-net/net_req.h"

#define NET_STATE_PAIRS 16
#define NET_NO_CHAIN	UINT64_MAX

/* The driver's decisions as plain numbers: a bool must not be hostile. */
struct net_saved {
	uint8_t flags;
	uint8_t mac[NET_MAC_LEN];
	uint8_t pad;
	uint16_t num_uni, num_multi;
	uint32_t pairs;
	uint64_t offloads;
	uint8_t uni[NET_FILTER_MAX][NET_MAC_LEN];
	uint8_t multi[NET_FILTER_MAX][NET_MAC_LEN];
};

/* Chains of a transmit queue, by counter. A chain that is done again and was
 * sent is not sent again. */
struct net_tx_mark {
	uint64_t now;  /* being sent */
	uint64_t done; /* sent, and all before it */
};

enum net_sending { NET_SENDING_NOT, NET_SENDING_FRAME, NET_SENDING_REST };

struct net_stream_in {
	uint32_t from, to;
	uint8_t bytes[2 * (NET_HDR_LEN + NET_FRAME_MAX)];
};

/* Stream back end only: bytes between frames and the socket; pair 0's. */
struct net_stream_buf {
	struct net_stream_in in[2];
	uint32_t which;	  /* of in[]: what is left moves to the other one */
	uint32_t reading; /* a call is under way that began at in_base */
	uint32_t in_base;
	uint32_t sending; /* enum net_sending, of which one began at out_base */
	uint32_t out_base;
	uint32_t out_from, out_to; /* the rest of a frame */
	uint32_t total;		   /* bytes of the frame being sent */
	uint32_t cut;		   /* bytes of it sent by a predecessor: the */
	uint64_t cut_chain;	   /* rest of this chain comes next */
	struct mmsghdr in_msg, out_msg;
	uint8_t out[4 + NET_FRAME_MAX];
};

struct net_state {
	uint32_t version; /* 0 = fresh */
	uint32_t which;	  /* of saved[]; 2 = none */
	struct net_saved saved[2];
	struct net_tx_mark marks[NET_STATE_PAIRS];
	struct net_stream_buf stream;
};

#endif
