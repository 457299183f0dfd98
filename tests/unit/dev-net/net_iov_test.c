/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "dev-net/net.h"

static char text[] = "abcdefghij";

static void cut(struct iovec iov[4])
{
	iov[0] = (struct iovec){text, 3};
	iov[1] = (struct iovec){text + 3, 0};
	iov[2] = (struct iovec){text + 3, 1};
	iov[3] = (struct iovec){text + 4, 6};
}

Test(net_iov, reads_across_pieces)
{
	struct iovec iov[4];
	char out[11] = "";

	cut(iov);
	cr_expect_eq(net_iov_len(iov, 4), 10u);
	cr_expect_eq(net_iov_read(iov, 4, 2, out, 4), 4u);
	cr_expect_str_eq(out, "cdef");
	cr_expect_eq(net_iov_read(iov, 4, 8, out, 10), 2u);
	cr_expect_eq(net_iov_read(iov, 4, 10, out, 1), 0u);
	cr_expect_eq(net_iov_read(iov, 4, UINT64_MAX, out, 1), 0u);
}

Test(net_iov, writes_across_pieces)
{
	struct iovec iov[4];

	cut(iov);
	cr_expect_eq(net_iov_write(iov, 4, 2, "CDE", 3), 3u);
	cr_expect_str_eq(text, "abCDEfghij");
}

Test(net_iov, skips_whole_and_partial_pieces)
{
	struct iovec iov[4];

	cut(iov);
	cr_expect_eq(net_iov_skip(iov, 4, 0), 4u);
	cr_expect_eq(net_iov_skip(iov, 4, 3), 2u);
	cr_expect_eq(iov[0].iov_base, text + 3);
	cr_expect_eq(net_iov_skip(iov, 2, 3), 1u);
	cr_expect(iov[0].iov_base == text + 6 && iov[0].iov_len == 4);
	cr_expect_eq(net_iov_skip(iov, 1, 4), 0u);
}
