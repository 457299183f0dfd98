/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/channel/channel.h"
#include "common/sandbox/sandbox.h"
#include "common/virtio/runtime.h"
#include "tests/hostile/hostile.h"

#define WIRE_MAX     (192 * 1024)
#define WIRE_FDS_MAX 253 /* the kernel's limit */
#define WIRE_SEQ     1000000u

/* What does not fit is not sent: the broker has a right to be slow. */
void wire_raw(const void *data, size_t len, const int *fds,
	      unsigned int num_fds)
{
	static union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
	} control;
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (num_fds) {
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * num_fds);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * num_fds);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * num_fds);
	}
	sendmsg(SANDBOX_FD_CHANNEL, &mh, MSG_NOSIGNAL);
}

size_t wire_pack(const Bulkhead__DeviceMessage *m, uint8_t **ret)
{
	static uint8_t buf[WIRE_MAX];

	check(protobuf_c_message_get_packed_size(&m->base) <= sizeof(buf));
	*ret = buf;
	return protobuf_c_message_pack(&m->base, buf);
}

void wire_message(const Bulkhead__DeviceMessage *m, const int *fds,
		  unsigned int num_fds)
{
	uint8_t *data;
	size_t len = wire_pack(m, &data);

	wire_raw(data, len, fds, num_fds);
}

void wire_body(Bulkhead__DeviceBody *body, const int *fds, unsigned int num_fds)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;

	m.seq = WIRE_SEQ;
	m.body = body;
	wire_message(&m, fds, num_fds);
}

void wire_answer(uint32_t seq, int code, const char *text,
		 Bulkhead__DeviceBody *body)
{
	Bulkhead__DeviceMessage m = BULKHEAD__DEVICE_MESSAGE__INIT;
	Bulkhead__Status status = BULKHEAD__STATUS__INIT;

	status.code = code;
	status.text = (char *)(uintptr_t)text;
	m.seq = WIRE_SEQ;
	m.answers = seq;
	m.status = &status;
	m.body = body;
	wire_message(&m, NULL, 0);
}

void wire_config(size_t len)
{
	static uint8_t bytes[160 * 1024];
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__ConfigChanged m = BULKHEAD__CONFIG_CHANGED__INIT;

	check(len <= sizeof(bytes));
	memcpy(bytes, hostile.dev->config, sizeof(hostile.dev->config));
	m.config.data = bytes;
	m.config.len = len;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED;
	body.config_changed = &m;
	wire_body(&body, NULL, 0);
}

void wire_needs_reset(const char *reason)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__NeedsReset m = BULKHEAD__NEEDS_RESET__INIT;

	m.reason = (char *)(uintptr_t)reason;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET;
	body.needs_reset = &m;
	wire_body(&body, NULL, 0);
}

void wire_closed(const char *reason)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__BackendClosed m = BULKHEAD__BACKEND_CLOSED__INIT;

	m.reason = (char *)(uintptr_t)reason;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_BACKEND_CLOSED;
	body.backend_closed = &m;
	wire_body(&body, NULL, 0);
}

void wire_hello(void)
{
	static char program[] = "bulkhead-blk", release[] = BULKHEAD_VERSION;
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__HelloReply m = BULKHEAD__HELLO_REPLY__INIT;

	m.version = CHANNEL_VERSION;
	m.program = program;
	m.release = release;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_HELLO_REPLY;
	body.hello_reply = &m;
	wire_answer(hostile.asked[BULKHEAD__DEVICE_BODY__KIND_HELLO], 0, "",
		    &body);
}

void wire_log(const char *text, size_t len)
{
	ssize_t n = write(SANDBOX_FD_LOG, text, len);

	(void)n; /* the pipe may be full */
}

uint64_t wire_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Nothing on its list sleeps without taking events from the worker. */
void wire_spin(unsigned int ms)
{
	uint64_t end = wire_now_ms() + ms;

	while (wire_now_ms() < end)
		continue;
}

uint64_t wire_random(void)
{
	static uint64_t x;

	if (!x)
		x = 0x9e3779b97f4a7c15u * (hostile.life + 1);
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}
