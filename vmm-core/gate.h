/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_GATE_H
#define VMM_CORE_GATE_H

/*
 * vCPU threads may run the guest and little else: their filter allows the one
 * run ioctl. What a guest's register write asks of the hypervisor (a new MSI
 * route, a moved doorbell) goes through the gate: one thread that executes
 * these calls one after another while the caller waits. It takes no lock of
 * ours, so a caller may hold any.
 */

#include "common/base/err.h"
#include "vmm-core/hv.h"

struct gate;

int gate_new(struct hv *hv, struct gate **ret, struct err *e);
void gate_free(struct gate *g);

/** gate_call() - Run fn(hv, arg) in the gate's thread; Return: its result */
int gate_call(struct gate *g, int (*fn)(struct hv *hv, void *arg), void *arg);

#endif
