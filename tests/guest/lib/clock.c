/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/clock.h"

#include "lib/cpu.h"

#define LEAF_TSC       0x15u
#define LEAF_HV	       0x40000000u
#define LEAF_HV_TIMING 0x40000010u

#define PORT_PM_TIMER 0x608
#define PM_TIMER_HZ   3579545u
#define PM_TIMER_MASK 0xffffffu

static uint64_t khz;
struct gaps *gaps_all[GAPS_ALL_MAX];

static uint64_t khz_from_cpuid(void)
{
	struct cpu_id c = cpu_id(LEAF_HV, 0);

	if (c.eax >= LEAF_HV_TIMING && c.eax < LEAF_HV + 0x100) {
		c = cpu_id(LEAF_HV_TIMING, 0);
		if (c.eax)
			return c.eax;
	}
	if (cpu_id(0, 0).eax < LEAF_TSC)
		return 0;
	c = cpu_id(LEAF_TSC, 0);
	return c.eax ? (uint64_t)c.ecx * c.ebx / c.eax / 1000 : 0;
}

/* Over 20 ms of a timer whose frequency is known. */
static uint64_t khz_from_timer(void)
{
	uint32_t start = inl(PORT_PM_TIMER), passed = 0;
	uint64_t tsc = rdtsc();

	for (int i = 0; i < 10000000 && passed < PM_TIMER_HZ / 50; i++)
		passed = (inl(PORT_PM_TIMER) - start) & PM_TIMER_MASK;
	if (passed < PM_TIMER_HZ / 50)
		guest_fail("clock: the TSC's frequency can't be found");
	return (rdtsc() - tsc) * PM_TIMER_HZ / passed / 1000;
}

void clock_init(void)
{
	khz = khz_from_cpuid();
	if (!khz)
		khz = khz_from_timer();
}

uint64_t clock_khz(void)
{
	return khz;
}

uint64_t clock_us(uint64_t ticks)
{
	return ticks / khz * 1000 + ticks % khz * 1000 / khz;
}

uint64_t clock_ticks(uint64_t us)
{
	return us / 1000 * khz + us % 1000 * khz / 1000;
}

void gaps_init(struct gaps *g, const char *name)
{
	memset(g, 0, sizeof(*g));
	g->name = name;
	g->list = guest_alloc(GAPS_MAX * sizeof(*g->list));
	if (!g->list)
		guest_fail("gaps: no memory");
	for (unsigned int i = 0; i < GAPS_ALL_MAX; i++) {
		if (!gaps_all[i]) {
			gaps_all[i] = g;
			return;
		}
	}
	guest_fail("gaps: too many");
}

void gaps_event(struct gaps *g, uint64_t tsc)
{
	uint64_t ticks = tsc - g->last;
	bool first = !g->last;

	g->last = tsc;
	g->events++;
	if (first)
		return;
	if (ticks > g->max)
		g->max = ticks;
	if (ticks < clock_ticks(GAPS_MIN_US))
		return;
	if (g->count < GAPS_MAX)
		g->list[g->count] = (struct gap){.end = tsc, .ticks = ticks};
	g->count++;
}

static void gaps_sift(uint64_t *v, uint32_t i, uint32_t n)
{
	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		uint64_t t = v[i];

		if (child + 1 < n && v[child + 1] > v[child])
			child++;
		if (v[child] <= t)
			return;
		v[i] = v[child];
		v[child] = t;
	}
}

static void gaps_sort(uint64_t *v, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		gaps_sift(v, i, n);
	while (n > 1) {
		uint64_t t = v[--n];

		v[n] = v[0];
		v[0] = t;
		gaps_sift(v, 0, n);
	}
}

void gaps_print(struct gaps *g)
{
	uint32_t n = gaps_kept(g);
	uint64_t *sorted = guest_alloc(GAPS_MAX * sizeof(*sorted));

	if (!sorted)
		guest_fail("gaps: no memory");
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = g->list[i].ticks;
	gaps_sort(sorted, n);
	guest_puts("GAPS ");
	guest_puts(g->name);
	guest_put_pair("events", g->events);
	guest_put_pair("over_1ms", g->count);
	guest_put_pair("p50_us", n ? clock_us(sorted[n / 2]) : 0);
	guest_put_pair("p99_us", n ? clock_us(sorted[n * 99ull / 100]) : 0);
	guest_put_pair("max_us", clock_us(g->max));
	guest_put_pair("kept", n);
	guest_put_pair("at", g->saved_at);
	guest_puts("\n");
}
