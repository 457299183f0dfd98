/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/tap.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"

#define TUN_PATH     "/dev/net/tun"
#define NAME_PATTERN "bh%d"
#define VNET_HDR_LEN 12 /* bytes; virtio 1.x */

static int check_name(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len >= IFNAMSIZ)
		return err_set(e, -EINVAL,
			       "tap=%s: the name has %zu characters; at most "
			       "%d are possible",
			       name, len, IFNAMSIZ - 1);
	for (size_t i = 0; i < len; i++)
		if (name[i] == '/' || name[i] == '%' || name[i] == ':' ||
		    !isgraph((unsigned char)name[i]))
			return err_set(e, -EINVAL,
				       "tap=%s: an interface name has no "
				       "blanks and none of / %% :",
				       name);
	if (!len || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(e, -EINVAL, "tap=%s: not an interface name",
			       name);
	return 0;
}

static int open_tun(struct err *e)
{
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(e, -ENOENT,
			       TUN_PATH
			       " is missing: load the kernel's tun module "
			       "(modprobe tun), or use backend=passt");
	return err_errno(e, "can't open " TUN_PATH
			    "; backend=passt needs no privilege (open)");
}

static int attach_error(const char *name, unsigned int num, int code,
			struct err *e)
{
	const char *shown = name ? name : "(new)";
	const char *multi = num > 1 ? " multi_queue" : "";

	switch (code) {
	case EPERM:
	case EACCES:
		return err_set(e, -EPERM,
			       "tap=%s: not permitted; run as root, or let "
			       "root make it for you (ip tuntap add dev %s "
			       "mode tap user NAME%s), or use backend=passt",
			       shown, name ? name : "TAP", multi);
	case EBUSY:
		return err_set(e, -EBUSY,
			       "tap=%s: another program uses it, or it has no "
			       "free queue",
			       shown);
	case EINVAL:
		return err_set(e, -EINVAL,
			       "tap=%s: not a tap interface, or made %s "
			       "multi_queue; make it with: ip tuntap add dev "
			       "%s mode tap%s",
			       shown, num > 1 ? "without" : "with", shown,
			       multi);
	default:
		return err_set(e, -code, "tap=%s: can't attach: %s", shown,
			       strerror(code));
	}
}

/* Virtio's header, in virtio's byte order, and no offload yet. */
static int prepare(int fd, const char *name, struct err *e)
{
	int hdr_len = VNET_HDR_LEN, one = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0 ||
	    ioctl(fd, TUNSETVNETLE, &one) < 0)
		return err_errno(e, "tap %s: can't set the virtio header",
				 name);
	if (ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return err_errno(e, "tap %s: can't set its offloads", name);
	return 0;
}

static int attach(int fd, const char *name, short flags,
		  char ret_name[IFNAMSIZ])
{
	struct ifreq req = {.ifr_flags = flags};

	memcpy(req.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &req) < 0)
		return -errno;
	memcpy(ret_name, req.ifr_name, IFNAMSIZ);
	ret_name[IFNAMSIZ - 1] = '\0';
	return 0;
}

int tap_open(const char *name, unsigned int num, int *ret_fds,
	     char ret_name[IFNAMSIZ], struct err *e)
{
	short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	char found[IFNAMSIZ] = NAME_PATTERN;
	int fds[TAP_QUEUES_MAX];
	unsigned int done;
	int rc = 0;

	if (name && check_name(name, e))
		return -EINVAL;
	if (num < 1 || num > TAP_QUEUES_MAX)
		return err_set(e, -EINVAL,
			       "%u queue pairs; 1 to %d are "
			       "possible",
			       num, TAP_QUEUES_MAX);
	if (name)
		memcpy(found, name, strlen(name) + 1);
	if (num > 1)
		flags |= IFF_MULTI_QUEUE;
	for (done = 0; done < num; done++) {
		auto_fd fd = open_tun(e);

		rc = fd < 0 ? fd : attach(fd, found, flags, found);
		/* A multi-queue interface may be used with one queue. */
		if (fd >= 0 && rc == -EINVAL && num == 1)
			rc = attach(fd, found, flags | IFF_MULTI_QUEUE, found);
		if (fd >= 0 && rc)
			attach_error(name, num, -rc, e);
		if (!rc)
			rc = prepare(fd, found, e);
		if (rc)
			break;
		fds[done] = take_fd(&fd);
	}
	if (!rc) {
		memcpy(ret_fds, fds, num * sizeof(fds[0]));
		memcpy(ret_name, found, IFNAMSIZ);
		return 0;
	}
	while (done)
		fd_close(fds[--done]);
	return rc == -EACCES ? -EPERM : rc;
}

int tap_adopt(int fd, int *ret_fd, char ret_name[IFNAMSIZ], struct err *e)
{
	struct ifreq req = {.ifr_flags = 0};
	auto_fd copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int flags, rc;

	if (copy < 0)
		return err_errno(e, "fd=%d: can't use the descriptor", fd);
	if (ioctl(copy, TUNGETIFF, &req) < 0)
		return err_set(e, -EINVAL,
			       "fd=%d: neither a tap nor a macvtap descriptor",
			       fd);
	req.ifr_name[IFNAMSIZ - 1] = '\0';
	/* IFF_NO_PI can't be checked: TUNGETIFF answers IFF_NOFILTER, which is
	 * the same bit. */
	if ((req.ifr_flags & (IFF_TAP | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_VNET_HDR))
		return err_set(e, -EINVAL,
			       "fd=%d (%s): opened without IFF_TAP or without "
			       "IFF_VNET_HDR; IFF_TAP, IFF_NO_PI and "
			       "IFF_VNET_HDR are needed",
			       fd, req.ifr_name);
	flags = fcntl(copy, F_GETFL);
	if (flags < 0 || fcntl(copy, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_errno(e, "fd=%d: can't make it non-blocking", fd);
	rc = prepare(copy, req.ifr_name, e);
	if (rc)
		return rc;
	memcpy(ret_name, req.ifr_name, IFNAMSIZ);
	*ret_fd = take_fd(&copy);
	return 0;
}

/* One request about an interface on a throw-away socket. */
static int ask(int family, unsigned long request, void *arg)
{
	auto_fd fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static struct ifreq request_for(const char *name)
{
	struct ifreq req = {.ifr_flags = 0};
	size_t len = strnlen(name, IFNAMSIZ - 1);

	memcpy(req.ifr_name, name, len);
	return req;
}

static int set_error(const char *name, const char *what, int rc, struct err *e)
{
	if (rc == -EPERM || rc == -EACCES)
		return err_set(e, rc,
			       "tap %s: only root may set its %s; let root do "
			       "it, or leave the option out",
			       name, what);
	return err_set(e, rc, "tap %s: can't set its %s: %s", name, what,
		       strerror(-rc));
}

int tap_prefix_len(int family, const char *mask)
{
	uint8_t bytes[16];
	int size = family == AF_INET ? 4 : 16, bits = 0;

	if (inet_pton(family, mask, bytes) != 1)
		return -EINVAL;
	while (bits < size * 8 && bytes[bits / 8] & (0x80 >> bits % 8))
		bits++;
	for (int i = bits; i < size * 8; i++)
		if (bytes[i / 8] & (0x80 >> i % 8))
			return -EINVAL;
	return bits;
}

static int set_address4(const char *name, struct in_addr ip,
			struct in_addr mask)
{
	struct ifreq req = request_for(name);
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = ip};
	int rc;

	memcpy(&req.ifr_addr, &sin, sizeof(sin));
	rc = ask(AF_INET, SIOCSIFADDR, &req);
	if (rc)
		return rc;
	sin.sin_addr = mask;
	memcpy(&req.ifr_netmask, &sin, sizeof(sin));
	return ask(AF_INET, SIOCSIFNETMASK, &req);
}

static int set_address6(const char *name, const struct in6_addr *ip, int prefix)
{
	struct { /* struct in6_ifreq of <linux/ipv6.h>, at odds with libc's */
		struct in6_addr addr;
		uint32_t prefixlen;
		int ifindex;
	} req = {.addr = *ip, .prefixlen = (uint32_t)prefix};
	int rc;

	req.ifindex = (int)if_nametoindex(name);
	rc = ask(AF_INET6, SIOCSIFADDR, &req);
	return rc == -EEXIST ? 0 : rc;
}

int tap_set_address(const char *name, const char *ip, const char *mask,
		    struct err *e)
{
	struct in_addr ip4, mask4;
	struct in6_addr ip6;
	int rc, prefix;

	if (inet_pton(AF_INET, ip, &ip4) == 1) {
		if (tap_prefix_len(AF_INET, mask) < 0)
			return err_set(e, -EINVAL,
				       "mask=%s: not an IPv4 netmask such as "
				       "255.255.255.0",
				       mask);
		inet_pton(AF_INET, mask, &mask4);
		rc = set_address4(name, ip4, mask4);
	} else if (inet_pton(AF_INET6, ip, &ip6) == 1) {
		prefix = tap_prefix_len(AF_INET6, mask);
		if (prefix < 0)
			return err_set(e, -EINVAL,
				       "mask=%s: not an IPv6 netmask such as "
				       "ffff:ffff:ffff:ffff::",
				       mask);
		rc = set_address6(name, &ip6, prefix);
	} else {
		return err_set(e, -EINVAL,
			       "ip=%s: neither an IPv4 nor an IPv6 address",
			       ip);
	}
	return rc ? set_error(name, "address (ip=, mask=)", rc, e) : 0;
}

int tap_set_mac(const char *name, const uint8_t mac[6], struct err *e)
{
	struct ifreq req = request_for(name);
	int rc;

	if (!ask(AF_INET, SIOCGIFHWADDR, &req) &&
	    !memcmp(req.ifr_hwaddr.sa_data, mac, 6))
		return 0;
	req.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(req.ifr_hwaddr.sa_data, mac, 6);
	rc = ask(AF_INET, SIOCSIFHWADDR, &req);
	return rc ? set_error(name, "MAC address (host_mac=)", rc, e) : 0;
}

int tap_set_mtu(const char *name, uint32_t mtu, struct err *e)
{
	struct ifreq req = request_for(name);
	int rc;

	if (!ask(AF_INET, SIOCGIFMTU, &req) && req.ifr_mtu == (int)mtu)
		return 0;
	req.ifr_mtu = (int)mtu;
	rc = ask(AF_INET, SIOCSIFMTU, &req);
	return rc ? set_error(name, "MTU (mtu=)", rc, e) : 0;
}

int tap_set_up(const char *name, struct err *e)
{
	struct ifreq req = request_for(name);
	int rc = ask(AF_INET, SIOCGIFFLAGS, &req);

	if (!rc && req.ifr_flags & IFF_UP)
		return 0;
	req.ifr_flags |= IFF_UP;
	if (!rc)
		rc = ask(AF_INET, SIOCSIFFLAGS, &req);
	if (rc == -EPERM)
		return err_set(e, rc,
			       "tap %s is down and only root may change that: "
			       "ip link set %s up",
			       name, name);
	return rc ? set_error(name, "state to up", rc, e) : 0;
}
