/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a hostile peer can put into a control channel: the first byte picks the
 * kind of peer, the second the number of descriptors, the rest is the datagram.
 * Whatever passes must be encodable again and carry what its kind asks for.
 */

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/channel/channel.h"

static const struct channel_format *const formats[] = {
	&channel_format_device,	 &channel_format_core,	 &channel_format_loader,
	&channel_format_control, &channel_format_keeper,
};

static struct channel *channels[ARRAY_SIZE(formats)];
static int peers[ARRAY_SIZE(formats)];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		int fds[2];

		check(channel_pair(fds, NULL) == 0);
		check(channel_new(fds[0], formats[i], false, &channels[i],
				  NULL) == 0);
		peers[i] = fds[1];
	}
	return 0;
}

static void send_input(int peer, const uint8_t *data, size_t size,
		       unsigned int num_fds)
{
	char control[CMSG_SPACE(sizeof(int) * 16)] = {0};
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (num_fds) {
		struct cmsghdr *c = (struct cmsghdr *)(void *)control;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * num_fds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * num_fds);
		for (unsigned int i = 0; i < num_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &peer,
			       sizeof(peer));
	}
	check(sendmsg(peer, &mh, 0) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_msg m;
	size_t which;
	int r;

	if (size < 3 || size > 65536)
		return 0;
	which = data[0] % ARRAY_SIZE(formats);
	send_input(peers[which], data + 2, size - 2, data[1] % 16);
	r = channel_recv(channels[which], &m, NULL);
	check(r == 1 || r == -EBADMSG);
	if (r == 1) {
		check(formats[which]->num_fds(m.msg) == (int)m.num_fds);
		check(protobuf_c_message_get_packed_size(m.msg) > 0);
		channel_msg_done(&m);
	}
	return 0;
}
