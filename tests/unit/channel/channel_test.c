/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/channel/channel.h"
#include "proto/device.pb-c.h"
#include "proto/loader.pb-c.h"

static struct channel *ch; /* ours */
static int peer;	   /* the hostile end */
static struct err e;

static void setup(void)
{
	int fds[2];

	cr_assert_eq(channel_pair(fds, &e), 0);
	cr_assert_eq(
		channel_new(fds[0], &channel_format_device, false, &ch, &e), 0);
	peer = fds[1];
}

static void teardown(void)
{
	channel_free(ch);
	close(peer);
}

TestSuite(channel, .init = setup, .fini = teardown, .timeout = 10);

static unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void send_raw(const void *data, size_t len, int num_fds)
{
	char control[CMSG_SPACE(sizeof(int) * 64)] = {0};
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int fd = eventfd(0, EFD_CLOEXEC);

	if (num_fds) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)num_fds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)num_fds);
		for (int i = 0; i < num_fds; i++)
			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd,
			       sizeof(fd));
	}
	cr_assert_eq(sendmsg(peer, &mh, 0), (ssize_t)len);
	close(fd);
}

static size_t pack_start_queue(uint8_t *buf, uint32_t seq, uint32_t answers)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__StartQueue q = BULKHEAD__START_QUEUE__INIT;

	q.index = 3;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
	body.start_queue = &q;
	m.seq = seq;
	m.answers = answers;
	m.body = &body;
	return bulkhead__device_message__pack(&m, buf);
}

Test(channel, carries_a_message_with_its_descriptors)
{
	uint8_t buf[256];
	struct channel_msg m;
	const Bulkhead__DeviceMessage *d;

	send_raw(buf, pack_start_queue(buf, 1, 0), 2);
	cr_assert_eq(channel_recv(ch, &m, &e), 1, "%s", e.text);
	d = (const void *)m.msg;
	cr_assert_eq(d->body->start_queue->index, 3);
	cr_assert_eq(m.num_fds, 2);
	cr_assert(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
	channel_msg_done(&m);
	cr_assert_eq(channel_recv(ch, &m, &e), -EAGAIN);
}

Test(channel, refuses_a_wrong_number_of_descriptors_and_closes_them)
{
	static const int counts[] = {0, 1, 3, 32, 33, 64};
	unsigned int before = open_fds();
	uint8_t buf[256];
	struct channel_msg m;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		send_raw(buf, pack_start_queue(buf, 1, 0), counts[i]);
		cr_assert_eq(channel_recv(ch, &m, &e), -EBADMSG, "%d",
			     counts[i]);
		cr_assert_eq(m.num_fds, 0);
		cr_assert_eq(open_fds(), before, "leak with %d", counts[i]);
	}
}

Test(channel, refuses_what_is_no_message)
{
	uint8_t buf[256];
	struct channel_msg m;
	size_t len = pack_start_queue(buf, 1, 0);

	send_raw("\xff\xff\xff\xff", 4, 0);
	cr_assert_eq(channel_recv(ch, &m, &e), -EBADMSG);
	send_raw(buf, len - 1, 2);
	cr_assert_eq(channel_recv(ch, &m, &e), -EBADMSG);
	/* seq 0; an answer without a status */
	send_raw(buf, pack_start_queue(buf, 0, 0), 2);
	cr_assert_eq(channel_recv(ch, &m, &e), -EBADMSG);
	send_raw(buf, pack_start_queue(buf, 1, 9), 2);
	cr_assert_eq(channel_recv(ch, &m, &e), -EBADMSG);
}

Test(channel, refuses_an_oversized_message)
{
	size_t len = CHANNEL_MSG_MAX + 100;
	uint8_t *buf = calloc(1, len);
	struct channel_msg m;

	/* Unknown field 15 of this length: decodable but too long. */
	buf[0] = 15 << 3 | 2;
	send_raw(buf, len, 0);
	cr_assert_eq(channel_recv(ch, &m, &e), -EBADMSG);
	free(buf);
}

Test(channel, the_arena_bounds_what_decoding_takes)
{
	/* Many tiny strings decode to far more memory than they take. */
	size_t n = 60000;
	uint8_t *buf = malloc(16 + 2 * n);
	struct channel_msg m;
	uint8_t *p = buf;
	struct channel *lch;
	int fds[2];

	cr_assert_eq(channel_pair(fds, &e), 0);
	cr_assert_eq(
		channel_new(fds[0], &channel_format_loader, false, &lch, &e),
		0);
	close(peer);
	peer = fds[1];
	/* LoaderMessage.body(4) { loaded(21) { sandbox(2) { layers(1)* }}} */
	*p++ = 1 << 3;
	*p++ = 1;
	*p++ = 4 << 3 | 2;
	size_t inner = 2 * n, l3 = inner + 4, l2 = l3 + 5;

#define PUT_LEN3(v)                                                            \
	do {                                                                   \
		*p++ = (uint8_t)((v) | 0x80);                                  \
		*p++ = (uint8_t)(((v) >> 7) | 0x80);                           \
		*p++ = (uint8_t)((v) >> 14);                                   \
	} while (0)
	PUT_LEN3(l2);
	*p++ = ((21 << 3 | 2) & 0x7f) | 0x80;
	*p++ = 1;
	PUT_LEN3(l3);
	*p++ = 2 << 3 | 2;
	PUT_LEN3(inner);
	for (size_t i = 0; i < n; i++) {
		*p++ = 1 << 3 | 2;
		*p++ = 0;
	}
	send_raw(buf, (size_t)(p - buf), 0);
	cr_assert_eq(channel_recv(lch, &m, &e), -EBADMSG);
	free(buf);
	channel_free(lch);
}

Test(channel, tells_the_end_of_the_peer)
{
	struct channel_msg m;

	close(peer);
	peer = -1;
	cr_assert_eq(channel_recv(ch, &m, &e), 0);
}

Test(channel, never_sends_a_wrong_number_of_descriptors)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Reset reset = BULKHEAD__RESET__INIT;
	int fd = eventfd(0, 0);

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_RESET;
	body.reset = &reset;
	m.seq = 1;
	m.body = &body;
	cr_assert_eq(channel_send(ch, &m.base, &fd, 1, &e), -EINVAL);
	cr_assert_eq(channel_send(ch, &m.base, NULL, 0, &e), 0);
	close(fd);
}

Test(channel, a_slow_peer_is_told_not_waited_for)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Reset reset = BULKHEAD__RESET__INIT;
	int r = 0;

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_RESET;
	body.reset = &reset;
	m.seq = 1;
	m.body = &body;
	for (int i = 0; i < 100000 && r == 0; i++)
		r = channel_send(ch, &m.base, NULL, 0, &e);
	cr_assert_eq(r, -EAGAIN);
}
