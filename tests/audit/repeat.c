/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Audits a running VM many times: no check may fail. Prints the time that a
 * VM takes.
 *
 * usage: audit-repeat VM COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/audit_plan.h"
#include "broker/control_client.h"
#include "broker/rundir.h"

#define REPEAT_PROCESSES_MAX 64

static struct audit_expect expect[REPEAT_PROCESSES_MAX];
static struct audit_ns ns[REPEAT_PROCESSES_MAX];
static size_t num;

static int repeat_plan(const char *name, struct err *e)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__AuditRequest request = BULKHEAD__AUDIT_REQUEST__INIT;
	const Bulkhead__ControlMessage *answer;
	const Bulkhead__AuditPlan *plan;
	struct control_conn conn;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = rundir_connect(name, e), r;

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_errno(e, "who is the broker?");
	r = control_open(&conn, fd, e);
	if (r < 0)
		return r;
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_AUDIT;
	body.audit = &request;
	r = control_ask(&conn, &body, &answer, e);
	plan = r == 0 ? answer->body->audit_plan : NULL;
	for (size_t i = 0; plan && r == 0 && i < plan->n_processes &&
			   i < REPEAT_PROCESSES_MAX;
	     i++, num++)
		r = audit_plan_expect(plan, i, cred.pid, &expect[i], e);
	control_close(&conn);
	return r;
}

/* Return: the number of false alarms; the time in @ret_ns */
static unsigned int repeat_once(uint64_t *ret_ns)
{
	static struct audit_result r;
	unsigned int alarms = 0;
	struct err e = {0};

	*ret_ns = 0;
	for (size_t i = 0; i < num; i++) {
		if (audit_process(&expect[i], ns, (unsigned int)i, &r, &e) <
		    0) {
			printf("# %s\n", e.text);
			alarms++;
			continue;
		}
		ns[i] = r.ns;
		*ret_ns += r.duration_ns;
		if (!r.count[AUDIT_FAIL] && !r.count[AUDIT_HIDDEN])
			continue;
		alarms++;
		for (unsigned int k = 0; k < AUDIT_NUM_CHECKS; k++)
			if (r.state[k] >= AUDIT_HIDDEN)
				printf("# %s: %s: %s\n", expect[i].role,
				       audit_texts[k].name, r.detail[k]);
	}
	return alarms;
}

static int repeat_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	unsigned int count = argc == 3 ? (unsigned int)atoi(argv[2]) : 0;
	uint64_t *times = calloc(count + 1, sizeof(*times));
	unsigned int alarms = 0;
	struct err e = {0};

	if (argc != 3 || !count || !times) {
		fprintf(stderr, "usage: audit-repeat VM COUNT\n");
		return 2;
	}
	if (repeat_plan(argv[1], &e) < 0) {
		printf("FAIL repeat: %s\n", e.text);
		return 1;
	}
	for (unsigned int i = 0; i < count; i++)
		alarms += repeat_once(&times[i]);
	qsort(times, count, sizeof(*times), repeat_compare);
	printf("%s clean: %u false alarms in %u audits of a VM with %zu "
	       "processes, %zu checks each; a VM takes %.2f ms (p50), %.2f ms "
	       "(p99)\n",
	       alarms ? "FAIL" : "ok", alarms, count, num,
	       num * AUDIT_NUM_CHECKS, (double)times[count / 2] / 1e6,
	       (double)times[count * 99 / 100] / 1e6);
	free(times);
	return alarms ? 1 : 0;
}
