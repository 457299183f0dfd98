/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmit headers and control commands of a hostile driver. The first bytes
 * choose the accepted features and the frame's length.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/err.h"
#include "dev-net/net_req.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_header(const uint8_t *data, size_t size, uint64_t features)
{
	uint8_t hdr[NET_HDR_LEN];
	uint32_t len;

	if (size < 4 + NET_HDR_LEN)
		return;
	len = get_le32(data) % (2 * NET_FRAME_MAX);
	memcpy(hdr, data + 4, NET_HDR_LEN);
	if (net_hdr_check(hdr, len, features) != NET_PASS)
		return;
	check(len >= NET_FRAME_MIN && len <= NET_FRAME_MAX);
	check(hdr[0] <= 1);
	if (hdr[0])
		check((uint32_t)get_le16(hdr + 6) + get_le16(hdr + 8) + 2 <=
		      len);
	if (hdr[1])
		check(hdr[0] && get_le16(hdr + 4) && get_le16(hdr + 2) <= len);
}

static void fuzz_command(const uint8_t *data, size_t size, uint64_t features)
{
	struct net_filter f, before;
	struct net_ctrl c;
	uint8_t *copy;

	if (size > NET_CTRL_MAX)
		return;
	copy = malloc(size ? size : 1); /* its end is seen by ASan */
	check(copy);
	memcpy(copy, data, size);
	net_filter_init(&f, (const uint8_t *)"\2\0\0\0\0\1");
	before = f;
	if (net_ctrl_parse(copy, (uint32_t)size, features, 4, &f, &c)) {
		check(!memcmp(&f, &before, sizeof(f)));
	} else {
		check(f.num_uni <= NET_FILTER_MAX);
		check(f.num_multi <= NET_FILTER_MAX);
		if (c.kind == NET_CTRL_PAIRS)
			check(c.value >= 1 && c.value <= 4);
		if (c.kind == NET_CTRL_OFFLOADS)
			check(!(c.value & ~features));
		if (size >= NET_MAC_LEN)
			net_filter_wants(&f, copy);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t features;

	if (size < sizeof(features))
		return 0;
	features = get_le64(data);
	fuzz_header(data + 8, size - 8, features);
	fuzz_command(data + 8, size - 8, features);
	return 0;
}
