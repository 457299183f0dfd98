/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Console: numbered lines go out, what comes in is compared with what the host
 * is known to type. Neither may lose or repeat a byte.
 *
 * Spec: virtio 1.2, 5.3
 */

#include "load/load.h"

#define TX_MAX 16
#define RX_MAX 16
#define RX_BUF 64

struct line {
	bool in_use;
	uint64_t since;
	unsigned int len;
	char text[PATTERN_LINE_MAX];
};

static struct {
	struct virtio dev;
	struct vq rx, tx;
	struct gaps gaps;
	struct load_pace pace;
	struct line *lines;
	uint64_t next, bytes_out, bytes_in;
	bool failed, stalled;
} c;

static void console_give(uint8_t *buf)
{
	const struct vq_buf one = {buf, RX_BUF, true};

	if (!vq_add(&c.rx, &one, 1, (uint64_t)buf))
		guest_fail("FAIL console: no room for a buffer that was there");
}

static bool console_init(void)
{
	if (!virtio_find(VIRTIO_ID_CONSOLE, 0, &c.dev))
		return false;
	virtio_queue(&c.dev, 0, &c.rx);
	virtio_queue(&c.dev, 1, &c.tx);
	c.lines = load_alloc(TX_MAX * sizeof(*c.lines));
	gaps_init(&c.gaps, "console");
	load_pace_init(&c.pace, "console_rate", 2000);
	virtio_ready(&c.dev);
	for (int i = 0; i < RX_MAX; i++)
		console_give(load_alloc(RX_BUF));
	vq_kick(&c.rx);
	return true;
}

/* Also as two buffers, where a line is long enough. */
static void console_send(uint64_t now)
{
	for (unsigned int i = 0; i < TX_MAX; i++) {
		struct line *l = &c.lines[i];
		struct vq_buf bufs[2];
		unsigned int cut;

		if (l->in_use)
			continue;
		if (!load_pace_take(&c.pace, now))
			return;
		l->len = pattern_line(c.next, l->text);
		cut = l->len > 40 ? 17 : l->len;
		bufs[0] = (struct vq_buf){l->text, cut, false};
		bufs[1] = (struct vq_buf){l->text + cut, l->len - cut, false};
		if (!vq_add(&c.tx, bufs, cut == l->len ? 1 : 2, (uint64_t)l))
			return;
		l->in_use = true;
		l->since = now;
		c.next++;
		c.bytes_out += l->len;
		vq_kick(&c.tx);
	}
}

static void console_receive(const char *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len && !c.failed; i++) {
		if (buf[i] == pattern_input(c.bytes_in + i))
			continue;
		load_fail("console", "input is lost, repeated or changed", "at",
			  c.bytes_in + i, NULL, 0);
		c.failed = true; /* all that follows is shifted */
	}
	c.bytes_in += len;
}

static void console_poll(uint64_t now)
{
	uint64_t cookie;
	uint32_t len;

	while (vq_get(&c.tx, &cookie, &len)) {
		((struct line *)cookie)->in_use = false;
		if (!load_stopping)
			gaps_event(&c.gaps, rdtsc());
	}
	while (vq_get(&c.rx, &cookie, &len)) {
		if (len > RX_BUF)
			load_fail("console", "a wrong length", "len", len, NULL,
				  0);
		else
			console_receive((const char *)cookie, len);
		console_give((uint8_t *)cookie);
	}
	vq_kick(&c.rx);
	for (unsigned int i = 0; i < TX_MAX && !c.stalled; i++) {
		if (!c.lines[i].in_use || !load_stalled(c.lines[i].since, now))
			continue;
		load_fail("console", "output is not taken", NULL, 0, NULL, 0);
		c.stalled = true;
	}
	if (!load_stopping)
		console_send(now);
}

static bool console_done(void)
{
	return load_stopping && (!c.tx.flight || c.stalled);
}

static void console_report(void)
{
	guest_puts("CONSOLE");
	guest_put_pair("lines", c.next);
	guest_put_pair("bytes_out", c.bytes_out);
	guest_put_pair("bytes_in", c.bytes_in);
	guest_puts("\n");
	gaps_print(&c.gaps);
}

const struct load load_console = {"console", console_init, console_poll,
				  console_done, console_report};
