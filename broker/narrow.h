/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_NARROW_H
#define BROKER_NARROW_H

/*
 * The broker's own confinement. It keeps what restart and hot-plug need (to
 * open host resources, to make and end confined processes) and gives up the
 * rest: other capabilities, being traced, gaining privileges by exec.
 */

#include "common/base/err.h"
#include "common/sandbox/sandbox.h"

int narrow_broker(struct sandbox_report *ret, struct err *e);

#endif
