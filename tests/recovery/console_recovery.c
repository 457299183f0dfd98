/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a real bulkhead-console under load: numbered output to a socket and to
 * a file, numbered input from a socket. Nothing may be missing; output to a
 * socket may repeat what one write() held, nothing else may come twice.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "tests/peer/device_peer.h"

#define MEM_SIZE  (4 << 20)
#define RING_SIZE 32
#define BUF	  1024
#define RECORD	  8
#define KILLS	  60
#define REPEAT	  4096 /* CONSOLE_WRITE_MAX */

static struct console {
	struct peer p;
	struct peer_queue rx, tx;
	uint64_t rx_buf[RING_SIZE], tx_buf[RING_SIZE];
	int rx_slot[RING_SIZE], tx_slot[RING_SIZE];
	bool tx_busy[RING_SIZE];
	int ours, theirs; /* socket */
	bool file;
	uint64_t sent;	   /* bytes of output given to the device */
	uint64_t seen;	   /* of them, at the other end */
	uint64_t repeated; /* bytes, in all */
	bool may_repeat;
	uint64_t typed; /* bytes of input given to the socket */
	uint64_t got;	/* of them, at the guest */
} c;

#define must(cond) peer_check(&c.p, cond)

/* The stream's byte at @pos: records of 8 digits. */
static char stream_byte(uint64_t pos)
{
	char text[24];

	snprintf(text, sizeof(text), "%08llu",
		 (unsigned long long)(pos / RECORD));
	return text[pos % RECORD];
}

static bool stream_is(const char *data, size_t len, uint64_t pos)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != stream_byte(pos + i))
			return false;
	return true;
}

static void *at(uint64_t gpa, uint64_t len)
{
	return driver_mem_ptr(&c.p.mem, gpa, len);
}

static void setup(void)
{
	Bulkhead__DeviceSetup s;
	Bulkhead__ConsoleSetup con;
	char id[] = "console";

	peer_hello(&c.p);
	bulkhead__device_setup__init(&s);
	bulkhead__console_setup__init(&con);
	s.id = id;
	s.queue_size = RING_SIZE;
	s.backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE;
	s.console = &con;
	con.has_output = true;
	con.has_input = con.output_is_input = !c.file;
	peer_setup(&c.p, &s, &c.theirs, 1);
	peer_inflight(&c.p);
}

static void give_room(unsigned int slot)
{
	struct driver_buf buf = {c.rx_buf[slot], BUF, true};
	int id = driver_ring_add(&c.rx.ring, &buf, 1, false);

	must(id >= 0);
	c.rx_slot[id] = (int)slot;
}

static void guest_write(void)
{
	uint32_t id, len;

	while (driver_ring_get(&c.tx.ring, &id, &len))
		c.tx_busy[c.tx_slot[id]] = false;
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		uint32_t n = 1 + (uint32_t)rand() % BUF;
		struct driver_buf buf = {c.tx_buf[i], n, false};
		char *data = at(buf.gpa, n);
		int got;

		/* What nobody has read yet must fit the device's ring. */
		if (c.tx_busy[i] || c.sent - c.seen > 128 * 1024)
			continue;
		for (uint32_t k = 0; k < n; k++)
			data[k] = stream_byte(c.sent + k);
		got = driver_ring_add(&c.tx.ring, &buf, 1, false);
		if (got < 0)
			break;
		c.tx_slot[got] = (int)i;
		c.tx_busy[i] = true;
		c.sent += n;
	}
	peer_kick(&c.tx);
}

static void guest_read(void)
{
	uint32_t id, len;

	while (driver_ring_get(&c.rx.ring, &id, &len)) {
		unsigned int slot = (unsigned int)c.rx_slot[id];

		if (len && !stream_is(at(c.rx_buf[slot], len), len, c.got))
			peer_fail(&c.p, "input at %llu is not what was typed",
				  (unsigned long long)c.got);
		c.got += len;
		give_room(slot);
	}
	peer_kick(&c.rx);
}

static void type(void)
{
	char data[512];
	size_t n = 1 + (size_t)rand() % sizeof(data);
	ssize_t r;

	for (size_t i = 0; i < n; i++)
		data[i] = stream_byte(c.typed + i);
	r = send(c.ours, data, n, MSG_DONTWAIT);
	if (r > 0)
		c.typed += (uint64_t)r;
}

/* Where does @data go on? At most one write's bytes back. */
static uint64_t find(const char *data, size_t len)
{
	for (uint64_t back = 0; back <= REPEAT && back <= c.seen; back++)
		if (stream_is(data, len, c.seen - back))
			return back;
	peer_fail(&c.p, "output at %llu is lost", (unsigned long long)c.seen);
}

static void look(void)
{
	char data[8192];
	ssize_t n;

	while ((n = recv(c.ours, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		uint64_t back = 0;

		if (!stream_is(data, (size_t)n, c.seen)) {
			must(c.may_repeat);
			back = find(data, (size_t)n);
			c.may_repeat = false;
		}
		c.repeated += back;
		c.seen += (uint64_t)n - back;
	}
}

static void replace(uint64_t features)
{
	peer_kill(&c.p);
	if (!c.file)
		look();
	c.may_repeat = true;
	peer_respawn(&c.p);
	setup();
	peer_negotiate(&c.p, features);
	peer_queue_restart(&c.p, &c.rx, driver_ring_base(&c.rx.ring));
	peer_queue_restart(&c.p, &c.tx, driver_ring_base(&c.tx.ring));
}

static void step(void)
{
	guest_write();
	guest_read();
	if (c.file) {
		c.seen = c.sent;
	} else {
		type();
		look();
	}
}

static void finish(void)
{
	for (int i = 0; i < 5000; i++) {
		guest_read();
		if (!c.file)
			look();
		if ((c.file || c.seen == c.sent) && c.got == c.typed)
			return;
		usleep(1000);
	}
	peer_fail(&c.p, "lost: output %llu of %llu, input %llu of %llu",
		  (unsigned long long)c.seen, (unsigned long long)c.sent,
		  (unsigned long long)c.got, (unsigned long long)c.typed);
}

static void check_file(void)
{
	char data[4096];
	uint64_t pos = 0;
	ssize_t n;

	while ((n = pread(c.ours, data, sizeof(data), (off_t)pos)) > 0) {
		must(stream_is(data, (size_t)n, pos));
		pos += (uint64_t)n;
	}
	must(pos == c.sent);
}

static void open_back_end(void)
{
	char path[] = "/var/tmp/console_recovery.XXXXXX";
	int pair[2];

	if (c.file) {
		c.theirs = mkostemp(path, O_CLOEXEC);
		c.ours = open(path, O_RDONLY | O_CLOEXEC);
		must(c.theirs >= 0 && c.ours >= 0 && unlink(path) == 0);
		return;
	}
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			pair) == 0);
	c.ours = pair[0];
	c.theirs = pair[1];
}

static void storm(uint64_t features, bool file, const char *name)
{
	memset(&c, 0, sizeof(c));
	features |= DRIVER_F_VERSION1;
	c.file = file;
	open_back_end();
	peer_spawn(&c.p, "console", MEM_SIZE);
	setup();
	peer_negotiate(&c.p, features);
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		c.rx_buf[i] = driver_mem_alloc(&c.p.mem, BUF, 16);
		c.tx_buf[i] = driver_mem_alloc(&c.p.mem, BUF, 16);
	}
	peer_queue_start(&c.p, &c.rx, 0, RING_SIZE);
	peer_queue_start(&c.p, &c.tx, 1, RING_SIZE);
	for (unsigned int i = 0; i < RING_SIZE / 2; i++)
		give_room(i);
	for (unsigned int i = 0; i < KILLS; i++) {
		for (int n = rand() % 60; n >= 0; n--)
			step();
		if (rand() % 4 == 0)
			usleep((unsigned int)rand() % 2000);
		replace(features);
	}
	step();
	finish();
	must(!c.p.num_needs_reset);
	must(peer_end(&c.p) == 0);
	if (file)
		check_file();
	printf("console %s: %u kills, %llu bytes out (%llu twice), %llu in: "
	       "good\n",
	       name, KILLS, (unsigned long long)c.sent,
	       (unsigned long long)c.repeated, (unsigned long long)c.got);
	fd_close(c.ours);
	fd_close(c.theirs);
}

int main(void)
{
	unsigned int seed = (unsigned int)time(NULL);

	printf("seed %u\n", seed);
	srand(seed);
	storm(0, false, "split");
	storm(DRIVER_F_PACKED | DRIVER_F_EVENT, false, "packed");
	storm(DRIVER_F_EVENT, true, "to a file");
	return 0;
}
