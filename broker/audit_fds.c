/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each open descriptor, by a duplicate of it (pidfd_getfd): what the kernel
 * says about the duplicate it says about the original, whatever paths mean.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "broker/audit_internal.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

#define FDS_MAX	      8192
#define FDS_CORE_SLOP 32 /* event descriptors of the machine itself */

enum fds_kind {
	FDS_PIPE,
	FDS_SOCKET,
	FDS_EPOLL,
	FDS_EVENTFD,
	FDS_URING,
	FDS_KVM,
	FDS_KVM_VM,
	FDS_KVM_VCPU,
	FDS_MEMFD,
	FDS_NUM_COUNTED,
	FDS_BACKEND = FDS_NUM_COUNTED, /* judged by identity */
	FDS_DIRECTORY,
	FDS_OTHER,
};

static const char *const fds_names[FDS_NUM_COUNTED] = {
	"pipe",	  "socket",   "epoll", "eventfd", "io_uring", "hypervisor (VM)",
	"kvm-vm", "kvm-vcpu", "memfd",
};

struct fds {
	struct audit *a;
	unsigned int count[FDS_NUM_COUNTED];
	bool used[AUDIT_FILES_MAX];
	unsigned int total;
	unsigned int twice; /* a keeper's */
	uint64_t pipe_ino;  /* both ends of the one private pipe */
	unsigned int clients;
};

static const char *fds_link(int fd, char *ret, size_t len)
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, ret, len - 1);
	ret[n < 0 ? 0 : n] = '\0';
	return ret;
}

static enum fds_kind fds_classify(const struct stat *st, const char *link)
{
	static const struct {
		const char *start;
		enum fds_kind kind;
	} anon[] = {
		{"anon_inode:[eventfd]", FDS_EVENTFD},
		{"anon_inode:[eventpoll]", FDS_EPOLL},
		{"anon_inode:[io_uring]", FDS_URING},
		{"anon_inode:kvm-vm", FDS_KVM_VM},
		{"anon_inode:kvm-vcpu:", FDS_KVM_VCPU},
	};

	switch (st->st_mode & S_IFMT) {
	case S_IFDIR:
		return FDS_DIRECTORY;
	case S_IFIFO:
		return FDS_PIPE;
	case S_IFSOCK:
		return FDS_SOCKET;
	case S_IFCHR:
		if (major(st->st_rdev) == 10 && minor(st->st_rdev) == 232)
			return FDS_KVM;
		return FDS_BACKEND;
	case S_IFBLK:
		return FDS_BACKEND;
	case S_IFREG:
		return strncmp(link, "/memfd:", 7) ? FDS_BACKEND : FDS_MEMFD;
	default:
		break;
	}
	for (size_t i = 0; i < ARRAY_SIZE(anon); i++)
		if (!strncmp(link, anon[i].start, strlen(anon[i].start)))
			return anon[i].kind;
	return FDS_OTHER;
}

/* ---- the four that every program has ---- */

static void fds_null(struct audit *a, int fd, const struct stat *st)
{
	audit_that(a, AUDIT_FD_NULL,
		   S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3),
		   "descriptor %d: mode %o, device %u:%u", fd,
		   (unsigned)st->st_mode, major(st->st_rdev),
		   minor(st->st_rdev));
}

static int fds_socket_option(int fd, int option)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, option, &v, &len) < 0 ? -1 : v;
}

static void fds_channel(struct audit *a, int dup)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	/* A keeper has got a new one. */
	bool old = a->x->creator && strcmp(a->x->role, "keeper");
	int type = fds_socket_option(dup, SO_TYPE);
	int domain = fds_socket_option(dup, SO_DOMAIN);

	getsockopt(dup, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	audit_that(a, AUDIT_FD_CHANNEL,
		   domain == AF_UNIX && type == SOCK_SEQPACKET &&
			   cred.pid == (old ? a->x->creator : a->x->parent),
		   "family %d, type %d, peer %d", domain, type, (int)cred.pid);
}

static void fds_standard(struct audit *a, int fd, int dup,
			 const struct stat *st, int access)
{
	if (fd <= SANDBOX_FD_NULL1)
		fds_null(a, fd, st);
	else if (fd == SANDBOX_FD_LOG)
		audit_that(a, AUDIT_FD_LOG,
			   S_ISFIFO(st->st_mode) && access == O_WRONLY,
			   "mode %o, access %d", (unsigned)st->st_mode, access);
	else
		fds_channel(a, dup);
}

/* ---- the others ---- */

/* Is it one of the files that this process was given? */
static bool fds_is_backend(struct fds *f, int fd, int dup)
{
	struct audit *a = f->a;
	bool keeper = !strcmp(a->x->role, "keeper");
	bool known = false;
	struct audit_file own;

	if (audit_describe_file(dup, &own) < 0)
		return false;
	for (unsigned int i = 0; i < a->x->num_backends; i++) {
		const struct audit_file *want = &a->x->backends[i];

		if (own.dev != want->dev || own.ino != want->ino ||
		    own.rdev != want->rdev || strcmp(own.name, want->name))
			continue;
		known = true;
		/* A keeper that is given another process's descriptors has the
		 * back end's twice for a moment. */
		if (keeper && own.access == want->access && f->used[i]) {
			f->twice++;
			return true;
		}
		if (f->used[i] || own.access != want->access)
			continue;
		f->used[i] = true;
		return true;
	}
	if (known)
		audit_set(a, AUDIT_FD_ACCESS, AUDIT_FAIL,
			  "descriptor %d: access %u, or one time too often", fd,
			  own.access);
	return known;
}

static bool fds_is_region(const struct audit *a, const struct stat *st)
{
	for (unsigned int i = 0; i < a->x->num_regions; i++)
		if (a->x->regions[i].dev == st->st_dev &&
		    a->x->regions[i].ino == st->st_ino)
			return true;
	return false;
}

static void fds_memfd(struct fds *f, int fd, int dup, const struct stat *st)
{
	const int need = F_SEAL_GROW | F_SEAL_SHRINK;
	int seals = fcntl(dup, F_GET_SEALS);

	audit_that(f->a, AUDIT_FD_MEMORY, fds_is_region(f->a, st),
		   "descriptor %d is another memfd", fd);
	audit_that(f->a, AUDIT_FD_SEALS, seals >= 0 && (seals & need) == need,
		   "descriptor %d has seals %#x", fd, (unsigned)seals);
}

/* libevent's signal pipe: its two ends, one to read, one to write. */
static void fds_pipe(struct fds *f, int fd, const struct stat *st, int access)
{
	if (!f->pipe_ino)
		f->pipe_ino = st->st_ino;
	audit_that(f->a, AUDIT_FD_KINDS, f->pipe_ino == st->st_ino,
		   "descriptor %d is a second pipe", fd);
	audit_that(f->a, AUDIT_FD_ACCESS, access != O_RDWR,
		   "descriptor %d: both ends of a pipe at once", fd);
}

/* A client of a console's socket, handed over by the broker. */
static void fds_socket(struct fds *f, int fd, int dup)
{
	bool client = fds_socket_option(dup, SO_DOMAIN) == AF_UNIX &&
		      fds_socket_option(dup, SO_TYPE) == SOCK_STREAM &&
		      fds_socket_option(dup, SO_ACCEPTCONN) == 0;

	f->clients++;
	audit_that(f->a, AUDIT_FD_SOCKETS,
		   client && f->clients <= f->a->x->clients,
		   "descriptor %d: family %d, type %d", fd,
		   fds_socket_option(dup, SO_DOMAIN),
		   fds_socket_option(dup, SO_TYPE));
}

/* Registered files, and no kernel thread that polls for submissions. */
static void fds_uring(struct fds *f, int fd)
{
	struct audit *a = f->a;
	const char *files, *thread;
	char path[32];
	long n, tid;
	int r;

	snprintf(path, sizeof(path), "fdinfo/%d", fd);
	r = audit_read(a, a->proc, path);
	if (r < 0) {
		errno = -r;
		audit_unread(a, AUDIT_FD_URING_FILES, path);
		return;
	}
	files = audit_field(a->text, "UserFiles");
	thread = audit_field(a->text, "SqThread");
	n = files ? strtol(files, NULL, 10) : 0;
	tid = thread ? strtol(thread, NULL, 10) : -1;
	audit_that(a, AUDIT_FD_URING_FILES,
		   n <= (long)a->x->num_backends && tid < 0,
		   "%ld files, polling thread %ld", n, tid);
}

static void fds_other(struct fds *f, int fd, int dup, const struct stat *st,
		      int access)
{
	struct audit *a = f->a;
	char link[64];
	enum fds_kind kind =
		fds_classify(st, fds_link(dup, link, sizeof(link)));

	/* Pipes, sockets and files may be a device's own back end; a keeper
	 * has what it was given, whatever it is. */
	if ((!strcmp(a->x->role, "keeper") || kind == FDS_PIPE ||
	     kind == FDS_SOCKET || kind == FDS_BACKEND || kind == FDS_KVM) &&
	    fds_is_backend(f, fd, dup)) {
		if (kind == FDS_KVM)
			f->count[kind]++;
		return;
	}
	if (kind < FDS_NUM_COUNTED)
		f->count[kind]++;
	switch (kind) {
	case FDS_PIPE:
		fds_pipe(f, fd, st, access);
		break;
	case FDS_SOCKET:
		fds_socket(f, fd, dup);
		break;
	case FDS_MEMFD:
		fds_memfd(f, fd, dup, st);
		break;
	case FDS_URING:
		fds_uring(f, fd);
		break;
	case FDS_KVM:
		audit_set(a, AUDIT_FD_KVM, AUDIT_FAIL, "descriptor %d", fd);
		break;
	case FDS_BACKEND:
		audit_set(a,
			  strncmp(link, "/dev/net/tun", 12) ? AUDIT_FD_BACKEND
							    : AUDIT_FD_TUN,
			  AUDIT_FAIL, "descriptor %d is %s", fd, link);
		break;
	case FDS_DIRECTORY:
		audit_set(a, AUDIT_FD_DIRECTORY, AUDIT_FAIL,
			  "descriptor %d is %s", fd, link);
		break;
	case FDS_OTHER:
		audit_set(a, AUDIT_FD_KINDS, AUDIT_FAIL, "descriptor %d is %s",
			  fd, link);
		break;
	default:
		break;
	}
}

/* ---- how many of each ---- */

static void fds_most(const struct audit *a, unsigned int most[FDS_NUM_COUNTED])
{
	const struct audit_expect *x = a->x;
	bool core = !strcmp(x->role, "core");
	bool blk = !strcmp(x->role, "blk");
	unsigned int threads = x->workers ? x->workers : 1;

	memset(most, 0, FDS_NUM_COUNTED * sizeof(*most));
	most[FDS_PIPE] = 2;
	most[FDS_SOCKET] = x->clients;
	/* The network device watches each pair's two ends in a set of its own.
	 */
	most[FDS_EPOLL] = 1 + (core ? 0 : threads) +
			  (strcmp(x->role, "net") ? 0 : threads);
	most[FDS_EVENTFD] = core ? FDS_CORE_SLOP + 4 * x->queues
				 : 2 + 3 * threads + 2 * x->queues;
	most[FDS_URING] = blk ? threads : 0;
	most[FDS_KVM] = core;
	most[FDS_KVM_VM] = core;
	most[FDS_KVM_VCPU] = core ? x->vcpus : 0;
	most[FDS_MEMFD] = x->num_regions;
}

static void fds_judge_counts(struct fds *f)
{
	unsigned int most[FDS_NUM_COUNTED], sum = 0;
	struct audit *a = f->a;

	fds_most(a, most);
	for (int i = 0; i < FDS_NUM_COUNTED; i++) {
		enum audit_check check = AUDIT_FD_KINDS;

		sum += f->count[i];
		if (i == FDS_URING)
			check = AUDIT_FD_URING;
		else if (i >= FDS_KVM && i <= FDS_KVM_VCPU)
			check = AUDIT_FD_KVM;
		else if (i == FDS_MEMFD)
			check = AUDIT_FD_MEMORY;
		else if (i == FDS_SOCKET)
			check = AUDIT_FD_SOCKETS;
		audit_that(a, check, f->count[i] <= most[i],
			   "%u of kind %s, at most %u", f->count[i],
			   fds_names[i], most[i]);
	}
	for (unsigned int i = 0; i < a->x->num_backends; i++)
		sum += f->used[i];
	sum += f->twice;
	audit_that(a, AUDIT_FD_COUNT, f->total <= SANDBOX_NUM_FDS + sum, "%u",
		   f->total);
}

static void fds_one(struct fds *f, int fd)
{
	struct audit *a = f->a;
	auto_fd dup = (int)syscall(SYS_pidfd_getfd, a->pidfd, fd, 0);
	struct stat st;
	int flags;

	/* Closed meanwhile: the process is alive. */
	if (dup < 0 && errno == EBADF)
		return;
	f->total++;
	flags = dup < 0 ? -1 : fcntl(dup, F_GETFL);
	if (flags < 0 || fstat(dup, &st) < 0) {
		audit_unread(a, AUDIT_FD_KINDS, "a descriptor");
		return;
	}
	if (fd < SANDBOX_NUM_FDS)
		fds_standard(a, fd, dup, &st, flags & O_ACCMODE);
	else
		fds_other(f, fd, dup, &st, flags & O_ACCMODE);
}

static void fds_unread(struct audit *a)
{
	int error = errno;

	for (unsigned int i = AUDIT_FD_COUNT; i <= AUDIT_FD_TUN; i++) {
		errno = error;
		audit_unread(a, i, "/proc/<pid>/fdinfo");
	}
}

static void fds_presume(struct audit *a)
{
	for (unsigned int i = AUDIT_FD_COUNT; i <= AUDIT_FD_TUN; i++)
		audit_set(a, i, AUDIT_PASS, NULL);
	audit_set(a, AUDIT_FD_NULL, AUDIT_PASS, NULL);
}

void audit_fds(struct audit *a)
{
	auto_free struct fds *f = calloc(1, sizeof(*f));
	/* Not fd: that one is root's alone. */
	auto_fd folder =
		openat(a->proc, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	auto_fd test = (int)syscall(SYS_pidfd_getfd, a->pidfd, 0, 0);
	struct dirent *d;
	unsigned int standard = 0;

	if (!f || !dir || (test < 0 && errno != EBADF)) {
		fds_unread(a);
		if (dir) {
			take_fd(&folder);
			closedir(dir);
		}
		return;
	}
	take_fd(&folder);
	f->a = a;
	fds_presume(a);
	while ((d = readdir(dir)) && f->total < FDS_MAX) {
		int fd = atoi(d->d_name);

		if (d->d_name[0] == '.')
			continue;
		standard += fd < SANDBOX_NUM_FDS;
		fds_one(f, fd);
	}
	closedir(dir);
	fds_judge_counts(f);
	audit_that(a, AUDIT_FD_COUNT, standard == SANDBOX_NUM_FDS,
		   "%u of the first %d are there", standard, SANDBOX_NUM_FDS);
}
