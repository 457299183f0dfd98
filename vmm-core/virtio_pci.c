/* SPDX-License-Identifier: Apache-2.0 */

/* The registers in BAR 0, and the link's calls. */

#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "vmm-core/virtio_pci_internal.h"

#define STATUS_DRIVER_BITS                                                     \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |                    \
	 VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK |                 \
	 VIRTIO_STATUS_FAILED)

#define ISR_CONFIG 0x02u

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

static bool virtio_pci_is_packed(const struct virtio_pci *v)
{
	return v->accepted & VIRTIO_FEATURE_RING_PACKED;
}

static unsigned int virtio_pci_config_source(const struct virtio_pci *v)
{
	return v->vqs.num;
}

void virtio_pci_settle_doorbells(struct virtio_pci *v)
{
	bool in = v->bar != PCI_BAR_NOWHERE && !v->resetting &&
		  (v->status & VIRTIO_STATUS_DRIVER_OK);

	vqs_settle_doorbells(&v->vqs, in ? v->bar + VIRTIO_PCI_NOTIFY : 0);
}

static void virtio_pci_interrupt_config(struct virtio_pci *v)
{
	if (!(v->status & VIRTIO_STATUS_DRIVER_OK) || v->resetting)
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

void virtio_pci_bar_read(void *opaque, uint64_t off, uint8_t *data,
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

void virtio_pci_bar_write(void *opaque, uint64_t off, const uint8_t *data,
			  uint32_t len)
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

/*
 * The link's side
 */

uint64_t virtio_pci_features(const struct virtio_pci *v)
{
	return v->accepted;
}

bool virtio_pci_taken_queue(const struct virtio_pci *v, uint32_t index,
			    struct virtio_pci_queue *ret)
{
	const struct vq *q;

	if (index >= v->vqs.num)
		return false;
	q = &v->vqs.q[index];
	if (!q->enabled || !q->taken)
		return false;
	*ret = (struct virtio_pci_queue){
		.index = index,
		.size = q->size,
		.desc = q->desc,
		.driver = q->driver,
		.device = q->device,
		.kick_fd = q->kick_fd,
		.call_fd = msix_source_fd(&v->msix, index),
	};
	return true;
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
		return virtio_pci_taken_queue(v, i, ret);
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
