/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_VCPU_H
#define VMM_CORE_VCPU_H

/*
 * One thread a vCPU. Its life:
 *
 *   prepare (name, affinity) -> wait for the lock-down -> lock itself to the
 *   list `vcpu` -> wait for the start -> run, dispatch exits -> park for good
 *
 * A vCPU thread touches emulated devices only under the machine lock, takes
 * no memory from the heap and makes no system call but those of its list.
 */

#include "common/base/err.h"
#include "proto/core.pb-c.h"
#include "vmm-core/vm.h"

struct vcpu_gang; /* all vCPUs of a VM and what they wait for */

/** vcpu_gang_new() - Make the vCPUs and their threads, which then wait
 *
 * Return: 0; negative errno when a vCPU can't be made or its affinity not be
 *         set. Before lock-down.
 */
int vcpu_gang_new(struct vm *vm, const Bulkhead__CpuConfig *cfg, struct err *e);

/** vcpu_gang_lock() - After the process's lock-down: every vCPU thread locks
 *  itself down; returns when all have */
int vcpu_gang_lock(struct vm *vm, struct err *e);

/** vcpu_gang_start() - Let them run */
void vcpu_gang_start(struct vm *vm);

/** vcpu_gang_kick() - Make all look at vm->stopping */
void vcpu_gang_kick(struct vm *vm);

/** vcpu_gang_stop() - Set vm->stopping and wait until all are parked
 *
 * Return: 0, -ETIMEDOUT after 5 s
 */
int vcpu_gang_stop(struct vm *vm, struct err *e);

/** vcpu_get_hv() - vCPU @index's back end */
struct hv_vcpu *vcpu_get_hv(struct vm *vm, unsigned int index);

#endif
