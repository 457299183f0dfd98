/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo-peer INTERFACE SOCKET: the host's side for a guest that asks whether its
 * devices still work (tests/guest/hostile). Frames of type 0x88b5 go back to
 * where they came from; a line "PING x" at the console is answered with
 * "PONG x", and all else that is printed is read and ignored. Ends with the
 * console.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TYPE_ECHO 0x88b5
#define FRAME_MIN 60
#define LINE_MAX  64
#define WAIT_MS	  30000 /* without anything: nobody is there any more */

static char line[LINE_MAX];
static size_t line_len;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static int open_interface(const char *name)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_ALL),
				   .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
			htons(ETH_P_ALL));

	must(fd >= 0 && addr.sll_ifindex &&
		     !bind(fd, (struct sockaddr *)&addr, sizeof(addr)),
	     name);
	return fd;
}

static int open_console(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	must(fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
	     path);
	return fd;
}

static void send_back(int fd)
{
	static uint8_t frame[70000];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, frame, sizeof(frame), 0,
			     (struct sockaddr *)&from, &len);

	if (n < FRAME_MIN || from.sll_pkttype == PACKET_OUTGOING ||
	    frame[12] != TYPE_ECHO >> 8 || frame[13] != (TYPE_ECHO & 0xff))
		return;
	memcpy(frame, frame + 6, 6); /* to the sender */
	/* The guest asks again for what is lost. */
	if (send(fd, frame, (size_t)n, 0) < 0)
		errno = 0;
}

static void answer(int fd)
{
	if (line_len < 5 || memcmp(line, "PING ", 5))
		return;
	line[1] = 'O';
	line[line_len++] = '\n';
	must(send(fd, line, line_len, MSG_NOSIGNAL) == (ssize_t)line_len,
	     "console");
}

/* Return: 0 at its end */
static int listen_to(int fd)
{
	static char text[65536];
	ssize_t n = read(fd, text, sizeof(text));

	for (ssize_t i = 0; i < n; i++) {
		if (text[i] == '\n') {
			answer(fd);
			line_len = 0;
		} else if (line_len < LINE_MAX - 1) {
			line[line_len++] = text[i];
		}
	}
	return n > 0 || (n < 0 && errno == EINTR);
}

int main(int argc, char **argv)
{
	struct pollfd p[2];

	if (argc != 3) {
		fprintf(stderr, "usage: echo-peer INTERFACE SOCKET\n");
		return 2;
	}
	p[0] = (struct pollfd){open_interface(argv[1]), POLLIN, 0};
	p[1] = (struct pollfd){open_console(argv[2]), POLLIN, 0};
	while (poll(p, 2, WAIT_MS) > 0) {
		if (p[0].revents)
			send_back(p[0].fd);
		if (p[1].revents && !listen_to(p[1].fd))
			return 0;
	}
	fprintf(stderr, "echo-peer: nobody talks any more\n");
	return 1;
}
