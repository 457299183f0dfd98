/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_ENDIAN_H
#define COMMON_BASE_ENDIAN_H

/*
 * Little-endian memory images (virtio, ACPI, PCI, boot protocols): fields of
 * type le16/le32/le64 are stored little-endian; put_/get_ work at any
 * alignment.
 */

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t le16;
typedef uint32_t le32;
typedef uint64_t le64;

#define ENDIAN_ACCESSORS(bits)                                                 \
	static inline uint##bits##_t get_le##bits(const void *p)               \
	{                                                                      \
		uint##bits##_t v;                                              \
                                                                               \
		memcpy(&v, p, sizeof(v));                                      \
		return le##bits##toh(v);                                       \
	}                                                                      \
	static inline void put_le##bits(void *p, uint##bits##_t v)             \
	{                                                                      \
		v = htole##bits(v);                                            \
		memcpy(p, &v, sizeof(v));                                      \
	}

ENDIAN_ACCESSORS(16)
ENDIAN_ACCESSORS(32)
ENDIAN_ACCESSORS(64)

#endif
