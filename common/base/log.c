/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static enum log_level log_level = LOG_WARN;
static void (*log_sink)(enum log_level level, const char *line);

void log_set_level(enum log_level level)
{
	log_level = level;
}

enum log_level log_get_level(void)
{
	return log_level;
}

void log_set_sink(void (*sink)(enum log_level level, const char *line))
{
	log_sink = sink;
}

/*
 * @sys all,vcpu write: log lines and event descriptors
 */
void log_line(enum log_level level, const char *fmt, ...)
{
	static const char letters[] = "EWIDT";
	char line[LOG_LINE_MAX];
	int saved = errno;
	va_list ap;
	int n, m;

	if (level > log_level)
		return;
	n = snprintf(line, sizeof(line), "%c ", letters[level]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n += m;
	if ((size_t)n > sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	if (log_sink) {
		line[n] = '\0';
		log_sink(level, line + 2);
	} else {
		line[n++] = '\n';
		/* Lost lines are better than a stalled device. */
		if (write(STDERR_FILENO, line, (size_t)n) < 0)
			errno = 0;
	}
	errno = saved;
}

/*
 * @sys all,vcpu clock_gettime: rate limits, where the vDSO has no clock
 */
bool log_limit_pass(struct log_limit *l)
{
	struct timespec ts;
	uint64_t now, gained;

	if (clock_gettime(CLOCK_MONOTONIC_COARSE, &ts) < 0)
		return false;
	now = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	gained = (now - l->refilled_ms) / LOG_LIMIT_REFILL_MS;
	if (gained) {
		l->refilled_ms = now;
		l->left = gained >= l->burst - l->left
				  ? l->burst
				  : l->left + (uint32_t)gained;
	}
	if (!l->left) {
		l->dropped++;
		return false;
	}
	l->left--;
	if (l->dropped) {
		log_line(LOG_WARN, "%u similar messages left out", l->dropped);
		l->dropped = 0;
	}
	return true;
}
