/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_RUN_H
#define BROKER_RUN_H

/* What `bulkhead run` and `bulkhead adopt` share. */

#include "broker/config.h"
#include "broker/family.h"

/** run_parse() - The words of `bulkhead run`
 *  Return: -1 to go on, else the exit status */
int run_parse(struct config *c, int argc, char **argv);

int run_watch_signals(struct loop *loop, struct family *f, struct err *e);

/** run_on_settled() - family.on_settled */
void run_on_settled(struct family *f);

#endif
