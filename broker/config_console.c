/* SPDX-License-Identifier: Apache-2.0 */
/* --serial, --console, --debug-console */
#include "broker/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/option.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

static int config_console_mode(struct config_console *con, const char *mode)
{
	static const char *const names[] = {
		[CONSOLE_OFF] = "off",
		[CONSOLE_NULL] = "null",
		[CONSOLE_TTY] = "tty",
		[CONSOLE_PTY] = "pty",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], mode)) {
			con->mode = (enum config_console_mode)i;
			return 0;
		}
	return -EINVAL;
}

/* "file=PATH", "socket=PATH", where the path may stand in quotes. */
static int config_console_path(struct config_console *con, const char *option,
			       const char *mode, struct err *e)
{
	bool file = !strncmp(mode, "file=", 5);

	con->mode = file ? CONSOLE_FILE : CONSOLE_SOCKET;
	con->path = option_unquote(strchr(mode, '=') + 1);
	if (!con->path)
		return err_set(e, -ENOMEM, "no memory for %s", option);
	if (!con->path[0])
		return option_error(e, option, NULL, mode, "the path is empty");
	return 0;
}

int config_parse_console(struct config_console *con, const char *option,
			 const char *value, struct err *e)
{
	bool debug = !strcmp(option, "--debug-console");
	const struct option_key keys[] = {
		{"iobase", OPTION_U32, &con->iobase, 1, 0xffff, NULL, NULL},
	};
	auto_free char *mode = NULL;
	const char *rest;
	int r = option_first(option, value, &mode, &rest, e);

	if (r < 0)
		return r;
	free(con->path);
	con->path = NULL;
	if (!strncmp(mode, "file=", 5) ||
	    (!strncmp(mode, "socket=", 7) && !debug))
		r = config_console_path(con, option, mode, e);
	else if (config_console_mode(con, mode) < 0)
		r = option_error(e, option, NULL, value,
				 debug ? "give off, null, tty, pty or file=PATH"
				       : "give off, null, tty, pty, file=PATH "
					 "or socket=PATH");
	if (r < 0 || !rest)
		return r;
	if (debug)
		return option_parse(option, rest, keys, ARRAY_SIZE(keys), e);
	return option_error(e, option, NULL, value,
			    "nothing may follow the mode; a path with commas "
			    "stands in double quotes");
}
