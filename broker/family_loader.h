/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_FAMILY_LOADER_H
#define BROKER_FAMILY_LOADER_H

/* The conversation with the loader. */

#include "broker/family.h"

int family_loader_start(struct family *f, struct err *e);
/** family_loader_load() - Once there is memory to load into */
int family_loader_load(struct family *f, struct err *e);

#endif
