/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker is hostile: the input is a series of messages to a device, each
 * with a byte that says how many descriptors go with it. The device is
 * brought to READY first for half of the inputs, so that the fuzzer needn't
 * find the way. It may refuse or end, but not crash, hang or leak.
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
	fake_run(f);
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
	if (data[0] & 1)
		make_ready(f);
	f->busy = data[0] & 2;
	data++;
	size--;
	for (unsigned int i = 0; i < MAX_MESSAGES && size >= 3; i++) {
		size_t len = get_le16(data + 1);

		len = len < size - 3 ? len : size - 3;
		post_raw(f, data + 3, len, data[0] & 3);
		discard_answers(f);
		if (fake_run(f))
			break;
		data += 3 + len;
		size -= 3 + len;
	}
	fake_free(f);
	return 0;
}
