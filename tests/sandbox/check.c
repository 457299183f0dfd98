/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the probe confined and proves that the walls hold: from inside, by
 * attempts that must fail in the right way at the right stage; from outside,
 * by what /proc says. One line a check: "ok", "FAIL" or "skip".
 *
 * usage: sandbox-check PROBE
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/sandbox/check.h"

#define CHECK_WAIT_MS 5000

const struct sandbox_manifest check_manifest = {
	.program = "bulkhead-probe",
	.role = "probe",
	.rlimit_nofile = 32,
	.rlimit_fsize = 0,
	.rlimit_memlock = 65536,
	.rlimit_nproc = 8,
	.rlimit_stack = 256 * 1024,
};

int check_program_fd, check_null_fd;
static unsigned int failures;

void check_ok(const char *name)
{
	printf("ok %s\n", name);
}

void check_fail(const char *name, const char *fmt, ...)
{
	va_list ap;

	failures++;
	printf("FAIL %s: ", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void check_skip(const char *name, const char *why)
{
	printf("skip %s: %s\n", name, why);
}

void check_that(const char *name, bool cond, const char *why)
{
	if (cond)
		check_ok(name);
	else
		check_fail(name, "%s", why);
}

/* Everything of @p that begin() needs; the child's ends are closed again. */
int probe_begin(struct probe *p, const struct sandbox_manifest *m,
		bool die_with_parent, struct err *e)
{
	struct timeval wait = {.tv_sec = CHECK_WAIT_MS / 1000};
	int pair[2], log[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "cannot make the probe's channel");
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));

	struct sandbox_spawn_args args = {
		.manifest = m,
		.program_fd = check_program_fd,
		.null_fd = check_null_fd,
		.log_fd = log[1],
		.channel_fd = pair[1],
		.host_uid = CHECK_HOST_ID,
		.host_gid = CHECK_HOST_ID,
		.cgroup_fd = -1,
		.die_with_parent = die_with_parent,
	};

	r = sandbox_spawn_begin(&args, &p->child, e);
	close(pair[1]);
	close(log[1]);
	p->channel = pair[0];
	p->log = log[0];
	return r;
}

int probe_start(struct probe *p, struct err *e)
{
	int r = probe_begin(p, &check_manifest, false, e);

	return r < 0 ? r : sandbox_spawn_finish(&p->child, e);
}

/* What the probe had to say is worth a line. */
void probe_stop(struct probe *p)
{
	char text[ERR_TEXT_MAX + 1];
	ssize_t n = read(p->log, text, sizeof(text) - 1);

	if (n > 0)
		printf("# probe: %.*s\n", (int)n, text);
	close(p->channel);
	close(p->log);
	sandbox_spawn_abandon(&p->child);
}

bool probe_ask(struct probe *p, const char *name, uint32_t stage, int32_t value,
	       struct probe_reply *ret)
{
	struct probe_request req = {.stage = stage, .value = value};

	memset(ret, 0, sizeof(*ret));
	snprintf(req.name, sizeof(req.name), "%s", name);
	return send(p->channel, &req, sizeof(req), MSG_NOSIGNAL) ==
		       (ssize_t)sizeof(req) &&
	       recv(p->channel, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret);
}
int check_count_entries(pid_t pid, const char *folder)
{
	char path[64];
	struct dirent *d;
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, folder);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((d = readdir(dir)))
		n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
	closedir(dir);
	return n;
}

bool probe_has_downgrade(const struct probe *p, const char *start)
{
	const struct sandbox_report *r = &p->child.outer;

	for (unsigned int i = 0; i < r->num_downgrades; i++)
		if (!strncmp(r->downgrades[i], start, strlen(start)))
			return true;
	return false;
}

static void print_report(const struct sandbox_report *r)
{
	printf("# outer:");
	for (unsigned int i = 0; i < r->num_layers; i++)
		printf(" %s;", r->layers[i]);
	for (unsigned int i = 0; i < r->num_downgrades; i++)
		printf(" -%s;", r->downgrades[i]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct probe p;
	struct err e;

	if (argc != 2) {
		fprintf(stderr, "usage: sandbox-check PROBE\n");
		return 2;
	}
	check_program_fd = open(argv[1], O_PATH | O_CLOEXEC);
	check_null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (check_program_fd < 0 || check_null_fd < 0) {
		perror(argv[1]);
		return 2;
	}
	/* Supplementary groups, so that losing them shows. */
	if (geteuid() == 0 && setgroups(2, (const gid_t[]){1, 2}) < 0) {
		perror("setgroups");
		return 2;
	}
	if (probe_start(&p, &e) < 0) {
		printf("FAIL spawn: %s\n", e.text);
		return 1;
	}
	print_report(&p.child.outer);
	if (probe_has_downgrade(&p, "sanitizer build")) {
		check_skip("attempts and /proc", "sanitizer build");
	} else {
		check_inside(&p);
		check_host_network(&p);
		check_outside(&p);
	}
	probe_stop(&p);
	check_end_of_channel();
	check_parent_death("a killed parent takes its child along", true);
	check_parent_death("a child may outlive its parent", false);
	check_bad_program(argv[1]);
	check_crossed_descriptors();
	check_without_user_namespaces(true);
	check_without_user_namespaces(false);
	check_hosts();
	check_speed();
	check_no_children("nothing is left");
	printf("# %u failures\n", failures);
	return failures ? 1 : 0;
}
