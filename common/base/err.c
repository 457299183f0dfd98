/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		e->code = code;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
	}
	return code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (e) {
		size_t n;

		e->code = -saved;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
		n = strlen(e->text);
		/* strerrordesc_np() needs no locale, heap or system call. */
		snprintf(e->text + n, sizeof(e->text) - n, ": %s",
			 strerrordesc_np(saved) ? strerrordesc_np(saved)
						: "unknown error");
	}
	return -saved;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char old[ERR_TEXT_MAX];
	va_list ap;
	size_t n;

	if (!e)
		return 0;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	/* A sentence cut at the limit is still a sentence. */
	if (snprintf(e->text + n, sizeof(e->text) - n, ": %s", old) < 0)
		e->text[n] = '\0';
	return e->code;
}

_Noreturn void check_failed(const char *cond, const char *file, int line)
{
	log_error("internal check failed: %s at %s:%d", cond, file, line);
	/* SIGILL needs no system call, so a filter can't turn it into another.
	 */
	__builtin_trap();
}
