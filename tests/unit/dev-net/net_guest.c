/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dev-net/net_guest.h"

#include <string.h>
#include <time.h>

#include "common/base/endian.h"
#include "common/base/num.h"

#define MEM_SIZE (16 * MIB)
#define ETH	 14
#define IP	 20

static const uint8_t guest_mac[6] = {2, 0x77, 0, 0, 0, 2};

static void add_rx(struct guest *g, unsigned int pair, uint64_t gpa)
{
	struct driver_buf b = {.gpa = gpa, .len = GUEST_BUF, .write = true};
	int id = driver_ring_add(&g->rx[pair].ring, &b, 1, false);

	peer_check(&g->p, id >= 0);
	g->rx_gpa[pair][id] = gpa;
}

void guest_queues_start(struct guest *g)
{
	bool mq = g->p.acked & NET_BIT(NET_F_MQ);

	for (unsigned int i = 0; i < (mq ? g->pairs : 1); i++) {
		peer_queue_start(&g->p, &g->rx[i], 2 * i, GUEST_RING);
		peer_queue_start(&g->p, &g->tx[i], 2 * i + 1, GUEST_RING);
		for (unsigned int b = 0; b < GUEST_RING; b++)
			add_rx(g, i,
			       driver_mem_alloc(&g->p.mem, GUEST_BUF, 64));
		peer_kick(&g->rx[i]);
	}
	if (g->p.acked & NET_BIT(NET_F_CTRL_VQ))
		peer_queue_start(&g->p, &g->ctrl, mq ? 2 * g->pairs : 2, 16);
}

void guest_start(struct guest *g, Bulkhead__NetSetup__Kind kind, const int *fds,
		 unsigned int pairs, uint64_t features)
{
	Bulkhead__DeviceSetup setup;
	Bulkhead__NetSetup net = BULKHEAD__NET_SETUP__INIT;
	char id[] = "_net0";

	/* The initializer casts const away. */
	bulkhead__device_setup__init(&setup);
	memset(g, 0, sizeof(*g));
	g->pairs = pairs;
	memcpy(g->mac, guest_mac, 6);
	net.kind = kind;
	net.mac = (ProtobufCBinaryData){6, g->mac};
	net.offload_csum = net.offload_tso = net.offload_ufo = true;
	net.mtu = 1500;
	setup.id = id;
	setup.num_queues = 2 * pairs;
	setup.queue_size = 256;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_NET;
	setup.net = &net;
	peer_spawn(&g->p, "net", MEM_SIZE);
	peer_hello(&g->p);
	peer_setup(&g->p, &setup, fds, pairs);
	peer_check(&g->p, g->p.virtio_id == 1);
	peer_check(&g->p, g->p.num_queues == 2 * pairs + 1);
	peer_check(&g->p, !memcmp(g->p.config, guest_mac, 6));
	peer_check(&g->p, g->p.config[6] == 1); /* link up */
	peer_check(&g->p, g->p.config[8] == pairs);
	peer_check(&g->p, get_le16(g->p.config + 10) == 1500);
	peer_check(&g->p, g->p.syscalls && g->p.syscalls <= 16);
	peer_negotiate(&g->p, features & g->p.features);
	guest_queues_start(g);
	g->tx_gpa = driver_mem_alloc(&g->p.mem, 128 * KIB, 64);
}

void guest_end(struct guest *g)
{
	int rc = peer_end(&g->p);

	if (rc)
		peer_fail(&g->p, "bulkhead-net ended with status %d", rc);
}

void guest_send(struct guest *g, unsigned int pair, const uint8_t *hdr,
		const void *frame, uint32_t len)
{
	static const uint8_t no_hdr[NET_HDR_LEN];
	uint64_t at = g->tx_gpa;
	struct driver_buf bufs[3] = {
		{.gpa = at, .len = NET_HDR_LEN},
		{.gpa = at + NET_HDR_LEN, .len = len / 2},
		{.gpa = at + NET_HDR_LEN + len / 2, .len = len - len / 2},
	};
	uint8_t *mem = driver_mem_ptr(&g->p.mem, at, NET_HDR_LEN + len);
	uint32_t id, used;

	memcpy(mem, hdr ? hdr : no_hdr, NET_HDR_LEN);
	memcpy(mem + NET_HDR_LEN, frame, len);
	peer_check(&g->p, driver_ring_add(&g->tx[pair].ring, bufs, 3,
					  g->tx[pair].ring.indirect) >= 0);
	peer_kick(&g->tx[pair]);
	peer_wait(&g->tx[pair], &id, &used);
	peer_check(&g->p, used == 0);
}

/* One buffer of a frame goes to g->frame, and back to the ring. */
static void take_buffer(struct guest *g, unsigned int pair, uint32_t id,
			uint32_t used, bool first)
{
	uint64_t gpa = g->rx_gpa[pair][id];
	const uint8_t *mem = driver_mem_ptr(&g->p.mem, gpa, GUEST_BUF);
	uint32_t skip = first ? NET_HDR_LEN : 0;

	peer_check(&g->p, used >= skip && used <= GUEST_BUF);
	peer_check(&g->p, g->len + used - skip <= sizeof(g->frame));
	if (first)
		memcpy(g->hdr, mem, NET_HDR_LEN);
	memcpy(g->frame + g->len, mem + skip, used - skip);
	g->len += used - skip;
	add_rx(g, pair, gpa);
}

static bool receive_from(struct guest *g, unsigned int pair, int ms)
{
	uint32_t id, used;
	unsigned int more;

	if (!peer_try_wait(&g->rx[pair], ms, &id, &used))
		return false;
	g->len = 0;
	g->from = pair;
	take_buffer(g, pair, id, used, true);
	more = get_le16(g->hdr + 10);
	peer_check(&g->p, more >= 1);
	while (--more) {
		/* All of a frame is published at once. */
		peer_check(&g->p,
			   driver_ring_get(&g->rx[pair].ring, &id, &used));
		take_buffer(g, pair, id, used, false);
	}
	peer_kick(&g->rx[pair]);
	return true;
}

bool guest_receive(struct guest *g, int ms)
{
	unsigned int pairs = g->p.acked & NET_BIT(NET_F_MQ) ? g->pairs : 1;

	for (int waited = 0; waited <= ms; waited += 5)
		for (unsigned int i = 0; i < pairs; i++)
			if (receive_from(g, i, 5))
				return true;
	return false;
}

uint8_t guest_command(struct guest *g, uint8_t class, uint8_t cmd,
		      const void *data, uint32_t len)
{
	uint64_t at = driver_mem_alloc(&g->p.mem, len + 16, 16);
	uint8_t *mem = driver_mem_ptr(&g->p.mem, at, len + 16);
	struct driver_buf bufs[3] = {
		{.gpa = at, .len = 2},
		{.gpa = at + 2, .len = len},
		{.gpa = at + 2 + len, .len = 1, .write = true},
	};
	uint32_t id, used;

	mem[0] = class;
	mem[1] = cmd;
	memcpy(mem + 2, data, len);
	mem[2 + len] = 0xff;
	if (!len)
		bufs[1] = bufs[2];
	peer_check(&g->p, driver_ring_add(&g->ctrl.ring, bufs, len ? 3 : 2,
					  false) >= 0);
	peer_kick(&g->ctrl);
	peer_wait(&g->ctrl, &id, &used);
	peer_check(&g->p, used == 1);
	return mem[2 + len];
}

uint32_t make_arp(uint8_t *f, const uint8_t mac[6], uint32_t from, uint32_t to)
{
	static const uint8_t head[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

	memset(f, 0, 60);
	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	memcpy(f + 12, head, sizeof(head));
	memcpy(f + 22, mac, 6);
	put32(f + 28, from);
	put32(f + 38, to);
	return 60;
}

bool guest_resolve(struct guest *g, unsigned int pair, uint32_t from,
		   uint32_t ip)
{
	uint8_t f[60];

	guest_send(g, pair, NULL, f, make_arp(f, g->mac, from, ip));
	while (guest_receive(g, 2000)) {
		if (g->len < 42 || get16(g->frame + 12) != 0x806 ||
		    get16(g->frame + 20) != 2 || get32(g->frame + 28) != ip)
			continue;
		memcpy(g->host_mac, g->frame + 22, 6);
		return true;
	}
	return false;
}

static uint32_t add_up(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Of the pseudo header: addresses, protocol, length. */
static uint32_t pseudo(const uint8_t *ip, uint32_t l4_len)
{
	return add_up(ip + 12, 8, ip[9] + l4_len);
}

static uint32_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static uint32_t csum_offset(const uint8_t *f)
{
	return f[ETH + 9] == 17 ? 6 : 16;
}

static void make_ip(struct guest *g, uint8_t *f, uint8_t proto, uint32_t l4_len)
{
	uint8_t *ip = f + ETH;

	memset(f, 0, ETH + IP);
	memcpy(f, g->host_mac, 6);
	memcpy(f + 6, g->mac, 6);
	put16(f + 12, 0x800);
	ip[0] = 0x45;
	put16(ip + 2, IP + l4_len);
	ip[8] = 64;
	ip[9] = proto;
	put32(ip + 12, GUEST_IP);
	put32(ip + 16, HOST_IP);
	put16(ip + 10, ~fold(add_up(ip, IP, 0)));
}

static void full_csum(uint8_t *f, uint32_t l4_len)
{
	uint8_t *l4 = f + ETH + IP, *at = l4 + csum_offset(f);

	put16(at, 0);
	put16(at, ~fold(add_up(l4, l4_len, pseudo(f + ETH, l4_len))));
}

uint32_t make_udp(struct guest *g, uint8_t *f, uint16_t sport, uint16_t dport,
		  const void *data, uint32_t len)
{
	uint8_t *udp = f + ETH + IP;

	make_ip(g, f, 17, 8 + len);
	put16(udp, sport);
	put16(udp + 2, dport);
	put16(udp + 4, 8 + len);
	memcpy(udp + 8, data, len);
	full_csum(f, 8 + len);
	return ETH + IP + 8 + len;
}

uint32_t make_tcp(struct guest *g, uint8_t *f, uint16_t sport, uint16_t dport,
		  uint32_t seq, uint32_t ack, uint8_t flags, const void *data,
		  uint32_t len)
{
	uint8_t *tcp = f + ETH + IP;

	make_ip(g, f, 6, 20 + len);
	memset(tcp, 0, 20);
	put16(tcp, sport);
	put16(tcp + 2, dport);
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = 5 << 4;
	tcp[13] = flags;
	put16(tcp + 14, 65535);
	memcpy(tcp + 20, data, len);
	full_csum(f, 20 + len);
	return ETH + IP + 20 + len;
}

void leave_csum(uint8_t hdr[NET_HDR_LEN], uint8_t *f, uint32_t len)
{
	uint32_t l4_len = len - ETH - IP;

	memset(hdr, 0, NET_HDR_LEN);
	hdr[0] = 1;
	put_le16(hdr + 6, ETH + IP);
	put_le16(hdr + 8, (uint16_t)csum_offset(f));
	put16(f + ETH + IP + csum_offset(f), fold(pseudo(f + ETH, l4_len)));
}

bool csum_is_good(const uint8_t *f, uint32_t len)
{
	uint32_t l4_len = get16(f + ETH + 2) - IP;

	return ETH + IP + l4_len <= len &&
	       fold(add_up(f + ETH + IP, l4_len, pseudo(f + ETH, l4_len))) ==
		       0xffff;
}
