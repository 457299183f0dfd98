/* SPDX-License-Identifier: Apache-2.0 */

/* `bulkhead audit`: running VMs, judged from the kernel's view of them. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit_plan.h"
#include "broker/audit_probe.h"
#include "broker/cli.h"
#include "broker/control_client.h"
#include "broker/family.h"
#include "broker/json_out.h"
#include "broker/rundir.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

#define EXIT_HIDDEN 3 /* nothing failed, but not all could be read */

struct audit_cmd {
	bool json, verbose, colour;
	char **only; /* names, NULL-terminated */
	bool *found; /* of only[] */
	unsigned int shown;
	unsigned int count[AUDIT_NUM_STATES];
	bool error; /* a VM that could not be audited */
};

/* One VM's results; too large for the stack. */
struct audit_vm {
	struct audit_expect x;
	struct audit_result r[AUDIT_PLAN_MAX];
	struct audit_ns ns[AUDIT_PLAN_MAX];
};

static void audit_help(void)
{
	printf("Usage: bulkhead audit [-v] [--json] [VM...]\n"
	       "       bulkhead audit --probe [-v] [--json] [ROLE...]\n"
	       "\n"
	       "Compare what really confines the processes of your running VMs "
	       "with what their\n"
	       "manifests say: %d checks of each process, of the kernel's view "
	       "of it. Shows what\n"
	       "failed, what it means and what an attacker would gain by it.\n"
	       "\n"
	       "  --probe        attempt escapes from each role's sandbox "
	       "instead; needs no VM\n"
	       "  --json         one JSON document for programs\n"
	       "  -v, --verbose  show every check, not only what does not "
	       "hold\n"
	       "  -h, --help     show this help\n"
	       "  -V, --version  show the version\n"
	       "\n"
	       "Exit status: 0 all checks hold (apart from layers that the "
	       "host lacks, which are\n"
	       "named); 1 a check failed, an attempt was not denied, or an "
	       "error; 2 the command\n"
	       "line can't be understood; 3 nothing failed, but some checks "
	       "need root.\n"
	       "\n"
	       "Examples:\n"
	       "  sudo bulkhead audit\n"
	       "  sudo bulkhead audit --json web1 | jq '.vms[0].failed'\n"
	       "  sudo bulkhead audit --probe\n",
	       AUDIT_NUM_CHECKS);
}

/* ---- output ---- */

static const char *audit_colour(const struct audit_cmd *c,
				enum audit_state state)
{
	static const char *const colours[AUDIT_NUM_STATES] = {
		[AUDIT_PASS] = "\033[32m",   [AUDIT_REPORTED] = "\033[32m",
		[AUDIT_LACKS] = "\033[33m",  [AUDIT_HIDDEN] = "\033[33m",
		[AUDIT_FAIL] = "\033[1;31m",
	};

	return c->colour ? colours[state] : "";
}

static void audit_table_line(const struct audit_cmd *c,
			     const struct audit_result *r, unsigned int i)
{
	const char *plain = c->colour ? "\033[0m" : "";

	printf("    %s%-8s%s %-20s", audit_colour(c, r->state[i]),
	       audit_state_name(r->state[i]), plain, audit_texts[i].name);
	if (r->detail[i][0])
		printf(" %s", r->detail[i]);
	putchar('\n');
	if (r->state[i] != AUDIT_FAIL)
		return;
	printf("             It means: %s.\n             An attacker gains: "
	       "%s.\n",
	       audit_texts[i].means, audit_texts[i].gain);
}

static void audit_table(const struct audit_cmd *c, const struct audit_expect *x,
			const struct audit_result *r)
{
	printf("  %s%s%s, pid %d: %u of %d hold", x->role, x->id[0] ? " " : "",
	       x->id, (int)x->pid,
	       r->count[AUDIT_PASS] + r->count[AUDIT_REPORTED],
	       AUDIT_NUM_CHECKS);
	if (r->count[AUDIT_LACKS])
		printf(", the host lacks %u", r->count[AUDIT_LACKS]);
	if (r->count[AUDIT_HIDDEN])
		printf(", %u not readable: needs root", r->count[AUDIT_HIDDEN]);
	if (r->count[AUDIT_FAIL])
		printf(", %s%u FAILED%s", audit_colour(c, AUDIT_FAIL),
		       r->count[AUDIT_FAIL], c->colour ? "\033[0m" : "");
	putchar('\n');
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++)
		if (c->verbose || r->state[i] == AUDIT_FAIL ||
		    r->state[i] == AUDIT_LACKS)
			audit_table_line(c, r, i);
	for (unsigned int i = 0; c->verbose && i < r->num_notes; i++)
		printf("    note     %s\n", r->notes[i]);
}

static void audit_json_counts(const unsigned int count[AUDIT_NUM_STATES])
{
	printf("\"passed\":%u,\"reported\":%u,\"lacking\":%u,\"hidden\":%u,"
	       "\"failed\":%u",
	       count[AUDIT_PASS], count[AUDIT_REPORTED], count[AUDIT_LACKS],
	       count[AUDIT_HIDDEN], count[AUDIT_FAIL]);
}

static void audit_json(const struct audit_expect *x,
		       const struct audit_result *r, bool first)
{
	printf("%s{\"role\":", first ? "" : ",");
	json_text(x->role);
	printf(",\"id\":");
	json_text(x->id);
	printf(",\"pid\":%d,\"microseconds\":%llu,", (int)x->pid,
	       (unsigned long long)r->duration_ns / 1000);
	audit_json_counts(r->count);
	printf(",\"checks\":[");
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++) {
		printf("%s{\"name\":\"%s\",\"state\":\"%s\"", i ? "," : "",
		       audit_texts[i].name, audit_state_name(r->state[i]));
		if (r->detail[i][0]) {
			printf(",\"detail\":");
			json_text(r->detail[i]);
		}
		if (r->state[i] == AUDIT_FAIL) {
			printf(",\"means\":");
			json_text(audit_texts[i].means);
			printf(",\"attacker_gains\":");
			json_text(audit_texts[i].gain);
		}
		putchar('}');
	}
	printf("],\"notes\":[");
	for (unsigned int i = 0; i < r->num_notes; i++) {
		printf("%s", i ? "," : "");
		json_text(r->notes[i]);
	}
	printf("]}");
}

/* ---- one VM ---- */

static void audit_add(unsigned int sum[AUDIT_NUM_STATES],
		      const unsigned int count[AUDIT_NUM_STATES])
{
	for (unsigned int i = 0; i < AUDIT_NUM_STATES; i++)
		sum[i] += count[i];
}

/* Who is at the other end: said by the kernel, not by the broker. */
static pid_t audit_broker(int fd)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0
		       ? 0
		       : cred.pid;
}

/* Replaced or ended between plan and audit: nothing to be judged. */
static int audit_one(struct audit_cmd *c, struct audit_vm *vm,
		     const Bulkhead__AuditPlan *plan, size_t i, pid_t broker,
		     unsigned int *num, struct err *e)
{
	int r = audit_plan_expect(plan, i, broker, &vm->x, e);

	if (r < 0)
		return r;
	r = audit_process(&vm->x, vm->ns, *num, &vm->r[*num], e);
	if (r == -ESRCH)
		return 0;
	if (r < 0)
		return r;
	vm->ns[*num] = vm->r[*num].ns;
	if (c->json)
		audit_json(&vm->x, &vm->r[*num], *num == 0);
	else
		audit_table(c, &vm->x, &vm->r[*num]);
	(*num)++;
	return 0;
}

static int audit_all(struct audit_cmd *c, const Bulkhead__AuditPlan *plan,
		     pid_t broker, struct err *e)
{
	auto_free struct audit_vm *vm = calloc(1, sizeof(*vm));
	unsigned int num = 0, sum[AUDIT_NUM_STATES] = {0};
	uint64_t spent = 0;
	int r = 0;

	if (!vm)
		return err_set(e, -ENOMEM, "no memory for an audit");
	if (plan->n_processes > ARRAY_SIZE(vm->r))
		return err_set(e, -EPROTO, "the broker's plan is malformed");
	if (strcmp(plan->release, BULKHEAD_VERSION))
		return err_set(e, -EPROTO,
			       "its broker is release %s, this is %s: audit it "
			       "with the release that it runs",
			       plan->release, BULKHEAD_VERSION);
	if (c->json) {
		printf("%s{\"name\":", c->shown ? "," : "");
		json_text(plan->name);
		printf(",\"broker\":%d,\"processes\":[", (int)broker);
	} else {
		printf("%s%s%s%s (broker %d)\n", c->shown ? "\n" : "",
		       c->colour ? "\033[1m" : "", plan->name,
		       c->colour ? "\033[0m" : "", (int)broker);
	}
	c->shown++;
	for (size_t i = 0; r == 0 && i < plan->n_processes; i++)
		r = audit_one(c, vm, plan, i, broker, &num, e);
	for (unsigned int i = 0; i < num; i++) {
		audit_add(sum, vm->r[i].count);
		spent += vm->r[i].duration_ns;
	}
	if (c->json) {
		printf("],\"checks\":%u,", num * AUDIT_NUM_CHECKS);
		audit_json_counts(sum);
		printf(",\"microseconds\":%llu}",
		       (unsigned long long)spent / 1000);
	} else {
		printf("  %u processes, %u checks in %.1f ms: %u passed, %u "
		       "reported by the program,\n  %u lacking on this host, "
		       "%u not readable, %u failed\n",
		       num, num * AUDIT_NUM_CHECKS, (double)spent / 1e6,
		       sum[AUDIT_PASS], sum[AUDIT_REPORTED], sum[AUDIT_LACKS],
		       sum[AUDIT_HIDDEN], sum[AUDIT_FAIL]);
	}
	audit_add(c->count, sum);
	return r;
}

static bool audit_wanted(struct audit_cmd *c, const char *name)
{
	if (!c->only[0])
		return true;
	for (unsigned int i = 0; c->only[i]; i++) {
		if (strcmp(c->only[i], name))
			continue;
		c->found[i] = true;
		return true;
	}
	return false;
}

static int audit_vm(const char *name, int fd, void *arg)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__AuditRequest request = BULKHEAD__AUDIT_REQUEST__INIT;
	const Bulkhead__ControlMessage *answer;
	struct audit_cmd *c = arg;
	pid_t broker = audit_broker(fd);
	struct control_conn conn;
	struct err e = {0};
	int r;

	if (!audit_wanted(c, name))
		return 0;
	r = control_open(&conn, dup(fd), &e);
	if (r == 0) {
		body.kind_case = BULKHEAD__CONTROL_BODY__KIND_AUDIT;
		body.audit = &request;
		r = control_ask(&conn, &body, &answer, &e);
		if (r == 0 && (!answer->body ||
			       answer->body->kind_case !=
				       BULKHEAD__CONTROL_BODY__KIND_AUDIT_PLAN))
			r = err_set(&e, -EPROTO, "it answered something else");
		if (r == 0)
			r = audit_all(c, answer->body->audit_plan, broker, &e);
		control_close(&conn);
	}
	/* One that ends just now, or is not up yet, is no error unless it was
	 * asked for. */
	if (!c->only[0] && (r == -EPIPE || r == -EAGAIN || r == -ECONNRESET))
		return 0;
	if (r < 0) {
		c->error = true;
		fprintf(stderr, "bulkhead audit: VM \"%s\": %s\n", name,
			e.text);
	}
	return 0;
}

/* ---- the command ---- */

static int audit_finish(struct audit_cmd *c)
{
	for (unsigned int i = 0; c->only[i]; i++)
		if (!c->found[i]) {
			fprintf(stderr,
				"bulkhead audit: no VM \"%s\" is running\n",
				c->only[i]);
			c->error = true;
		}
	if (!c->shown && !c->error && !c->json)
		printf("No VM is running.\n");
	if (c->error || c->count[AUDIT_FAIL])
		return 1;
	return c->count[AUDIT_HIDDEN] ? EXIT_HIDDEN : 0;
}

static int audit_running(struct audit_cmd *c)
{
	struct err e = {0};
	int status;

	if (c->json)
		printf("{\"vms\":[");
	if (rundir_each(audit_vm, c, &e) < 0) {
		fprintf(stderr, "bulkhead audit: %s\n", e.text);
		return 1;
	}
	status = audit_finish(c);
	if (c->json) {
		printf("],");
		audit_json_counts(c->count);
		printf("}\n");
	}
	return status;
}

int cli_audit(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"probe", no_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct audit_cmd c = {.colour = isatty(STDOUT_FILENO)};
	auto_free bool *found = calloc((size_t)argc + 1, sizeof(*found));
	bool probe = false;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "hvV", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			c.json = true;
			break;
		case 'v':
			c.verbose = true;
			break;
		case 'p':
			probe = true;
			break;
		case 'h':
			audit_help();
			return 0;
		case 'V':
			return cli_version();
		default:
			return cli_unknown_option("audit", argv, "hvV");
		}
	}
	c.only = argv + optind;
	c.found = found;
	if (!found)
		return 1;
	return probe ? audit_probe(c.only, c.json, c.verbose, c.colour)
		     : audit_running(&c);
}
