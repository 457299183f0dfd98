/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/open.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/passt.h"
#include "common/base/cleanup.h"
#include "common/base/num.h"

void opened_init(struct opened *o)
{
	memset(o, 0, sizeof(*o));
	for (size_t i = 0; i < ARRAY_SIZE(o->fds); i++)
		o->fds[i] = -1;
	for (size_t i = 0; i < ARRAY_SIZE(o->keep_fds); i++)
		o->keep_fds[i] = -1;
	o->listen_fd = -1;
	o->helper_pidfd = -1;
}

/* Also of what was opened only half; may be called again. */
void opened_close(struct opened *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(o->fds); i++)
		fd_close(o->fds[i]);
	if (o->unlink_path)
		unlink(o->unlink_path);
	fd_close(o->listen_fd);
	passt_stop(o->helper, o->helper_pidfd);
	for (size_t i = 0; i < ARRAY_SIZE(o->keep_fds); i++)
		fd_close(o->keep_fds[i]);
	free(o->unlink_path);
	free(o->peer_name);
	opened_init(o);
}

void opened_fill_setup(struct opened *o, const char *role,
		       Bulkhead__DeviceSetup *m)
{
	if (!strcmp(role, "blk")) {
		m->backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_BLK;
		m->blk = &o->blk;
	} else if (!strcmp(role, "net")) {
		m->backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_NET;
		m->net = &o->net;
	} else if (!strcmp(role, "console")) {
		m->backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE;
		m->console = &o->console;
	} else {
		m->backend_case = BULKHEAD__DEVICE_SETUP__BACKEND_RNG;
		m->rng = &o->rng;
	}
}

/* ---- for another broker, and from one ---- */

unsigned int opened_keep(struct opened *o, const char *role,
			 Bulkhead__KeptBackend *ret,
			 Bulkhead__DeviceSetup *setup, int *fds)
{
	unsigned int n = 0;

	bulkhead__kept_backend__init(ret);
	bulkhead__device_setup__init(setup);
	opened_fill_setup(o, role, setup);
	ret->setup = setup;
	ret->num_fds = o->num_fds;
	for (unsigned int i = 0; i < o->num_fds; i++)
		fds[n++] = o->fds[i];
	ret->listens = o->listen_fd >= 0;
	if (ret->listens)
		fds[n++] = o->listen_fd;
	for (size_t i = 0; i < ARRAY_SIZE(o->keep_fds); i++) {
		if (o->keep_fds[i] < 0)
			continue;
		fds[n++] = o->keep_fds[i];
		ret->num_keep++;
	}
	ret->helper = o->helper;
	if (o->helper)
		fds[n++] = o->helper_pidfd;
	if (o->unlink_path)
		ret->unlink_path = o->unlink_path;
	if (o->peer_name)
		ret->peer_name = o->peer_name;
	return n;
}

/* The scalars, whose bytes lie in text[] from now on. */
static int opened_adopt_setup(struct opened *o, const Bulkhead__DeviceSetup *m)
{
	ProtobufCBinaryData *bytes = NULL;

	switch (m->backend_case) {
	case BULKHEAD__DEVICE_SETUP__BACKEND_BLK:
		o->blk = *m->blk;
		bytes = &o->blk.serial;
		break;
	case BULKHEAD__DEVICE_SETUP__BACKEND_NET:
		o->net = *m->net;
		bytes = &o->net.mac;
		break;
	case BULKHEAD__DEVICE_SETUP__BACKEND_CONSOLE:
		o->console = *m->console;
		break;
	case BULKHEAD__DEVICE_SETUP__BACKEND_RNG:
		o->rng = *m->rng;
		break;
	default:
		return -EBADMSG;
	}
	if (!bytes || !bytes->len)
		return 0;
	if (bytes->len > sizeof(o->text))
		return -EBADMSG;
	memcpy(o->text, bytes->data, bytes->len);
	bytes->data = o->text;
	return 0;
}

static int opened_adopt_text(char **ret, const char *text)
{
	if (!text[0])
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

int opened_adopt(struct opened *o, const Bulkhead__KeptBackend *m, int *fds,
		 unsigned int num_fds, struct err *e)
{
	uint64_t want = (uint64_t)m->num_fds + (m->listens ? 1 : 0) +
			m->num_keep + (m->helper ? 1 : 0);
	unsigned int n = 0;

	opened_init(o);
	if (!m->setup || m->num_fds > ARRAY_SIZE(o->fds) ||
	    m->num_keep > ARRAY_SIZE(o->keep_fds) || want > num_fds ||
	    opened_adopt_setup(o, m->setup) < 0)
		return err_set(e, -EBADMSG, "a back end that makes no sense");
	if (opened_adopt_text(&o->unlink_path, m->unlink_path) < 0 ||
	    opened_adopt_text(&o->peer_name, m->peer_name) < 0)
		return err_set(e, -ENOMEM, "no memory for a back end");
	o->num_fds = m->num_fds;
	for (unsigned int i = 0; i < m->num_fds; i++)
		o->fds[i] = take_fd(&fds[n++]);
	if (m->listens)
		o->listen_fd = take_fd(&fds[n++]);
	for (unsigned int i = 0; i < m->num_keep; i++)
		o->keep_fds[i] = take_fd(&fds[n++]);
	o->helper = m->helper;
	if (m->helper)
		o->helper_pidfd = take_fd(&fds[n++]);
	return (int)n;
}
