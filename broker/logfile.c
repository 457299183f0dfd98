/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"

static int logfile_fd = STDERR_FILENO;
static bool logfile_is_file;
static struct timespec logfile_start;

/*
 * A file gets every line with its level and time; a terminal gets plain
 * sentences, with the level in colour, as long as nobody asks for more.
 */
static void logfile_sink(enum log_level level, const char *line)
{
	static const char *const names[] = {"error", "warning", "info", "debug",
					    "trace"};
	static const char *const colours[] = {"\033[31m", "\033[33m", "", "",
					      ""};
	struct timespec now;
	char buf[LOG_LINE_MAX + 64];
	double t;
	int n;

	clock_gettime(CLOCK_MONOTONIC, &now);
	t = (double)(now.tv_sec - logfile_start.tv_sec) +
	    (double)(now.tv_nsec - logfile_start.tv_nsec) / 1e9;
	if (logfile_is_file || log_get_level() > LOG_WARN)
		n = snprintf(buf, sizeof(buf), "[%10.6f] %s: %s\n", t,
			     names[level], line);
	else if (isatty(logfile_fd))
		n = snprintf(buf, sizeof(buf), "bulkhead: %s%s%s: %s\n",
			     colours[level], names[level],
			     colours[level][0] ? "\033[0m" : "", line);
	else
		n = snprintf(buf, sizeof(buf), "bulkhead: %s: %s\n",
			     names[level], line);
	if (n > (int)sizeof(buf) - 1)
		n = (int)sizeof(buf) - 1;
	/* A log that can't be written must not end the VM. */
	if (write(logfile_fd, buf, (size_t)n) < 0)
		errno = 0;
}

int logfile_open(const char *path, int verbosity, struct err *e)
{
	clock_gettime(CLOCK_MONOTONIC, &logfile_start);
	log_set_level(verbosity >= 3   ? LOG_TRACE
		      : verbosity == 2 ? LOG_DEBUG
		      : verbosity == 1 ? LOG_INFO
				       : LOG_WARN);
	log_set_sink(logfile_sink);
	if (!path)
		return 0;
	logfile_fd = open(path,
			  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY |
				  O_NONBLOCK,
			  0640);
	if (logfile_fd < 0) {
		logfile_fd = STDERR_FILENO;
		return err_errno(e, "--log-file %s: cannot open it for writing",
				 path);
	}
	logfile_is_file = true;
	return 0;
}

void logfile_notice(const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	logfile_sink(LOG_INFO, line);
}
