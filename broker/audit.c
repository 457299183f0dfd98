/* SPDX-License-Identifier: Apache-2.0 */

/* The frame of an audit: results, reading /proc, the order of the parts. */

#include "broker/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit_internal.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

SECCOMP_PROFILE(core);
SECCOMP_PROFILE(vcpu);
SECCOMP_PROFILE(blk);
SECCOMP_PROFILE(blksync);
SECCOMP_PROFILE(net);
SECCOMP_PROFILE(console);
SECCOMP_PROFILE(rng);
SECCOMP_PROFILE(loader);
SECCOMP_PROFILE(keeper);

#define AUDIT_TUN_MINOR 200 /* of the misc devices: /dev/net/tun */
#define AUDIT_END_MS	1000

const struct audit_text audit_texts[AUDIT_NUM_CHECKS] = {
#define CHECK(id, name, means, gain) [AUDIT_##id] = {name, means, gain},
#include "broker/audit_checks.h"
#undef CHECK
};

static const struct {
	const char *role;
	const struct seccomp_profile *first, *or_first, *thread;
} audit_roles[] = {
	{"core", &seccomp_profile_core, NULL, &seccomp_profile_vcpu},
	{"blk", &seccomp_profile_blk, &seccomp_profile_blksync, NULL},
	{"net", &seccomp_profile_net, NULL, NULL},
	{"console", &seccomp_profile_console, NULL, NULL},
	{"rng", &seccomp_profile_rng, NULL, NULL},
	{"loader", &seccomp_profile_loader, NULL, NULL},
	{"keeper", &seccomp_profile_keeper, NULL, NULL},
};

unsigned int audit_profiles(const char *role,
			    const struct seccomp_profile *ret[2],
			    const struct seccomp_profile **ret_thread)
{
	for (size_t i = 0; i < ARRAY_SIZE(audit_roles); i++) {
		if (strcmp(audit_roles[i].role, role))
			continue;
		ret[0] = audit_roles[i].first;
		ret[1] = audit_roles[i].or_first;
		*ret_thread = audit_roles[i].thread;
		return ret[1] ? 2 : 1;
	}
	return 0;
}

const char *audit_state_name(enum audit_state state)
{
	static const char *const names[AUDIT_NUM_STATES] = {
		[AUDIT_PASS] = "pass",	 [AUDIT_REPORTED] = "reported",
		[AUDIT_LACKS] = "lacks", [AUDIT_HIDDEN] = "hidden",
		[AUDIT_FAIL] = "FAIL",
	};

	return names[state];
}

/* ---- results ---- */

/* A detail may hold another process's text: plain characters only. */
static void audit_clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
}

static void __attribute__((format(printf, 4, 0)))
audit_vset(struct audit *a, enum audit_check check, enum audit_state state,
	   const char *fmt, va_list ap)
{
	struct audit_result *r = a->r;

	/* A better one of another thread or descriptor does not mend it. */
	if (r->done[check] &&
	    (r->state[check] == AUDIT_FAIL || state < r->state[check]))
		return;
	r->done[check] = true;
	r->state[check] = state;
	r->detail[check][0] = '\0';
	if (!fmt)
		return;
	vsnprintf(r->detail[check], AUDIT_DETAIL_MAX, fmt, ap);
	audit_clean(r->detail[check]);
}

void audit_set(struct audit *a, enum audit_check check, enum audit_state state,
	       const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	audit_vset(a, check, state, fmt, ap);
	va_end(ap);
}

void audit_that(struct audit *a, enum audit_check check, bool holds,
		const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	audit_vset(a, check, holds ? AUDIT_PASS : AUDIT_FAIL,
		   holds ? NULL : fmt, ap);
	va_end(ap);
}

void audit_unread(struct audit *a, enum audit_check check, const char *what)
{
	if (errno == EACCES || errno == EPERM)
		audit_set(a, check, AUDIT_HIDDEN, "%s: needs root", what);
	else
		audit_set(a, check, AUDIT_FAIL, "%s: %s", what,
			  strerrordesc_np(errno));
}

void audit_note(struct audit *a, const char *fmt, ...)
{
	struct audit_result *r = a->r;
	va_list ap;

	if (r->num_notes >= ARRAY_SIZE(r->notes))
		return;
	va_start(ap, fmt);
	vsnprintf(r->notes[r->num_notes], AUDIT_DETAIL_MAX, fmt, ap);
	va_end(ap);
	audit_clean(r->notes[r->num_notes++]);
}

static bool audit_find_note(const char notes[][SANDBOX_NOTE_MAX],
			    unsigned int num, const char *start)
{
	for (unsigned int i = 0; i < num; i++)
		if (!strncmp(notes[i], start, strlen(start)))
			return true;
	return false;
}

bool audit_lacks(const struct audit *a, const char *start)
{
	const struct sandbox_report *t = a->x->told;

	return audit_find_note(t[0].downgrades, t[0].num_downgrades, start) ||
	       audit_find_note(t[1].downgrades, t[1].num_downgrades, start);
}

bool audit_told(const struct audit *a, const char *start)
{
	const struct sandbox_report *t = a->x->told;

	return audit_find_note(t[0].layers, t[0].num_layers, start) ||
	       audit_find_note(t[1].layers, t[1].num_layers, start);
}

/* ---- reading ---- */

int audit_read(struct audit *a, int dir, const char *file)
{
	auto_fd fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = 0;
	ssize_t n;

	a->text[0] = '\0';
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, a->text + len, AUDIT_TEXT_MAX - 1 - len);
		if (n < 0)
			return -errno;
		len += (size_t)n;
	} while (n && len < AUDIT_TEXT_MAX - 1);
	a->text[len] = '\0';
	return (int)len;
}

const char *audit_field(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && *text) {
		if (!strncmp(text, key, len) && text[len] == ':')
			return text + len + 1;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

void audit_line(const char *s, char *ret, size_t len)
{
	size_t n;

	s += strspn(s, " \t");
	n = strcspn(s, "\n");
	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	if (n >= len)
		n = len - 1;
	memcpy(ret, s, n);
	ret[n] = '\0';
}

int audit_describe_file(int fd, struct audit_file *ret)
{
	int flags = fcntl(fd, F_GETFL);
	struct ifreq ifr = {0};
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	memset(ret, 0, sizeof(*ret));
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->rdev = st.st_rdev;
	ret->size = (uint64_t)st.st_size;
	ret->access = (uint32_t)flags & O_ACCMODE;
	/* All taps share one device file: the interface tells them apart. */
	if (S_ISCHR(st.st_mode) && major(st.st_rdev) == 10 &&
	    minor(st.st_rdev) == AUDIT_TUN_MINOR &&
	    ioctl(fd, TUNGETIFF, &ifr) == 0)
		snprintf(ret->name, sizeof(ret->name), "%.*s", IFNAMSIZ,
			 ifr.ifr_name);
	return 0;
}

/* ---- the whole ---- */

static uint64_t audit_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * The sanitizers' programs keep the host's root, some limits and have no
 * filter; only a sanitizer build of the auditor looks over that.
 */
static void audit_excuse_sanitizer(struct audit *a)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++)
		if (a->r->state[i] == AUDIT_FAIL)
			a->r->state[i] = AUDIT_LACKS;
#else
	(void)a;
#endif
}

static void audit_count(struct audit *a)
{
	struct audit_result *r = a->r;

	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++) {
		if (!r->done[i])
			audit_set(a, i, AUDIT_FAIL, "not checked");
	}
	audit_excuse_sanitizer(a);
	for (unsigned int i = 0; i < AUDIT_NUM_CHECKS; i++)
		r->count[r->state[i]]++;
}

static int audit_open(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A process that ended meanwhile looks wrong in every way. Of the caller's own
 * child /proc keeps a rest; and an end takes its time. */
static bool audit_is_over(const struct audit *a)
{
	struct pollfd p = {.fd = a->pidfd, .events = POLLIN};
	char link[16];

	return readlinkat(a->proc, "exe", link, sizeof(link)) < 0 &&
	       (errno == ENOENT || errno == ESRCH) &&
	       poll(&p, 1, AUDIT_END_MS) != 0;
}

int audit_process(const struct audit_expect *x, const struct audit_ns *others,
		  unsigned int num_others, struct audit_result *ret,
		  struct err *e)
{
	auto_free struct audit *a = calloc(1, sizeof(*a));
	auto_free char *text = malloc(AUDIT_TEXT_MAX);
	uint64_t start = audit_now_ns();

	memset(ret, 0, sizeof(*ret));
	if (!a || !text)
		return err_set(e, -ENOMEM, "no memory for an audit");
	/* Folder and pidfd stay with this process, whoever has its number
	 * later. */
	auto_fd proc = audit_open(x->pid);
	auto_fd pidfd = (int)syscall(SYS_pidfd_open, x->pid, 0);
	auto_fd parent = audit_open(x->parent);

	if (proc < 0 || pidfd < 0 || parent < 0)
		return err_set(e, -ESRCH, "process %d or its broker %d is gone",
			       (int)x->pid, (int)x->parent);
	a->x = x;
	a->others = others;
	a->num_others = num_others;
	a->r = ret;
	a->proc = proc;
	a->parent = parent;
	a->pidfd = pidfd;
	a->text = text;
	audit_program(a);
	audit_status(a);
	audit_threads(a);
	audit_limits(a);
	audit_namespaces(a);
	audit_mounts(a);
	audit_fds(a);
	audit_maps(a);
	audit_filters(a);
	ret->duration_ns = audit_now_ns() - start;
	if (audit_is_over(a)) {
		ret->gone = true;
		return err_set(e, -ESRCH, "process %d ended during its audit",
			       (int)x->pid);
	}
	audit_count(a);
	return 0;
}
