/* SPDX-License-Identifier: Apache-2.0 */
/* --net */
#include "broker/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/option.h"
#include "common/base/num.h"

static int config_add_fd(const char *element, void *arg, struct err *e)
{
	struct config_net *n = arg;
	uint32_t fd;

	if (option_u32(element, &fd) < 0 || fd > 65535 || fd < 3)
		return err_set(e, -EINVAL, "\"%s\" is no descriptor above 2",
			       element);
	if (n->num_fds == CONFIG_MAX_FDS)
		return err_set(e, -E2BIG, "more than %d descriptors",
			       CONFIG_MAX_FDS);
	for (uint32_t i = 0; i < n->num_fds; i++)
		if (n->fds[i] == (int)fd)
			return err_set(e, -EINVAL,
				       "descriptor %u is there twice; each "
				       "serves one pair of queues",
				       fd);
	n->fds[n->num_fds++] = (int)fd;
	return 0;
}

static int config_parse_fds(void *dst, const char *option, const char *key,
			    const char *value, struct err *e)
{
	const struct config_net *n = dst;
	int r = option_each(value, config_add_fd, dst, e);

	if (r == 0 && !n->num_fds)
		return option_error(e, option, key, value,
				    "give descriptors of opened tap queues, "
				    "such as [3,4]");
	return r < 0 ? (err_prefix(e, "%s %s=%s", option, key, value), r) : 0;
}

static int config_parse_backend(void *dst, const char *option, const char *key,
				const char *value, struct err *e)
{
	enum config_net_backend *b = dst;

	if (!strcmp(value, "tap"))
		*b = NET_TAP;
	else if (!strcmp(value, "passt"))
		*b = NET_PASST;
	else
		return option_error(e, option, key, value, "give tap or passt");
	return 0;
}

static int config_check_passt(const struct config_net *n, struct err *e)
{
	if (n->tap || n->ip || n->mask || n->has_host_mac || n->num_fds)
		return err_set(e, -EINVAL,
			       "--net backend=passt: tap, ip, mask, host_mac "
			       "and fd belong to backend=tap");
	if (n->num_queues != 2)
		return err_set(e, -EINVAL,
			       "--net num_queues=%u: backend=passt has one "
			       "pair; give 2 or leave it out",
			       n->num_queues);
	return 0;
}

static int config_check_address(const struct config_net *n, struct err *e)
{
	uint8_t buf[16];
	int family;

	if (!n->ip != !n->mask)
		return err_set(e, -EINVAL, "--net %s=%s: give %s= with it",
			       n->ip ? "ip" : "mask", n->ip ? n->ip : n->mask,
			       n->ip ? "mask" : "ip");
	if (!n->ip)
		return 0;
	family = strchr(n->ip, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, n->ip, buf) != 1)
		return err_set(e, -EINVAL,
			       "--net ip=%s: give an IPv4 or IPv6 address",
			       n->ip);
	if (inet_pton(family, n->mask, buf) != 1)
		return err_set(e, -EINVAL,
			       "--net mask=%s: give a mask for %s, such as %s",
			       n->mask, n->ip,
			       family == AF_INET ? "255.255.255.0"
						 : "ffff:ffff:ffff:ffff::");
	return 0;
}

static int config_check_mac(const char *key, const uint8_t mac[6],
			    struct err *e)
{
	static const uint8_t none[6];
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
		 mac[1], mac[2], mac[3], mac[4], mac[5]);
	if (mac[0] & 1)
		return option_error(e, "--net", key, text,
				    "it is a group address; give one whose "
				    "first byte is even");
	if (!memcmp(mac, none, sizeof(none)))
		return option_error(e, "--net", key, text,
				    "it is no address; give one such as "
				    "52:54:00:12:34:56, or leave it out");
	return 0;
}

static int config_finish_net(struct config_net *n, bool has_queues,
			     struct err *e)
{
	if (n->num_fds && !has_queues)
		n->num_queues = 2 * n->num_fds;
	if (n->num_queues % 2)
		return err_set(e, -EINVAL,
			       "--net num_queues=%u: give an even number, "
			       "RX and TX",
			       n->num_queues);
	if (!is_pow2(n->queue_size))
		return err_set(e, -EINVAL,
			       "--net queue_size=%u: give a power of two",
			       n->queue_size);
	if (n->num_fds && n->num_queues != 2 * n->num_fds)
		return err_set(e, -EINVAL,
			       "--net num_queues=%u: the %u descriptors of "
			       "fd= serve %u queues; give that or leave it out",
			       n->num_queues, n->num_fds, 2 * n->num_fds);
	if (n->num_fds && n->tap)
		return err_set(
			e, -EINVAL,
			"--net tap=%s: give either tap= or fd=, not both",
			n->tap);
	if (n->has_mac && config_check_mac("mac", n->mac, e) < 0)
		return -EINVAL;
	if (n->has_host_mac && config_check_mac("host_mac", n->host_mac, e) < 0)
		return -EINVAL;
	if ((n->offload_tso || n->offload_ufo) && !n->offload_csum)
		return err_set(e, -EINVAL,
			       "--net offload_csum=off: give offload_tso=off "
			       "and offload_ufo=off too, they need it");
	if (n->backend == NET_PASST)
		return config_check_passt(n, e);
	return config_check_address(n, e);
}

int config_add_net(struct config *c, const char *value, struct err *e)
{
	struct config_net *n = &c->nets[c->num_nets];
	bool has_queues = false;
	const struct option_key keys[] = {
		{"backend", OPTION_CALL, &n->backend, 0, 0, NULL,
		 config_parse_backend},
		{"tap", OPTION_TEXT, &n->tap, 0, IFNAMSIZ - 1, NULL, NULL},
		{"mac", OPTION_MAC, n->mac, 0, 0, &n->has_mac, NULL},
		{"host_mac", OPTION_MAC, n->host_mac, 0, 0, &n->has_host_mac,
		 NULL},
		{"ip", OPTION_TEXT, &n->ip, 1, 63, NULL, NULL},
		{"mask", OPTION_TEXT, &n->mask, 1, 63, NULL, NULL},
		{"mtu", OPTION_U32, &n->mtu, 1280, 65535, NULL, NULL},
		{"num_queues", OPTION_U32, &n->num_queues, 2,
		 2 * CONFIG_MAX_FDS, &has_queues, NULL},
		{"queue_size", OPTION_U32, &n->queue_size, 4, 1024, NULL, NULL},
		{"fd", OPTION_CALL, n, 0, 0, NULL, config_parse_fds},
		{"offload_tso", OPTION_BOOL, &n->offload_tso, 0, 0, NULL, NULL},
		{"offload_ufo", OPTION_BOOL, &n->offload_ufo, 0, 0, NULL, NULL},
		{"offload_csum", OPTION_BOOL, &n->offload_csum, 0, 0, NULL,
		 NULL},
		{"packed", OPTION_BOOL, &n->packed, 0, 0, NULL, NULL},
		{"id", OPTION_TEXT, &n->id, 1, 32, NULL, NULL},
	};
	int r;

	if (c->num_nets == CONFIG_MAX_NETS)
		return err_set(e, -E2BIG, "--net %s: at most %d interfaces",
			       value, CONFIG_MAX_NETS);
	memset(n, 0, sizeof(*n));
	n->num_queues = 2;
	n->queue_size = 256;
	n->offload_tso = n->offload_ufo = n->offload_csum = true;
	n->packed = true;
	c->num_nets++;
	r = option_parse("--net", value, keys, ARRAY_SIZE(keys), e);
	if (r == 0 && n->tap && !n->tap[0]) {
		free(n->tap);
		n->tap = NULL;
	}
	return r < 0 ? r : config_finish_net(n, has_queues, e);
}
