/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bulkhead-core: the process that holds the hypervisor and the vCPUs. Its
 * life: check the outer sandbox; Hello; CreateVm, which ends with the
 * lock-down; AddDevice for each device; Boot; then serve the guest and the
 * channel until Stop, or until the broker is gone.
 */

#include <signal.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/sandbox/sandbox.h"
#include "vmm-core/vm.h"

/* Channel buffers (512 KiB), 31 devices with their tables, the rest. Pages
 * that nobody touches cost nothing. */
#define CORE_HEAP (8u << 20)

static int core_run(struct sandbox_report *report, struct err *e)
{
	struct channel *channel;
	struct loop *loop;
	struct vm *vm;
	int r = channel_new(SANDBOX_FD_CHANNEL, &channel_format_core, false,
			    &channel, e);

	if (r == 0)
		r = loop_new(&loop, e);
	if (r == 0)
		r = vm_new(loop, channel, &vm, e);
	if (r == 0)
		r = vm_posts_init(vm, e);
	if (r == 0)
		r = vm_messages_init(vm, report, e);
	return r < 0 ? r : loop_run(loop);
}

int main(void)
{
	struct sandbox_report report;
	struct err e = {0};
	int r = sandbox_start(CORE_HEAP, &report, &e);

	/* A reader that goes away is an error of write(), not our end. */
	if (r == 0)
		signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = core_run(&report, &e);
	if (r < 0)
		log_error("%s", e.text);
	/* The kernel takes everything back; destructors would need more
	 * system calls than the list allows. */
	_exit(r ? 1 : 0);
}
