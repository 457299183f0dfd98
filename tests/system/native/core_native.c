/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real core in its real sandbox, with guests of a few bytes. Plays the
 * broker. Needs /dev/kvm; a software-only KVM is enough (the guests execute a
 * few instructions). Without /dev/kvm: exit status 77, skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/channel/channel.h"
#include "common/sandbox/sandbox.h"
#include "proto/core.pb-c.h"

#define WAIT_MS	   20000
#define SKIPPED	   77
#define GUEST_CODE 0x100000
#define MIB_64	   (64ull << 20)

/* 32-bit code */
#define OUT(port, value)                                                       \
	0xba, (port)&0xff, (port) >> 8, 0, 0, 0xb0, (value), 0xee
#define IN(port)  0xba, (port)&0xff, (port) >> 8, 0, 0, 0xec
#define POWER_OFF OUT(0x600, 0x34)
#define FOREVER	  0xeb, 0xfe

struct core {
	struct sandbox_child child;
	struct channel *ch;
	int log_fd;
	uint32_t seq;
	int memfd; /* of the last VmCreated */
	uint64_t high;
	/* The last answer and what events came. */
	int status;
	char text[512];
	unsigned int num_debug;
	uint32_t debug_code;
	uint64_t debug_ns;
	Bulkhead__VmEvent__Kind end;
	char end_text[512];
	bool serial_closed;
};

static const char *test_name;
static bool verbose;

static void print_log(struct core *c)
{
	char buf[2048];
	ssize_t n;

	while ((n = read(c->log_fd, buf, sizeof(buf) - 1)) > 0)
		fprintf(stderr, "core: %.*s", (int)n, buf);
}

_Noreturn static void fail(struct core *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
_Noreturn static void fail(struct core *c, const char *fmt, ...)
{
	siginfo_t si = {0};
	va_list ap;

	fprintf(stderr, "FAILED: %s: ", test_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	if (c) {
		print_log(c);
		if (!waitid(P_PID, (id_t)c->child.pid, &si,
			    WEXITED | WNOHANG) &&
		    si.si_pid)
			fprintf(stderr, "core: ended, code %d status %d\n",
				si.si_code, si.si_status);
		kill(c->child.pid, SIGKILL);
	}
	exit(1);
}

#define expect(c, cond)                                                        \
	do {                                                                   \
		if (!(cond))                                                   \
			fail(c, "line %d: %s (status %d \"%s\")", __LINE__,    \
			     #cond, (c)->status, (c)->text);                   \
	} while (0)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int open_program(void)
{
	const char *bin = getenv("BULKHEAD_BIN");
	char path[4096];
	int fd;

	if (!bin)
		fail(NULL, "set BULKHEAD_BIN to the folder of bulkhead-core");
	snprintf(path, sizeof(path), "%s/bulkhead-core", bin);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail(NULL, "%s: %m", path);
	return fd;
}

static void core_spawn(struct core *c)
{
	struct sandbox_spawn_args args = {.cgroup_fd = -1,
					  .die_with_parent = true};
	int pair[2], log[2];
	struct err e = {0};

	memset(c, 0, sizeof(*c));
	c->memfd = -1;
	if (channel_pair(pair, &e) < 0 ||
	    channel_new(pair[0], &channel_format_core, false, &c->ch, &e) < 0)
		fail(NULL, "%s", e.text);
	if (pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
		fail(NULL, "pipe: %m");
	c->log_fd = log[0];
	args.manifest = sandbox_manifest_find("core");
	if (!args.manifest)
		fail(NULL, "no manifest");
	args.program_fd = open_program();
	args.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	args.log_fd = log[1];
	args.channel_fd = pair[1];
	args.host_uid = geteuid() ? geteuid() : 65534;
	args.host_gid = getegid() ? getegid() : 65534;
	if (sandbox_spawn(&args, &c->child, &e) < 0)
		fail(NULL, "spawn: %s", e.text);
	close(args.program_fd);
	close(args.null_fd);
	close(log[1]);
	close(pair[1]);
}

/* Answer an event of the core. */
static void core_answer(struct core *c, uint32_t seq)
{
	Bulkhead__CoreMessage m = BULKHEAD__CORE_MESSAGE__INIT;
	Bulkhead__Status status;
	struct err e;

	bulkhead__status__init(&status);
	m.seq = ++c->seq;
	m.answers = seq;
	m.status = &status;
	if (channel_send(c->ch, &m.base, NULL, 0, &e) < 0 && e.code != -EPIPE)
		fail(c, "answer: %s", e.text);
}

static void core_note_event(struct core *c, const Bulkhead__CoreBody *b)
{
	if (b->kind_case == BULKHEAD__CORE_BODY__KIND_SERIAL_CLOSED) {
		c->serial_closed = true;
		return;
	}
	if (b->kind_case != BULKHEAD__CORE_BODY__KIND_VM_EVENT)
		fail(c, "unexpected message %d", (int)b->kind_case);
	if (b->vm_event->kind == BULKHEAD__VM_EVENT__KIND__DEBUG_CODE) {
		c->num_debug++;
		c->debug_code = b->vm_event->code;
		c->debug_ns = b->vm_event->time_ns;
		return;
	}
	if (c->end)
		fail(c, "the guest's end came twice");
	c->end = b->vm_event->kind;
	snprintf(c->end_text, sizeof(c->end_text), "%s", b->vm_event->text);
}

static void core_note_created(struct core *c, struct channel_msg *cm,
			      const Bulkhead__VmCreated *v)
{
	c->memfd = take_fd(&cm->fds[0]);
	c->high = v->memory->n_regions > 1 ? v->memory->regions[1]->size : 0;
	expect(c, v->memory->regions[0]->gpa == 0);
	expect(c, v->phys_bits >= 36 && v->mmio64_size >= 1ull << 30);
	expect(c, v->mmio64_base >= (4ull << 30) + c->high);
	if (!verbose)
		return;
	for (size_t i = 0; i < v->sandbox->n_layers; i++)
		printf("  layer: %s\n", v->sandbox->layers[i]);
	for (size_t i = 0; i < v->sandbox->n_downgrades; i++)
		printf("  downgrade: %s\n", v->sandbox->downgrades[i]);
	printf("  %u system calls, tsc %llu kHz, %u address bits\n",
	       v->sandbox->syscalls, (unsigned long long)v->tsc_khz,
	       v->phys_bits);
}

/* One message; Return: the seq that it answers, 0 an event, -1 the end */
static int64_t core_receive(struct core *c, int ms)
{
	struct pollfd p = {.fd = channel_fd(c->ch), .events = POLLIN};
	const Bulkhead__CoreMessage *m;
	struct channel_msg cm;
	struct err e = {0};
	int64_t answers;
	int r;

	if (poll(&p, 1, ms) != 1)
		fail(c, "no message within %d ms", ms);
	r = channel_recv(c->ch, &cm, &e);
	if (r == 0 || r == -ECONNRESET)
		return -1;
	if (r < 0)
		fail(c, "receive: %s", e.text);
	m = (const Bulkhead__CoreMessage *)(const void *)cm.msg;
	answers = m->answers;
	if (!answers) {
		core_note_event(c, m->body);
		core_answer(c, m->seq);
	} else {
		c->status = m->status->code;
		snprintf(c->text, sizeof(c->text), "%s", m->status->text);
		if (m->body &&
		    m->body->kind_case == BULKHEAD__CORE_BODY__KIND_VM_CREATED)
			core_note_created(c, &cm, m->body->vm_created);
	}
	channel_msg_done(&cm);
	return answers;
}

/* Send and wait for the answer; Return: its status */
static int core_request(struct core *c, Bulkhead__CoreBody *body,
			const int *fds, unsigned int num_fds)
{
	Bulkhead__CoreMessage m = BULKHEAD__CORE_MESSAGE__INIT;
	struct err e = {0};
	int64_t r;

	m.seq = ++c->seq;
	m.body = body;
	if (channel_send(c->ch, &m.base, fds, num_fds, &e) < 0)
		fail(c, "send: %s", e.text);
	do
		r = core_receive(c, WAIT_MS);
	while (r == 0);
	if (r != m.seq)
		fail(c, "the core ended instead of answering");
	return c->status;
}

#define REQUEST(c, KIND, field, value)                                         \
	({                                                                     \
		Bulkhead__CoreBody body_ = BULKHEAD__CORE_BODY__INIT;          \
		body_.kind_case = BULKHEAD__CORE_BODY__KIND_##KIND;            \
		body_.field = (value);                                         \
		core_request(c, &body_, NULL, 0);                              \
	})

static int core_hello(struct core *c)
{
	Bulkhead__Hello h = BULKHEAD__HELLO__INIT;

	h.min_version = h.max_version = 1;
	h.log_level = verbose ? 3 : 0;
	return REQUEST(c, HELLO, hello, &h);
}

struct setup {
	unsigned int cpus;
	uint64_t memory;
	bool serial, waits, hugepages, prefault;
	int serial_in, serial_out, debug_out; /* -1 = none */
	int affinity;			      /* of vCPU 0; -1 = none */
};

static const struct setup plain = {.cpus = 1,
				   .memory = MIB_64,
				   .serial_in = -1,
				   .serial_out = -1,
				   .debug_out = -1,
				   .affinity = -1};

static int core_create(struct core *c, const struct setup *s)
{
	Bulkhead__CpuConfig cpus = BULKHEAD__CPU_CONFIG__INIT;
	Bulkhead__MemoryConfig memory = BULKHEAD__MEMORY_CONFIG__INIT;
	Bulkhead__CreateVm create = BULKHEAD__CREATE_VM__INIT;
	Bulkhead__CpuAffinity affinity = BULKHEAD__CPU_AFFINITY__INIT;
	Bulkhead__CpuAffinity *affinities[] = {&affinity};
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	uint32_t host_cpu = (uint32_t)s->affinity;
	int fds[4], r;
	unsigned int n = 0;

	cpus.boot = cpus.max = s->cpus;
	if (s->affinity >= 0) {
		affinity.n_host_cpus = 1;
		affinity.host_cpus = &host_cpu;
		cpus.n_affinity = 1;
		cpus.affinity = affinities;
	}
	memory.size = s->memory;
	memory.hugepages = s->hugepages;
	memory.prefault = s->prefault;
	create.cpus = &cpus;
	create.memory = &memory;
	create.serial = s->serial;
	create.serial_waits_for_client = s->waits;
	fds[n++] = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (s->serial_in >= 0) {
		create.serial_has_input = true;
		fds[n++] = s->serial_in;
	}
	if (s->serial_out >= 0) {
		create.serial_has_output = true;
		fds[n++] = s->serial_out;
	}
	if (s->debug_out >= 0) {
		create.debug_console = true;
		fds[n++] = s->debug_out;
	}
	body.kind_case = BULKHEAD__CORE_BODY__KIND_CREATE_VM;
	body.create_vm = &create;
	r = core_request(c, &body, fds, n);
	close(fds[0]);
	return r;
}

static int core_boot(struct core *c, const uint8_t *code, size_t len)
{
	Bulkhead__X86Entry x86 = BULKHEAD__X86_ENTRY__INIT;
	Bulkhead__EntryState entry = BULKHEAD__ENTRY_STATE__INIT;
	Bulkhead__Boot boot = BULKHEAD__BOOT__INIT;

	if (pwrite(c->memfd, code, len, GUEST_CODE) != (ssize_t)len)
		fail(c, "guest memory: %m");
	x86.rip = GUEST_CODE;
	x86.rsp = 0x8ff0;
	entry.arch_case = BULKHEAD__ENTRY_STATE__ARCH_X86;
	entry.x86 = &x86;
	boot.entry = &entry;
	return REQUEST(c, BOOT, boot, &boot);
}

static void core_wait_end(struct core *c)
{
	while (!c->end)
		if (core_receive(c, WAIT_MS) < 0)
			fail(c, "the core ended before the guest");
}

static int core_stop(struct core *c)
{
	Bulkhead__Stop stop = BULKHEAD__STOP__INIT;

	return REQUEST(c, STOP, stop, &stop);
}

/* Return: exit status, 128 + signal */
static int core_wait_exit(struct core *c)
{
	struct pollfd p = {.fd = c->child.pidfd, .events = POLLIN};
	siginfo_t si = {0};

	if (poll(&p, 1, WAIT_MS) != 1)
		fail(c, "the core does not end");
	if (waitid(P_PID, (id_t)c->child.pid, &si, WEXITED) < 0)
		fail(c, "waitid: %m");
	if (verbose)
		print_log(c);
	channel_free(c->ch);
	fd_close(c->memfd);
	close(c->log_fd);
	close(c->child.pidfd);
	return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}

static void start(struct core *c, const struct setup *s)
{
	core_spawn(c);
	expect(c, core_hello(c) == 0);
	expect(c, core_create(c, s) == 0);
}

static void finish(struct core *c)
{
	expect(c, core_stop(c) == 0);
	expect(c, core_wait_exit(c) == 0);
}

/* Read @fd until @len bytes came; Return: what came, as a string */
static const char *read_text(struct core *c, int fd, size_t len)
{
	static char buf[256];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t got = 0;

	while (got < len) {
		ssize_t n;

		if (poll(&p, 1, WAIT_MS) != 1)
			fail(c, "%zu bytes of %zu came", got, len);
		n = read(fd, buf + got, sizeof(buf) - 1 - got);
		if (n <= 0)
			fail(c, "read: %zd %m", n);
		got += (size_t)n;
	}
	buf[got] = '\0';
	return buf;
}

static void test_ports(void)
{
	static const uint8_t code[] = {OUT(0x80, 0x42), OUT(0x3f8, 'h'),
				       OUT(0x3f8, 'i'), OUT(0xe9, 'd'),
				       OUT(0x402, 'f'), POWER_OFF,
				       FOREVER};
	struct setup s = plain;
	int serial[2], debug[2];
	struct core c;
	uint64_t t0;

	if (pipe(serial) < 0 || pipe(debug) < 0)
		fail(NULL, "pipe: %m");
	s.serial = true;
	s.serial_out = serial[1];
	s.debug_out = debug[1];
	t0 = now_ns();
	core_spawn(&c);
	expect(&c, core_hello(&c) == 0);
	printf("  spawn to hello %.2f ms\n", (double)(now_ns() - t0) / 1e6);
	t0 = now_ns();
	expect(&c, core_create(&c, &s) == 0);
	printf("  CreateVm %.2f ms\n", (double)(now_ns() - t0) / 1e6);
	t0 = now_ns();
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	core_wait_end(&c);
	expect(&c, c.end == BULKHEAD__VM_EVENT__KIND__SHUTDOWN);
	expect(&c, c.num_debug == 1 && c.debug_code == 0x42);
	printf("  Boot to first exit %.3f ms\n",
	       (double)(c.debug_ns - t0) / 1e6);
	expect(&c, !strcmp(read_text(&c, serial[0], 2), "hi"));
	expect(&c, !strcmp(read_text(&c, debug[0], 2), "df"));
	finish(&c);
	close(serial[0]);
	close(serial[1]);
	close(debug[0]);
	close(debug[1]);
}

static void test_resets(void)
{
	static const uint8_t acpi[] = {OUT(0x600, 1), FOREVER};
	static const uint8_t i8042[] = {OUT(0x64, 0xfe), FOREVER};
	static const uint8_t cf9[] = {OUT(0xcf9, 0x06), FOREVER};
	static const uint8_t cmos[] = {OUT(0x70, 0x8f), OUT(0x71, 0), FOREVER};
	static const uint8_t port92[] = {OUT(0x92, 1), FOREVER};
	static const uint8_t fault[] = {0x0f, 0x0b}; /* UD2, no IDT */
	static const struct {
		const uint8_t *code;
		size_t len;
	} ways[] = {
		{acpi, sizeof(acpi)},	  {i8042, sizeof(i8042)},
		{cf9, sizeof(cf9)},	  {cmos, sizeof(cmos)},
		{port92, sizeof(port92)}, {fault, sizeof(fault)},
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct core c;

		start(&c, &plain);
		expect(&c, core_boot(&c, ways[i].code, ways[i].len) == 0);
		core_wait_end(&c);
		if (c.end != BULKHEAD__VM_EVENT__KIND__RESET)
			fail(&c, "way %zu: event %d \"%s\"", i, (int)c.end,
			     c.end_text);
		finish(&c);
	}
}

static void test_stop_while_running(void)
{
	static const uint8_t code[] = {OUT(0x80, 1), FOREVER};
	struct setup s = plain;
	struct core c;

	s.cpus = 4;
	start(&c, &s);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	while (!c.num_debug)
		core_receive(&c, WAIT_MS);
	finish(&c);
	expect(&c, !c.end);
	/* Without Boot, too. */
	start(&c, &s);
	finish(&c);
}

static void test_many_vcpus(void)
{
	static const uint8_t code[] = {OUT(0x80, 1), FOREVER};
	struct setup s = plain;
	struct core c;
	uint64_t t0;

	s.cpus = 254;
	core_spawn(&c);
	expect(&c, core_hello(&c) == 0);
	t0 = now_ns();
	expect(&c, core_create(&c, &s) == 0);
	printf("  CreateVm with 254 vCPUs %.1f ms\n",
	       (double)(now_ns() - t0) / 1e6);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	while (!c.num_debug)
		core_receive(&c, WAIT_MS);
	finish(&c);
}

static void test_broker_gone(void)
{
	static const uint8_t code[] = {OUT(0x80, 1), FOREVER};
	struct core c;

	start(&c, &plain);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	while (!c.num_debug)
		core_receive(&c, WAIT_MS);
	shutdown(channel_fd(c.ch), SHUT_RDWR);
	expect(&c, core_wait_exit(&c) == 0);
}

/* More than the UART holds: input waits, nothing is lost. */
static void echo_much(struct core *c, int fd)
{
	char in[200], want[201] = "";

	for (size_t i = 0; i < sizeof(in); i++) {
		in[i] = (char)('0' + i % 60); /* no 'q' */
		want[i] = (char)(in[i] + 1);
	}
	expect(c, write(fd, in, sizeof(in)) == (ssize_t)sizeof(in));
	expect(c, !strcmp(read_text(c, fd, sizeof(in)), want));
}

static void test_serial_client(void)
{
	/* 'a'; then echo each byte + 1 until 'q' */
	static const uint8_t code[] = {OUT(0x3fa, 1),
				       OUT(0x3f8, 'a'),
				       IN(0x3fd),
				       0xa8,
				       1, /* 22 */
				       0x74,
				       0xf6, /* jz: poll LSR again */
				       IN(0x3f8),
				       0x3c,
				       'q',
				       0x74,
				       5, /* cmp, je: 5 ahead */
				       0xfe,
				       0xc0,
				       0xee, /* inc al; out dx, al */
				       0xeb,
				       0xe7, /* jmp: poll */
				       POWER_OFF,
				       FOREVER};
	Bulkhead__SerialAttach attach = BULKHEAD__SERIAL_ATTACH__INIT;
	Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
	struct setup s = plain;
	struct core c;
	int pair[2];

	s.serial = true;
	s.waits = true;
	start(&c, &s);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	body.kind_case = BULKHEAD__CORE_BODY__KIND_SERIAL_ATTACH;
	body.serial_attach = &attach;
	for (int i = 0; i < 2; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			fail(&c, "socketpair: %m");
		expect(&c, core_request(&c, &body, &pair[1], 1) == 0);
		close(pair[1]);
		/* The first client gets what was said before it came. */
		if (!i)
			expect(&c, !strcmp(read_text(&c, pair[0], 1), "a"));
		expect(&c, write(pair[0], "HAL", 3) == 3);
		expect(&c, !strcmp(read_text(&c, pair[0], 3), "IBM"));
		echo_much(&c, pair[0]);
		if (i)
			expect(&c, write(pair[0], "q", 1) == 1);
		else
			close(pair[0]);
		while (!i && !c.serial_closed)
			core_receive(&c, WAIT_MS);
	}
	core_wait_end(&c);
	expect(&c, c.end == BULKHEAD__VM_EVENT__KIND__SHUTDOWN);
	close(pair[0]);
	finish(&c);
}

static void test_power_button(void)
{
	/* Poll the event device's status; tell it to port 0x80. */
	static const uint8_t code[] = {IN(0x618), 0x3c, 0,	   0x74,   0xf6,
				       0xe6,	  0x80, POWER_OFF, FOREVER};
	Bulkhead__PowerButton button = BULKHEAD__POWER_BUTTON__INIT;
	struct core c;

	start(&c, &plain);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	expect(&c, REQUEST(&c, POWER_BUTTON, power_button, &button) == 0);
	core_wait_end(&c);
	expect(&c, c.num_debug == 1 && c.debug_code == 8);
	finish(&c);
}

static void test_large_memory(void)
{
	/* CMOS 0x5b and 0x5c: RAM above 4 GiB, in 64 KiB */
	static const uint8_t code[] = {OUT(0x70, 0x5c), IN(0x71), 0xe6, 0x80,
				       POWER_OFF,	FOREVER};
	struct setup s = plain;
	struct core c;

	s.memory = 4ull << 30;
	start(&c, &s);
	expect(&c, c.high == 1ull << 30);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	core_wait_end(&c);
	expect(&c, c.num_debug == 1 && c.debug_code == 0x40);
	finish(&c);
}

static void test_flood(void)
{
	/* 2000 codes: the events are bounded, the end is still told */
	static const uint8_t code[] = {0xb9, 0xd0,	0x07,	0,
				       0,    0xe6,	0x80,	0xe2,
				       0xfc, POWER_OFF, FOREVER};
	struct core c;

	start(&c, &plain);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	core_wait_end(&c);
	expect(&c, c.end == BULKHEAD__VM_EVENT__KIND__SHUTDOWN);
	expect(&c, c.num_debug > 0 && c.num_debug <= 200);
	finish(&c);
}

static void refused(const struct setup *s, int code, const char *word)
{
	struct core c;

	core_spawn(&c);
	expect(&c, core_hello(&c) == 0);
	core_create(&c, s);
	if (c.status != code || !strstr(c.text, word))
		fail(&c, "status %d \"%s\", want %d \"%s\"", c.status, c.text,
		     code, word);
	if (verbose)
		printf("  refused: %s\n", c.text);
	finish(&c);
}

static void test_bad_configurations(void)
{
	struct setup s = plain;

	s.cpus = 0;
	refused(&s, -EINVAL, "1 to 254");
	s.cpus = 255;
	refused(&s, -EINVAL, "255");
	s = plain;
	s.memory = 1 << 20;
	refused(&s, -EINVAL, "memory size");
	s.memory = MIB_64 + 4096;
	refused(&s, -EINVAL, "memory size");
	s = plain;
	s.affinity = 1023;
	refused(&s, -EINVAL, "host CPUs");
	s.affinity = 100000;
	refused(&s, -EINVAL, "host CPU 100000");
	s = plain;
	s.serial_out = STDOUT_FILENO;
	refused(&s, -EBADMSG, "serial");
}

static void test_prefault(void)
{
	static const uint8_t code[] = {POWER_OFF, FOREVER};
	struct setup s = plain;
	struct core c;

	s.prefault = true;
	s.memory = 256ull << 20;
	start(&c, &s);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	core_wait_end(&c);
	finish(&c);
}

static void test_wrong_order(void)
{
	Bulkhead__PowerButton button = BULKHEAD__POWER_BUTTON__INIT;
	static const uint8_t code[] = {FOREVER};
	struct core c;

	core_spawn(&c);
	expect(&c, core_hello(&c) == 0);
	expect(&c, REQUEST(&c, POWER_BUTTON, power_button, &button) == -EBUSY);
	expect(&c, core_create(&c, &plain) == 0);
	expect(&c, core_create(&c, &plain) == -EBUSY);
	expect(&c, core_boot(&c, code, sizeof(code)) == 0);
	expect(&c, core_boot(&c, code, sizeof(code)) == -EBUSY);
	finish(&c);
	/* Before Hello: not even an answer. */
	core_spawn(&c);
	{
		Bulkhead__CoreMessage m = BULKHEAD__CORE_MESSAGE__INIT;
		Bulkhead__CoreBody body = BULKHEAD__CORE_BODY__INIT;
		struct err e;

		body.kind_case = BULKHEAD__CORE_BODY__KIND_POWER_BUTTON;
		body.power_button = &button;
		m.seq = 1;
		m.body = &body;
		expect(&c, channel_send(c.ch, &m.base, NULL, 0, &e) == 0);
		expect(&c, core_receive(&c, WAIT_MS) < 0);
		expect(&c, core_wait_exit(&c) == 1);
	}
	/* Not a message at all. */
	core_spawn(&c);
	expect(&c, send(channel_fd(c.ch), "\xff\xff\xff", 3, 0) == 3);
	expect(&c, core_receive(&c, WAIT_MS) < 0);
	expect(&c, core_wait_exit(&c) == 1);
}

static const struct {
	const char *name;
	void (*fn)(void);
} tests[] = {
	{"ports", test_ports},
	{"resets", test_resets},
	{"stop while running", test_stop_while_running},
	{"many vCPUs", test_many_vcpus},
	{"broker gone", test_broker_gone},
	{"serial client", test_serial_client},
	{"power button", test_power_button},
	{"large memory", test_large_memory},
	{"flood of debug codes", test_flood},
	{"bad configurations", test_bad_configurations},
	{"prefault", test_prefault},
	{"wrong order", test_wrong_order},
};

int main(int argc, char **argv)
{
	auto_fd kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		printf("skipped: /dev/kvm: %m\n");
		return SKIPPED;
	}
	signal(SIGPIPE, SIG_IGN);
	verbose = getenv("VERBOSE") != NULL;
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		test_name = tests[i].name;
		printf("%s\n", test_name);
		fflush(stdout);
		tests[i].fn();
	}
	printf("passed\n");
	return 0;
}
