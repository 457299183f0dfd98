/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills the device before every store that outlives it, in every scenario,
 * once and then a second time at every store of what follows (most of all of
 * the recovery), and lets the run go on to its end.
 *
 *	crashpoint		all of it: no run may go wrong
 *	crashpoint --mutants	each seeded mistake must be found
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/num.h"
#include "tests/crashpoint/crash_hook.h"
#include "tests/crashpoint/world.h"

#define PROCESSES 2
#define MIN_RUNS  1000000 /* a test that looks at less has lost something */

static const char *const mutant_names[NUM_MUTANTS] = {
	[MUTANT_used_not_read] = "used_not_read",
	[MUTANT_cleared_early] = "cleared_early",
	[MUTANT_batch_not_walked] = "batch_not_walked",
	[MUTANT_counter_not_rebuilt] = "counter_not_rebuilt",
	[MUTANT_flags_not_undone] = "flags_not_undone",
};

static void print_bad(const struct scenario *s, const unsigned int *crash,
		      unsigned int num, const char *why)
{
	fprintf(stderr,
		"%s%s: %s ring of %u, batch %u%s%s%s%s%s%s%s%s; dies "
		"before store",
		crash_mutant == MUTANT_none ? "FAILED: " : "as it should: ",
		why, s->packed ? "packed" : "split", s->size, s->batch,
		s->event_idx ? ", event index" : "",
		s->indirect ? ", indirect" : "", s->lifo ? ", lifo" : "",
		s->keep ? ", keep" : "", s->awake ? ", awake" : "",
		s->unpop ? ", unpop" : "", s->turned ? ", turned" : "",
		s->careful ? ", careful" : "");
	for (unsigned int i = 0; i < num; i++)
		fprintf(stderr, " %u", crash[i]);
	fprintf(stderr, "\n");
}

/* Return: false when a run went wrong; it is told */
static bool run_one(const struct scenario *s, const unsigned int *crash,
		    unsigned int num, uint64_t *runs, enum world_end *ret_end)
{
	const char *why = "";

	*ret_end = world_run(s, crash, num, &why);
	++*runs;
	if (*ret_end != WORLD_BAD)
		return true;
	print_bad(s, crash, num, why);
	return false;
}

static bool run_scenario(const struct scenario *s, uint64_t *runs)
{
	unsigned int crash[WORLD_CRASHES_MAX] = {0};
	enum world_end end;

	if (!run_one(s, crash, 0, runs, &end))
		return false;
	for (crash[0] = 0;; crash[0]++) {
		if (!run_one(s, crash, 1, runs, &end))
			return false;
		if (end == WORLD_NO_TIME)
			return true;
		for (crash[1] = 0; end != WORLD_NO_TIME; crash[1]++)
			if (!run_one(s, crash, 2, runs, &end))
				return false;
	}
}

static bool next_scenario(unsigned int n, struct scenario *ret)
{
	static const unsigned int sizes[] = {2, 4, 8, 3};
	unsigned int bits = n % 64, rest = n / 64;

	*ret = (struct scenario){
		.packed = bits & 1,
		.event_idx = bits & 2,
		.lifo = bits & 4,
		.keep = bits & 8,
		.awake = bits & 16,
		.turned = bits & 32,
	};
	ret->batch = 1 + rest % 4;
	rest /= 4;
	if (rest >= ARRAY_SIZE(sizes))
		return false;
	ret->size = sizes[rest];
	/* Each of the rest with a half of the others. */
	ret->indirect = (n ^ n >> 2 ^ n >> 6) & 1;
	ret->unpop = (n >> 1 ^ n >> 3 ^ n >> 7) & 1;
	ret->careful = (n >> 2 ^ n >> 4 ^ n >> 8) & 1;
	return true;
}

static bool scenario_makes_sense(const struct scenario *s)
{
	bool pow2 = !(s->size & (s->size - 1));

	return (s->packed || pow2) && s->batch <= s->size;
}

/* Every @step-th scenario from @first on; Return: runs, 0 if one went wrong */
static uint64_t run_all(unsigned int first, unsigned int step)
{
	struct scenario s;
	uint64_t runs = 0;

	for (unsigned int n = first; next_scenario(n, &s); n += step)
		if (scenario_makes_sense(&s) && !run_scenario(&s, &runs))
			return 0;
	return runs;
}

static int check_all(void)
{
	uint64_t total = 0, part;
	int fds[2], bad = 0, status;

	if (pipe(fds) < 0)
		return 1;
	for (unsigned int i = 0; i < PROCESSES; i++) {
		if (fork() != 0)
			continue;
		/* Whole blocks of flags, so that both do alike. */
		part = run_all(i, PROCESSES);
		_exit(!part || write(fds[1], &part, sizeof(part)) < 0);
	}
	close(fds[1]);
	while (wait(&status) > 0)
		bad |= status;
	while (read(fds[0], &part, sizeof(part)) == (ssize_t)sizeof(part))
		total += part;
	printf("%llu runs\n", (unsigned long long)total);
	return bad || total < MIN_RUNS;
}

static int check_mutants(void)
{
	int bad = 0;

	for (int m = MUTANT_none + 1; m < NUM_MUTANTS; m++) {
		bool found;

		crash_mutant = (enum crash_mutant)m;
		found = !run_all(0, 1);
		printf("%-20s %s\n", mutant_names[m],
		       found ? "found" : "NOT FOUND");
		bad |= !found;
	}
	return bad;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--mutants") == 0)
		return check_mutants();
	return check_all();
}
