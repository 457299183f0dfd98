/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bzImages. The fuzzer writes the setup header's fields over a good one and
 * chooses the file's length; an odd first byte leaves the whole file to it.
 */

#include <string.h>

#include "common/base/endian.h"
#include "tests/fuzz/loader_fuzz.h"

#define HEADER	     0x1f1
#define HEADER_FIELD 0x80 /* bytes that the fuzzer sets */
#define FILE_MAX     16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void good_header(uint8_t *h)
{
	h[0x1f1] = 1;
	put_le32(h + 0x1f4, 4096 / 16);
	h[0x201] = 0x6a;
	memcpy(h + 0x202, "HdrS", 4);
	put_le16(h + 0x206, 0x20f);
	h[0x211] = 1;
	put_le32(h + 0x22c, 0x7fffffff);
	put_le32(h + 0x230, 0x200000);
	put_le16(h + 0x236, 1);
	put_le32(h + 0x238, 2047);
	put_le64(h + 0x258, 0x1000000);
	put_le32(h + 0x260, 0x200000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[FILE_MAX];
	size_t len;

	if (size < 3)
		return 0;
	if (data[0] & 1) {
		loader_fuzz_load(data + 1, size - 1);
		return 0;
	}
	memset(file, 0, sizeof(file));
	good_header(file);
	len = get_le16(data + 1) % FILE_MAX;
	/* pairs of (field offset, value) */
	for (size_t i = 3; i + 1 < size; i += 2) {
		if (data[i] < HEADER_FIELD)
			file[HEADER + data[i]] = data[i + 1];
	}
	memcpy(file + 0x202, "HdrS", 4);
	loader_fuzz_load(file, len);
	return 0;
}
