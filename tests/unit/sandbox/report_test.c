/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "common/sandbox/sandbox.h"

Test(sandbox_note, adds_in_order)
{
	struct sandbox_report r = {.num_layers = 0};

	sandbox_note_layer(&r, "landlock-%d", 7);
	sandbox_note_layer(&r, "seccomp");
	sandbox_note_downgrade(&r, "mdwe: %s", "not in this kernel");
	cr_assert_eq(r.num_layers, 2);
	cr_assert_str_eq(r.layers[0], "landlock-7");
	cr_assert_str_eq(r.layers[1], "seccomp");
	cr_assert_eq(r.num_downgrades, 1);
	cr_assert_str_eq(r.downgrades[0], "mdwe: not in this kernel");
}

Test(sandbox_note, cuts_long_texts)
{
	struct sandbox_report r = {.num_layers = 0};
	char text[2 * SANDBOX_NOTE_MAX];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	sandbox_note_downgrade(&r, "%s", text);
	cr_assert_eq(strlen(r.downgrades[0]), SANDBOX_NOTE_MAX - 1);
	cr_assert_eq(r.downgrades[1][0], '\0');
}

Test(sandbox_note, takes_no_report)
{
	sandbox_note_layer(NULL, "nothing");
	sandbox_note_downgrade(NULL, "nothing");
}

/* The test's own process is anything but confined: it must be refused. */
Test(sandbox_start, refuses_an_unconfined_process)
{
	struct sandbox_report r;
	struct err e = {.code = 0};

	cr_assert_lt(sandbox_start(4096, &r, &e), 0);
	cr_assert_not_null(strstr(e.text, "only as a confined child"));
}
