/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/vm.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "vmm-core/arch/arch.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/ioapic.h"
#include "vmm-core/memory.h"
#include "vmm-core/pci.h"
#include "vmm-core/platform/platform.h"
#include "vmm-core/vcpu.h"

SECCOMP_PROFILE(core);

#define VM_MAX_GSIS 4096

int vm_new(struct loop *loop, struct channel *channel, struct vm **ret,
	   struct err *e)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return err_set(e, -ENOMEM, "no memory for the VM");
	pthread_mutex_init(&vm->lock, NULL);
	vm->loop = loop;
	vm->channel = channel;
	vm->next_gsi = GSI_MSI_FIRST;
	*ret = vm;
	return 0;
}

uint32_t vm_alloc_gsi(struct vm *vm)
{
	return vm->next_gsi++;
}

/* The hypervisor's side: VM, processors' common part, guest memory. */
static int vm_create_hv(struct vm *vm, const Bulkhead__CreateVm *msg, int hv_fd,
			struct err *e)
{
	struct hv_vm_config cfg = {.max_vcpus = msg->cpus->max,
				   .ioapic_pins = IOAPIC_PINS,
				   .max_gsis = VM_MAX_GSIS};
	int r = hv_open(hv_fd, &vm->hv, &vm->caps, e);

	if (r < 0)
		return r;
	if (vm->caps.software_only)
		log_warn("this host's KVM is software-only: guest kernels are "
			 "interpreted, slowly and incompletely");
	r = arch_new(vm->hv, &vm->caps, msg->cpus, &vm->arch, &vm->phys_bits,
		     e);
	if (r == 0)
		r = hv_vm_create(vm->hv, &cfg, e);
	if (r == 0)
		r = memory_new(msg->memory, vm->phys_bits, &vm->memory, e);
	if (r == 0)
		r = memory_map(vm->memory, vm->hv, e);
	if (r < 0)
		return r;
	vm->mmio64_base = memory_get_plan(vm->memory)->mmio64_base;
	vm->mmio64_size = memory_get_plan(vm->memory)->mmio64_size;
	return 0;
}

/* The message's descriptors in their order; msg.c has checked the count. */
static struct platform_config vm_platform_config(const struct vm *vm,
						 const Bulkhead__CreateVm *msg,
						 const int *fds)
{
	const struct memory_plan *plan = memory_get_plan(vm->memory);
	struct platform_config c = {
		.serial = msg->serial,
		.serial_line = {.in_fd = -1,
				.out_fd = -1,
				.waits_for_client =
					msg->serial_waits_for_client},
		.debug = {.console = msg->debug_console,
			  .out_fd = -1,
			  .iobase = msg->debug_console_iobase},
		.ram_low = plan->regions[0].size,
	};

	if (plan->num_regions > 1)
		c.ram_high = plan->regions[1].size;
	fds++; /* the hypervisor's */
	if (msg->serial_has_input)
		c.serial_line.in_fd = *fds++;
	if (msg->serial_output_is_input)
		c.serial_line.out_fd = c.serial_line.in_fd;
	else if (msg->serial_has_output)
		c.serial_line.out_fd = *fds++;
	if (msg->debug_console)
		c.debug.out_fd = *fds++;
	return c;
}

static int vm_create_devices(struct vm *vm, const Bulkhead__CreateVm *msg,
			     const int *fds, struct err *e)
{
	struct platform_config platform = vm_platform_config(vm, msg, fds);
	int r = bus_new(&vm->pio, e);

	if (r == 0)
		r = bus_new(&vm->mmio, e);
	if (r == 0)
		r = ioapic_new_hv(vm, &vm->ioapic, e);
	if (r == 0)
		r = platform_new(vm, &platform, &vm->platform, e);
	if (r == 0)
		r = pci_bus_new(vm, &vm->pci, e);
	if (r == 0)
		pci_set_reset_handler(vm->pci, platform_reset, vm);
	return r;
}

/* Threads inherit what sandbox_restrict() does; none starts after the lock. */
static int vm_lock_down(struct vm *vm, const Bulkhead__CreateVm *msg,
			struct sandbox_report *report, struct err *e)
{
	int r = sandbox_restrict(report, e);

	if (r == 0)
		r = gate_new(vm->hv, &vm->gate, e);
	if (r == 0)
		r = vcpu_gang_new(vm, msg->cpus, e);
	if (r == 0)
		r = sandbox_lock(&seccomp_profile_core, report, e);
	if (r == 0)
		r = vcpu_gang_lock(vm, e);
	if (r == 0)
		vm->caps.tsc_khz = arch_tsc_khz(vm->arch);
	return r;
}

int vm_create(struct vm *vm, const Bulkhead__CreateVm *msg, const int *fds,
	      struct sandbox_report *report, struct err *e)
{
	int r;

	/* Half a VM is not made whole later: the broker starts a new core. */
	vm->state = VM_STOPPED;
	if (!msg->cpus || !msg->memory)
		return err_set(e, -EBADMSG, "a VM needs CPUs and memory");
	if (!msg->serial && (msg->serial_has_input || msg->serial_has_output ||
			     msg->serial_waits_for_client))
		return err_set(e, -EBADMSG,
			       "descriptors of a serial port that "
			       "the VM doesn't have");
	r = vm_create_hv(vm, msg, fds[0], e);
	if (r == 0)
		r = vm_create_devices(vm, msg, fds, e);
	if (r == 0)
		r = vm_lock_down(vm, msg, report, e);
	if (r == 0)
		vm->state = VM_CREATED;
	return r;
}

int vm_boot(struct vm *vm, const Bulkhead__Boot *msg, struct err *e)
{
	int r = arch_vcpu_set_entry(vcpu_get_hv(vm, 0), msg->entry, e);

	if (r < 0)
		return r;
	vm->state = VM_RUNNING;
	vcpu_gang_start(vm);
	return 0;
}

int vm_stop(struct vm *vm, struct err *e)
{
	bool has_vcpus = vm->state == VM_CREATED || vm->state == VM_RUNNING;

	vm->state = VM_STOPPED;
	return has_vcpus ? vcpu_gang_stop(vm, e) : 0;
}
