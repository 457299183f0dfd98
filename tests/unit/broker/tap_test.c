/* SPDX-License-Identifier: Apache-2.0 */
/* Each test is a process of its own and takes a network namespace; those that
 * need root are skipped without. */
#include "broker/tap.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct err e;
static char name[IFNAMSIZ];

static void need_root(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
		cr_skip_test("needs root");
}

/* Does `ip` show @text about the interface? */
static bool shows(const char *what, const char *text)
{
	char command[128], line[1024];
	bool found = false;
	FILE *f;

	snprintf(command, sizeof(command), "ip %s show dev %s 2>/dev/null",
		 what, name);
	f = popen(command, "r");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f))
		found = found || strstr(line, text);
	pclose(f);
	return found;
}

Test(tap_open, kernel_picks_a_name_and_takes_it_back)
{
	int fd, len = 0;

	need_root();
	cr_assert_eq(tap_open(NULL, 1, &fd, name, &e), 0, "%s", e.text);
	cr_expect_str_eq(name, "bh0");
	cr_expect_eq(ioctl(fd, TUNGETVNETHDRSZ, &len), 0);
	cr_expect_eq(len, 12);
	cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	cr_expect_eq(if_nametoindex(name), 0u, "nothing is left behind");
}

Test(tap_open, opens_several_queues)
{
	int fds[3];

	need_root();
	cr_assert_eq(tap_open("many", 3, fds, name, &e), 0, "%s", e.text);
	cr_expect(shows("-d link", "multi_queue"));
	cr_expect(shows("-d link", "vnet_hdr on"));
}

Test(tap_open, opens_an_existing_one_of_either_kind)
{
	int fds[2];

	need_root();
	cr_assert_eq(system("ip tuntap add old mode tap"), 0);
	cr_assert_eq(system("ip tuntap add olds mode tap multi_queue"), 0);
	cr_expect_eq(tap_open("old", 1, fds, name, &e), 0, "%s", e.text);
	close(fds[0]);
	cr_expect_neq(if_nametoindex("old"), 0u, "it was there before us");
	cr_expect_eq(tap_open("olds", 1, fds, name, &e), 0, "%s", e.text);
	close(fds[0]);
	cr_expect_eq(tap_open("old", 2, fds, name, &e), -EINVAL);
	cr_expect(strstr(e.text, "multi_queue"));
}

Test(tap_open, lets_its_user_open_it_unprivileged)
{
	int fds[1];

	need_root();
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	/* A node for everyone, as most hosts have it, in this test only. */
	cr_assert_eq(system("ip tuntap add mine mode tap user 4242 && "
			    "ip tuntap add yours mode tap user 4243 && "
			    "ip link set mine up && "
			    "mount --make-rprivate / && "
			    "mount -t tmpfs -o mode=755 none /dev/net && "
			    "mknod -m 666 /dev/net/tun c 10 200"),
		     0);
	cr_assert(!setresgid(4242, 4242, 4242) && !setresuid(4242, 4242, 4242));
	cr_expect_eq(tap_open("mine", 1, fds, name, &e), 0, "%s", e.text);
	cr_expect_eq(tap_set_up(name, &e), 0, "it is up already");
	cr_expect_eq(tap_set_mtu(name, 1500, &e), 0, "it has it already");
	cr_expect_eq(tap_set_mtu(name, 1400, &e), -EPERM);
	cr_expect(strstr(e.text, "root"));
	cr_expect_eq(tap_open("yours", 1, fds, name, &e), -EPERM);
	cr_expect(strstr(e.text, "backend=passt"));
}

Test(tap_open, refuses_bad_names)
{
	static const char *const bad[] = {
		"", "a b", "a/b", "bh%d", ".", "..", "sixteen_letters_", "a:1"};
	int fds[17];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(tap_open(bad[i], 1, fds, name, &e), -EINVAL, "%s",
			     bad[i]);
	cr_expect_eq(tap_open("x", 17, fds, name, &e), -EINVAL);
	cr_expect_eq(tap_open("x", 0, fds, name, &e), -EINVAL);
}

Test(tap_open, says_what_is_wrong_with_an_interface)
{
	int fds[1], other[1];

	need_root();
	cr_expect_eq(tap_open("lo", 1, fds, name, &e), -EINVAL);
	cr_expect(strstr(e.text, "not a tap"), "%s", e.text);
	cr_assert_eq(tap_open("busy", 1, fds, name, &e), 0);
	cr_expect_eq(tap_open("busy", 1, other, name, &e), -EBUSY);
	cr_expect(strstr(e.text, "another program"), "%s", e.text);
}

Test(tap_open, leaves_no_queue_behind_when_one_fails)
{
	int fds[2], before, after;

	need_root();
	cr_assert_eq(system("ip tuntap add old mode tap"), 0);
	before = dup(0);
	cr_assert_eq(tap_open("old", 2, fds, name, &e), -EINVAL);
	after = dup(0);
	cr_expect_eq(after, before + 1);
}

Test(tap_set, configures_the_host_side)
{
	static const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};
	int fd;

	need_root();
	cr_assert_eq(tap_open(NULL, 1, &fd, name, &e), 0);
	cr_expect_eq(tap_set_mac(name, mac, &e), 0, "%s", e.text);
	cr_expect_eq(tap_set_mtu(name, 3000, &e), 0, "%s", e.text);
	cr_expect_eq(tap_set_address(name, "10.9.8.1", "255.255.255.0", &e), 0,
		     "%s", e.text);
	cr_expect_eq(tap_set_address(name, "fd77::1", "ffff:ffff::", &e), 0,
		     "%s", e.text);
	cr_expect_eq(tap_set_address(name, "fd77::1", "ffff:ffff::", &e), 0,
		     "once more is no error");
	cr_expect_eq(tap_set_up(name, &e), 0, "%s", e.text);
	cr_expect(shows("addr", "10.9.8.1/24"));
	cr_expect(shows("addr", "fd77::1/32"));
	cr_expect(shows("link", "mtu 3000"));
	cr_expect(shows("link", "02:01:02:03:04:05"));
	cr_expect(shows("link", ",UP"));
}

Test(tap_set, refuses_nonsense)
{
	cr_expect_eq(tap_set_address("x", "10.9.8", "255.0.0.0", &e), -EINVAL);
	cr_expect_eq(tap_set_address("x", "10.9.8.7", "255.0.255.0", &e),
		     -EINVAL);
	cr_expect_eq(tap_set_address("x", "fd77::1", "255.0.0.0", &e), -EINVAL);
	cr_expect_eq(tap_set_mtu("nosuchtap", 1500, &e), -ENODEV);
	cr_expect_eq(tap_set_up("nosuchtap", &e), -ENODEV);
}

Test(tap_prefix_len, counts_leading_ones_only)
{
	cr_expect_eq(tap_prefix_len(AF_INET, "0.0.0.0"), 0);
	cr_expect_eq(tap_prefix_len(AF_INET, "255.255.254.0"), 23);
	cr_expect_eq(tap_prefix_len(AF_INET, "255.255.255.255"), 32);
	cr_expect_eq(tap_prefix_len(AF_INET, "255.0.255.0"), -EINVAL);
	cr_expect_eq(tap_prefix_len(AF_INET, "ffff::"), -EINVAL);
	cr_expect_eq(tap_prefix_len(AF_INET6, "ffff:ffff:ffff:ffff::"), 64);
	cr_expect_eq(tap_prefix_len(AF_INET6, "::"), 0);
	cr_expect_eq(tap_prefix_len(AF_INET6, "ffff:0:ffff::"), -EINVAL);
}

static int raw_tap(const char *want, short flags)
{
	struct ifreq req = {.ifr_flags = flags};
	int fd = open("/dev/net/tun", O_RDWR);

	strncpy(req.ifr_name, want, IFNAMSIZ - 1);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &req), 0);
	return fd;
}

Test(tap_adopt, takes_taps_and_macvtaps)
{
	int fd, len = 0, tap, macvtap;
	char path[64];

	need_root();
	tap = raw_tap("given", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	cr_assert_eq(tap_adopt(tap, &fd, name, &e), 0, "%s", e.text);
	cr_expect_str_eq(name, "given");
	cr_expect_neq(fd, tap);
	ioctl(fd, TUNGETVNETHDRSZ, &len);
	cr_expect_eq(len, 12);
	cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
	if (system("ip link add d0 type dummy 2>/dev/null && "
		   "ip link add link d0 name mv0 type macvtap mode bridge "
		   "2>/dev/null"))
		cr_skip_test("this kernel has no macvtap");
	snprintf(path, sizeof(path), "/dev/tap%u", if_nametoindex("mv0"));
	macvtap = open(path, O_RDWR);
	if (macvtap < 0)
		cr_skip_test("no node of the macvtap in /dev");
	cr_assert_eq(tap_adopt(macvtap, &fd, name, &e), 0, "%s", e.text);
	cr_expect_str_eq(name, "mv0");
}

Test(tap_adopt, refuses_other_descriptors)
{
	int fd;

	cr_expect_eq(tap_adopt(0, &fd, name, &e), -EINVAL);
	cr_expect(strstr(e.text, "fd=0"));
	cr_expect_eq(tap_adopt(999, &fd, name, &e), -EBADF);
	need_root();
	cr_expect_eq(
		tap_adopt(raw_tap("bare", IFF_TAP | IFF_NO_PI), &fd, name, &e),
		-EINVAL);
	cr_expect(strstr(e.text, "IFF_VNET_HDR"));
	cr_expect_eq(
		tap_adopt(raw_tap("tun", IFF_TUN | IFF_NO_PI), &fd, name, &e),
		-EINVAL);
}
