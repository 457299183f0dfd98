/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Interrupts, without taking one: they stay in the LAPIC's request register,
 * because this processor never enables them. The entropy device makes some
 * by MSI-X; the serial port and the power button by the IOAPIC.
 *
 * Spec: PCI 3.0, 6.8.2; 82093AA (IOAPIC); Intel SDM 3A, 10.8.4
 */

#include "lib/clock.h"
#include "lib/pci.h"
#include "lib/virtio.h"
#include "platform/platform.h"

#define LAPIC	  0xfee00000ull
#define LAPIC_SVR 0xf0
#define LAPIC_IRR 0x200
#define IOAPIC	  0xfec00000ull

#define PCI_CAP_MSIX  0x11
#define MSIX_ENABLE   0x8000u
#define MSIX_MASK_ALL 0x4000u
#define TABLE	      0x8000 /* in BAR 0 */
#define PENDING	      0x48000
#define ENTRY_DATA    8
#define ENTRY_CONTROL 12
#define COMMON_VECTOR 0x1a
#define COMMON_SELECT 0x16

#define VECTOR_FIRST 0x51
#define VECTOR_COM1  0x61
#define VECTOR_GED   0x62
#define GSI_COM1     4
#define GSI_GED	     9
#define WAIT_US	     5000000 /* a busy machine */

static struct {
	struct virtio dev;
	struct vq vq;
	uint64_t bar;
	unsigned int cap;
	uint32_t vector; /* of the message at present */
	uint8_t buf[64];
} m;

static bool requested(uint32_t vector)
{
	return lapic_read(LAPIC_IRR + vector / 32 * 16) >> vector % 32 & 1;
}

static bool pending(void)
{
	return mmio32(m.bar + PENDING) & 1;
}

/* Does it come true within the time that a busy machine may need? */
static bool comes(bool (*is_so)(uint32_t arg), uint32_t arg)
{
	uint64_t end = rdtsc() + clock_ticks(WAIT_US);

	while (!is_so(arg)) {
		if (rdtsc() > end)
			return false;
	}
	return true;
}

static bool pending_is(uint32_t want)
{
	return pending() == want;
}

static bool is_completed(uint32_t unused)
{
	uint64_t cookie;
	uint32_t len;

	(void)unused;
	return vq_get(&m.vq, &cookie, &len);
}

/* A request whose completion the driver wants to hear of. It is taken back
 * when that has come: to take it back is to lose interest. */
static void make_interrupt(void)
{
	const struct vq_buf buf = {m.buf, sizeof(m.buf), true};
	uint16_t *used_event = (uint16_t *)m.vq.driver + 2 + m.vq.size;

	*(uint16_t *)m.vq.driver = 0; /* without event index: no suppression */
	*used_event = m.vq.used;
	vq_add(&m.vq, &buf, 1, 1);
	vq_kick(&m.vq);
}

static void take_back(void)
{
	expect_true("msix: no completion", comes(is_completed, 0));
}

static void set_message(uint32_t vector)
{
	m.vector = vector;
	mmio32_put(m.bar + TABLE + ENTRY_DATA, vector);
}

static void mask_entry(bool on)
{
	mmio32_put(m.bar + TABLE + ENTRY_CONTROL, on);
}

static void control(uint32_t v)
{
	pci_write(m.dev.slot, m.cap + 2, 2, v);
}

static void set_up(void)
{
	virtio_queue(&m.dev, 0, &m.vq);
	m.bar = pci_bar(m.dev.slot, 0);
	m.cap = pci_next_cap(m.dev.slot, 0, PCI_CAP_MSIX);
	expect("msix: vectors", pci_read(m.dev.slot, m.cap + 2, 2) & 0x7ff, 1);
	expect("msix: entries begin masked",
	       mmio32(m.bar + TABLE + ENTRY_CONTROL), 1);
	mmio32_put(m.bar + TABLE, (uint32_t)LAPIC);
	mmio32_put(m.bar + TABLE + 4, 0);
	set_message(VECTOR_FIRST);
	*(volatile uint16_t *)(m.dev.common + COMMON_VECTOR) = 0;
	expect("msix: the queue's vector",
	       *(volatile uint16_t *)(m.dev.common + COMMON_VECTOR), 0);
	control(MSIX_ENABLE);
	virtio_ready(&m.dev);
}

/* What a masked vector holds back comes when the mask goes, once. */
static void check_mask(const char *what, void (*mask)(bool on), uint32_t vector)
{
	set_message(vector);
	mask(true);
	make_interrupt();
	expect_true(what, comes(pending_is, 1));
	take_back();
	expect_true("msix: delivered although masked", !requested(vector));
	mask(false);
	expect_true("msix: not delivered after the mask",
		    comes(requested, vector));
	expect_true("msix: pending after the mask", comes(pending_is, 0));
}

static void mask_function(bool on)
{
	control(on ? MSIX_ENABLE | MSIX_MASK_ALL : MSIX_ENABLE);
}

static void mask_by_disabling(bool on)
{
	control(on ? 0 : MSIX_ENABLE);
}

static void check_vectors(void)
{
	set_up();
	check_mask("msix: a masked entry is not pending", mask_entry,
		   VECTOR_FIRST);
	/* Another message while it isn't masked. */
	set_message(VECTOR_FIRST + 1);
	make_interrupt();
	expect_true("msix: a changed message", comes(requested, m.vector));
	take_back();
	check_mask("msix: a masked function is not pending", mask_function,
		   VECTOR_FIRST + 2);
	check_mask("msix: a disabled function is not pending",
		   mask_by_disabling, VECTOR_FIRST + 3);
	virtio_reset(&m.dev);
	expect("msix: the vector after a reset",
	       *(volatile uint16_t *)(m.dev.common + COMMON_VECTOR), 0xffff);
	control(0);
}

static uint32_t ioapic_read(uint32_t reg)
{
	mmio32_put(IOAPIC, reg);
	return mmio32(IOAPIC + 0x10);
}

static void ioapic_write(uint32_t reg, uint32_t v)
{
	mmio32_put(IOAPIC, reg);
	mmio32_put(IOAPIC + 0x10, v);
}

/* An edge that comes while the pin is masked is delivered afterwards. */
static void check_com1(void)
{
	expect("ioapic: pins", ioapic_read(1) >> 16, 23);
	for (uint32_t pin = 0; pin < 24; pin++)
		expect("ioapic: a pin begins masked",
		       ioapic_read(0x10 + 2 * pin), 0x10000);
	ioapic_write(0x10 + 2 * GSI_COM1, VECTOR_COM1 | 0x10000);
	ioapic_write(0x11 + 2 * GSI_COM1, 0);
	if (!guest_option_number("serial", 1))
		return;
	outb(0x3f9, 0x02); /* tell when there is room: now */
	expect("com1: cause", inb(0x3fa) & 0x0f, 0x02);
	expect_true("ioapic: a masked pin", !requested(VECTOR_COM1));
	ioapic_write(0x10 + 2 * GSI_COM1, VECTOR_COM1);
	expect_true("ioapic: COM1", comes(requested, VECTOR_COM1));
	outb(0x3f9, 0);
}

/* Somebody presses the button after "PRESS". */
static void check_button(void)
{
	ioapic_write(0x11 + 2 * GSI_GED, 0);
	ioapic_write(0x10 + 2 * GSI_GED, VECTOR_GED);
	guest_puts("PRESS\n");
	for (int i = 0; i < 12 && !comes(requested, VECTOR_GED); i++)
		;
	expect_true("power button: no interrupt", requested(VECTOR_GED));
	expect("power button: event", inb(0x618), 0x08);
	expect("power button: the event is read", inb(0x618), 0);
}

void check_msix(void)
{
	lapic_write(LAPIC_SVR, 0x1ff);
	check_com1();
	if (!virtio_find(VIRTIO_ID_RNG, 0, &m.dev))
		expect_true("msix: no entropy device", false);
	else
		check_vectors();
	if (guest_option_number("button", 0))
		check_button();
}
