/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/ioapic.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "common/base/log.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/eventfd.h"

#define IOAPIC_MMIO_SIZE 0x1000u
#define IOAPIC_REG_SEL	 0x00u
#define IOAPIC_REG_WIN	 0x10u
#define IOAPIC_REG_EOI	 0x40u

#define IOAPIC_IND_ID	0x00u
#define IOAPIC_IND_VER	0x01u
#define IOAPIC_IND_ARB	0x02u
#define IOAPIC_IND_RTE	0x10u
#define IOAPIC_VERSION	0x20u /* with an EOI register */
#define IOAPIC_ID_SHIFT 24

/* Redirection entry */
#define RTE_VECTOR	0xffull
#define RTE_MODE(e)	(((e) >> 8) & 7)
#define RTE_LOGICAL	(1ull << 11)
#define RTE_STATUS	(1ull << 12)
#define RTE_REMOTE_IRR	(1ull << 14)
#define RTE_LEVEL	(1ull << 15)
#define RTE_MASKED	(1ull << 16)
#define RTE_READ_ONLY	(RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_DEST(e)	(((e) >> 56) & 0xff)
#define RTE_EXT_DEST(e) (((e) >> 49) & 0x7f) /* bits 8 to 14 of the id */

struct ioapic_pin {
	uint64_t rte;
	bool line;	/* level now */
	bool pending;	/* an edge while masked */
	bool has_route; /* msi is what the sink knows */
	struct hv_msi msi;
};

struct ioapic {
	struct ioapic_sink sink;
	struct ioapic_pin pins[IOAPIC_PINS];
	uint8_t id;
	uint8_t select;
	/* ioapic_new_hv() */
	struct vm *vm;
	int fds[IOAPIC_PINS];
};

int ioapic_new(const struct ioapic_sink *sink, struct ioapic **ret,
	       struct err *e)
{
	struct ioapic *io = calloc(1, sizeof(*io));

	if (!io)
		return err_set(e, -ENOMEM, "no memory for the IOAPIC");
	io->sink = *sink;
	io->id = IOAPIC_ID;
	for (unsigned int i = 0; i < IOAPIC_PINS; i++) {
		io->pins[i].rte = RTE_MASKED;
		io->fds[i] = -1;
	}
	*ret = io;
	return 0;
}

void ioapic_free(struct ioapic *io)
{
	if (!io)
		return;
	for (unsigned int i = 0; i < IOAPIC_PINS; i++)
		fd_close(io->fds[i]);
	free(io);
}

static struct hv_msi ioapic_message(uint64_t rte)
{
	struct hv_msi msi = {
		.addr = LAYOUT_LAPIC | RTE_DEST(rte) << 12 |
			RTE_EXT_DEST(rte) << 5 | (rte & RTE_LOGICAL ? 4 : 0),
		.data = (uint32_t)((rte & RTE_VECTOR) | RTE_MODE(rte) << 8 |
				   (rte & RTE_LEVEL ? 1u << 14 | 1u << 15 : 0)),
	};

	return msi;
}

/* A masked pin keeps its route: nothing fires it, and guests mask often. */
static void ioapic_update_route(struct ioapic *io, unsigned int pin)
{
	struct ioapic_pin *p = &io->pins[pin];
	struct hv_msi msi = ioapic_message(p->rte);

	if (p->rte & RTE_MASKED)
		return;
	if (p->has_route && p->msi.addr == msi.addr && p->msi.data == msi.data)
		return;
	p->msi = msi;
	p->has_route = true;
	io->sink.set_route(io->sink.opaque, pin, &msi);
}

/* Deliver what @pin has to deliver now. */
static void ioapic_service(struct ioapic *io, unsigned int pin)
{
	struct ioapic_pin *p = &io->pins[pin];

	if (p->rte & RTE_MASKED)
		return;
	if (p->rte & RTE_LEVEL) {
		p->pending = false;
		if (!p->line || p->rte & RTE_REMOTE_IRR)
			return;
		p->rte |= RTE_REMOTE_IRR;
	} else {
		if (!p->pending)
			return;
		p->pending = false;
	}
	io->sink.fire(io->sink.opaque, pin);
}

void ioapic_pulse(struct ioapic *io, unsigned int pin)
{
	check(pin < IOAPIC_PINS);
	if (io->pins[pin].rte & RTE_LEVEL) {
		/* A level pin that falls at once: one interrupt, like a
		 * short line. */
		ioapic_set_level(io, pin, true);
		io->pins[pin].line = false;
		return;
	}
	io->pins[pin].pending = true;
	ioapic_service(io, pin);
}

void ioapic_set_level(struct ioapic *io, unsigned int pin, bool level)
{
	struct ioapic_pin *p = &io->pins[pin];

	check(pin < IOAPIC_PINS);
	if (level && !p->line && !(p->rte & RTE_LEVEL))
		p->pending = true;
	p->line = level;
	ioapic_service(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned int i = 0; i < IOAPIC_PINS; i++) {
		struct ioapic_pin *p = &io->pins[i];

		if ((p->rte & RTE_VECTOR) != vector ||
		    !(p->rte & RTE_REMOTE_IRR))
			continue;
		p->rte &= ~RTE_REMOTE_IRR;
		ioapic_service(io, i);
	}
}

static void ioapic_write_rte(struct ioapic *io, unsigned int pin, bool high,
			     uint32_t value)
{
	struct ioapic_pin *p = &io->pins[pin];
	uint64_t keep = p->rte & RTE_READ_ONLY;

	if (high)
		p->rte = (p->rte & UINT32_MAX) | (uint64_t)value << 32;
	else
		p->rte = (p->rte & ~(uint64_t)UINT32_MAX) | value;
	p->rte = (p->rte & ~RTE_READ_ONLY) | keep;
	/* Software ends a stuck level interrupt by a switch to edge. */
	if (!(p->rte & RTE_LEVEL))
		p->rte &= ~RTE_REMOTE_IRR;
	ioapic_update_route(io, pin);
	ioapic_service(io, pin);
}

static uint32_t ioapic_read_indirect(const struct ioapic *io)
{
	unsigned int pin;

	switch (io->select) {
	case IOAPIC_IND_ID:
	case IOAPIC_IND_ARB:
		return (uint32_t)io->id << IOAPIC_ID_SHIFT;
	case IOAPIC_IND_VER:
		return IOAPIC_VERSION | (IOAPIC_PINS - 1) << 16;
	default:
		break;
	}
	pin = (io->select - IOAPIC_IND_RTE) / 2u;
	if (io->select < IOAPIC_IND_RTE || pin >= IOAPIC_PINS)
		return 0;
	return (uint32_t)(io->pins[pin].rte >> (io->select & 1 ? 32 : 0));
}

uint32_t ioapic_read(struct ioapic *io, uint32_t off)
{
	switch (off) {
	case IOAPIC_REG_SEL:
		return io->select;
	case IOAPIC_REG_WIN:
		return ioapic_read_indirect(io);
	default:
		return 0;
	}
}

void ioapic_write(struct ioapic *io, uint32_t off, uint32_t value)
{
	unsigned int pin;

	switch (off) {
	case IOAPIC_REG_SEL:
		io->select = (uint8_t)value;
		break;
	case IOAPIC_REG_WIN:
		if (io->select == IOAPIC_IND_ID)
			io->id = (value >> IOAPIC_ID_SHIFT) & 0xf;
		pin = (io->select - IOAPIC_IND_RTE) / 2u;
		if (io->select >= IOAPIC_IND_RTE && pin < IOAPIC_PINS)
			ioapic_write_rte(io, pin, io->select & 1, value);
		break;
	case IOAPIC_REG_EOI:
		ioapic_eoi(io, (uint8_t)value);
		break;
	default:
		break;
	}
}

static void ioapic_bus_read(void *opaque, uint64_t off, uint8_t *data,
			    uint32_t len)
{
	uint8_t v[8] = {0};

	put_le32(v, ioapic_read(opaque, (uint32_t)off));
	memcpy(data, v, len);
}

static void ioapic_bus_write(void *opaque, uint64_t off, const uint8_t *data,
			     uint32_t len)
{
	uint8_t v[8] = {0};

	memcpy(v, data, len);
	ioapic_write(opaque, (uint32_t)off, get_le32(v));
}

static const struct bus_ops ioapic_bus_ops = {
	.read = ioapic_bus_read,
	.write = ioapic_bus_write,
};

struct ioapic_route {
	unsigned int pin;
	const struct hv_msi *msi;
};

static int ioapic_gate_route(struct hv *hv, void *arg)
{
	const struct ioapic_route *route = arg;
	struct err e;
	int r = hv_route_set(hv, route->pin, route->msi);

	if (r == 0)
		r = hv_route_commit(hv, &e);
	return r;
}

static void ioapic_hv_set_route(void *opaque, unsigned int pin,
				const struct hv_msi *msi)
{
	static struct log_limit limit = LOG_LIMIT_INIT(4);
	struct ioapic *io = opaque;
	struct ioapic_route route = {pin, msi};

	if (gate_call(io->vm->gate, ioapic_gate_route, &route) < 0)
		log_limited(&limit, LOG_WARN,
			    "the hypervisor refuses IOAPIC pin %u's message",
			    pin);
}

static void ioapic_hv_fire(void *opaque, unsigned int pin)
{
	struct ioapic *io = opaque;

	if (io->fds[pin] >= 0)
		eventfd_signal(io->fds[pin]);
}

int ioapic_new_hv(struct vm *vm, struct ioapic **ret, struct err *e)
{
	struct ioapic_sink sink = {.set_route = ioapic_hv_set_route,
				   .fire = ioapic_hv_fire};
	struct ioapic *io;
	int r = ioapic_new(&sink, &io, e);

	if (r < 0)
		return r;
	io->sink.opaque = io;
	io->vm = vm;
	r = bus_add(vm->mmio, LAYOUT_IOAPIC, IOAPIC_MMIO_SIZE, &ioapic_bus_ops,
		    io, e);
	if (r < 0) {
		ioapic_free(io);
		return r;
	}
	*ret = io;
	return 0;
}

int ioapic_connect(struct ioapic *io, unsigned int pin, struct err *e)
{
	int fd = eventfd_new(e), r;

	if (fd < 0)
		return fd;
	check(pin < IOAPIC_PINS && io->fds[pin] < 0);
	io->fds[pin] = fd;
	r = hv_irqfd_add(io->vm->hv, fd, pin, e);
	return r;
}
