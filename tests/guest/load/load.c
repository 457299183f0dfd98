/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Verified load on all virtio devices at once. README.md has the words of the
 * command line and the lines that are printed.
 */

#include "load/load.h"

#define PORT_GED       0x618
#define GED_BUTTON     0x08
#define LOOK_US	       10000 /* between looks at the power button */
#define FAILURES_SHOWN 20

static const struct load *const all[] = {&load_blk, &load_net, &load_console,
					 &load_rng, &load_bait};
#define NUM_ALL (sizeof(all) / sizeof(all[0]))

bool load_stopping;
static bool active[NUM_ALL];
static uint64_t failures, random_state, stall_ticks;
static struct gaps cpu_gaps;

void load_fail(const char *name, const char *what, const char *a, uint64_t va,
	       const char *b, uint64_t vb)
{
	if (failures++ >= FAILURES_SHOWN)
		return;
	guest_puts("FAIL ");
	guest_puts(name);
	guest_puts(": ");
	guest_puts(what);
	if (a)
		guest_put_pair(a, va);
	if (b)
		guest_put_pair(b, vb);
	guest_puts("\n");
}

void *load_alloc(size_t size)
{
	void *p = guest_alloc(size);

	if (!p)
		guest_fail("load: not enough memory");
	return p;
}

uint64_t load_random(void)
{
	return random_state = pattern_mix(random_state);
}

void load_pace_init(struct load_pace *p, const char *name, uint64_t absent)
{
	uint64_t rate = guest_option_number(name, absent);

	p->ticks = rate ? clock_khz() * 1000 / rate : 0;
	p->next = 0;
}

bool load_pace_take(struct load_pace *p, uint64_t now)
{
	if (now < p->next)
		return false;
	p->next = now + p->ticks;
	return true;
}

bool load_stalled(uint64_t since, uint64_t now)
{
	return now > since && now - since > stall_ticks;
}

/* Is its name a word of "only=a,b"? Without the option: all but bait. */
static bool load_wanted(const struct load *l)
{
	size_t n = strlen(l->name);
	const char *v;
	int len = guest_option("only", &v);

	for (int i = 0; i + (int)n <= len; i++) {
		bool ends = i + (int)n == len || v[i + (int)n] == ',';

		if ((!i || v[i - 1] == ',') && ends &&
		    !memcmp(v + i, l->name, n))
			return true;
	}
	return len < 0 && l != &load_bait;
}

static void load_start(void)
{
	unsigned int num = 0;

	clock_init();
	random_state = guest_option_number("seed", 1);
	stall_ticks = clock_ticks(guest_option_number("stall", 30) * 1000000);
	gaps_init(&cpu_gaps, "cpu");
	for (unsigned int i = 0; i < NUM_ALL; i++) {
		active[i] = load_wanted(all[i]) && all[i]->init();
		num += active[i];
		if (active[i]) {
			guest_puts("LOAD ");
			guest_puts(all[i]->name);
			guest_puts("\n");
		}
	}
	if (!num)
		guest_fail("load: no device to load");
	guest_puts("READY");
	guest_put_pair("tsc", rdtsc());
	guest_put_pair("khz", clock_khz());
	guest_puts("\n");
}

/* Until time=S is over or the power button was pressed. */
static bool load_is_over(uint64_t now)
{
	static uint64_t end, look;

	if (!end)
		end = now +
		      clock_ticks(guest_option_number("time", 10) * 1000000);
	if (now < look)
		return false;
	look = now + clock_ticks(LOOK_US);
	return now >= end || (inb(PORT_GED) & GED_BUTTON);
}

/* Return: true when all have come to their ends */
static bool load_poll_all(uint64_t now)
{
	bool done = true;

	for (unsigned int i = 0; i < NUM_ALL; i++) {
		if (!active[i])
			continue;
		all[i]->poll(now);
		done = done && all[i]->done();
	}
	return done;
}

void guest_main(void)
{
	uint64_t now;

	load_start();
	do {
		now = rdtsc();
		if (!load_stopping) {
			gaps_event(&cpu_gaps, now);
			load_stopping = load_is_over(now);
		}
	} while (!load_poll_all(now));

	for (unsigned int i = 0; i < NUM_ALL; i++) {
		if (active[i])
			all[i]->report();
	}
	gaps_print(&cpu_gaps);
	outb(0x80, GUEST_MARK_DONE);
	guest_puts(failures ? "DONE fail" : "DONE ok");
	guest_put_pair("failures", failures);
	guest_puts("\n");
}
