/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_AUDIT_INTERNAL_H
#define BROKER_AUDIT_INTERNAL_H

/* Shared by the parts of audit_process(). */

#include "broker/audit.h"

#define AUDIT_TEXT_MAX	  (1 << 20) /* the largest file of /proc that is read */
#define AUDIT_THREADS_MAX 512

struct audit_thread {
	pid_t tid;
	char name[20];
	bool kernel; /* made by the kernel: io_uring's, KVM's */
};

struct audit {
	const struct audit_expect *x;
	const struct audit_ns *others;
	unsigned int num_others;
	struct audit_result *r;
	int proc;   /* /proc/<pid> */
	int parent; /* /proc/<broker> */
	int pidfd;
	char *text; /* AUDIT_TEXT_MAX: what audit_read() read last */
	char exe[256];
	struct audit_thread threads[AUDIT_THREADS_MAX];
	unsigned int num_threads;
};

/** audit_set() - The result of a check; it only ever gets worse. @fmt NULL =
 *  "" */
void audit_set(struct audit *a, enum audit_check check, enum audit_state state,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** audit_that() - Pass if @holds, else FAIL with the text */
void audit_that(struct audit *a, enum audit_check check, bool holds,
		const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** audit_unread() - errno says why something could not be read */
void audit_unread(struct audit *a, enum audit_check check, const char *what);

/** audit_read() - A file below @dir into a->text; Return: length or -errno */
int audit_read(struct audit *a, int dir, const char *file);

/** audit_field() - What follows "<key>:" at the start of a line of @text
 *  Return: NULL if there is none */
const char *audit_field(const char *text, const char *key);
/** audit_line() - Copy up to the end of the line, without outer blanks */
void audit_line(const char *s, char *ret, size_t len);

/** audit_lacks() - Did broker or program name a downgrade that starts so? */
bool audit_lacks(const struct audit *a, const char *start);
bool audit_told(const struct audit *a, const char *start);

void audit_note(struct audit *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The parts. */
void audit_program(struct audit *a); /* audit_task.c */
void audit_status(struct audit *a);
void audit_threads(struct audit *a);
void audit_limits(struct audit *a);
void audit_namespaces(struct audit *a); /* audit_space.c */
void audit_mounts(struct audit *a);
void audit_fds(struct audit *a);     /* audit_fds.c */
void audit_maps(struct audit *a);    /* audit_maps.c */
void audit_filters(struct audit *a); /* audit_filter.c */

#endif
