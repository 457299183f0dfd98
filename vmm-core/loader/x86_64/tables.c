/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/x86_64/tables.h"

#include <stdio.h>

#include "common/base/err.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/loader/acpi.h"
#include "vmm-core/loader/aml.h"

#define FADT_SIZE	 276
#define FADT_WBINVD	 (1u << 0)
#define FADT_PROC_C1	 (1u << 2)
#define FADT_PWR_BUTTON	 (1u << 4) /* no fixed power button */
#define FADT_SLP_BUTTON	 (1u << 5) /* no fixed sleep button */
#define FADT_TMR_VAL_EXT (1u << 8) /* the PM timer has 32 bits */
#define FADT_RESET_REG	 (1u << 10)
#define FADT_HW_REDUCED	 (1u << 20)
#define FADT_NO_VGA	 (1u << 2) /* IAPC_BOOT_ARCH; bit 1 clear: no 8042 */

#define MADT_LOCAL_APIC	  0
#define MADT_IOAPIC	  1
#define MADT_OVERRIDE	  2
#define MADT_LAPIC_NMI	  4
#define MADT_LOCAL_X2APIC 9
#define MADT_ENABLED	  1u

#define GAS_BYTE  1 /* access sizes */
#define GAS_DWORD 3

#define SLP_TYP_S5 5 /* ACPI_SLEEP_S5 is (5 << 2) | SLP_EN */

static void fadt_gas(uint8_t *p, uint8_t bits, uint8_t access, uint64_t port)
{
	struct buf b;

	buf_init(&b, p, 12);
	acpi_gas(&b, ACPI_SPACE_IO, bits, access, port);
}

/* 5.2.9 */
static void tables_add_fadt(struct acpi *a, gpa_t dsdt)
{
	size_t start = acpi_begin(a, "FACP", 6);
	uint8_t *t;

	/* Fields by their offset from the table's start. */
	if (!buf_add(&a->out, FADT_SIZE - (a->out.len - start)))
		return;
	t = a->out.data + start;
	put_le32(t + 40, (uint32_t)dsdt);
	put_le32(t + 76, PORT_PM_TIMER);
	t[91] = 4; /* PM timer block length */
	put_le16(t + 109, FADT_NO_VGA);
	put_le32(t + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON |
				  FADT_SLP_BUTTON | FADT_TMR_VAL_EXT |
				  FADT_RESET_REG | FADT_HW_REDUCED);
	fadt_gas(t + 116, 8, GAS_BYTE, PORT_ACPI_SLEEP); /* reset register */
	t[128] = ACPI_SLEEP_RESET;
	t[131] = 3; /* minor version */
	put_le64(t + 140, dsdt);
	fadt_gas(t + 208, 32, GAS_DWORD, PORT_PM_TIMER);
	fadt_gas(t + 244, 8, GAS_BYTE, PORT_ACPI_SLEEP); /* sleep control */
	fadt_gas(t + 256, 8, GAS_BYTE, PORT_ACPI_SLEEP); /* sleep status */
	memcpy(t + 268, "BULKHEAD", 8);			 /* hypervisor vendor */
	acpi_end(a, start, true);
}

/* 5.2.12.2 and .12: ids that a byte holds in the entry that all read. */
static void tables_add_cpu(struct buf *b, unsigned int index, uint32_t apic_id)
{
	if (apic_id < 255) {
		buf_u8(b, MADT_LOCAL_APIC);
		buf_u8(b, 8);
		buf_u8(b, index);
		buf_u8(b, apic_id);
		buf_u32(b, MADT_ENABLED);
		return;
	}
	buf_u8(b, MADT_LOCAL_X2APIC);
	buf_u8(b, 16);
	buf_u16(b, 0);
	buf_u32(b, apic_id);
	buf_u32(b, MADT_ENABLED);
	buf_u32(b, index);
}

/* LINT1 is NMI on every processor (5.2.12.7 and .13). */
static void tables_add_nmis(struct buf *b)
{
	buf_u8(b, MADT_LAPIC_NMI);
	buf_u8(b, 6);
	buf_u8(b, 0xff); /* all processors */
	buf_u16(b, 0);
	buf_u8(b, 1);
}

/*
 * Processors that are not there at boot are left out until hot-plug exists:
 * an entry alone would make the guest reserve memory for each.
 */
static void tables_add_madt(struct acpi *a, const struct acpi_config *cfg)
{
	size_t start = acpi_begin(a, "APIC", 5);
	struct buf *b = &a->out;

	buf_u32(b, LAYOUT_LAPIC);
	buf_u32(b, 0); /* flags: no PIC */
	for (unsigned int i = 0; i < cfg->boot_cpus; i++)
		tables_add_cpu(b, i, topology_apic_id(&cfg->topology, i));
	buf_u8(b, MADT_IOAPIC);
	buf_u8(b, 12);
	buf_u8(b, IOAPIC_ID);
	buf_u8(b, 0);
	buf_u32(b, LAYOUT_IOAPIC);
	buf_u32(b, 0); /* first GSI */
	buf_u8(b, MADT_OVERRIDE);
	buf_u8(b, 10);
	buf_u8(b, 0); /* ISA */
	buf_u8(b, GSI_COM1);
	buf_u32(b, GSI_COM1);
	buf_u16(b, 0); /* as the bus has it: edge, active high */
	tables_add_nmis(b);
	acpi_end(a, start, true);
}

/* PCI Firmware 3.3, 4.6.5: function 5, "keep what the firmware assigned". */
static void dsdt_add_pci_dsm(struct aml *a)
{
	static const uint8_t functions = 1 << 0 | 1 << 5, none = 0;

	aml_method(a, "_DSM", 4, false);
	aml_if(a);
	aml_op(a, AML_EQUAL);
	aml_op(a, AML_ARG0);
	aml_uuid(a, "e5c937d0-3553-4d7a-9117-ea4d19c3434d");
	aml_if(a);
	aml_op(a, AML_EQUAL);
	aml_op(a, AML_ARG2);
	aml_int(a, 0);
	aml_op(a, AML_RETURN);
	aml_buffer(a, &functions, 1);
	aml_close(a);
	aml_if(a);
	aml_op(a, AML_EQUAL);
	aml_op(a, AML_ARG2);
	aml_int(a, 5);
	aml_op(a, AML_RETURN);
	aml_int(a, 0);
	aml_close(a);
	aml_close(a);
	aml_op(a, AML_RETURN);
	aml_buffer(a, &none, 1);
	aml_close(a);
}

static void dsdt_add_pci(struct aml *a, const struct acpi_config *cfg)
{
	aml_device(a, "PC00");
	aml_name_eisa(a, "_HID", "PNP0A08");
	aml_name_eisa(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_name_int(a, "_CCA", 1);
	aml_resources(a);
	aml_res_bus(a, 0, LAYOUT_ECAM_BUSES);
	aml_res_io(a, PORT_PCI_ADDR, 8);
	aml_res_window_io(a, 0, PORT_PCI_ADDR);
	aml_res_window_io(a, PORT_PCI_ADDR + 8, 0x10000 - PORT_PCI_ADDR - 8);
	aml_res_window_mem32(a, (uint32_t)LAYOUT_MMIO32,
			     (uint32_t)LAYOUT_MMIO32_SIZE);
	if (cfg->mmio64_size)
		aml_res_window_mem64(a, cfg->mmio64_base, cfg->mmio64_size);
	aml_close(a);
	dsdt_add_pci_dsm(a);
	aml_close(a);

	aml_device(a, "MBRD"); /* who owns the ECAM */
	aml_name_eisa(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 0);
	aml_resources(a);
	aml_res_mem32(a, (uint32_t)LAYOUT_ECAM, (uint32_t)LAYOUT_ECAM_SIZE);
	aml_close(a);
	aml_close(a);
}

static void dsdt_add_serial(struct aml *a)
{
	aml_device(a, "COM1");
	aml_name_eisa(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 0);
	aml_name_string(a, "_DDN", "COM1");
	aml_resources(a);
	aml_res_io(a, PORT_COM1, 8);
	aml_res_irq(a, GSI_COM1);
	aml_close(a);
	aml_close(a);
}

/* Without an interrupt: it tells the time, and has no alarm to ring. */
static void dsdt_add_rtc(struct aml *a)
{
	aml_device(a, "RTC0");
	aml_name_eisa(a, "_HID", "PNP0B00");
	aml_name_int(a, "_UID", 0);
	aml_resources(a);
	aml_res_io(a, PORT_CMOS_INDEX, 2);
	aml_close(a);
	aml_close(a);
}

/* The event device (5.6.9): reading its port tells and clears what happened. */
static void dsdt_add_events(struct aml *a)
{
	aml_device(a, "PWRB");
	aml_name_eisa(a, "_HID", "PNP0C0C");
	aml_name_int(a, "_UID", 0);
	aml_close(a);

	aml_device(a, "GED0");
	aml_name_string(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	aml_resources(a);
	aml_res_irq(a, GSI_GED);
	aml_close(a);
	aml_io_field(a, "GREG", "GSTA", PORT_GED);
	aml_method(a, "_EVT", 1, true);
	aml_op(a, AML_STORE);
	aml_path(a, "GSTA");
	aml_op(a, AML_LOCAL0);
	aml_if(a);
	aml_op(a, AML_AND);
	aml_op(a, AML_LOCAL0);
	aml_int(a, GED_POWER_BUTTON);
	aml_op(a, AML_NONE);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "\\_SB_.PWRB");
	aml_int(a, 0x80); /* pressed */
	aml_close(a);
	aml_close(a);
	aml_close(a);
}

static void dsdt_add_cpus(struct aml *a, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		char name[5];

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(a, name);
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i); /* as in the MADT */
		aml_close(a);
	}
}

static gpa_t tables_add_dsdt(struct acpi *a, const struct acpi_config *cfg)
{
	size_t start = acpi_begin(a, "DSDT", 6);
	struct aml aml;

	aml_init(&aml, &a->out);
	aml_name(&aml, "\\_S5_");
	aml_package(&aml, 4);
	aml_int(&aml, SLP_TYP_S5);
	aml_int(&aml, SLP_TYP_S5);
	aml_int(&aml, 0);
	aml_int(&aml, 0);
	aml_close(&aml);
	aml_scope(&aml, "\\_SB_");
	dsdt_add_pci(&aml, cfg);
	if (cfg->serial)
		dsdt_add_serial(&aml);
	dsdt_add_rtc(&aml);
	dsdt_add_events(&aml);
	dsdt_add_cpus(&aml, cfg->boot_cpus);
	aml_close(&aml);
	return acpi_end(a, start, false);
}

int64_t acpi_build(const struct acpi_config *cfg, void *data, size_t size)
{
	struct acpi a;

	check(cfg->boot_cpus >= 1 && cfg->boot_cpus <= cfg->topology.max_cpus);
	acpi_init(&a, LAYOUT_RSDP, data, size);
	tables_add_fadt(&a, tables_add_dsdt(&a, cfg));
	tables_add_madt(&a, cfg);
	acpi_add_mcfg(&a, LAYOUT_ECAM, LAYOUT_ECAM_BUSES);
	return acpi_finish(&a);
}
