/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_REQUEST_H
#define VMM_CORE_LOADER_REQUEST_H

/*
 * The broker's Load message -> a checked boot_config; the one place where the
 * message is judged. Strings stay in the message, which must live on.
 */

#include "common/virtio/gmem.h"
#include "proto/loader.pb-c.h"
#include "vmm-core/loader/x86_64/boot.h"

struct request {
	struct gmem_desc memory[GMEM_MAX_REGIONS];
	unsigned int num_memory;
	unsigned int num_memfds; /* the kernel's descriptor comes after these */
	bool has_initramfs;
	struct boot_config boot; /* without memory and images */
};

/** request_parse() - Return: 0 or -EINVAL */
int request_parse(const Bulkhead__Load *load, struct request *ret,
		  struct err *e);

#endif
