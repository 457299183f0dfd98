/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/loader_fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/loader/x86_64/boot.h"

#define RAM_SIZE (64 * MIB)
#define GUARD	 MIB

struct bytes {
	const uint8_t *data;
	uint64_t size;
};

static int bytes_read(void *ctx, void *dst, uint64_t len, uint64_t off)
{
	const struct bytes *b = ctx;

	/* image.c has checked; a read past the end is a fault of ours. */
	check(range_ok(off, len, b->size));
	memcpy(dst, b->data + off, len);
	return 0;
}

/* Private memory given back after each round reads as zero again. */
static uint8_t *ram_get(void)
{
	static uint8_t *ram;

	if (!ram) {
		uint8_t *p = mmap(NULL, RAM_SIZE + 2 * GUARD, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				  -1, 0);

		check(p != MAP_FAILED);
		ram = p + GUARD;
		check(!mprotect(ram, RAM_SIZE, PROT_READ | PROT_WRITE));
	}
	check(!madvise(ram, RAM_SIZE, MADV_DONTNEED));
	return ram;
}

static void check_entry(const struct boot_entry *entry)
{
	check(entry->rip >= LAYOUT_HIGH_RAM && entry->rip < RAM_SIZE);
	check(entry->format);
	check(!entry->long_mode == !entry->cr3);
}

void loader_fuzz_load(const uint8_t *kernel, size_t size)
{
	struct bytes bytes = {kernel, size};
	struct image img = {bytes_read, &bytes, size, "kernel"};
	struct image ramdisk = {bytes_read, &bytes, size, "initramfs"};
	struct gmem mem = {.num_regions = 1};
	struct boot_config cfg = {.mem = &mem, .kernel = &img, .cmdline = "x"};
	struct boot_entry entry;
	struct err e = {0};
	int r;

	mem.regions[0].size = RAM_SIZE;
	mem.regions[0].hva = ram_get();
	cfg.cmdline_len = 1;
	cfg.initramfs = size & 1 ? &ramdisk : NULL;
	check(!topology_init(&cfg.acpi.topology, 1, 0, 0, 0, 0, NULL));
	cfg.acpi.boot_cpus = 1;
	r = boot_load(&cfg, &entry, &e);
	if (r == 0)
		check_entry(&entry);
	else
		check(r < 0 && e.text[0]); /* an error is a sentence */
}
