/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/platform/serial.h"

#include <string.h>

#include "common/base/err.h"

enum serial_reg {
	REG_DATA, /* divisor low while DLAB */
	REG_IER,  /* divisor high while DLAB */
	REG_IIR,  /* FCR on write */
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCR,
};

#define IER_RX	   0x01
#define IER_THRE   0x02
#define IER_LINE   0x04
#define IER_MODEM  0x08
#define IIR_NONE   0x01
#define IIR_MODEM  0x00
#define IIR_THRE   0x02
#define IIR_RX	   0x04
#define IIR_LINE   0x06
#define IIR_TIMED  0x0c /* data below the trigger level */
#define IIR_FIFOS  0xc0
#define FCR_ENABLE 0x01
#define FCR_CLR_RX 0x02
#define LCR_DLAB   0x80
#define MCR_LOOP   0x10
#define MCR_MASK   0x1f
#define LSR_DR	   0x01
#define LSR_OE	   0x02
#define LSR_THRE   0x20
#define LSR_TEMT   0x40
#define MSR_DELTAS 0x0f
#define MSR_TERI   0x04
#define MSR_CTS	   0x10
#define MSR_DSR	   0x20
#define MSR_RI	   0x40
#define MSR_DCD	   0x80

void serial_init(struct serial *s, const struct serial_ops *ops, void *opaque)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->opaque = opaque;
	s->dll = 0x0c; /* 9600 baud */
	s->msr = MSR_DCD | MSR_DSR | MSR_CTS;
}

static unsigned int serial_rx_trigger(const struct serial *s)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The cause of highest priority, in IIR's coding. */
static uint8_t serial_cause(const struct serial *s)
{
	if (s->ier & IER_LINE && s->overrun)
		return IIR_LINE;
	if (s->ier & IER_RX && s->rx_len)
		return s->rx_len >= serial_rx_trigger(s) ? IIR_RX : IIR_TIMED;
	if (s->ier & IER_THRE && s->thre_pending)
		return IIR_THRE;
	if (s->ier & IER_MODEM && s->msr & MSR_DELTAS)
		return IIR_MODEM;
	return IIR_NONE;
}

static void serial_update(struct serial *s)
{
	bool line = serial_cause(s) != IIR_NONE;

	if (line && !s->line)
		s->ops->irq(s->opaque);
	s->line = line;
}

static uint8_t serial_take_byte(struct serial *s)
{
	uint8_t v;

	if (!s->rx_len)
		return 0;
	v = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % SERIAL_RX_MAX;
	s->rx_len--;
	return v;
}

static void serial_put_byte(struct serial *s, uint8_t v)
{
	if (s->rx_len == SERIAL_RX_MAX) {
		s->overrun = true;
		return;
	}
	s->rx[(s->rx_head + s->rx_len++) % SERIAL_RX_MAX] = v;
}

/* In loopback the modem control outputs are the modem status inputs. */
static void serial_update_modem(struct serial *s)
{
	uint8_t now = MSR_DCD | MSR_DSR | MSR_CTS, old = s->msr & 0xf0;
	uint8_t deltas;

	if (s->mcr & MCR_LOOP)
		now = (uint8_t)((s->mcr & 0x02 ? MSR_CTS : 0) |
				(s->mcr & 0x01 ? MSR_DSR : 0) |
				(s->mcr & 0x04 ? MSR_RI : 0) |
				(s->mcr & 0x08 ? MSR_DCD : 0));
	deltas = (uint8_t)((now ^ old) >> 4);
	/* RI tells its falling edge only. */
	if (now & MSR_RI)
		deltas &= (uint8_t)~MSR_TERI;
	s->msr = (uint8_t)((s->msr & MSR_DELTAS) | now | deltas);
}

uint8_t serial_read(struct serial *s, unsigned int reg)
{
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t v = 0;

	switch ((enum serial_reg)(reg % SERIAL_NUM_REGS)) {
	case REG_DATA:
		if (dlab)
			return s->dll;
		v = serial_take_byte(s);
		s->ops->room(s->opaque);
		break;
	case REG_IER:
		return dlab ? s->dlm : s->ier;
	case REG_IIR:
		v = serial_cause(s);
		if (v == IIR_THRE)
			s->thre_pending = false;
		if (s->fcr & FCR_ENABLE)
			v |= IIR_FIFOS;
		break;
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		v = (uint8_t)(LSR_THRE | LSR_TEMT | (s->rx_len ? LSR_DR : 0) |
			      (s->overrun ? LSR_OE : 0));
		s->overrun = false;
		break;
	case REG_MSR:
		v = s->msr;
		s->msr &= (uint8_t)~MSR_DELTAS;
		break;
	case REG_SCR:
		return s->scr;
	}
	serial_update(s);
	return v;
}

static void serial_write_thr(struct serial *s, uint8_t value)
{
	/* The line falls while the byte is held, and rises when it is gone. */
	s->thre_pending = false;
	serial_update(s);
	if (s->mcr & MCR_LOOP)
		serial_put_byte(s, value);
	else
		s->ops->out(s->opaque, value);
	s->thre_pending = true;
}

static void serial_write_fcr(struct serial *s, uint8_t value)
{
	/* A change of the enable bit empties the FIFOs too. */
	if ((value ^ s->fcr) & FCR_ENABLE || value & FCR_CLR_RX) {
		s->rx_len = 0;
		s->ops->room(s->opaque);
	}
	s->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
}

void serial_write(struct serial *s, unsigned int reg, uint8_t value)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch ((enum serial_reg)(reg % SERIAL_NUM_REGS)) {
	case REG_DATA:
		if (dlab)
			s->dll = value;
		else
			serial_write_thr(s, value);
		break;
	case REG_IER:
		if (dlab) {
			s->dlm = value;
			break;
		}
		/* Enabling it tells the present state once. */
		if (value & ~s->ier & IER_THRE)
			s->thre_pending = true;
		s->ier = value & 0x0f;
		break;
	case REG_IIR:
		serial_write_fcr(s, value);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		s->mcr = value & MCR_MASK;
		serial_update_modem(s);
		break;
	case REG_LSR:
	case REG_MSR:
		break;
	case REG_SCR:
		s->scr = value;
		break;
	}
	serial_update(s);
}

unsigned int serial_rx_room(const struct serial *s)
{
	unsigned int max = s->fcr & FCR_ENABLE ? SERIAL_RX_MAX : 1;

	/* In loopback nothing comes in from outside. */
	if (s->mcr & MCR_LOOP || s->rx_len >= max)
		return 0;
	return max - s->rx_len;
}

void serial_rx(struct serial *s, const uint8_t *data, unsigned int len)
{
	check(len <= serial_rx_room(s));
	for (unsigned int i = 0; i < len; i++)
		serial_put_byte(s, data[i]);
	serial_update(s);
}

/* A wider access is one of bytes at ascending registers. */
static void serial_bus_read(void *opaque, uint64_t off, uint8_t *data,
			    uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		data[i] = serial_read(opaque, (unsigned int)off + i);
}

static void serial_bus_write(void *opaque, uint64_t off, const uint8_t *data,
			     uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		serial_write(opaque, (unsigned int)off + i, data[i]);
}

const struct bus_ops serial_bus_ops = {
	.read = serial_bus_read,
	.write = serial_bus_write,
};
