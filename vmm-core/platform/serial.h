/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_PLATFORM_SERIAL_H
#define VMM_CORE_PLATFORM_SERIAL_H

/*
 * A 16550A UART's registers. Pure: bytes and interrupts go through the
 * callbacks; serial_line.h connects them to descriptors. Sending takes no
 * time, so the transmitter is always empty.
 *
 * The interrupt is an edge: the callback comes when the first cause appears
 * while none was pending, as the chip's line would rise.
 * Spec: National Semiconductor PC16550D
 */

#include <stdbool.h>
#include <stdint.h>

#include "vmm-core/bus.h"

#define SERIAL_NUM_REGS 8
#define SERIAL_RX_MAX	64 /* bytes that wait for the guest */

struct serial_ops {
	void (*irq)(void *opaque);
	void (*out)(void *opaque, uint8_t byte);
	void (*room)(void *opaque); /* the guest took input */
};

/* Embedded; fields are the module's own. */
struct serial {
	const struct serial_ops *ops;
	void *opaque;
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	bool overrun;
	bool thre_pending; /* "transmitter empty" not told yet */
	bool line;
	uint8_t rx[SERIAL_RX_MAX];
	unsigned int rx_head;
	unsigned int rx_len;
};

extern const struct bus_ops serial_bus_ops; /* opaque: struct serial */

void serial_init(struct serial *s, const struct serial_ops *ops, void *opaque);
uint8_t serial_read(struct serial *s, unsigned int reg);
void serial_write(struct serial *s, unsigned int reg, uint8_t value);

/** serial_rx_room() - Bytes that serial_rx() takes now */
unsigned int serial_rx_room(const struct serial *s);
/** serial_rx() - Input for the guest; at most serial_rx_room() bytes */
void serial_rx(struct serial *s, const uint8_t *data, unsigned int len);

#endif
