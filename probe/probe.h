/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

/*
 * What one attempt is. Each is made in a process of its own, since most of
 * them end it: forked from the confined program, it enters the role's inner
 * stage, makes the attempt and notes the result in shared memory.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROBE_ARGS 6

struct probe_attempt {
	const char *group;
	const char *name;
	/* A system call with these arguments, or a function. Return: as a
	 * system call: -1 and errno if it was denied. */
	long number;
	uint64_t args[PROBE_ARGS];
	long (*run)(void);
	bool locked_only; /* would do harm without the filter */
	bool smuggles;	  /* sends a message to the broker, which must refuse */
};

extern const struct probe_attempt probe_attempts[];
extern const size_t probe_num_attempts;

/** attempts_prepare() - What attempts need and no filter allows later */
void attempts_prepare(void);

#define ATTEMPT_FUNCTION(name) long name(void)
ATTEMPT_FUNCTION(attempt_exec_data);
ATTEMPT_FUNCTION(attempt_write_text);
ATTEMPT_FUNCTION(attempt_protect_text);
ATTEMPT_FUNCTION(attempt_int80_open);
ATTEMPT_FUNCTION(attempt_int80_execve);
ATTEMPT_FUNCTION(attempt_int80_socketcall);
ATTEMPT_FUNCTION(attempt_vsyscall);
ATTEMPT_FUNCTION(attempt_memfd_exec);
ATTEMPT_FUNCTION(attempt_connect_abstract);
ATTEMPT_FUNCTION(attempt_connect_host);
ATTEMPT_FUNCTION(attempt_thread);
ATTEMPT_FUNCTION(attempt_fork);
ATTEMPT_FUNCTION(attempt_smuggle_empty);
ATTEMPT_FUNCTION(attempt_smuggle_garbage);
ATTEMPT_FUNCTION(attempt_smuggle_answer);
ATTEMPT_FUNCTION(attempt_smuggle_many);
ATTEMPT_FUNCTION(attempt_smuggle_credentials);
ATTEMPT_FUNCTION(attempt_smuggle_large);

#endif
