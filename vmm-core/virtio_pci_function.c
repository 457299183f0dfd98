/* SPDX-License-Identifier: Apache-2.0 */

/* The PCI function: identity, capabilities, BAR; making and freeing. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "vmm-core/virtio_pci_internal.h"

#define VIRTIO_PCI_VENDOR      0x1af4u
#define VIRTIO_PCI_DEVICE_BASE 0x1040u
#define VIRTIO_PCI_REVISION    1u

/* What this transport does not do: SR_IOV, NOTIFICATION_DATA,
 * NOTIF_CONFIG_DATA, RING_RESET, ADMIN_VQ. */
#define FEATURES_REFUSED (0x1fULL << 37)

/* struct virtio_pci_cap's cfg_type */
enum {
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
	CAP_PCI_ACCESS = 5,
};

/* struct virtio_pci_cfg_cap, from the capability's id */
#define CFG_CAP_BAR    4u
#define CFG_CAP_OFFSET 8u
#define CFG_CAP_LENGTH 12u
#define CFG_CAP_DATA   16u

static const struct bus_ops virtio_pci_bar_ops = {
	.read = virtio_pci_bar_read,
	.write = virtio_pci_bar_write,
};

/*
 * PCI configuration space. The PCI access capability is a window into the BAR
 * for firmware that can't map it. Spec: 4.1.4.9
 */

static bool virtio_pci_window(const struct virtio_pci *v, uint32_t *ret_off,
			      uint32_t *ret_len)
{
	const uint8_t *cap = v->function.config + v->cfg_cap;
	uint32_t off = get_le32(cap + CFG_CAP_OFFSET);
	uint32_t len = get_le32(cap + CFG_CAP_LENGTH);

	if (cap[CFG_CAP_BAR] != 0 || (len != 1 && len != 2 && len != 4) ||
	    off % len || !range_ok(off, len, VIRTIO_PCI_BAR_SIZE))
		return false;
	*ret_off = off;
	*ret_len = len;
	return true;
}

static void virtio_pci_config_read(void *opaque, uint32_t off, uint32_t len)
{
	struct virtio_pci *v = opaque;
	uint8_t *data = v->function.config + v->cfg_cap + CFG_CAP_DATA;
	uint32_t bar_off, bar_len;

	if (ranges_overlap(off, len, v->cfg_cap + CFG_CAP_DATA, 4) &&
	    virtio_pci_window(v, &bar_off, &bar_len))
		virtio_pci_bar_read(v, bar_off, data, bar_len);
}

static void virtio_pci_config_written(void *opaque, uint32_t off, uint32_t len)
{
	struct virtio_pci *v = opaque;
	uint8_t *data = v->function.config + v->cfg_cap + CFG_CAP_DATA;
	uint32_t bar_off, bar_len;

	msix_config_written(&v->msix, off, len);
	if (ranges_overlap(off, len, v->cfg_cap + CFG_CAP_DATA, 4) &&
	    virtio_pci_window(v, &bar_off, &bar_len))
		virtio_pci_bar_write(v, bar_off, data, bar_len);
}

static void virtio_pci_bar_moved(void *opaque, unsigned int bar, uint64_t addr)
{
	struct virtio_pci *v = opaque;

	(void)bar;
	v->bar = addr;
	virtio_pci_settle_doorbells(v);
}

static const struct pci_function_ops virtio_pci_function_ops = {
	.config_read = virtio_pci_config_read,
	.config_written = virtio_pci_config_written,
	.bar_moved = virtio_pci_bar_moved,
};

static uint32_t virtio_pci_class(uint32_t virtio_id)
{
	static const struct {
		uint32_t virtio_id;
		uint32_t class_code;
	} classes[] = {
		{1, 0x020000},	/* net: Ethernet */
		{2, 0x018000},	/* block: other mass storage */
		{3, 0x078000},	/* console: other communication */
		{8, 0x010000},	/* SCSI host */
		{16, 0x038000}, /* GPU: other display */
		{19, 0x028000}, /* vsock: other network */
		{26, 0x018000}, /* fs: other mass storage */
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (classes[i].virtio_id == virtio_id)
			return classes[i].class_code;
	}
	return 0xff0000; /* fits no class */
}

/* One struct virtio_pci_cap; @extra: what follows it, a dword or NULL */
static int virtio_pci_add_cap(struct virtio_pci *v, uint8_t type,
			      uint32_t offset, uint32_t length,
			      const uint32_t *extra, struct err *e)
{
	static const uint8_t window_mask[18] = {
		[CFG_CAP_BAR - 2] = 0xff,
		[CFG_CAP_OFFSET - 2] = 0xff,
		0xff,
		0xff,
		0xff,
		[CFG_CAP_LENGTH - 2] = 0xff,
		0xff,
		0xff,
		0xff,
		[CFG_CAP_DATA - 2] = 0xff,
		0xff,
		0xff,
		0xff,
	};
	uint8_t body[18] = {0};
	size_t len = extra ? 18 : 14;

	body[0] = (uint8_t)(len + 2);
	body[1] = type;
	put_le32(body + CFG_CAP_OFFSET - 2, offset);
	put_le32(body + CFG_CAP_LENGTH - 2, length);
	if (extra)
		put_le32(body + CFG_CAP_DATA - 2, *extra);
	return pci_function_add_cap(&v->function, PCI_CAP_ID_VENDOR, body, len,
				    type == CAP_PCI_ACCESS ? window_mask : NULL,
				    e);
}

static int virtio_pci_add_caps(struct virtio_pci *v, struct err *e)
{
	static const uint32_t multiplier = NOTIFY_MULTIPLIER;
	static const uint32_t no_data;
	const uint32_t size = VIRTIO_PCI_REGION_SIZE;
	int r;

	r = virtio_pci_add_cap(v, CAP_COMMON, VIRTIO_PCI_COMMON,
			       VIRTIO_PCI_COMMON_SIZE, NULL, e);
	if (r >= 0)
		r = virtio_pci_add_cap(v, CAP_ISR, VIRTIO_PCI_ISR, 1, NULL, e);
	if (r >= 0)
		r = virtio_pci_add_cap(v, CAP_DEVICE, VIRTIO_PCI_DEVICE, size,
				       NULL, e);
	if (r >= 0)
		r = virtio_pci_add_cap(v, CAP_NOTIFY, VIRTIO_PCI_NOTIFY, size,
				       &multiplier, e);
	if (r >= 0)
		r = virtio_pci_add_cap(v, CAP_PCI_ACCESS, 0, 0, &no_data, e);
	if (r < 0)
		return r;
	v->cfg_cap = (unsigned int)r;
	return 0;
}

/* BARs have fixed places by slot, so that a machine's addresses don't depend
 * on what else is plugged in. */
static int virtio_pci_set_bar(struct virtio_pci *v, struct err *e)
{
	uint64_t first = align_up(v->vm->mmio64_base, VIRTIO_PCI_BAR_ALIGN);
	uint64_t addr = first + (uint64_t)v->slot * VIRTIO_PCI_BAR_ALIGN;

	if (addr - v->vm->mmio64_base + VIRTIO_PCI_BAR_SIZE >
	    v->vm->mmio64_size)
		return err_set(e, -ENOSPC,
			       "the PCI window of %llu bytes at 0x%llx has no "
			       "room for slot %u: allow the guest more "
			       "physical address bits or less memory",
			       (unsigned long long)v->vm->mmio64_size,
			       (unsigned long long)v->vm->mmio64_base, v->slot);
	pci_function_set_bar(&v->function, 0, VIRTIO_PCI_BAR_SIZE, true, addr,
			     &virtio_pci_bar_ops);
	return 0;
}

static int virtio_pci_build(struct virtio_pci *v,
			    const struct virtio_pci_info *info, struct err *e)
{
	uint16_t device = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + info->virtio_id);
	const struct pci_ids ids = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = device,
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = device,
		.class_code = virtio_pci_class(info->virtio_id),
		.revision = VIRTIO_PCI_REVISION,
	};
	int r;

	pci_function_init(&v->function, &ids, &virtio_pci_function_ops, v);
	r = virtio_pci_set_bar(v, e);
	if (r >= 0)
		r = virtio_pci_add_caps(v, e);
	if (r >= 0)
		r = vqs_init(&v->vqs, v->vm, v->slot, info->num_queues,
			     info->max_queue_size, e);
	if (r >= 0)
		r = msix_init(&v->msix, v->vm, &v->function, v->slot,
			      info->num_queues + 1, info->num_queues + 1, 0,
			      VIRTIO_PCI_TABLE, VIRTIO_PCI_PBA, e);
	if (r >= 0)
		r = pci_attach(v->vm->pci, v->slot, &v->function, e);
	if (r >= 0)
		v->attached = true;
	return r;
}

int virtio_pci_new(struct vm *vm, unsigned int slot,
		   const struct virtio_pci_info *info,
		   const struct virtio_pci_ops *ops, void *opaque,
		   struct virtio_pci **ret, struct err *e)
{
	struct virtio_pci *v;
	int r;

	check(info->num_queues <= VIRTIO_PCI_QUEUES_MAX);
	check(info->config_len <= VIRTIO_PCI_CONFIG_MAX);
	if (slot == 0 || slot > 31)
		return err_set(e, -EINVAL,
			       "PCI slot %u is not a device's, use 1 to 31",
			       slot);
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, -ENOMEM, "no memory for a PCI device");
	v->vm = vm;
	v->slot = slot;
	v->ops = ops;
	v->opaque = opaque;
	v->virtio_id = info->virtio_id;
	v->offered = info->features & ~FEATURES_REFUSED;
	v->bar = PCI_BAR_NOWHERE;
	v->config_vector = MSIX_NO_VECTOR;
	v->config_len = info->config_len;
	v->log = (struct log_limit)LOG_LIMIT_INIT(8);
	if (info->config_len) {
		memcpy(v->config, info->config, info->config_len);
		memcpy(v->config_device, info->config, info->config_len);
	}
	r = virtio_pci_build(v, info, e);
	if (r < 0) {
		virtio_pci_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

void virtio_pci_free(struct virtio_pci *v)
{
	if (!v)
		return;
	if (v->attached)
		pci_detach(v->vm->pci, &v->function);
	msix_done(&v->msix);
	vqs_done(&v->vqs);
	free(v);
}
