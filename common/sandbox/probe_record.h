/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SANDBOX_PROBE_RECORD_H
#define COMMON_SANDBOX_PROBE_RECORD_H

/*
 * What `bulkhead audit --probe` and bulkhead-probe-role say to each other: a
 * request over the channel, then records through the log pipe. Both are of
 * one build and of one machine; the auditor still checks every field, since
 * the probe behaves badly by trade.
 */

#include <stdint.h>

enum probe_how {
	PROBE_END_NOT_TRIED,
	PROBE_END_WORKED, /* nothing denied it */
	PROBE_END_FILTER, /* killed by the system call filter */
	PROBE_END_SIGNAL, /* killed otherwise: memory protection */
	PROBE_END_ERROR,  /* the kernel said no */
	PROBE_END_BROKEN, /* the probe itself could not go on */
	PROBE_NUM_ENDS,
};

struct probe_end {
	uint32_t how; /* enum probe_how */
	int32_t error;
	int32_t signal;
};

enum probe_kind {
	PROBE_RECORD_ATTEMPT,
	PROBE_RECORD_SMUGGLE, /* a message lies in the channel */
	PROBE_RECORD_END,
};

struct probe_record {
	uint32_t kind;	/* enum probe_kind */
	uint32_t count; /* attempts that this stands for */
	char group[16];
	char name[56];
	struct probe_end locked; /* behind all walls */
	struct probe_end open;	 /* without the filter */
};

struct probe_request {
	char profile[16];
	uint64_t nproc; /* the role's limit, which the probe's forks need not
			 * keep */
};

#endif
