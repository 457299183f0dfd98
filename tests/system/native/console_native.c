/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-console in its sandbox, with every kind of back end: pipes that
 * block and that don't, a file, a pseudo-terminal, clients of a socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/endian.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE  (8 << 20)
#define RING_SIZE (256 * 1024) /* what the device keeps for a late reader */
#define FEATURES  (DRIVER_F_VERSION1 | DRIVER_F_EVENT)

struct guest {
	struct peer p;
	struct peer_queue rx, tx;
	uint64_t tx_gpa, rx_gpa;
};

static void start(struct guest *g, Bulkhead__ConsoleSetup *console,
		  const int *fds, unsigned int num, uint64_t features)
{
	Bulkhead__DeviceSetup setup;
	char id[] = "_console0";

	peer_spawn(&g->p, "console", MEM_SIZE);
	peer_hello(&g->p);
	bulkhead__device_setup__init(&setup);
	setup.id = id;
	setup.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE;
	setup.console = console;
	peer_setup(&g->p, &setup, fds, num);
	peer_check(&g->p, g->p.virtio_id == 3 && g->p.num_queues == 2);
	peer_check(&g->p, g->p.config_len == 12);
	peer_negotiate(&g->p, features);
	peer_queue_start(&g->p, &g->rx, 0, 16);
	peer_queue_start(&g->p, &g->tx, 1, 16);
	g->tx_gpa = driver_mem_alloc(&g->p.mem, 1 << 20, 4096);
	g->rx_gpa = driver_mem_alloc(&g->p.mem, 4096, 4096);
}

static void end(struct guest *g)
{
	peer_check(&g->p, g->p.num_needs_reset == 0);
	peer_check(NULL, peer_end(&g->p) == 0);
}

/* The guest prints; it must never wait longer than the device's own time. */
static void print(struct guest *g, const void *text, size_t len)
{
	struct driver_buf buf = {g->tx_gpa, (uint32_t)len, false};
	uint32_t id, used;

	memcpy(driver_mem_ptr(&g->p.mem, g->tx_gpa, len), text, len);
	peer_check(&g->p, driver_ring_add(&g->tx.ring, &buf, 1, false) >= 0);
	peer_kick(&g->tx);
	peer_wait(&g->tx, &id, &used);
	peer_check(&g->p, used == 0);
}

static void post_input(struct guest *g, uint32_t len)
{
	struct driver_buf buf = {g->rx_gpa, len, true};

	peer_check(&g->p, driver_ring_add(&g->rx.ring, &buf, 1, false) >= 0);
	peer_kick(&g->rx);
}

static void expect_input(struct guest *g, const char *want)
{
	uint32_t id, len;

	peer_wait(&g->rx, &id, &len);
	peer_check(&g->p, len == strlen(want));
	peer_check(&g->p, !memcmp(driver_mem_ptr(&g->p.mem, g->rx_gpa, len),
				  want, len));
}

static void expect_output(struct guest *g, int fd, const char *want, size_t len)
{
	size_t done = 0;
	char buf[4096];

	while (done < len) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		peer_check(&g->p, poll(&pfd, 1, PEER_TIMEOUT_MS) == 1);
		n = read(fd, buf,
			 len - done < sizeof(buf) ? len - done : sizeof(buf));
		peer_check(&g->p, n > 0);
		peer_check(&g->p, !memcmp(buf, want + done, (size_t)n));
		done += (size_t)n;
	}
}

static bool is_silent(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, 50) == 0;
}

/* Text whose every position is recognisable. */
static char *make_text(size_t len)
{
	char *text = malloc(len + 8);
	char line[32];

	for (size_t i = 0; i < len; i += 8) {
		snprintf(line, sizeof(line), "%07zx\n", i);
		memcpy(text + i, line, 8);
	}
	return text;
}

static void test_pipes(int flags, uint64_t features)
{
	Bulkhead__ConsoleSetup setup;
	unsigned long cpu;
	uint32_t id, len;
	struct guest g;
	int in[2], out[2], fds[2];

	peer_check(NULL, !pipe2(in, O_CLOEXEC | flags) &&
				 !pipe2(out, O_CLOEXEC | flags));
	bulkhead__console_setup__init(&setup);
	setup.has_input = setup.has_output = true;
	setup.cols = 80;
	setup.rows = 25;
	fds[0] = in[0];
	fds[1] = out[1];
	start(&g, &setup, fds, 2, features);
	close(fds[0]);
	close(fds[1]);
	peer_check(&g.p, get_le16(g.p.config) == 80);
	peer_check(&g.p, get_le16(g.p.config + 2) == 25);
	for (int i = 0; i < 20; i++) {
		print(&g, "to the host", 11);
		expect_output(&g, out[0], "to the host", 11);
		/* Nothing is read before the guest has room. */
		peer_check(&g.p, write(in[1], "to the guest", 12) == 12);
		post_input(&g, 12);
		expect_input(&g, "to the guest");
	}
	peer_check(&g.p, write(in[1], "abcdef", 6) == 6);
	post_input(&g, 4);
	expect_input(&g, "abcd");
	post_input(&g, 4);
	expect_input(&g, "ef");
	/* The end of the input leaves the output alone, and costs no CPU. */
	close(in[1]);
	post_input(&g, 4);
	cpu = peer_cpu_ms(&g.p);
	peer_check(&g.p, !peer_try_wait(&g.rx, 400, &id, &len));
	peer_check(&g.p, peer_cpu_ms(&g.p) - cpu < 200);
	print(&g, "still here", 10);
	expect_output(&g, out[0], "still here", 10);
	/* A reader that goes away does no harm either. */
	close(out[0]);
	print(&g, "nobody", 6);
	peer_check(&g.p, peer_receive(&g.p, PEER_TIMEOUT_MS));
	peer_check(&g.p, g.p.num_backend_closed == 1);
	print(&g, "nobody", 6);
	if (!flags)
		printf("console: %s\nconsole: %u system calls, %lu KiB\n",
		       g.p.report, g.p.syscalls, peer_pss(&g.p));
	peer_check(&g.p, g.p.syscalls && g.p.syscalls <= 12);
	end(&g);
}

static void test_file(void)
{
	char name[] = "/tmp/bulkhead-console-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);
	const size_t len = 700 * 1024; /* more than the ring, nothing lost */
	char *text = make_text(len);
	Bulkhead__ConsoleSetup setup;
	struct guest g;

	peer_check(NULL, fd >= 0);
	unlink(name);
	bulkhead__console_setup__init(&setup);
	setup.has_output = true;
	start(&g, &setup, &fd, 1, FEATURES);
	print(&g, text, len);
	print(&g, "end", 3);
	end(&g);
	peer_check(NULL, lseek(fd, 0, SEEK_END) == (off_t)len + 3);
	peer_check(NULL, lseek(fd, 0, SEEK_SET) == 0);
	expect_output(&g, fd, text, len);
	expect_output(&g, fd, "end", 3);
	close(fd);
	free(text);
}

/* A disk without room loses output, not the guest's time. */
static void test_full(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	Bulkhead__ConsoleSetup setup;
	struct guest g;

	peer_check(NULL, fd >= 0);
	bulkhead__console_setup__init(&setup);
	setup.has_output = true;
	start(&g, &setup, &fd, 1, FEATURES);
	for (int i = 0; i < 10; i++)
		print(&g, "lost", 4);
	end(&g);
	close(fd);
}

static void test_null(void)
{
	Bulkhead__ConsoleSetup setup;
	uint32_t id, len;
	struct guest g;

	bulkhead__console_setup__init(&setup);
	start(&g, &setup, NULL, 0, FEATURES);
	print(&g, "into the void", 13);
	post_input(&g, 16);
	peer_check(&g.p, !peer_try_wait(&g.rx, 50, &id, &len));
	end(&g);
}

/* The newest 8 bytes, of however many reads. */
static void keep_last(char last[8], const char *buf, size_t n)
{
	size_t old = n < 8 ? 8 - n : 0;

	memmove(last, last + 8 - old, old);
	memcpy(last + old, buf + n - (8 - old), 8 - old);
}

/* A reader that doesn't read: the guest goes on, the newest output is kept. */
static void test_slow_reader(int flags)
{
	const size_t len = 1 << 20;
	char *text = make_text(len);
	Bulkhead__ConsoleSetup setup;
	char last[64] = "", buf[4096];
	struct guest g;
	int out[2];

	peer_check(NULL, !pipe2(out, O_CLOEXEC | flags));
	bulkhead__console_setup__init(&setup);
	setup.has_output = true;
	start(&g, &setup, &out[1], 1, FEATURES);
	close(out[1]);
	for (int i = 0; i < 4; i++)
		print(&g, text, len);
	print(&g, "the end\n", 8);
	while (strcmp(last, "the end\n")) {
		struct pollfd pfd = {.fd = out[0], .events = POLLIN};
		ssize_t n;

		peer_check(&g.p, poll(&pfd, 1, PEER_TIMEOUT_MS) == 1);
		n = read(out[0], buf, sizeof(buf) - 1);
		peer_check(&g.p, n > 0);
		keep_last(last, buf, (size_t)n);
	}
	end(&g);
	close(out[0]);
	free(text);
}

static void attach(struct guest *g, int fd, int want)
{
	Bulkhead__DeviceBody body;
	Bulkhead__Attach m;

	bulkhead__attach__init(&m);
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_ATTACH;
	body.attach = &m;
	peer_check(&g->p, peer_request(&g->p, &body, &fd, 1, NULL) == want);
}

static void test_clients(void)
{
	const size_t len = 2 * RING_SIZE;
	char *text = make_text(len);
	Bulkhead__ConsoleSetup setup;
	unsigned long cpu;
	struct guest g;
	int pair[2], null;

	bulkhead__console_setup__init(&setup);
	setup.waits_for_client = true;
	start(&g, &setup, NULL, 0, FEATURES);
	print(&g, "early", 5);
	for (int round = 0; round < 4; round++) {
		peer_check(&g.p,
			   !socketpair(AF_UNIX,
				       SOCK_STREAM | SOCK_CLOEXEC |
					       (round % 2 ? SOCK_NONBLOCK : 0),
				       0, pair));
		attach(&g, pair[1], 0);
		close(pair[1]);
		expect_output(&g, pair[0], round ? "late" : "early",
			      round ? 4 : 5);
		peer_check(&g.p, write(pair[0], "hi", 2) == 2);
		post_input(&g, 8);
		expect_input(&g, "hi");
		print(&g, "again", 5);
		expect_output(&g, pair[0], "again", 5);
		/* The client's last words end, its ears don't. */
		if (round == 2) {
			uint32_t id, used;

			shutdown(pair[0], SHUT_WR);
			post_input(&g, 8);
			cpu = peer_cpu_ms(&g.p);
			peer_check(&g.p,
				   !peer_try_wait(&g.rx, 400, &id, &used));
			peer_check(&g.p, peer_cpu_ms(&g.p) - cpu < 200);
			print(&g, "still", 5);
			expect_output(&g, pair[0], "still", 5);
		}
		/* With and without room for input, the hang-up is seen. */
		if (round == 1)
			post_input(&g, 8);
		close(pair[0]);
		peer_check(&g.p, peer_receive(&g.p, PEER_TIMEOUT_MS));
		peer_check(&g.p,
			   g.p.num_backend_closed == (unsigned int)round + 1);
		print(&g, "late", 4);
		if (round == 1 || round == 2) { /* take the buffer back */
			uint32_t base = peer_queue_stop(&g.p, &g.rx);

			peer_queue_forget(&g.rx);
			(void)base;
			peer_queue_start(&g.p, &g.rx, 0, 16);
		}
	}
	/* The newest 256 KiB are kept. */
	print(&g, text, len);
	peer_check(&g.p,
		   !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	attach(&g, pair[1], 0);
	close(pair[1]);
	expect_output(&g, pair[0], text + len - RING_SIZE, RING_SIZE);
	peer_check(&g.p, is_silent(pair[0]));
	close(pair[0]);
	peer_check(&g.p, peer_receive(&g.p, PEER_TIMEOUT_MS));
	/* A client that can't be written to is refused. */
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	attach(&g, null, -EBADF);
	close(null);
	end(&g);
	free(text);
}

static void test_pty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	Bulkhead__ConsoleSetup setup;
	struct termios raw;
	char path[64];
	struct guest g;
	int slave;

	peer_check(NULL, master >= 0 && !grantpt(master) && !unlockpt(master) &&
				 !ptsname_r(master, path, sizeof(path)));
	slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	peer_check(NULL, slave >= 0 && !tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	bulkhead__console_setup__init(&setup);
	setup.has_input = setup.has_output = setup.output_is_input = true;
	start(&g, &setup, &master, 1, FEATURES);
	print(&g, "login: ", 7);
	expect_output(&g, slave, "login: ", 7);
	peer_check(&g.p, write(slave, "root\r", 5) == 5);
	post_input(&g, 64);
	expect_input(&g, "root\r");
	end(&g);
	close(slave);
	close(master);
}

static void test_resize(void)
{
	Bulkhead__ConsoleSetup setup;
	Bulkhead__DeviceBody body;
	Bulkhead__ConsoleSize size;
	struct guest g;

	bulkhead__console_setup__init(&setup);
	setup.cols = 80;
	setup.rows = 25;
	start(&g, &setup, NULL, 0, FEATURES | 1);
	/* A driver that reads the size only after changes learns of it. */
	post_input(&g, 4);
	if (!g.p.num_config_changed)
		peer_check(&g.p, peer_receive(&g.p, PEER_TIMEOUT_MS));
	peer_check(&g.p, g.p.num_config_changed == 1);
	bulkhead__console_size__init(&size);
	size.cols = 132;
	size.rows = 1 << 20; /* as much as fits */
	bulkhead__device_body__init(&body);
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_CONSOLE_SIZE;
	body.console_size = &size;
	peer_check(&g.p, peer_request(&g.p, &body, NULL, 0, NULL) == 0);
	if (g.p.num_config_changed == 1)
		peer_check(&g.p, peer_receive(&g.p, PEER_TIMEOUT_MS));
	peer_check(&g.p, g.p.num_config_changed == 2);
	peer_check(&g.p, get_le16(g.p.config) == 132);
	peer_check(&g.p, get_le16(g.p.config + 2) == 65535);
	end(&g);
}

int main(void)
{
	test_pipes(0, FEATURES);
	test_pipes(O_NONBLOCK, FEATURES);
	test_pipes(O_NONBLOCK, DRIVER_F_VERSION1 | DRIVER_F_PACKED);
	test_pipes(0, FEATURES | DRIVER_F_PACKED);
	test_file();
	test_full();
	test_null();
	test_slow_reader(0);
	test_slow_reader(O_NONBLOCK);
	test_clients();
	test_pty();
	test_resize();
	printf("console: all passed\n");
	return 0;
}
