/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The guest's partners: a thread that sends the tap's frames back, and one
 * that reads the console, compares, and types. A console that closes (its
 * device died) is opened again.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "tests/guest/load/pattern.h"
#include "tests/recovery/storm.h"

#define POLL_MS	      20
#define TYPE_MAX      200 /* bytes at once */
#define TYPE_EVERY_MS 5

static const struct storm_vm *peer_vm;
static pthread_t net_thread, console_thread;
static volatile bool stopping, quiet;
static bool net_runs, console_runs;

#define HISTORY	   16384 /* bytes of output that are remembered */
#define REPEAT_MAX 4096	 /* a write that a death may have cut off */
#define SURE	   100	 /* bytes to recognize a repetition by */

static struct {
	int fd; /* -1 = not open */
	uint64_t in;
	/* What should come: line by line into expected[], a ring. */
	char expected[HISTORY];
	uint64_t lines, made;
	uint64_t out;	  /* bytes that came, without repetitions */
	uint64_t repeats; /* how often some were repeated */
	char rest[8192];  /* came, but not yet understood */
	size_t num_rest;
	bool bad;
} con = {.fd = -1};

/* ---- network ---- */

static int net_open(void)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
			htons(ETH_P_ALL));

	addr.sll_ifindex = (int)if_nametoindex(STORM_TAP);
	if (fd < 0 || !addr.sll_ifindex ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		storm_die(STORM_TAP ": %m");
	return fd;
}

static void net_echo(int fd)
{
	uint8_t frame[2048];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, frame, sizeof(frame), 0,
			     (struct sockaddr *)&from, &len);
	unsigned int drop = peer_vm->options->drop;
	static unsigned int frames;

	if (n < PATTERN_FRAME_MIN || from.sll_pkttype == PACKET_OUTGOING ||
	    frame[12] != PATTERN_ETHERTYPE >> 8 ||
	    frame[13] != (PATTERN_ETHERTYPE & 0xff))
		return;
	frames++;
	if (drop && frames % drop == 0)
		return;
	memcpy(frame, frame + 6, 6); /* to the sender */
	if (send(fd, frame, (size_t)n, 0) < 0 && errno != EAGAIN &&
	    errno != ENOBUFS && errno != ENETDOWN)
		storm_finding("net: a frame can't be sent back: %m");
}

static void *net_run(void *arg)
{
	struct pollfd p = {.fd = net_open(), .events = POLLIN};

	(void)arg;
	while (!stopping) {
		if (poll(&p, 1, POLL_MS) > 0)
			net_echo(p.fd);
	}
	close(p.fd);
	return NULL;
}

/* ---- console ---- */

static int console_connect(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s",
		 vm_path(peer_vm, "console"));
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}

static int console_open_pty(void)
{
	char line[256];
	FILE *log = fopen(vm_path(peer_vm, "log.txt"), "re");
	struct termios t;
	int fd = -1;

	while (log && fgets(line, sizeof(line), log)) {
		char *p = strstr(line, "/dev/pts/");

		if (!p)
			continue;
		p[strcspn(p, " \n;,")] = '\0';
		fd = open(p, O_RDWR | O_NOCTTY | O_CLOEXEC);
		break;
	}
	if (log)
		fclose(log);
	if (fd >= 0 && !tcgetattr(fd, &t)) {
		cfmakeraw(&t);
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

static void console_open(void)
{
	switch (peer_vm->options->console) {
	case CONSOLE_FILE:
		con.fd = open(vm_path(peer_vm, "console.txt"),
			      O_RDONLY | O_CLOEXEC);
		break;
	case CONSOLE_SOCKET:
		con.fd = console_connect();
		break;
	case CONSOLE_PTY:
		con.fd = console_open_pty();
		break;
	}
}

static char console_expected(uint64_t at)
{
	char line[PATTERN_LINE_MAX];

	while (con.made <= at) {
		unsigned int n = pattern_line(con.lines++, line);

		for (unsigned int i = 0; i < n; i++)
			con.expected[con.made++ % HISTORY] = line[i];
	}
	return con.expected[at % HISTORY];
}

/* How many of these bytes are what should come from @at on? */
static size_t console_match(const char *buf, size_t n, uint64_t at)
{
	size_t i = 0;

	while (i < n && buf[i] == console_expected(at + i))
		i++;
	return i;
}

/* From where on is it repeated? Return: bytes back, 0 = it is not */
static uint64_t console_repeat(const char *buf, size_t n)
{
	if (peer_vm->options->console == CONSOLE_FILE)
		return 0; /* each byte once */
	for (uint64_t back = 1; back <= REPEAT_MAX && back <= con.out; back++) {
		if (console_match(buf, n, con.out - back) == n)
			return back;
	}
	return 0;
}

/* All that can be understood of what came; @last: no more will come. */
static void console_digest(bool last)
{
	while (con.num_rest && !con.bad) {
		size_t n = console_match(con.rest, con.num_rest, con.out);
		uint64_t back;

		con.out += n;
		con.num_rest -= n;
		memmove(con.rest, con.rest + n, con.num_rest);
		if (!con.num_rest || (con.num_rest < SURE && !last))
			return;
		back = console_repeat(
			con.rest, con.num_rest < SURE ? con.num_rest : SURE);
		con.repeats += back != 0;
		con.bad = !back;
		con.out -= back;
	}
}

static void console_take(const char *buf, size_t n)
{
	if (con.bad)
		return;
	memcpy(con.rest + con.num_rest, buf, n);
	con.num_rest += n;
	console_digest(false);
	if (con.bad)
		storm_finding(
			"console: behind byte %llu comes \"%.40s\", which "
			"is neither next nor a repetition",
			(unsigned long long)con.out, con.rest);
}

/* Return: false at the end of what there is */
static bool console_read(void)
{
	char buf[4096];
	ssize_t n = read(con.fd, buf, sizeof(buf));

	if (n > 0)
		console_take(buf, (size_t)n);
	if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
		return n > 0;
	if (peer_vm->options->console != CONSOLE_FILE) {
		close(con.fd);
		con.fd = -1;
	}
	return false;
}

static void console_type(void)
{
	char buf[TYPE_MAX];
	size_t n = pattern_mix(con.in) % TYPE_MAX + 1;
	ssize_t done;

	for (size_t i = 0; i < n; i++)
		buf[i] = pattern_input(con.in + i);
	if (peer_vm->options->console == CONSOLE_PTY)
		done = write(con.fd, buf, n);
	else
		done = send(con.fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (done > 0)
		con.in += (uint64_t)done;
}

static void *console_run(void *arg)
{
	bool types = peer_vm->options->console != CONSOLE_FILE;
	uint64_t next = 0;

	(void)arg;
	while (!stopping) {
		struct pollfd p = {.events = POLLIN};
		uint64_t now = storm_now_us();

		if (con.fd < 0)
			console_open();
		p.fd = con.fd;
		if (con.fd < 0 || poll(&p, 1, TYPE_EVERY_MS) < 0 ||
		    (!types && !console_read()))
			poll(NULL, 0, types ? 1 : POLL_MS);
		if (types && con.fd >= 0 &&
		    p.revents & (POLLIN | POLLHUP | POLLERR))
			console_read();
		if (types && con.fd >= 0 && !quiet && now >= next) {
			console_type();
			next = now + TYPE_EVERY_MS * 1000;
		}
	}
	while (con.fd >= 0 && console_read())
		;
	console_digest(true);
	return NULL;
}

/* ---- both ---- */

void peer_start(const struct storm_vm *vm)
{
	peer_vm = vm;
	if (pthread_create(&net_thread, NULL, net_run, NULL))
		storm_die("no thread");
	net_runs = true;
	if (pthread_create(&console_thread, NULL, console_run, NULL))
		storm_die("no thread");
	console_runs = true;
}

uint64_t peer_quiet(void)
{
	quiet = true;
	poll(NULL, 0, 500); /* what was typed arrives */
	return con.in;
}

void peer_stop(void)
{
	stopping = true;
	if (net_runs)
		pthread_join(net_thread, NULL);
	if (console_runs)
		pthread_join(console_thread, NULL);
	net_runs = console_runs = false;
}

uint64_t peer_console_bytes(void)
{
	return con.out;
}

uint64_t peer_console_repeats(void)
{
	return con.repeats;
}
