/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_ARCH_X86_64_LAYOUT_H
#define VMM_CORE_ARCH_X86_64_LAYOUT_H

/*
 * The machine that an x86-64 guest sees: addresses, ports, interrupt numbers.
 * Core and loader agree by including this. The values are Cloud Hypervisor's
 * where it has one, so that its users' images and firmware fit.
 */

/* Guest-physical, below 1 MiB (written by the loader) */
#define LAYOUT_GDT	   0x500u
#define LAYOUT_IDT	   0x520u
#define LAYOUT_PVH_START   0x6000u
#define LAYOUT_PVH_MODLIST 0x6040u
#define LAYOUT_PVH_MEMMAP  0x7000u
#define LAYOUT_ZERO_PAGE   0x7000u
#define LAYOUT_STACK	   0x8ff0u
#define LAYOUT_PML4	   0xa000u
#define LAYOUT_PDPT	   0xb000u
#define LAYOUT_PD	   0xc000u /* 4 pages: 4 GiB in 2 MiB pages */
#define LAYOUT_CMDLINE	   0x20000u
#define LAYOUT_CMDLINE_MAX 0x10000u /* bytes, with the NUL */
#define LAYOUT_EBDA	   0xa0000u /* end of low RAM in the memory map */
#define LAYOUT_RSDP	   0xa0000u /* ACPI tables follow */
#define LAYOUT_ACPI_END	   0xf0000u
#define LAYOUT_SMBIOS	   0xf0000u
#define LAYOUT_HIGH_RAM	   0x100000u

/* Selectors that vCPU 0 starts with, and that the loader's descriptor table at
 * LAYOUT_GDT holds: PVH's for 32-bit entry, Linux's for 64-bit entry. A TSS
 * follows the data segment. */
#define LAYOUT_SEL_CODE32 0x08u
#define LAYOUT_SEL_DATA32 0x10u
#define LAYOUT_SEL_CODE64 0x10u
#define LAYOUT_SEL_DATA64 0x18u

/* The hole below 4 GiB */
#define LAYOUT_LOW_RAM_END  0xc0000000ull /* 3 GiB */
#define LAYOUT_MMIO32	    0xc0000000ull
#define LAYOUT_MMIO32_SIZE  0x28000000ull /* 640 MiB */
#define LAYOUT_ECAM	    0xe8000000ull
#define LAYOUT_ECAM_SIZE    0x10000000ull /* 256 MiB reserved */
#define LAYOUT_ECAM_BUSES   1u
#define LAYOUT_KVM_TSS	    0xf8000000ull
#define LAYOUT_KVM_IDENTITY 0xf8003000ull
#define LAYOUT_IOAPIC	    0xfec00000ull
#define LAYOUT_LAPIC	    0xfee00000ull
#define LAYOUT_4G	    0x100000000ull

/* I/O ports */
#define PORT_I8042_DATA	   0x60
#define PORT_SYSCTL_B	   0x61
#define PORT_I8042_CMD	   0x64 /* 0xfe resets */
#define PORT_CMOS_INDEX	   0x70
#define PORT_CMOS_DATA	   0x71
#define PORT_DEBUG_CODE	   0x80
#define PORT_DEBUG_CONSOLE 0xe9
#define PORT_COM1	   0x3f8
#define PORT_FW_DEBUG	   0x402 /* reads 0xe9 */
#define PORT_ACPI_SLEEP	   0x600 /* sleep control/status and reset */
#define PORT_PM_TIMER	   0x608 /* 32 bit, 3.579545 MHz */
#define PORT_GED	   0x618 /* 1 byte: pending events, cleared by read */
#define PORT_PCI_ADDR	   0xcf8
#define PORT_PCI_DATA	   0xcfc

#define ACPI_SLEEP_RESET 0x01
#define ACPI_SLEEP_S5	 0x34 /* SLP_TYP 5 << 2 | SLP_EN << 5 */

/* GED status bits */
#define GED_CPU		 0x01
#define GED_MEMORY	 0x02
#define GED_PCI		 0x04
#define GED_POWER_BUTTON 0x08

/* Interrupt sources (IOAPIC pins; MSIs are numbered from GSI_MSI_FIRST) */
#define GSI_COM1      4
#define GSI_GED	      9
#define IOAPIC_PINS   24
#define GSI_MSI_FIRST 24
#define IOAPIC_ID     0

/* PCI */
#define PCI_HOST_BRIDGE_VENDOR 0x8086
#define PCI_HOST_BRIDGE_DEVICE 0x0d57
#define PCI_SLOTS	       32

#endif
