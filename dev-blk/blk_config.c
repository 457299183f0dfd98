/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-blk/blk_config.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"

#define FEATURE(bit) (1ULL << VIRTIO_BLK_F_##bit)

/* A host's size of something, or @fallback where it makes no sense. */
static uint32_t config_pow2(uint32_t v, uint32_t min, uint32_t max,
			    uint32_t fallback)
{
	return is_pow2(v) && v >= min && v <= max ? v : fallback;
}

static int config_disk(const Bulkhead__BlkSetup *b, struct blk_disk *d,
		       struct err *e)
{
	uint32_t whole = BLK_SECTOR;

	d->readonly = b->readonly;
	d->direct = b->direct;
	d->sparse = b->sparse;
	d->is_block_device = b->is_block_device;
	d->block = config_pow2(b->logical_block, BLK_SECTOR, BLK_BLOCK_MAX,
			       BLK_SECTOR);
	d->mem_align = config_pow2(b->dma_alignment, 1, 4096, d->block);
	if (d->mem_align > 4096)
		d->mem_align = 4096; /* a page suffices for all hosts */
	if (d->direct || d->is_block_device)
		whole = d->block;
	d->size = align_down(b->size, whole);
	if (d->size == 0 || d->size > INT64_MAX)
		return err_set(e, -EINVAL,
			       "A disk of %llu bytes can't be served: it needs "
			       "at least one block of %u bytes",
			       (unsigned long long)b->size, whole);
	if (b->serial.len > BLK_ID_LEN)
		return err_set(e, -EINVAL,
			       "A serial of %zu bytes is too long, "
			       "at most %d",
			       b->serial.len, BLK_ID_LEN);
	memset(d->serial, 0, sizeof(d->serial));
	if (b->serial.len > 0)
		memcpy(d->serial, b->serial.data, b->serial.len);
	d->no_punch = false;
	d->no_zero = false;
	return 0;
}

static int config_queues(const Bulkhead__DeviceSetup *setup,
			 struct blk_config *c, struct err *e)
{
	c->num_queues = setup->num_queues ? setup->num_queues : 1;
	c->queue_size = setup->queue_size ? setup->queue_size : BLK_QUEUE_SIZE;
	if (c->num_queues > BLK_QUEUES_MAX)
		return err_set(e, -EINVAL,
			       "num_queues=%u is too many for a "
			       "disk, at most %d",
			       c->num_queues, BLK_QUEUES_MAX);
	if (!is_pow2(c->queue_size) || c->queue_size < 4 ||
	    c->queue_size > BLK_QUEUE_SIZE_MAX)
		return err_set(e, -EINVAL,
			       "queue_size=%u is not a power of "
			       "two from 4 to %d",
			       c->queue_size, BLK_QUEUE_SIZE_MAX);
	/* Header and status take a descriptor each. */
	c->seg_max = (uint32_t)min_u64(c->queue_size - 2, BLK_SEGS_MAX);
	return 0;
}

static uint64_t config_features(const struct blk_disk *d,
				const struct blk_config *c)
{
	uint64_t f = FEATURE(SEG_MAX) | FEATURE(BLK_SIZE) | FEATURE(TOPOLOGY) |
		     FEATURE(FLUSH) | FEATURE(CONFIG_WCE);

	if (c->num_queues > 1)
		f |= FEATURE(MQ);
	if (d->readonly)
		return f | FEATURE(RO);
	if (d->sparse)
		f |= FEATURE(DISCARD);
	return f | FEATURE(WRITE_ZEROES);
}

/* virtio 1.2, 5.2.4: offsets of struct virtio_blk_config */
static void config_space(const Bulkhead__BlkSetup *b, const struct blk_disk *d,
			 struct blk_config *c)
{
	uint8_t *p = c->space;
	uint32_t phys =
		config_pow2(b->physical_block, d->block, 1U << 30, d->block);
	uint32_t grain = phys / BLK_SECTOR;

	memset(p, 0, sizeof(c->space));
	put_le64(p, d->size >> BLK_SECTOR_BITS);
	put_le32(p + 12, c->seg_max);
	put_le32(p + 20, d->block);
	/* Sizes of the topology count logical blocks. */
	p[24] = (uint8_t)__builtin_ctz(phys / d->block);
	put_le16(p + 26, (uint16_t)min_u64(b->min_io / d->block, UINT16_MAX));
	put_le32(p + 28, b->opt_io / d->block);
	p[BLK_CONFIG_WRITEBACK] = 1;
	put_le16(p + 34, (uint16_t)c->num_queues);
	if (c->features & FEATURE(DISCARD)) {
		put_le32(p + 36, BLK_DISCARD_SECTORS);
		put_le32(p + 40, BLK_MAX_SEGS);
		put_le32(p + 44, grain);
	}
	if (c->features & FEATURE(WRITE_ZEROES)) {
		put_le32(p + 48, BLK_ZEROES_SECTORS);
		put_le32(p + 52, BLK_MAX_SEGS);
		p[56] = d->sparse;
	}
}

int blk_config_make(const Bulkhead__DeviceSetup *setup, struct blk_disk *disk,
		    struct blk_config *ret, struct err *e)
{
	int r;

	if (setup->backend_case != BULKHEAD__DEVICE_SETUP__BACKEND_BLK)
		return err_set(e, -EINVAL,
			       "This process serves disks, not another device");
	r = config_disk(setup->blk, disk, e);
	if (r == 0)
		r = config_queues(setup, ret, e);
	if (r < 0)
		return r;
	ret->features = config_features(disk, ret);
	config_space(setup->blk, disk, ret);
	return 0;
}
