/* SPDX-License-Identifier: Apache-2.0 */

/* `bulkhead upgrade`: newer device programs under a running guest. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/cli.h"
#include "broker/control_client.h"
#include "broker/rundir.h"
#include "common/base/num.h"

#define UPGRADE_WAIT_MS 60000
#define UPGRADE_POLL_MS 2

static void upgrade_help(void)
{
	printf("Usage: bulkhead upgrade VM [DEVICE...]\n"
	       "\n"
	       "Replace the programs of the VM's devices (all of them, or the "
	       "named ones) by\n"
	       "those that are installed now, while the guest runs. A new "
	       "process is started and\n"
	       "confined, and must offer what the guest uses, before the old "
	       "one ends; if it\n"
	       "fails, the old program goes on. Prints a line for each "
	       "device.\n"
	       "\n"
	       "  -h, --help     show this help\n"
	       "  -V, --version  show the version\n"
	       "\n"
	       "Exit status: 0 all were replaced; 1 one was not.\n"
	       "\n"
	       "Examples:\n"
	       "  bulkhead upgrade web1\n"
	       "  bulkhead upgrade web1 _disk0\n");
}

static bool upgrade_wants(const char *id, char **ids, int num)
{
	for (int i = 0; i < num; i++)
		if (!strcmp(ids[i], id))
			return true;
	return num == 0;
}

/* The status of all processes; valid until the next request. */
static const Bulkhead__VmStatus *upgrade_status(struct control_conn *conn,
						struct err *e)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__VmStatusRequest m = BULKHEAD__VM_STATUS_REQUEST__INIT;
	const Bulkhead__ControlMessage *answer;

	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_STATUS_REQUEST;
	body.status_request = &m;
	if (control_ask(conn, &body, &answer, e) < 0)
		return NULL;
	if (!answer->body ||
	    answer->body->kind_case != BULKHEAD__CONTROL_BODY__KIND_VM_STATUS) {
		err_set(e, -EPROTO, "the VM answered something else");
		return NULL;
	}
	return answer->body->vm_status;
}

static bool upgrade_is_device(const Bulkhead__ProcessStatus *p)
{
	return p->id[0] && strcmp(p->role, "passt") && strcmp(p->role, "spare");
}

static const Bulkhead__ProcessStatus *upgrade_find(const Bulkhead__VmStatus *vm,
						   const char *id)
{
	for (size_t i = 0; i < vm->n_processes; i++)
		if (!strcmp(vm->processes[i]->id, id) &&
		    upgrade_is_device(vm->processes[i]))
			return vm->processes[i];
	return NULL;
}

/* Ask, then watch until the device serves again. */
static int upgrade_one(struct control_conn *conn, const char *id, struct err *e)
{
	const struct timespec nap = {.tv_nsec = UPGRADE_POLL_MS * 1000000L};
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__UpgradeRequest m;
	const Bulkhead__ProcessStatus *p;
	const Bulkhead__VmStatus *vm = upgrade_status(conn, e);
	uint32_t before;
	int old_pid;

	bulkhead__upgrade_request__init(&m);
	if (!vm)
		return e->code;
	p = upgrade_find(vm, id);
	if (!p)
		return err_set(e, -ENOENT, "the VM has no device \"%s\"", id);
	before = p->upgrades;
	old_pid = p->pid;
	m.device = (char *)(uintptr_t)id;
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_UPGRADE;
	body.upgrade = &m;
	if (control_ask(conn, &body, NULL, e) < 0)
		return e->code;
	for (int i = 0; i < UPGRADE_WAIT_MS / UPGRADE_POLL_MS; i++) {
		vm = upgrade_status(conn, e);
		p = vm ? upgrade_find(vm, id) : NULL;
		if (!p)
			return e->code ? e->code : -ENOENT;
		if (p->upgrades != before) {
			printf("%s: replaced, pid %d is now %d, %.1f ms "
			       "without "
			       "service\n",
			       id, old_pid, p->pid,
			       (double)p->last_gap_us / 1000);
			return 0;
		}
		if (!strcmp(p->state, "running"))
			return err_set(e, -ECANCELED,
				       "%s: the new program was refused, the "
				       "old one goes on; the VM's log says why",
				       id);
		nanosleep(&nap, NULL);
	}
	return err_set(e, -ETIMEDOUT, "%s: not replaced within %d s", id,
		       UPGRADE_WAIT_MS / 1000);
}

static int upgrade_all(struct control_conn *conn, char **ids, int num)
{
	char names[64][64];
	const Bulkhead__VmStatus *vm;
	struct err e = {0};
	size_t n = 0;
	int failed = 0;

	vm = upgrade_status(conn, &e);
	if (!vm) {
		fprintf(stderr, "bulkhead upgrade: %s\n", e.text);
		return 1;
	}
	for (size_t i = 0; i < vm->n_processes && n < ARRAY_SIZE(names); i++) {
		const Bulkhead__ProcessStatus *p = vm->processes[i];

		if (upgrade_is_device(p) && upgrade_wants(p->id, ids, num))
			snprintf(names[n++], sizeof(names[0]), "%s", p->id);
	}
	if (num && (size_t)num != n) {
		fprintf(stderr, "bulkhead upgrade: the VM lacks one of the "
				"named devices; `bulkhead ps` lists them\n");
		return 1;
	}
	for (size_t i = 0; i < n; i++) {
		memset(&e, 0, sizeof(e));
		if (upgrade_one(conn, names[i], &e) < 0) {
			fprintf(stderr, "bulkhead upgrade: %s\n", e.text);
			failed = 1;
		}
	}
	return failed;
}

int cli_upgrade(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct control_conn conn;
	struct err e = {0};
	int fd, r, opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		if (opt == 'V')
			return cli_version();
		if (opt != 'h')
			return cli_unknown_option("upgrade", argv, "hV");
		upgrade_help();
		return 0;
	}
	if (optind >= argc)
		return cli_usage_error("upgrade", "give the name of a VM");
	fd = rundir_connect(argv[optind], &e);
	r = fd < 0 ? fd : control_open(&conn, fd, &e);
	if (r < 0) {
		fprintf(stderr, "bulkhead upgrade: %s\n", e.text);
		return 1;
	}
	r = upgrade_all(&conn, argv + optind + 1, argc - optind - 1);
	control_close(&conn);
	return r;
}
