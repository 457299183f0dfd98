/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker is hostile: the input is a series of messages to a device. Each
 * begins with a byte that says how many descriptors go with it and whether it
 * is raw bytes (with their length) or numbers for the fields of a well-formed
 * message of some kind. The device is brought to READY first for half of the
 * inputs, so that the fuzzer needn't find the way. It may refuse or end, but
 * not crash, hang or leak.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/endian.h"
#include "common/base/log.h"
#include "tests/unit/virtio/fake_device.h"

#define MAX_MESSAGES 16
#define MEM_SIZE     (64 * 1024)
#define RAW_HEADER   3
#define MADE_SIZE    17

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fds[3]; /* guest memory, two eventfds */

static void no_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void make_fds(void)
{
	fds[0] = memfd_create("guest", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	check(fds[0] >= 0 && !ftruncate(fds[0], MEM_SIZE));
	check(!fcntl(fds[0], F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
	fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	log_set_sink(no_log);
}

static void post_raw(struct fake *f, const uint8_t *data, size_t len,
		     unsigned int num)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(fds))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (num) {
		/* One: memory; two: a kick and a call. */
		const int *from = num == 2 ? fds + 1 : fds;

		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(num * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(num * sizeof(int));
		memcpy(CMSG_DATA(&control.align), from, num * sizeof(int));
	}
	if (sendmsg(f->peer, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* the device ended */
}

/* What a message makes the device do, it does in a few turns of its loop. */
static bool settle(struct fake *f)
{
	for (int i = 0; i < 4; i++)
		if (fake_run(f))
			return true;
	return false;
}

static void post_body(struct fake *f, Bulkhead__DeviceBody *body,
		      unsigned int num)
{
	Bulkhead__DeviceMessage m;
	uint8_t buf[256];

	bulkhead__device_message__init(&m);
	m.seq = 1;
	m.body = body;
	check(bulkhead__device_message__get_packed_size(&m) <= sizeof(buf));
	post_raw(f, buf, bulkhead__device_message__pack(&m, buf), num);
	settle(f);
}

static void make_ready(struct fake *f)
{
	Bulkhead__DeviceBody body;
	Bulkhead__Hello hello;
	Bulkhead__DeviceSetup setup;
	Bulkhead__RngSetup rng;
	Bulkhead__SetFeatures features;
	Bulkhead__MemRegion region, *list = &region;
	Bulkhead__MemTable table;

	bulkhead__device_body__init(&body);
	bulkhead__hello__init(&hello);
	hello.min_version = hello.max_version = 1;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_HELLO;
	body.hello = &hello;
	post_body(f, &body, 0);
	bulkhead__device_setup__init(&setup);
	bulkhead__rng_setup__init(&rng);
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_RNG;
	setup.rng = &rng;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SETUP;
	body.setup = &setup;
	post_body(f, &body, 1);
	bulkhead__mem_region__init(&region);
	region.size = MEM_SIZE;
	bulkhead__mem_table__init(&table);
	table.regions = &list;
	table.n_regions = 1;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE;
	body.set_mem_table = &table;
	post_body(f, &body, 1);
	bulkhead__set_features__init(&features);
	features.features = 1ULL << 32;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
	body.set_features = &features;
	post_body(f, &body, 0);
	check(f->rt.state == RUNTIME_READY && f->rt.features_set);
}

/* A message whose every number is the fuzzer's; its descriptors may be wrong.
 */
static void post_made(struct fake *f, unsigned int kind, unsigned int num,
		      const uint8_t *n)
{
	Bulkhead__DeviceBody body;
	Bulkhead__StartQueue start;
	Bulkhead__StopQueue stop;
	Bulkhead__SetFeatures features;
	Bulkhead__ConfigWrite write;
	Bulkhead__Reset reset;
	Bulkhead__Quiesce quiesce;
	Bulkhead__MemRegion region, *list = &region;
	Bulkhead__MemTable table;
	uint8_t bytes[16];

	bulkhead__device_body__init(&body);
	switch (kind % 7) {
	case 0:
		bulkhead__start_queue__init(&start);
		start.index = n[0];
		start.size = n[1];
		start.desc = get_le16(n + 2);
		start.driver = get_le16(n + 4);
		start.device = get_le16(n + 6);
		start.ring_base = n[8];
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
		body.start_queue = &start;
		break;
	case 1:
		bulkhead__stop_queue__init(&stop);
		stop.index = n[0];
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_STOP_QUEUE;
		body.stop_queue = &stop;
		break;
	case 2:
		bulkhead__set_features__init(&features);
		features.features = get_le64(n);
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
		body.set_features = &features;
		break;
	case 3:
		memcpy(bytes, n, sizeof(bytes));
		bulkhead__config_write__init(&write);
		write.offset = n[0];
		write.data.data = bytes;
		write.data.len = n[1] % sizeof(bytes);
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
		body.config_write = &write;
		break;
	case 4:
		bulkhead__reset__init(&reset);
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_RESET;
		body.reset = &reset;
		break;
	case 5:
		bulkhead__quiesce__init(&quiesce);
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_QUIESCE;
		body.quiesce = &quiesce;
		break;
	default:
		bulkhead__mem_region__init(&region);
		region.gpa = (uint64_t)get_le16(n) << 12;
		region.size = (uint64_t)get_le16(n + 2) << 12;
		region.offset = (uint64_t)get_le16(n + 4) << 12;
		bulkhead__mem_table__init(&table);
		table.regions = &list;
		table.n_regions = 1;
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE;
		body.set_mem_table = &table;
		break;
	}
	post_body(f, &body, num);
}

static void discard_answers(struct fake *f)
{
	char buf[64];

	while (recv(f->peer, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f;

	if (!size)
		return 0;
	if (fds[0] <= 0)
		make_fds();
	f = fake_new(0);
	f->idle_ms = 0;
	if (data[0] & 1)
		make_ready(f);
	f->busy = data[0] & 2;
	data++;
	size--;
	for (unsigned int i = 0; i < MAX_MESSAGES && size >= MADE_SIZE; i++) {
		size_t len = MADE_SIZE;

		if (data[0] & 0x80) {
			len = RAW_HEADER + get_le16(data + 1);
			len = len < size ? len : size;
			post_raw(f, data + RAW_HEADER, len - RAW_HEADER,
				 data[0] & 3);
		} else {
			post_made(f, data[0] >> 2, data[0] & 3, data + 1);
		}
		discard_answers(f);
		if (settle(f))
			break;
		if (data[0] & 0x40) { /* the worker's work is done */
			fake_drained(f, 0);
			fake_drained(f, 1);
		}
		data += len;
		size -= len;
	}
	fake_free(f);
	return 0;
}
