/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "common/base/num.h"
#include "common/sandbox/sandbox.h"

Test(sandbox_manifest_find, knows_every_role)
{
	static const char *const roles[][2] = {
		{"blk", "bulkhead-blk"},       {"net", "bulkhead-net"},
		{"rng", "bulkhead-rng"},       {"console", "bulkhead-console"},
		{"core", "bulkhead-core"},     {"loader", "bulkhead-loader"},
		{"keeper", "bulkhead-keeper"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		const struct sandbox_manifest *m =
			sandbox_manifest_find(roles[i][0]);

		cr_assert_not_null(m, "%s", roles[i][0]);
		cr_assert_str_eq(m->role, roles[i][0]);
		cr_assert_str_eq(m->program, roles[i][1]);
		cr_assert_gt(m->rlimit_nofile, SANDBOX_NUM_FDS);
		cr_assert_gt(m->rlimit_nproc, 0);
		cr_assert_geq(m->rlimit_stack, 64 * KIB);
	}
}

Test(sandbox_manifest_find, refuses_others)
{
	cr_assert_null(sandbox_manifest_find("broker"));
	cr_assert_null(sandbox_manifest_find(""));
}

Test(sandbox_manifest_find, reads_units)
{
	const struct sandbox_manifest *m = sandbox_manifest_find("rng");

	cr_assert_eq(m->rlimit_fsize, 0);
	cr_assert_eq(m->rlimit_memlock, 64 * KIB);
	cr_assert_eq(sandbox_manifest_find("core")->rlimit_fsize, UINT64_MAX);
}
