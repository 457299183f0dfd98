/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/cli.h"
#include "common/base/num.h"

static const struct cli_command commands[] = {
	{"run", "run a VM in the foreground", cli_run},
	{"adopt", "take over a VM whose broker died", cli_adopt},
	{"ps", "list the running VMs and their processes", cli_ps},
	{"audit", "check what really confines the processes", cli_audit},
	{"power-button", "press a running VM's power button", cli_power_button},
	{"stop", "end a running VM at once", cli_stop},
	{"upgrade", "replace a running VM's device programs", cli_upgrade},
};

int cli_usage_error(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "bulkhead %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry `bulkhead %s --help`.\n", command);
	return EXIT_USAGE;
}

/* Within a cluster of short options optind is still that of the whole word;
 * optopt is also set for a known long option with a value too much. */
int cli_unknown_option(const char *command, char **argv, const char *shorts)
{
	if (optopt > ' ' && optopt < 0x7f && !strchr(shorts, optopt))
		return cli_usage_error(command, "unknown option -%c", optopt);
	return cli_usage_error(command, "unknown option %s", argv[optind - 1]);
}

int cli_version(void)
{
	printf("bulkhead %s\n", BULKHEAD_VERSION);
	return 0;
}

static void main_help(FILE *out)
{
	fprintf(out,
		"Usage: bulkhead COMMAND [OPTIONS]\n"
		"\n"
		"A virtual machine monitor that runs every VM as a family of\n"
		"privilege-separated processes.\n"
		"\n"
		"Commands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-14s %s\n", commands[i].name,
			commands[i].summary);
	fprintf(out, "\n"
		     "  -h, --help     show this help\n"
		     "  -V, --version  show the version\n"
		     "\n"
		     "`bulkhead COMMAND --help` tells a command's options.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		main_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") ||
	    !strcmp(argv[1], "help")) {
		main_help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version"))
		return cli_version();
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	fprintf(stderr,
		"bulkhead: no command \"%s\"; `bulkhead --help` lists them\n",
		argv[1]);
	return EXIT_USAGE;
}
