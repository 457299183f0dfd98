/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_AUDIT_MUTANTS_H
#define TESTS_AUDIT_MUTANTS_H

/*
 * Each mutant lacks one wall. The outer ones are made by wrapping what
 * common/sandbox calls (linker option --wrap, in this test only: the sources
 * have no switch), the inner ones by the victim, a stand-in for bulkhead-rng
 * that does not check its own confinement.
 */

#include <stdint.h>

#include "common/sandbox/sandbox.h"

enum mutant_id {
#define MUTANT(id, name, caught) MUTANT_##id,
#include "tests/audit/mutants_list.h"
#undef MUTANT
	MUTANT_NUM,
};

extern enum mutant_id mutant;

/* Descriptors that the victim gets. */
enum victim_fd {
	VICTIM_MEMORY, /* a memfd, to map */
	VICTIM_SOURCE, /* /dev/urandom */
	VICTIM_EXTRA,  /* by mutant; else as VICTIM_SOURCE */
	VICTIM_NUM_FDS,
};

struct victim_request {
	uint32_t mutant;
};

struct victim_reply {
	struct sandbox_report report;
};

#endif
