/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/smbios.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/endian.h"

#define GPA 0xf0000

static uint8_t data[65536];
static struct err e;

/* The structure of a type: walk as a guest does. */
static const uint8_t *find(uint8_t type)
{
	const uint8_t *p = data + (get_le64(data + 16) - GPA);
	const uint8_t *end = p + get_le32(data + 12);

	while (p < end) {
		if (p[0] == type)
			return p;
		p += p[1];
		while (p[0] || p[1])
			p++;
		p += 2;
	}
	cr_assert_eq(p, end);
	return NULL;
}

static const char *string(const uint8_t *s, unsigned int field)
{
	const char *p = (const char *)s + s[1];

	if (!s[field])
		return "";
	for (unsigned int i = 1; i < s[field]; i++)
		p += strlen(p) + 1;
	return p;
}

Test(smbios_build, has_defaults)
{
	struct smbios_config cfg = {0};
	uint8_t sum = 0, zero[16] = {0};
	int len = smbios_build(&cfg, GPA, data, sizeof(data), &e);

	cr_assert_gt(len, 0);
	cr_assert_arr_eq(data, "_SM3_", 5);
	for (int i = 0; i < 24; i++)
		sum = (uint8_t)(sum + data[i]);
	cr_assert_eq(sum, 0);
	cr_assert_eq(get_le32(data + 12) + 32, (unsigned int)len);
	cr_assert_str_eq(string(find(1), 4), "Bulkhead");
	cr_assert_str_eq(string(find(1), 5), "bulkhead");
	cr_assert_str_eq(string(find(1), 7), "");
	cr_assert_arr_eq(find(1) + 8, zero, 16);
	cr_assert(find(0)[0x13] & 0x10, "says that it is a virtual machine");
	cr_assert(find(3) && find(127) && !find(11));
}

Test(smbios_build, takes_the_platform_strings)
{
	char one[] = "io.systemd.credential:a=b", two[] = "two";
	char *oem[] = {one, two};
	struct smbios_config cfg = {
		.manufacturer = "M",
		.product_name = "P",
		.version = "V",
		.serial_number = "ds=nocloud",
		.uuid = "00112233-4455-6677-8899-AABBCCDDEEFF",
		.sku_number = "K",
		.family = "F",
		.chassis_asset_tag = "T",
		.oem_strings = oem,
		.num_oem_strings = 2,
	};
	static const uint8_t uuid[] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44,
				       0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb,
				       0xcc, 0xdd, 0xee, 0xff};

	cr_assert_gt(smbios_build(&cfg, GPA, data, sizeof(data), &e), 0);
	cr_assert_str_eq(string(find(1), 7), "ds=nocloud");
	cr_assert_str_eq(string(find(1), 0x19), "K");
	cr_assert_str_eq(string(find(1), 0x1a), "F");
	cr_assert_arr_eq(find(1) + 8, uuid, 16);
	cr_assert_str_eq(string(find(3), 8), "T");
	cr_assert_eq(find(11)[4], 2);
	cr_assert_str_eq((const char *)find(11) + 5, one);
	cr_assert_str_eq((const char *)find(11) + 5 + sizeof(one), two);
}

Test(smbios_build, refuses_what_is_malformed)
{
	static char big[70000], empty[] = "";
	char *oem[] = {empty};
	static const char *const uuids[] = {
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"0011223344556677-8899-aabbccddeeff----",
		"0011223g-4455-6677-8899-aabbccddeeff",
		"00112233-4455-6677+8899-aabbccddeeff",
	};
	struct smbios_config cfg = {0};

	for (size_t i = 0; i < sizeof(uuids) / sizeof(uuids[0]); i++) {
		cfg.uuid = uuids[i];
		cr_expect_eq(smbios_build(&cfg, GPA, data, sizeof(data), &e),
			     -EINVAL);
		cr_expect(strstr(e.text, "uuid"));
	}
	cfg.uuid = NULL;
	cfg.oem_strings = oem;
	cfg.num_oem_strings = 1;
	cr_expect_eq(smbios_build(&cfg, GPA, data, sizeof(data), &e), -EINVAL);
	cfg.num_oem_strings = 256;
	cr_expect_eq(smbios_build(&cfg, GPA, data, sizeof(data), &e), -EINVAL);
	cfg.num_oem_strings = 0;
	memset(big, 'x', sizeof(big) - 1);
	cfg.family = big;
	cr_expect_eq(smbios_build(&cfg, GPA, data, sizeof(data), &e), -ENOSPC);
}
