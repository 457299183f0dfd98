/* SPDX-License-Identifier: Apache-2.0 */

/* `bulkhead ps`: the running VMs and their processes. */

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/cli.h"
#include "broker/control_client.h"
#include "broker/json_out.h"
#include "broker/rundir.h"
#include "common/base/num.h"

struct ps {
	bool json;
	bool colour;
	const char *only; /* a VM's name or NULL */
	unsigned int shown;
};

static void ps_help(void)
{
	printf("Usage: bulkhead ps [--json] [VM]\n"
	       "\n"
	       "List your running VMs, each with its processes: role, pid, "
	       "restarts and what\n"
	       "confines it.\n"
	       "\n"
	       "  --json         one JSON array for programs\n"
	       "  -h, --help     show this help\n"
	       "  -V, --version  show the version\n"
	       "\n"
	       "Examples:\n"
	       "  bulkhead ps\n"
	       "  bulkhead ps --json web1 | jq '.[0].processes[].pid'\n");
}

static void ps_json_list(const char *key, char **list, size_t n)
{
	printf(",\"%s\":[", key);
	for (size_t i = 0; i < n; i++) {
		if (i)
			putchar(',');
		json_text(list[i]);
	}
	putchar(']');
}

static void ps_json_process(const Bulkhead__ProcessStatus *p)
{
	printf("{\"role\":");
	json_text(p->role);
	printf(",\"id\":");
	json_text(p->id);
	printf(",\"pid\":%d,\"state\":", p->pid);
	json_text(p->state);
	printf(",\"restarts\":%u,\"upgrades\":%u,\"last_gap_us\":%llu,"
	       "\"last_reason\":",
	       p->restarts, p->upgrades, (unsigned long long)p->last_gap_us);
	json_text(p->last_reason);
	if (p->sandbox) {
		printf(",\"syscalls\":%u", p->sandbox->syscalls);
		ps_json_list("layers", p->sandbox->layers,
			     p->sandbox->n_layers);
		ps_json_list("downgrades", p->sandbox->downgrades,
			     p->sandbox->n_downgrades);
	}
	putchar('}');
}

static void ps_json_vm(const struct ps *ps, const Bulkhead__VmStatus *vm)
{
	printf("%s{\"name\":", ps->shown ? "," : "");
	json_text(vm->name);
	printf(",\"state\":");
	json_text(vm->state);
	printf(",\"uptime_ms\":%llu,\"cpus\":%u,\"memory\":%llu,\"kernel\":",
	       (unsigned long long)vm->uptime_ms, vm->cpus,
	       (unsigned long long)vm->memory);
	json_text(vm->kernel);
	printf(",\"hypervisor\":");
	json_text(vm->hypervisor);
	printf(",\"processes\":[");
	for (size_t i = 0; i < vm->n_processes; i++) {
		if (i)
			putchar(',');
		ps_json_process(vm->processes[i]);
	}
	printf("]}");
}

/* The namespaces are many: one word for all of them. */
static bool ps_is_namespace(const char *layer, int *ret_len)
{
	static const char tail[] = " namespace";
	size_t len = strlen(layer), cut = sizeof(tail) - 1;

	if (len <= cut || strcmp(layer + len - cut, tail))
		return false;
	*ret_len = (int)(len - cut);
	return true;
}

static void ps_sandbox_line(const Bulkhead__SandboxReport *r)
{
	const char *sep = "";
	bool any = false;
	int len;

	if (!r || (!r->n_layers && !r->n_downgrades)) {
		printf("-");
		return;
	}
	for (size_t i = 0; i < r->n_layers; i++)
		if (ps_is_namespace(r->layers[i], &len)) {
			printf("%s%.*s", any ? "," : "namespaces ", len,
			       r->layers[i]);
			any = true;
			sep = "; ";
		}
	for (size_t i = 0; i < r->n_layers; i++)
		if (!ps_is_namespace(r->layers[i], &len)) {
			printf("%s%s", sep, r->layers[i]);
			if (r->syscalls && !strcmp(r->layers[i], "seccomp"))
				printf(" (%u system calls)", r->syscalls);
			sep = "; ";
		}
	for (size_t i = 0; i < r->n_downgrades; i++)
		printf("%s%s", i ? ", " : "; LACKS ", r->downgrades[i]);
}

static void ps_table_vm(const struct ps *ps, const Bulkhead__VmStatus *vm)
{
	const char *bold = ps->colour ? "\033[1m" : "";
	const char *plain = ps->colour ? "\033[0m" : "";

	printf("%s%s%s%s  %s, %llu s, %u CPUs, %llu MiB, %s\n",
	       ps->shown ? "\n" : "", bold, vm->name, plain, vm->state,
	       (unsigned long long)(vm->uptime_ms / 1000), vm->cpus,
	       (unsigned long long)(vm->memory / MIB), vm->kernel);
	printf("  %-8s %-12s %8s %8s  %s\n", "ROLE", "ID", "PID", "RESTARTS",
	       "SANDBOX");
	for (size_t i = 0; i < vm->n_processes; i++) {
		const Bulkhead__ProcessStatus *p = vm->processes[i];

		printf("  %-8s %-12s %8d %8u  ", p->role,
		       p->id[0] ? p->id : "-", p->pid, p->restarts);
		if (strcmp(p->state, "running"))
			printf("%s; ", p->state);
		ps_sandbox_line(p->sandbox);
		putchar('\n');
		if (p->restarts || p->upgrades)
			printf("  %-8s last replaced: %s (%.1f ms without)\n",
			       "", p->last_reason,
			       (double)p->last_gap_us / 1000);
	}
}

/* Its keeper answers, who knows nothing but that it keeps. */
static void ps_orphan(struct ps *ps, const char *name)
{
	const char *bold = ps->colour ? "\033[1m" : "";
	const char *plain = ps->colour ? "\033[0m" : "";

	if (ps->json) {
		printf("%s{\"name\":", ps->shown ? "," : "");
		json_text(name);
		printf(",\"state\":\"orphaned\",\"processes\":[]}");
		return;
	}
	printf("%s%s%s%s  orphaned: its broker died, the guest runs on; "
	       "`bulkhead adopt %s` or `bulkhead stop %s`\n",
	       ps->shown ? "\n" : "", bold, name, plain, name, name);
}

static int ps_show(const char *name, int fd, void *arg)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__VmStatusRequest request = BULKHEAD__VM_STATUS_REQUEST__INIT;
	const Bulkhead__ControlMessage *answer;
	struct ps *ps = arg;
	struct control_conn conn;
	struct err e = {0};
	int r;

	if (ps->only && strcmp(ps->only, name))
		return 0;
	r = control_open(&conn, dup(fd), &e);
	if (r == 0 && conn.orphaned) {
		ps_orphan(ps, name);
		ps->shown++;
		control_close(&conn);
	} else if (r == 0) {
		body.kind_case = BULKHEAD__CONTROL_BODY__KIND_STATUS_REQUEST;
		body.status_request = &request;
		r = control_ask(&conn, &body, &answer, &e);
		if (r == 0 && answer->body &&
		    answer->body->kind_case ==
			    BULKHEAD__CONTROL_BODY__KIND_VM_STATUS) {
			if (ps->json)
				ps_json_vm(ps, answer->body->vm_status);
			else
				ps_table_vm(ps, answer->body->vm_status);
			ps->shown++;
		}
		control_close(&conn);
	}
	if (r < 0)
		fprintf(stderr, "bulkhead ps: VM \"%s\": %s\n", name, e.text);
	return 0;
}

int cli_ps(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct ps ps = {.colour = isatty(STDOUT_FILENO)};
	struct err e = {0};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			ps.json = true;
			break;
		case 'h':
			ps_help();
			return 0;
		case 'V':
			return cli_version();
		default:
			return cli_unknown_option("ps", argv, "hV");
		}
	}
	if (argc - optind > 1)
		return cli_usage_error("ps", "give at most one VM");
	ps.only = argv[optind];
	if (ps.json)
		putchar('[');
	if (rundir_each(ps_show, &ps, &e) < 0) {
		fprintf(stderr, "bulkhead ps: %s\n", e.text);
		return 1;
	}
	if (ps.json)
		printf("]\n");
	else if (!ps.shown && !ps.only)
		printf("No VM is running.\n");
	if (ps.only && !ps.shown) {
		fprintf(stderr, "bulkhead ps: no VM \"%s\" is running\n",
			ps.only);
		return 1;
	}
	return 0;
}
