/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/family_loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/family_config.h"
#include "broker/family_core.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "proto/loader.pb-c.h"

static int family_loader_on_message(struct child *c, const struct envelope *env,
				    int *fds, unsigned int num_fds,
				    struct err *e)
{
	const Bulkhead__LoaderBody *body = (const void *)env->body;

	(void)c;
	(void)fds;
	(void)num_fds;
	return err_set(e, -EPROTO, "message %d is not the loader's to send",
		       (int)body->kind_case);
}

static void family_loader_on_gone(struct child *c, const char *why)
{
	struct family *f = c->owner;

	if (!c->expected_exit && f->state == FAMILY_STARTING)
		family_fail(f, "the loader %s", why);
}

static const struct child_handler family_loader_handler = {
	.message = family_loader_on_message,
	.gone = family_loader_on_gone,
};

int family_loader_start(struct family *f, struct err *e)
{
	Bulkhead__LoaderBody body = BULKHEAD__LOADER_BODY__INIT;
	Bulkhead__Hello hello = BULKHEAD__HELLO__INIT;
	const struct child_args args = {
		.role = "loader",
		.id = "",
		.format = &channel_format_loader,
		.loop = f->loop,
		.handler = &family_loader_handler,
		.owner = f,
		.uid_index = 1,
	};
	int r = child_start(&f->loader, &args, e);

	if (r < 0)
		return r;
	family_fill_hello(&hello);
	body.kind_case = BULKHEAD__LOADER_BODY__KIND_HELLO;
	body.hello = &hello;
	return child_request(&f->loader, &body.base, NULL, 0, family_on_hello,
			     NULL, e);
}

static int family_keep_entry(struct family *f, const Bulkhead__EntryState *m)
{
	size_t len = bulkhead__entry_state__get_packed_size(m);
	auto_free uint8_t *buf = malloc(len + 1);

	if (!buf)
		return -ENOMEM;
	bulkhead__entry_state__pack(m, buf);
	f->entry = bulkhead__entry_state__unpack(NULL, len, buf);
	return f->entry ? 0 : -ENOMEM;
}

/* The loader knows its files by what they are, the user by their options. */
static void family_load_failed(struct family *f, const char *text)
{
	if (!strncmp(text, "kernel: ", 8))
		family_fail(f, "--kernel %s: %s", f->cfg->kernel, text + 8);
	else if (!strncmp(text, "initramfs: ", 11))
		family_fail(f, "--initramfs %s: %s", f->cfg->initramfs,
			    text + 11);
	else
		family_fail(f, "%s", text);
}

static void family_on_loaded(struct child *c, const struct envelope *env,
			     int *fds, void *arg)
{
	const Bulkhead__LoaderBody *body = (const void *)env->body;
	struct family *f = c->owner;

	(void)fds;
	(void)arg;
	c->expected_exit = true;
	if (env->status->code) {
		family_load_failed(f, env->status->text);
		return;
	}
	if (!body || body->kind_case != BULKHEAD__LOADER_BODY__KIND_LOADED ||
	    !body->loaded->entry) {
		family_fail(f, "the loader answered with something else");
		return;
	}
	child_note_sandbox(c, body->loaded->sandbox);
	log_info("kernel format: %s", body->loaded->format);
	if (family_keep_entry(f, body->loaded->entry) < 0) {
		family_fail(f, "no memory for the entry state");
		return;
	}
	family_maybe_boot(f);
}

int family_loader_load(struct family *f, struct err *e)
{
	Bulkhead__LoaderBody body = BULKHEAD__LOADER_BODY__INIT;
	Bulkhead__PlatformConfig platform;
	Bulkhead__Load load = BULKHEAD__LOAD__INIT;
	int fds[FAMILY_MEMFDS_MAX + 2];
	struct family_cpus cpus;
	unsigned int n = 0;
	int r;

	bulkhead__platform_config__init(&platform);
	for (; n < f->num_memfds; n++)
		fds[n] = f->memfds[n];
	fds[n++] = f->kernel_fd;
	if (f->initramfs_fd >= 0)
		fds[n++] = f->initramfs_fd;
	r = family_fill_cpus(&f->cfg->cpus, &cpus);
	if (r == 0) {
		family_fill_platform(&f->cfg->platform, &platform);
		load.memory = f->memory;
		load.cpus = &cpus.msg;
		load.platform = &platform;
		load.cmdline.data = (uint8_t *)f->cfg->cmdline;
		load.cmdline.len = strlen(f->cfg->cmdline);
		load.has_initramfs = f->initramfs_fd >= 0;
		load.serial = f->cfg->serial.mode != CONSOLE_OFF;
		load.phys_bits = f->phys_bits;
		load.mmio64_base = f->mmio64_base;
		load.mmio64_size = f->mmio64_size;
		load.num_memfds = f->num_memfds;
		body.kind_case = BULKHEAD__LOADER_BODY__KIND_LOAD;
		body.load = &load;
		r = child_request(&f->loader, &body.base, fds, n,
				  family_on_loaded, NULL, e);
	} else {
		err_set(e, r, "no memory for the CPU configuration");
	}
	family_free_cpus(&cpus);
	return r;
}
