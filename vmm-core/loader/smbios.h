/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_SMBIOS_H
#define VMM_CORE_LOADER_SMBIOS_H

/*
 * SMBIOS 3 entry point and structures (DSP0134): BIOS (0), system (1),
 * chassis (3), OEM strings (11), end (127).
 */

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/virtio/gmem.h"

#define SMBIOS_MAX_OEM_STRINGS 255

/* NULL or "" = the default (for most: absent). */
struct smbios_config {
	const char *manufacturer; /* "Bulkhead" */
	const char *product_name; /* "bulkhead" */
	const char *version;	  /* this release */
	const char *serial_number;
	const char *uuid; /* canonical text; default all zero = not set */
	const char *sku_number;
	const char *family;
	const char *chassis_asset_tag;
	char *const *oem_strings;
	size_t num_oem_strings;
};

/**
 * smbios_build() - Entry point and tables, to lie at @gpa
 *
 * Return: bytes used; -EINVAL a malformed uuid, an empty or too many OEM
 *         strings; -ENOSPC more text than @size holds
 */
int smbios_build(const struct smbios_config *cfg, gpa_t gpa, void *data,
		 size_t size, struct err *e);

#endif
