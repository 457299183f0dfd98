/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_VIRTIO_PCI_INTERNAL_H
#define VMM_CORE_VIRTIO_PCI_INTERNAL_H

/* Shared by virtio_pci.c (the registers in BAR 0) and virtio_pci_function.c
 * (the PCI function around them) only. */

#include "common/base/log.h"
#include "vmm-core/msix.h"
#include "vmm-core/pci.h"
#include "vmm-core/virtio_pci.h"
#include "vmm-core/virtio_pci_queues.h"

#define VIRTIO_PCI_REGION_SIZE 0x1000u /* as announced, each */
#define VIRTIO_PCI_COMMON_SIZE 56u     /* no RING_RESET, no queue data */

struct virtio_pci {
	struct vm *vm;
	unsigned int slot;
	const struct virtio_pci_ops *ops;
	void *opaque;
	struct pci_function function;
	struct msix msix; /* source i: queue i; the last: config change */
	struct vqs vqs;
	uint32_t virtio_id;
	bool attached;
	unsigned int cfg_cap;
	uint64_t bar; /* PCI_BAR_NOWHERE while not decoded */

	uint8_t status;
	bool resetting; /* the device has not answered yet */
	uint8_t isr;
	uint8_t generation;
	uint64_t offered;
	uint64_t accepted;
	bool accepted_unknown; /* bits 64 and up */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;

	uint32_t config_len;
	uint8_t config[VIRTIO_PCI_CONFIG_MAX]; /* as the driver sees it */
	uint8_t config_device[VIRTIO_PCI_CONFIG_MAX]; /* as told last */
	struct log_limit log;
};

/** virtio_pci_settle_doorbells() - After a change of status or BAR */
void virtio_pci_settle_doorbells(struct virtio_pci *v);

/* BAR 0; [off, off + len) lies within it, len is 1, 2, 4 or 8 */
void virtio_pci_bar_read(void *opaque, uint64_t off, uint8_t *data,
			 uint32_t len);
void virtio_pci_bar_write(void *opaque, uint64_t off, const uint8_t *data,
			  uint32_t len);

#endif
