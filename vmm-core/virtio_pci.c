/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/virtio_pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "vmm-core/msix.h"
#include "vmm-core/pci.h"
#include "vmm-core/virtio_pci_queues.h"

#define VIRTIO_PCI_VENDOR      0x1af4u
#define VIRTIO_PCI_DEVICE_BASE 0x1040u
#define VIRTIO_PCI_REVISION    1u
#define VIRTIO_PCI_REGION_SIZE 0x1000u /* as announced, each */
#define VIRTIO_PCI_COMMON_SIZE 56u

#define STATUS_DRIVER_BITS                                                     \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |                    \
	 VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK |                 \
	 VIRTIO_STATUS_FAILED)

#define ISR_CONFIG 0x02u

/* What this transport does not do: SR_IOV, NOTIFICATION_DATA,
 * NOTIF_CONFIG_DATA, RING_RESET, ADMIN_VQ. */
#define FEATURES_REFUSED (0x1fULL << 37)

#define BLK_ID		  2u
#define BLK_F_CONFIG_WCE  (1ULL << 11)
#define BLK_CFG_WRITEBACK 32u

/* struct virtio_pci_common_cfg */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_MSIX_VECTOR = 0x10,
	COMMON_NUM_QUEUES = 0x12,
	COMMON_DEVICE_STATUS = 0x14,
	COMMON_CONFIG_GENERATION = 0x15,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_MSIX_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,
	COMMON_QUEUE_DRIVER = 0x28,
	COMMON_QUEUE_DEVICE = 0x30,
};

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

static bool virtio_pci_is_packed(const struct virtio_pci *v)
{
	return v->accepted & VIRTIO_FEATURE_RING_PACKED;
}

static unsigned int virtio_pci_config_source(const struct virtio_pci *v)
{
	return v->vqs.num;
}

static void virtio_pci_settle_doorbells(struct virtio_pci *v)
{
	bool in = v->bar != PCI_BAR_NOWHERE && !v->resetting &&
		  (v->status & VIRTIO_STATUS_DRIVER_OK);

	vqs_settle_doorbells(&v->vqs, in ? v->bar + VIRTIO_PCI_NOTIFY : 0);
}

static void virtio_pci_interrupt_config(struct virtio_pci *v)
{
	if (!(v->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	v->isr |= ISR_CONFIG;
	msix_signal(&v->msix, virtio_pci_config_source(v));
}

/*
 * Device status
 */

static void virtio_pci_reset(struct virtio_pci *v)
{
	v->resetting = true;
	virtio_pci_settle_doorbells(v);
	if (v->ops->reset(v->opaque))
		virtio_pci_reset_done(v);
}

void virtio_pci_reset_done(struct virtio_pci *v)
{
	v->resetting = false;
	v->status = 0;
	v->isr = 0;
	v->accepted = 0;
	v->accepted_unknown = false;
	v->device_feature_select = 0;
	v->driver_feature_select = 0;
	v->queue_select = 0;
	v->config_vector = MSIX_NO_VECTOR;
	virtio_pci_settle_doorbells(v);
	vqs_reset(&v->vqs);
	msix_reset_sources(&v->msix);
	if (memcmp(v->config, v->config_device, v->config_len)) {
		memcpy(v->config, v->config_device, v->config_len);
		v->generation++;
	}
}

static bool virtio_pci_features_ok(const struct virtio_pci *v)
{
	return !(v->accepted & ~v->offered) && !v->accepted_unknown &&
	       (v->accepted & VIRTIO_FEATURE_VERSION_1);
}

/* Which of @val's bits may join @old? Spec: 3.1.1 */
static uint8_t virtio_pci_next_status(const struct virtio_pci *v, uint8_t old,
				      uint8_t val)
{
	unsigned int next =
		old |
		(val & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_FAILED));

	if (next & VIRTIO_STATUS_ACKNOWLEDGE)
		next |= val & VIRTIO_STATUS_DRIVER;
	if ((next & VIRTIO_STATUS_DRIVER) && virtio_pci_features_ok(v))
		next |= val & VIRTIO_STATUS_FEATURES_OK;
	if (next & VIRTIO_STATUS_FEATURES_OK)
		next |= val & VIRTIO_STATUS_DRIVER_OK;
	return (uint8_t)next;
}

static void virtio_pci_write_status(struct virtio_pci *v, uint8_t val)
{
	uint8_t old = v->status & STATUS_DRIVER_BITS;
	uint8_t next;

	if (v->resetting)
		return;
	if (val == 0) {
		virtio_pci_reset(v);
		return;
	}
	val &= STATUS_DRIVER_BITS;
	next = old & ~val ? old : virtio_pci_next_status(v, old, val);
	if (next != val)
		log_limited(&v->log, LOG_WARN,
			    "00:%02x.0: device status 0x%02x refused, it "
			    "stays 0x%02x (accepted 0x%llx of 0x%llx)",
			    v->slot, val, next, (unsigned long long)v->accepted,
			    (unsigned long long)v->offered);
	v->status = next | (v->status & VIRTIO_STATUS_NEEDS_RESET);
	if (~old & next & VIRTIO_STATUS_DRIVER_OK) {
		virtio_pci_settle_doorbells(v);
		v->ops->start(v->opaque);
	}
}

/* While the device is still busy with a reset, the driver's polling also lets
 * the link try again what it could not send. */
static uint8_t virtio_pci_read_status(struct virtio_pci *v)
{
	if (v->resetting && v->ops->reset(v->opaque))
		virtio_pci_reset_done(v);
	return v->status;
}

void virtio_pci_needs_reset(struct virtio_pci *v, const char *why)
{
	if (v->resetting || !v->status ||
	    (v->status & VIRTIO_STATUS_NEEDS_RESET))
		return;
	log_limited(&v->log, LOG_WARN, "00:%02x.0: device needs a reset: %s",
		    v->slot, why);
	v->status |= VIRTIO_STATUS_NEEDS_RESET;
	virtio_pci_interrupt_config(v);
}

/*
 * Common configuration
 */

static uint32_t virtio_pci_half(uint64_t v, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(v >> 32 * select);
}

static struct vq *virtio_pci_selected(struct virtio_pci *v)
{
	return v->queue_select < v->vqs.num ? &v->vqs.q[v->queue_select] : NULL;
}

static void virtio_pci_common_image(struct virtio_pci *v, uint8_t *p)
{
	const struct vq *q = virtio_pci_selected(v);

	memset(p, 0, VIRTIO_PCI_COMMON_SIZE);
	put_le32(p + COMMON_DEVICE_FEATURE_SELECT, v->device_feature_select);
	put_le32(p + COMMON_DEVICE_FEATURE,
		 virtio_pci_half(v->offered, v->device_feature_select));
	put_le32(p + COMMON_DRIVER_FEATURE_SELECT, v->driver_feature_select);
	put_le32(p + COMMON_DRIVER_FEATURE,
		 virtio_pci_half(v->accepted, v->driver_feature_select));
	put_le16(p + COMMON_CONFIG_MSIX_VECTOR, v->config_vector);
	put_le16(p + COMMON_NUM_QUEUES, (uint16_t)v->vqs.num);
	p[COMMON_DEVICE_STATUS] = v->status;
	p[COMMON_CONFIG_GENERATION] = v->generation;
	put_le16(p + COMMON_QUEUE_SELECT, v->queue_select);
	put_le16(p + COMMON_QUEUE_MSIX_VECTOR, MSIX_NO_VECTOR);
	if (!q)
		return;
	put_le16(p + COMMON_QUEUE_SIZE, q->size);
	put_le16(p + COMMON_QUEUE_MSIX_VECTOR, q->msix_vector);
	put_le16(p + COMMON_QUEUE_ENABLE, q->enabled);
	put_le16(p + COMMON_QUEUE_NOTIFY_OFF, v->queue_select);
	put_le64(p + COMMON_QUEUE_DESC, q->desc);
	put_le64(p + COMMON_QUEUE_DRIVER, q->driver);
	put_le64(p + COMMON_QUEUE_DEVICE, q->device);
}

static void virtio_pci_read_common(struct virtio_pci *v, uint32_t off,
				   uint8_t *data, uint32_t len)
{
	uint8_t image[VIRTIO_PCI_COMMON_SIZE];

	if (!range_ok(off, len, sizeof(image)))
		return;
	if (ranges_overlap(off, len, COMMON_DEVICE_STATUS, 1))
		virtio_pci_read_status(v);
	virtio_pci_common_image(v, image);
	memcpy(data, image + off, len);
}

static void virtio_pci_write_features(struct virtio_pci *v, uint32_t val)
{
	uint32_t select = v->driver_feature_select;
	uint32_t shift = 32 * (select & 1);

	if (v->status & VIRTIO_STATUS_FEATURES_OK)
		return;
	if (select > 1) {
		v->accepted_unknown = val != 0;
		return;
	}
	v->accepted &= ~(0xffffffffULL << shift);
	v->accepted |= (uint64_t)val << shift;
}

static void virtio_pci_enable_queue(struct virtio_pci *v, struct vq *q)
{
	const char *wrong;

	if (!(v->status & VIRTIO_STATUS_FEATURES_OK) || q->enabled)
		return;
	wrong = vqs_check(&v->vqs, q, virtio_pci_is_packed(v));
	if (wrong) {
		virtio_pci_needs_reset(v, wrong);
		return;
	}
	q->enabled = true;
	if (v->status & VIRTIO_STATUS_DRIVER_OK) {
		virtio_pci_settle_doorbells(v);
		v->ops->start(v->opaque);
	}
}

/* A 64-bit register takes its two halves or all of it. */
static void virtio_pci_write_address(uint64_t *reg, uint32_t off, uint64_t val,
				     uint32_t len)
{
	uint32_t shift = off % 8 * 8;

	if (len == 8) {
		*reg = val;
	} else if (len == 4) {
		*reg &= ~(0xffffffffULL << shift);
		*reg |= val << shift;
	}
}

/* Ring size and place are fixed once the queue is enabled. */
static void virtio_pci_write_ring(struct virtio_pci *v, struct vq *q,
				  uint32_t off, uint64_t val, uint32_t len)
{
	if (q->enabled)
		return;
	switch (off & ~7u) {
	case COMMON_QUEUE_DESC:
		virtio_pci_write_address(&q->desc, off, val, len);
		break;
	case COMMON_QUEUE_DRIVER:
		virtio_pci_write_address(&q->driver, off, val, len);
		break;
	case COMMON_QUEUE_DEVICE:
		virtio_pci_write_address(&q->device, off, val, len);
		break;
	default:
		if (off == COMMON_QUEUE_SIZE && len == 2)
			vqs_set_size(&v->vqs, q, (uint16_t)val,
				     virtio_pci_is_packed(v));
	}
}

static void virtio_pci_write_queue(struct virtio_pci *v, uint32_t off,
				   uint64_t val, uint32_t len)
{
	struct vq *q = virtio_pci_selected(v);

	if (!q)
		return;
	if (off == COMMON_QUEUE_MSIX_VECTOR && len == 2)
		q->msix_vector = msix_set_vector(&v->msix, v->queue_select,
						 (uint16_t)val);
	else if (off == COMMON_QUEUE_ENABLE && len == 2 && val == 1)
		virtio_pci_enable_queue(v, q);
	else
		virtio_pci_write_ring(v, q, off, val, len);
}

/* Accesses have their field's width; 64-bit fields take dwords too. */
static void virtio_pci_write_common(struct virtio_pci *v, uint32_t off,
				    const uint8_t *data, uint32_t len)
{
	uint8_t bytes[8] = {0};
	uint64_t val;

	if (len > sizeof(bytes) || off % len)
		return;
	memcpy(bytes, data, len);
	val = get_le64(bytes);
	if (off == COMMON_DEVICE_STATUS && len == 1)
		virtio_pci_write_status(v, (uint8_t)val);
	else if (v->resetting)
		return;
	else if (off == COMMON_DEVICE_FEATURE_SELECT && len == 4)
		v->device_feature_select = (uint32_t)val;
	else if (off == COMMON_DRIVER_FEATURE_SELECT && len == 4)
		v->driver_feature_select = (uint32_t)val;
	else if (off == COMMON_DRIVER_FEATURE && len == 4)
		virtio_pci_write_features(v, (uint32_t)val);
	else if (off == COMMON_CONFIG_MSIX_VECTOR && len == 2)
		v->config_vector = msix_set_vector(
			&v->msix, virtio_pci_config_source(v), (uint16_t)val);
	else if (off == COMMON_QUEUE_SELECT && len == 2)
		v->queue_select = (uint16_t)val;
	else
		virtio_pci_write_queue(v, off, val, len);
}

/*
 * The other regions
 */

static void virtio_pci_read_isr(struct virtio_pci *v, uint32_t off,
				uint8_t *data, uint32_t len)
{
	(void)len;
	if (off)
		return;
	data[0] = v->isr;
	v->isr = 0;
}

static void virtio_pci_read_config(struct virtio_pci *v, uint32_t off,
				   uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len && off + i < v->config_len; i++)
		data[i] = v->config[off + i];
}

static bool virtio_pci_is_cached_write(const struct virtio_pci *v, uint32_t off,
				       uint32_t len)
{
	return v->virtio_id == BLK_ID && (v->accepted & BLK_F_CONFIG_WCE) &&
	       off == BLK_CFG_WRITEBACK && len == 1;
}

static void virtio_pci_write_config(struct virtio_pci *v, uint32_t off,
				    const uint8_t *data, uint32_t len)
{
	if (!(v->status & VIRTIO_STATUS_DRIVER) || v->resetting ||
	    !range_ok(off, len, v->config_len))
		return;
	if (virtio_pci_is_cached_write(v, off, len))
		memcpy(v->config + off, data, len);
	v->ops->config_write(v->opaque, off, data, len);
}

static void virtio_pci_write_notify(struct virtio_pci *v, uint32_t off,
				    const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	if (!(off % NOTIFY_MULTIPLIER) && !v->resetting)
		vqs_kick(&v->vqs, off / NOTIFY_MULTIPLIER);
}

static void virtio_pci_read_table(struct virtio_pci *v, uint32_t off,
				  uint8_t *data, uint32_t len)
{
	if (range_ok(off, len, msix_table_size(&v->msix)))
		msix_table_read(&v->msix, off, data, len);
}

static void virtio_pci_write_table(struct virtio_pci *v, uint32_t off,
				   const uint8_t *data, uint32_t len)
{
	if (range_ok(off, len, msix_table_size(&v->msix)))
		msix_table_write(&v->msix, off, data, len);
}

static void virtio_pci_read_pba(struct virtio_pci *v, uint32_t off,
				uint8_t *data, uint32_t len)
{
	if (range_ok(off, len, msix_pba_size(&v->msix)))
		msix_pba_read(&v->msix, off, data, len);
}

typedef void virtio_pci_read_fn(struct virtio_pci *v, uint32_t off,
				uint8_t *data, uint32_t len);
typedef void virtio_pci_write_fn(struct virtio_pci *v, uint32_t off,
				 const uint8_t *data, uint32_t len);

/* The handlers see offsets into their region and zeroed data. */
static const struct {
	uint32_t base;
	uint32_t size;
	virtio_pci_read_fn *read;
	virtio_pci_write_fn *write;
} virtio_pci_regions[] = {
	{VIRTIO_PCI_COMMON, VIRTIO_PCI_REGION_SIZE, virtio_pci_read_common,
	 virtio_pci_write_common},
	{VIRTIO_PCI_NOTIFY, VIRTIO_PCI_REGION_SIZE, NULL,
	 virtio_pci_write_notify},
	{VIRTIO_PCI_ISR, VIRTIO_PCI_REGION_SIZE, virtio_pci_read_isr, NULL},
	{VIRTIO_PCI_DEVICE, VIRTIO_PCI_REGION_SIZE, virtio_pci_read_config,
	 virtio_pci_write_config},
	{VIRTIO_PCI_TABLE, VIRTIO_PCI_PBA - VIRTIO_PCI_TABLE,
	 virtio_pci_read_table, virtio_pci_write_table},
	{VIRTIO_PCI_PBA, VIRTIO_PCI_REGION_SIZE, virtio_pci_read_pba, NULL},
};

static void virtio_pci_bar_read(void *opaque, uint64_t off, uint8_t *data,
				uint32_t len)
{
	struct virtio_pci *v = opaque;

	memset(data, 0, len);
	for (size_t i = 0; i < ARRAY_SIZE(virtio_pci_regions); i++) {
		uint32_t base = virtio_pci_regions[i].base;

		if (off < base || !virtio_pci_regions[i].read ||
		    !range_ok(off - base, len, virtio_pci_regions[i].size))
			continue;
		virtio_pci_regions[i].read(v, (uint32_t)off - base, data, len);
		return;
	}
}

static void virtio_pci_bar_write(void *opaque, uint64_t off,
				 const uint8_t *data, uint32_t len)
{
	struct virtio_pci *v = opaque;

	for (size_t i = 0; i < ARRAY_SIZE(virtio_pci_regions); i++) {
		uint32_t base = virtio_pci_regions[i].base;

		if (off < base || !virtio_pci_regions[i].write ||
		    !range_ok(off - base, len, virtio_pci_regions[i].size))
			continue;
		virtio_pci_regions[i].write(v, (uint32_t)off - base, data, len);
		return;
	}
}

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

/*
 * The link's side
 */

uint64_t virtio_pci_features(const struct virtio_pci *v)
{
	return v->accepted;
}

bool virtio_pci_take_queue(struct virtio_pci *v, struct virtio_pci_queue *ret)
{
	if (v->resetting || !(v->status & VIRTIO_STATUS_DRIVER_OK) ||
	    (v->status & VIRTIO_STATUS_NEEDS_RESET))
		return false;
	for (unsigned int i = 0; i < v->vqs.num; i++) {
		struct vq *q = &v->vqs.q[i];

		if (!q->enabled || q->taken)
			continue;
		q->taken = true;
		*ret = (struct virtio_pci_queue){
			.index = i,
			.size = q->size,
			.desc = q->desc,
			.driver = q->driver,
			.device = q->device,
			.kick_fd = q->kick_fd,
			.call_fd = msix_source_fd(&v->msix, i),
		};
		return true;
	}
	return false;
}

int virtio_pci_set_config(struct virtio_pci *v, const uint8_t *config,
			  uint64_t len)
{
	if (len != v->config_len)
		return -EBADMSG;
	if (len) {
		memcpy(v->config, config, len);
		memcpy(v->config_device, config, len);
	}
	v->generation++;
	virtio_pci_interrupt_config(v);
	return 0;
}
