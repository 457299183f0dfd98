/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-net in its real sandbox, behind it a real tap (in a network
 * namespace of this test) or a real passt; this program is the guest's driver
 * and the host's programs at once. Needs root. Usage: net_native_test CASE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/passt.h"
#include "broker/tap.h"
#include "common/base/endian.h"
#include "common/base/num.h"
#include "tests/unit/dev-net/net_guest.h"

#define SKIPPED 77 /* CTest: SKIP_RETURN_CODE */

#define V1     DRIVER_F_VERSION1
#define PACKED (V1 | DRIVER_F_PACKED | DRIVER_F_EVENT | DRIVER_F_INDIRECT)
#define BASIC                                                                  \
	(V1 | NET_BIT(NET_F_MRG_RXBUF) | NET_BIT(NET_F_MAC) |                  \
	 NET_BIT(NET_F_STATUS))
#define CONTROL                                                                \
	(NET_BIT(NET_F_CTRL_VQ) | NET_BIT(NET_F_CTRL_RX) |                     \
	 NET_BIT(NET_F_CTRL_MAC_ADDR) | NET_BIT(NET_F_CTRL_GUEST_OFFLOADS))
#define OFFLOAD                                                                \
	(NET_BIT(NET_F_CSUM) | NET_BIT(NET_F_GUEST_CSUM) |                     \
	 NET_BIT(NET_F_HOST_TSO4) | NET_BIT(NET_F_GUEST_TSO4) |                \
	 NET_BIT(NET_F_HOST_TSO6) | NET_BIT(NET_F_GUEST_TSO6) |                \
	 NET_BIT(NET_F_HOST_USO) | NET_BIT(NET_F_GUEST_USO4) |                 \
	 NET_BIT(NET_F_GUEST_USO6))

static struct guest g;
static char tap[IFNAMSIZ];
static struct err e;
static uint8_t frame[70000], bulk[60000];

#define must(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__,          \
				__LINE__, #cond, e.text);                      \
			exit(1);                                               \
		}                                                              \
	} while (0)

/* A tap whose host side is HOST_IP, and a device on it. */
static void start(unsigned int pairs, uint64_t features)
{
	static const uint8_t host_mac[6] = {2, 0x77, 0, 0, 0, 1};
	int fds[GUEST_PAIRS];

	must(!unshare(CLONE_NEWNET));
	must(!tap_open(NULL, pairs, fds, tap, &e));
	must(!tap_set_mac(tap, host_mac, &e));
	must(!tap_set_address(tap, "10.77.0.1", "255.255.255.0", &e));
	must(!tap_set_up(tap, &e));
	guest_start(&g, BULKHEAD__NET_SETUP__KIND__TAP, fds, pairs, features);
	for (unsigned int i = 0; i < pairs; i++)
		close(fds[i]);
}

static int host_socket(int type, uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(HOST_IP),
	};
	struct timeval limit = {.tv_sec = 5};
	int fd = socket(AF_INET, type, 0);

	must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void host_send_udp(int fd, uint16_t port, const void *data, size_t len)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(GUEST_IP),
	};

	must(sendto(fd, data, len, 0, (struct sockaddr *)&a, sizeof(a)) ==
	     (ssize_t)len);
}

/* The next frame to @port over @proto; skips the host's other talk. */
static bool receive_ip(uint8_t proto, uint16_t port)
{
	while (guest_receive(&g, 2000)) {
		uint8_t arp[60];

		if (g.len >= 42 && get16(g.frame + 12) == 0x806 &&
		    get16(g.frame + 20) == 1) {
			/* Who has GUEST_IP? */
			make_arp(arp, g.mac, GUEST_IP, HOST_IP);
			memcpy(arp, g.host_mac, 6);
			memcpy(arp + 32, g.host_mac, 6);
			arp[21] = 2;
			guest_send(&g, 0, NULL, arp, sizeof(arp));
		} else if (g.len >= 42 && get16(g.frame + 12) == 0x800 &&
			   g.frame[23] == proto && get16(g.frame + 36) == port)
			return true;
	}
	return false;
}

static void udp_both_ways(unsigned int pair, bool partial)
{
	int fd = host_socket(SOCK_DGRAM, (uint16_t)(7000 + pair));
	uint8_t hdr[NET_HDR_LEN] = {0};
	char text[32] = "";
	uint32_t len;

	len = make_udp(&g, frame, (uint16_t)(9000 + pair),
		       (uint16_t)(7000 + pair), "to the host", 12);
	if (partial)
		leave_csum(hdr, frame, len);
	guest_send(&g, pair, hdr, frame, len);
	must(recv(fd, text, sizeof(text), 0) == 12);
	must(!strcmp(text, "to the host"));
	host_send_udp(fd, (uint16_t)(9000 + pair), "to the guest", 13);
	must(receive_ip(17, (uint16_t)(9000 + pair)));
	must(!strcmp((char *)g.frame + 42, "to the guest"));
	must(partial ? g.hdr[0] & 1 : g.hdr[0] == 0);
	must(partial || csum_is_good(g.frame, g.len));
	close(fd);
}

static void plain(uint64_t ring)
{
	start(1, ring | BASIC);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	for (int i = 0; i < 300; i++) /* around the ring */
		udp_both_ways(0, false);
	guest_end(&g);
}

static void case_split(void)
{
	plain(V1);
}

static void case_packed(void)
{
	plain(PACKED);
}

/* Connect to the host's listening socket; Return: the host's end. */
static int tcp_connect(int listener, uint32_t *ret_ack)
{
	uint32_t len = make_tcp(&g, frame, 9100, 7100, 1000, 0, 2, "", 0);
	int fd;

	guest_send(&g, 0, NULL, frame, len);
	must(receive_ip(6, 9100));
	must((g.frame[47] & 0x12) == 0x12 && get32(g.frame + 42) == 1001);
	*ret_ack = get32(g.frame + 38) + 1;
	len = make_tcp(&g, frame, 9100, 7100, 1001, *ret_ack, 0x10, "", 0);
	guest_send(&g, 0, NULL, frame, len);
	fd = accept(listener, NULL, NULL);
	must(fd >= 0);
	return fd;
}

static void read_bulk(int fd, uint32_t want)
{
	static uint8_t got[sizeof(bulk)];
	uint32_t have = 0;

	while (have < want) {
		ssize_t n = read(fd, got + have, want - have);

		must(n > 0);
		have += (uint32_t)n;
	}
	must(!memcmp(got, bulk, want));
}

static void case_offload(void)
{
	int listener, fd;
	uint8_t hdr[NET_HDR_LEN];
	uint32_t ack, len, largest = 0, got = 0, first;

	start(1, PACKED | BASIC | OFFLOAD | CONTROL);
	for (uint32_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 31 + i / 256);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	udp_both_ways(0, true);
	listener = host_socket(SOCK_STREAM, 7100);
	must(!listen(listener, 1));
	fd = tcp_connect(listener, &ack);

	/* One frame of 32000 bytes: the host's kernel cuts or takes it. */
	len = make_tcp(&g, frame, 9100, 7100, 1001, ack, 0x18, bulk, 32000);
	leave_csum(hdr, frame, len);
	hdr[1] = 1;
	put_le16(hdr + 2, 54);
	put_le16(hdr + 4, 1448);
	guest_send(&g, 0, hdr, frame, len);
	read_bulk(fd, 32000);

	must(write(fd, bulk, 30000) == 30000);
	first = ack;
	while (got < 30000 && receive_ip(6, 9100)) {
		uint32_t data = get16(g.frame + 16) - 40u;
		uint32_t at = get32(g.frame + 38) - first;

		if (!data)
			continue;
		must(at == got && !memcmp(g.frame + 54, bulk + at, data));
		must(g.hdr[0] & 1);
		got += data;
		if (data > largest)
			largest = data;
		len = make_tcp(&g, frame, 9100, 7100, 33001, first + got, 0x10,
			       "", 0);
		guest_send(&g, 0, NULL, frame, len);
	}
	must(got == 30000);
	must(largest > 1448 && g.len > 0);

	/* Offloads off by command: checksums are complete again. */
	must(guest_command(&g, 5, 0, "\0\0\0\0\0\0\0\0", 8) == NET_CTRL_OK);
	must(guest_command(&g, 5, 0, "\0\1\0\0\0\0\0\1", 8) == NET_CTRL_ERR);
	{
		int udp = host_socket(SOCK_DGRAM, 7200);

		host_send_udp(udp, 9200, "complete", 9);
		must(receive_ip(17, 9200));
		must(!(g.hdr[0] & 1) && csum_is_good(g.frame, g.len));
	}
	guest_end(&g);
}

/* One UDP datagram of many segments, both ways (USO). */
static void case_uso(void)
{
	int fd, segment = 1000;
	uint8_t hdr[NET_HDR_LEN];
	uint32_t len;

	start(1, V1 | BASIC | OFFLOAD);
	if (!(g.p.acked & NET_BIT(NET_F_HOST_USO))) {
		guest_end(&g);
		exit(SKIPPED);
	}
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	udp_both_ways(0, true);
	fd = host_socket(SOCK_DGRAM, 7300);
	memset(bulk, 0x42, 8000);
	len = make_udp(&g, frame, 9300, 7300, bulk, 8000);
	leave_csum(hdr, frame, len);
	hdr[1] = 5;
	put_le16(hdr + 2, 42);
	put_le16(hdr + 4, 1000);
	guest_send(&g, 0, hdr, frame, len);
	for (int i = 0; i < 8; i++)
		must(recv(fd, frame, sizeof(frame), 0) == 1000);
	must(!setsockopt(fd, 17 /* SOL_UDP */, 103 /* UDP_SEGMENT */, &segment,
			 sizeof(segment)));
	host_send_udp(fd, 9300, bulk, 8000);
	must(receive_ip(17, 9300));
	must(g.hdr[1] == 5 && g.len == 42 + 8000);
	guest_end(&g);
}

/* Does the host come to use @n of the tap's queues? Pairs take the driver's
 * word over when they wake. */
static bool tap_uses(unsigned int n)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "ip -d link show dev %s | grep -q 'numqueues %u '", tap, n);
	for (int i = 0; i < 200; i++)
		if (!system(command))
			return true;
	return false;
}

static void case_multiqueue(void)
{
	bool second = false;
	uint64_t accepted;

	start(2, PACKED | BASIC | CONTROL | NET_BIT(NET_F_MQ));
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	udp_both_ways(0, false);
	must(g.from == 0 && tap_uses(1));
	must(guest_command(&g, 4, 0, "\3\0", 2) == NET_CTRL_ERR);
	must(guest_command(&g, 4, 0, "\2\0", 2) == NET_CTRL_OK);
	must(tap_uses(2));
	/* The tap sends a flow back on the queue that it came from. */
	for (int i = 0; i < 20 && !second; i++) {
		udp_both_ways(1, false);
		second = g.from == 1;
	}
	must(second);
	must(guest_command(&g, 4, 0, "\1\0", 2) == NET_CTRL_OK);
	must(tap_uses(1));
	for (int i = 0; i < 20; i++) {
		udp_both_ways(0, false);
		must(g.from == 0);
	}
	/* After a reset there is one pair again, and two on demand. */
	must(guest_command(&g, 4, 0, "\2\0", 2) == NET_CTRL_OK);
	must(tap_uses(2));
	accepted = g.p.acked;
	peer_reset(&g.p);
	must(tap_uses(1));
	for (int i = 0; i < 2; i++) {
		peer_queue_forget(&g.rx[i]);
		peer_queue_forget(&g.tx[i]);
	}
	peer_queue_forget(&g.ctrl);
	peer_negotiate(&g.p, accepted);
	guest_queues_start(&g);
	udp_both_ways(0, false);
	/* A driver whose word was lost with a predecessor: it just sends. */
	udp_both_ways(1, false);
	must(tap_uses(2));
	guest_end(&g);
}

/* Two pairs offered, MQ refused: the control queue is queue 2. */
static void case_one_of_two(void)
{
	start(2, V1 | BASIC | CONTROL);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	must(guest_command(&g, 0, 0, "\1", 1) == NET_CTRL_OK);
	for (int i = 0; i < 20; i++)
		udp_both_ways(0, false);
	guest_end(&g);
}

static void host_send_frame(const uint8_t dst[6], uint8_t mark)
{
	struct sockaddr_ll a = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(tap),
		.sll_halen = 6,
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	uint8_t f[60] = {0};

	must(fd >= 0);
	memcpy(f, dst, 6);
	put16(f + 12, 0x88b5); /* for experiments */
	f[20] = mark;
	must(sendto(fd, f, sizeof(f), 0, (struct sockaddr *)&a, sizeof(a)) ==
	     sizeof(f));
	close(fd);
}

/* The next frame that host_send_frame() sent: its mark, 0 none. */
static uint8_t receive_mark(void)
{
	while (guest_receive(&g, 300))
		if (get16(g.frame + 12) == 0x88b5)
			return g.frame[20];
	return 0;
}

static void case_filter(void)
{
	static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 9};
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};

	start(1, V1 | BASIC | CONTROL);
	host_send_frame(other, 1);
	must(receive_mark() == 1);
	must(guest_command(&g, 0, 0, "\0", 1) == NET_CTRL_OK);
	/* The pair takes the settings over when it wakes; its own frames
	 * before that may still pass. */
	host_send_frame(other, 2);
	receive_mark();
	host_send_frame(other, 3);
	host_send_frame(group, 4);
	host_send_frame(g.mac, 5);
	must(receive_mark() == 5);
	host_send_frame(all, 6);
	must(receive_mark() == 6);
	must(guest_command(&g, 1, 1, other, 6) == NET_CTRL_OK);
	host_send_frame(other, 7);
	host_send_frame(other, 8);
	must(receive_mark());
	must(guest_command(&g, 9, 9, "\0", 1) == NET_CTRL_ERR);
	guest_end(&g);
}

static void case_hostile(void)
{
	uint8_t hdr[NET_HDR_LEN];
	struct driver_buf huge = {.gpa = 1ULL << 40, .len = 60};
	unsigned int seed = 1;
	uint64_t accepted;

	start(1, PACKED | BASIC | OFFLOAD);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	for (int i = 0; i < 3000; i++) {
		for (int b = 0; b < NET_HDR_LEN; b++)
			hdr[b] = (uint8_t)(rand_r(&seed) >> 8);
		hdr[1] = (uint8_t)(hdr[1] % 7);
		for (int b = 12; b < 80; b++)
			frame[b] = (uint8_t)(rand_r(&seed) >> 8);
		guest_send(&g, 0, hdr, frame, 1 + (uint32_t)i % 80);
	}
	guest_send(&g, 0, NULL, frame, NET_FRAME_MAX + 1);
	while (guest_receive(&g, 50))
		;
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	must(g.p.num_needs_reset == 0);
	/* Outside guest memory: that is the driver's end. */
	must(driver_ring_add(&g.tx[0].ring, &huge, 1, false) >= 0);
	peer_kick(&g.tx[0]);
	must(peer_receive(&g.p, 2000));
	must(g.p.num_needs_reset == 1);
	accepted = g.p.acked;
	peer_reset(&g.p);
	peer_queue_forget(&g.rx[0]);
	peer_queue_forget(&g.tx[0]);
	peer_negotiate(&g.p, accepted);
	guest_queues_start(&g);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	guest_end(&g);
}

/* Stop and go on: no buffer and no frame is lost on the way. */
static void case_restart(void)
{
	uint32_t base;

	start(1, PACKED | BASIC);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	for (int i = 0; i < 100; i++) {
		udp_both_ways(0, false);
		base = peer_queue_stop(&g.p, &g.rx[0]);
		peer_queue_restart(&g.p, &g.rx[0], base);
		base = peer_queue_stop(&g.p, &g.tx[0]);
		peer_queue_restart(&g.p, &g.tx[0], base);
	}
	guest_end(&g);
}

static void case_deleted(void)
{
	char command[64];

	start(1, V1 | BASIC);
	must(guest_resolve(&g, 0, GUEST_IP, HOST_IP));
	snprintf(command, sizeof(command), "ip link del %s", tap);
	must(!system(command));
	must(peer_receive(&g.p, 2000));
	must(g.p.num_backend_closed == 1);
	make_arp(frame, g.mac, GUEST_IP, HOST_IP);
	guest_send(&g, 0, NULL, frame, 60); /* taken and dropped */
	guest_end(&g);
}

/* A DHCP discovery as a guest sends it, from 0.0.0.0 to everyone. */
static uint32_t make_discover(uint8_t *f)
{
	uint8_t dhcp[300] = {1, 1, 6, 0, 0xbe, 0xef, 0, 1};
	static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63,
					  53,	1,    1,    255};
	uint32_t len;

	memcpy(dhcp + 28, g.mac, 6);
	memcpy(dhcp + 236, options, sizeof(options));
	memset(g.host_mac, 0xff, 6);
	len = make_udp(&g, f, 68, 67, dhcp, sizeof(dhcp));
	put32(f + 26, 0);
	put32(f + 30, 0xffffffff);
	put16(f + 24, 0);
	put16(f + 40, 0); /* no UDP checksum */
	{
		uint32_t sum = 0;

		for (int i = 14; i < 34; i += 2)
			sum += get16(f + i);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		put16(f + 24, ~sum);
	}
	return len;
}

static void case_passt(void)
{
	struct passt_args args = {.mtu = 0};
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Quiesce quiesce = BULKHEAD__QUIESCE__INIT;
	struct passt passt;
	uint32_t offered;
	int rc = passt_start(&args, &passt, &e);

	if (rc) {
		fprintf(stderr, "skipped: %s\n", e.text);
		exit(SKIPPED);
	}
	guest_start(&g, BULKHEAD__NET_SETUP__KIND__PASST, &passt.fd, 1,
		    PACKED | BASIC | OFFLOAD | CONTROL);
	must(!(g.p.acked & OFFLOAD));
	guest_send(&g, 0, NULL, frame, make_discover(frame));
	must(receive_ip(17, 68));
	must(get32(g.frame + 46) == 0xbeef0001 && g.frame[42] == 2);
	offered = get32(g.frame + 58);
	must(offered != 0);
	/* The gateway of the offered network answers ARP. */
	must(guest_resolve(&g, 0, offered, (offered & 0xffffff00) | 1));
	must(guest_command(&g, 0, 0, "\0", 1) == NET_CTRL_OK);
	must(guest_resolve(&g, 0, offered, (offered & 0xffffff00) | 1));
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_QUIESCE;
	body.quiesce = &quiesce;
	must(peer_request(&g.p, &body, NULL, 0, NULL) == 0);
	guest_end(&g);
	passt_stop(passt.pid, passt.pidfd);
	must(kill(passt.pid, 0) < 0 && errno == ESRCH);
}

static void case_passt_dies(void)
{
	struct passt_args args = {.mtu = 1500};
	struct passt passt;

	if (passt_start(&args, &passt, &e)) {
		fprintf(stderr, "skipped: %s\n", e.text);
		exit(SKIPPED);
	}
	guest_start(&g, BULKHEAD__NET_SETUP__KIND__PASST, &passt.fd, 1, BASIC);
	passt_stop(passt.pid, passt.pidfd);
	must(peer_receive(&g.p, 2000));
	must(g.p.num_backend_closed == 1);
	guest_end(&g);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{"split", case_split},
		{"packed", case_packed},
		{"offload", case_offload},
		{"uso", case_uso},
		{"multiqueue", case_multiqueue},
		{"one_of_two", case_one_of_two},
		{"filter", case_filter},
		{"hostile", case_hostile},
		{"restart", case_restart},
		{"deleted", case_deleted},
		{"passt", case_passt},
		{"passt_dies", case_passt_dies},
	};

	if (geteuid() != 0)
		return SKIPPED;
	alarm(60);
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(cases); i++) {
		if (strcmp(argv[1], cases[i].name))
			continue;
		cases[i].run();
		return 0;
	}
	fprintf(stderr, "usage: net_native_test CASE\n");
	return 2;
}
