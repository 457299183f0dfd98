/* SPDX-License-Identifier: Apache-2.0 */
/* open_net(): configuration -> descriptors, set-up message, helper. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/open.h"
#include "broker/passt.h"

static struct err e;
static struct opened o;
static struct config_net c = {.num_queues = 2,
			      .queue_size = 256,
			      .offload_tso = true,
			      .offload_ufo = true,
			      .offload_csum = true};

static void setup(void)
{
	opened_init(&o);
}

TestSuite(open_net, .init = setup);

static void need_root(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
		cr_skip_test("needs root");
}

Test(open_net, makes_a_tap_and_picks_a_mac)
{
	need_root();
	c.num_queues = 4;
	c.mtu = 1400;
	cr_assert_eq(open_net(&c, &o, &e), 0, "%s", e.text);
	cr_expect_eq(o.num_fds, 2u);
	cr_expect_eq(o.net.kind, BULKHEAD__NET_SETUP__KIND__TAP);
	cr_expect_eq(o.net.mtu, 1400u);
	cr_expect_eq(o.net.mac.len, 6u);
	cr_expect_eq(o.net.mac.data[0] & 3, 2, "one interface's, local");
	cr_expect_str_eq(o.peer_name, "bh0");
	cr_expect_eq(o.helper, 0);
	cr_expect_eq(system("ip link show bh0 | grep -q 'UP.*mtu 1400'"), 0);
	opened_close(&o);
	cr_expect_eq(if_nametoindex("bh0"), 0u);
}

Test(open_net, offers_no_segmentation_without_checksums)
{
	need_root();
	c.offload_csum = false;
	cr_assert_eq(open_net(&c, &o, &e), 0, "%s", e.text);
	cr_expect_not(o.net.offload_csum || o.net.offload_tso ||
		      o.net.offload_ufo);
}

Test(open_net, names_the_device_in_errors)
{
	char id[] = "_net7", tap[] = "a/b";

	c.id = id;
	c.tap = tap;
	cr_expect_eq(open_net(&c, &o, &e), -EINVAL);
	cr_expect(strstr(e.text, "_net7") && strstr(e.text, "a/b"), "%s",
		  e.text);
}

Test(open_net, takes_descriptors_of_one_interface_only)
{
	need_root();
	for (unsigned int i = 0; i < 2; i++) {
		struct ifreq req = {
			.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
				     IFF_MULTI_QUEUE,
		};

		c.fds[i] = open("/dev/net/tun", O_RDWR);
		strcpy(req.ifr_name, "given");
		cr_assert_eq(ioctl(c.fds[i], TUNSETIFF, &req), 0);
	}
	c.num_fds = 2;
	cr_expect_eq(open_net(&c, &o, &e), -EINVAL, "2 queues, 2 descriptors");
	opened_close(&o);
	c.num_queues = 4;
	cr_assert_eq(open_net(&c, &o, &e), 0, "%s", e.text);
	cr_expect_eq(o.num_fds, 2u);
	{
		struct ifreq req = {.ifr_flags =
					    IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

		c.fds[1] = open("/dev/net/tun", O_RDWR);
		cr_assert_eq(ioctl(c.fds[1], TUNSETIFF, &req), 0);
	}
	cr_expect_eq(open_net(&c, &o, &e), -EINVAL);
	cr_expect(strstr(e.text, "two interfaces"), "%s", e.text);
}

/* A line of /proc/PID/status starts like this. */
static bool status_has(pid_t pid, const char *text)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f))
		found = found || !strncmp(line, text, strlen(text));
	fclose(f);
	return found;
}

static void start_passt(void)
{
	int rc;

	c.backend = NET_PASST;
	rc = open_net(&c, &o, &e);
	if (rc == -ENOENT)
		cr_skip_test("passt is not installed");
	if (rc == -EIO)
		cr_skip_test("passt finds no network here");
	cr_assert_eq(rc, 0, "%s", e.text);
}

Test(open_net, confines_passt, .timeout = 10)
{
	char path[64], target[64] = "";
	pid_t pid;

	start_passt();
	cr_expect_eq(o.num_fds, 1u);
	cr_assert_gt(o.helper, 0);
	/* Its own filter is the last thing that it puts on. */
	while (!status_has(o.helper, "Seccomp:\t2"))
		sched_yield();
	cr_expect(status_has(o.helper, "NoNewPrivs:\t1"));
	cr_expect(status_has(o.helper, "CapEff:\t0000000000000000"));
	if (geteuid() == 0) { /* others may not look */
		cr_expect_not(status_has(o.helper, "Uid:\t0"));
		snprintf(path, sizeof(path), "/proc/%d/fd/0", o.helper);
		cr_expect_gt(readlink(path, target, sizeof(target) - 1), 0);
		cr_expect_str_eq(target, "/dev/null");
	}
	pid = o.helper;
	opened_close(&o);
	cr_expect(kill(pid, 0) < 0 && errno == ESRCH);
}

Test(open_net, passt_ends_with_its_connection, .timeout = 10)
{
	start_passt();
	close(o.fds[0]);
	cr_expect_eq(waitpid(o.helper, NULL, 0), o.helper);
}

Test(open_net, tells_why_passt_ended, .timeout = 10)
{
	need_root(); /* the new namespace has no route */
	c.backend = NET_PASST;
	if (access("/usr/bin/passt", X_OK))
		cr_skip_test("passt is not installed");
	cr_expect_eq(open_net(&c, &o, &e), -EIO);
	cr_expect(strstr(e.text, "interface"), "%s", e.text);
	cr_expect(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}
