/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "broker/open.h"
#include "broker/passt.h"
#include "broker/tap.h"
#include "common/base/cleanup.h"

#define MAC_LEN 6 /* bytes */

/* The guest's MAC lives in text[]. */
static int describe(const struct config_net *c, Bulkhead__NetSetup__Kind kind,
		    struct opened *o, struct err *e)
{
	uint8_t *mac = o->text;

	if (c->has_mac) {
		memcpy(mac, c->mac, MAC_LEN);
	} else {
		if (getrandom(mac, MAC_LEN, 0) != MAC_LEN)
			return err_errno(e, "can't pick a MAC address");
		/* One interface's, locally administered (IEEE 802). */
		mac[0] = (uint8_t)((mac[0] & ~1) | 2);
	}
	bulkhead__net_setup__init(&o->net);
	o->net.kind = kind;
	o->net.mac = (ProtobufCBinaryData){.len = MAC_LEN, .data = mac};
	o->net.mtu = c->mtu;
	/* Segmentation is an offload of checksums too (virtio 1.2, 5.1.3.1). */
	o->net.offload_csum = c->offload_csum;
	o->net.offload_tso = c->offload_tso && c->offload_csum;
	o->net.offload_ufo = c->offload_ufo && c->offload_csum;
	return 0;
}

static int open_passt(const struct config_net *c, struct opened *o,
		      struct err *e)
{
	struct passt_args args = {
		.mtu = c->mtu,
		.host_mac = c->has_host_mac ? c->host_mac : NULL,
	};
	struct passt p;
	int rc = describe(c, BULKHEAD__NET_SETUP__KIND__PASST, o, e);

	if (!rc)
		rc = passt_start(&args, &p, e);
	if (rc)
		return rc;
	o->fds[0] = p.fd;
	o->num_fds = 1;
	o->keep_fds[0] = p.log_fd;
	o->helper = p.pid;
	o->helper_pidfd = p.pidfd;
	o->peer_name = strdup("passt");
	return 0;
}

static int adopt_all(const struct config_net *c, struct opened *o,
		     char name[IFNAMSIZ], struct err *e)
{
	char first[IFNAMSIZ] = "";

	for (unsigned int i = 0; i < c->num_fds; i++) {
		int rc = tap_adopt(c->fds[i], &o->fds[i], name, e);

		if (rc)
			return rc;
		o->num_fds = i + 1;
		if (i == 0)
			memcpy(first, name, IFNAMSIZ);
		else if (strcmp(first, name))
			return err_set(e, -EINVAL,
				       "fd=: the descriptors are queues of "
				       "two interfaces, %s and %s",
				       first, name);
	}
	return 0;
}

/* What the options ask of the host's side. */
static int set_up_host(const struct config_net *c, const char *name,
		       struct err *e)
{
	int rc = 0;

	if (c->has_host_mac)
		rc = tap_set_mac(name, c->host_mac, e);
	if (!rc && c->mtu)
		rc = tap_set_mtu(name, c->mtu, e);
	if (!rc && c->ip && c->mask)
		rc = tap_set_address(name, c->ip, c->mask, e);
	/* Who passes descriptors also rules over the interface. */
	if (!rc && !c->num_fds)
		rc = tap_set_up(name, e);
	return rc;
}

static int open_tap(const struct config_net *c, struct opened *o, struct err *e)
{
	unsigned int pairs = c->num_queues / 2;
	char name[IFNAMSIZ] = "";
	int rc;

	if (c->num_fds > OPENED_MAX_FDS || pairs > OPENED_MAX_FDS ||
	    c->num_queues % 2 || (c->num_fds && c->num_fds != pairs))
		return err_set(e, -EINVAL,
			       "num_queues=%u: counts receive and transmit "
			       "queues, two for each descriptor, at most %d",
			       c->num_queues, 2 * OPENED_MAX_FDS);
	rc = describe(c, BULKHEAD__NET_SETUP__KIND__TAP, o, e);
	if (rc)
		return rc;
	if (c->num_fds) {
		rc = adopt_all(c, o, name, e);
	} else {
		rc = tap_open(c->tap, pairs, o->fds, name, e);
		o->num_fds = rc ? 0 : pairs;
	}
	if (!rc)
		rc = set_up_host(c, name, e);
	if (rc)
		return rc;
	o->peer_name = strdup(name);
	return 0;
}

int open_net(const struct config_net *c, struct opened *ret, struct err *e)
{
	int rc = c->backend == NET_PASST ? open_passt(c, ret, e)
					 : open_tap(c, ret, e);

	if (rc)
		err_prefix(e, "--net %s", c->id ? c->id : "");
	return rc;
}
