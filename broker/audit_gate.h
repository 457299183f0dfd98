/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_AUDIT_GATE_H
#define BROKER_AUDIT_GATE_H

/*
 * The broker's side of audits: what each process of a family is to be, and
 * the gate that a guest's start and a replaced device have to pass
 * (`--audit=enforce|warn|off`).
 */

#include "broker/audit.h"

struct family;
struct session;
struct session_proc;

/** audit_expect_core(), audit_expect_device() - From the broker's record */
int audit_expect_core(const struct family *f, struct audit_expect *ret,
		      struct err *e);
int audit_expect_keeper(const struct family *f, struct audit_expect *ret,
			struct err *e);
int audit_expect_device(const struct session *s, const struct session_proc *p,
			struct audit_expect *ret, struct err *e);

/**
 * audit_gate_keeper() - Before it is given anything
 * audit_gate_core() - Before Boot, once the core has locked itself down
 * audit_gate_device() - Before Boot, or before the guest's queues are
 *   connected to a replacement, once it has locked itself down
 *
 * From its lock-down on a process can get descriptors from the broker and
 * nothing else.
 *
 * What fails is logged, each check with its meaning.
 * Return: 0 it may go on (passed, or only a warning was asked for);
 *         -EPERM with @e: it must not
 */
int audit_gate_keeper(struct family *f, struct err *e);
int audit_gate_core(struct family *f, struct err *e);
int audit_gate_device(struct session *s, const struct session_proc *p,
		      struct err *e);

/** audit_gate_free() - Forget what was audited; also at a guest's reset */
void audit_gate_free(struct family *f);

#endif
