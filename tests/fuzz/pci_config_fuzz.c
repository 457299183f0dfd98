/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A guest that does anything to PCI configuration space: mechanism 1, ECAM,
 * BARs moved anywhere, decode on and off, accesses of all sizes, the window
 * into the BAR. Two devices, so that BARs can collide.
 *
 * Input: records of 8 bytes: what, slot, offset (2), value (4).
 */

#include <stdint.h>

#include "common/base/log.h"
#include "tests/unit/vmm-core/pci_fakes.h"

static void add_device(unsigned int slot)
{
	Bulkhead__DeviceInfo info = BULKHEAD__DEVICE_INFO__INIT;
	Bulkhead__AddDevice add;
	struct err e = {0};

	bulkhead__add_device__init(&add);
	info.virtio_id = 4;
	info.features = VIRTIO_FEATURE_VERSION_1;
	info.num_queues = 2;
	info.max_queue_size = 16;
	add.device = slot;
	add.slot = slot;
	add.info = &info;
	check(!device_link_add(&fake.vm, &add, &e));
}

static void one_access(const uint8_t *p)
{
	uint32_t len = 1u << (p[0] >> 4 & 3);
	unsigned int slot = p[1] % 8;
	unsigned int off = get_le16(p + 2) % 4096;
	uint32_t val = get_le32(p + 4);

	switch (p[0] & 7) {
	case 0:
		cfg_write(slot, off % 256, val, len);
		break;
	case 1:
		cfg_read(slot, off, len);
		break;
	case 2:
		port_write((uint16_t)(PORT_PCI_ADDR + off % 8), val, len);
		break;
	case 3:
		port_read((uint16_t)(PORT_PCI_ADDR + off % 8), len);
		break;
	case 4:
		port_write(PORT_PCI_ADDR, 0x80000000u | val, 4);
		break;
	case 5: /* a BAR somewhere plausible */
		cfg_write(slot, 0x14, val & 1, 4);
		cfg_write(slot, 0x10, val & 0xfff80000, 4);
		break;
	case 6:
		cfg_write(slot, PCI_REG_COMMAND, val, 2);
		break;
	default:
		mem_write((uint64_t)(val & 1) << 32 | (val & 0xfff80000) | off,
			  val, len);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_set_level(LOG_ERROR);
	fake_start();
	add_device(1);
	add_device(2);
	for (size_t i = 0; i + 8 <= size && i < 8 * 512; i += 8)
		one_access(data + i);
	check(cfg_read(1, 0, 4) == 0x10441af4u);
	fake_stop();
	check(fake.num_bells == 0);
	return 0;
}
