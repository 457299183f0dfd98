/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "common/sandbox/sandbox.h"

static void __attribute__((format(printf, 3, 0)))
report_add(char notes[][SANDBOX_NOTE_MAX], unsigned int *num, const char *fmt,
	   va_list ap)
{
	check(*num < SANDBOX_MAX_NOTES);
	vsnprintf(notes[*num], SANDBOX_NOTE_MAX, fmt, ap);
	(*num)++;
}

void sandbox_note_layer(struct sandbox_report *r, const char *fmt, ...)
{
	va_list ap;

	if (!r)
		return;
	va_start(ap, fmt);
	report_add(r->layers, &r->num_layers, fmt, ap);
	va_end(ap);
}

void sandbox_note_downgrade(struct sandbox_report *r, const char *fmt, ...)
{
	va_list ap;

	if (!r)
		return;
	va_start(ap, fmt);
	report_add(r->downgrades, &r->num_downgrades, fmt, ap);
	va_end(ap);
}
