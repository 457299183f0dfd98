/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_TERMINAL_H
#define BROKER_TERMINAL_H

/*
 * The user's terminal while a guest's console is on it: raw, so that every
 * key reaches the guest, and put back however the broker ends.
 */

#include <stdint.h>

#include "common/base/err.h"

/** terminal_raw() - Switch standard input's terminal to raw mode; nothing if
 *  it is none. Undone by terminal_restore(), at exit and on fatal signals. */
int terminal_raw(struct err *e);
void terminal_restore(void);

/** terminal_size() - Of standard output; 0 x 0 if it is no terminal */
void terminal_size(uint32_t *ret_cols, uint32_t *ret_rows);

#endif
