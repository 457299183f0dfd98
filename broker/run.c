/* SPDX-License-Identifier: Apache-2.0 */

/* `bulkhead run`: the command line of one VM, and the broker's main loop. */

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/cli.h"
#include "broker/config.h"
#include "broker/control.h"
#include "broker/family.h"
#include "broker/keep.h"
#include "broker/logfile.h"
#include "broker/narrow.h"
#include "broker/programs.h"
#include "broker/run.h"
#include "broker/rundir.h"
#include "broker/terminal.h"
#include "common/base/cleanup.h"
#include "common/base/image.h"
#include "common/base/log.h"
#include "common/base/num.h"

enum run_option {
	RUN_KERNEL = 256,
	RUN_INITRAMFS,
	RUN_CMDLINE,
	RUN_CPUS,
	RUN_MEMORY,
	RUN_DISK,
	RUN_NET,
	RUN_SERIAL,
	RUN_CONSOLE,
	RUN_DEBUG_CONSOLE,
	RUN_RNG,
	RUN_PLATFORM,
	RUN_LOG_FILE,
	RUN_API_SOCKET,
	RUN_NAME,
	RUN_AUDIT,
	RUN_KEEPER,
	RUN_SPARES,
};

static const struct option run_options[] = {
	{"kernel", required_argument, NULL, RUN_KERNEL},
	{"initramfs", required_argument, NULL, RUN_INITRAMFS},
	{"cmdline", required_argument, NULL, RUN_CMDLINE},
	{"cpus", required_argument, NULL, RUN_CPUS},
	{"memory", required_argument, NULL, RUN_MEMORY},
	{"disk", required_argument, NULL, RUN_DISK},
	{"net", required_argument, NULL, RUN_NET},
	{"serial", required_argument, NULL, RUN_SERIAL},
	{"console", required_argument, NULL, RUN_CONSOLE},
	{"debug-console", required_argument, NULL, RUN_DEBUG_CONSOLE},
	{"rng", required_argument, NULL, RUN_RNG},
	{"platform", required_argument, NULL, RUN_PLATFORM},
	{"log-file", required_argument, NULL, RUN_LOG_FILE},
	{"api-socket", required_argument, NULL, RUN_API_SOCKET},
	{"name", required_argument, NULL, RUN_NAME},
	{"audit", required_argument, NULL, RUN_AUDIT},
	{"keeper", required_argument, NULL, RUN_KEEPER},
	{"spares", required_argument, NULL, RUN_SPARES},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static void run_help(void)
{
	printf("Usage: bulkhead run --kernel FILE [OPTIONS]\n"
	       "\n"
	       "Run a VM in the foreground until the guest powers off.\n"
	       "\n"
	       "  --kernel FILE       bzImage, or vmlinux with a PVH entry\n"
	       "  --initramfs FILE    initial RAM file system\n"
	       "  --cmdline TEXT      kernel command line, at most 65535 "
	       "bytes\n"
	       "  --cpus KEYS         boot=N, max=N, "
	       "topology=THREADS:CORES:DIES:PACKAGES,\n"
	       "                      affinity=[VCPU@[CPUS],...], "
	       "max_phys_bits=N, nested=on|off\n"
	       "                      (boot=1)\n"
	       "  --memory KEYS       size=SIZE, hugepages=on|off, "
	       "hugepage_size=2M|1G,\n"
	       "                      prefault=on|off, shared=on|off, "
	       "thp=on|off (size=512M)\n"
	       "  --disk KEYS...      path=FILE, readonly=on|off, "
	       "direct=on|off, sparse=on|off,\n"
	       "                      num_queues=N, queue_size=N, "
	       "serial=TEXT, id=TEXT,\n"
	       "                      packed=on|off\n"
	       "  --net KEYS...       tap=NAME, mac=MAC, host_mac=MAC, ip=IP, "
	       "mask=MASK, mtu=N,\n"
	       "                      num_queues=N, queue_size=N, fd=[N,...],\n"
	       "                      offload_tso=on|off, "
	       "offload_ufo=on|off, offload_csum=on|off,\n"
	       "                      packed=on|off, id=TEXT; or "
	       "backend=passt, mac=, mtu=, "
	       "id=\n"
	       "  --serial MODE       off, null, tty, pty, file=PATH, "
	       "socket=PATH (null)\n"
	       "  --console MODE      the same, for the virtio console (tty)\n"
	       "  --debug-console MODE[,iobase=PORT]\n"
	       "                      off, null, tty, pty, file=PATH "
	       "(off,iobase=0xe9)\n"
	       "  --rng src=FILE      source of the guest's entropy "
	       "(/dev/urandom)\n"
	       "  --platform KEYS     system_manufacturer=, "
	       "system_product_name=,\n"
	       "                      system_version=, "
	       "system_serial_number=, system_uuid=,\n"
	       "                      system_sku_number=, system_family=, "
	       "chassis_asset_tag=,\n"
	       "                      oem_strings=[A,B]\n"
	       "  --name NAME         what `bulkhead ps` calls it "
	       "(vm-<pid>)\n"
	       "  --audit MODE        enforce: start only what an audit of all "
	       "processes passed;\n"
	       "                      warn, off (enforce)\n"
	       "  --keeper MODE       on: the guest survives the end of this "
	       "process by a fault or\n"
	       "                      by SIGKILL, see bulkhead-adopt(1); off "
	       "(on, unless a console\n"
	       "                      is on a terminal)\n"
	       "  --spares on|off     a parked process for each device, which "
	       "goes on at once\n"
	       "                      when the device's dies (on)\n"
	       "  --log-file FILE     append the log there (standard error)\n"
	       "  -v, -vv, -vvv       log more: info, debug, trace\n"
	       "  --api-socket PATH   reserved for the REST API\n"
	       "  -h, --help          show this help\n"
	       "  -V, --version       show the version\n"
	       "\n"
	       "KEYS are key=value pairs separated by commas; a value with "
	       "commas stands in\n"
	       "double quotes. SIZE is in bytes or has a suffix K, M or G. "
	       "Options with \"...\" may\n"
	       "be repeated or take several values.\n"
	       "\n"
	       "Exit status: 0 the guest powered off (or SIGTERM); 1 an "
	       "error; 2 the command line\n"
	       "can't be understood; 130 interrupted by Ctrl-C.\n"
	       "\n"
	       "Example:\n"
	       "  bulkhead run --kernel vmlinuz --initramfs initrd.img \\\n"
	       "    --cmdline \"console=hvc0\" --cpus boot=2 --memory "
	       "size=1G \\\n"
	       "    --disk path=disk.img --net tap=,ip=192.168.100.1,"
	       "mask=255.255.255.0\n");
}

static int run_set_text(char **dst, const char *value)
{
	free(*dst);
	*dst = strdup(value);
	return *dst ? 0 : -ENOMEM;
}

static int run_option(struct config *c, int opt, const char *value,
		      struct err *e)
{
	switch (opt) {
	case RUN_KERNEL:
		return run_set_text(&c->kernel, value);
	case RUN_INITRAMFS:
		return run_set_text(&c->initramfs, value);
	case RUN_CMDLINE:
		return run_set_text(&c->cmdline, value);
	case RUN_CPUS:
		return config_parse_cpus(c, value, e);
	case RUN_MEMORY:
		return config_parse_memory(c, value, e);
	case RUN_DISK:
		return config_add_disk(c, value, e);
	case RUN_NET:
		return config_add_net(c, value, e);
	case RUN_SERIAL:
		return config_parse_console(&c->serial, "--serial", value, e);
	case RUN_CONSOLE:
		return config_parse_console(&c->console, "--console", value, e);
	case RUN_DEBUG_CONSOLE:
		return config_parse_console(&c->debug_console,
					    "--debug-console", value, e);
	case RUN_RNG:
		return config_parse_rng(c, value, e);
	case RUN_PLATFORM:
		return config_parse_platform(c, value, e);
	case RUN_LOG_FILE:
		return run_set_text(&c->log_file, value);
	case RUN_API_SOCKET:
		return run_set_text(&c->api_socket, value);
	case RUN_NAME:
		return run_set_text(&c->name, value);
	case RUN_AUDIT:
		return config_parse_audit(c, value, e);
	case RUN_KEEPER:
		return config_parse_keeper(c, value, e);
	case RUN_SPARES:
		return config_parse_spares(c, value, e);
	default:
		return err_set(e, -EINVAL, "unknown option");
	}
}

/*
 * Options that may be given again take several values after one flag, as in
 * `--disk path=a path=b`: getopt hands such words over as option 1.
 * Return: -1 to go on, else the exit status.
 */
int run_parse(struct config *c, int argc, char **argv)
{
	struct err e = {0};
	int opt, last = 0;

	opterr = 0;
	optind = 0; /* `adopt` has parsed a command line of its own before */
	while ((opt = getopt_long(argc, argv, "-:hvV", run_options, NULL)) !=
	       -1) {
		switch (opt) {
		case 'h':
			run_help();
			return 0;
		case 'V':
			return cli_version();
		case 'v':
			c->verbosity++;
			continue;
		case ':':
			return cli_usage_error("run", "%s needs a value",
					       argv[optind - 1]);
		case '?':
			return cli_unknown_option("run", argv, "hvV");
		case 1:
			if (last != RUN_DISK && last != RUN_NET)
				return cli_usage_error(
					"run", "\"%s\" belongs to no option",
					optarg);
			opt = last;
			break;
		default:
			last = opt;
			break;
		}
		if (run_option(c, opt, optarg, &e) < 0)
			return cli_usage_error("run", "%s", e.text);
	}
	if (config_check(c, &e) < 0 ||
	    (c->name && rundir_name_ok(c->name, &e) < 0))
		return cli_usage_error("run", "%s", e.text);
	return -1;
}

static void run_on_signal(int signo, void *arg)
{
	struct family *f = arg;
	uint32_t cols, rows;

	switch (signo) {
	case SIGWINCH:
		terminal_size(&cols, &rows);
		family_console_size(f, cols, rows);
		break;
	case SIGINT:
		family_shutdown(f, 130);
		break;
	default:
		family_shutdown(f, 0);
		break;
	}
}

int run_watch_signals(struct loop *loop, struct family *f, struct err *e)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(signals); i++)
		r = loop_add_signal(loop, signals[i], run_on_signal, f, NULL,
				    e);
	return r;
}

void run_on_settled(struct family *f)
{
	(void)f;
	/* What parsed, opened and started is not needed again. */
	malloc_trim(0);
	image_forget();
}

/* A guest on a terminal goes with whoever put it there. */
static bool run_on_terminal(const struct config *c)
{
	return (c->console.mode == CONSOLE_TTY ||
		c->serial.mode == CONSOLE_TTY ||
		c->debug_console.mode == CONSOLE_TTY) &&
	       (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO));
}

static bool run_wants_keeper(const struct config *c)
{
	return c->keeper == CONFIG_KEEPER_ON ||
	       (c->keeper == CONFIG_KEEPER_AUTO && !run_on_terminal(c));
}

static int run_vm(const struct config *c, struct loop *loop, int argc,
		  char **argv)
{
	struct control *control = NULL;
	struct family *f = calloc(1, sizeof(*f));
	char name[RUNDIR_NAME_MAX + 1];
	struct err e = {0};
	int r;

	if (!f) {
		log_error("no memory");
		return 1;
	}
	if (c->name)
		snprintf(name, sizeof(name), "%s", c->name);
	else
		snprintf(name, sizeof(name), "vm-%d", getpid());
	f->on_settled = run_on_settled;
	r = run_watch_signals(loop, f, &e);
	if (r == 0)
		r = family_open(f, c, loop, &e);
	if (r == 0)
		r = control_new(f, name, &control, &e);
	if (r == 0 && run_wants_keeper(c))
		r = keep_new(f, name, argc, argv, control_fd(control), &e);
	if (r == 0)
		r = narrow_broker(&f->own, &e);
	if (r == 0)
		r = family_start(f, &e);
	if (r == 0)
		r = loop_run(loop);
	control_free(control);
	family_close(f);
	free(f);
	if (r < 0) {
		log_error("%s", e.text);
		r = 1;
	}
	return r;
}

int cli_run(int argc, char **argv)
{
	struct loop *loop = NULL;
	struct err e = {0};
	struct config c;
	int status;

	config_init(&c);
	status = run_parse(&c, argc, argv);
	if (status >= 0) {
		config_done(&c);
		return status;
	}
	/* A large table, hardly touched, must not become a huge page. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	umask(077);
	if (logfile_open(c.log_file, c.verbosity, &e) < 0 ||
	    programs_open(&e) < 0 || loop_new(&loop, &e) < 0) {
		fprintf(stderr, "bulkhead run: %s\n", e.text);
		status = 1;
	} else {
		status = run_vm(&c, loop, argc, argv);
	}
	loop_free(loop);
	programs_close();
	config_done(&c);
	return status;
}
