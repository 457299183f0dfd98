/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

/*
 * An error that a person can act on. Functions that prepare something return
 * a negative errno and fill a struct err with one sentence: what was tried, on
 * what, why it failed, what to do.
 */

#define ERR_TEXT_MAX 512 /* bytes, with the terminating NUL */

struct err {
	int code;		 /* negative errno, 0 = none */
	char text[ERR_TEXT_MAX]; /* "" = none */
};

/**
 * err_set() - Record an error and return its code
 * @e:    May be NULL
 * @code: Negative errno
 * @fmt:  Sentence without the errno text and without a final full stop
 *
 * Return: @code, so that callers write `return err_set(e, -EINVAL, ...)`
 */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * err_errno() - Like err_set() with @code = -errno, appending ": <errno text>"
 */
int err_errno(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * err_prefix() - Put "<context>: " before the recorded sentence
 *
 * Return: e->code, or 0 when @e is NULL
 */
int err_prefix(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * check() - Assert that we, not a peer, made no mistake; in every build
 *
 * The sandbox contains the abort, the broker restarts the process. Never use
 * it on what came from a guest, a peer or the host.
 */
#define check(cond)                                                            \
	do {                                                                   \
		if (__builtin_expect(!(cond), 0))                              \
			check_failed(#cond, __FILE__, __LINE__);               \
	} while (0)

_Noreturn void check_failed(const char *cond, const char *file, int line);

#endif
