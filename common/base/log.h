/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

/*
 * One line per event to descriptor 2. The broker gives every child a pipe
 * there, reads it as hostile text, and writes it to the log with a time and
 * the child's role; so a line is "<level-letter> text\n", at most
 * LOG_LINE_MAX bytes, in one write(2).
 */

#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE_MAX 512

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/** log_set_level() - Drop lines above @level (default LOG_WARN) */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/** log_set_sink() - Broker only: replace the write to descriptor 2 */
void log_set_sink(void (*sink)(enum log_level level, const char *line));

/** log_line() - Write one line; @sys: profile all write(fd 2), never blocks */
void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_line(LOG_TRACE, __VA_ARGS__)

/*
 * What a guest or a peer can cause is logged through a budget: at most
 * @burst lines, refilled by one each LOG_LIMIT_REFILL_MS; the rest is counted
 * and the count is told with the next line that passes.
 */
#define LOG_LIMIT_REFILL_MS 1000

struct log_limit {
	uint32_t left;
	uint32_t burst;
	uint32_t dropped;
	uint64_t refilled_ms;
};

#define LOG_LIMIT_INIT(n)                                                      \
	{                                                                      \
		.left = (n), .burst = (n)                                      \
	}

bool log_limit_pass(struct log_limit *l);

#define log_limited(limit, level, ...)                                         \
	do {                                                                   \
		if (log_limit_pass(limit))                                     \
			log_line(level, __VA_ARGS__);                          \
	} while (0)

#endif
