/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor's half of --probe: one hostile program per role and filter, all
 * at once, each confined as the broker confines that role; the table of what
 * denied each of its attempts. An attempt that nothing denied is a failure.
 */
#include "broker/audit_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/cli.h"
#include "broker/programs.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/channel/channel.h"
#include "common/sandbox/probe_record.h"
#include "common/sandbox/sandbox.h"

#define PROBE_NPROC_MIN	  64 /* for the probe's own forks */
#define PROBE_TIMEOUT_S	  120
#define PROBE_RECORDS_MAX 8192

struct probe_role {
	const char *role, *profile;
	const struct channel_format *format;
	const char *says; /* for people */
};

static const struct probe_role probe_roles[] = {
	{"core", "core", &channel_format_core, "core"},
	{"core", "vcpu", &channel_format_core, "core, vCPU threads"},
	{"loader", "loader", &channel_format_loader, "loader"},
	{"blk", "blk", &channel_format_device, "blk"},
	{"blk", "blksync", &channel_format_device, "blk without io_uring"},
	{"net", "net", &channel_format_device, "net"},
	{"console", "console", &channel_format_device, "console"},
	{"rng", "rng", &channel_format_device, "rng"},
	{"keeper", "keeper", &channel_format_keeper, "keeper"},
};

#define PROBE_ROLES ARRAY_SIZE(probe_roles)

struct probe_run {
	const struct probe_role *role;
	struct sandbox_child child;
	struct channel *channel;
	int log;
	bool begun, ended;
	struct probe_record *records;
	unsigned int num_records;
	uint8_t partial[sizeof(struct probe_record)];
	size_t num_partial;
	uint32_t attempts, denied, twice; /* twice: by a second wall, too */
	uint32_t by[PROBE_NUM_ENDS];
	uint32_t by_channel;
	char trouble[ERR_TEXT_MAX];
};

/* ---- start ---- */

static int probe_spawn(struct probe_run *p, unsigned int index, int program,
		       struct err *e)
{
	struct sandbox_manifest m = *sandbox_manifest_find(p->role->role);
	struct probe_request req = {.nproc = m.rlimit_nproc ? m.rlimit_nproc
							    : UINT64_MAX};
	struct sandbox_spawn_args args = {.manifest = &m};
	int pair[2], pipefd[2], r;

	if (m.rlimit_nproc && m.rlimit_nproc < PROBE_NPROC_MIN)
		m.rlimit_nproc = PROBE_NPROC_MIN;
	snprintf(req.profile, sizeof(req.profile), "%s", p->role->profile);
	r = channel_pair(pair, e);
	if (r < 0)
		return r;
	auto_fd mine = pair[0];
	auto_fd theirs = pair[1];

	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "cannot make a pipe");
	p->log = pipefd[0];
	auto_fd log_end = pipefd[1];

	args.program_fd = program;
	args.null_fd = programs_null_fd();
	args.log_fd = log_end;
	args.channel_fd = theirs;
	args.host_uid = SANDBOX_HOST_IDS + ((uid_t)getpid() << 6) + index;
	args.host_gid = args.host_uid;
	args.cgroup_fd = -1;
	args.die_with_parent = true;
	/* It starts with a read that must not fail. */
	r = fcntl(theirs, F_SETFL, 0);
	if (r == 0)
		r = (int)send(mine, &req, sizeof(req), MSG_NOSIGNAL);
	if (r < 0)
		return err_errno(e, "cannot instruct the probe");
	r = sandbox_spawn_begin(&args, &p->child, e);
	if (r < 0)
		return r;
	p->begun = true;
	r = channel_new(mine, p->role->format, false, &p->channel, e);
	if (r == 0)
		take_fd(&mine);
	return r;
}

/* ---- results ---- */

/* What came over the channel is judged as the broker would judge it. */
static bool probe_channel_refuses(struct probe_run *p)
{
	struct channel_msg m;
	struct err e = {0};
	int r = channel_recv(p->channel, &m, &e);

	if (r != 1)
		return true;
	channel_msg_done(&m);
	return false;
}

static bool probe_end_ok(const struct probe_end *end)
{
	return end->how < PROBE_NUM_ENDS;
}

static void probe_take(struct probe_run *p, struct probe_record *r)
{
	bool denied;

	if (r->kind == PROBE_RECORD_END) {
		p->ended = true;
		return;
	}
	if (!probe_end_ok(&r->locked) || !probe_end_ok(&r->open) ||
	    r->count > PROBE_RECORDS_MAX ||
	    p->num_records >= PROBE_RECORDS_MAX) {
		snprintf(p->trouble, sizeof(p->trouble),
			 "the probe sends nonsense");
		p->ended = true;
		return;
	}
	r->group[sizeof(r->group) - 1] = '\0';
	r->name[sizeof(r->name) - 1] = '\0';
	denied = r->locked.how != PROBE_END_WORKED &&
		 r->locked.how != PROBE_END_BROKEN;
	/* Allowed to send, but what it sent is nothing that anybody takes. */
	if (!denied && r->kind == PROBE_RECORD_SMUGGLE &&
	    probe_channel_refuses(p)) {
		denied = true;
		p->by_channel += r->count;
	} else {
		r->kind = PROBE_RECORD_ATTEMPT;
		p->by[r->locked.how] += r->count;
	}
	p->attempts += r->count;
	if (denied)
		p->denied += r->count;
	if (denied &&
	    (r->open.how == PROBE_END_ERROR || r->open.how == PROBE_END_SIGNAL))
		p->twice += r->count;
	p->records[p->num_records++] = *r;
}

static void probe_read(struct probe_run *p)
{
	ssize_t n = read(p->log, p->partial + p->num_partial,
			 sizeof(p->partial) - p->num_partial);
	struct probe_record r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		snprintf(p->trouble, sizeof(p->trouble),
			 "the probe ended early: %.*s", (int)p->num_partial,
			 (const char *)p->partial);
		p->ended = true;
		return;
	}
	p->num_partial += (size_t)n;
	if (p->num_partial < sizeof(r))
		return;
	memcpy(&r, p->partial, sizeof(r));
	p->num_partial = 0;
	probe_take(p, &r);
}

static uint64_t probe_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* All at once, until each has ended or the time is over. */
static void probe_collect(struct probe_run *runs)
{
	uint64_t deadline = probe_now_ms() + PROBE_TIMEOUT_S * 1000;
	struct pollfd p[PROBE_ROLES];

	for (;;) {
		bool any = false;

		for (size_t i = 0; i < PROBE_ROLES; i++) {
			bool open = runs[i].begun && !runs[i].ended;

			any = any || open;
			p[i] = (struct pollfd){.fd = open ? runs[i].log : -1,
					       .events = POLLIN};
		}
		if (!any || probe_now_ms() > deadline)
			return;
		if (poll(p, PROBE_ROLES, 1000) < 0 && errno != EINTR)
			return;
		for (size_t i = 0; i < PROBE_ROLES; i++)
			if (p[i].revents)
				probe_read(&runs[i]);
	}
}

/* ---- output ---- */

static const char *probe_how(const struct probe_record *r,
			     const struct probe_end *end, bool locked,
			     char *buf, size_t len)
{
	if (locked && r->kind == PROBE_RECORD_SMUGGLE)
		return "the broker's end of the channel";
	switch (end->how) {
	case PROBE_END_FILTER:
		return "seccomp: killed";
	case PROBE_END_ERROR:
		return strerrorname_np(end->error) ? strerrorname_np(end->error)
						   : "an error";
	case PROBE_END_SIGNAL:
		snprintf(buf, len, "memory protection: signal %d", end->signal);
		return buf;
	case PROBE_END_WORKED:
		return locked ? "NOT DENIED" : "nothing else";
	case PROBE_END_BROKEN:
		return "BROKEN";
	default:
		return "not tried";
	}
}

static bool probe_failed(const struct probe_record *r)
{
	return (r->locked.how == PROBE_END_WORKED ||
		r->locked.how == PROBE_END_BROKEN) &&
	       r->kind != PROBE_RECORD_SMUGGLE;
}

static void probe_print(const struct probe_run *p, bool verbose, bool colour)
{
	char a[64], b[64];

	printf("%s%s%s: %u of %u attempts denied (seccomp %u, channel %u, "
	       "the kernel otherwise %u);\n  without the filter another wall "
	       "would stop %u of those that were tried again\n",
	       colour ? "\033[1m" : "", p->role->says, colour ? "\033[0m" : "",
	       p->denied, p->attempts, p->by[PROBE_END_FILTER], p->by_channel,
	       p->by[PROBE_END_ERROR] + p->by[PROBE_END_SIGNAL], p->twice);
	for (unsigned int i = 0; i < p->num_records; i++) {
		const struct probe_record *r = &p->records[i];
		bool failed = probe_failed(r);

		if (!verbose && !failed)
			continue;
		printf("  %s%-10s %-44s%s %-32s %s\n",
		       failed && colour ? "\033[1;31m" : "", r->group, r->name,
		       failed && colour ? "\033[0m" : "",
		       probe_how(r, &r->locked, true, a, sizeof(a)),
		       probe_how(r, &r->open, false, b, sizeof(b)));
	}
	if (!p->ended)
		printf("  did not end within %d s\n", PROBE_TIMEOUT_S);
	if (p->trouble[0])
		printf("  %s\n", p->trouble);
}

static void probe_json(const struct probe_run *p, bool first)
{
	char a[64], b[64];

	printf("%s{\"role\":\"%s\",\"profile\":\"%s\",\"attempts\":%u,"
	       "\"denied\":%u,\"by_seccomp\":%u,\"by_channel\":%u,"
	       "\"complete\":%s,\"list\":[",
	       first ? "" : ",", p->role->role, p->role->profile, p->attempts,
	       p->denied, p->by[PROBE_END_FILTER], p->by_channel,
	       p->ended && !p->trouble[0] ? "true" : "false");
	for (unsigned int i = 0; i < p->num_records; i++) {
		const struct probe_record *r = &p->records[i];

		/* Names are this release's own: plain text. */
		printf("%s{\"group\":\"%s\",\"name\":\"%s\",\"count\":%u,"
		       "\"denied\":%s,\"by\":\"%s\",\"behind\":\"%s\"}",
		       i ? "," : "", r->group, r->name, r->count,
		       probe_failed(r) ? "false" : "true",
		       probe_how(r, &r->locked, true, a, sizeof(a)),
		       probe_how(r, &r->open, false, b, sizeof(b)));
	}
	printf("]}");
}

/* ---- the command ---- */

static bool probe_wanted(char **roles, const struct probe_role *r)
{
	if (!roles[0])
		return true;
	for (; *roles; roles++)
		if (!strcmp(*roles, r->role) || !strcmp(*roles, r->profile))
			return true;
	return false;
}

static int probe_start_all(struct probe_run *runs, char **roles, struct err *e)
{
	int r = programs_open(e);
	auto_fd program = -1;

	if (r < 0)
		return r;
	program = programs_open_probe(e);
	if (program < 0)
		return program;
	for (unsigned int i = 0; r == 0 && i < PROBE_ROLES; i++) {
		runs[i].role = &probe_roles[i];
		if (!probe_wanted(roles, &probe_roles[i]))
			continue;
		runs[i].records =
			calloc(PROBE_RECORDS_MAX, sizeof(*runs[i].records));
		if (!runs[i].records)
			return err_set(e, -ENOMEM, "no memory for the results");
		r = probe_spawn(&runs[i], i, program, e);
	}
	for (unsigned int i = 0; i < PROBE_ROLES; i++) {
		if (!runs[i].begun)
			continue;
		if (r < 0) {
			sandbox_spawn_abandon(&runs[i].child);
			runs[i].begun = false;
			continue;
		}
		r = sandbox_spawn_finish(&runs[i].child, e);
		runs[i].begun = r == 0;
	}
	return r;
}

static void probe_stop_all(struct probe_run *runs)
{
	for (unsigned int i = 0; i < PROBE_ROLES; i++) {
		if (runs[i].begun)
			sandbox_spawn_abandon(&runs[i].child);
		channel_free(runs[i].channel);
		fd_close(runs[i].log);
		free(runs[i].records);
	}
	programs_close();
}

static bool probe_show(const struct probe_run *runs, bool json, bool verbose,
		       bool colour)
{
	bool ok = true, first = true;

	if (json)
		printf("{\"roles\":[");
	for (unsigned int i = 0; i < PROBE_ROLES; i++) {
		const struct probe_run *p = &runs[i];

		if (!p->begun)
			continue;
		if (json)
			probe_json(p, first);
		else
			probe_print(p, verbose, colour);
		first = false;
		ok = ok && p->ended && !p->trouble[0] && p->attempts &&
		     p->denied == p->attempts;
	}
	if (json)
		printf("],\"all_denied\":%s}\n", ok ? "true" : "false");
	else
		printf("%s\n", ok ? "Every attempt was denied."
				  : "NOT every attempt was denied.");
	return ok;
}

int audit_probe(char **roles, bool json, bool verbose, bool colour)
{
	auto_free struct probe_run *runs = calloc(PROBE_ROLES, sizeof(*runs));
	struct err e = {0};
	bool any = false;
	int r;

	if (!runs)
		return 1;
	for (unsigned int i = 0; i < PROBE_ROLES; i++) {
		runs[i].log = -1;
		any = any || probe_wanted(roles, &probe_roles[i]);
	}
	if (!any)
		return cli_usage_error("audit", "there is no role \"%s\"",
				       roles[0]);
	r = probe_start_all(runs, roles, &e);
	if (r == 0)
		probe_collect(runs);
	else
		fprintf(stderr, "bulkhead audit: %s\n", e.text);
	if (r == 0 && !probe_show(runs, json, verbose, colour))
		r = -EPERM;
	probe_stop_all(runs);
	return r < 0 ? 1 : 0;
}
