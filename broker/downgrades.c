/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/downgrades.h"

#include <string.h>

#include "broker/family.h"
#include "broker/keep.h"
#include "common/base/log.h"
#include "common/base/num.h"

#define CHILDREN_MAX (FAMILY_DEVICES_MAX + 3)

static bool report_has(const struct sandbox_report *r, unsigned int before,
		       const char *text)
{
	for (unsigned int i = 0; i < before && i < r->num_downgrades; i++)
		if (!strcmp(r->downgrades[i], text))
			return true;
	return false;
}

static bool child_has(const struct child *c, const char *text)
{
	return report_has(&c->outer, SANDBOX_MAX_NOTES, text) ||
	       report_has(&c->inner, SANDBOX_MAX_NOTES, text);
}

static unsigned int count(struct child *const *children, unsigned int num,
			  const char *text)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < num; i++)
		n += child_has(children[i], text);
	return n;
}

/* Those of children[at], in @r, that nothing before it has told. */
static void tell_new(struct child *const *children, unsigned int num,
		     unsigned int at, const struct sandbox_report *r)
{
	for (unsigned int i = 0; i < r->num_downgrades; i++) {
		const char *text = r->downgrades[i];

		if (count(children, at, text) || report_has(r, i, text) ||
		    (r == &children[at]->inner &&
		     report_has(&children[at]->outer, SANDBOX_MAX_NOTES, text)))
			continue;
		log_warn("the sandbox lacks %s (%u of %u processes)", text,
			 count(children, num, text), num);
	}
}

void downgrades_tell(struct family *f)
{
	static bool told; /* the host is the same after a reset */
	struct child *children[CHILDREN_MAX];
	unsigned int num = 0;

	if (told)
		return;
	told = true;
	children[num++] = &f->core;
	if (keep_child(f))
		children[num++] = keep_child(f);
	for (unsigned int i = 0; i < f->num_devices; i++)
		if (f->devices[i].proc)
			children[num++] = &f->devices[i].proc->child;
	for (unsigned int i = 0; i < num; i++) {
		tell_new(children, num, i, &children[i]->outer);
		tell_new(children, num, i, &children[i]->inner);
	}
}
