/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/virtio_pci.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "common/base/num.h"
#include "tests/unit/vmm-core/pci_fakes.h"

#define OFFERED                                                                \
	(VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_RING_PACKED | 1ull << 11)

/* The link's side */
static struct virtio_pci *dev;
static unsigned int starts;
static unsigned int resets;
static bool reset_at_once;
static unsigned int writes;
static uint32_t write_off;
static uint32_t write_len;

static void on_start(void *opaque)
{
	(void)opaque;
	starts++;
}

static bool on_reset(void *opaque)
{
	(void)opaque;
	resets++;
	return reset_at_once;
}

static void on_write(void *opaque, uint32_t offset, const uint8_t *data,
		     uint32_t len)
{
	(void)opaque;
	(void)data;
	writes++;
	write_off = offset;
	write_len = len;
}

static const struct virtio_pci_ops ops = {on_start, on_reset, on_write};

static void setup(void)
{
	static const uint8_t config[60] = {0x00, 0x10, [32] = 1, [59] = 0x77};
	const struct virtio_pci_info info = {.virtio_id = 2,
					     .features = OFFERED | 1ull << 40,
					     .num_queues = 2,
					     .max_queue_size = 256,
					     .config = config,
					     .config_len = sizeof(config)};
	struct err e = {0};

	starts = resets = writes = 0;
	reset_at_once = true;
	fake_start();
	cr_assert_eq(virtio_pci_new(&fake.vm, FAKE_SLOT, &info, &ops, NULL,
				    &dev, &e),
		     0, "%s", e.text);
	drv_decode();
}

static void teardown(void)
{
	virtio_pci_free(dev);
	cr_assert_eq(fake.num_bells, 0u);
	for (unsigned int i = 0; i < FAKE_GSIS; i++)
		cr_assert_eq(fake.gsi[i].fd, -1);
	fake_stop();
}

TestSuite(virtio_pci, .init = setup, .fini = teardown);

Test(virtio_pci, identity)
{
	cr_assert_eq(cfg_read(FAKE_SLOT, 0, 4), 0x10421af4u);
	cr_assert_eq(cfg_read(FAKE_SLOT, 8, 4), 0x01800001u);
	cr_assert_eq(cfg_read(FAKE_SLOT, 0x2c, 4), 0x10421af4u);
	cr_assert_eq(cfg_read(FAKE_SLOT, 0x3d, 1), 0u); /* no INTx */
}

/* As Linux walks them: bounded, aligned, no overlap, all inside the BAR. */
Test(virtio_pci, capability_chain_is_well_formed)
{
	uint8_t seen[256] = {0};
	unsigned int types = 0, msix = 0;
	unsigned int cap = cfg_read(FAKE_SLOT, 0x34, 1);

	cr_assert(cfg_read(FAKE_SLOT, PCI_REG_STATUS, 2) & 0x10);
	for (unsigned int ttl = 48; cap && ttl; ttl--) {
		unsigned int id = cfg_read(FAKE_SLOT, cap, 1);
		unsigned int len = 12;

		cr_assert(cap >= 0x40 && cap % 4 == 0);
		if (id == PCI_CAP_ID_VENDOR) {
			unsigned int type = cfg_read(FAKE_SLOT, cap + 3, 1);
			uint32_t off = cfg_read(FAKE_SLOT, cap + 8, 4);
			uint32_t size = cfg_read(FAKE_SLOT, cap + 12, 4);

			len = cfg_read(FAKE_SLOT, cap + 2, 1);
			cr_assert(len >= 16);
			cr_assert_eq(cfg_read(FAKE_SLOT, cap + 4, 1), 0u);
			cr_assert(off + size <= VIRTIO_PCI_BAR_SIZE);
			types |= 1u << type;
			if (type == 2)
				cr_assert_eq(cfg_read(FAKE_SLOT, cap + 16, 4),
					     4u);
		} else {
			cr_assert_eq(id, (unsigned int)PCI_CAP_ID_MSIX);
			cr_assert_eq(cfg_read(FAKE_SLOT, cap + 2, 2), 2u);
			cr_assert_eq(cfg_read(FAKE_SLOT, cap + 4, 4), 0x8000u);
			cr_assert_eq(cfg_read(FAKE_SLOT, cap + 8, 4), 0x48000u);
			msix++;
		}
		for (unsigned int i = cap; i < cap + len; i++)
			cr_assert_eq(seen[i]++, 0);
		cap = cfg_read(FAKE_SLOT, cap + 1, 1);
	}
	cr_assert_eq(cap, 0u);
	cr_assert_eq(types, 0x3eu);
	cr_assert_eq(msix, 1u);
}

Test(virtio_pci, init_as_linux_does_it)
{
	struct virtio_pci_queue q;

	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0);
	cr_assert_eq(resets, 1u);
	/* transport features that are not implemented are not offered */
	cr_assert_eq(drv_offered(), OFFERED);
	drv_accept(OFFERED & ~VIRTIO_FEATURE_RING_PACKED);
	cr_assert_eq(drv_status(), 0xb);
	cr_assert_eq(drv_get(DRV_NUM_QUEUES, 2), 2u);
	drv_msix(true, true);
	drv_vector(0, 0x4021);
	drv_vector(1, 0x4022);
	drv_vector(2, 0x4023);
	drv_msix(true, false);
	drv_set(DRV_CONFIG_VECTOR, 0, 2);
	cr_assert_eq(drv_get(DRV_CONFIG_VECTOR, 2), 0u);
	for (unsigned int i = 0; i < 2; i++) {
		drv_set(DRV_QUEUE, i, 2);
		cr_assert_eq(drv_get(DRV_QUEUE_SIZE, 2), 256u);
		cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u);
		cr_assert_eq(drv_get(DRV_QUEUE_NOTIFY, 2), i);
		drv_set(DRV_QUEUE_SIZE, 128, 2);
		drv_queue(i, (int)i + 1);
		cr_assert_eq(drv_get(DRV_QUEUE_VECTOR, 2), i + 1);
		cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 1u);
	}
	cr_assert_eq(fake.num_bells, 0u);
	cr_assert_not(virtio_pci_take_queue(dev, &q));
	drv_ready();
	cr_assert_eq(drv_status(), 0xf);
	cr_assert_eq(starts, 1u);
	cr_assert_eq(virtio_pci_features(dev),
		     OFFERED & ~VIRTIO_FEATURE_RING_PACKED);
	for (unsigned int i = 0; i < 2; i++) {
		cr_assert(virtio_pci_take_queue(dev, &q));
		cr_assert_eq(q.index, i);
		cr_assert_eq(q.size, 128u);
		cr_assert_eq(q.desc, 0x100000ull * (i + 1));
		cr_assert_eq(q.driver, 0x110000ull + i * 0x100000ull);
		cr_assert_eq(q.device, 0x120000ull + i * 0x100000ull);
		cr_assert(fake_has_bell(FAKE_NOTIFY + 4 * i, q.kick_fd));
		fake_write_eventfd(q.call_fd);
		cr_assert_eq(fake.fired[i].data, 0x4022u + i);
		cr_assert_eq(fake.fired[i].addr, 0xfee00000u);
		cr_assert_eq(fake.fired[i].devid, FAKE_SLOT << 3);
	}
	cr_assert_not(virtio_pci_take_queue(dev, &q));
}

/* Windows: one qword an address, MSI-X messages known before the queues, one
 * vector for all queues, 32-bit notifications, queue set-up before a status
 * read. */
Test(virtio_pci, init_as_windows_does_it)
{
	struct virtio_pci_queue q;

	drv_set(DRV_STATUS, 0, 1);
	drv_msix(true, false);
	drv_vector(0, 0x31);
	drv_vector(1, 0x32);
	drv_accept(OFFERED);
	drv_set(DRV_CONFIG_VECTOR, 0, 2);
	for (unsigned int i = 0; i < 2; i++) {
		drv_set(DRV_QUEUE, i, 2);
		drv_set(DRV_QUEUE_DESC, 0x123450000ull, 8);
		drv_set(DRV_QUEUE_DRIVER, 0x123460000ull, 8);
		drv_set(DRV_QUEUE_DEVICE, 0x123470000ull, 8);
		drv_set(DRV_QUEUE_VECTOR, 1, 2);
		drv_set(DRV_QUEUE_ENABLE, 1, 2);
	}
	drv_ready();
	cr_assert(virtio_pci_take_queue(dev, &q));
	cr_assert_eq(q.desc, 0x123450000ull);
	cr_assert_eq(q.driver, 0x123460000ull);
	cr_assert_eq(q.device, 0x123470000ull);
	fake_write_eventfd(q.call_fd);
	cr_assert(virtio_pci_take_queue(dev, &q));
	fake_write_eventfd(q.call_fd);
	cr_assert_eq(fake.num_fired, 2u);
	cr_assert_eq(fake.fired[0].data, 0x32u);
	cr_assert_eq(fake.fired[1].data, 0x32u);
	mem_write(FAKE_NOTIFY + 4, 1, 4);
	cr_assert_eq(fake_read_eventfd(q.kick_fd), 1u);
}

Test(virtio_pci, illegal_status_transitions_are_refused)
{
	static const struct {
		uint8_t from, write, to;
	} table[] = {
		{0x00, 0x02, 0x00}, /* DRIVER without ACKNOWLEDGE */
		{0x00, 0x04, 0x00}, /* DRIVER_OK at once */
		{0x01, 0x09, 0x01}, /* FEATURES_OK without DRIVER */
		{0x03, 0x07, 0x03}, /* DRIVER_OK without FEATURES_OK */
		{0x03, 0x01, 0x03}, /* taking a bit back */
		{0x0b, 0x03, 0x0b},
		{0x0b, 0x4b, 0x0b}, /* NEEDS_RESET is ours */
		{0x0b, 0x1b, 0x0b}, /* reserved */
		{0x03, 0x83, 0x83}, /* FAILED is always fine */
		{0x00, 0x03, 0x03}, /* SeaBIOS sets both at once */
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		drv_set(DRV_STATUS, 0, 1);
		if (table[i].from == 0x0b)
			drv_accept(VIRTIO_FEATURE_VERSION_1);
		else
			drv_set(DRV_STATUS, table[i].from, 1);
		cr_assert_eq(drv_status(), table[i].from);
		drv_set(DRV_STATUS, table[i].write, 1);
		cr_assert_eq(drv_status(), table[i].to, "row %zu: 0x%02x", i,
			     drv_status());
	}
	cr_assert_eq(starts, 0u);
}

Test(virtio_pci, features_ok_needs_a_subset_with_version_1)
{
	drv_accept(0);
	cr_assert_eq(drv_status(), 0x3);
	drv_accept(VIRTIO_FEATURE_VERSION_1 | 1ull << 5);
	cr_assert_eq(drv_status(), 0x3);
	drv_accept(VIRTIO_FEATURE_VERSION_1 | 1ull << 40);
	cr_assert_eq(drv_status(), 0x3);
	drv_set(DRV_DRIVER_SELECT, 2, 4);
	drv_set(DRV_DRIVER_FEATURE, 1, 4);
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	cr_assert_eq(drv_status(), 0x3);
	drv_set(DRV_DRIVER_SELECT, 2, 4);
	drv_set(DRV_DRIVER_FEATURE, 0, 4);
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	cr_assert_eq(drv_status(), 0xb);
	/* fixed from now on */
	drv_set(DRV_DRIVER_FEATURE, 0, 4);
	cr_assert_eq(virtio_pci_features(dev), VIRTIO_FEATURE_VERSION_1);
}

Test(virtio_pci, queue_registers_refuse_nonsense)
{
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_set(DRV_QUEUE, 0, 2);
	drv_set(DRV_QUEUE_SIZE, 0, 2);
	drv_set(DRV_QUEUE_SIZE, 512, 2);
	drv_set(DRV_QUEUE_SIZE, 100, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_SIZE, 2), 256u);
	drv_set(DRV_QUEUE_VECTOR, 3, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_VECTOR, 2), 0xffffu);
	drv_set(DRV_QUEUE, 2, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_SIZE, 2), 0u);
	drv_set(DRV_QUEUE_SIZE, 64, 2);
	drv_set(DRV_QUEUE_DESC, 0x1000, 8);
	drv_set(DRV_QUEUE_ENABLE, 1, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u);
	drv_set(DRV_QUEUE, 0xffff, 2);
	drv_set(DRV_QUEUE_ENABLE, 1, 2);
	cr_assert_eq(drv_status(), 0xb);
}

Test(virtio_pci, enabled_queue_is_fixed)
{
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_queue(0, -1);
	drv_set(DRV_QUEUE_SIZE, 64, 2);
	drv_set(DRV_QUEUE_DESC, 0x5000, 8);
	drv_set(DRV_QUEUE_ENABLE, 0, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_SIZE, 2), 256u);
	cr_assert_eq(drv_get(DRV_QUEUE_DESC, 8), 0x100000u);
	cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 1u);
}

Test(virtio_pci, queue_is_not_enabled_before_features_ok)
{
	drv_set(DRV_STATUS, 3, 1);
	drv_queue(0, -1);
	cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u);
}

Test(virtio_pci, bad_ring_addresses_need_a_reset)
{
	static const struct {
		uint32_t reg;
		uint64_t addr;
	} bad[] = {
		{DRV_QUEUE_DESC, 0x100008},
		{DRV_QUEUE_DRIVER, 0x100001},
		{DRV_QUEUE_DEVICE, 0x100002},
		{DRV_QUEUE_DESC, UINT64_MAX & ~15ull},
		{DRV_QUEUE_DESC, (1ull << FAKE_PHYS_BITS) - 16},
		{DRV_QUEUE_DEVICE, 1ull << 63},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		drv_set(DRV_STATUS, 0, 1);
		drv_accept(VIRTIO_FEATURE_VERSION_1);
		drv_set(bad[i].reg, bad[i].addr, 8);
		drv_set(DRV_QUEUE_ENABLE, 1, 2);
		cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u, "row %zu", i);
		cr_assert_eq(drv_status(), 0x4b, "row %zu", i);
	}
}

Test(virtio_pci, packed_ring_takes_any_size)
{
	struct virtio_pci_queue q;

	drv_accept(OFFERED);
	drv_set(DRV_QUEUE, 0, 2);
	drv_set(DRV_QUEUE_SIZE, 100, 2);
	drv_queue(0, -1);
	drv_ready();
	cr_assert(virtio_pci_take_queue(dev, &q));
	cr_assert_eq(q.size, 100u);
}

Test(virtio_pci, odd_size_without_packed_ring_is_refused_at_enable)
{
	/* the size is set while RING_PACKED seems accepted, then it is not */
	drv_set(DRV_STATUS, 3, 1);
	drv_set(DRV_DRIVER_SELECT, 1, 4);
	drv_set(DRV_DRIVER_FEATURE, OFFERED >> 32, 4);
	drv_set(DRV_QUEUE_SIZE, 100, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_SIZE, 2), 100u);
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_queue(0, -1);
	cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u);
	cr_assert_eq(drv_status(), 0x4b);
}

Test(virtio_pci, late_queue_is_started)
{
	struct virtio_pci_queue q;

	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_queue(0, -1);
	drv_ready();
	cr_assert(virtio_pci_take_queue(dev, &q));
	drv_queue(1, -1);
	cr_assert_eq(starts, 2u);
	cr_assert(virtio_pci_take_queue(dev, &q));
	cr_assert_eq(q.index, 1u);
	cr_assert_eq(fake.num_bells, 2u);
}

Test(virtio_pci, reset_waits_for_the_device)
{
	struct virtio_pci_queue q;

	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_msix(true, false);
	drv_vector(1, 0x55);
	drv_queue(0, 1);
	drv_ready();
	cr_assert(virtio_pci_take_queue(dev, &q));
	reset_at_once = false;
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0xf);
	cr_assert_eq(fake.num_bells, 0u);
	/* nothing counts until the device has answered */
	drv_set(DRV_STATUS, 1, 1);
	drv_set(DRV_QUEUE, 1, 2);
	cr_assert_eq(drv_status(), 0xf);
	cr_assert_eq(drv_get(DRV_QUEUE, 2), 0u);
	cr_assert_not(virtio_pci_take_queue(dev, &q));
	virtio_pci_needs_reset(dev, "too late");
	cr_assert_eq(drv_status(), 0xf);
	virtio_pci_reset_done(dev);
	cr_assert_eq(drv_status(), 0);
	drv_set(DRV_QUEUE, 0, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_ENABLE, 2), 0u);
	cr_assert_eq(drv_get(DRV_QUEUE_VECTOR, 2), 0xffffu);
	cr_assert_eq(drv_get(DRV_QUEUE_DESC, 8), 0u);
	cr_assert_eq(virtio_pci_features(dev), 0u);
	/* what the old driver left pending does not reach the new one */
	fake_write_eventfd(q.call_fd);
	drv_set(DRV_STATUS, 0, 1);
	virtio_pci_reset_done(dev);
	drv_set(DRV_QUEUE_VECTOR, 1, 2);
	cr_assert_eq(fake.num_fired, 0u);
}

Test(virtio_pci, doorbells_follow_the_bar)
{
	struct virtio_pci_queue q;
	const uint64_t to = LAYOUT_MMIO32 + VIRTIO_PCI_NOTIFY;

	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_queue(1, -1);
	drv_ready();
	cr_assert(virtio_pci_take_queue(dev, &q));
	cr_assert_eq(fake.num_bells, 1u);
	cr_assert(fake_has_bell(FAKE_NOTIFY + 4, q.kick_fd));
	cfg_write(FAKE_SLOT, 4, 0, 2);
	cr_assert_eq(fake.num_bells, 0u);
	cfg_write(FAKE_SLOT, 0x10, (uint32_t)LAYOUT_MMIO32, 4);
	cfg_write(FAKE_SLOT, 0x14, 0, 4);
	cfg_write(FAKE_SLOT, 4, 2, 2);
	cr_assert_eq(fake.num_bells, 1u);
	cr_assert(fake_has_bell(to + 4, q.kick_fd));
}

Test(virtio_pci, trapped_kick_reaches_the_device)
{
	struct virtio_pci_queue q;

	fake.bell_error = -ENOSPC;
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_queue(1, -1);
	drv_ready();
	cr_assert(virtio_pci_take_queue(dev, &q));
	cr_assert_eq(fake.num_bells, 0u);
	mem_write(FAKE_NOTIFY + 4, 1, 2);
	mem_write(FAKE_NOTIFY + 6, 1, 2);
	mem_write(FAKE_NOTIFY + 4 * 64, 64, 2);
	cr_assert_eq(fake_read_eventfd(q.kick_fd), 1u);
}

Test(virtio_pci, needs_reset_interrupts_once)
{
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_msix(true, false);
	drv_vector(0, 0x66);
	drv_set(DRV_CONFIG_VECTOR, 0, 2);
	drv_ready();
	virtio_pci_needs_reset(dev, "a test");
	virtio_pci_needs_reset(dev, "a test");
	cr_assert_eq(drv_status(), 0x4f);
	fake_poll();
	cr_assert_eq(fake.num_fired, 1u);
	cr_assert_eq(fake.fired[0].data, 0x66u);
	cr_assert_eq(drv_get(VIRTIO_PCI_ISR, 1), 2u);
	cr_assert_eq(drv_get(VIRTIO_PCI_ISR, 1), 0u);
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_status(), 0);
}

Test(virtio_pci, config_change_bumps_generation_and_interrupts)
{
	uint8_t config[60] = {[0] = 9};

	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_ready();
	cr_assert_eq(drv_get(DRV_GENERATION, 1), 0u);
	cr_assert_eq(virtio_pci_set_config(dev, config, 59), -EBADMSG);
	cr_assert_eq(drv_get(DRV_GENERATION, 1), 0u);
	cr_assert_eq(virtio_pci_set_config(dev, config, 60), 0);
	cr_assert_eq(drv_get(DRV_GENERATION, 1), 1u);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE, 8), 9u);
	cr_assert_eq(drv_get(VIRTIO_PCI_ISR, 1), 2u);
}

Test(virtio_pci, config_reads_end_with_the_config)
{
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE, 8), 0x1000u);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE + 56, 8), 0x77000000u);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE + 60, 4), 0u);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE + 0xff8, 8), 0u);
}

Test(virtio_pci, config_write_is_forwarded_and_writeback_cached)
{
	/* no driver: ignored */
	drv_set(VIRTIO_PCI_DEVICE + 32, 0, 1);
	cr_assert_eq(writes, 0u);
	drv_accept(VIRTIO_FEATURE_VERSION_1 | 1ull << 11);
	drv_ready();
	drv_set(VIRTIO_PCI_DEVICE + 32, 0, 1);
	cr_assert_eq(writes, 1u);
	cr_assert_eq(write_off, 32u);
	cr_assert_eq(write_len, 1u);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE + 32, 1), 0u);
	/* read-only field: the driver sees no change */
	drv_set(VIRTIO_PCI_DEVICE, 0x55, 8);
	cr_assert_eq(writes, 2u);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE, 8), 0x1000u);
	/* beyond the end */
	drv_set(VIRTIO_PCI_DEVICE + 56, 0, 8);
	cr_assert_eq(writes, 2u);
	/* a reset undoes it */
	drv_set(DRV_STATUS, 0, 1);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE + 32, 1), 1u);
	cr_assert_eq(drv_get(DRV_GENERATION, 1), 1u);
}

Test(virtio_pci, writeback_is_read_only_unless_negotiated)
{
	drv_accept(VIRTIO_FEATURE_VERSION_1);
	drv_set(VIRTIO_PCI_DEVICE + 32, 0, 1);
	cr_assert_eq(drv_get(VIRTIO_PCI_DEVICE + 32, 1), 1u);
}

/* The window in configuration space, as firmware uses it. */
Test(virtio_pci, pci_access_capability)
{
	unsigned int cap = cfg_read(FAKE_SLOT, 0x34, 1);

	while (cap && cfg_read(FAKE_SLOT, cap + 3, 1) != 5)
		cap = cfg_read(FAKE_SLOT, cap + 1, 1);
	cr_assert(cap);
	cfg_write(FAKE_SLOT, cap + 8, DRV_NUM_QUEUES, 4);
	cfg_write(FAKE_SLOT, cap + 12, 2, 4);
	cr_assert_eq(cfg_read(FAKE_SLOT, cap + 16, 2), 2u);
	cfg_write(FAKE_SLOT, cap + 8, DRV_STATUS, 4);
	cfg_write(FAKE_SLOT, cap + 12, 1, 4);
	cfg_write(FAKE_SLOT, cap + 16, 3, 1);
	cr_assert_eq(drv_status(), 3);
	cr_assert_eq(cfg_read(FAKE_SLOT, cap + 16, 1), 3u);
	/* outside of the BAR, odd lengths, another BAR: nothing happens */
	cfg_write(FAKE_SLOT, cap + 8, VIRTIO_PCI_BAR_SIZE, 4);
	cfg_write(FAKE_SLOT, cap + 16, 0, 4);
	cfg_write(FAKE_SLOT, cap + 8, DRV_STATUS, 4);
	cfg_write(FAKE_SLOT, cap + 12, 3, 4);
	cfg_write(FAKE_SLOT, cap + 16, 0, 4);
	cfg_write(FAKE_SLOT, cap + 12, 0, 4);
	cfg_write(FAKE_SLOT, cap + 16, 0, 4);
	cfg_write(FAKE_SLOT, cap + 12, 1, 4);
	cfg_write(FAKE_SLOT, cap + 4, 1, 1);
	cfg_write(FAKE_SLOT, cap + 16, 0, 4);
	cr_assert_eq(drv_status(), 3);
}

Test(virtio_pci, accesses_of_another_width_are_ignored)
{
	drv_set(DRV_STATUS, 1, 4);
	cr_assert_eq(drv_status(), 0);
	drv_set(DRV_QUEUE, 1, 4);
	cr_assert_eq(drv_get(DRV_QUEUE, 2), 0u);
	drv_set(DRV_QUEUE_DESC, 0x12, 2);
	cr_assert_eq(drv_get(DRV_QUEUE_DESC, 8), 0u);
}

Test(virtio_pci, window_without_room_is_an_error)
{
	const struct virtio_pci_info info = {.virtio_id = 4,
					     .features = OFFERED,
					     .num_queues = 1,
					     .max_queue_size = 1};
	struct virtio_pci *v;
	struct err e = {0};

	fake.vm.mmio64_size = 4 * VIRTIO_PCI_BAR_ALIGN;
	cr_assert_eq(virtio_pci_new(&fake.vm, 4, &info, &ops, NULL, &v, &e),
		     -ENOSPC);
	cr_assert_eq(virtio_pci_new(&fake.vm, 0, &info, &ops, NULL, &v, &e),
		     -EINVAL);
	cr_assert_eq(
		virtio_pci_new(&fake.vm, FAKE_SLOT, &info, &ops, NULL, &v, &e),
		-EEXIST);
}
