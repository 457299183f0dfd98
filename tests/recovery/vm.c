/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/recovery/storm.h"

#define IMAGE_SIZE (64 << 20)
#define START_US   20000000
#define END_US	   180000000

extern char **environ;

const char *vm_path(const struct storm_vm *vm, const char *file)
{
	static _Thread_local char path[128];

	snprintf(path, sizeof(path), "%s/%s", vm->folder, file);
	return path;
}

static void vm_pause(unsigned int ms)
{
	nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000},
		  NULL);
}

static void vm_make_image(const struct storm_vm *vm)
{
	int fd = open(vm_path(vm, "disk.img"), O_RDWR | O_CREAT | O_CLOEXEC,
		      0600);

	if (fd < 0 || ftruncate(fd, IMAGE_SIZE) < 0)
		storm_die("disk.img: %m");
	close(fd);
}

/* @argv as a program of its own; output and errors go to @file */
static pid_t vm_spawn(const struct storm_vm *vm, const char *file,
		      char *const argv[])
{
	posix_spawn_file_actions_t fa;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, vm_path(vm, file),
					 O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&fa, 1, 2);
	r = posix_spawn(&pid, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		storm_die("%s: %s", argv[0], strerror(r));
	return pid;
}

char *vm_read(const struct storm_vm *vm, const char *file)
{
	FILE *f = fopen(vm_path(vm, file), "re");
	size_t size = 0, room = 1 << 16;
	char *text = malloc(room);

	while (f && text) {
		size_t n = fread(text + size, 1, room - 1 - size, f);

		size += n;
		if (!n)
			break;
		if (size == room - 1)
			text = realloc(text, room *= 2);
	}
	if (!text)
		storm_die("no memory");
	text[size] = '\0';
	if (f)
		fclose(f);
	return text;
}

bool vm_is_alive(struct storm_vm *vm)
{
	if (vm->pid > 0 && waitpid(vm->pid, &vm->status, WNOHANG) == vm->pid)
		vm->pid = 0;
	return vm->pid > 0;
}

/* The guest's first words tell its TSC; natively it is mostly the host's. */
static void vm_wait_ready(struct storm_vm *vm)
{
	uint64_t end = storm_now_us() + START_US, guest;

	while (storm_now_us() < end) {
		char *text = vm_read(vm, "debug.txt"), *p, *q;

		p = strstr(text, "READY tsc=");
		q = p ? strstr(p, "khz=") : NULL;
		if (q && strchr(q, '\n')) {
			guest = strtoull(p + 10, NULL, 10);
			vm->khz = strtoull(q + 4, NULL, 10);
			vm->tsc_offset = (int64_t)(storm_tsc() - guest);
			if (vm->tsc_offset > 0 &&
			    vm->tsc_offset < (int64_t)(vm->khz * 1000))
				vm->tsc_offset = 0;
			free(text);
			return;
		}
		free(text);
		if (!vm_is_alive(vm))
			break;
		vm_pause(1);
	}
	storm_die("the guest does not start; see %s/log.txt", vm->folder);
}

struct vm_args {
	char text[24][512];
	char *argv[25];
	unsigned int num;
};

static void vm_arg(struct vm_args *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void vm_arg(struct vm_args *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->text[a->num], sizeof(a->text[0]), fmt, ap);
	va_end(ap);
	a->argv[a->num] = a->text[a->num];
	a->num++;
}

static void vm_arg_console(struct vm_args *a, const struct storm_vm *vm)
{
	switch (vm->options->console) {
	case CONSOLE_FILE:
		vm_arg(a, "file=%s/console.txt", vm->folder);
		break;
	case CONSOLE_SOCKET:
		vm_arg(a, "socket=%s/console", vm->folder);
		break;
	case CONSOLE_PTY:
		vm_arg(a, "pty");
		break;
	}
}

void vm_start(struct storm_vm *vm, const struct storm_options *o)
{
	struct vm_args a = {0};

	vm->options = o;
	snprintf(vm->folder, sizeof(vm->folder), "/tmp/storm-XXXXXX");
	if (!mkdtemp(vm->folder))
		storm_die("mkdtemp: %m");
	snprintf(vm->name, sizeof(vm->name), "storm%d", (int)getpid());
	vm_make_image(vm);
	vm_arg(&a, "%s/bulkhead", o->bin);
	vm_arg(&a, "run");
	vm_arg(&a, "--name");
	vm_arg(&a, "%s", vm->name);
	vm_arg(&a, "--kernel");
	vm_arg(&a, "%s", o->guest);
	vm_arg(&a, "--memory");
	vm_arg(&a, "size=64M");
	vm_arg(&a, "--disk");
	vm_arg(&a, "path=%s/disk.img%s", vm->folder,
	       o->direct ? ",direct=on" : "");
	vm_arg(&a, "--net");
	vm_arg(&a, "tap=" STORM_TAP);
	vm_arg(&a, "--console");
	vm_arg_console(&a, vm);
	vm_arg(&a, "--debug-console");
	vm_arg(&a, "file=%s/debug.txt", vm->folder);
	vm_arg(&a, "--audit=%s", o->audit);
	vm_arg(&a, "--spares=%s", o->spares);
	vm_arg(&a, o->verbose ? "-vv" : "-v");
	vm_arg(&a, "--cmdline");
	vm_arg(&a,
	       "com1=0 time=3600 packed=%d seed=%u blk_rate=%u depth=%u "
	       "%s%s%s",
	       o->packed, o->seed, o->blk_rate, o->depth,
	       o->busy ? "rng_rate=20000 " : "",
	       o->busy && o->console == CONSOLE_FILE ? "console_rate=20000 " : "",
	       o->words);
	vm->pid = vm_spawn(vm, "log.txt", a.argv);
	vm_wait_ready(vm);
}

int vm_command(const struct storm_vm *vm, const char *command, const char *arg,
	       char *out, size_t out_size)
{
	bool is_ps = !strcmp(command, "ps");
	struct vm_args a = {0};
	int status;
	pid_t pid;

	vm_arg(&a, "%s/bulkhead", vm->options->bin);
	vm_arg(&a, "%s", command);
	if (is_ps)
		vm_arg(&a, "--json");
	vm_arg(&a, "%s", vm->name);
	if (arg)
		vm_arg(&a, "%s", arg);
	pid = vm_spawn(vm, "command.txt", a.argv);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (out) {
		char *text = vm_read(vm, "command.txt");

		snprintf(out, out_size, "%s", text);
		free(text);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static uint64_t vm_json_number(const char *object, const char *key)
{
	const char *p = strstr(object, key);

	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

bool vm_ps(const struct storm_vm *vm, enum storm_device d,
	   struct storm_proc *ret)
{
	static char text[32768];
	char key[64], *p, *end;

	if (vm_command(vm, "ps", NULL, text, sizeof(text)))
		return false;
	snprintf(key, sizeof(key), "{\"role\":\"%s\"", storm_roles[d]);
	p = strstr(text, key);
	end = p ? strchr(p, '}') : NULL;
	if (!end)
		return false;
	*end = '\0';
	ret->pid = (pid_t)vm_json_number(p, "\"pid\":");
	ret->restarts = (unsigned int)vm_json_number(p, "\"restarts\":");
	ret->upgrades = (unsigned int)vm_json_number(p, "\"upgrades\":");
	ret->running = strstr(p, "\"state\":\"running\"");
	return true;
}

void vm_orphan(struct storm_vm *vm)
{
	if (!vm_is_alive(vm))
		return;
	kill(vm->pid, SIGKILL);
	while (waitpid(vm->pid, &vm->status, 0) < 0 && errno == EINTR)
		;
	vm->pid = 0;
}

void vm_adopt(struct storm_vm *vm)
{
	struct vm_args a = {0};

	vm_arg(&a, "%s/bulkhead", vm->options->bin);
	vm_arg(&a, "adopt");
	vm_arg(&a, "--log-file");
	vm_arg(&a, "%s/log.txt", vm->folder);
	vm_arg(&a, "%s", vm->name);
	vm->pid = vm_spawn(vm, "adopt.txt", a.argv);
}

void vm_stop(struct storm_vm *vm)
{
	uint64_t end = storm_now_us() + END_US;

	if (vm_is_alive(vm) && vm_command(vm, "power-button", NULL, NULL, 0))
		storm_finding("the power button can't be pressed");
	while (vm_is_alive(vm) && storm_now_us() < end)
		vm_pause(10);
	if (vm_is_alive(vm)) {
		storm_finding("the guest does not end");
		kill(vm->pid, SIGTERM);
		for (int i = 0; vm_is_alive(vm) && i < 1000; i++)
			vm_pause(10);
	} else if (!WIFEXITED(vm->status) || WEXITSTATUS(vm->status)) {
		storm_finding("bulkhead run ended with status %#x",
			      (unsigned int)vm->status);
	}
	vm->report = vm_read(vm, "debug.txt");
}

void vm_cleanup(struct storm_vm *vm)
{
	static const char *const files[] = {
		"disk.img",    "log.txt", "debug.txt", "command.txt",
		"console.txt", "console", "adopt.txt"};

	if (vm_is_alive(vm))
		kill(vm->pid, SIGTERM);
	else
		/* If its broker crashed the guest runs on. */
		vm_command(vm, "stop", NULL, NULL, 0);
	free(vm->report);
	vm->report = NULL;
	if (vm->options->keep) {
		printf("kept: %s\n", vm->folder);
		return;
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(vm_path(vm, files[i]));
	rmdir(vm->folder);
}
