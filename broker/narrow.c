/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/narrow.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/base/num.h"

static void narrow_note(struct sandbox_report *r, const char *layer)
{
	if (r->num_layers < SANDBOX_MAX_NOTES)
		snprintf(r->layers[r->num_layers++], SANDBOX_NOTE_MAX, "%s",
			 layer);
}

int narrow_broker(struct sandbox_report *ret, struct err *e)
{
	static const unsigned int keep[] = {
		CAP_DAC_OVERRIDE, /* open what the operator names */
		CAP_SETUID,	  /* map a child's own host id */
		CAP_SETGID,
		CAP_SYS_ADMIN, /* namespaces where users may not make them */
		CAP_SETPCAP,   /* empty a child's bounding set */
		CAP_NET_ADMIN, /* taps */
		CAP_KILL,      /* end children of another id */
		CAP_SYS_RESOURCE,
		/* Audits: /proc, descriptors and filters of children that
		 * nobody may trace. Only downwards: the broker can already
		 * kill and replace every one of them. */
		CAP_SYS_PTRACE,
		/* Root of a container with few ids maps its own into its
		 * children, which the kernel takes for a grant of this. */
		CAP_SETFCAP,
	};
	bool gives_ids =
		sandbox_may_give_ids(SANDBOX_HOST_IDS, SANDBOX_HOST_IDS);

	bool have[ARRAY_SIZE(keep)];
	unsigned int kept = 0;
	char text[SANDBOX_NOTE_MAX];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, "cannot set no_new_privs");
	memset(ret, 0, sizeof(*ret));
	narrow_note(ret, "no_new_privs");
	/* An undumpable process's /proc files belong to root, and an ordinary
	 * user's broker must write its children's id maps there. */
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_errno(e, "cannot become undumpable");
	narrow_note(ret, "not dumpable");
	if (capng_get_caps_process() < 0)
		return err_set(e, -EIO,
			       "cannot read my capabilities; is /proc "
			       "mounted?");
	for (size_t i = 0; i < ARRAY_SIZE(keep); i++) {
		have[i] = capng_have_capability(CAPNG_PERMITTED, keep[i]) &&
			  (keep[i] != CAP_SETFCAP || !gives_ids);
		kept += have[i];
	}
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
		if (have[i])
			capng_update(CAPNG_ADD,
				     (capng_type_t)(CAPNG_EFFECTIVE |
						    CAPNG_PERMITTED |
						    CAPNG_BOUNDING_SET),
				     keep[i]);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		return err_set(e, -EPERM,
			       "cannot give up the capabilities that a broker "
			       "does not need");
	snprintf(text, sizeof(text), "%u capabilities", kept);
	narrow_note(ret, text);
	return 0;
}
