/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bulkhead-loader: one Hello, one Load, one answer, gone. It is locked down
 * before it looks at the first byte of a kernel; what remains to it then is
 * guest memory and two descriptors to read.
 *
 * Nothing is closed or freed: the end of the process is near.
 */

#include <errno.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/base/num.h"
#include "common/channel/channel.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "vmm-core/loader/request.h"

/* The channel's buffers; nothing else uses the heap. */
#define LOADER_HEAP MIB

SECCOMP_PROFILE(loader);

struct loader {
	struct channel *channel;
	struct sandbox_report report;
	struct channel_msg msg;
	struct request request;
	struct gmem mem;
	struct image kernel;
	struct image initramfs;
	struct boot_entry entry;
	uint32_t seq; /* of what was sent last */
};

static int loader_answer(struct loader *l, uint32_t to, int code,
			 const char *text, Bulkhead__LoaderBody *body,
			 struct err *e)
{
	Bulkhead__Status status;
	Bulkhead__LoaderMessage m;
	char copy[ERR_TEXT_MAX];

	bulkhead__status__init(&status);
	bulkhead__loader_message__init(&m);
	/* protobuf-c's strings are not const; the encoder only reads. */
	snprintf(copy, sizeof(copy), "%s", text);
	status.code = code;
	status.text = copy;
	m.seq = ++l->seq;
	m.answers = to;
	m.status = &status;
	m.body = body;
	return channel_send(l->channel, &m.base, NULL, 0, e);
}

/* Tell the broker the sentence; Return: 1 = it knows, else the error's code */
static int loader_refuse(struct loader *l, uint32_t to, const struct err *e)
{
	struct err ignored;

	if (loader_answer(l, to, e->code, e->text, NULL, &ignored) < 0)
		return e->code;
	return 1;
}

static int loader_recv(struct loader *l, Bulkhead__LoaderBody__KindCase kind,
		       const Bulkhead__LoaderMessage **ret, struct err *e)
{
	const Bulkhead__LoaderMessage *m;
	int r = channel_recv(l->channel, &l->msg, e);

	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, -EPIPE, "the broker closed the channel");
	m = (const void *)l->msg.msg;
	if (m->answers || !m->body || m->body->kind_case != kind)
		return err_set(e, -EBADMSG,
			       "the broker sent another message than expected");
	*ret = m;
	return 0;
}

static int loader_greet(struct loader *l, struct err *e)
{
	Bulkhead__HelloReply reply;
	Bulkhead__LoaderBody body;
	static char program[] = "bulkhead-loader";
	static char release[] = BULKHEAD_VERSION;
	const Bulkhead__LoaderMessage *m;
	const Bulkhead__Hello *hello;
	int r = loader_recv(l, BULKHEAD__LOADER_BODY__KIND_HELLO, &m, e);

	bulkhead__hello_reply__init(&reply);
	bulkhead__loader_body__init(&body);
	if (r < 0)
		return r;
	hello = m->body->hello;
	log_set_level((enum log_level)min_u64(hello->log_level, LOG_TRACE));
	if (hello->min_version > CHANNEL_VERSION || !hello->max_version) {
		err_set(e, -EPROTO,
			"broker and loader have no protocol version in common "
			"(broker %u to %u, loader %u): use programs of one "
			"release",
			hello->min_version, hello->max_version,
			CHANNEL_VERSION);
		return loader_refuse(l, m->seq, e);
	}
	reply.version = CHANNEL_VERSION;
	reply.program = program;
	reply.release = release;
	body.kind_case = BULKHEAD__LOADER_BODY__KIND_HELLO_REPLY;
	body.hello_reply = &reply;
	return loader_answer(l, m->seq, 0, "", &body, e);
}

/* Everything that needs system calls of its own, before the lock. */
static int loader_prepare(struct loader *l, const Bulkhead__Load *load,
			  struct err *e)
{
	struct request *req = &l->request;
	int *kernel_fd;
	int r = request_parse(load, req, e);

	if (r < 0)
		return r;
	/* The channel counted: memfds, kernel, initramfs if announced. */
	if (l->msg.num_fds !=
	    req->num_memfds + 1 + (req->has_initramfs ? 1 : 0))
		return err_set(e, -EINVAL,
			       "load: %u descriptors are too many "
			       "or too few",
			       l->msg.num_fds);
	r = gmem_map(&l->mem, req->memory, req->num_memory, l->msg.fds,
		     req->num_memfds, e);
	if (r < 0)
		return r;
	req->boot.mem = &l->mem;
	kernel_fd = &l->msg.fds[req->num_memfds];
	r = image_fd_init(&l->kernel, "kernel", kernel_fd, e);
	req->boot.kernel = &l->kernel;
	if (r == 0 && req->has_initramfs) {
		r = image_fd_init(&l->initramfs, "initramfs", kernel_fd + 1, e);
		req->boot.initramfs = &l->initramfs;
	}
	return r;
}

static int loader_confine(struct loader *l, struct err *e)
{
	int r = sandbox_restrict(&l->report, e);

	return r < 0 ? r : sandbox_lock(&seccomp_profile_loader, &l->report, e);
}

static void loader_list_notes(char notes[][SANDBOX_NOTE_MAX],
			      unsigned int count, char **ret)
{
	for (unsigned int i = 0; i < count; i++)
		ret[i] = notes[i];
}

static int loader_report(struct loader *l, uint32_t to, struct err *e)
{
	Bulkhead__X86Entry x86;
	Bulkhead__EntryState entry;
	Bulkhead__SandboxReport report;
	Bulkhead__Loaded loaded;
	Bulkhead__LoaderBody body;
	char *layers[SANDBOX_MAX_NOTES], *downgrades[SANDBOX_MAX_NOTES];
	char format[32];

	bulkhead__x86_entry__init(&x86);
	bulkhead__entry_state__init(&entry);
	bulkhead__sandbox_report__init(&report);
	bulkhead__loaded__init(&loaded);
	bulkhead__loader_body__init(&body);
	x86.long_mode = l->entry.long_mode;
	x86.rip = l->entry.rip;
	x86.rsp = l->entry.rsp;
	x86.rbx = l->entry.rbx;
	x86.rsi = l->entry.rsi;
	x86.cr3 = l->entry.cr3;
	x86.gdt_base = l->entry.gdt_base;
	x86.gdt_limit = l->entry.gdt_limit;
	entry.arch_case = BULKHEAD__ENTRY_STATE__ARCH_X86;
	entry.x86 = &x86;

	loader_list_notes(l->report.layers, l->report.num_layers, layers);
	loader_list_notes(l->report.downgrades, l->report.num_downgrades,
			  downgrades);
	report.layers = layers;
	report.n_layers = l->report.num_layers;
	report.downgrades = downgrades;
	report.n_downgrades = l->report.num_downgrades;
	report.syscalls = l->report.syscalls;

	snprintf(format, sizeof(format), "%s", l->entry.format);
	loaded.entry = &entry;
	loaded.sandbox = &report;
	loaded.format = format;
	body.kind_case = BULKHEAD__LOADER_BODY__KIND_LOADED;
	body.loaded = &loaded;
	return loader_answer(l, to, 0, "", &body, e);
}

static int loader_serve(struct loader *l, struct err *e)
{
	const Bulkhead__LoaderMessage *m;
	int r = loader_greet(l, e);

	if (r == 0)
		r = loader_recv(l, BULKHEAD__LOADER_BODY__KIND_LOAD, &m, e);
	if (r < 0)
		return r;
	r = loader_prepare(l, m->body->load, e);
	if (r == 0)
		r = loader_confine(l, e);
	if (r == 0)
		r = boot_load(&l->request.boot, &l->entry, e);
	if (r < 0)
		return loader_refuse(l, m->seq, e);
	return loader_report(l, m->seq, e);
}

int main(void)
{
	static struct loader loader; /* large, and zero */
	struct err e = {0};
	int r = sandbox_start(LOADER_HEAP, &loader.report, &e);

	if (r == 0)
		r = channel_new(SANDBOX_FD_CHANNEL, &channel_format_loader,
				true, &loader.channel, &e);
	if (r == 0)
		r = loader_serve(&loader, &e);
	if (r < 0)
		log_error("%s", e.text);
	return r != 0;
}
