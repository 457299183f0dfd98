/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap-exec NAME QUEUES COMMAND...: opens the queues of a tap as descriptors
 * 10, 11, ... and executes COMMAND, which inherits them, as a management
 * program does for `--net fd=`. Static, so that it runs in the lab.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIRST_FD   10
#define QUEUES_MAX 16

static int open_queue(const char *name, int multi)
{
	struct ifreq req = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
				     (multi ? IFF_MULTI_QUEUE : 0)),
	};
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &req) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	long queues = argc > 3 ? strtol(argv[2], NULL, 10) : 0;

	if (queues < 1 || queues > QUEUES_MAX) {
		fprintf(stderr, "usage: tap-exec NAME QUEUES COMMAND...\n");
		return 2;
	}
	for (int i = 0; i < queues; i++) {
		int fd = open_queue(argv[1], queues > 1);

		if (fd < 0 || dup2(fd, FIRST_FD + i) < 0) {
			perror("tap-exec");
			return 1;
		}
		close(fd);
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}
