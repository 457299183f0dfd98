/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_PROGRAMS_H
#define BROKER_PROGRAMS_H

/*
 * The executables of the family. They stand beside `bulkhead` itself or in
 * ../libexec/bulkhead; they are opened once, so that a restart runs the same
 * file even if the installation changes meanwhile.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

/** programs_open() - Open every program; the error names the missing one */
int programs_open(struct err *e);
void programs_close(void);

/** programs_look_again() - Open what is installed as @role's program now, as
 *  the candidate of an upgrade */
int programs_look_again(const char *role, struct err *e);
/** programs_accept() - The candidate serves: start others from it, too */
void programs_accept(const char *role);

/** programs_fd() - Descriptor of `bulkhead-<role>`; owned here */
int programs_fd(const char *role, bool candidate);

/** programs_open_probe() - bulkhead-probe-role, which no VM needs; after
 *  programs_open(); Return: a descriptor, the caller's, or -errno */
int programs_open_probe(struct err *e);

/** programs_is_original() - Is that the file which was opened first? */
bool programs_is_original(const char *role, uint64_t dev, uint64_t ino);

/** programs_null_fd() - /dev/null, for every child's descriptors 0 and 1 */
int programs_null_fd(void);

#endif
