/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The stop-watch: starts two or more commands in turn, A B C A B C ..., and
 * takes three times of each: from the launch to the first output that contains
 * a text, to the end of the process, and the processor time that it and all
 * its descendants took. Prints one line a run; `run` makes the statistics.
 *
 *   measure RUNS MARK SECONDS -- NAME COMMAND... [-- NAME COMMAND...]...
 *
 *   NAME <run> <first-us> <mark-us> <end-us> <cpu-us>
 *
 * A command's input is empty and its errors are thrown away, unless
 * MEASURE_ERRORS names a file. A command that fails, ends without the mark or
 * takes longer than SECONDS ends the measurement with status 1.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 8
#define OUTPUT_MAX   (1u << 20)
#define MAX_RUNS     10000

struct command {
	const char *name;
	char **argv;
};

struct times {
	uint64_t first_us; /* first byte of output */
	uint64_t mark_us;  /* output contains the mark */
	uint64_t end_us;
	uint64_t cpu_us;
};

static char output[OUTPUT_MAX + 1];

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static uint64_t time_us(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000u + (uint64_t)tv->tv_usec;
}

static pid_t start(const struct command *c, int out)
{
	const char *errors = getenv("MEASURE_ERRORS");
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	pid_t pid = -1;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_addopen(&actions, 2,
					 errors ? errors : "/dev/null",
					 O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawnattr_init(&attr);
	/* A group of its own, so that nothing of it outlives a failure. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	errno = posix_spawnp(&pid, c->argv[0], &actions, &attr, c->argv,
			     environ);
	if (errno) {
		fprintf(stderr, "measure: cannot start %s: %s\n", c->argv[0],
			strerror(errno));
		pid = -1;
	}
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* Reads all output until its end. Return: 0, or -1 when time ran out. */
static int follow(int fd, const char *mark, uint64_t began, uint64_t limit_us,
		  struct times *t)
{
	size_t len = 0;

	for (;;) {
		uint64_t passed = now_us() - began;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char rest[4096];
		ssize_t n;

		if (passed >= limit_us)
			return -1;
		if (poll(&p, 1, (int)((limit_us - passed) / 1000u) + 1) <= 0)
			continue;
		if (len < OUTPUT_MAX)
			n = read(fd, output + len, OUTPUT_MAX - len);
		else
			n = read(fd, rest, sizeof(rest));
		if (n <= 0)
			return 0;
		passed = now_us() - began;
		if (!t->first_us)
			t->first_us = passed;
		if (len == OUTPUT_MAX)
			continue;
		for (ssize_t i = 0; i < n; i++)
			if (!output[len + (size_t)i])
				output[len + (size_t)i] = ' ';
		len += (size_t)n;
		output[len] = '\0';
		if (!t->mark_us && strstr(output, mark))
			t->mark_us = passed;
	}
}

static int run(const struct command *c, const char *mark, uint64_t limit_us,
	       struct times *t)
{
	uint64_t began = now_us();
	struct rusage usage;
	int fds[2], status, late;
	pid_t pid;

	memset(t, 0, sizeof(*t));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid = start(c, fds[1]);
	close(fds[1]);
	if (pid < 0)
		return -1;
	late = follow(fds[0], mark, began, limit_us, t);
	close(fds[0]);
	if (late)
		kill(-pid, SIGKILL);
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			return -1;
	t->end_us = now_us() - began;
	t->cpu_us = time_us(&usage.ru_utime) + time_us(&usage.ru_stime);
	if (late)
		fprintf(stderr, "measure: %s: no end in time\n", c->name);
	else if (!t->mark_us)
		fprintf(stderr, "measure: %s: no \"%s\" in its output\n",
			c->name, mark);
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fprintf(stderr, "measure: %s: status 0x%x\n", c->name,
			(unsigned int)status);
	else
		return 0;
	fprintf(stderr, "%.400s\n", output);
	return -1;
}

/* Cuts argv at each "--". Return: number of commands, 0 malformed. */
static int split(int argc, char **argv, struct command *commands)
{
	int num = 0;

	for (int i = 0; i < argc;) {
		if (strcmp(argv[i], "--") != 0 || i + 2 >= argc ||
		    num == MAX_COMMANDS)
			return 0;
		argv[i] = NULL;
		commands[num].name = argv[i + 1];
		commands[num].argv = &argv[i + 2];
		num++;
		for (i += 3; i < argc && strcmp(argv[i], "--") != 0; i++)
			continue;
	}
	return num;
}

int main(int argc, char **argv)
{
	struct command commands[MAX_COMMANDS];
	long runs = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
	long seconds = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	int num = argc > 4 ? split(argc - 4, argv + 4, commands) : 0;

	if (!num || runs < 1 || runs > MAX_RUNS || seconds < 1 ||
	    seconds > 3600) {
		fprintf(stderr,
			"Usage: measure RUNS MARK SECONDS -- NAME COMMAND... "
			"[-- NAME COMMAND...]...\n");
		return 2;
	}
	/* Run 0 fills the caches and does not count. */
	for (long i = 0; i <= runs; i++)
		for (int k = 0; k < num; k++) {
			const struct command *c = &commands[k];
			struct times t;

			if (run(c, argv[2], (uint64_t)seconds * 1000000u, &t) <
			    0)
				return 1;
			if (i)
				printf("%s %ld %llu %llu %llu %llu\n", c->name,
				       i, (unsigned long long)t.first_us,
				       (unsigned long long)t.mark_us,
				       (unsigned long long)t.end_us,
				       (unsigned long long)t.cpu_us);
			fflush(stdout);
		}
	return 0;
}
