/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ACPI and SMBIOS as an operating system without a VMM's knowledge reads them.
 * Words: cpus= (processors in the MADT), serial=1 (COM1 is described).
 *
 * Spec: ACPI 6.5, 5.2; DSP0134, 5.2.2
 */

#include "platform/platform.h"

#define RSDP	   0xa0000u
#define TABLES_END 0xf0000u
#define SMBIOS	   0xf0000u
#define ECAM	   0xe8000000u

#define MADT_LOCAL_APIC	  0
#define MADT_IOAPIC	  1
#define MADT_LOCAL_X2APIC 9

#define FADT_TMR_VAL_EXT (1u << 8)
#define FADT_RESET_REG	 (1u << 10)
#define FADT_HW_REDUCED	 (1u << 20)

#define CPUS_MAX 256

static uint64_t ids[CPUS_MAX]; /* of the MADT's processors */

static bool sums_to_zero(const uint8_t *p, uint32_t len)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return !sum;
}

/* A table, if it lies where tables may and its checksum is right. */
static const uint8_t *table_at(uint64_t addr)
{
	const uint8_t *t = at(addr);

	if (addr < RSDP || addr + 36 > TABLES_END ||
	    addr + field32(t + 4) > TABLES_END) {
		expect("ACPI: a table outside its place", addr, 0);
		return NULL;
	}
	expect_true("ACPI: a table's checksum",
		    sums_to_zero(t, field32(t + 4)));
	return t;
}

/* One more, or NULL: @index counts those of the signature. */
static const uint8_t *table_find(const char *signature)
{
	const uint8_t *rsdp = at(guest_boot.rsdp);
	const uint8_t *xsdt = table_at(field64(rsdp + 24));

	for (uint32_t i = 36; xsdt && i < field32(xsdt + 4); i += 8) {
		const uint8_t *t = table_at(field64(xsdt + i));

		if (t && !memcmp(t, signature, 4))
			return t;
	}
	expect_true(signature, false);
	return NULL;
}

static void expect_gas(const char *what, const uint8_t *gas, uint8_t bits,
		       uint64_t port)
{
	expect(what, gas[0], 1); /* I/O space */
	expect(what, gas[1], bits);
	expect(what, field64(gas + 4), port);
}

static void check_fadt(void)
{
	const uint8_t *t = table_find("FACP");
	const uint32_t flags =
		FADT_HW_REDUCED | FADT_RESET_REG | FADT_TMR_VAL_EXT;
	const uint8_t *dsdt;

	if (!t)
		return;
	expect("FADT length", field32(t + 4), 276);
	expect("FADT revision", t[8], 6);
	expect("FADT flags", field32(t + 112) & flags, flags);
	expect("FADT: a keyboard controller", field16(t + 109) & 2, 0);
	expect_gas("FADT reset register", t + 116, 8, 0x600);
	expect("FADT reset value", t[128], 1);
	expect_gas("FADT PM timer", t + 208, 32, 0x608);
	expect_gas("FADT sleep control", t + 244, 8, 0x600);
	expect_gas("FADT sleep status", t + 256, 8, 0x600);
	dsdt = table_at(field64(t + 140));
	if (dsdt)
		expect_true("FADT: no DSDT", !memcmp(dsdt, "DSDT", 4));
}

uint64_t madt_id(uint64_t index)
{
	return index < CPUS_MAX ? ids[index] : 0;
}

static void check_madt(void)
{
	const uint8_t *t = table_find("APIC"), *end;
	uint64_t cpus = 0, ioapics = 0, last = 0;

	if (!t)
		return;
	expect("MADT: LAPICs", field32(t + 36), 0xfee00000);
	expect("MADT: a PIC", field32(t + 40) & 1, 0);
	end = t + field32(t + 4);
	for (t += 44; t + 2 <= end && t[1] >= 2; t += t[1]) {
		bool wide = t[0] == MADT_LOCAL_X2APIC;
		uint64_t id;

		if (t[0] == MADT_IOAPIC) {
			ioapics++;
			expect("MADT: IOAPIC", field32(t + 4), 0xfec00000);
			expect("MADT: IOAPIC's first GSI", field32(t + 8), 0);
		}
		if (t[0] != MADT_LOCAL_APIC && !wide)
			continue;
		id = wide ? field32(t + 4) : t[3];
		expect("MADT: a processor that is off",
		       field32(t + (wide ? 8 : 4)) & 1, 1);
		expect("MADT: uid", wide ? field32(t + 12) : t[2], cpus);
		expect_true("MADT: ids do not ascend", !cpus || id > last);
		expect_true("MADT: an id that its entry can't hold",
			    wide || id < 255);
		last = id;
		if (cpus < CPUS_MAX)
			ids[cpus] = id;
		cpus++;
	}
	expect("MADT: processors", cpus, guest_option_number("cpus", 1));
	expect("MADT: IOAPICs", ioapics, 1);
}

static void check_mcfg(void)
{
	const uint8_t *t = table_find("MCFG");

	if (!t)
		return;
	expect("MCFG base", field64(t + 44), ECAM);
	expect("MCFG segment", field16(t + 52), 0);
	expect("MCFG buses", t[54] | t[55] << 8, 0);
}

/* Does the DSDT name it? It is no interpreter, it looks for the bytes. */
static bool dsdt_has(const char *name)
{
	const uint8_t *fadt = table_find("FACP");
	const uint8_t *t = fadt ? table_at(field64(fadt + 140)) : NULL;

	for (uint32_t i = 36; t && i + 4 <= field32(t + 4); i++) {
		if (!memcmp(t + i, name, 4))
			return true;
	}
	return false;
}

static void check_dsdt(void)
{
	static const char *const names[] = {"_S5_", "PC00", "PWRB", "GED0",
					    "_EVT", "RTC0", "MBRD", "C000"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		expect_true(names[i], dsdt_has(names[i]));
	expect("DSDT: COM1", dsdt_has("COM1"),
	       guest_option_number("serial", 1));
}

static void check_smbios(void)
{
	const uint8_t *p = at(SMBIOS), *t, *end;
	uint32_t seen = 0;

	expect_true("SMBIOS: no anchor", !memcmp(p, "_SM3_", 5));
	expect("SMBIOS: length", p[6], 24);
	expect_true("SMBIOS: checksum", sums_to_zero(p, p[6]));
	t = at(field64(p + 16));
	end = t + field32(p + 12);
	expect_true("SMBIOS: the tables' place", t > p && end <= at(0x100000));
	while (t + 4 <= end && t[1] >= 4 && t[0] < 128) {
		if (t[0] < 32)
			seen |= 1u << t[0];
		if (t[0] == 127)
			break;
		for (t += t[1]; t + 2 <= end && (t[0] || t[1]); t++)
			;
		t += 2;
	}
	expect_true("SMBIOS: no end", t + 4 <= end && t[0] == 127);
	expect("SMBIOS: types 0, 1, 3", seen & 0xb, 0xb);
}

void check_tables(void)
{
	const uint8_t *rsdp = at(guest_boot.rsdp);

	expect("ACPI: RSDP", guest_boot.rsdp, RSDP);
	if (guest_boot.rsdp != RSDP)
		return;
	expect_true("ACPI: RSDP's signature", !memcmp(rsdp, "RSD PTR ", 8));
	expect("ACPI: RSDP's revision", rsdp[15], 2);
	expect_true("ACPI: RSDP's checksums",
		    sums_to_zero(rsdp, 20) && sums_to_zero(rsdp, 36));
	/* Who searches begins at the extended BIOS data area. */
	expect("EBDA segment", field16(at(0x40e)), RSDP >> 4);
	check_fadt();
	check_madt();
	check_mcfg();
	check_dsdt();
	check_smbios();
}
