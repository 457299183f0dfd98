/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session_inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/session.h"
#include "common/base/cleanup.h"
#include "common/base/inflight_layout.h"
#include "common/base/log.h"
#include "common/base/num.h"

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

/* The device may write to it, the broker only looks. */
static int inflight_map(struct session *s, int *fd, uint64_t stride,
			struct err *e)
{
	struct session_inflight *i = &s->inflight;
	uint64_t size =
		inflight_total(s->info.num_queues, s->info.max_queue_size);
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, *fd, 0);

	if (map == MAP_FAILED)
		return err_errno(e, "cannot map %s's in-flight region", s->id);
	i->fd = take_fd(fd);
	i->stride = stride;
	i->size = size;
	i->map = map;
	return 0;
}

int session_inflight_new(struct session *s, struct err *e)
{
	uint64_t size =
		inflight_total(s->info.num_queues, s->info.max_queue_size);
	auto_fd fd = memfd_create("inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	session_inflight_free(s);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
		    0)
		return err_errno(e, "cannot make %s's in-flight region", s->id);
	return inflight_map(s, &fd, inflight_stride(s->info.max_queue_size), e);
}

int session_inflight_adopt(struct session *s, int *fd, uint64_t stride,
			   struct err *e)
{
	session_inflight_free(s);
	if (stride != inflight_stride(s->info.max_queue_size))
		return err_set(e, -EPROTO,
			       "%s: its in-flight region has another layout",
			       s->id);
	return inflight_map(s, fd, stride, e);
}

static struct inflight_suspect *inflight_find(struct session_inflight *i,
					      uint64_t counter)
{
	for (unsigned int n = 0; n < i->num_suspects; n++)
		if (i->suspects[n].counter == counter)
			return &i->suspects[n];
	return NULL;
}

static bool inflight_is_poison(const struct session_inflight *i,
			       uint64_t counter)
{
	for (unsigned int n = 0; n < i->num_poison; n++)
		if (i->poison[n] == counter)
			return true;
	return false;
}

static void inflight_blame(struct session *s, uint64_t counter)
{
	struct session_inflight *i = &s->inflight;

	if (i->num_poison == INFLIGHT_POISON_MAX)
		return;
	i->poison[i->num_poison++] = counter;
	log_warn("event=request-quarantined device=%s role=%s queue=%u "
		 "request=%llu deaths=%u",
		 s->id, s->role, inflight_queue_of(counter),
		 (unsigned long long)counter, INFLIGHT_DEATHS);
}

/*
 * After the first death its successor serves what was in flight one request at
 * a time and marks the one it serves; if there is such a mark, that request
 * alone is suspected, else all that were in flight are.
 */
void session_inflight_note_death(struct session *s)
{
	struct inflight_suspect seen[INFLIGHT_SUSPECTS_MAX];
	struct inflight_entry list[INFLIGHT_LIST_MAX];
	struct session_inflight *i = &s->inflight;
	unsigned int num_seen = 0;
	bool marked = false;

	for (uint32_t q = 0; i->map && q < s->info.num_queues; q++) {
		int n = inflight_list((const uint8_t *)i->map + q * i->stride,
				      i->stride, q, list, INFLIGHT_LIST_MAX);

		for (int k = 0; k < n && num_seen < INFLIGHT_SUSPECTS_MAX;
		     k++) {
			const struct inflight_suspect *old =
				inflight_find(i, list[k].counter);

			if (inflight_is_poison(i, list[k].counter))
				continue;
			seen[num_seen].counter = list[k].counter;
			seen[num_seen].deaths = old ? old->deaths : 0;
			seen[num_seen].served =
				list[k].state == INFLIGHT_SERVED;
			marked |= seen[num_seen].served;
			num_seen++;
		}
	}
	i->num_taken = num_seen;
	/* Completed ones are forgotten, suspicion and all. */
	i->num_suspects = 0;
	for (unsigned int n = 0; n < num_seen; n++) {
		if (!marked || seen[n].served)
			seen[n].deaths++;
		if (seen[n].deaths >= INFLIGHT_DEATHS)
			inflight_blame(s, seen[n].counter);
		else
			i->suspects[i->num_suspects++] = seen[n];
	}
}
