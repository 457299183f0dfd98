/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session_inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/session.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

/* Room for the header and the larger, packed, entries. */
static uint64_t inflight_stride(uint32_t queue_size)
{
	return align_up(32 + 32 * (uint64_t)queue_size, 4096);
}

void session_inflight_free(struct session *s)
{
	struct session_inflight *i = &s->inflight;

	if (i->map)
		munmap(i->map, i->size);
	i->map = NULL;
	i->fd = fd_close(i->fd);
	i->num_suspects = 0;
	i->num_poison = 0;
}

int session_inflight_new(struct session *s, struct err *e)
{
	struct session_inflight *i = &s->inflight;
	uint64_t stride = inflight_stride(s->info.max_queue_size);
	/* One more: the device's own state. */
	uint64_t size = stride * (s->info.num_queues + 1);
	auto_fd fd = memfd_create("inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map;

	session_inflight_free(s);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
		    0)
		return err_errno(e, "cannot make %s's in-flight region", s->id);
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_errno(e, "cannot map %s's in-flight region", s->id);
	i->fd = take_fd(&fd);
	i->stride = stride;
	i->size = size;
	i->map = map;
	return 0;
}

void session_inflight_note_death(struct session *s)
{
	(void)s;
}
