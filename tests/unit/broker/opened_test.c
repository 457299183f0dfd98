/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/open.h"
#include "common/base/cleanup.h"

static int sent[OPENED_KEPT_FDS];

/* As it goes to a keeper and comes back: packed, with duplicates. */
static Bulkhead__KeptBackend *through_keeper(struct opened *o, const char *role,
					     unsigned int *ret_num)
{
	static uint8_t buf[4096];
	Bulkhead__KeptBackend m, *back;
	Bulkhead__DeviceSetup setup;
	size_t len;

	*ret_num = opened_keep(o, role, &m, &setup, sent);
	cr_assert_leq(*ret_num, OPENED_KEPT_FDS);
	for (unsigned int i = 0; i < *ret_num; i++) {
		sent[i] = fcntl(sent[i], F_DUPFD_CLOEXEC, 3);
		cr_assert_geq(sent[i], 0);
	}
	len = bulkhead__kept_backend__get_packed_size(&m);
	cr_assert_lt(len, sizeof(buf));
	bulkhead__kept_backend__pack(&m, buf);
	back = bulkhead__kept_backend__unpack(NULL, len, buf);
	cr_assert_not_null(back);
	return back;
}

static ino_t inode(int fd)
{
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

Test(opened_adopt, a_disk_comes_back)
{
	static const char path[] = "/tmp/opened-test.img";
	struct opened o, back;
	struct config_disk c = {.path = (char *)(uintptr_t)path,
				.num_queues = 1,
				.queue_size = 128,
				.serial = (char *)(uintptr_t) "S3RIAL"};
	Bulkhead__KeptBackend *m;
	struct err e = {0};
	unsigned int n;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	opened_init(&o);
	cr_assert_eq(open_disk(&c, &o, &e), 0, "%s", e.text);
	m = through_keeper(&o, "blk", &n);
	cr_assert_eq(opened_adopt(&back, m, sent, n, &e), (int)n, "%s", e.text);
	bulkhead__kept_backend__free_unpacked(m, NULL);
	cr_assert_eq(back.num_fds, 1);
	cr_assert_eq(inode(back.fds[0]), inode(o.fds[0]));
	cr_assert_eq(back.blk.size, 1u << 20);
	cr_assert_eq(back.blk.serial.len, 6);
	cr_assert_eq(memcmp(back.blk.serial.data, "S3RIAL", 6), 0,
		     "not in the message that is gone");
	opened_close(&back);
	opened_close(&o);
	unlink(path);
}

Test(opened_adopt, a_socket_console_comes_back_and_is_removed_once)
{
	static const char path[] = "/tmp/opened-test.sock";
	struct config_console c = {.mode = CONSOLE_SOCKET,
				   .path = (char *)(uintptr_t)path};
	struct opened o, back;
	Bulkhead__KeptBackend *m;
	struct err e = {0};
	unsigned int n;

	unlink(path);
	opened_init(&o);
	cr_assert_eq(open_console(&c, "console", &o, &e), 0, "%s", e.text);
	m = through_keeper(&o, "console", &n);
	cr_assert_eq(opened_adopt(&back, m, sent, n, &e), (int)n, "%s", e.text);
	bulkhead__kept_backend__free_unpacked(m, NULL);
	cr_assert_eq(inode(back.listen_fd), inode(o.listen_fd));
	cr_assert(back.console.waits_for_client);
	cr_assert_str_eq(back.unlink_path, path);
	opened_close(&back);
	cr_assert_neq(access(path, F_OK), 0);
	opened_close(&o);
}

Test(opened_adopt, refuses_what_makes_no_sense)
{
	Bulkhead__KeptBackend m = BULKHEAD__KEPT_BACKEND__INIT;
	Bulkhead__DeviceSetup setup = BULKHEAD__DEVICE_SETUP__INIT;
	Bulkhead__RngSetup rng = BULKHEAD__RNG_SETUP__INIT;
	Bulkhead__NetSetup net = BULKHEAD__NET_SETUP__INIT;
	static uint8_t long_mac[100];
	int fds[1] = {eventfd(0, 0)};
	struct opened o;
	struct err e = {0};

	cr_assert_eq(opened_adopt(&o, &m, fds, 1, &e), -EBADMSG, "no setup");
	m.setup = &setup;
	cr_assert_eq(opened_adopt(&o, &m, fds, 1, &e), -EBADMSG, "of nothing");
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_RNG;
	setup.rng = &rng;
	m.num_fds = 2;
	cr_assert_eq(opened_adopt(&o, &m, fds, 1, &e), -EBADMSG, "too few");
	m.num_fds = UINT32_MAX;
	cr_assert_eq(opened_adopt(&o, &m, fds, 1, &e), -EBADMSG, "too many");
	m.num_fds = 1;
	m.num_keep = UINT32_MAX;
	cr_assert_eq(opened_adopt(&o, &m, fds, 1, &e), -EBADMSG, "overflow");
	m.num_keep = 0;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_NET;
	setup.net = &net;
	net.mac.data = long_mac;
	net.mac.len = sizeof(long_mac);
	cr_assert_eq(opened_adopt(&o, &m, fds, 1, &e), -EBADMSG, "long bytes");
	cr_assert_geq(fcntl(fds[0], F_GETFD), 0, "stays the caller's");
	close(fds[0]);
}
