/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_VIRTIO_PCI_H
#define VMM_CORE_VIRTIO_PCI_H

/*
 * The virtio-pci transport, modern only: the guest driver's side of a device.
 * The device's side is device_link.h, reached through struct virtio_pci_ops.
 *
 * BAR 0 (512 KiB, 64-bit):  0x0000 common configuration   0x2000 ISR status
 *   0x4000 device configuration   0x6000 notify, 4 bytes a queue
 *   0x8000 MSI-X table            0x48000 MSI-X pending bits
 *
 * device_status, driver's writes x what they do:
 *
 *   ACKNOWLEDGE, DRIVER  stored
 *   FEATURES_OK  needs both; stored only if the accepted features are a
 *                subset of the offered ones and contain VERSION_1. From then
 *                on features are fixed and queues may be set up.
 *   DRIVER_OK    needs FEATURES_OK; the link starts the enabled queues and
 *                their doorbells go in
 *   FAILED       stored
 *   0            reset: doorbells out, then the device must answer before
 *                the status reads 0. Until then it reads as before and
 *                everything written is ignored.
 *   clearing some bits, or bits out of order: ignored, logged
 *   NEEDS_RESET  is the device's; written ones are ignored
 *
 * Queue addresses are guest-physical and go to the device as they are; here
 * only alignment, overflow and the physical limit are checked, when the queue
 * is enabled. A queue that fails stays disabled and the device needs a reset.
 *
 * Device configuration reads come from a cache. Writes are handed to the link
 * without waiting; the cache takes them over only for fields that the
 * specification makes writable (block: writeback). A reset restores what the
 * device said last.
 *
 * There is no INTx: without MSI-X a driver must poll. The ISR register holds
 * the configuration bit only, since queue interrupts never pass through here.
 *
 * All under the machine lock. Spec: virtio 1.2, 2.1, 3.1, 4.1
 */

#include <stdbool.h>
#include <stdint.h>

#include "vmm-core/vm.h"

#define VIRTIO_PCI_CONFIG_MAX 256 /* bytes */
#define VIRTIO_PCI_QUEUES_MAX 64
#define VIRTIO_PCI_SIZE_MAX   32768

#define VIRTIO_PCI_BAR_SIZE  0x80000u
#define VIRTIO_PCI_BAR_ALIGN 0x800000u /* else Windows moves the BARs */
#define VIRTIO_PCI_COMMON    0x0u
#define VIRTIO_PCI_ISR	     0x2000u
#define VIRTIO_PCI_DEVICE    0x4000u
#define VIRTIO_PCI_NOTIFY    0x6000u
#define VIRTIO_PCI_TABLE     0x8000u
#define VIRTIO_PCI_PBA	     0x48000u

#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER	  0x02u
#define VIRTIO_STATUS_DRIVER_OK	  0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED	  0x80u

#define VIRTIO_FEATURE_VERSION_1   (1ULL << 32)
#define VIRTIO_FEATURE_RING_PACKED (1ULL << 34)

struct virtio_pci;

/* What the device is; checked by the caller against the limits above. */
struct virtio_pci_info {
	uint32_t virtio_id; /* 1 to 63 */
	uint64_t features;  /* contain VERSION_1 */
	uint32_t num_queues;
	uint32_t max_queue_size; /* power of two */
	const uint8_t *config;
	uint32_t config_len;
};

struct virtio_pci_queue {
	uint32_t index;
	uint32_t size;
	uint64_t desc;
	uint64_t driver;
	uint64_t device;
	int kick_fd; /* the transport's, as call_fd */
	int call_fd;
};

/* The link. Called under the machine lock, from vCPU threads. */
struct virtio_pci_ops {
	/* virtio_pci_take_queue() has something to start. */
	void (*start)(void *opaque);
	/* Return: true if the device has nothing to forget, so that the reset
	 * is complete; else virtio_pci_reset_done() follows. */
	bool (*reset)(void *opaque);
	/* The driver wrote; 1, 2, 4 or 8 bytes within the config space. */
	void (*config_write)(void *opaque, uint32_t offset, const uint8_t *data,
			     uint32_t len);
};

/** virtio_pci_new() - Make the function and plug it in at @slot, 1 to 31 */
int virtio_pci_new(struct vm *vm, unsigned int slot,
		   const struct virtio_pci_info *info,
		   const struct virtio_pci_ops *ops, void *opaque,
		   struct virtio_pci **ret, struct err *e);
void virtio_pci_free(struct virtio_pci *v); /* NULL allowed; unplugs */

/** virtio_pci_features() - What the driver accepted */
uint64_t virtio_pci_features(const struct virtio_pci *v);

/** virtio_pci_take_queue() - The next enabled queue not yet handed out;
 *  Return: false if there is none or the driver is not ready */
bool virtio_pci_take_queue(struct virtio_pci *v, struct virtio_pci_queue *ret);

/** virtio_pci_taken_queue() - Queue @index, if it was handed out */
bool virtio_pci_taken_queue(const struct virtio_pci *v, uint32_t index,
			    struct virtio_pci_queue *ret);

/** virtio_pci_reset_done() - The device has answered: status reads 0 */
void virtio_pci_reset_done(struct virtio_pci *v);

/** virtio_pci_needs_reset() - Tell the driver that the device is stuck */
void virtio_pci_needs_reset(struct virtio_pci *v, const char *why);

/** virtio_pci_set_config() - The device changed its config space;
 *  Return: 0, or -EBADMSG if the size is another */
int virtio_pci_set_config(struct virtio_pci *v, const uint8_t *config,
			  uint64_t len);

#endif
