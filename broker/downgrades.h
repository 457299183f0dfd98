/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_DOWNGRADES_H
#define BROKER_DOWNGRADES_H

struct family;

/** downgrades_tell() - Warn of each layer of the sandbox that this host lacks,
 *  once for all processes and all restarts of the guest */
void downgrades_tell(struct family *f);

#endif
