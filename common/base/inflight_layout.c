/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/inflight_layout.h"

#include <errno.h>

_Static_assert(sizeof(struct inflight_split) == 16, "vhost-user's layout");
_Static_assert(sizeof(struct inflight_split_desc) == 16, "vhost-user's layout");
_Static_assert(sizeof(struct inflight_packed) == 32, "vhost-user's layout");
_Static_assert(sizeof(struct inflight_packed_desc) == 32,
	       "vhost-user's layout");
_Static_assert(sizeof(struct inflight_packed_used) == 8, "one word");

/* Each number is read once: what is checked is what is used. */
#define LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)

static struct inflight_entry inflight_read(const void *region, uint32_t i,
					   bool packed)
{
	const struct inflight_packed *p = region;
	const struct inflight_split *s = region;
	struct inflight_entry e;

	e.state = packed ? LOAD(&p->desc[i].state) : LOAD(&s->desc[i].state);
	e.counter = le64toh(packed ? LOAD(&p->desc[i].counter)
				   : LOAD(&s->desc[i].counter));
	return e;
}

int inflight_list(const void *region, uint64_t len, uint32_t index,
		  struct inflight_entry *ret, unsigned int max)
{
	const struct inflight_split *s = region; /* both begin alike */
	unsigned int found = 0;
	uint16_t version, num;
	uint64_t need;
	bool packed;

	if (len < sizeof(struct inflight_packed))
		return -EBADMSG;
	version = le16toh(LOAD(&s->version));
	num = le16toh(LOAD(&s->desc_num));
	packed = le64toh(LOAD(&s->features)) & INFLIGHT_PACKED;
	if (!version)
		return 0;
	need = packed ? sizeof(struct inflight_packed) +
				num * sizeof(struct inflight_packed_desc)
		      : sizeof(struct inflight_split) +
				num * sizeof(struct inflight_split_desc);
	if (version != INFLIGHT_VERSION || !num || num > INFLIGHT_QUEUE_MAX ||
	    need > len)
		return -EBADMSG;
	for (uint32_t i = 0; i < num && found < max; i++) {
		struct inflight_entry e = inflight_read(region, i, packed);

		if (e.state != INFLIGHT_TAKEN && e.state != INFLIGHT_SERVED)
			continue;
		if (inflight_queue_of(e.counter) == index)
			ret[found++] = e;
	}
	return (int)found;
}
