/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_HV_H
#define VMM_CORE_HV_H

/*
 * The only door to a hypervisor. Behind it: hv_kvm.c (and hv_mshv.c). Above
 * it nobody knows an ioctl. Shapes follow what both hypervisors can do: exits
 * are messages, the LAPIC is the hypervisor's, the IOAPIC is ours, interrupts
 * are MSIs or eventfds with a route.
 *
 * Threads: hv_vcpu_* from the vCPU's own thread, except hv_vcpu_kick(). All
 * hv_vm_*, hv_mem_*, hv_irq*, hv_ioeventfd_* from one thread at a time; vCPU
 * threads, whose filter allows only the run call, ask for them through
 * vmm-core/gate.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

typedef uint64_t gpa_t;

struct hv;	/* the hypervisor and one VM on it */
struct hv_vcpu; /* one virtual CPU */

struct hv_caps {
	bool pio_ioeventfd;
	bool needs_emulator; /* MMIO exits come undecoded */
	bool pinned_ram;
	bool x2apic_ext_dest; /* 15-bit MSI destinations */
	bool software_only;   /* guest ring 0 is interpreted: see lab docs */
	unsigned int max_vcpus;
	unsigned int phys_bits; /* host-physical address width */
	uint64_t tsc_khz;	/* 0 = unknown */
	uint64_t lapic_hz;	/* LAPIC timer clock, 0 = unknown */
};

enum hv_exit_kind {
	HV_EXIT_NONE, /* handled inside; run again */
	HV_EXIT_PIO,
	HV_EXIT_MMIO,
	HV_EXIT_EOI, /* level-triggered vector ended */
	HV_EXIT_HALTED,
	HV_EXIT_INTERRUPTED, /* hv_vcpu_kick() or a signal */
	HV_EXIT_SHUTDOWN,    /* triple fault */
	HV_EXIT_RESET,
	HV_EXIT_POWEROFF,
	HV_EXIT_ERROR, /* text says what */
};

struct hv_exit {
	enum hv_exit_kind kind;
	bool write;
	uint8_t size;	  /* bytes an access: 1, 2, 4, 8 */
	uint32_t count;	  /* PIO string accesses; data holds count * size */
	uint64_t addr;	  /* port or gpa */
	uint8_t *data;	  /* read: fill before the next run */
	uint8_t vector;	  /* EOI */
	const char *text; /* ERROR, SHUTDOWN */
};

struct hv_vm_config {
	unsigned int max_vcpus;
	unsigned int ioapic_pins; /* 24 */
	unsigned int max_gsis;	  /* routes, the pins included */
};

/* An interrupt message; the architecture's MSI encoding. */
struct hv_msi {
	uint64_t addr;
	uint32_t data;
	uint32_t devid; /* PCI requester id, for hypervisors that want it */
};

/** hv_open() - Take an opened hypervisor device over and probe it */
int hv_open(int fd, struct hv **ret, struct hv_caps *ret_caps, struct err *e);
int hv_vm_create(struct hv *hv, const struct hv_vm_config *cfg, struct err *e);
void hv_free(struct hv *hv);

#define HV_MEM_READONLY 1u
#define HV_MEM_LOG	2u
/** hv_mem_map() - Back [gpa, gpa + len) by @hva of this process */
int hv_mem_map(struct hv *hv, gpa_t gpa, void *hva, uint64_t len,
	       unsigned int flags, struct err *e);
int hv_mem_unmap(struct hv *hv, gpa_t gpa, uint64_t len, struct err *e);

/** hv_vcpu_new() - @id: the architecture's processor id (x86: the APIC id) */
int hv_vcpu_new(struct hv *hv, unsigned int id, struct hv_vcpu **ret,
		struct err *e);
void hv_vcpu_free(struct hv_vcpu *v);
/** hv_fd(), hv_vcpu_fd() - Back-end handles for vmm-core/arch (CPUID,
 *  registers): the hypervisor's and the vCPU's */
int hv_fd(const struct hv *hv);
int hv_vcpu_fd(const struct hv_vcpu *v);

/** hv_vcpu_bind() - The calling thread will run @v; before its first run */
void hv_vcpu_bind(struct hv_vcpu *v);

/** hv_vcpu_describe() - Where the guest stands, for a person; while @v isn't
 *  running, from a thread that may call more than run */
void hv_vcpu_describe(struct hv_vcpu *v, char *buf, size_t size);

/**
 * hv_vcpu_run() - Until the next exit
 *
 * Completes the access of the previous exit first. Return: 0 and *ret, or
 * negative errno when the vCPU can't run any more.
 */
int hv_vcpu_run(struct hv_vcpu *v, struct hv_exit *ret, struct err *e);
/** hv_vcpu_kick() - Make hv_vcpu_run() return soon; from any thread */
void hv_vcpu_kick(struct hv_vcpu *v);

/*
 * Routes: a numbered interrupt source ("gsi") -> a message. The table is
 * changed with hv_route_set()/hv_route_clear() and takes effect with
 * hv_route_commit().
 */
/** hv_route_set() - Return: 0, -ENOSPC (@gsi beyond max_gsis) */
int hv_route_set(struct hv *hv, uint32_t gsi, const struct hv_msi *msi);
void hv_route_clear(struct hv *hv, uint32_t gsi);
int hv_route_commit(struct hv *hv, struct err *e);

/** hv_irqfd_add() - A write to @fd fires @gsi's route */
int hv_irqfd_add(struct hv *hv, int fd, uint32_t gsi, struct err *e);
int hv_irqfd_del(struct hv *hv, int fd, uint32_t gsi, struct err *e);
/** hv_msi_send() - Fire a message now */
int hv_msi_send(struct hv *hv, const struct hv_msi *msi, struct err *e);

/** hv_ioeventfd_add() - A guest write of any value of @len bytes kicks @fd
 *  @len: 0 = any length */
int hv_ioeventfd_add(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
		     struct err *e);
int hv_ioeventfd_del(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
		     struct err *e);

#endif
