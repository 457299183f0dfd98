/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_IOAPIC_H
#define VMM_CORE_IOAPIC_H

/*
 * The IOAPIC: turns 24 pins into interrupt messages as its redirection
 * entries say. The local APICs are the hypervisor's; this part is ours.
 *
 * The model (registers, edge and level, remote IRR) is pure and talks to a
 * sink; ioapic_new_hv() gives it one that keeps the hypervisor's route of
 * gsi = pin up to date and fires it by an eventfd, which vCPU threads may
 * write.
 *
 * A masked edge is remembered and delivered at the unmask. Under the machine
 * lock. Spec: Intel 82093AA; EOI register of version 0x20.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "vmm-core/vm.h"

struct ioapic;

struct ioapic_sink {
	/* The message that @pin's entry now names, when it fires next. */
	void (*set_route)(void *opaque, unsigned int pin,
			  const struct hv_msi *msi);
	void (*fire)(void *opaque, unsigned int pin);
	void *opaque;
};

int ioapic_new(const struct ioapic_sink *sink, struct ioapic **ret,
	       struct err *e);
void ioapic_free(struct ioapic *io);

/** ioapic_new_hv() - At LAYOUT_IOAPIC of @vm, on its hypervisor; before
 *  lock-down */
int ioapic_new_hv(struct vm *vm, struct ioapic **ret, struct err *e);
/** ioapic_connect() - @pin will be used: bind its eventfd; before lock-down */
int ioapic_connect(struct ioapic *io, unsigned int pin, struct err *e);

/** ioapic_pulse() - An edge at @pin */
void ioapic_pulse(struct ioapic *io, unsigned int pin);
/** ioapic_set_level() - The line of a level-triggered source */
void ioapic_set_level(struct ioapic *io, unsigned int pin, bool level);
/** ioapic_eoi() - A level-triggered @vector was ended */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

uint32_t ioapic_read(struct ioapic *io, uint32_t off);
void ioapic_write(struct ioapic *io, uint32_t off, uint32_t value);

#endif
