/* SPDX-License-Identifier: Apache-2.0 */

/*
 * recovery-storm: kills device processes of a VM whose guest (tests/guest/load)
 * does verified I/O on all devices, and checks that it never notices.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/load/pattern.h"
#include "tests/recovery/storm.h"

#define SETTLE_US 60000000
#define KILLS_MAX 100000
#define SKIPPED	  77
#define TRIES_MAX 1500 /* looks for a process to kill, 10 ms apart */

const char *const storm_roles[NUM_DEVS] = {"blk", "net", "console", "rng"};
static const char *const storm_ids[NUM_DEVS] = {"_disk0", "_net1", "__console",
						"__rng"};

static unsigned int findings;
static unsigned int replaced[NUM_DEVS]; /* processes, at least */
static uint64_t random_state;
static struct storm_vm the_vm;

void storm_die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "recovery-storm: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	if (the_vm.pid > 0)
		kill(the_vm.pid, SIGTERM);
	else if (the_vm.name[0])
		vm_command(&the_vm, "stop", NULL, NULL, 0);
	exit(2);
}

void storm_finding(const char *fmt, ...)
{
	va_list ap;

	findings++;
	printf("FAIL ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

unsigned int storm_findings(void)
{
	return findings;
}

uint64_t storm_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t storm_random(void)
{
	return random_state = pattern_mix(random_state);
}

/* ---- options ---- */

static void usage(FILE *f)
{
	fprintf(f,
		"Usage: recovery-storm --kills N [option...]\n"
		"Kills device processes under verified load. Needs root and\n"
		"/dev/kvm (else status 77); 0 = nothing was found, 1 = "
		"faults.\n"
		"\n"
		"  --bin DIR          folder of the bulkhead programs (bin)\n"
		"  --guest FILE       the load guest (tests/guest/load)\n"
		"  --kills N          how many (50)\n"
		"  --seed S           of all that is random (1)\n"
		"  --devices LIST     of blk,net,console,rng (all)\n"
		"  --mode MODE        kill, stop, segv, seccomp, mixed (of "
		"these\n"
		"                     but stop), upgrade; adopt: the broker "
		"is\n"
		"                     killed, too (kill)\n"
		"  --interval MS      mean time between kills (300)\n"
		"  --console KIND     file, socket or pty (socket)\n"
		"  --packed           packed rings\n"
		"  --direct           the disk bypasses the page cache\n"
		"  --rate N           disk requests a second (2000; 0 = all)\n"
		"  --depth N          disk requests at once (8)\n"
		"  --busy             the disk as fast as it goes, entropy "
		"and a\n"
		"                     console to a file ten times as often: "
		"pauses\n"
		"                     mean little, but the disk dies amid "
		"requests\n"
		"  --audit MODE       as for bulkhead run (enforce)\n"
		"  --spares on|off    as for bulkhead run (on)\n"
		"  --words TEXT       more for the guest's command line\n"
		"  --corrupt          change a block of the image meanwhile\n"
		"  --drop N           send each Nth frame not back\n"
		"  --json, --verbose, --keep, --help\n");
}

static void parse_devices(struct storm_options *o, char *list)
{
	memset(o->devices, 0, sizeof(o->devices));
	for (char *save, *w = strtok_r(list, ",", &save); w;
	     w = strtok_r(NULL, ",", &save)) {
		int d = 0;

		while (d < NUM_DEVS && strcmp(w, storm_roles[d]))
			d++;
		if (d == NUM_DEVS)
			storm_die("no device \"%s\"", w);
		o->devices[d] = true;
	}
}

static unsigned int parse_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || n > 1000000)
		storm_die("not a number from 0 to 1000000: \"%s\"", text);
	return (unsigned int)n;
}

static enum storm_console parse_console(const char *text)
{
	static const char *const kinds[] = {"file", "socket", "pty"};

	for (int i = 0; i < 3; i++) {
		if (!strcmp(text, kinds[i]))
			return (enum storm_console)i;
	}
	storm_die("no kind of console: \"%s\"", text);
}

static void parse_mode(struct storm_options *o, const char *text)
{
	static const char *const modes[] = {
		"kill", "stop", "segv", "seccomp", "mixed", "upgrade", "adopt"};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(text, modes[i]))
			o->mode = modes[i];
	}
	if (o->mode && strcmp(o->mode, text))
		storm_die("no mode \"%s\"", text);
}

static void parse(struct storm_options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"bin", 1, NULL, 'b'},
		{"guest", 1, NULL, 'g'},
		{"kills", 1, NULL, 'k'},
		{"seed", 1, NULL, 's'},
		{"devices", 1, NULL, 'd'},
		{"mode", 1, NULL, 'm'},
		{"interval", 1, NULL, 'i'},
		{"console", 1, NULL, 'c'},
		{"packed", 0, NULL, 'p'},
		{"direct", 0, NULL, 'D'},
		{"rate", 1, NULL, 'r'},
		{"depth", 1, NULL, 'q'},
		{"busy", 0, NULL, 'B'},
		{"words", 1, NULL, 'w'},
		{"audit", 1, NULL, 'a'},
		{"spares", 1, NULL, 'S'},
		{"corrupt", 0, NULL, 'C'},
		{"drop", 1, NULL, 'o'},
		{"json", 0, NULL, 'j'},
		{"verbose", 0, NULL, 'v'},
		{"keep", 0, NULL, 'K'},
		{"help", 0, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (c) {
		case 'b':
			o->bin = optarg;
			break;
		case 'g':
			o->guest = optarg;
			break;
		case 'k':
			o->kills = parse_number(optarg);
			break;
		case 's':
			o->seed = parse_number(optarg);
			break;
		case 'd':
			parse_devices(o, optarg);
			break;
		case 'm':
			parse_mode(o, optarg);
			break;
		case 'i':
			o->interval_ms = parse_number(optarg);
			break;
		case 'c':
			o->console = parse_console(optarg);
			break;
		case 'p':
			o->packed = true;
			break;
		case 'D':
			o->direct = true;
			break;
		case 'r':
			o->blk_rate = parse_number(optarg);
			break;
		case 'q':
			o->depth = parse_number(optarg);
			break;
		case 'B':
			o->busy = true;
			o->blk_rate = 0;
			break;
		case 'w':
			o->words = optarg;
			break;
		case 'a':
			o->audit = optarg;
			break;
		case 'S':
			o->spares = optarg;
			break;
		case 'C':
			o->corrupt = true;
			break;
		case 'o':
			o->drop = parse_number(optarg);
			break;
		case 'j':
			o->json = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'K':
			o->keep = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc || o->kills > KILLS_MAX) {
		usage(stderr);
		exit(2);
	}
}

/* ---- the storm ---- */

static void wait_ms(uint64_t ms)
{
	poll(NULL, 0, (int)ms);
}

/* Nobody else's process is to be hit: pids come back. */
static bool is_child_of(pid_t pid, pid_t parent)
{
	char path[64], line[512], *p;
	bool ret = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && (p = strrchr(line, ')')))
		ret = p[1] && p[2] && p[3] && atol(p + 4) == parent;
	if (f)
		fclose(f);
	return ret;
}

static enum storm_device storm_pick(const struct storm_options *o)
{
	enum storm_device d;

	do {
		d = storm_random() % NUM_DEVS;
	} while (!o->devices[d]);
	return d;
}

/* Return: false if the device has no process to kill for too long */
static bool storm_kill_one(struct storm_vm *vm, struct storm_kill *k)
{
	static pid_t last[NUM_DEVS];
	struct storm_proc p = {0};

	for (int i = 0; i < TRIES_MAX && vm_is_alive(vm); i++, wait_ms(10)) {
		if (!vm_ps(vm, k->device, &p) || p.pid <= 0 ||
		    p.pid == last[k->device] || !is_child_of(p.pid, vm->pid))
			continue;
		last[k->device] = p.pid;
		if (storm_end(p.pid, vm->options->mode, &k->tsc))
			return true;
	}
	storm_finding("%s has no process to kill", storm_roles[k->device]);
	return false;
}

static bool storm_upgrade_one(struct storm_vm *vm, struct storm_kill *k)
{
	char out[1024];

	k->tsc = storm_tsc();
	if (!vm_command(vm, "upgrade", storm_ids[k->device], out, sizeof(out)))
		return true;
	storm_finding("upgrade of %s: %s", storm_roles[k->device], out);
	return false;
}

static bool storm_serves(struct storm_vm *vm)
{
	struct storm_proc p;

	for (int d = 0; d < NUM_DEVS; d++)
		if (!vm_ps(vm, (enum storm_device)d, &p) || !p.running)
			return false;
	return true;
}

static void storm_adopt(struct storm_vm *vm)
{
	vm_adopt(vm);
	for (int d = 0; d < NUM_DEVS; d++)
		replaced[d]++;
}

static void storm_kill_device(const struct storm_proc *p, enum storm_device d)
{
	if (kill(p->pid, SIGKILL) < 0)
		storm_die("%s, pid %d: %m", storm_roles[d], (int)p->pid);
	replaced[d]++;
}

/*
 * The broker dies, alone, or right after a device, or a device follows it
 * while there is nobody to notice, or the successor dies, too, wherever it is.
 */
static bool storm_adopt_one(struct storm_vm *vm, struct storm_kill *k)
{
	unsigned int way = storm_random() % 4;
	struct storm_proc p = {0};

	if (!vm_ps(vm, k->device, &p) || p.pid <= 0 ||
	    !is_child_of(p.pid, vm->pid)) {
		storm_finding("%s has no process", storm_roles[k->device]);
		return false;
	}
	k->tsc = storm_tsc();
	if (way == 1)
		storm_kill_device(&p, k->device);
	vm_orphan(vm);
	if (way == 2) {
		wait_ms(storm_random() % 50);
		/* Nobody reaps it but the system; it can't have come back. */
		storm_kill_device(&p, k->device);
	}
	wait_ms(storm_random() % 100);
	storm_adopt(vm);
	if (way == 3) {
		wait_ms(storm_random() % 30);
		vm_orphan(vm);
		storm_adopt(vm);
	}
	for (uint64_t end = storm_now_us() + SETTLE_US; storm_now_us() < end;
	     wait_ms(10)) {
		if (storm_serves(vm))
			return true;
		if (!vm_is_alive(vm))
			break;
	}
	storm_finding("not adopted, in way %u: %s", way,
		      vm_is_alive(vm) ? "it does not serve" : "it ended");
	return false;
}

/* Kill as often as was asked for. Return: how many */
static unsigned int storm_rage(struct storm_vm *vm, struct storm_kill *kills)
{
	const struct storm_options *o = vm->options;
	bool (*one)(struct storm_vm *, struct storm_kill *) =
		!strcmp(o->mode, "upgrade") ? storm_upgrade_one
		: !strcmp(o->mode, "adopt") ? storm_adopt_one
					    : storm_kill_one;
	unsigned int n = 0;

	for (; n < o->kills; n++) {
		struct storm_kill *k = &kills[n];

		wait_ms(o->interval_ms / 2 +
			storm_random() % (o->interval_ms + 1));
		if (!vm_is_alive(vm)) {
			storm_finding("the VM ended after %u kills", n);
			break;
		}
		k->device = storm_pick(o);
		if (!one(vm, k))
			break;
		if (one != storm_adopt_one)
			replaced[k->device]++;
		if (o->verbose && n % 10 == 9)
			printf("%u kills\n", n + 1);
	}
	return n;
}

/* All devices serve again, and were replaced as often as they were killed. */
static void storm_settle(struct storm_vm *vm)
{
	bool upgrade = !strcmp(vm->options->mode, "upgrade");
	bool adopt = !strcmp(vm->options->mode, "adopt");

	for (int d = 0; d < NUM_DEVS; d++) {
		uint64_t end = storm_now_us() + SETTLE_US;
		struct storm_proc p = {0};
		bool up = false;

		while (!up && vm_is_alive(vm) && storm_now_us() < end) {
			up = vm_ps(vm, (enum storm_device)d, &p) && p.running &&
			     (adopt || (upgrade ? p.upgrades : p.restarts) >=
					       replaced[d]);
			wait_ms(20);
		}
		if (!up)
			storm_finding("%s: killed %u times, replaced %u "
				      "times, %s",
				      storm_roles[d], replaced[d],
				      upgrade ? p.upgrades : p.restarts,
				      p.running ? "runs" : "does not run");
	}
}

/* For the test of the test: some blocks, of those that the guest seldom
 * writes, change behind the VM's back. */
static void storm_corrupt(const struct storm_vm *vm)
{
	FILE *f = fopen(vm_path(vm, "disk.img"), "r+e");

	if (!f)
		storm_die("disk.img: %m");
	for (int i = 0; i < 8; i++) {
		if (fseek(f, (2000 + 100 * i) * (int)PATTERN_BLOCK + 1000,
			  SEEK_SET) ||
		    fwrite("corrupt", 1, 7, f) != 7)
			storm_die("disk.img: can't be changed: %m");
	}
	fclose(f);
}

static void print_device(const struct storm_kill *kills, unsigned int num,
			 enum storm_device d, unsigned int in_flight, bool json)
{
	const char *name = d == NUM_DEVS ? "all" : storm_roles[d];
	struct storm_gaps g;

	verdict_summary(kills, num, d, &g);
	printf(json ? ",\"%s\":{\"kills\":%u,\"in_flight\":%u,\"p50_us\":"
		      "%" PRIu64 ",\"p99_us\":%" PRIu64 ",\"max_us\":%" PRIu64
		      "}"
		    : "%-8s %6u kills, %u amid requests, to the next completed "
		      "one: p50 %" PRIu64 " us, p99 %" PRIu64
		      " us, max %" PRIu64 " us\n",
	       name, g.num, in_flight, g.p50, g.p99, g.max);
}

static void print_results(const struct storm_vm *vm,
			  const struct storm_kill *kills, unsigned int num)
{
	const struct storm_options *o = vm->options;
	uint64_t lost = verdict_number(vm, "NET", "lost");
	uint64_t twice = verdict_number(vm, "NET", "twice");
	unsigned int in_flight = 0;

	if (o->json)
		printf("{\"kills\":%u,\"seed\":%u,\"mode\":\"%s\",\"findings\":"
		       "%u,\"frames_lost\":%" PRIu64
		       ",\"frames_twice\":%" PRIu64
		       ",\"console_repetitions\":%" PRIu64,
		       num, o->seed, o->mode, findings, lost, twice,
		       peer_console_repeats());
	else
		printf("%u x %s, seed %u: %u faults; disk %" PRIu64
		       " requests, network %" PRIu64 " frames (%" PRIu64
		       " lost, %" PRIu64 " twice), console %" PRIu64
		       " bytes (%" PRIu64 " repetitions), entropy %" PRIu64
		       " bytes\n",
		       num, o->mode, o->seed, findings,
		       verdict_number(vm, "GAPS blk", "events"),
		       verdict_number(vm, "NET", "back"), lost, twice,
		       peer_console_bytes(), peer_console_repeats(),
		       verdict_number(vm, "RNG", "bytes"));
	for (int d = 0; d < NUM_DEVS; d++) {
		unsigned int n = verdict_in_flight(vm, storm_ids[d]);

		in_flight += n;
		print_device(kills, num, (enum storm_device)d, n, o->json);
	}
	print_device(kills, num, NUM_DEVS, in_flight, o->json);
	if (o->json)
		printf("}\n");
}

/* Else nothing of it was tested. */
static void check_busy(const struct storm_vm *vm)
{
	if (vm->options->busy && replaced[DEV_BLK] >= 5 &&
	    !verdict_in_flight(vm, storm_ids[DEV_BLK]))
		storm_finding("no request was in flight at %u deaths of blk",
			      replaced[DEV_BLK]);
}

int main(int argc, char **argv)
{
	struct storm_options o = {.bin = "bin",
				  .guest = "tests/guest/load",
				  .mode = "kill",
				  .words = "",
				  .audit = "enforce",
				  .spares = "on",
				  .kills = 50,
				  .seed = 1,
				  .interval_ms = 300,
				  .blk_rate = 2000,
				  .depth = 8,
				  .devices = {true, true, true, true},
				  .console = CONSOLE_SOCKET};
	unsigned int num;
	struct storm_kill *kills;
	uint64_t typed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(&o, argc, argv);
	if (access("/dev/kvm", R_OK | W_OK) < 0 || geteuid()) {
		printf("skip: needs root and /dev/kvm\n");
		return SKIPPED;
	}
	if (unshare(CLONE_NEWNET) < 0)
		storm_die("no network namespace of its own: %m");
	random_state = o.seed;
	kills = calloc(o.kills + 1, sizeof(*kills));
	if (!kills)
		storm_die("no memory");

	vm_start(&the_vm, &o);
	peer_start(&the_vm);
	wait_ms(500);
	if (o.corrupt)
		storm_corrupt(&the_vm);
	num = storm_rage(&the_vm, kills);
	storm_settle(&the_vm);
	typed = peer_quiet();
	vm_stop(&the_vm);
	peer_stop();
	verdict_check(&the_vm, replaced, typed);
	check_busy(&the_vm);
	verdict_gaps(&the_vm, kills, num);
	print_results(&the_vm, kills, num);
	vm_cleanup(&the_vm);
	free(kills);
	return findings ? 1 : 0;
}
