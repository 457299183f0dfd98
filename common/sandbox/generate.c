/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build tool: compiles one profile's rules (-DPROFILE=<name>) to a BPF array
 * in C on standard output. The only user of libseccomp: programs carry the
 * array. The system call numbers are sorted into a binary tree; what isn't
 * listed, another architecture and the x32 numbers kill the process.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sandbox/rules.h"

#define PASTE_(a, b)  a##b
#define PASTE(a, b)   PASTE_(a, b)
#define PROFILE_RULES PASTE(seccomp_rules_, PROFILE)

extern const struct seccomp_rules PROFILE_RULES;

static _Noreturn void die(const char *what, const char *on, int error)
{
	fprintf(stderr, "generate-seccomp: %s: %s: %s: %s\n",
		PROFILE_RULES.profile, on, what, strerror(error));
	exit(1);
}

static void add_rule(scmp_filter_ctx ctx, const struct seccomp_rule *rule)
{
	struct scmp_arg_cmp cmp[RULE_MAX_ARGS];
	int r;

	for (unsigned int i = 0; i < rule->num_args; i++) {
		const struct seccomp_rule_arg *a = &rule->args[i];
		uint64_t mask = a->mask;

		/* ioctl's command is an unsigned int, however it is typed. */
		if (!strcmp(rule->name, "ioctl") && a->arg == 1)
			mask &= UINT32_MAX;
		if (a->value & ~mask)
			die("value outside its mask", rule->name, EINVAL);
		cmp[i] = (struct scmp_arg_cmp){
			.arg = a->arg,
			.op = mask == UINT64_MAX ? SCMP_CMP_EQ
						 : SCMP_CMP_MASKED_EQ,
			.datum_a = mask == UINT64_MAX ? a->value : mask,
			.datum_b = a->value,
		};
	}
	r = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, rule->number,
					 rule->num_args, cmp);
	/* The same rule for another reason. */
	if (r < 0 && r != -EEXIST)
		die("cannot add the rule", rule->name, -r);
}

static unsigned int count_syscalls(const struct seccomp_rules *rules)
{
	unsigned int n = 0;

	for (size_t i = 0; i < rules->num_rules; i++) {
		size_t j = 0;

		while (rules->rules[j].number != rules->rules[i].number)
			j++;
		n += j == i;
	}
	return n;
}

static size_t export(scmp_filter_ctx ctx, struct sock_filter *ret, size_t max)
{
	int fd = memfd_create("bpf", MFD_CLOEXEC), r;
	ssize_t n;

	if (fd < 0)
		die("memfd_create", "export", errno);
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		die("seccomp_export_bpf", "export", -r);
	n = pread(fd, ret, max * sizeof(*ret), 0);
	if (n <= 0 || (size_t)n == max * sizeof(*ret) ||
	    (size_t)n % sizeof(*ret))
		die("unexpected size of the filter", "export", EOVERFLOW);
	close(fd);
	return (size_t)n / sizeof(*ret);
}

static void print_filter(const struct sock_filter *f, size_t len,
			 unsigned int num_syscalls)
{
	const char *name = PROFILE_RULES.profile;

	printf("/* Generated from %s.syscalls. */\n"
	       "#include \"common/sandbox/seccomp.h\"\n\n"
	       "SECCOMP_PROFILE(%s);\n"
	       "/* Where an audit finds it in the program's file. */\n"
	       "static const struct sock_filter filter[]\n"
	       "\t__attribute__((used, section(\"bulkhead_filter_%s\"))) = {\n",
	       name, name, name);
	for (size_t i = 0; i < len; i++)
		printf("\t{0x%04x, %u, %u, 0x%08x},\n", f[i].code, f[i].jt,
		       f[i].jf, f[i].k);
	printf("};\n\nconst struct seccomp_profile seccomp_profile_%s = {\n"
	       "\t.name = \"%s\",\n\t.filter = filter,\n\t.len = %zu,\n"
	       "\t.num_syscalls = %u,\n};\n",
	       name, name, len, num_syscalls);
}

int main(void)
{
	static struct sock_filter filter[BPF_MAXINSNS + 1];
	unsigned int n = count_syscalls(&PROFILE_RULES);
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (!ctx)
		die("seccomp_init", "start", ENOMEM);
	if (seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
			     SCMP_ACT_KILL_PROCESS) < 0 ||
	    seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		die("seccomp_attr_set", "start", EINVAL);
	for (size_t i = 0; i < PROFILE_RULES.num_rules; i++)
		add_rule(ctx, &PROFILE_RULES.rules[i]);
	print_filter(filter, export(ctx, filter, BPF_MAXINSNS), n);
	seccomp_release(ctx);
	fprintf(stderr, "seccomp profile %s: %u system calls of at most %u\n",
		PROFILE_RULES.profile, n, PROFILE_RULES.budget);
	if (n > PROFILE_RULES.budget)
		die("over its budget; take one out, or raise the budget in the "
		    "manifest with a reason",
		    "count", E2BIG);
	return ferror(stdout) || fclose(stdout) ? 1 : 0;
}
