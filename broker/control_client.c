/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/control_client.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker/cli.h"
#include "broker/rundir.h"
#include "common/base/cleanup.h"

#define CONTROL_TIMEOUT_S 10

void control_close(struct control_conn *c)
{
	channel_msg_done(&c->last);
	channel_free(c->channel);
	c->channel = NULL;
}

int control_ask(struct control_conn *c, Bulkhead__ControlBody *body,
		const Bulkhead__ControlMessage **ret, struct err *e)
{
	return control_ask_fds(c, body, NULL, 0, ret, e);
}

int control_ask_fds(struct control_conn *c, Bulkhead__ControlBody *body,
		    const int *fds, unsigned int num_fds,
		    const Bulkhead__ControlMessage **ret, struct err *e)
{
	Bulkhead__ControlMessage m = BULKHEAD__CONTROL_MESSAGE__INIT;
	const Bulkhead__ControlMessage *answer;
	int r;

	m.seq = ++c->next_seq;
	m.body = body;
	r = channel_send(c->channel, &m.base, fds, num_fds, e);
	if (r < 0)
		return r;
	channel_msg_done(&c->last);
	r = channel_recv(c->channel, &c->last, e);
	if (r == -EAGAIN)
		return err_set(e, -ETIMEDOUT, "the VM does not answer");
	if (r == 0)
		return err_set(e, -EPIPE, "the VM ended");
	if (r < 0)
		return r;
	answer = (const void *)c->last.msg;
	if (answer->answers != m.seq)
		return err_set(e, -EPROTO, "the VM answered something else");
	if (answer->status->code)
		return err_set(e, answer->status->code, "%s",
			       answer->status->text);
	if (ret)
		*ret = answer;
	return 0;
}

int control_open(struct control_conn *c, int fd, struct err *e)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__Hello hello = BULKHEAD__HELLO__INIT;
	const Bulkhead__ControlMessage *answer;
	struct timeval tv = {.tv_sec = CONTROL_TIMEOUT_S};
	int r;

	memset(c, 0, sizeof(*c));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0) {
		r = err_errno(e, "cannot set a time limit");
		fd_close(fd);
		return r;
	}
	r = channel_new(fd, &channel_format_control, true, &c->channel, e);
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	hello.min_version = 1;
	hello.max_version = CHANNEL_VERSION;
	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_HELLO;
	body.hello = &hello;
	r = control_ask(c, &body, &answer, e);
	if (r < 0)
		control_close(c);
	else if (answer->body &&
		 answer->body->kind_case ==
			 BULKHEAD__CONTROL_BODY__KIND_HELLO_REPLY)
		c->orphaned = !strcmp(answer->body->hello_reply->program,
				      "bulkhead-keeper");
	return r;
}

static void control_command_help(const char *command, const char *what)
{
	printf("Usage: bulkhead %s VM\n"
	       "\n"
	       "%s\n"
	       "\n"
	       "  -h, --help     show this help\n"
	       "  -V, --version  show the version\n"
	       "\n"
	       "Example:\n"
	       "  bulkhead %s web1\n",
	       command, what, command);
}

/* A keeper that ends can't remove its VM's socket. */
static void control_remove_socket(const char *name)
{
	char path[128];

	if (rundir_socket(name, path, sizeof(path), NULL) == 0)
		unlink(path);
}

/* A command that is one request to one VM. */
static int control_command(int argc, char **argv, const char *what,
			   Bulkhead__ControlBody *body)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct control_conn conn;
	struct err e = {0};
	int fd, r, opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		if (opt == 'V')
			return cli_version();
		if (opt != 'h')
			return cli_unknown_option(argv[0], argv, "hV");
		control_command_help(argv[0], what);
		return 0;
	}
	if (optind + 1 != argc)
		return cli_usage_error(argv[0], "give the name of one VM");
	fd = rundir_connect(argv[optind], &e);
	r = fd < 0 ? fd : control_open(&conn, fd, &e);
	if (r == 0) {
		r = control_ask(&conn, body, NULL, &e);
		if (r == 0 && conn.orphaned)
			control_remove_socket(argv[optind]);
		control_close(&conn);
	}
	if (r < 0)
		fprintf(stderr, "bulkhead %s: %s\n", argv[0], e.text);
	return r < 0 ? 1 : 0;
}

int cli_power_button(int argc, char **argv)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__PowerButtonRequest m = BULKHEAD__POWER_BUTTON_REQUEST__INIT;

	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_POWER_BUTTON;
	body.power_button = &m;
	return control_command(argc, argv,
			       "Press the VM's power button: the guest is "
			       "asked to shut down.",
			       &body);
}

int cli_stop(int argc, char **argv)
{
	Bulkhead__ControlBody body = BULKHEAD__CONTROL_BODY__INIT;
	Bulkhead__TerminateRequest m = BULKHEAD__TERMINATE_REQUEST__INIT;

	body.kind_case = BULKHEAD__CONTROL_BODY__KIND_TERMINATE;
	body.terminate = &m;
	return control_command(argc, argv,
			       "End the VM at once, as if its power was cut.",
			       &body);
}
