/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SANDBOX_CHECK_H
#define TESTS_SANDBOX_CHECK_H

/* Shared by the parts of sandbox-check: results, and one confined probe. */

#include <stdbool.h>
#include <stdint.h>

#include "common/sandbox/sandbox.h"
#include "tests/sandbox/probe.h"

#define CHECK_HOST_ID 54321 /* what the child becomes when we are root */

/* A result: one line on standard output. */
void check_ok(const char *name);
void check_fail(const char *name, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void check_skip(const char *name, const char *why);
/** check_that() - ok if @cond, else FAIL with @why */
void check_that(const char *name, bool cond, const char *why);

extern const struct sandbox_manifest check_manifest;
extern int check_program_fd, check_null_fd;

struct probe {
	struct sandbox_child child;
	int channel;
	int log;
};

/** probe_begin() - As sandbox_spawn_begin(), with a channel and a log */
int probe_begin(struct probe *p, const struct sandbox_manifest *m,
		bool die_with_parent, struct err *e);
int probe_start(struct probe *p, struct err *e);
void probe_stop(struct probe *p);
/** probe_ask() - One attempt; Return: false if the probe is gone */
bool probe_ask(struct probe *p, const char *name, uint32_t stage, int32_t value,
	       struct probe_reply *ret);
bool probe_has_downgrade(const struct probe *p, const char *start);

/** check_count_entries() - Of a folder of /proc/<pid>, -1 if unreadable */
int check_count_entries(pid_t pid, const char *folder);

/* check_inside.c: what the probe may and may not do */
void check_inside(struct probe *p);
void check_host_network(struct probe *p);
/* check_outside.c: locks the probe, then looks into /proc */
void check_outside(struct probe *p);
/* check_life.c: starts, ends and errors */
void check_speed(void);
void check_end_of_channel(void);
void check_no_children(const char *name);
void check_bad_program(const char *program);
void check_crossed_descriptors(void);
void check_parent_death(const char *name, bool die_with_parent);
void check_without_user_namespaces(bool keep_caps);
/* check_host.c: callers that are allowed less */
void check_hosts(void);

#endif
