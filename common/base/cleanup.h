/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_CLEANUP_H
#define COMMON_BASE_CLEANUP_H

/*
 * Ownership by scope. Define and assign an auto_ variable in one statement;
 * give it away with take_fd()/take_ptr(); never mix with goto.
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/** fd_close() - Close, keep errno; Return: -1, so `fd = fd_close(fd)` */
static inline int fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static inline void cleanup_fd(int *fd)
{
	fd_close(*fd);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

#define auto_fd	  __attribute__((cleanup(cleanup_fd))) int
#define auto_free __attribute__((cleanup(cleanup_free)))

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define take_ptr(p)                                                            \
	({                                                                     \
		__typeof__(p) *pp_ = &(p);                                     \
		__typeof__(p) v_ = *pp_;                                       \
		*pp_ = NULL;                                                   \
		v_;                                                            \
	})

#endif
