/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A guest driver that does anything to a device's registers, with a device
 * that answers anything, late or never. The fakes check that every eventfd is
 * attached and every doorbell registered exactly once, and that nobody waits
 * under the machine lock.
 *
 * Input: records of 8 bytes: what, size, offset (2), value (4).
 */

#include <stdint.h>

#include "common/base/log.h"
#include "tests/unit/vmm-core/pci_fakes.h"

static const uint32_t bases[] = {
	VIRTIO_PCI_COMMON, VIRTIO_PCI_ISR,   VIRTIO_PCI_DEVICE,
	VIRTIO_PCI_NOTIFY, VIRTIO_PCI_TABLE, VIRTIO_PCI_PBA,
};

static void add_device(void)
{
	static uint8_t config[37];
	Bulkhead__DeviceInfo info = BULKHEAD__DEVICE_INFO__INIT;
	Bulkhead__AddDevice add;
	struct err e = {0};

	bulkhead__add_device__init(&add);
	info.virtio_id = 2;
	info.features =
		VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_RING_PACKED | 0xffff;
	info.num_queues = 4;
	info.max_queue_size = 64;
	info.config.data = config;
	info.config.len = sizeof(config);
	add.slot = FAKE_SLOT;
	add.info = &info;
	check(!device_link_add(&fake.vm, &add, &e));
}

static void answer(const uint8_t *p)
{
	unsigned int i = get_le16(p + 2);

	if (i < fake.num_sent && fake.sent[i].done)
		fake_answer(i, p[4] & 1 ? -5 : 0);
}

static void event(uint8_t *p)
{
	Bulkhead__DeviceRelay relay = BULKHEAD__DEVICE_RELAY__INIT;
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__ConfigChanged changed = BULKHEAD__CONFIG_CHANGED__INIT;
	Bulkhead__NeedsReset needs;
	uint8_t config[64] = {p[4]};
	struct err e = {0};

	bulkhead__needs_reset__init(&needs);
	relay.body = &body;
	if (p[2] & 1) {
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONFIG_CHANGED;
		body.config_changed = &changed;
		changed.config.data = config;
		changed.config.len = p[5] & 1 ? 37 : p[5] % sizeof(config);
	} else {
		body.kind_case = BULKHEAD__DEVICE_BODY__KIND_NEEDS_RESET;
		body.needs_reset = &needs;
	}
	device_link_event(&fake.vm, &relay, &e);
}

static void one_step(uint8_t *p)
{
	uint32_t len = 1u << (p[1] & 3);
	uint32_t base = bases[(p[1] >> 2) % 6];
	uint64_t off = base + get_le16(p + 2) % 0x1400;
	uint64_t val = get_le32(p + 4);

	switch (p[0] & 15) {
	case 0:
	case 1:
		drv_set((uint32_t)off, val | val << 32, len);
		break;
	case 2:
		drv_get((uint32_t)off, len);
		break;
	case 3:
		drv_set(p[2] % 64 & ~(len - 1), val, len);
		break;
	case 4:
		drv_set(DRV_STATUS, val, 1);
		break;
	case 5:
		drv_accept(VIRTIO_FEATURE_VERSION_1 |
			   (val & 1 ? VIRTIO_FEATURE_RING_PACKED : 0));
		break;
	case 6:
		drv_queue(p[2] % 5, p[3] % 8 - 1);
		break;
	case 7:
		drv_ready();
		break;
	case 8:
		fake_run();
		break;
	case 9:
	case 10:
		answer(p);
		break;
	case 11:
		event(p);
		break;
	case 12:
		drv_msix(val & 1, val & 2);
		break;
	case 13:
		drv_vector(p[2] % 5, (uint32_t)val);
		break;
	case 14:
		cfg_write(FAKE_SLOT, PCI_REG_COMMAND, (uint32_t)val, 2);
		break;
	default:
		fake.send_error = val & 1 ? -11 : 0;
		fake.bell_error = val & 2 ? -28 : 0;
		fake.commit_error = val & 4 ? -28 : 0;
		fake.post_error = val & 8 ? -11 : 0;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t step[8];

	log_set_level(LOG_ERROR);
	fake_start();
	add_device();
	drv_decode();
	for (size_t i = 0; i + 8 <= size && i < 8 * 512; i += 8) {
		memcpy(step, data + i, sizeof(step));
		one_step(step);
	}
	fake_stop();
	check(fake.num_bells == 0);
	for (unsigned int i = 0; i < FAKE_GSIS; i++)
		check(fake.gsi[i].fd < 0);
	return 0;
}
