/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Does to each device, and to the machine around it, what no driver would do.
 * README.md has the words of the command line and the lines that are printed.
 */

#include "hostile/hostile.h"

#define PORT_GED   0x618
#define GED_BUTTON 0x08
#define BUTTON_US  60000000 /* for the host to look around */
#define FOUR_GIB   (1ull << 32)

static const struct {
	const char *name;
	void (*acts)(struct target *t);
} kinds[] = {
	{"request", NULL}, /* the device's own */
	{"ring", ring_acts}, {"random", random_acts}, {"setup", setup_acts},
	{"pci", pci_acts},   {"reset", reset_acts},   {"flood", flood_acts},
};

/* Hole, BARs, ECAM, IOAPIC, LAPIC; nothing; the end of all addresses. */
const uint64_t nowhere[NUM_NOWHERE] = {
	0xc0000000,  0xd0000000, 0xe8000000, 0xfec00000,	 0xfee00000,
	0x100000000, 1ull << 40, 1ull << 52, 0xfffffffffffff000, UINT64_MAX - 7,
};

uint64_t ram_end;
uint8_t *scratch;
struct vq_desc *table;
static uint64_t failures, random_state;

static void report_end(void);

void hostile_fail(const char *device, const char *what, const char *name,
		  uint64_t value)
{
	guest_puts("FAIL ");
	guest_puts(device);
	guest_puts(": ");
	guest_puts(what);
	if (name)
		guest_put_pair(name, value);
	guest_puts("\n");
	if (++failures < FAILURES_MAX)
		return;
	report_end();
	guest_fail("hostile: too many failures");
}

void *hostile_alloc(size_t size)
{
	void *p = guest_alloc(size);

	if (!p)
		guest_fail("hostile: not enough memory");
	return p;
}

uint64_t hostile_random(void)
{
	uint64_t x = random_state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Is a word of @option, "a,b"? Without the option: yes. */
static bool wanted(const char *option, const char *name)
{
	size_t n = strlen(name);
	const char *v;
	int len = guest_option(option, &v);

	for (int i = 0; i + (int)n <= len; i++) {
		bool ends = i + (int)n == len || v[i + (int)n] == ',';

		if ((!i || v[i - 1] == ',') && ends && !memcmp(v + i, name, n))
			return true;
	}
	return len < 0;
}

static void find_ram(void)
{
	for (uint32_t i = 0; i < guest_boot.num_ranges; i++) {
		const struct guest_range *r = &guest_boot.ranges[i];

		if (r->type == 1 && r->addr < FOUR_GIB &&
		    r->addr + r->size > ram_end)
			ram_end = r->addr + r->size;
	}
}

static void start(void)
{
	clock_init();
	random_state = guest_option_number("seed", 1);
	find_ram();
	scratch = hostile_alloc(SCRATCH);
	table = hostile_alloc(TABLE_MAX * sizeof(*table));
	for (unsigned int i = 0; i < NUM_TARGETS; i++)
		target_find(targets[i]);
	guest_puts("READY\n");
}

static void run_kind(unsigned int k)
{
	uint64_t from = rdtsc(), acts = 0;

	for (unsigned int i = 0; i < NUM_TARGETS; i++) {
		struct target *t = targets[i];
		uint64_t before = t->acts;

		if (!t->there || !wanted("only", t->name))
			continue;
		if (kinds[k].acts)
			kinds[k].acts(t);
		else
			t->requests();
		acts += t->acts - before;
	}
	guest_puts("PART ");
	guest_puts(kinds[k].name);
	guest_put_pair("acts", acts);
	guest_put_pair("ms", clock_us(rdtsc() - from) / 1000);
	guest_puts("\n");
}

static void report(const struct target *t)
{
	guest_puts("HOSTILE ");
	guest_puts(t->name);
	guest_put_pair("acts", t->acts);
	guest_put_pair("needs_reset", t->outcomes[RESET]);
	guest_put_pair("answered", t->outcomes[USED]);
	guest_put_pair("ignored", t->outcomes[NOTHING]);
	guest_put_pair("status0", t->statuses[0]);
	guest_put_pair("status1", t->statuses[1]);
	guest_put_pair("status2", t->statuses[2]);
	guest_put_pair("other", t->statuses[3]);
	guest_put_pair("resets", t->resets);
	guest_put_pair("flooded", t->flooded);
	guest_put_pair("good", t->served);
	guest_put_pair("good_max_us", clock_us(t->good_max));
	guest_puts("\n");
}

static void report_end(void)
{
	uint64_t acts = 0, there = 0;

	for (unsigned int i = 0; i < NUM_TARGETS; i++) {
		if (!targets[i]->there)
			continue;
		report(targets[i]);
		acts += targets[i]->acts;
		there++;
	}
	guest_puts(failures || !acts ? "VERDICT fail" : "VERDICT ok");
	guest_put_pair("devices", there);
	guest_put_pair("acts", acts);
	guest_put_pair("failures", failures);
	guest_puts("\n");
}

/* The host has a look at what is left of the devices' processes. */
static void wait_for_button(void)
{
	uint64_t start = rdtsc(), limit = clock_ticks(BUTTON_US);

	while (!(inb(PORT_GED) & GED_BUTTON) && rdtsc() - start < limit)
		target_others_good(NULL, "at the end");
}

void guest_main(void)
{
	start();
	for (unsigned int k = 0; k < COUNT(kinds); k++) {
		if (wanted("do", kinds[k].name))
			run_kind(k);
	}
	report_end();
	wait_for_button();
}
