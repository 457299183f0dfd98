/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_CLI_H
#define BROKER_CLI_H

/* The subcommands of `bulkhead`; each is a file. They return the exit status:
 * 0 done, 1 failed, 2 the command line can't be understood. */

#define EXIT_USAGE 2

struct cli_command {
	const char *name;
	const char *summary;
	int (*main)(int argc, char **argv);
};

int cli_run(int argc, char **argv);
int cli_adopt(int argc, char **argv);
int cli_ps(int argc, char **argv);
int cli_power_button(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_upgrade(int argc, char **argv);
int cli_audit(int argc, char **argv);

/** cli_usage_error() - "bulkhead <cmd>: <text>" and where help is
 *  Return: EXIT_USAGE */
int cli_usage_error(const char *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** cli_unknown_option() - A usage error for what getopt_long() just refused
 *  @shorts: The short options that there are, as getopt_long() got them
 *  Return: EXIT_USAGE */
int cli_unknown_option(const char *command, char **argv, const char *shorts);

/** cli_version() - Print the version; Return: 0 */
int cli_version(void);

#endif
