/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_RECOVERY_STORM_H
#define TESTS_RECOVERY_STORM_H

/*
 * The parts of recovery-storm. A function of set-up that fails says why and
 * ends the program (storm_die()); what is wrong with the VM is a finding
 * (storm_finding()), of which there may be many.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum storm_device { DEV_BLK, DEV_NET, DEV_CONSOLE, DEV_RNG, NUM_DEVS };
extern const char *const storm_roles[NUM_DEVS];

enum storm_console { CONSOLE_FILE, CONSOLE_SOCKET, CONSOLE_PTY };

struct storm_options {
	const char *bin, *guest; /* folder of the programs; the load guest */
	const char *mode;	 /* as usage() tells */
	const char *audit;	 /* enforce, warn, off */
	const char *spares;	 /* on, off */
	const char *words;	 /* more for the guest's command line */
	unsigned int kills, seed, interval_ms, blk_rate, depth;
	bool devices[NUM_DEVS];
	bool packed, direct, busy, json, verbose, keep, corrupt;
	unsigned int drop; /* every so many frames; 0 = none */
	enum storm_console console;
};

_Noreturn void storm_die(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
void storm_finding(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
unsigned int storm_findings(void);
uint64_t storm_now_us(void);
uint64_t storm_random(void);

static inline uint64_t storm_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* ---- vm.c: the VM under test ---- */

#define STORM_TAP "storm0"

struct storm_vm {
	const struct storm_options *options;
	char name[32], folder[64];
	pid_t pid;	    /* bulkhead run, or adopt */
	int64_t tsc_offset; /* host's - guest's */
	uint64_t khz;
	int status;   /* of waitpid() */
	char *report; /* what the guest printed */
};

/* A line of `bulkhead ps`. */
struct storm_proc {
	pid_t pid;
	unsigned int restarts, upgrades;
	bool running;
};

void vm_start(struct storm_vm *vm, const struct storm_options *o);
/** vm_ps() - Return: false if the VM is gone or has no such device */
bool vm_ps(const struct storm_vm *vm, enum storm_device d,
	   struct storm_proc *ret);
/** vm_command() - Run `bulkhead COMMAND NAME [ARG]`; Return: its status */
int vm_command(const struct storm_vm *vm, const char *command, const char *arg,
	       char *out, size_t out_size);
/** vm_orphan() - Kill the broker; at the return it is gone */
void vm_orphan(struct storm_vm *vm);
/** vm_adopt() - Start `bulkhead adopt` */
void vm_adopt(struct storm_vm *vm);
/** vm_stop() - Power button, wait, read the report */
void vm_stop(struct storm_vm *vm);
bool vm_is_alive(struct storm_vm *vm);
void vm_cleanup(struct storm_vm *vm);
/** vm_read() - All of such a file, "" if there is none; to be freed */
char *vm_read(const struct storm_vm *vm, const char *file);
/** vm_path() - A file in the VM's folder; one static buffer */
const char *vm_path(const struct storm_vm *vm, const char *file);

/* ---- crash.c ---- */

/** storm_end() - End this process as @mode says; Return: false if it is gone
 *  @ret_tsc: When */
bool storm_end(pid_t pid, const char *mode, uint64_t *ret_tsc);

/* ---- peer.c: who the guest talks to ---- */

/** peer_start() - Echo frames, read and type at the console, in threads */
void peer_start(const struct storm_vm *vm);
/** peer_quiet() - Type no more; Return: bytes that were typed */
uint64_t peer_quiet(void);
/** peer_stop() - After the VM: read the rest */
void peer_stop(void);
uint64_t peer_console_bytes(void); /* that came out, all as they should be */
/** peer_console_repeats() - How often a piece of the output came again */
uint64_t peer_console_repeats(void);

/* ---- verdict.c: what is left afterwards ---- */

struct storm_gaps {
	unsigned int num;
	uint64_t p50, p99, max; /* us */
};

/* A kill, and when the device's next request was completed. */
struct storm_kill {
	enum storm_device device;
	uint64_t tsc;
	uint64_t gap_us; /* 0 = less than a ms */
};

/** verdict_check() - The guest's report, the image, the streams */
void verdict_check(const struct storm_vm *vm, unsigned int kills[NUM_DEVS],
		   uint64_t typed);
/** verdict_gaps() - Fill in gap_us of each kill from the guest's record */
void verdict_gaps(const struct storm_vm *vm, struct storm_kill *kills,
		  unsigned int num);
void verdict_summary(const struct storm_kill *kills, unsigned int num,
		     enum storm_device d, struct storm_gaps *ret);
/** verdict_in_flight() - At how many deaths of the device it had requests of
 * the guest, as the broker's log tells */
unsigned int verdict_in_flight(const struct storm_vm *vm, const char *id);
/** verdict_number() - "name=N" in the report's line that begins with @line */
uint64_t verdict_number(const struct storm_vm *vm, const char *line,
			const char *name);

#endif
