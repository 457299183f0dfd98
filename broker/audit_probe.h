/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_AUDIT_PROBE_H
#define BROKER_AUDIT_PROBE_H

/* `bulkhead audit --probe`: escapes attempted from each role's sandbox. */

#include <stdbool.h>

/** audit_probe() - The command; @roles: NULL-terminated, none = all
 *  Return: its exit status */
int audit_probe(char **roles, bool json, bool verbose, bool colour);

#endif
