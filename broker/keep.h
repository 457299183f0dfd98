/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_KEEP_H
#define BROKER_KEEP_H

/*
 * The broker's end of its keeper (keeper/): a confined process that holds
 * duplicates of the descriptors and the broker's notes (proto/keeper.proto),
 * so that the VM outlives its broker and `bulkhead adopt` can go on.
 *
 * Nothing waits for the keeper: what was sent is in its socket, where it is
 * safe if the broker dies in the next instant. A keeper that ends is replaced;
 * until then the VM ends with its broker.
 */

#include <stdbool.h>

#include "broker/family.h"

struct keep;

/**
 * keep_new() - Give @f a keeper, which starts once the guest runs
 * @name:      Of the VM
 * @argv:      Of `bulkhead run`; must live as long as the family
 * @listen_fd: Where commands connect; likewise
 */
int keep_new(struct family *f, const char *name, int argc, char **argv,
	     int listen_fd, struct err *e);

/** keep_adopt() - The keeper that handed everything over
 *  @fds: As child_keep() gave them; taken over on success, as @channel */
int keep_adopt(struct family *f, const Bulkhead__KeptProcess *m, int *fds,
	       struct channel *channel, struct err *e);

/* All of these do nothing for a family without keeper. */

/** keep_all() - The guest runs: from now on it survives the broker */
void keep_all(struct family *f);
/** keep_core() - Another broker's turn: the next one must know */
void keep_core(struct family *f);
/** keep_device() - A device's process, region or client changed */
void keep_device(struct session *s);
/** keep_forget() - The processes are about to end */
void keep_forget(struct family *f);
/** keep_free() - End the keeper */
void keep_free(struct family *f);

/** keep_held() - Our side of each descriptor that the keeper has been given,
 *  for audits; Return: their number, or -E2BIG */
int keep_held(const struct family *f, int *ret, unsigned int max);

/** keep_is_holding() - Would the VM outlive its broker? */
bool keep_is_holding(const struct family *f);

/** keep_is_busy() - Has it not yet taken all that it was sent? */
bool keep_is_busy(const struct family *f);

/** keep_child() - The keeper's process, NULL if there is none */
struct child *keep_child(const struct family *f);

#endif
