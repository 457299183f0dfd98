/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/base/num.h"
#include "dev-net/net.h"

uint64_t net_iov_len(const struct iovec *iov, unsigned int num)
{
	uint64_t len = 0;

	for (unsigned int i = 0; i < num; i++)
		len += iov[i].iov_len;
	return len;
}

/* One walk for both directions: exactly one of @dst and @src is set. */
static uint64_t iov_copy(const struct iovec *iov, unsigned int num,
			 uint64_t off, uint8_t *dst, const uint8_t *src,
			 uint64_t len)
{
	uint64_t done = 0;

	for (unsigned int i = 0; i < num && done < len; i++) {
		uint8_t *at = iov[i].iov_base;
		uint64_t n;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		n = min_u64(iov[i].iov_len - off, len - done);
		if (dst)
			memcpy(dst + done, at + off, n);
		else
			memcpy(at + off, src + done, n);
		done += n;
		off = 0;
	}
	return done;
}

uint64_t net_iov_read(const struct iovec *iov, unsigned int num, uint64_t off,
		      void *dst, uint64_t len)
{
	return iov_copy(iov, num, off, dst, NULL, len);
}

uint64_t net_iov_write(const struct iovec *iov, unsigned int num, uint64_t off,
		       const void *src, uint64_t len)
{
	return iov_copy(iov, num, off, NULL, src, len);
}

unsigned int net_iov_skip(struct iovec *iov, unsigned int num, uint64_t len)
{
	unsigned int from = 0;

	while (from < num && len >= iov[from].iov_len)
		len -= iov[from++].iov_len;
	if (from < num) {
		iov[from].iov_base = (uint8_t *)iov[from].iov_base + len;
		iov[from].iov_len -= len;
	}
	if (from)
		memmove(iov, iov + from, (num - from) * sizeof(*iov));
	return num - from;
}
