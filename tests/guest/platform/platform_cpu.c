/* SPDX-License-Identifier: Apache-2.0 */

/* CPUID and the registers as they are at the entry. Spec: Intel SDM 3A, 9.9
 * (topology), 11.11.2.1 (MTRRs); KVM's cpuid.rst */

#include "lib/clock.h"
#include "lib/cpu.h"
#include "platform/platform.h"

#define LEAF_HV	       0x40000000u
#define LEAF_HV_TIMING 0x40000010u
#define LEAF_TOPOLOGY  0xbu
#define LEAF_TSC       0x15u

#define F1_ECX_X2APIC	  (1u << 21)
#define F1_ECX_HYPERVISOR (1u << 31)

#define MSR_APIC_BASE	 0x1bu
#define MSR_MTRR_DEFAULT 0x2ffu
#define APIC_BASE_BSP	 0xfee00900u /* enabled, first processor */
#define APIC_BASE_X2APIC 0x400u
#define MTRR_WRITE_BACK	 0x806u /* enabled, default write-back */

#define LEVEL_SMT  1u
#define LEVEL_CORE 2u
#define LAPIC_KHZ  1000000u

static uint32_t width(uint32_t count)
{
	uint32_t bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

/* threads=, cores= and dies= as in topology=; one package is this one's. */
static void check_topology(void)
{
	uint32_t threads = (uint32_t)guest_option_number("threads", 1);
	uint32_t cores = (uint32_t)guest_option_number("cores", 1);
	uint32_t dies = (uint32_t)guest_option_number("dies", 1);
	struct cpu_id smt = cpu_id(LEAF_TOPOLOGY, 0);
	struct cpu_id core = cpu_id(LEAF_TOPOLOGY, 1);

	expect_true("cpuid: no leaf 0xb", cpu_id(0, 0).eax >= LEAF_TOPOLOGY);
	expect("cpuid 0xb.0 level", smt.ecx >> 8, LEVEL_SMT);
	expect("cpuid 0xb.0 threads", smt.ebx & 0xffff, threads);
	expect("cpuid 0xb.0 shift", smt.eax & 0x1f, width(threads));
	expect("cpuid 0xb.0 id", smt.edx, 0);
	expect("cpuid 0xb.1 level", core.ecx >> 8, LEVEL_CORE);
	expect("cpuid 0xb.1 threads", core.ebx & 0xffff,
	       threads * cores * dies);
	expect("cpuid 0xb.1 shift", core.eax & 0x1f,
	       width(threads) + width(cores) + width(dies));
	expect("cpuid 0xb.2 level", cpu_id(LEAF_TOPOLOGY, 2).ecx >> 8, 0);
}

static void check_frequency(void)
{
	struct cpu_id timing = cpu_id(LEAF_HV_TIMING, 0);
	struct cpu_id tsc = cpu_id(LEAF_TSC, 0);

	expect("cpuid 0x40000010 TSC kHz", timing.eax, clock_khz());
	expect("cpuid 0x40000010 bus kHz", timing.ebx, LAPIC_KHZ);
	if (cpu_id(0, 0).ebx != 0x756e6547) /* "Genu": the others have none */
		return;
	expect_true("cpuid 0x15 is empty", tsc.eax && tsc.ebx && tsc.ecx);
	if (tsc.eax)
		expect_near("cpuid 0x15 TSC kHz",
			    (uint64_t)tsc.ecx * tsc.ebx / tsc.eax / 1000,
			    clock_khz(), clock_khz() / 5000);
}

void check_cpu(void)
{
	struct cpu_id hv = cpu_id(LEAF_HV, 0), one = cpu_id(1, 0);
	uint64_t base = guest_option_number("x2apic", 0)
				? APIC_BASE_BSP | APIC_BASE_X2APIC
				: APIC_BASE_BSP;

	expect("cpuid 0x40000000 ebx", hv.ebx, 0x4b4d564b); /* KVMKVMKVM */
	expect_true("cpuid 0x40000000: no leaf 0x40000010",
		    hv.eax >= LEAF_HV_TIMING);
	expect_true("cpuid 1: no hypervisor", one.ecx & F1_ECX_HYPERVISOR);
	expect_true("cpuid 1: no x2APIC", one.ecx & F1_ECX_X2APIC);
	expect("cpuid 1 APIC id", one.ebx >> 24, 0);
	/* A width for guests of its own would hide the right one. */
	expect("cpuid 0x80000008 guest bits",
	       cpu_id(0x80000008, 0).eax >> 16 & 0xff, 0);
	check_topology();
	check_frequency();
	expect("MSR APIC_BASE", cpu_rdmsr(MSR_APIC_BASE), base);
	expect("MSR MTRR_DEF_TYPE", cpu_rdmsr(MSR_MTRR_DEFAULT),
	       MTRR_WRITE_BACK);
}
