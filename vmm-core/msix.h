/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_MSIX_H
#define VMM_CORE_MSIX_H

/*
 * MSI-X of one function, for interrupts that other processes raise.
 *
 * A source (a virtqueue, the config change) has one eventfd and one gsi for
 * life; the device process writes the eventfd and never learns about vectors.
 * What the guest programs decides only how the eventfd is wired:
 *
 *   source's vector may fire    gsi routed to the vector's message, eventfd
 *                               attached to the gsi: the hypervisor delivers
 *   masked (vector, function,   eventfd detached: its counter holds the
 *   MSI-X off, no vector)       pending state, attaching it again delivers
 *
 * So the counter of a detached eventfd is the pending bit, and masking loses
 * nothing. An attached eventfd's pending bit reads 0. Hypervisors empty the
 * counter when they detach, so what was delivered is not delivered again.
 *
 * Several sources may share a vector: each has its own gsi with the same
 * message. A route with an address that is no MSI address never reaches the
 * hypervisor: it could refuse the whole table for it.
 *
 * All under the machine lock; hypervisor calls and eventfd accesses go
 * through the gate. Spec: PCI Local Bus 3.0, 6.8.2
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/log.h"
#include "vmm-core/hv.h"
#include "vmm-core/pci.h"
#include "vmm-core/vm.h"

#define MSIX_VECTORS_MAX 2048
#define MSIX_SOURCES_MAX 65 /* 64 queues and the config change */
#define MSIX_NO_VECTOR	 0xffffu
#define MSIX_ENTRY_SIZE	 16u

struct msix_source {
	int fd; /* owned eventfd */
	uint32_t gsi;
	uint16_t vector; /* MSIX_NO_VECTOR: none */
	bool attached;
	bool routed; /* msg is in the hypervisor's table */
	struct hv_msi msg;
};

struct msix {
	struct vm *vm;
	struct pci_function *function;
	unsigned int cap; /* offset of the capability */
	uint32_t devid;	  /* requester id */
	unsigned int num_vectors;
	unsigned int num_sources;
	uint8_t *table; /* owned; num_vectors entries as the guest sees them */
	struct msix_source sources[MSIX_SOURCES_MAX];
	struct log_limit log;
};

/**
 * msix_init() - Add the capability and make the sources
 * @bar:          Both structures live there
 * @table_offset: Multiple of 8, as @pba_offset
 */
int msix_init(struct msix *m, struct vm *vm, struct pci_function *f,
	      unsigned int slot, unsigned int num_vectors,
	      unsigned int num_sources, unsigned int bar, uint32_t table_offset,
	      uint32_t pba_offset, struct err *e);
/** msix_done() - Detach and close; a zeroed struct is allowed */
void msix_done(struct msix *m);

/** msix_table_size()/msix_pba_size() - Bytes */
uint32_t msix_table_size(const struct msix *m);
uint32_t msix_pba_size(const struct msix *m);

/** msix_config_written() - The guest wrote config [off, off + len) */
void msix_config_written(struct msix *m, uint32_t off, uint32_t len);

/* [off, off + len) lies within the structure. Writes that are not an aligned
 * dword or qword are ignored. */
void msix_table_read(struct msix *m, uint32_t off, uint8_t *data, uint32_t len);
void msix_table_write(struct msix *m, uint32_t off, const uint8_t *data,
		      uint32_t len);
void msix_pba_read(struct msix *m, uint32_t off, uint8_t *data, uint32_t len);

/** msix_set_vector() - Return: the vector now in force; MSIX_NO_VECTOR if
 *  @vector does not exist */
uint16_t msix_set_vector(struct msix *m, unsigned int source, uint16_t vector);

/** msix_signal() - The core itself raises a source that has a vector */
void msix_signal(struct msix *m, unsigned int source);

/** msix_reset_sources() - Forget all vectors and everything pending */
void msix_reset_sources(struct msix *m);

int msix_source_fd(const struct msix *m, unsigned int source);

#endif
