/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/session.h"

static struct session_info info = {
	.valid = true,
	.features = 0x100000001,
	.num_queues = 2,
	.max_queue_size = 256,
	.config_len = 16,
};
static struct session_record record;
static struct err e;

static void setup(void)
{
	for (unsigned int i = 0; i < SESSION_QUEUES_MAX; i++) {
		record.queues[i].kick_fd = -1;
		record.queues[i].call_fd = -1;
	}
	session_record_clear(&record);
}

TestSuite(session_record, .init = setup);

static int try_features(uint64_t features)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__SetFeatures m = BULKHEAD__SET_FEATURES__INIT;
	int r;

	m.features = features;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES;
	body.set_features = &m;
	r = session_policy(&info, &record, &body, &e);
	if (r == 0)
		session_record_apply(&record, &body, NULL);
	return r;
}

static int try_start(uint32_t index, uint32_t size, int *fds)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__StartQueue m = BULKHEAD__START_QUEUE__INIT;
	int r;

	m.index = index;
	m.size = size;
	m.desc = 0x1000;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_START_QUEUE;
	body.start_queue = &m;
	r = session_policy(&info, &record, &body, &e);
	if (r == 0)
		session_record_apply(&record, &body, fds);
	return r;
}

static int try_kind(Bulkhead__DeviceBody__KindCase kind)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;

	body.kind_case = kind;
	return session_policy(&info, &record, &body, &e);
}

Test(session_record, refuses_features_that_were_not_offered)
{
	cr_assert_eq(try_features(1), 0);
	cr_assert_eq(try_features(2), -EINVAL);
	cr_assert_eq(record.features, 1);
}

Test(session_record, a_queue_starts_after_features_once_and_within_bounds)
{
	int fds[2] = {eventfd(0, 0), eventfd(0, 0)};
	int kick = fds[0];

	cr_assert_eq(try_start(0, 16, fds), -EPROTO);
	cr_assert_eq(try_features(1), 0);
	cr_assert_eq(try_start(2, 16, fds), -EINVAL);
	cr_assert_eq(try_start(0, 0, fds), -EINVAL);
	cr_assert_eq(try_start(0, 512, fds), -EINVAL);
	cr_assert_eq(try_start(0, 256, fds), 0);
	cr_assert_eq(fds[0], -1, "the record owns the descriptors");
	cr_assert_eq(record.queues[0].kick_fd, kick);
	cr_assert_eq(record.queues[0].desc, 0x1000);
	cr_assert_eq(try_start(0, 256, fds), -EPROTO);

	session_record_clear(&record);
	cr_assert_eq(fcntl(kick, F_GETFD), -1, "closed with the record");
	cr_assert_not(record.queues[0].started);
	cr_assert_eq(try_start(0, 256, fds), -EPROTO);
}

Test(session_record, only_the_cores_own_requests_pass)
{
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_RESET), 0);
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_HELLO), -EPERM);
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_SETUP), -EPERM);
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_SET_MEM_TABLE),
		     -EPERM);
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_ATTACH), -EPERM);
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_QUIESCE), -EPERM);
	cr_assert_eq(try_kind(BULKHEAD__DEVICE_BODY__KIND_INFO), -EPERM);
}

Test(session_record, config_writes_stay_inside_and_are_kept)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__ConfigWrite m = BULKHEAD__CONFIG_WRITE__INIT;
	uint8_t data[9] = {7, 8};

	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE;
	body.config_write = &m;
	m.data.data = data;
	m.data.len = 2;
	m.offset = 14;
	cr_assert_eq(session_policy(&info, &record, &body, &e), 0);
	session_record_apply(&record, &body, NULL);
	cr_assert(record.config_written[14]);
	cr_assert_eq(record.config[15], 8);
	cr_assert_not(record.config_written[13]);
	m.offset = 15;
	cr_assert_eq(session_policy(&info, &record, &body, &e), -EINVAL);
	m.offset = UINT32_MAX;
	cr_assert_eq(session_policy(&info, &record, &body, &e), -EINVAL);
	m.offset = 0;
	m.data.len = 9;
	cr_assert_eq(session_policy(&info, &record, &body, &e), -EINVAL);
	m.data.len = 0;
	cr_assert_eq(session_policy(&info, &record, &body, &e), -EINVAL);
}

/* A second answer would start a second replacement over the first. */
Test(session_adopt_record, takes_what_the_core_says_once_and_when_asked)
{
	static struct session s;
	Bulkhead__DeviceState m = BULKHEAD__DEVICE_STATE__INIT;

	cr_assert_eq(session_adopt_record(&s, &m, NULL, &e), -EPROTO);
	s.adopting = true;
	s.record_known = true;
	cr_assert_eq(session_adopt_record(&s, &m, NULL, &e), -EPROTO);
	cr_assert_null(s.next);
}
