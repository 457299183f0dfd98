/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>

#include "broker/open.h"
#include "common/base/cleanup.h"

#define RNG_DEFAULT "/dev/urandom"

/* With a writer of our own a FIFO is never at its end, only slow. A FIFO that
 * we may not write ends with its last writer. */
static int open_rng_writer(const char *src, mode_t mode)
{
	return S_ISFIFO(mode) ? open(src, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
			      : -1;
}

int open_rng(const char *src, struct opened *ret, struct err *e)
{
	struct stat st;

	if (!src)
		src = RNG_DEFAULT;
	/* Non-blocking: a slow source must not hold the device up. */
	auto_fd fd = open(src, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, "--rng src=%s: can't open it", src);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "--rng src=%s: can't look at it", src);
	if (!S_ISCHR(st.st_mode) && !S_ISREG(st.st_mode) &&
	    !S_ISFIFO(st.st_mode))
		return err_set(e, -EINVAL,
			       "--rng src=%s: give a character device, a FIFO "
			       "or a file of random bytes",
			       src);
	bulkhead__rng_setup__init(&ret->rng);
	ret->keep_fds[0] = open_rng_writer(src, st.st_mode);
	ret->fds[0] = take_fd(&fd);
	ret->num_fds = 1;
	return 0;
}
