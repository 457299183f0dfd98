/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The client of a socket console. The broker accepts it, hands it to the
 * device and keeps a descriptor too: a replacement is given the same client,
 * which notices nothing, and what it had sent is still there to be read.
 */

#include <sys/socket.h>

#include "broker/family.h"
#include "broker/keep.h"
#include "broker/session.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

void session_client_close(struct session *s)
{
	if (s->client_fd < 0)
		return;
	s->client_fd = fd_close(s->client_fd);
	keep_device(s);
}

static void client_on_attached(struct child *c, const struct envelope *env,
			       int *fds, void *arg)
{
	struct session_proc *p = c->owner;

	(void)fds;
	(void)arg;
	if (!env->status->code || p != p->session->proc)
		return;
	log_warn("%s: the device refused a client: %s", p->session->id,
		 env->status->text);
	session_client_close(p->session);
}

int session_client_attach(struct session *s, struct err *e)
{
	Bulkhead__DeviceBody body = BULKHEAD__DEVICE_BODY__INIT;
	Bulkhead__Attach attach = BULKHEAD__ATTACH__INIT;

	if (s->client_fd < 0)
		return 0;
	body.kind_case = BULKHEAD__DEVICE_BODY__KIND_ATTACH;
	body.attach = &attach;
	return child_request(&s->proc->child, &body.base, &s->client_fd, 1,
			     client_on_attached, NULL, e);
}

/* One at a time; another is sent away. */
static void client_on_accept(int fd, unsigned int events, void *arg)
{
	struct session *s = arg;
	auto_fd client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e = {0};

	(void)events;
	if (client < 0)
		return;
	if (s->client_fd >= 0) {
		log_warn("%s: second client of %s sent away", s->id,
			 s->opened.unlink_path);
		return;
	}
	s->client_fd = take_fd(&client);
	keep_device(s);
	/* Else the replay hands it over. */
	if (session_is_served(s) && session_client_attach(s, &e) < 0) {
		log_warn("%s: %s", s->id, e.text);
		session_client_close(s);
	}
}

int session_client_listen(struct session *s, struct err *e)
{
	if (s->opened.listen_fd < 0 || s->w_listen)
		return 0;
	return loop_add_fd(s->family->loop, s->opened.listen_fd, LOOP_READ,
			   client_on_accept, s, &s->w_listen, e);
}
