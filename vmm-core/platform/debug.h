/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_DEBUG_H
#define VMM_CORE_PLATFORM_DEBUG_H

/*
 * Debug ports: 0x80 takes one-byte progress codes, reported to the broker
 * with their time; 0xe9 (or where configured) takes text for the debug
 * console; 0x402 is firmware's name for the same. Linux writes to 0x80 as a
 * delay, so codes pass through a budget.
 */

#include "vmm-core/platform/output.h"
#include "vmm-core/vm.h"

struct debug_config {
	bool console;
	int out_fd;	 /* taken over; -1 without console */
	uint32_t iobase; /* 0 = PORT_DEBUG_CONSOLE */
};

struct debug_ports;

int debug_ports_new(struct vm *vm, const struct debug_config *cfg,
		    struct debug_ports **ret, struct err *e);

#endif
