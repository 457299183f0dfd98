/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer stage, the parent's half: one clone3 into the namespaces, the id
 * map, then the child's reports until its end of the sync socket closes by
 * exec. jail.c is the child's half.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "common/sandbox/internal.h"

#define SPAWN_MAX_SIGPENDING 64

static const struct {
	uint64_t flag;
	const char *path;
	const char *name;
	const char *kind; /* as the kernel calls it */
	bool needed;	  /* without it a child could reach the host */
} spawn_namespaces[] = {
	{CLONE_NEWUSER, "/proc/self/ns/user", "user", "user", false},
	{CLONE_NEWNS, "/proc/self/ns/mnt", "mount", "mnt", true},
	{CLONE_NEWPID, "/proc/self/ns/pid", "pid", "pid", true},
	{CLONE_NEWNET, "/proc/self/ns/net", "net", "net", true},
	{CLONE_NEWIPC, "/proc/self/ns/ipc", "ipc", "ipc", false},
	{CLONE_NEWUTS, "/proc/self/ns/uts", "uts", "uts", false},
	{CLONE_NEWCGROUP, "/proc/self/ns/cgroup", "cgroup", "cgroup", false},
};

/* What begin() works out about this caller and this host. */
struct spawn_plan {
	struct caps caps;
	bool privileged; /* may give the child another host id */
	uint64_t namespaces;
};

static long spawn_clone(uint64_t namespaces, int cgroup_fd, int *ret_pidfd)
{
	struct clone_args args = {
		/* The child makes its network itself, beside its siblings. */
		.flags = (namespaces & ~(uint64_t)CLONE_NEWNET) | CLONE_PIDFD |
			 CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
	};

	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (unsigned int)cgroup_fd;
	}
	return syscall(SYS_clone3, &args, sizeof(args));
}

static void spawn_add_rlimit(struct jail *j, __rlimit_resource_t resource,
			     uint64_t want, const char *name,
			     struct sandbox_report *report)
{
	struct rlimit cur;
	rlim_t value = want == UINT64_MAX ? RLIM_INFINITY : (rlim_t)want;

	check(j->num_rlimits < JAIL_NUM_RLIMITS);
	if (getrlimit(resource, &cur) == 0 && value > cur.rlim_max) {
		if (want != UINT64_MAX)
			sandbox_note_downgrade(
				report, "rlimit %s: the host allows %llu", name,
				(unsigned long long)cur.rlim_max);
		value = cur.rlim_max;
	}
	j->rlimits[j->num_rlimits++] = (struct jail_rlimit){
		.resource = resource,
		.value = {.rlim_cur = value, .rlim_max = value},
	};
}

static void spawn_plan_rlimits(struct jail *j, const struct sandbox_manifest *m,
			       struct sandbox_report *r)
{
	spawn_add_rlimit(j, RLIMIT_CORE, 0, "core", r);
	spawn_add_rlimit(j, RLIMIT_MSGQUEUE, 0, "msgqueue", r);
	spawn_add_rlimit(j, RLIMIT_RTPRIO, 0, "rtprio", r);
	spawn_add_rlimit(j, RLIMIT_NICE, 0, "nice", r);
	spawn_add_rlimit(j, RLIMIT_SIGPENDING, SPAWN_MAX_SIGPENDING,
			 "sigpending", r);
	spawn_add_rlimit(j, RLIMIT_FSIZE, m->rlimit_fsize, "fsize", r);
	spawn_add_rlimit(j, RLIMIT_MEMLOCK, m->rlimit_memlock, "memlock", r);
	if (!SANDBOX_SANITIZER) {
		spawn_add_rlimit(j, RLIMIT_NOFILE, m->rlimit_nofile, "nofile",
				 r);
		spawn_add_rlimit(j, RLIMIT_STACK, m->rlimit_stack, "stack", r);
	}
	if (m->rlimit_nproc)
		spawn_add_rlimit(j, RLIMIT_NPROC, m->rlimit_nproc, "nproc", r);
}

static int spawn_write(pid_t pid, const char *file, const char *text,
		       struct err *e)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);

	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	n = fd < 0 ? -1 : write(fd, text, strlen(text));
	if (n < 0)
		return err_errno(e, "cannot write \"%s\" to the child's %s",
				 text, file);
	return 0;
}

/*
 * One id, non-zero inside. An ordinary user may map only his own ids and must
 * give up setgroups first; a privileged caller leaves setgroups on, because
 * the child drops the supplementary groups with it.
 */
static int spawn_map_ids(pid_t pid, const struct sandbox_spawn_args *args,
			 bool privileged, struct err *e)
{
	uid_t uid = privileged ? args->host_uid : geteuid();
	gid_t gid = privileged ? args->host_gid : getegid();
	char map[48];
	int r = 0;

	if (!privileged)
		r = spawn_write(pid, "setgroups", "deny", e);
	if (r < 0)
		return r;
	snprintf(map, sizeof(map), "%d %u 1", SANDBOX_INNER_ID, (unsigned)uid);
	r = spawn_write(pid, "uid_map", map, e);
	if (r < 0)
		return r;
	snprintf(map, sizeof(map), "%d %u 1", SANDBOX_INNER_ID, (unsigned)gid);
	return spawn_write(pid, "gid_map", map, e);
}

/* clone3 said EINVAL: leave out the namespaces that this kernel lacks. */
static int spawn_drop_missing(struct spawn_plan *p, struct sandbox_report *r,
			      struct err *e)
{
	uint64_t had = p->namespaces;

	for (size_t i = 0; i < ARRAY_SIZE(spawn_namespaces); i++) {
		if (!(p->namespaces & spawn_namespaces[i].flag) ||
		    access(spawn_namespaces[i].path, F_OK) == 0)
			continue;
		if (spawn_namespaces[i].needed)
			return err_set(e, -ENOSYS,
				       "this kernel has no %s namespaces; "
				       "programs can't be confined without",
				       spawn_namespaces[i].name);
		p->namespaces &= ~spawn_namespaces[i].flag;
		sandbox_note_downgrade(r, "%s namespace: not in this kernel",
				       spawn_namespaces[i].name);
	}
	if (p->namespaces == had)
		return err_set(e, -EINVAL,
			       "cannot start a confined process: this kernel "
			       "refuses clone3 with namespaces (5.7 or newer "
			       "is needed)");
	return 0;
}

/*
 * clone3 said ENOSPC: leave out what a sysctl forbids. User namespaces, whose
 * absence has consequences, are not looked at here.
 *
 * Return: 1 something was left out, 0 nothing is forbidden, -ENOSPC what is
 * forbidden is needed
 */
static int spawn_drop_forbidden(struct spawn_plan *p, struct sandbox_report *r,
				struct err *e)
{
	uint64_t had = p->namespaces;

	for (size_t i = 0; i < ARRAY_SIZE(spawn_namespaces); i++) {
		const char *kind = spawn_namespaces[i].kind;
		uint64_t flag = spawn_namespaces[i].flag;

		if (flag == CLONE_NEWUSER || !(p->namespaces & flag) ||
		    !host_forbids_namespaces(kind))
			continue;
		if (spawn_namespaces[i].needed)
			return err_set(e, -ENOSPC,
				       "programs can't be confined without %s "
				       "namespaces: raise sysctl "
				       "user.max_%s_namespaces, which is 0",
				       spawn_namespaces[i].name, kind);
		p->namespaces &= ~flag;
		sandbox_note_downgrade(
			r, "%s namespace: sysctl user.max_%s_namespaces",
			spawn_namespaces[i].name, kind);
	}
	return p->namespaces != had;
}

static int spawn_no_user_ns(struct err *e, int error)
{
	return err_set(
		e, -error,
		"cannot make a user namespace: %s; without privileges "
		"programs can't be confined. Allow it with: sysctl "
		"kernel.unprivileged_userns_clone=1 (Debian), "
		"kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), "
		"user.max_user_namespaces=10000; or run as root",
		strerrordesc_np(error));
}

/*
 * Returns in the child with 0, in the parent with the pid. What the host
 * lacks is left out, one thing after the other, and noted.
 */
static long spawn_try_clone(struct spawn_plan *p,
			    const struct sandbox_spawn_args *args,
			    int *ret_pidfd, struct sandbox_report *report,
			    struct err *e)
{
	for (;;) {
		long pid =
			spawn_clone(p->namespaces, args->cgroup_fd, ret_pidfd);
		int error = errno, r;

		if (pid >= 0)
			return pid;
		if (error == EINVAL) {
			r = spawn_drop_missing(p, report, e);
			if (r < 0)
				return r;
			if (p->namespaces & CLONE_NEWUSER)
				continue;
		} else if (error == ENOSPC &&
			   (r = spawn_drop_forbidden(p, report, e)) != 0) {
			if (r < 0)
				return r;
			continue;
		} else if (error != EPERM && error != ENOSPC &&
			   error != EUSERS) {
			return err_errno(e, "cannot start a confined process");
		} else if (p->namespaces & CLONE_NEWUSER) {
			p->namespaces &= ~(uint64_t)CLONE_NEWUSER;
			sandbox_note_downgrade(
				report, "user namespace: %s",
				error == ENOSPC
					? "sysctl user.max_user_namespaces"
					: strerrordesc_np(error));
		} else {
			return err_errno(e, "cannot make namespaces");
		}
		if (!p->privileged || !p->caps.sys_admin)
			return spawn_no_user_ns(e, error);
		if (args->host_uid == 0 || args->host_gid == 0)
			return err_set(e, -EINVAL,
				       "without user namespaces a confined "
				       "program needs an id other than root's");
	}
}

static int spawn_make_plan(const struct sandbox_spawn_args *args,
			   struct spawn_plan *p, struct jail *j,
			   struct sandbox_report *report, struct err *e)
{
	int r = caps_probe(&p->caps, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(spawn_namespaces); i++)
		p->namespaces |= spawn_namespaces[i].flag;
	p->privileged = sandbox_may_give_ids(args->host_uid, args->host_gid);
	if (!p->privileged && p->caps.setuid && p->caps.setgid)
		sandbox_note_downgrade(
			report, "host id: this user namespace has no others");
	if (p->privileged && (args->host_uid == 0 || args->host_gid == 0))
		sandbox_note_downgrade(report, "host id: root's");
	if (!p->privileged && getgroups(0, NULL) > 1)
		sandbox_note_downgrade(
			report, "supplementary groups: only root drops them");
	*j = (struct jail){
		.fds = {args->null_fd, args->null_fd, args->log_fd,
			args->channel_fd},
		.program_fd = args->program_fd,
		.name = args->manifest->program,
		.drop_groups = p->privileged,
		.die_with_parent = args->die_with_parent,
	};
	spawn_plan_rlimits(j, args->manifest, report);
	return 0;
}

static void spawn_child(struct jail *j, const struct spawn_plan *p,
			const struct sandbox_spawn_args *args)
{
	j->user_ns = p->namespaces & CLONE_NEWUSER;
	j->uts_ns = p->namespaces & CLONE_NEWUTS;
	j->uid = j->user_ns ? SANDBOX_INNER_ID : args->host_uid;
	j->gid = j->user_ns ? SANDBOX_INNER_ID : args->host_gid;
	jail_enter(j);
}

static void spawn_note_layers(const struct spawn_plan *p,
			      struct sandbox_report *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(spawn_namespaces); i++)
		if (p->namespaces & spawn_namespaces[i].flag)
			sandbox_note_layer(r, "%s namespace",
					   spawn_namespaces[i].name);
	if (SANDBOX_SANITIZER)
		sandbox_note_downgrade(r, SANDBOX_SANITIZER_NOTE);
	else
		sandbox_note_layer(r, "empty root");
	sandbox_note_layer(r, "descriptors");
	sandbox_note_layer(r, "rlimits");
	sandbox_note_layer(r, "no capabilities");
	sandbox_note_layer(r, "no_new_privs");
}

static int spawn_failed(int r, const struct sandbox_spawn_args *args,
			struct err *e)
{
	err_prefix(e, "%s", args->manifest->program);
	return r;
}

/* Return: 1 more to come, 0 the program runs, negative errno with @e. */
static int spawn_hear(struct sandbox_child *child, bool *mdwe, struct err *e)
{
	struct jail_message m;
	ssize_t n;

	/* A child that ended before it took our word resets the socket: told
	 * once, before what it said last. */
	do {
		n = recv(child->sync_fd, &m, sizeof(m), 0);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n == 0)
		return 0;
	if (n < 0)
		return err_errno(e, "cannot hear from the child");
	if (n != (ssize_t)sizeof(m) || m.error <= 0)
		return err_set(e, -EPROTO, "the child's report is malformed");
	switch (m.step) {
	case JAIL_NO_MDWE:
		sandbox_note_downgrade(&child->outer, "mdwe: %s",
				       m.error == EINVAL
					       ? "not in this kernel"
					       : strerrordesc_np(m.error));
		*mdwe = false;
		return 1;
	case JAIL_NO_KEYRING:
		sandbox_note_downgrade(&child->outer, "session keyring: %s",
				       strerrordesc_np(m.error));
		return 1;
	default:
		return err_set(
			e, -m.error, "%s: %s%s", jail_step_name(m.step),
			strerrordesc_np(m.error),
			m.step >= JAIL_NETWORK && m.step <= JAIL_PIVOT &&
					(m.error == EPERM || m.error == EACCES)
				? "; a security module refuses it to "
				  "user namespaces (Ubuntu: sysctl "
				  "kernel.apparmor_restrict_"
				  "unprivileged_userns=0)"
			: m.step == JAIL_NETWORK && m.error == ENOSPC
				? "; raise sysctl user.max_net_namespaces"
				: "");
	}
}

/*
 * No map can be given to a child that is ending already. What it said tells
 * more than that. Return: negative errno with @e, which is @r and as it was
 * if it said nothing.
 */
static int spawn_hear_last(struct sandbox_child *child, int r, struct err *e)
{
	struct err last = {0};
	bool mdwe;
	int said;

	syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	do {
		said = spawn_hear(child, &mdwe, &last);
	} while (said > 0);
	if (said == 0 || !e)
		return r;
	*e = last;
	err_prefix(e, "cannot confine the program");
	return said;
}

int sandbox_spawn_begin(const struct sandbox_spawn_args *args,
			struct sandbox_child *ret, struct err *e)
{
	struct sandbox_child child = {.pidfd = -1, .sync_fd = -1};
	struct spawn_plan plan = {.namespaces = 0};
	struct jail jail;
	int pair[2], r;
	long pid;

	r = spawn_make_plan(args, &plan, &jail, &child.outer, e);
	if (r < 0)
		return spawn_failed(r, args, e);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "%s: cannot make a socket pair",
				 args->manifest->program);
	jail.sync_fd = pair[1];
	pid = spawn_try_clone(&plan, args, &child.pidfd, &child.outer, e);
	if (pid == 0)
		spawn_child(&jail, &plan, args);
	fd_close(pair[1]);
	child.sync_fd = pair[0];
	if (pid < 0) {
		fd_close(pair[0]);
		return spawn_failed((int)pid, args, e);
	}
	child.pid = (pid_t)pid;
	r = 0;
	if (plan.namespaces & CLONE_NEWUSER)
		r = spawn_map_ids(child.pid, args, plan.privileged, e);
	/* A child that died already says why when we finish. */
	if (r == 0 && (plan.namespaces & CLONE_NEWUSER) &&
	    send(child.sync_fd, "", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		r = err_errno(e, "cannot release the child");
	if (r < 0) {
		r = spawn_hear_last(&child, r, e);
		sandbox_spawn_abandon(&child);
		return spawn_failed(r, args, e);
	}
	spawn_note_layers(&plan, &child.outer);
	*ret = child;
	return 0;
}

int sandbox_spawn_finish(struct sandbox_child *child, struct err *e)
{
	bool mdwe = !SANDBOX_SANITIZER;
	int r;

	check(child->sync_fd >= 0);
	do {
		r = spawn_hear(child, &mdwe, e);
	} while (r > 0);
	child->sync_fd = fd_close(child->sync_fd);
	if (r < 0) {
		sandbox_spawn_abandon(child);
		err_prefix(e, "cannot confine the program");
		return r;
	}
	if (mdwe)
		sandbox_note_layer(&child->outer, "mdwe");
	return 0;
}

void sandbox_spawn_abandon(struct sandbox_child *child)
{
	siginfo_t info;

	child->sync_fd = fd_close(child->sync_fd);
	if (child->pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED) < 0 &&
	       errno == EINTR)
		continue;
	child->pidfd = fd_close(child->pidfd);
}

int sandbox_spawn(const struct sandbox_spawn_args *args,
		  struct sandbox_child *ret, struct err *e)
{
	struct sandbox_child child;
	int r = sandbox_spawn_begin(args, &child, e);

	if (r < 0)
		return r;
	r = sandbox_spawn_finish(&child, e);
	if (r < 0)
		return spawn_failed(r, args, e);
	*ret = child;
	return 0;
}
