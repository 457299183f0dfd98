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

struct arch;
struct pci_bus;
struct vcpu;
struct vm_posts;
struct vm_answers;
struct platform;
struct ioapic;
struct memory;
struct device_link;

/*
 * Life cycle (control thread):
 *
 *   state    accepts
 *   EMPTY    CreateVm
 *   CREATED  AddDevice, Boot, PowerButton (kept), SerialAttach, Stop
 *   RUNNING  Device, PowerButton, SerialAttach, Stop
 *   STOPPED  Device, Stop: the process ends after the answer
 *
 * The guest's own end (power-off, reset, crash) stops the vCPUs and reports
 * it once; the broker decides what follows.
 */
enum vm_state { VM_EMPTY, VM_CREATED, VM_RUNNING, VM_STOPPED };

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
	struct arch *arch;
	enum vm_state state;	    /* control thread only */
	bool stopping;		    /* atomic: vCPUs leave the guest */
	bool over;		    /* atomic: the guest's end was reported */
	struct vm_posts *posts;	    /* vm_post.c */
	struct vm_answers *answers; /* vm_message.c */
	struct vcpu_gang *gang;	    /* vcpu.h */
};

/** vm_new() - An empty machine on the control thread's loop and channel;
 *  takes both over */
int vm_new(struct loop *loop, struct channel *channel, struct vm **ret,
	   struct err *e);

struct sandbox_report;
/**
 * vm_create() - Carry out CreateVm: memory, vCPUs, platform, threads; then
 * lock the process down
 * @fds:    Of the message; taken over
 * @report: What confines the process, completed
 */
int vm_create(struct vm *vm, const Bulkhead__CreateVm *msg, const int *fds,
	      struct sandbox_report *report, struct err *e);
/** vm_boot() - Set vCPU 0's entry state and let the vCPUs run */
int vm_boot(struct vm *vm, const Bulkhead__Boot *msg, struct err *e);
/** vm_stop() - Stop the vCPUs; they don't run again */
int vm_stop(struct vm *vm, struct err *e);

/** vm_guest_end() - The guest ended by itself: stop the vCPUs, report once;
 *  from any thread, under any lock */
void vm_guest_end(struct vm *vm, Bulkhead__VmEvent__Kind kind,
		  const char *text);

/** vm_posts_init() - The queue behind vm_post() and vm_event() */
int vm_posts_init(struct vm *vm, struct err *e);
/** vm_messages_init() - Serve the channel from the loop; @report is sent with
 *  the answer to CreateVm */
int vm_messages_init(struct vm *vm, struct sandbox_report *report,
		     struct err *e);

/** vm_post() - Run fn(vm, arg) soon in the control thread; from any thread,
 *  under any lock. -EAGAIN when the bounded queue (1024) is full. */
int vm_post(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg);

/** vm_event() - Report to the broker; from any thread */
void vm_event(struct vm *vm, Bulkhead__VmEvent__Kind kind, uint32_t code,
	      const char *text);

/** vm_posts_adopted() - Answers to events are not going to come; Return: how
 *  the guest ended, NULL if it did not (control thread) */
const Bulkhead__VmEvent *vm_posts_adopted(struct vm *vm,
					  Bulkhead__VmEvent *buf);

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
/** vm_send_wait() - After -EAGAIN: wait up to a second until the channel
 *  takes more (control thread, without the machine lock); 0 or -EAGAIN */
int vm_send_wait(struct vm *vm);

#endif
