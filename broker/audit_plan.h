/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_AUDIT_PLAN_H
#define BROKER_AUDIT_PLAN_H

/* What the broker expects of its processes, as a message to an auditor. */

#include "broker/audit.h"
#include "broker/family.h"
#include "proto/control.pb-c.h"

/* The core, the keeper, each device and its spare. */
#define AUDIT_PLAN_MAX (2 * FAMILY_DEVICES_MAX + 2)

/** audit_plan_new() - Of the processes that run now; @ret is a packed
 *  AuditPlan, the caller's to free */
int audit_plan_new(const struct family *f, const char *name,
		   Bulkhead__AuditPlan **ret, struct err *e);
void audit_plan_free(Bulkhead__AuditPlan *plan); /* NULL allowed */

/** audit_plan_expect() - One process of a plan, bounded and copied
 *  @broker: The pid that the kernel gives for the control socket's other end */
int audit_plan_expect(const Bulkhead__AuditPlan *plan, size_t i, pid_t broker,
		      struct audit_expect *ret, struct err *e);

#endif
