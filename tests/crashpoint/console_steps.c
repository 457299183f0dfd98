/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's bytes, at every instruction: a process that puts output, writes
 * it, reads input and delivers it is single-stepped. After each step a
 * successor goes on with a copy of what a death there would have left, and no
 * byte may be missing or, to a file and to the guest, come twice.
 *
 *	console-steps		all of it: no successor may go wrong
 *	console-steps --mutants	each mistake of a successor must be found
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/num.h"
#include "dev-console/console_io.h"

#define CHAINS	  3
#define PIECE	  7 /* bytes: of two to a chain, of a read, of a buffer */
#define INPUT_MAX 12
#define BUFFER	  5
#define MIN_STEPS 1000 /* a test that looks at less has lost something */

enum mutant {
	MUTANT_none,
	MUTANT_chain_again,	/* puts all of the chain once more */
	MUTANT_old_position,	/* takes the file's position at the start */
	MUTANT_never_settles,	/* takes what was delivered for undelivered */
	MUTANT_always_delivers, /* takes all that was delivered for seen */
	NUM_MUTANTS
};

static const char *const mutant_names[NUM_MUTANTS] = {
	"none", "chain_again", "old_position", "never_settles",
	"always_delivers"};

/* What outlives a process: its state, and what the rings tell of chains. */
struct world {
	struct console_state state;
	uint32_t tx_done;	    /* output chains, completed */
	uint32_t rx_taken, rx_done; /* input chains */
	uint32_t rx_len[64];	    /* of the completed ones */
	uint8_t rx_buf[64][BUFFER]; /* their bytes */
};

static enum mutant mutant;
static const uint8_t output[] = "The bytes of the guest's output, numbered.";
static const uint8_t input[] = "And what was typed.";

#define OUTPUT_LEN (2 * CHAINS * PIECE)
#define INPUT_LEN  (sizeof(input) - 1)

_Static_assert(sizeof(output) - 1 >= OUTPUT_LEN, "too few bytes");

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* As console_put(): one chain of two pieces, of which @skip bytes are there. */
static void put_chain(struct console_state *s, uint32_t chain, uint64_t skip)
{
	for (uint64_t at = 0; at < 2 * PIECE; at += PIECE) {
		const uint8_t *data = output + chain * 2 * PIECE + at;
		uint64_t from = at;

		if (skip >= at + PIECE)
			continue;
		if (skip > at) {
			data += skip - at;
			from = skip;
		}
		console_state_put(s, chain, from, data,
				  (size_t)(at + PIECE - from));
	}
}

static void put_all(struct world *w, struct console_io *io, bool again)
{
	while (w->tx_done < CHAINS) {
		uint64_t skip =
			again ? console_state_skip(&w->state, w->tx_done) : 0;

		put_chain(&w->state, w->tx_done,
			  mutant == MUTANT_chain_again ? 0 : skip);
		__atomic_store_n(&w->tx_done, w->tx_done + 1, __ATOMIC_SEQ_CST);
		again = false;
		if (w->tx_done % 2 == 0)
			console_io_write(io, false);
	}
	console_io_write(io, false);
}

/* As console_read_once(), until there is no more input. */
static void read_all(struct world *w, int fd, bool recovered)
{
	struct console_state *s = &w->state;
	bool redone = w->rx_taken > w->rx_done;
	size_t n;

	while (w->rx_done < ARRAY_SIZE(w->rx_len)) {
		uint32_t chain = w->rx_done;

		__atomic_store_n(&w->rx_taken, chain + 1, __ATOMIC_SEQ_CST);
		if (recovered && mutant == MUTANT_always_delivers)
			console_state_settle(s, false, chain);
		else if (recovered && mutant != MUTANT_never_settles)
			console_state_settle(s, redone, chain);
		recovered = false;
		if (!console_state_pending(s) &&
		    console_state_read(s, fd, INPUT_MAX) <= 0)
			return;
		n = console_state_deliver(s, chain, w->rx_buf[chain], BUFFER);
		w->rx_len[chain] = (uint32_t)n;
		__atomic_store_n(&w->rx_done, chain + 1, __ATOMIC_SEQ_CST);
		console_state_delivered(s);
	}
}

/* ---- the successor ---- */

static bool check_output(struct world *w, const struct console_io *now)
{
	struct console_io io = {.in = -1, .out_is_file = true};
	uint8_t text[2 * OUTPUT_LEN];
	char path[] = "/tmp/console-steps-XXXXXX";
	off_t pos = lseek(now->out, 0, SEEK_CUR);
	ssize_t n = pread(now->out, text, sizeof(text), 0);

	io.out = mkstemp(path);
	if (io.out < 0 || n < 0 || write(io.out, text, (size_t)n) != n)
		die(path);
	unlink(path);
	if (mutant == MUTANT_old_position)
		lseek(io.out, 0, SEEK_SET);
	else
		lseek(io.out, pos, SEEK_SET);
	console_io_share(&io, &w->state);
	lseek(io.out, pos, SEEK_SET);
	put_all(w, &io, true);
	n = pread(io.out, text, sizeof(text), 0);
	close(io.out);
	return n == OUTPUT_LEN && !memcmp(text, output, OUTPUT_LEN);
}

static bool check_input(struct world *w, int pipe_fd)
{
	uint8_t got[sizeof(input)];
	size_t len = 0;
	int left, fds[2];

	if (ioctl(pipe_fd, FIONREAD, &left) < 0 || pipe2(fds, O_CLOEXEC) < 0)
		die("pipe");
	if (write(fds[1], input + INPUT_LEN - left, (size_t)left) != left)
		die("pipe");
	close(fds[1]);
	read_all(w, fds[0], true);
	close(fds[0]);
	for (uint32_t i = 0; i < w->rx_done; i++) {
		if (w->rx_len[i] > sizeof(got) - len)
			return false;
		memcpy(got + len, w->rx_buf[i], w->rx_len[i]);
		len += w->rx_len[i];
	}
	return len == INPUT_LEN && !memcmp(got, input, INPUT_LEN);
}

/* ---- the process that dies ---- */

static _Noreturn void live(struct world *w, struct console_io *io, int pipe_fd)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(2);
	raise(SIGSTOP);
	put_all(w, io, false);
	read_all(w, pipe_fd, false);
	_exit(0);
}

/* Return: false if the process has ended */
static bool step(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
	    waitpid(pid, &status, 0) != pid)
		die("single step");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
		return true;
	fprintf(stderr, "console-steps: the process ended: %#x\n", status);
	exit(2);
}

/* Return: at how many steps a death did harm */
static unsigned int run(unsigned int *ret_steps)
{
	struct world *w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct world *copy = malloc(sizeof(*copy));
	struct console_io io = {.in = -1, .out_is_file = true};
	FILE *file = tmpfile();
	unsigned int bad = 0;
	int fds[2], status;
	pid_t pid;

	if (w == MAP_FAILED || !copy || !file || pipe2(fds, O_CLOEXEC) < 0)
		die("console-steps");
	if (write(fds[1], input, INPUT_LEN) != (ssize_t)INPUT_LEN)
		die("pipe");
	close(fds[1]);
	io.out = fileno(file);
	console_io_share(&io, &w->state);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		live(w, &io, fds[0]);
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("waitpid");
	for (*ret_steps = 0; step(pid); ++*ret_steps) {
		memcpy(copy, w, sizeof(*copy));
		if (check_output(copy, &io) & check_input(copy, fds[0]))
			continue;
		if (!bad++ && mutant == MUTANT_none)
			fprintf(stderr,
				"FAILED: death after step %u: %u output and %u "
				"input chains done\n",
				*ret_steps, w->tx_done, w->rx_done);
	}
	close(fds[0]);
	fclose(file);
	free(copy);
	munmap(w, sizeof(*w));
	return bad;
}

int main(int argc, char **argv)
{
	bool mutants = argc == 2 && !strcmp(argv[1], "--mutants");
	bool ok = true;

	if (argc > 1 && !mutants) {
		fprintf(stderr, "usage: console-steps [--mutants]\n");
		return 2;
	}
	for (int m = mutants ? 1 : 0; m < (mutants ? NUM_MUTANTS : 1); m++) {
		unsigned int steps, bad;

		mutant = (enum mutant)m;
		bad = run(&steps);
		printf("%s: a death does harm at %u of %u steps\n",
		       mutant_names[m], bad, steps);
		ok &= steps >= MIN_STEPS && (bad != 0) == mutants;
	}
	return ok ? 0 : 1;
}
