/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"
#include "dev-blk/blk_config.h"

static Bulkhead__BlkSetup blk;
static Bulkhead__DeviceSetup setup;
static struct blk_disk disk;
static struct blk_config config;
static struct err err;

static void prepare(void)
{
	bulkhead__blk_setup__init(&blk);
	bulkhead__device_setup__init(&setup);
	blk.size = 16 * MIB;
	blk.sparse = true;
	blk.logical_block = 512;
	blk.physical_block = 4096;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_BLK;
	setup.blk = &blk;
}

static int make(void)
{
	return blk_config_make(&setup, &disk, &config, &err);
}

static bool offers(unsigned int bit)
{
	return config.features & (1ULL << bit);
}

TestSuite(blk_config_make, .init = prepare);

Test(blk_config_make, lays_fields_out_as_linux_reads_them)
{
	struct virtio_blk_config c;

	blk.min_io = 8192;
	blk.opt_io = 65536;
	setup.num_queues = 4;
	setup.queue_size = 256;
	cr_assert_eq(make(), 0);
	memcpy(&c, config.space, sizeof(config.space));
	cr_assert_eq(c.capacity, 32768);
	cr_assert_eq(c.seg_max, 254);
	cr_assert_eq(c.blk_size, 512);
	cr_assert_eq(c.physical_block_exp, 3);
	cr_assert_eq(c.alignment_offset, 0);
	cr_assert_eq(c.min_io_size, 16);
	cr_assert_eq(c.opt_io_size, 128);
	cr_assert_eq(c.wce, 1);
	cr_assert_eq(c.num_queues, 4);
	cr_assert_eq(c.max_discard_sectors, BLK_DISCARD_SECTORS);
	cr_assert_eq(c.max_discard_seg, BLK_MAX_SEGS);
	cr_assert_eq(c.discard_sector_alignment, 8);
	cr_assert_eq(c.max_write_zeroes_sectors, BLK_ZEROES_SECTORS);
	cr_assert_eq(c.max_write_zeroes_seg, BLK_MAX_SEGS);
	cr_assert_eq(c.write_zeroes_may_unmap, 1);
	cr_assert(offers(VIRTIO_BLK_F_MQ));
}

Test(blk_config_make, offers_by_kind_of_disk)
{
	cr_assert_eq(make(), 0);
	cr_assert(offers(VIRTIO_BLK_F_DISCARD));
	cr_assert(offers(VIRTIO_BLK_F_FLUSH));
	cr_assert(offers(VIRTIO_BLK_F_CONFIG_WCE));
	cr_assert_not(offers(VIRTIO_BLK_F_RO));
	cr_assert_not(offers(VIRTIO_BLK_F_MQ));
	blk.sparse = false;
	cr_assert_eq(make(), 0);
	cr_assert_not(offers(VIRTIO_BLK_F_DISCARD));
	cr_assert(offers(VIRTIO_BLK_F_WRITE_ZEROES));
	cr_assert_eq(config.space[56], 0);
	blk.readonly = true;
	blk.sparse = true;
	cr_assert_eq(make(), 0);
	cr_assert(offers(VIRTIO_BLK_F_RO));
	cr_assert_not(offers(VIRTIO_BLK_F_DISCARD));
	cr_assert_not(offers(VIRTIO_BLK_F_WRITE_ZEROES));
}

Test(blk_config_make, rounds_capacity_down)
{
	blk.size = 4096 + 1023;
	cr_assert_eq(make(), 0);
	cr_assert_eq(disk.size, 4096 + 512);
	blk.direct = true;
	blk.logical_block = 4096;
	cr_assert_eq(make(), 0);
	cr_assert_eq(disk.size, 4096);
	cr_assert_eq(get_le32(config.space + 20), 4096);
	blk.size = 4095;
	cr_assert_eq(make(), -EINVAL);
}

Test(blk_config_make, refuses_impossible_setups)
{
	uint8_t serial[21] = {0};

	blk.size = 511;
	cr_assert_eq(make(), -EINVAL);
	blk.size = UINT64_MAX;
	cr_assert_eq(make(), -EINVAL);
	blk.size = MIB;
	setup.num_queues = BLK_QUEUES_MAX + 1;
	cr_assert_eq(make(), -EINVAL);
	setup.num_queues = 1;
	setup.queue_size = 100;
	cr_assert_eq(make(), -EINVAL);
	setup.queue_size = 65536;
	cr_assert_eq(make(), -EINVAL);
	setup.queue_size = 4;
	cr_assert_eq(make(), 0);
	cr_assert_eq(config.seg_max, 2);
	blk.serial.data = serial;
	blk.serial.len = 21;
	cr_assert_eq(make(), -EINVAL);
	blk.serial.len = 20;
	cr_assert_eq(make(), 0);
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND__NOT_SET;
	cr_assert_eq(make(), -EINVAL);
}

Test(blk_config_make, survives_odd_host_sizes)
{
	static const uint32_t odd[] = {0, 1, 3, 511, 513, 131072, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		blk.logical_block = odd[i];
		blk.physical_block = odd[i];
		blk.min_io = odd[i];
		blk.opt_io = odd[i];
		blk.dma_alignment = odd[i];
		cr_assert_eq(make(), 0);
		cr_assert_eq(disk.block, 512);
		cr_assert(is_pow2(disk.mem_align) && disk.mem_align <= 4096);
	}
}
