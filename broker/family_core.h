/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_FAMILY_CORE_H
#define BROKER_FAMILY_CORE_H

/* The conversation with the core, and what its ends mean for the family. */

#include "broker/family.h"

int family_core_start(struct family *f, struct err *e);
/** family_core_adopt() - A dead broker's core; Adopt */
int family_core_adopt(struct family *f, const Bulkhead__KeptProcess *m,
		      int *fds, struct err *e);

/** family_core_add_device() - Once the device and the VM are there */
int family_core_add_device(struct family *f, struct session *s, struct err *e);
int family_core_attach_serial(struct family *f, int client,
			      child_answer_cb done, struct err *e);

/** family_maybe_boot() - Boot when nothing is missing any more */
void family_maybe_boot(struct family *f);

/** family_finish() - All is quiet: end the processes, maybe start again */
void family_finish(struct family *f);
void family_reset(struct family *f);

#endif
