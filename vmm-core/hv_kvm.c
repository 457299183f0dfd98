/* SPDX-License-Identifier: Apache-2.0 */

/*
 * KVM behind hv.h. Memory for routes and slots is taken when the VM is made,
 * so that nothing here needs the heap after lock-down.
 *
 * Kicking: the kicker sets immediate_exit and signals the thread. Either the
 * signal finds it inside KVM_RUN, which returns EINTR, or KVM_RUN sees
 * immediate_exit at its entry: no window is left (KVM API, 5).
 */

#include "vmm-core/hv_kvm.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

#define HV_KICK_SIGNAL SIGUSR1
#define HV_MAX_SLOTS   64
#define HV_TEXT_MAX    256

struct hv_slot {
	gpa_t gpa;
	uint64_t len; /* 0 = free */
};

struct hv {
	int fd;	   /* /dev/kvm */
	int vm_fd; /* -1 = not made */
	size_t run_size;
	struct hv_caps caps;
	struct hv_slot slots[HV_MAX_SLOTS];
	/* gsi -> route; used[] says which; table is what the kernel gets */
	unsigned int max_gsis;
	struct hv_msi *routes;
	bool *used;
	struct kvm_irq_routing *table;
};

struct hv_vcpu {
	struct hv *hv;
	int fd;
	unsigned int id;
	struct kvm_run *run;
	_Atomic pid_t tid; /* the thread that runs it, 0 = none yet */
	pid_t tgid;
	char text[HV_TEXT_MAX];
};

static void hv_on_kick(int signo)
{
	(void)signo;
}

int hv_kvm_need(int fd, int cap, const char *what, const char *hint,
		struct err *e)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	if (r > 0)
		return r;
	return err_set(e, -ENOSYS, "this host's KVM lacks %s; %s", what, hint);
}

static int hv_probe(struct hv *hv, struct err *e)
{
	static const struct {
		int cap;
		const char *what;
	} needed[] = {
		{KVM_CAP_USER_MEMORY, "user memory slots"},
		{KVM_CAP_IRQFD, "irqfd (interrupts from other processes)"},
		{KVM_CAP_IOEVENTFD, "ioeventfd (kicks to other processes)"},
		{KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd of any length"},
		{KVM_CAP_IRQ_ROUTING, "interrupt routes"},
		{KVM_CAP_SIGNAL_MSI, "message-signalled interrupts"},
		{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
		{KVM_CAP_MP_STATE, "processor run states"},
	};
	int r = ioctl(hv->fd, KVM_GET_API_VERSION, 0);

	if (r < 0)
		return err_errno(e, "cannot ask the hypervisor descriptor for "
				    "KVM's version; is it /dev/kvm?");
	if (r != KVM_API_VERSION)
		return err_set(e, -ENOSYS,
			       "this host's KVM speaks API version %d, not %d",
			       r, KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		r = hv_kvm_need(hv->fd, needed[i].cap, needed[i].what,
				"a newer host kernel is needed", e);
		if (r < 0)
			return r;
	}
	r = ioctl(hv->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	hv->caps.max_vcpus = r > 0 ? (unsigned int)r : 4;
	hv->caps.pio_ioeventfd = true;
	r = ioctl(hv->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < (int)sizeof(struct kvm_run))
		return err_set(e, -EIO, "KVM reports a vCPU state of %d bytes",
			       r);
	hv->run_size = (size_t)r;
	return hv_kvm_arch_probe(hv->fd, &hv->caps, e);
}

int hv_open(int fd, struct hv **ret, struct hv_caps *ret_caps, struct err *e)
{
	/* No SA_RESTART: KVM_RUN must return. */
	struct sigaction sa = {.sa_handler = hv_on_kick};
	struct hv *hv = calloc(1, sizeof(*hv));
	int r;

	if (!hv) {
		close(fd);
		return err_set(e, -ENOMEM, "no memory for the hypervisor");
	}
	hv->fd = fd;
	hv->vm_fd = -1;
	r = hv_probe(hv, e);
	if (r == 0 && sigaction(HV_KICK_SIGNAL, &sa, NULL) < 0)
		r = err_errno(e, "cannot set the handler that stops vCPUs");
	if (r < 0) {
		hv_free(hv);
		return r;
	}
	*ret_caps = hv->caps;
	*ret = hv;
	return 0;
}

void hv_free(struct hv *hv)
{
	if (!hv)
		return;
	fd_close(hv->vm_fd);
	fd_close(hv->fd);
	free(hv);
}

/* Large and mostly unused: pages that nobody touches cost nothing. Lives as
 * long as the process. */
static void *hv_table(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int hv_alloc_routes(struct hv *hv, unsigned int max_gsis, struct err *e)
{
	int limit = ioctl(hv->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);

	if (limit < (int)max_gsis)
		max_gsis = (unsigned int)limit;
	hv->max_gsis = max_gsis;
	hv->routes = hv_table(max_gsis * sizeof(*hv->routes));
	hv->used = hv_table(max_gsis * sizeof(*hv->used));
	hv->table = hv_table(sizeof(*hv->table) +
			     max_gsis * sizeof(hv->table->entries[0]));
	if (!hv->routes || !hv->used || !hv->table)
		return err_set(e, -ENOMEM, "no memory for %u interrupt routes",
			       max_gsis);
	return 0;
}

int hv_vm_create(struct hv *hv, const struct hv_vm_config *cfg, struct err *e)
{
	int r;

	if (cfg->max_vcpus > hv->caps.max_vcpus)
		return err_set(e, -EINVAL,
			       "%u vCPUs asked for, this host's KVM gives at "
			       "most %u",
			       cfg->max_vcpus, hv->caps.max_vcpus);
	r = hv_alloc_routes(hv, cfg->max_gsis, e);
	if (r < 0)
		return r;
	do
		hv->vm_fd = ioctl(hv->fd, KVM_CREATE_VM, 0);
	while (hv->vm_fd < 0 && errno == EINTR);
	if (hv->vm_fd < 0)
		return err_errno(e, "KVM cannot make a virtual machine%s",
				 errno == ENOMEM ? " (host memory, or the "
						   "cgroup's limit)"
						 : "");
	return hv_kvm_arch_create(hv->vm_fd, &hv->caps, cfg, e);
}

static int hv_set_slot(struct hv *hv, unsigned int slot, gpa_t gpa, void *hva,
		       uint64_t len, unsigned int flags)
{
	struct kvm_userspace_memory_region m = {
		.slot = slot,
		.flags = (flags & HV_MEM_READONLY ? KVM_MEM_READONLY : 0) |
			 (flags & HV_MEM_LOG ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(hv->vm_fd, KVM_SET_USER_MEMORY_REGION, &m);
}

int hv_mem_map(struct hv *hv, gpa_t gpa, void *hva, uint64_t len,
	       unsigned int flags, struct err *e)
{
	unsigned int slot = HV_MAX_SLOTS;

	for (unsigned int i = 0; i < HV_MAX_SLOTS; i++) {
		if (hv->slots[i].len &&
		    ranges_overlap(gpa, len, hv->slots[i].gpa,
				   hv->slots[i].len))
			return err_set(e, -EEXIST,
				       "guest memory at 0x%" PRIx64
				       " is mapped already",
				       gpa);
		if (!hv->slots[i].len && slot == HV_MAX_SLOTS)
			slot = i;
	}
	if (slot == HV_MAX_SLOTS || !len)
		return err_set(e, -ENOSPC, "no free guest memory slot");
	if (hv_set_slot(hv, slot, gpa, hva, len, flags) < 0)
		return err_errno(e,
				 "KVM refuses guest memory of %" PRIu64
				 " bytes at 0x%" PRIx64,
				 len, gpa);
	hv->slots[slot].gpa = gpa;
	hv->slots[slot].len = len;
	return 0;
}

int hv_mem_unmap(struct hv *hv, gpa_t gpa, uint64_t len, struct err *e)
{
	for (unsigned int i = 0; i < HV_MAX_SLOTS; i++) {
		if (hv->slots[i].gpa != gpa || hv->slots[i].len != len || !len)
			continue;
		if (hv_set_slot(hv, i, gpa, NULL, 0, 0) < 0)
			return err_errno(e,
					 "KVM refuses to unmap guest "
					 "memory at 0x%" PRIx64,
					 gpa);
		hv->slots[i].len = 0;
		return 0;
	}
	return err_set(e, -ENOENT, "no guest memory at 0x%" PRIx64, gpa);
}

int hv_vcpu_new(struct hv *hv, unsigned int id, struct hv_vcpu **ret,
		struct err *e)
{
	struct hv_vcpu *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(e, -ENOMEM, "no memory for a vCPU");
	v->hv = hv;
	v->id = id;
	v->tgid = getpid();
	v->fd = ioctl(hv->vm_fd, KVM_CREATE_VCPU, id);
	if (v->fd < 0) {
		err_errno(e, "KVM cannot make the vCPU with id %u", id);
		hv_vcpu_free(v);
		return e ? e->code : -EIO;
	}
	v->run = mmap(NULL, hv->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		err_errno(e, "cannot map the state of the vCPU with id %u", id);
		hv_vcpu_free(v);
		return e ? e->code : -EIO;
	}
	*ret = v;
	return 0;
}

void hv_vcpu_free(struct hv_vcpu *v)
{
	if (!v)
		return;
	if (v->run)
		munmap(v->run, v->hv->run_size);
	fd_close(v->fd);
	free(v);
}

int hv_fd(const struct hv *hv)
{
	return hv->fd;
}

int hv_vcpu_fd(const struct hv_vcpu *v)
{
	return v->fd;
}

void hv_vcpu_bind(struct hv_vcpu *v)
{
	atomic_store(&v->tid, (pid_t)syscall(SYS_gettid));
}

/*
 * @sys core ioctl(1==KVM_GET_REGS): where a guest crashed
 * @sys core ioctl(1==KVM_GET_SREGS): where a guest crashed
 */
void hv_vcpu_describe(struct hv_vcpu *v, char *buf, size_t size)
{
	hv_kvm_arch_describe(v->fd, buf, size);
}

/*
 * @sys core tgkill(2==SIGUSR1): make a vCPU thread leave the guest
 */
void hv_vcpu_kick(struct hv_vcpu *v)
{
	pid_t tid = atomic_load(&v->tid);

	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (tid > 0 && syscall(SYS_tgkill, v->tgid, tid, HV_KICK_SIGNAL) < 0)
		log_error("cannot signal the vCPU with id %u", v->id);
}

static const char *hv_software_hint(const struct hv_vcpu *v)
{
	return v->hv->caps.software_only
		       ? "; this host's KVM is software-only and interprets "
			 "guest kernels incompletely: use a host with hardware "
			 "virtualization, or the lab"
		       : "";
}

static void hv_internal_error(struct hv_vcpu *v, struct hv_exit *ret)
{
	const struct kvm_run *run = v->run;
	size_t n;

	snprintf(v->text, sizeof(v->text), "KVM internal error, suberror %u%s",
		 run->internal.suberror,
		 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
			 ? " (an instruction that KVM cannot emulate)"
			 : "");
	n = strlen(v->text);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
	    run->emulation_failure.ndata >= 1 &&
	    run->emulation_failure.flags &
		    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
		size_t len = run->emulation_failure.insn_size;

		if (len > sizeof(run->emulation_failure.insn_bytes))
			len = sizeof(run->emulation_failure.insn_bytes);
		n += (size_t)snprintf(v->text + n, sizeof(v->text) - n,
				      ", bytes");
		for (size_t i = 0; i < len; i++)
			n += (size_t)snprintf(
				v->text + n, sizeof(v->text) - n, " %02x",
				run->emulation_failure.insn_bytes[i]);
	}
	snprintf(v->text + n, sizeof(v->text) - n, "%s", hv_software_hint(v));
	ret->kind = HV_EXIT_ERROR;
	ret->text = v->text;
}

static void hv_exit_pio(struct hv_vcpu *v, struct hv_exit *ret)
{
	struct kvm_run *run = v->run;
	uint64_t off = run->io.data_offset;
	uint64_t len = (uint64_t)run->io.size * run->io.count;

	check(range_ok(off, len, v->hv->run_size));
	ret->kind = HV_EXIT_PIO;
	ret->write = run->io.direction == KVM_EXIT_IO_OUT;
	ret->size = run->io.size;
	ret->count = run->io.count;
	ret->addr = run->io.port;
	ret->data = (uint8_t *)run + off;
}

static void hv_exit_system_event(struct hv_vcpu *v, struct hv_exit *ret)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		ret->kind = HV_EXIT_POWEROFF;
		break;
	case KVM_SYSTEM_EVENT_RESET:
		ret->kind = HV_EXIT_RESET;
		break;
	default:
		snprintf(v->text, sizeof(v->text),
			 "the guest reported a crash "
			 "(system event %u)",
			 v->run->system_event.type);
		ret->kind = HV_EXIT_ERROR;
		ret->text = v->text;
	}
}

static void hv_decode_exit(struct hv_vcpu *v, struct hv_exit *ret)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		hv_exit_pio(v, ret);
		break;
	case KVM_EXIT_MMIO:
		ret->kind = HV_EXIT_MMIO;
		ret->write = run->mmio.is_write;
		ret->size = (uint8_t)run->mmio.len;
		ret->count = 1;
		ret->addr = run->mmio.phys_addr;
		ret->data = run->mmio.data;
		break;
	case KVM_EXIT_IOAPIC_EOI:
		ret->kind = HV_EXIT_EOI;
		ret->vector = run->eoi.vector;
		break;
	case KVM_EXIT_HLT:
		ret->kind = HV_EXIT_HALTED;
		break;
	case KVM_EXIT_SHUTDOWN:
		ret->kind = HV_EXIT_SHUTDOWN;
		ret->text = "triple fault";
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		hv_exit_system_event(v, ret);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		hv_internal_error(v, ret);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(v->text, sizeof(v->text),
			 "the processor refuses to enter the guest, reason "
			 "0x%llx%s",
			 run->fail_entry.hardware_entry_failure_reason,
			 hv_software_hint(v));
		ret->kind = HV_EXIT_ERROR;
		ret->text = v->text;
		break;
	case KVM_EXIT_INTR:
		ret->kind = HV_EXIT_INTERRUPTED;
		break;
	default:
		snprintf(v->text, sizeof(v->text), "unexpected KVM exit %u%s",
			 run->exit_reason, hv_software_hint(v));
		ret->kind = HV_EXIT_ERROR;
		ret->text = v->text;
	}
}

/*
 * @sys core,vcpu ioctl(1==KVM_RUN): run the guest
 * @sys core,vcpu rt_sigreturn: end of the handler that stops a vCPU
 */
int hv_vcpu_run(struct hv_vcpu *v, struct hv_exit *ret, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	if (ioctl(v->fd, KVM_RUN, 0) < 0) {
		if (errno == EINTR) {
			__atomic_store_n(&v->run->immediate_exit, 0,
					 __ATOMIC_SEQ_CST);
			ret->kind = HV_EXIT_INTERRUPTED;
			return 0;
		}
		if (errno == EAGAIN) {
			ret->kind = HV_EXIT_NONE;
			return 0;
		}
		if (errno == EFAULT || errno == ENOMEM || errno == EHWPOISON)
			return err_errno(e,
					 "the host cannot provide guest "
					 "memory that vCPU %u touched (host "
					 "or cgroup out of memory, or a "
					 "memory error)",
					 v->id);
		return err_errno(e, "KVM cannot run vCPU %u%s", v->id,
				 hv_software_hint(v));
	}
	hv_decode_exit(v, ret);
	return 0;
}

int hv_route_set(struct hv *hv, uint32_t gsi, const struct hv_msi *msi)
{
	if (gsi >= hv->max_gsis)
		return -ENOSPC;
	hv->routes[gsi] = *msi;
	hv->used[gsi] = true;
	return 0;
}

void hv_route_clear(struct hv *hv, uint32_t gsi)
{
	if (gsi < hv->max_gsis)
		hv->used[gsi] = false;
}

/*
 * @sys core ioctl(1==KVM_SET_GSI_ROUTING): interrupts as the guest set them up
 */
int hv_route_commit(struct hv *hv, struct err *e)
{
	uint32_t n = 0;

	for (uint32_t gsi = 0; gsi < hv->max_gsis; gsi++) {
		struct kvm_irq_routing_entry *r = &hv->table->entries[n];
		uint64_t addr;

		if (!hv->used[gsi])
			continue;
		addr = hv_kvm_arch_msi_addr(&hv->caps, hv->routes[gsi].addr);
		memset(r, 0, sizeof(*r));
		r->gsi = gsi;
		r->type = KVM_IRQ_ROUTING_MSI;
		r->u.msi.address_lo = (uint32_t)addr;
		r->u.msi.address_hi = (uint32_t)(addr >> 32);
		r->u.msi.data = hv->routes[gsi].data;
		n++;
	}
	hv->table->nr = n;
	hv->table->flags = 0;
	if (ioctl(hv->vm_fd, KVM_SET_GSI_ROUTING, hv->table) < 0)
		return err_errno(e, "KVM refuses %u interrupt routes", n);
	return 0;
}

static int hv_irqfd(struct hv *hv, int fd, uint32_t gsi, uint32_t flags,
		    struct err *e)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd, .gsi = gsi, .flags = flags};

	if (ioctl(hv->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return err_errno(e, "KVM refuses interrupt source %u", gsi);
	return 0;
}

/*
 * @sys core ioctl(1==KVM_IRQFD): connect a device's interrupts
 */
int hv_irqfd_add(struct hv *hv, int fd, uint32_t gsi, struct err *e)
{
	return hv_irqfd(hv, fd, gsi, 0, e);
}

int hv_irqfd_del(struct hv *hv, int fd, uint32_t gsi, struct err *e)
{
	return hv_irqfd(hv, fd, gsi, KVM_IRQFD_FLAG_DEASSIGN, e);
}

/*
 * @sys core ioctl(1==KVM_SIGNAL_MSI): an interrupt without a source of its own
 */
int hv_msi_send(struct hv *hv, const struct hv_msi *msi, struct err *e)
{
	uint64_t addr = hv_kvm_arch_msi_addr(&hv->caps, msi->addr);
	struct kvm_msi m = {.address_lo = (uint32_t)addr,
			    .address_hi = (uint32_t)(addr >> 32),
			    .data = msi->data};

	if (ioctl(hv->vm_fd, KVM_SIGNAL_MSI, &m) < 0)
		return err_errno(e, "KVM refuses an interrupt message");
	return 0;
}

static int hv_ioeventfd(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
			uint32_t flags, struct err *e)
{
	struct kvm_ioeventfd io = {
		.addr = gpa, .len = len, .fd = fd, .flags = flags};

	if (ioctl(hv->vm_fd, KVM_IOEVENTFD, &io) < 0)
		return err_errno(e, "KVM refuses a doorbell at 0x%" PRIx64,
				 gpa);
	return 0;
}

/*
 * @sys core ioctl(1==KVM_IOEVENTFD): connect a device's doorbells
 */
int hv_ioeventfd_add(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
		     struct err *e)
{
	return hv_ioeventfd(hv, gpa, len, fd, 0, e);
}

int hv_ioeventfd_del(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
		     struct err *e)
{
	return hv_ioeventfd(hv, gpa, len, fd, KVM_IOEVENTFD_FLAG_DEASSIGN, e);
}
