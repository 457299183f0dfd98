/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-probe-role: a hostile program in the exact sandbox of a role. The
 * auditor starts it as the broker starts the role's own program and names the
 * filter; it makes every attempt twice, in processes of their own: behind all
 * walls, and with the filter left out, which tells what stands behind it.
 * Results go to the log pipe as records; the channel is for smuggling.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/sandbox/probe_record.h"
#include "common/sandbox/rules.h"
#include "common/sandbox/sandbox.h"
#include "common/sandbox/seccomp.h"
#include "probe/probe.h"

#define PROBE_HEAP    (1 << 20)
#define PROBE_ALARM_S 2 /* an attempt that sleeps was let through */
#define PROBE_NUMBERS 1024
#define PROBE_X32     0x40000000L
#define PROBE_BEYOND  (1L << 20) /* of every kernel's table */

#define PROFILE(name)                                                          \
	SECCOMP_PROFILE(name);                                                 \
	extern const struct seccomp_rules seccomp_rules_##name
PROFILE(core);
PROFILE(vcpu);
PROFILE(loader);
PROFILE(keeper);
PROFILE(blk);
PROFILE(blksync);
PROFILE(net);
PROFILE(console);
PROFILE(rng);

static const struct probe_profile {
	const char *name;
	const struct seccomp_profile *filter, *second;
	const struct seccomp_rules *rules;
} profiles[] = {
	{"core", &seccomp_profile_core, NULL, &seccomp_rules_core},
	{"vcpu", &seccomp_profile_core, &seccomp_profile_vcpu,
	 &seccomp_rules_vcpu},
	{"loader", &seccomp_profile_loader, NULL, &seccomp_rules_loader},
	{"keeper", &seccomp_profile_keeper, NULL, &seccomp_rules_keeper},
	{"blk", &seccomp_profile_blk, NULL, &seccomp_rules_blk},
	{"blksync", &seccomp_profile_blksync, NULL, &seccomp_rules_blksync},
	{"net", &seccomp_profile_net, NULL, &seccomp_rules_net},
	{"console", &seccomp_profile_console, NULL, &seccomp_rules_console},
	{"rng", &seccomp_profile_rng, NULL, &seccomp_rules_rng},
};

/* Written by the process that makes the attempt. */
static struct {
	_Atomic int begun; /* it is about to be made */
	_Atomic int done;
	_Atomic int error; /* errno, 0 = it worked */
} * shared;

static struct rlimit nproc;

static void enter(const struct probe_profile *p, bool locked)
{
	struct err e;

	/* Raised for our own forks; the role has the manifest's. */
	if (setrlimit(RLIMIT_NPROC, &nproc) < 0)
		_exit(100);
	alarm(PROBE_ALARM_S);
	if (sandbox_restrict(NULL, &e) < 0)
		_exit(101);
	if (locked && sandbox_lock(p->filter, NULL, &e) < 0)
		_exit(102);
	if (locked && p->second && sandbox_lock_thread(p->second, &e) < 0)
		_exit(103);
}

static long attempt(const struct probe_attempt *a)
{
	if (a->run)
		return a->run();
	return syscall(a->number, a->args[0], a->args[1], a->args[2],
		       a->args[3], a->args[4], a->args[5]);
}

/* Return: how it ended, as in probe_record.h */
static struct probe_end run(const struct probe_profile *p,
			    const struct probe_attempt *a, bool locked)
{
	struct probe_end ret = {0};
	int status;
	pid_t pid;

	shared->begun = shared->done = shared->error = 0;
	pid = fork();
	if (pid == 0) {
		enter(p, locked);
		errno = 0;
		shared->begun = 1;
		shared->error = attempt(a) < 0 ? errno : 0;
		shared->done = 1;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		ret.how = PROBE_END_BROKEN;
		return ret;
	}
	ret.error = shared->error;
	if (shared->done)
		ret.how = shared->error ? PROBE_END_ERROR : PROBE_END_WORKED;
	else if (!shared->begun)
		ret.how = PROBE_END_BROKEN;
	else if (WIFSIGNALED(status))
		ret.how = WTERMSIG(status) == SIGSYS	? PROBE_END_FILTER
			  : WTERMSIG(status) == SIGALRM ? PROBE_END_WORKED
							: PROBE_END_SIGNAL;
	else
		ret.how = PROBE_END_WORKED;
	ret.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return ret;
}

/* The pipe does not block; its reader is slower than we. */
static void tell(const struct probe_record *r)
{
	struct pollfd p = {.fd = SANDBOX_FD_LOG, .events = POLLOUT};

	while (write(SANDBOX_FD_LOG, r, sizeof(*r)) < 0)
		if (errno != EAGAIN || poll(&p, 1, -1) < 0)
			_exit(104);
}

static void tell_attempt(const struct probe_profile *p,
			 const struct probe_attempt *a)
{
	struct probe_record r = {.count = 1, .kind = PROBE_RECORD_ATTEMPT};

	snprintf(r.group, sizeof(r.group), "%s", a->group);
	snprintf(r.name, sizeof(r.name), "%s", a->name);
	r.locked = run(p, a, true);
	if (a->smuggles)
		r.kind = PROBE_RECORD_SMUGGLE;
	if (a->locked_only || a->smuggles)
		r.open.how = PROBE_END_NOT_TRIED;
	else
		r.open = run(p, a, false);
	tell(&r);
}

static bool is_listed(const struct probe_profile *p, long number)
{
	for (size_t i = 0; i < p->rules->num_rules; i++)
		if (p->rules->rules[i].number == number)
			return true;
	return false;
}

/* Numbers from @base on, with arguments that no call takes. */
static void sweep(const struct probe_profile *p, long base, const char *name)
{
	struct probe_record all = {.kind = PROBE_RECORD_ATTEMPT};

	snprintf(all.group, sizeof(all.group), "numbers");
	snprintf(all.name, sizeof(all.name), "%s", name);
	all.locked.how = PROBE_END_FILTER;
	all.open.how = PROBE_END_NOT_TRIED;
	for (long i = 0; i < PROBE_NUMBERS; i++) {
		struct probe_attempt a = {.number = base + i};
		struct probe_record one = all;

		if (is_listed(p, base + i))
			continue;
		memset(a.args, 0xff, sizeof(a.args));
		one.locked = run(p, &a, true);
		if (one.locked.how == PROBE_END_FILTER) {
			all.count++;
			continue;
		}
		one.count = 1;
		snprintf(one.name, sizeof(one.name), "number %#lx", base + i);
		tell(&one);
	}
	tell(&all);
}

static const struct probe_profile *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		if (!strcmp(profiles[i].name, name))
			return &profiles[i];
	return NULL;
}

static void probe(const struct probe_profile *p)
{
	struct probe_record end = {.kind = PROBE_RECORD_END};

	for (size_t i = 0; i < probe_num_attempts; i++)
		tell_attempt(p, &probe_attempts[i]);
	sweep(p, 0, "every number up to 1023 that is not listed");
	sweep(p, PROBE_X32, "the same as x32 calls");
	sweep(p, PROBE_BEYOND, "numbers that no kernel has");
	tell(&end);
}

int main(void)
{
	const struct probe_profile *p;
	struct sandbox_report report;
	struct probe_request req;
	struct err e;

	if (sandbox_start(PROBE_HEAP, &report, &e) < 0) {
		dprintf(SANDBOX_FD_LOG, "%s\n", e.text);
		return 1;
	}
	if (read(SANDBOX_FD_CHANNEL, &req, sizeof(req)) != (ssize_t)sizeof(req))
		return 1;
	req.profile[sizeof(req.profile) - 1] = '\0';
	p = find(req.profile);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!p || shared == MAP_FAILED)
		return 1;
	nproc = (struct rlimit){.rlim_cur = req.nproc, .rlim_max = req.nproc};
	attempts_prepare();
	probe(p);
	/* Until the auditor has read all. */
	pause();
	return 0;
}
