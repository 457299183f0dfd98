/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/smbios.h"

#include <ctype.h>
#include <errno.h>

#include "common/base/num.h"
#include "vmm-core/loader/buf.h"

#define SMBIOS_ENTRY_SIZE    24
#define SMBIOS_MAX_STRINGS   8 /* of one structure with named fields */
#define SMBIOS_UUID_SIZE     16
#define SMBIOS_VIRTUAL	     0x10 /* BIOS extension byte 2: "is a VM" */
#define SMBIOS_UNSUPPORTED   0x08 /* BIOS characteristics: none of the list */
#define SMBIOS_CHASSIS_OTHER 1
#define SMBIOS_STATE_SAFE    3
#define SMBIOS_WAKEUP_POWER  6

struct smbios {
	struct buf out;
	size_t start; /* of the open structure */
	uint16_t handle;
	const char *strings[SMBIOS_MAX_STRINGS];
	unsigned int num_strings;
};

static void smbios_begin(struct smbios *s, uint8_t type)
{
	s->start = s->out.len;
	s->num_strings = 0;
	buf_u8(&s->out, type);
	buf_u8(&s->out, 0); /* length, in smbios_body_end() */
	buf_u16(&s->out, s->handle++);
}

/* A string field: its number in the set that follows, 0 for none. */
static void smbios_string(struct smbios *s, const char *text)
{
	if (!text || !*text) {
		buf_u8(&s->out, 0);
		return;
	}
	check(s->num_strings < SMBIOS_MAX_STRINGS);
	s->strings[s->num_strings++] = text;
	buf_u8(&s->out, s->num_strings);
}

static void smbios_body_end(struct smbios *s)
{
	if (!s->out.full)
		s->out.data[s->start + 1] = (uint8_t)(s->out.len - s->start);
}

/* The string set ends with an empty string; a set of none with two. */
static void smbios_end(struct smbios *s)
{
	smbios_body_end(s);
	for (unsigned int i = 0; i < s->num_strings; i++)
		buf_put(&s->out, s->strings[i], strlen(s->strings[i]) + 1);
	buf_u8(&s->out, 0);
	if (!s->num_strings)
		buf_u8(&s->out, 0);
}

static const char *smbios_or(const char *text, const char *otherwise)
{
	return text && *text ? text : otherwise;
}

static int smbios_hex(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	if (isxdigit((unsigned char)c))
		return tolower((unsigned char)c) - 'a' + 10;
	return -1;
}

/* The first three fields are little-endian (7.2.1). */
static int smbios_parse_uuid(const char *text, uint8_t out[SMBIOS_UUID_SIZE])
{
	static const uint8_t order[SMBIOS_UUID_SIZE] = {
		3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	unsigned int n = 0;

	if (strlen(text) != 36)
		return -EINVAL;
	for (unsigned int i = 0; i < 36;) {
		int hi, lo;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i++] != '-')
				return -EINVAL;
			continue;
		}
		hi = smbios_hex(text[i]);
		lo = smbios_hex(text[i + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		out[order[n++]] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	return 0;
}

static void smbios_add_bios(struct smbios *s)
{
	smbios_begin(s, 0);
	smbios_string(s, "Bulkhead");
	smbios_string(s, BULKHEAD_VERSION);
	buf_u16(&s->out, 0); /* start segment */
	smbios_string(s, "01/01/2024");
	buf_u8(&s->out, 0); /* ROM size */
	buf_u64(&s->out, SMBIOS_UNSUPPORTED);
	buf_u8(&s->out, 0);
	buf_u8(&s->out, SMBIOS_VIRTUAL);
	buf_u32(&s->out, 0xffffffff); /* releases: unknown */
	buf_u16(&s->out, 0);	      /* extended ROM size */
	smbios_end(s);
}

static void smbios_add_system(struct smbios *s, const struct smbios_config *cfg,
			      const uint8_t uuid[SMBIOS_UUID_SIZE])
{
	smbios_begin(s, 1);
	smbios_string(s, smbios_or(cfg->manufacturer, "Bulkhead"));
	smbios_string(s, smbios_or(cfg->product_name, "bulkhead"));
	smbios_string(s, smbios_or(cfg->version, BULKHEAD_VERSION));
	smbios_string(s, cfg->serial_number);
	buf_put(&s->out, uuid, SMBIOS_UUID_SIZE);
	buf_u8(&s->out, SMBIOS_WAKEUP_POWER);
	smbios_string(s, cfg->sku_number);
	smbios_string(s, cfg->family);
	smbios_end(s);
}

static void smbios_add_chassis(struct smbios *s,
			       const struct smbios_config *cfg)
{
	smbios_begin(s, 3);
	smbios_string(s, smbios_or(cfg->manufacturer, "Bulkhead"));
	buf_u8(&s->out, SMBIOS_CHASSIS_OTHER);
	smbios_string(s, NULL); /* version */
	smbios_string(s, NULL); /* serial */
	smbios_string(s, cfg->chassis_asset_tag);
	buf_u8(&s->out, SMBIOS_STATE_SAFE); /* boot-up, power, thermal */
	buf_u8(&s->out, SMBIOS_STATE_SAFE);
	buf_u8(&s->out, SMBIOS_STATE_SAFE);
	buf_u8(&s->out, 2);	/* security: unknown */
	buf_u32(&s->out, 0);	/* OEM */
	buf_u8(&s->out, 0);	/* height */
	buf_u8(&s->out, 0);	/* power cords */
	buf_u8(&s->out, 0);	/* contained elements: number */
	buf_u8(&s->out, 0);	/* ... and size */
	smbios_string(s, NULL); /* SKU */
	smbios_end(s);
}

static int smbios_add_oem(struct smbios *s, const struct smbios_config *cfg,
			  struct err *e)
{
	if (!cfg->num_oem_strings)
		return 0;
	if (cfg->num_oem_strings > SMBIOS_MAX_OEM_STRINGS)
		return err_set(
			e, -EINVAL,
			"SMBIOS: %zu OEM strings, at most %d are possible",
			cfg->num_oem_strings, SMBIOS_MAX_OEM_STRINGS);
	smbios_begin(s, 11);
	buf_u8(&s->out, (uint8_t)cfg->num_oem_strings);
	smbios_body_end(s);
	for (size_t i = 0; i < cfg->num_oem_strings; i++) {
		const char *text = cfg->oem_strings[i];

		if (!text || !*text)
			return err_set(e, -EINVAL,
				       "SMBIOS: OEM string %zu is empty, which "
				       "would end the list",
				       i + 1);
		buf_put(&s->out, text, strlen(text) + 1);
	}
	buf_u8(&s->out, 0);
	return 0;
}

/* DSP0134 5.2.2 */
static void smbios_put_entry(uint8_t *p, gpa_t tables, uint32_t len)
{
	memcpy(p, "_SM3_", 5);
	p[6] = SMBIOS_ENTRY_SIZE;
	p[7] = 3; /* version 3.2 */
	p[8] = 2;
	p[10] = 1; /* entry point revision */
	put_le32(p + 12, len);
	put_le64(p + 16, tables);
	p[5] = buf_checksum(p, SMBIOS_ENTRY_SIZE);
}

int smbios_build(const struct smbios_config *cfg, gpa_t gpa, void *data,
		 size_t size, struct err *e)
{
	uint8_t uuid[SMBIOS_UUID_SIZE] = {0};
	struct smbios s = {0};
	uint64_t tables = align_up(SMBIOS_ENTRY_SIZE, 16);
	int r;

	if (cfg->uuid && *cfg->uuid && smbios_parse_uuid(cfg->uuid, uuid) < 0)
		return err_set(e, -EINVAL,
			       "SMBIOS: uuid \"%.64s\" is not of the form "
			       "01234567-89ab-cdef-0123-456789abcdef",
			       cfg->uuid);
	buf_init(&s.out, data, size);
	buf_add(&s.out, tables);
	smbios_add_bios(&s);
	smbios_add_system(&s, cfg, uuid);
	smbios_add_chassis(&s, cfg);
	r = smbios_add_oem(&s, cfg, e);
	if (r < 0)
		return r;
	smbios_begin(&s, 127);
	smbios_end(&s);
	if (s.out.full)
		return err_set(e, -ENOSPC,
			       "SMBIOS: the strings of --platform are longer "
			       "than the %zu KiB that the tables may have",
			       size / (size_t)KIB);
	smbios_put_entry(s.out.data, gpa + tables,
			 (uint32_t)(s.out.len - tables));
	return (int)s.out.len;
}
