/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_JSON_OUT_H
#define BROKER_JSON_OUT_H

/**
 * json_text() - Print a JSON string to standard output
 *
 * The texts come from other processes: what is not plain ASCII is escaped.
 */
void json_text(const char *s);

#endif
