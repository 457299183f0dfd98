/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/family.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit_gate.h"
#include "broker/family_core.h"
#include "broker/family_loader.h"
#include "broker/keep.h"
#include "broker/terminal.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/num.h"

#define FAMILY_START_MS	  120000 /* emulated hosts are slow */
#define FAMILY_ADOPT_MS	  10000
#define FAMILY_QUIESCE_MS 2000

const char *family_state_name(enum family_state state)
{
	static const char *const names[] = {
		[FAMILY_OPENING] = "created",
		[FAMILY_STARTING] = "starting",
		[FAMILY_ADOPTING] = "adopting",
		[FAMILY_RUNNING] = "running",
		[FAMILY_STOPPING] = "stopping",
		[FAMILY_RESETTING] = "rebooting",
	};

	return names[state];
}

/* ---- host resources ---- */

static int family_open_file(const char *path, const char *option, int *ret,
			    struct err *e)
{
	struct stat st;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_errno(e, "%s %s: cannot open it", option, path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "%s %s: cannot examine it", option, path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL,
			       "%s %s: not a regular file; give the path of "
			       "an image file",
			       option, path);
	if (st.st_size == 0)
		return err_set(e, -EINVAL, "%s %s: the file is empty", option,
			       path);
	*ret = take_fd(&fd);
	return 0;
}

int family_open_hypervisor(struct family *f, struct err *e)
{
	f->hv_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (f->hv_fd >= 0)
		return 0;
	if (errno == ENOENT)
		return err_set(e, -ENOENT,
			       "/dev/kvm does not exist: load the module "
			       "kvm_intel or kvm_amd, enable virtualization in "
			       "the firmware, or use the lab (tests/lab/run)");
	if (errno == EACCES || errno == EPERM)
		return err_errno(e, "cannot open /dev/kvm; become a member of "
				    "its group (usually `kvm`) or run as root");
	return err_errno(e, "cannot open /dev/kvm");
}

static struct session *family_add_device(struct family *f, const char *role,
					 const char *id)
{
	struct session *s = &f->devices[f->num_devices];

	check(f->num_devices < FAMILY_DEVICES_MAX);
	session_init(s, f, f->num_devices, role, id);
	f->num_devices++;
	return s;
}

/* The PCI slots follow from this order: console, disks, nets, rng. */
static void family_add_devices(struct family *f)
{
	const struct config *cfg = f->cfg;
	struct session *s;

	if (cfg->console.mode != CONSOLE_OFF)
		family_add_device(f, "console", "__console");
	for (uint32_t i = 0; i < cfg->num_disks; i++) {
		s = family_add_device(f, "blk", cfg->disks[i].id);
		s->num_queues = cfg->disks[i].num_queues;
		s->queue_size = cfg->disks[i].queue_size;
		s->no_packed = !cfg->disks[i].packed;
	}
	for (uint32_t i = 0; i < cfg->num_nets; i++) {
		s = family_add_device(f, "net", cfg->nets[i].id);
		s->num_queues = cfg->nets[i].num_queues;
		s->queue_size = cfg->nets[i].queue_size;
		s->no_packed = !cfg->nets[i].packed;
	}
	family_add_device(f, "rng", "__rng");
}

static int family_open_devices(struct family *f, struct err *e)
{
	const struct config *cfg = f->cfg;
	struct session *s = f->devices;
	int r = 0;

	if (cfg->console.mode != CONSOLE_OFF)
		r = open_console(&cfg->console, "console", &s++->opened, e);
	for (uint32_t i = 0; r == 0 && i < cfg->num_disks; i++)
		r = open_disk(&cfg->disks[i], &s++->opened, e);
	for (uint32_t i = 0; r == 0 && i < cfg->num_nets; i++)
		r = open_net(&cfg->nets[i], &s++->opened, e);
	return r < 0 ? r : open_rng(cfg->rng_src, &s->opened, e);
}

static int family_open_serial(struct family *f, struct err *e)
{
	int r = 0;

	if (f->cfg->serial.mode != CONSOLE_OFF &&
	    f->cfg->serial.mode != CONSOLE_NULL)
		r = open_console(&f->cfg->serial, "serial", &f->serial, e);
	/* One reader: keys go to the console if both are on the terminal. */
	if (r == 0 && f->cfg->serial.mode == CONSOLE_TTY &&
	    f->cfg->console.mode == CONSOLE_TTY && f->serial.num_fds == 2) {
		fd_close(f->serial.fds[0]);
		f->serial.fds[0] = f->serial.fds[1];
		f->serial.num_fds = 1;
		f->serial.console.has_input = false;
	}
	if (r == 0 && f->cfg->debug_console.mode != CONSOLE_OFF &&
	    f->cfg->debug_console.mode != CONSOLE_NULL)
		r = open_console(&f->cfg->debug_console, "debug-console",
				 &f->debug_console, e);
	return r;
}

void family_prepare(struct family *f, const struct config *cfg,
		    struct loop *loop)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	f->start_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	f->cfg = cfg;
	f->loop = loop;
	f->hv_fd = f->kernel_fd = f->initramfs_fd = -1;
	opened_init(&f->serial);
	opened_init(&f->debug_console);
	family_add_devices(f);
}

int family_open(struct family *f, const struct config *cfg, struct loop *loop,
		struct err *e)
{
	int r;

	family_prepare(f, cfg, loop);
	r = family_open_hypervisor(f, e);
	if (r == 0)
		r = family_open_file(cfg->kernel, "--kernel", &f->kernel_fd, e);
	if (r == 0 && cfg->initramfs)
		r = family_open_file(cfg->initramfs, "--initramfs",
				     &f->initramfs_fd, e);
	if (r == 0)
		r = family_open_devices(f, e);
	if (r == 0)
		r = family_open_serial(f, e);
	if (r == 0 && (cfg->console.mode == CONSOLE_TTY ||
		       cfg->serial.mode == CONSOLE_TTY))
		r = terminal_raw(e);
	return r;
}

/* ---- start ---- */

/* Whom the start waits for */
static const char *family_latecomer(const struct family *f)
{
	if (!f->memory)
		return "the core";
	for (unsigned int i = 0; i < f->num_devices; i++)
		if (!f->devices[i].mem_ready)
			return f->devices[i].id;
	return f->entry ? "the core" : "the loader";
}

static void family_on_deadline(void *arg)
{
	struct family *f = arg;

	if (f->state == FAMILY_STARTING)
		family_fail(f,
			    "the VM did not start within %d s: no answer from "
			    "%s",
			    FAMILY_START_MS / 1000, family_latecomer(f));
	else if (f->state == FAMILY_ADOPTING)
		family_abandon(f, "the core does not answer");
	else
		family_finish(f);
}

static int family_arm_deadline(struct family *f, uint64_t ms, struct err *e)
{
	int r = 0;

	if (!f->w_deadline)
		r = loop_add_timer(f->loop, family_on_deadline, f,
				   &f->w_deadline, e);
	if (r == 0)
		loop_timer_arm(f->w_deadline, ms);
	return r;
}

static void family_on_serial_attached(struct child *c,
				      const struct envelope *env, int *fds,
				      void *arg)
{
	struct family *f = c->owner;

	(void)fds;
	(void)arg;
	if (env->status->code)
		f->serial_has_client = false;
}

static void family_on_serial_client(int fd, unsigned int events, void *arg)
{
	struct family *f = arg;
	auto_fd client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e = {0};

	(void)events;
	if (client < 0)
		return;
	if (f->serial_has_client) {
		log_warn("second client of %s sent away",
			 f->serial.unlink_path);
		return;
	}
	if (family_core_attach_serial(f, client, family_on_serial_attached,
				      &e) < 0)
		log_warn("serial: %s", e.text);
	else
		f->serial_has_client = true;
}

static void family_on_heartbeat(void *arg)
{
	struct family *f = arg;

	if (f->state == FAMILY_RUNNING)
		for (unsigned int i = 0; i < f->num_devices; i++)
			session_heartbeat(&f->devices[i]);
	loop_timer_arm(f->w_heartbeat, SESSION_PING_MS);
}

static int family_watch(struct family *f, struct err *e)
{
	int r = 0;

	if (!f->w_heartbeat) {
		r = loop_add_timer(f->loop, family_on_heartbeat, f,
				   &f->w_heartbeat, e);
		if (r == 0)
			loop_timer_arm(f->w_heartbeat, SESSION_PING_MS);
	}
	if (r == 0 && f->serial.listen_fd >= 0 && !f->w_serial_listen)
		r = loop_add_fd(f->loop, f->serial.listen_fd, LOOP_READ,
				family_on_serial_client, f, &f->w_serial_listen,
				e);
	return r;
}

int family_start(struct family *f, struct err *e)
{
	int r;

	f->state = FAMILY_STARTING;
	f->devices_added = 0;
	f->boot_sent = false;
	r = family_arm_deadline(f, FAMILY_START_MS, e);
	/* The core first: it has the most to do. */
	if (r == 0)
		r = family_core_start(f, e);
	if (r == 0)
		r = family_loader_start(f, e);
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		r = session_start(&f->devices[i], e);
	return r < 0 ? r : family_watch(f, e);
}

int family_adopt(struct family *f, const Bulkhead__KeptProcess *m, int *fds,
		 struct err *e)
{
	int r;

	f->state = FAMILY_ADOPTING;
	r = family_arm_deadline(f, FAMILY_ADOPT_MS, e);
	if (r == 0)
		r = family_core_adopt(f, m, fds, e);
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++)
		r = session_client_listen(&f->devices[i], e);
	return r < 0 ? r : family_watch(f, e);
}

void family_abandon(struct family *f, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s; the VM stays without broker", text);
	f->abandoned = true;
	loop_stop(f->loop, 1);
}

/* ---- end ---- */

static void family_end_processes(struct family *f)
{
	keep_forget(f);
	if (f->w_deadline)
		loop_timer_disarm(f->w_deadline);
	audit_gate_free(f);
	child_stop(&f->core);
	child_stop(&f->loader);
	for (unsigned int i = 0; i < f->num_devices; i++)
		session_stop(&f->devices[i]);
	for (unsigned int i = 0; i < f->num_memfds; i++)
		f->memfds[i] = fd_close(f->memfds[i]);
	f->num_memfds = 0;
	if (f->memory)
		bulkhead__mem_table__free_unpacked(f->memory, NULL);
	f->memory = NULL;
	if (f->entry)
		bulkhead__entry_state__free_unpacked(f->entry, NULL);
	f->entry = NULL;
	f->serial_has_client = false;
	for (unsigned int i = 0; i < f->num_devices; i++)
		session_client_close(&f->devices[i]);
}

void family_finish(struct family *f)
{
	struct err e = {0};

	family_end_processes(f);
	if (!f->restart) {
		loop_stop(f->loop, f->exit_code);
		return;
	}
	f->restart = false;
	if (family_start(f, &e) < 0)
		family_fail(f, "cannot start the VM again: %s", e.text);
}

/* Once a device, whether it answers or ends, or both. */
static void family_quiesced(struct session *s)
{
	struct family *f = s->family;

	if (!s->quiescing)
		return;
	s->quiescing = false;
	if (--f->quiescing == 0)
		/* Not from inside the child's own callback. */
		loop_timer_arm(f->w_deadline, 0);
}

static void family_on_quiesced(struct child *c, const struct envelope *env,
			       int *fds, void *arg)
{
	struct session_proc *p = c->owner;

	(void)env;
	(void)fds;
	(void)arg;
	family_quiesced(p->session);
}

static void family_stop(struct family *f, enum family_state state)
{
	if (f->state == FAMILY_STOPPING || f->state == FAMILY_RESETTING)
		return;
	f->state = state;
	f->quiescing = 0;
	for (unsigned int i = 0; i < f->num_devices; i++) {
		struct session *s = &f->devices[i];

		s->quiescing = s->info.valid &&
			       session_quiesce(s, family_on_quiesced) == 0;
		f->quiescing += s->quiescing;
	}
	family_arm_deadline(f, f->quiescing ? FAMILY_QUIESCE_MS : 0, NULL);
}

void family_shutdown(struct family *f, int code)
{
	f->exit_code = code;
	f->restart = false;
	family_stop(f, FAMILY_STOPPING);
}

void family_reset(struct family *f)
{
	/* An end that was asked for is not undone by the guest. */
	if (f->state == FAMILY_STOPPING)
		return;
	f->restart = true;
	family_stop(f, FAMILY_RESETTING);
}

void family_fail(struct family *f, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (f->state != FAMILY_STOPPING || !f->exit_code)
		log_error("%s", text);
	family_shutdown(f, 1);
}

void family_close(struct family *f)
{
	if (f->abandoned)
		return;
	family_end_processes(f);
	for (unsigned int i = 0; i < f->num_devices; i++)
		session_close(&f->devices[i]);
	f->num_devices = 0;
	loop_watch_free(f->w_serial_listen);
	loop_watch_free(f->w_deadline);
	loop_watch_free(f->w_heartbeat);
	f->w_serial_listen = f->w_deadline = f->w_heartbeat = NULL;
	opened_close(&f->serial);
	opened_close(&f->debug_console);
	keep_free(f);
	f->hv_fd = fd_close(f->hv_fd);
	f->kernel_fd = fd_close(f->kernel_fd);
	f->initramfs_fd = fd_close(f->initramfs_fd);
	terminal_restore();
}

/* ---- what devices do ---- */

void family_device_ready(struct family *f, struct session *s)
{
	struct err e = {0};
	int r = session_send_memory(s, &e);

	if (r == 0)
		r = family_core_add_device(f, s, &e);
	/* The audit last: the others work on meanwhile. */
	if (r == 0)
		r = audit_gate_device(s, s->proc, &e);
	/* If it ended, that will be told. */
	if (r < 0 && r != -ESRCH)
		family_fail(f, "%s", e.text);
}

bool family_may_recover(const struct family *f)
{
	return f->state == FAMILY_RUNNING || f->state == FAMILY_ADOPTING;
}

int family_upgrade(struct family *f, const char *id, struct err *e)
{
	bool found = false;
	int r = 0;

	if (f->state != FAMILY_RUNNING)
		return err_set(e, -EAGAIN, "the VM is %s, not running",
			       family_state_name(f->state));
	for (unsigned int i = 0; r == 0 && i < f->num_devices; i++) {
		if (id[0] && strcmp(id, f->devices[i].id))
			continue;
		found = true;
		r = session_upgrade(&f->devices[i], e);
	}
	if (r == 0 && !found)
		return err_set(e, -ENOENT, "the VM has no device \"%s\"", id);
	return r;
}

void family_device_memory_ready(struct family *f, struct session *s)
{
	(void)s;
	family_maybe_boot(f);
}

void family_device_gone(struct family *f, struct session *s, const char *why)
{
	if (f->state == FAMILY_STOPPING || f->state == FAMILY_RESETTING) {
		family_quiesced(s);
		return;
	}
	family_fail(f, "device process bulkhead-%s (%s): %s", s->role, s->id,
		    why);
}

void family_console_size(struct family *f, uint32_t cols, uint32_t rows)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__ConsoleSize size = BULKHEAD__CONSOLE_SIZE__INIT;

	if (f->state != FAMILY_RUNNING || f->cfg->console.mode != CONSOLE_TTY)
		return;
	size.cols = cols;
	size.rows = rows;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONSOLE_SIZE;
	body.console_size = &size;
	/* The present process is told; a replacement is set up with it. */
	f->devices[0].opened.console.cols = cols;
	f->devices[0].opened.console.rows = rows;
	if (session_is_served(&f->devices[0]))
		child_request(&f->devices[0].proc->child, &body.base, NULL, 0,
			      NULL, NULL, NULL);
}
