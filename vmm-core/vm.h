/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_VM_H
#define VMM_CORE_VM_H

/*
 * The machine: what main.c builds on the broker's orders and the parts use.
 *
 * Locks: vm->lock, the machine lock, is held by a vCPU thread around every
 * emulated access and by the control thread around every change of device
 * state. Nothing waits for a peer process while holding it. The data path
 * (ioeventfd, irqfd) never takes it.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/channel/channel.h"
#include "common/channel/loop.h"
#include "proto/core.pb-c.h"
#include "vmm-core/bus.h"
#include "vmm-core/gate.h"
#include "vmm-core/hv.h"

struct pci_bus;
struct vcpu;
struct platform;
struct ioapic;
struct memory;
struct device_link;

struct vm {
	pthread_mutex_t lock;
	struct hv *hv;
	struct hv_caps caps;
	struct gate *gate;
	struct loop *loop;	 /* control thread */
	struct channel *channel; /* to the broker; control thread only */
	struct bus *pio;
	struct bus *mmio;
	struct memory *memory;
	struct ioapic *ioapic;
	struct platform *platform;
	struct pci_bus *pci;
	struct device_link *links; /* list; device_link.c's */
	struct vcpu **vcpus;
	unsigned int num_vcpus;
	unsigned int phys_bits;
	uint64_t mmio64_base;
	uint64_t mmio64_size;
	uint32_t next_seq;
	uint32_t next_gsi; /* from GSI_MSI_FIRST */
};

/** vm_post() - Run fn(vm, arg) soon in the control thread; from any thread,
 *  under any lock. -EAGAIN when the bounded queue (1024) is full. */
int vm_post(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg);

/** vm_event() - Report to the broker; from any thread */
void vm_event(struct vm *vm, Bulkhead__VmEvent__Kind kind, uint32_t code,
	      const char *text);

/** vm_alloc_gsi() - A number for a message-signalled interrupt source */
uint32_t vm_alloc_gsi(struct vm *vm);

/**
 * vm_send() - Send a request to the broker (control thread only)
 * @done: Called with the answer (NULL allowed); @answer is valid during it
 */
typedef void (*vm_answer_cb)(struct vm *vm, const Bulkhead__CoreMessage *answer,
			     void *arg);
int vm_send(struct vm *vm, Bulkhead__CoreBody *body, const int *fds,
	    unsigned int num_fds, vm_answer_cb done, void *arg);

#endif
