/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEV_NET_NET_GUEST_H
#define TESTS_UNIT_DEV_NET_NET_GUEST_H

/*
 * A guest's network driver and a few lines of its network stack, against the
 * real bulkhead-net: frames in and out of the rings, and enough of ARP, UDP
 * and TCP to talk to the host's kernel behind the tap.
 */

#include "dev-net/net_req.h"
#include "tests/peer/device_peer.h"

#define GUEST_PAIRS 2
#define GUEST_BUF   2048 /* bytes of a receive buffer */
#define GUEST_RING  128

struct guest {
	struct peer p;
	struct peer_queue rx[GUEST_PAIRS], tx[GUEST_PAIRS], ctrl;
	uint64_t rx_gpa[GUEST_PAIRS][GUEST_RING]; /* by chain id */
	uint64_t tx_gpa;
	unsigned int pairs;
	uint8_t mac[6], host_mac[6];
	uint8_t hdr[NET_HDR_LEN]; /* of the last frame received */
	uint8_t frame[70000];	  /* the last frame received */
	uint32_t len;
	unsigned int from; /* pair that it came from */
};

/** guest_start() - Set up, negotiate @features, start all queues */
void guest_start(struct guest *g, Bulkhead__NetSetup__Kind kind, const int *fds,
		 unsigned int pairs, uint64_t features);
/** guest_queues_start() - All queues, fresh, with receive buffers in them */
void guest_queues_start(struct guest *g);
void guest_end(struct guest *g); /* expects exit status 0 */

/** guest_send() - One frame; waits until the device has taken it */
void guest_send(struct guest *g, unsigned int pair, const uint8_t *hdr,
		const void *frame, uint32_t len);
/** guest_receive() - The next frame; Return: false after @ms without one */
bool guest_receive(struct guest *g, int ms);
/** guest_command() - Return: the device's ack */
uint8_t guest_command(struct guest *g, uint8_t class, uint8_t cmd,
		      const void *data, uint32_t len);

/* Packets. Addresses are 10.77.0.1 (host) and 10.77.0.2 (guest). */
#define GUEST_IP 0x0a4d0002u
#define HOST_IP	 0x0a4d0001u

uint32_t make_arp(uint8_t *f, const uint8_t mac[6], uint32_t from, uint32_t to);
/** guest_resolve() - ARP for @ip; fills host_mac; Return: answered */
bool guest_resolve(struct guest *g, unsigned int pair, uint32_t from,
		   uint32_t ip);
/** make_udp()/make_tcp() - Frame with full checksums; Return: its length */
uint32_t make_udp(struct guest *g, uint8_t *f, uint16_t sport, uint16_t dport,
		  const void *data, uint32_t len);
uint32_t make_tcp(struct guest *g, uint8_t *f, uint16_t sport, uint16_t dport,
		  uint32_t seq, uint32_t ack, uint8_t flags, const void *data,
		  uint32_t len);
/** leave_csum() - Turn a full checksum into one for the device to finish */
void leave_csum(uint8_t hdr[NET_HDR_LEN], uint8_t *f, uint32_t len);
/** csum_is_good() - Of a UDP or TCP frame over IPv4 */
bool csum_is_good(const uint8_t *f, uint32_t len);

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

#endif
