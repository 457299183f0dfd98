/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/eventfd.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * @sys core eventfd2(1==EFD_CLOEXEC|EFD_NONBLOCK): kick, call and config
 *	change of each device
 */
int eventfd_new(struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return err_errno(e, "can't make an eventfd");
	return fd;
}

/*
 * A full counter (EAGAIN) is as good as a signal; nothing else can fail.
 *
 * @sys core write: raise an interrupt, pass a trapped kick on
 */
void eventfd_signal(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

/*
 * @sys core read: forget what was pending when a device is reset
 */
void eventfd_drain(int fd)
{
	uint64_t value;
	ssize_t n = read(fd, &value, sizeof(value));

	(void)n;
}

/*
 * @sys core poll(1==1, 2==0): pending bits of masked MSI-X vectors
 */
bool eventfd_is_set(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}
