/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/audit.h"
#include "broker/audit_internal.h"
#include "broker/audit_plan.h"
#include "broker/config.h"
#include "common/base/num.h"

Test(audit_texts, name_explain_and_differ)
{
	cr_assert_geq(AUDIT_NUM_CHECKS, 60);
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++) {
		cr_assert(audit_texts[i].name[0]);
		cr_assert(audit_texts[i].means[0]);
		cr_assert(audit_texts[i].gain[0]);
		for (unsigned int k = 0; k < i; k++)
			cr_assert_str_neq(audit_texts[i].name,
					  audit_texts[k].name);
	}
}

Test(audit_profiles, know_every_role_and_no_other)
{
	static const char *const roles[] = {"core",    "loader", "blk",	  "net",
					    "console", "rng",	 "keeper"};
	const struct seccomp_profile *first[2], *thread;

	for (unsigned int i = 0; i < ARRAY_SIZE(roles); i++) {
		cr_assert(audit_profiles(roles[i], first, &thread));
		cr_assert(first[0]->len > 10);
		cr_assert_eq(thread != NULL, i == 0);
	}
	cr_assert_eq(audit_profiles("broker", first, &thread), 0);
}

/* A sanitizer build of the auditor excuses, by name, what such programs lack.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* A process that nobody confined: this one's child. */
static pid_t plain_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		/* Also when an assertion ends the test. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

Test(audit_process, finds_nearly_all_missing_in_a_plain_process, .timeout = 20)
{
	static const enum audit_check must[] = {
		AUDIT_EXE_FILE,	  AUDIT_CMDLINE,      AUDIT_NS_USER,
		AUDIT_NS_NET,	  AUDIT_NO_NEW_PRIVS, AUDIT_SECCOMP_MODE,
		AUDIT_MOUNT_ONE,  AUDIT_LIMIT_NOFILE, AUDIT_LANDLOCK,
		AUDIT_SECUREBITS, AUDIT_UID_MAP,
	};
	static struct audit_result r;
	struct audit_expect x = {.role = "rng", .privileged = true, .uid = 7};
	struct err e = {0};

	x.pid = plain_child();
	x.parent = getpid();
	cr_assert_eq(audit_process(&x, NULL, 0, &r, &e), 0, "%s", e.text);
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		cr_assert(
			r.state[must[i]] == AUDIT_FAIL ||
				(SANITIZED && r.state[must[i]] == AUDIT_LACKS),
			"%s is %s", audit_texts[must[i]].name,
			audit_state_name(r.state[must[i]]));
	cr_assert_eq(r.state[AUDIT_PARENT], AUDIT_PASS);
	end_child(x.pid);
}

Test(audit_process, says_that_a_process_is_gone)
{
	static struct audit_result r;
	struct audit_expect x = {.role = "rng"};
	struct err e = {0};

	x.pid = plain_child();
	x.parent = getpid();
	end_child(x.pid);
	cr_assert_eq(audit_process(&x, NULL, 0, &r, &e), -ESRCH);
}

Test(audit_set, only_gets_worse)
{
	static struct audit_result r;
	static struct audit a = {.r = &r};

	audit_set(&a, AUDIT_UID, AUDIT_HIDDEN, "first");
	audit_set(&a, AUDIT_UID, AUDIT_PASS, NULL);
	cr_assert_eq(r.state[AUDIT_UID], AUDIT_HIDDEN);
	audit_set(&a, AUDIT_UID, AUDIT_FAIL, "a\nb");
	cr_assert_str_eq(r.detail[AUDIT_UID], "a?b");
	audit_that(&a, AUDIT_UID, true, "no");
	cr_assert_eq(r.state[AUDIT_UID], AUDIT_FAIL);
}

Test(audit_field, finds_keys_at_line_starts_only)
{
	const char *text = "Name:\tUid: 0\nUid:\t1000\t1000 \nX:";
	char v[16];

	audit_line(audit_field(text, "Uid"), v, sizeof(v));
	cr_assert_str_eq(v, "1000\t1000");
	audit_line(audit_field(text, "X"), v, sizeof(v));
	cr_assert_str_eq(v, "");
	cr_assert_null(audit_field(text, "Gid"));
	audit_line(audit_field(text, "Uid"), v, 3);
	cr_assert_str_eq(v, "10");
}

Test(audit_plan_expect, refuses_hostile_plans)
{
	Bulkhead__AuditPlan plan = BULKHEAD__AUDIT_PLAN__INIT;
	Bulkhead__AuditProcess p = BULKHEAD__AUDIT_PROCESS__INIT;
	Bulkhead__AuditFile program = BULKHEAD__AUDIT_FILE__INIT;
	Bulkhead__SandboxReport told = BULKHEAD__SANDBOX_REPORT__INIT;
	Bulkhead__AuditProcess *list[] = {&p};
	static struct audit_expect x;
	struct err e = {0};

	plan.processes = list;
	plan.n_processes = 1;
	p.role = (char *)(uintptr_t) "a role with a very long name indeed";
	p.pid = 4242;
	p.program = &program;
	p.told = &told;
	cr_assert_eq(audit_plan_expect(&plan, 0, 7, &x, &e), 0);
	cr_assert_eq(x.parent, 7);
	cr_assert_eq(strlen(x.role), sizeof(x.role) - 1);
	p.pid = 1;
	cr_assert_eq(audit_plan_expect(&plan, 0, 7, &x, &e), -EPROTO);
	p.pid = 4242;
	p.n_backends = AUDIT_FILES_MAX + 1;
	cr_assert_eq(audit_plan_expect(&plan, 0, 7, &x, &e), -EPROTO);
	p.n_backends = 0;
	p.told = NULL;
	cr_assert_eq(audit_plan_expect(&plan, 0, 7, &x, &e), -EPROTO);
}

Test(config_parse_audit, knows_three_modes)
{
	static struct config c;
	struct err e = {0};

	config_init(&c);
	cr_assert_eq(c.audit, CONFIG_AUDIT_ENFORCE);
	cr_assert_eq(config_parse_audit(&c, "warn", &e), 0);
	cr_assert_eq(c.audit, CONFIG_AUDIT_WARN);
	cr_assert_eq(config_parse_audit(&c, "off", &e), 0);
	cr_assert_eq(c.audit, CONFIG_AUDIT_OFF);
	cr_assert_eq(config_parse_audit(&c, "on", &e), -EINVAL);
	config_done(&c);
}
