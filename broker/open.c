/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/open.h"

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
