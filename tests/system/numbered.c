/* SPDX-License-Identifier: Apache-2.0 */

/*
 * numbered: one end of a connection on which both ends send numbered lines
 * and check each byte of what comes. Static, so that it runs in the lab and in
 * its guests.
 *
 * All lines of one run have the same length: byte @at of a stream belongs to
 * line @at / length and follows from its number, so nothing that is lost,
 * repeated, changed or out of order goes unseen. The last line is
 * "END number-of-lines"; an end that has not got it has found a fault.
 *
 * The end that is given --until leads: it sends when it has got something
 * (the other may be a terminal that is not raw yet) and ends when that file
 * is there. The other one follows: it ends when it has got END.
 *
 * `numbered self` is both ends, for the test of the test: the one that
 * follows makes faults, the one that leads must find them.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/load/pattern.h"

#define LENGTH_MIN  32
#define LENGTH_MAX  4096
#define REPEAT_MAX  4096
#define SURE	    12 /* bytes to recognize a repetition by */
#define AGAIN	    30 /* bytes that --again repeats */
#define SELF_LINES  100
#define TICK_MS	    20
#define NOT_YET	    UINT64_MAX
#define AHEAD_LINES 64 /* due at once, after a pause */

static struct {
	unsigned int length, rate, stall_s;
	unsigned int skip, again, quit; /* faults */
	const char *until;
	bool leads, repeats, tty;
} opt = {.length = 64, .rate = 20, .stall_s = 60};

static int fd = -1;

static struct {
	uint64_t lines; /* due so far */
	uint64_t at;	/* bytes sent */
	uint64_t end;	/* number of END's line, or NOT_YET */
	bool started;
} out = {.end = NOT_YET};

static struct {
	uint64_t at; /* bytes that came, without repetitions */
	uint64_t end;
	uint64_t repeats;
	char rest[2 * LENGTH_MAX]; /* came, but not yet understood */
	size_t num_rest;
} in = {.end = NOT_YET};

static _Noreturn void fault(const char *what, const char *detail)
{
	printf("FAIL %s%s (sent %llu lines, received %llu)\n", what, detail,
	       (unsigned long long)(out.at / opt.length),
	       (unsigned long long)(in.at / opt.length));
	exit(1);
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "numbered: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the lines ---- */

/* Byte @at of a stream whose last line is @end; '\0' behind it */
static char text(uint64_t at, uint64_t end)
{
	uint64_t line = at / opt.length, i = at % opt.length;
	char head[32];

	if (line > end)
		return '\0';
	if (i == opt.length - 1)
		return '\n';
	snprintf(head, sizeof(head), line == end ? "END %08llu " : "%08llu ",
		 (unsigned long long)line);
	if (i < strlen(head))
		return head[i];
	return (char)('a' + pattern_mix(line * LENGTH_MAX + i) % 26);
}

/* How many of these bytes are what comes from @at on? A line's first byte
 * tells whether it is the last: @end. */
static size_t match(const char *buf, size_t n, uint64_t at, uint64_t *end)
{
	size_t i = 0;

	for (; i < n; i++, at++) {
		if (*end == NOT_YET && at % opt.length == 0 && buf[i] == 'E')
			*end = at / opt.length;
		if (buf[i] != text(at, *end))
			break;
	}
	return i;
}

/* ---- in ---- */

/* From where on is it repeated? Return: bytes back, 0 = it is not */
static uint64_t repeated_from(void)
{
	for (uint64_t back = 1; back <= REPEAT_MAX && back <= in.at; back++) {
		uint64_t end = in.end;

		if (match(in.rest, SURE, in.at - back, &end) == SURE)
			return back;
	}
	return 0;
}

/* All that can be understood of what came. Return: END came */
static bool digest(void)
{
	for (;;) {
		size_t n = match(in.rest, in.num_rest, in.at, &in.end);
		uint64_t back;

		in.at += n;
		in.num_rest -= n;
		memmove(in.rest, in.rest + n, in.num_rest);
		if (in.end != NOT_YET && in.at == (in.end + 1) * opt.length)
			return true;
		if (in.num_rest < (opt.repeats ? SURE : 1))
			return false;
		back = opt.repeats ? repeated_from() : 0;
		if (!back) {
			in.rest[in.num_rest < 40 ? in.num_rest : 40] = '\0';
			fault("this is not what comes next: ", in.rest);
		}
		in.repeats++;
		in.at -= back;
	}
}

/* Return: END came */
static bool take(void)
{
	ssize_t n = read(fd, in.rest + in.num_rest,
			 sizeof(in.rest) - 1 - in.num_rest);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		fault("the other end is gone: ", n ? strerror(errno) : "end");
	in.num_rest += (size_t)n;
	return digest();
}

/* ---- out ---- */

static bool is_time_to_end(void)
{
	if (!opt.leads)
		return in.end != NOT_YET;
	return opt.until ? !access(opt.until, F_OK)
			 : in.at / opt.length >= SELF_LINES;
}

/* What is due by now, and END when it is time. */
static void advance(uint64_t *last_ms)
{
	uint64_t now = now_ms(), due = (now - *last_ms) * opt.rate / 1000;
	uint64_t sent = out.at / opt.length;

	if (out.end != NOT_YET || !due)
		return;
	*last_ms += due * 1000 / opt.rate;
	out.lines += due;
	if (out.lines > sent + AHEAD_LINES)
		out.lines = sent + AHEAD_LINES;
	if (is_time_to_end())
		out.end = out.lines++;
}

static bool all_is_sent(void)
{
	return out.end != NOT_YET && out.at == out.lines * opt.length;
}

static void give(void)
{
	uint64_t left = out.lines * opt.length - out.at;
	char buf[LENGTH_MAX];
	size_t n = left < sizeof(buf) ? (size_t)left : sizeof(buf);
	uint64_t at = out.at;
	ssize_t r;

	/* For the test of the test. */
	if (opt.skip && at / opt.length >= opt.skip)
		at++;
	if (opt.again && at / opt.length >= opt.again) {
		at = out.at -= AGAIN;
		opt.again = 0;
	}
	if (opt.quit && at / opt.length >= opt.quit)
		exit(0);
	for (size_t i = 0; i < n; i++)
		buf[i] = text(at + i, out.end);
	r = opt.tty ? write(fd, buf, n) : send(fd, buf, n, MSG_NOSIGNAL);
	if (r < 0 && errno != EAGAIN && errno != EINTR)
		fault("cannot send: ", strerror(errno));
	if (r > 0)
		out.at += (uint64_t)r;
}

static void run(void)
{
	uint64_t last_ms = now_ms(), heard_ms = last_ms;
	bool ended = false;

	while (!ended || !all_is_sent()) {
		bool gives = out.at < out.lines * opt.length;
		struct pollfd p = {
			.fd = fd,
			.events = (short)((ended ? 0 : POLLIN) |
					  (gives ? POLLOUT : 0)),
		};

		if (poll(&p, 1, TICK_MS) < 0 && errno != EINTR)
			die("poll");
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			heard_ms = now_ms();
			ended = ended || take();
			if (!out.started)
				last_ms = heard_ms;
			out.started = true;
		}
		if (p.revents & POLLOUT)
			give();
		if (out.started || !opt.leads)
			advance(&last_ms);
		if (now_ms() - heard_ms > opt.stall_s * UINT64_C(1000))
			fault("nothing comes any more", "");
	}
	if (opt.tty)
		tcdrain(fd);
	printf("ok sent %llu lines, received %llu, repeated %llu\n",
	       (unsigned long long)out.end, (unsigned long long)in.end,
	       (unsigned long long)in.repeats);
}

/* ---- options ---- */

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: numbered [option...] listen PORT | connect ADDRESS "
		"PORT | unix PATH | tty PATH | self\n"
		"  --length N   of a line, in bytes (64)\n"
		"  --rate N     lines a second (20)\n"
		"  --until FILE lead, and end when it is there\n"
		"  --repeats    what comes may be repeated, a piece of up to "
		"4096 bytes\n"
		"  --stall S    give up when nothing comes for so long (60)\n"
		"  --skip N     leave out a byte behind line N\n"
		"  --again N    send a piece of line N twice\n"
		"  --quit N     go without a word at line N\n");
	exit(2);
}

static unsigned int number(const char *arg, unsigned int min, unsigned int max)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (!*arg || *end || n < min || n > max)
		usage();
	return (unsigned int)n;
}

/* ---- the connection ---- */

/* @address NULL: wait for the other end */
static int open_tcp(const char *address, unsigned int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)port)};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1, c;

	if (address) {
		if (inet_pton(AF_INET, address, &addr.sin_addr) != 1)
			usage();
		if (connect(s, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			die("connect");
		return s;
	}
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(s, 1) < 0)
		die("listen");
	c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
	if (c < 0)
		die("accept");
	close(s);
	return c;
}

static int open_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(s, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(path);
	return s;
}

static int open_tty(const char *path)
{
	struct termios t;
	int s = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (s < 0 || tcgetattr(s, &t) < 0)
		die(path);
	cfmakeraw(&t);
	tcsetattr(s, TCSANOW, &t);
	opt.tty = true;
	return s;
}

static int open_self(void)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	opt.leads = pid != 0;
	if (opt.leads)
		opt.skip = opt.again = opt.quit = 0;
	else if (!freopen("/dev/null", "w", stdout))
		die("/dev/null");
	close(ends[opt.leads]);
	return ends[!opt.leads];
}

static int open_connection(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[0], "listen"))
		return open_tcp(NULL, number(argv[1], 1, 65535));
	if (argc == 3 && !strcmp(argv[0], "connect"))
		return open_tcp(argv[1], number(argv[2], 1, 65535));
	if (argc == 2 && !strcmp(argv[0], "unix"))
		return open_unix(argv[1]);
	if (argc == 1 && !strcmp(argv[0], "self"))
		return open_self();
	if (argc == 2 && !strcmp(argv[0], "tty"))
		return open_tty(argv[1]);
	usage();
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"length", 1, NULL, 'l'},
		{"rate", 1, NULL, 'r'},
		{"until", 1, NULL, 'u'},
		{"repeats", 0, NULL, 'R'},
		{"stall", 1, NULL, 's'},
		{"skip", 1, NULL, 'k'},
		{"again", 1, NULL, 'a'},
		{"quit", 1, NULL, 'q'},
		{0},
	};
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		if (c == 'l')
			opt.length = number(optarg, LENGTH_MIN, LENGTH_MAX);
		else if (c == 'r')
			opt.rate = number(optarg, 1, 10000);
		else if (c == 'u')
			opt.until = optarg;
		else if (c == 'R')
			opt.repeats = true;
		else if (c == 's')
			opt.stall_s = number(optarg, 1, 3600);
		else if (c == 'k')
			opt.skip = number(optarg, 1, 1000000);
		else if (c == 'a')
			opt.again = number(optarg, 1, 1000000);
		else if (c == 'q')
			opt.quit = number(optarg, 1, 1000000);
		else
			usage();
	}
	opt.leads = opt.until != NULL;
	fd = open_connection(argc - optind, argv + optind);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		die("fcntl");
	run();
	return 0;
}
