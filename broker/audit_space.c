/* SPDX-License-Identifier: Apache-2.0 */

/* Namespaces, mounts, the root, and layers that show in the reports only. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/audit_internal.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif
#define SPACE_LANDLOCK_VERSION 1u

static const struct {
	enum audit_check check;
	const char *file;
	const char *downgrade;
} space_namespaces[AUDIT_NAMESPACES] = {
	{AUDIT_NS_USER, "ns/user", "user namespace"},
	{AUDIT_NS_MNT, "ns/mnt", "mount namespace"},
	{AUDIT_NS_PID, "ns/pid", "pid namespace"},
	{AUDIT_NS_NET, "ns/net", "net namespace"},
	{AUDIT_NS_IPC, "ns/ipc", "ipc namespace"},
	{AUDIT_NS_UTS, "ns/uts", "uts namespace"},
	{AUDIT_NS_CGROUP, "ns/cgroup", "cgroup namespace"},
};

static uint64_t space_ino(int dir, const char *file)
{
	struct stat st;

	return fstatat(dir, file, &st, 0) < 0 ? 0 : st.st_ino;
}

/* Distinct from the broker's, the auditor's and every sibling's. */
static void space_namespace(struct audit *a, int self, unsigned int i)
{
	enum audit_check check = space_namespaces[i].check;
	uint64_t own = space_ino(a->proc, space_namespaces[i].file);

	a->r->ns.ino[i] = own;
	if (!own) {
		if (errno == ENOENT &&
		    audit_lacks(a, space_namespaces[i].downgrade))
			audit_set(a, check, AUDIT_LACKS, "not in this kernel");
		else
			audit_unread(a, check, space_namespaces[i].file);
		return;
	}
	if (own == space_ino(self, space_namespaces[i].file) ||
	    own == space_ino(a->parent, space_namespaces[i].file)) {
		if (audit_lacks(a, space_namespaces[i].downgrade))
			audit_set(a, check, AUDIT_LACKS, "%s",
				  "the host gave none");
		else
			audit_set(a, check, AUDIT_FAIL, "it is the broker's");
		return;
	}
	for (unsigned int k = 0; k < a->num_others; k++)
		if (a->others[k].ino[i] == own) {
			audit_set(a, check, AUDIT_FAIL,
				  "shared with another process of the VM");
			return;
		}
	audit_set(a, check, AUDIT_PASS, NULL);
}

static void space_map(struct audit *a, enum audit_check check, const char *file,
		      unsigned int host)
{
	unsigned int inside = 0, outside = 0, count = 0, more;
	int n = audit_read(a, a->proc, file), fields;

	if (audit_lacks(a, "user namespace")) {
		audit_set(a, check, AUDIT_LACKS, "no user namespace");
		return;
	}
	fields = n < 0 ? 0
		       : sscanf(a->text, "%u %u %u %u", &inside, &outside,
				&count, &more);
	audit_that(a, check,
		   fields == 3 && inside == SANDBOX_INNER_ID &&
			   outside == host && count == 1,
		   "%.60s", a->text);
}

static unsigned int space_lines(const char *s)
{
	unsigned int n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

/* "sockets: used N" counts all families; walking net/tcp would take as long
 * as the rest of the audit. */
static void space_network(struct audit *a)
{
	const char *used;
	int n = audit_read(a, a->proc, "net/dev");

	errno = n < 0 ? -n : 0;
	if (n < 0)
		audit_unread(a, AUDIT_NET_EMPTY, "/proc/<pid>/net/dev");
	else
		audit_that(a, AUDIT_NET_EMPTY,
			   space_lines(a->text) == 3 && strstr(a->text, " lo:"),
			   "%u interfaces", space_lines(a->text) - 2);
	n = audit_read(a, a->proc, "net/sockstat");
	errno = n < 0 ? -n : 0;
	if (n < 0) {
		audit_unread(a, AUDIT_NET_SOCKETS, "/proc/<pid>/net/sockstat");
		return;
	}
	used = strstr(a->text, "sockets: used ");
	audit_that(a, AUDIT_NET_SOCKETS,
		   used && strtol(used + 14, NULL, 10) == 0, "%.60s",
		   used ? used : a->text);
}

static void space_cgroup(struct audit *a)
{
	auto_free char *broker = NULL;

	audit_read(a, a->parent, "cgroup");
	broker = strdup(a->text);
	audit_read(a, a->proc, "cgroup");
	if (a->x->creator && broker && strcmp(broker, a->text))
		audit_set(a, AUDIT_CGROUP, AUDIT_LACKS,
			  "where its broker, %d, was: %.60s",
			  (int)a->x->creator, a->text);
	else
		audit_that(a, AUDIT_CGROUP, broker && !strcmp(broker, a->text),
			   "%.60s", a->text);
}

void audit_namespaces(struct audit *a)
{
	auto_fd self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t children;

	for (unsigned int i = 0; i < AUDIT_NAMESPACES; i++)
		space_namespace(a, self, i);
	children = space_ino(a->proc, "ns/pid_for_children");
	if (!children)
		audit_unread(a, AUDIT_NS_CHILDREN, "ns/pid_for_children");
	else
		audit_that(a, AUDIT_NS_CHILDREN, children == a->r->ns.ino[2],
			   "%" PRIu64, children);
	space_map(a, AUDIT_UID_MAP, "uid_map", a->x->uid);
	space_map(a, AUDIT_GID_MAP, "gid_map", a->x->gid);
	space_network(a);
	space_cgroup(a);
}

/* ---- mounts ---- */

static bool space_option(const char *options, const char *want)
{
	size_t len = strlen(want);

	while (options && *options) {
		if (!strncmp(options, want, len) &&
		    (options[len] == ',' || !options[len]))
			return true;
		options = strchr(options, ',');
		if (options)
			options++;
	}
	return false;
}

/*
 * "84 50 0:52 / / ro,nosuid,nodev,noexec,relatime [shared:N] - tmpfs none
 * ro,size=4k,nr_inodes=2,mode=111" is all there may be.
 */
static void space_mountinfo(struct audit *a)
{
	char options[128] = "", type[32] = "", super[128] = "", point[64] = "";
	int n = audit_read(a, a->proc, "mountinfo");
	const char *dash = strstr(a->text, " - ");

	if (n < 0) {
		errno = -n;
		for (unsigned int i = AUDIT_MOUNT_ONE; i <= AUDIT_MOUNT_PRIVATE;
		     i++)
			audit_unread(a, i, "/proc/<pid>/mountinfo");
		return;
	}
	audit_that(a, AUDIT_MOUNT_ONE, space_lines(a->text) == 1, "%u mounts",
		   space_lines(a->text));
	if (sscanf(a->text, "%*d %*d %*s %*s %63s %127s", point, options) !=
		    2 ||
	    !dash || sscanf(dash + 3, "%31s %*s %127s", type, super) != 2)
		snprintf(type, sizeof(type), "unknown");
	audit_that(a, AUDIT_MOUNT_TYPE,
		   !strcmp(type, "tmpfs") && !strcmp(point, "/"), "%s at %s",
		   type, point);
	audit_that(a, AUDIT_MOUNT_SIZE,
		   space_option(super, "size=4k") &&
			   space_option(super, "nr_inodes=2"),
		   "%s", super);
	audit_that(a, AUDIT_MOUNT_RO,
		   space_option(options, "ro") && space_option(super, "ro"),
		   "%s; %s", options, super);
	audit_that(a, AUDIT_MOUNT_FLAGS,
		   space_option(options, "nosuid") &&
			   space_option(options, "nodev") &&
			   space_option(options, "noexec"),
		   "%s", options);
	audit_that(a, AUDIT_MOUNT_PRIVATE,
		   dash && !strstr(a->text, " shared:") &&
			   !strstr(a->text, " master:"),
		   "%.60s", a->text);
}

/* By the process's own root link: mountinfo tells of mounts only. */
static void space_root(struct audit *a)
{
	auto_fd fd =
		openat(a->proc, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	unsigned int n = 0;
	struct stat st, cwd;

	if (!dir) {
		audit_unread(a, AUDIT_ROOT_EMPTY, "/proc/<pid>/root");
	} else {
		take_fd(&fd);
		while ((d = readdir(dir)))
			n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
		closedir(dir);
		audit_that(a, AUDIT_ROOT_EMPTY, n == 0, "%u entries", n);
	}
	if (fstatat(a->proc, "root", &st, 0) < 0 ||
	    fstatat(a->proc, "cwd", &cwd, 0) < 0) {
		audit_unread(a, AUDIT_ROOT_MODE, "/proc/<pid>/root");
		audit_unread(a, AUDIT_CWD, "/proc/<pid>/cwd");
		return;
	}
	audit_that(a, AUDIT_ROOT_MODE, (st.st_mode & 07777) == 0111, "mode %o",
		   (unsigned)st.st_mode & 07777);
	audit_that(a, AUDIT_CWD,
		   st.st_dev == cwd.st_dev && st.st_ino == cwd.st_ino,
		   "another folder");
}

/*
 * Landlock, MDWE and the keyring show nowhere outside the process. It reports
 * them after the calls succeeded, and is believed only where the host agrees:
 * "not in this kernel" is false where the auditor finds the layer.
 */
static void space_reported(struct audit *a)
{
	bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0,
				SPACE_LANDLOCK_VERSION) > 0;

	if (audit_told(a, "landlock-"))
		audit_set(a, AUDIT_LANDLOCK, AUDIT_REPORTED,
			  "the program ends itself if the kernel refuses it");
	else if (audit_lacks(a, "landlock") && !landlock)
		audit_set(a, AUDIT_LANDLOCK, AUDIT_LACKS, "not in this kernel");
	else
		audit_set(a, AUDIT_LANDLOCK, AUDIT_FAIL, "not reported");
	if (audit_told(a, "mdwe"))
		audit_set(a, AUDIT_MDWE, AUDIT_REPORTED,
			  "set before exec, asked for again by the program");
	else if (audit_lacks(a, "mdwe") && prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0)
		audit_set(a, AUDIT_MDWE, AUDIT_LACKS, "not in this kernel");
	else
		audit_set(a, AUDIT_MDWE, AUDIT_FAIL, "not reported");
	if (audit_lacks(a, "session keyring"))
		audit_set(a, AUDIT_KEYRING, AUDIT_LACKS, "not in this kernel");
	else
		audit_set(a, AUDIT_KEYRING, AUDIT_REPORTED,
			  "the broker saw no error when it was made");
}

void audit_mounts(struct audit *a)
{
	space_mountinfo(a);
	space_root(a);
	space_reported(a);
}
