/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every generated filter against the committed list that it was made from:
 * the filter is interpreted here, the list is evaluated rule by rule, and the
 * two must agree.
 */
#include <criterion/criterion.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/num.h"
#include "common/sandbox/rules.h"
#include "common/sandbox/seccomp.h"

#define MAX_NR	   1024
#define X32_BIT	   0x40000000
#define NUM_RANDOM 20000
#define MAX_STEPS  BPF_MAXINSNS

#define X(name)                                                                \
	SECCOMP_PROFILE(name);                                                 \
	extern const struct seccomp_rules seccomp_rules_##name;
#include "profiles.inc"
#undef X

static const struct {
	const struct seccomp_profile *filter;
	const struct seccomp_rules *rules;
} profiles[] = {
#define X(name) {&seccomp_profile_##name, &seccomp_rules_##name},
#include "profiles.inc"
#undef X
};

static uint32_t load(const struct seccomp_data *d, uint32_t off)
{
	uint32_t v;

	cr_assert(off % 4 == 0 && off <= sizeof(*d) - 4);
	memcpy(&v, (const char *)d + off, sizeof(v));
	return v;
}

static bool jump_taken(const struct sock_filter *f, uint32_t acc)
{
	switch (BPF_OP(f->code)) {
	case BPF_JEQ:
		return acc == f->k;
	case BPF_JGT:
		return acc > f->k;
	case BPF_JGE:
		return acc >= f->k;
	case BPF_JSET:
		return acc & f->k;
	default:
		cr_assert(false, "unknown jump 0x%x", f->code);
		return false;
	}
}

/* The part of classic BPF that seccomp filters of libseccomp use. */
static uint32_t interpret(const struct seccomp_profile *p,
			  const struct seccomp_data *d)
{
	uint32_t acc = 0;
	size_t pc = 0;

	for (int steps = 0; steps < MAX_STEPS; steps++) {
		cr_assert_lt(pc, p->len);

		const struct sock_filter *f = &p->filter[pc++];

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			acc = load(d, f->k);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			acc &= f->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += f->k;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		default:
			cr_assert_eq(BPF_CLASS(f->code), BPF_JMP);
			pc += jump_taken(f, acc) ? f->jt : f->jf;
		}
	}
	cr_assert(false, "%s does not end", p->name);
	return SECCOMP_RET_KILL_PROCESS;
}

static bool rule_allows(const struct seccomp_rule *r,
			const struct seccomp_data *d)
{
	if (d->nr != r->number)
		return false;
	for (unsigned int i = 0; i < r->num_args; i++) {
		uint64_t mask = r->args[i].mask;

		if (!strcmp(r->name, "ioctl") && r->args[i].arg == 1)
			mask &= UINT32_MAX;
		if ((d->args[r->args[i].arg] & mask) != r->args[i].value)
			return false;
	}
	return true;
}

static bool list_allows(const struct seccomp_rules *rules,
			const struct seccomp_data *d)
{
	for (size_t i = 0; i < rules->num_rules; i++)
		if (rule_allows(&rules->rules[i], d))
			return true;
	return false;
}

static void agree(size_t i, const struct seccomp_data *d)
{
	uint32_t want = list_allows(profiles[i].rules, d)
				? SECCOMP_RET_ALLOW
				: SECCOMP_RET_KILL_PROCESS;
	uint32_t got = interpret(profiles[i].filter, d);

	cr_assert_eq(got, want, "%s: call %d: 0x%x instead of 0x%x",
		     profiles[i].filter->name, d->nr, got, want);
}

/* xorshift: the same numbers in every run. */
static uint64_t next_random(void)
{
	static uint64_t s = 88172645463325252ULL;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s;
}

static void fill_random(struct seccomp_data *d)
{
	for (size_t a = 0; a < 6; a++) {
		d->args[a] = next_random();
		/* Small values are what real calls have. */
		if (next_random() & 1)
			d->args[a] &= 0xff;
	}
}

Test(seccomp, there_are_profiles)
{
	cr_assert_geq(ARRAY_SIZE(profiles), 9);
}

Test(seccomp, only_listed_numbers_pass)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (int nr = -1; nr < MAX_NR; nr++) {
			struct seccomp_data d = {.nr = nr,
						 .arch = AUDIT_ARCH_X86_64};

			agree(i, &d);
			fill_random(&d);
			agree(i, &d);
		}
}

Test(seccomp, other_architectures_die)
{
	static const uint32_t arches[] = {AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64,
					  AUDIT_ARCH_ARM, 0, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (size_t a = 0; a < ARRAY_SIZE(arches); a++)
			for (int nr = 0; nr < MAX_NR; nr++) {
				struct seccomp_data d = {.nr = nr,
							 .arch = arches[a]};

				cr_assert_eq(interpret(profiles[i].filter, &d),
					     SECCOMP_RET_KILL_PROCESS);
			}
}

Test(seccomp, x32_numbers_die)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (int nr = 0; nr < MAX_NR; nr++) {
			struct seccomp_data d = {.nr = nr | X32_BIT,
						 .arch = AUDIT_ARCH_X86_64};

			cr_assert_eq(interpret(profiles[i].filter, &d),
				     SECCOMP_RET_KILL_PROCESS);
		}
}

/* Arguments that satisfy @r, random where it does not care. */
static void satisfy(const struct seccomp_rule *r, struct seccomp_data *d)
{
	fill_random(d);
	d->nr = r->number;
	d->arch = AUDIT_ARCH_X86_64;
	for (unsigned int i = 0; i < r->num_args; i++) {
		const struct seccomp_rule_arg *a = &r->args[i];

		d->args[a->arg] = (d->args[a->arg] & ~a->mask) | a->value;
	}
}

Test(seccomp, every_rule_passes_right_arguments)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (size_t k = 0; k < profiles[i].rules->num_rules; k++) {
			const struct seccomp_rule *r =
				&profiles[i].rules->rules[k];
			struct seccomp_data d;

			satisfy(r, &d);
			cr_assert_eq(interpret(profiles[i].filter, &d),
				     SECCOMP_RET_ALLOW, "%s: %s dies",
				     profiles[i].filter->name, r->name);
		}
}

/* One wrong bit at a time; it may make another rule of the call true. */
Test(seccomp, every_rule_kills_wrong_arguments)
{
	unsigned int killed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (size_t k = 0; k < profiles[i].rules->num_rules; k++) {
			const struct seccomp_rule *r =
				&profiles[i].rules->rules[k];

			for (unsigned int a = 0; a < r->num_args * 64; a++) {
				struct seccomp_data d;

				satisfy(r, &d);
				d.args[r->args[a / 64].arg] ^= 1ULL << a % 64;
				agree(i, &d);
				killed += !list_allows(profiles[i].rules, &d);
			}
		}
	cr_assert_gt(killed, 0);
}

Test(seccomp, random_calls_agree_with_the_list)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (int n = 0; n < NUM_RANDOM; n++) {
			const struct seccomp_rules *rules = profiles[i].rules;
			struct seccomp_data d = {.arch = AUDIT_ARCH_X86_64};

			fill_random(&d);
			d.nr = rules->rules[next_random() % rules->num_rules]
				       .number;
			agree(i, &d);
		}
}

/* The part of the promise that no list may lose. */
Test(seccomp, dangerous_calls_are_on_no_list)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		for (size_t k = 0; k < profiles[i].rules->num_rules; k++) {
			static const char *const never[] = {
				"open",		  "openat",
				"openat2",	  "creat",
				"execve",	  "execveat",
				"fork",		  "vfork",
				"clone",	  "clone3",
				"ptrace",	  "bpf",
				"mount",	  "unshare",
				"setns",	  "socket",
				"connect",	  "bind",
				"kill",		  "userfaultfd",
				"io_uring_setup", "io_uring_register",
				"memfd_create",	  "pidfd_getfd",
			};

			for (size_t n = 0; n < ARRAY_SIZE(never); n++)
				cr_assert_str_neq(
					profiles[i].rules->rules[k].name,
					never[n], "in profile %s",
					profiles[i].filter->name);
		}
}

Test(seccomp, counts_and_budgets)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		const struct seccomp_rules *rules = profiles[i].rules;
		bool seen[MAX_NR] = {false};
		unsigned int n = 0;

		for (size_t k = 0; k < rules->num_rules; k++) {
			int nr = rules->rules[k].number;

			cr_assert(nr >= 0 && nr < MAX_NR);
			n += !seen[nr];
			seen[nr] = true;
		}
		cr_assert_eq(profiles[i].filter->num_syscalls, n);
		cr_assert_leq(n, rules->budget);
		cr_assert_str_eq(profiles[i].filter->name, rules->profile);
	}
}

static const struct seccomp_rules *find_rules(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		if (!strcmp(profiles[i].rules->profile, name))
			return profiles[i].rules;
	cr_assert(false, "no profile %s", name);
	return NULL;
}

/* A vCPU thread runs under both lists, so what it may do, both must allow. */
Test(seccomp, core_contains_vcpu)
{
	const struct seccomp_rules *core = find_rules("core");
	const struct seccomp_rules *vcpu = find_rules("vcpu");

	for (size_t k = 0; k < vcpu->num_rules; k++)
		for (int n = 0; n < 100; n++) {
			struct seccomp_data d;

			satisfy(&vcpu->rules[k], &d);
			cr_assert(list_allows(core, &d), "core lacks %s",
				  vcpu->rules[k].name);
		}
}

Test(seccomp, budgets_are_the_promised_ones)
{
	static const struct {
		const char *profile;
		unsigned int budget;
	} promised[] = {{"console", 12},
			{"rng", 12},
			{"blk", 16},
			{"net", 16},
			{"vcpu", 10}};

	for (size_t i = 0; i < ARRAY_SIZE(promised); i++)
		cr_assert_leq(find_rules(promised[i].profile)->budget,
			      promised[i].budget);
}
