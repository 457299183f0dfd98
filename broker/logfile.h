/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_LOGFILE_H
#define BROKER_LOGFILE_H

/* Where the broker's and its children's log lines go, with their time. */

#include "common/base/err.h"

/** logfile_open() - Append to @path, or to standard error if NULL */
int logfile_open(const char *path, int verbosity, struct err *e);

/** logfile_notice() - What the user needs to know however little he logs */
void logfile_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
