/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-blk/blk_req.h"

#include <errno.h>
#include <string.h>

#include "common/base/endian.h"
#include "common/base/num.h"

uint64_t blk_iov_len(const struct iovec *iov, unsigned int num)
{
	uint64_t sum = 0;

	/* At most 1024 pieces inside one address space: no overflow. */
	for (unsigned int i = 0; i < num; i++)
		sum += iov[i].iov_len;
	return sum;
}

void blk_iov_skip(struct iovec **iov, unsigned int *num, uint64_t n)
{
	while (*num > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*num)--;
	}
	if (*num > 0) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

size_t blk_iov_gather(const struct iovec *iov, unsigned int num, void *dst,
		      size_t n)
{
	size_t done = 0;

	for (unsigned int i = 0; i < num && done < n; i++) {
		size_t len = min_u64(iov[i].iov_len, n - done);

		if (len == 0)
			continue;
		memcpy((uint8_t *)dst + done, iov[i].iov_base, len);
		done += len;
	}
	return done;
}

size_t blk_iov_scatter(const struct iovec *iov, unsigned int num,
		       const void *src, size_t n)
{
	size_t done = 0;

	for (unsigned int i = 0; i < num && done < n; i++) {
		size_t len = min_u64(iov[i].iov_len, n - done);

		if (len == 0)
			continue;
		memcpy(iov[i].iov_base, (const uint8_t *)src + done, len);
		done += len;
	}
	return done;
}

static void req_reply(struct blk_req *r, uint8_t status)
{
	r->kind = BLK_REPLY;
	r->status = status;
}

/* The last writable byte is the status, wherever the pieces end. */
static uint8_t *req_take_status(struct iovec *in, unsigned int *num)
{
	while (*num > 0) {
		struct iovec *last = &in[*num - 1];

		if (last->iov_len == 0) {
			(*num)--;
			continue;
		}
		last->iov_len--;
		uint8_t *status = (uint8_t *)last->iov_base + last->iov_len;

		if (last->iov_len == 0)
			(*num)--;
		return status;
	}
	return NULL;
}

static void req_set_data(struct blk_req *r, struct iovec *iov, unsigned int num)
{
	r->iov = iov;
	r->num_iov = num;
}

static void req_parse_rw(struct blk_req *r, enum blk_kind kind, uint64_t sector,
			 const struct blk_limits *limits)
{
	uint64_t len = blk_iov_len(r->iov, r->num_iov);

	r->kind = kind;
	if ((kind == BLK_WRITE && limits->readonly) || len % BLK_SECTOR != 0 ||
	    len > UINT32_MAX ||
	    !range_ok(sector, len / BLK_SECTOR, limits->capacity)) {
		req_reply(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	/* In range of the capacity, which was made of bytes: no overflow. */
	r->offset = sector << BLK_SECTOR_BITS;
	r->len = (uint32_t)len;
}

/* Return: the status that refuses the segment, or VIRTIO_BLK_S_OK */
static uint8_t req_parse_seg(enum blk_kind kind, const uint8_t *raw,
			     const struct blk_limits *limits,
			     struct blk_seg *ret)
{
	uint64_t sector = get_le64(raw);
	uint32_t num = get_le32(raw + 8);
	uint32_t flags = get_le32(raw + 12);
	uint32_t allowed =
		kind == BLK_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	uint32_t max =
		kind == BLK_ZEROES ? BLK_ZEROES_SECTORS : BLK_DISCARD_SECTORS;

	if (flags & ~allowed)
		return VIRTIO_BLK_S_UNSUPP;
	if (num > max || !range_ok(sector, num, limits->capacity))
		return VIRTIO_BLK_S_IOERR;
	ret->offset = sector << BLK_SECTOR_BITS;
	ret->len = (uint64_t)num << BLK_SECTOR_BITS;
	ret->unmap = kind == BLK_DISCARD ||
		     (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
	return VIRTIO_BLK_S_OK;
}

static void req_parse_segs(struct blk_req *r, enum blk_kind kind,
			   const struct blk_limits *limits)
{
	uint64_t len = blk_iov_len(r->iov, r->num_iov);
	uint8_t raw[BLK_MAX_SEGS * BLK_SEG_LEN];

	r->kind = kind;
	if (!(kind == BLK_DISCARD ? limits->discard : limits->zeroes)) {
		req_reply(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (limits->readonly || len == 0 || len % BLK_SEG_LEN != 0 ||
	    len > sizeof(raw)) {
		req_reply(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	blk_iov_gather(r->iov, r->num_iov, raw, len);
	r->num_segs = (unsigned int)(len / BLK_SEG_LEN);
	req_set_data(r, NULL, 0);
	for (unsigned int i = 0; i < r->num_segs; i++) {
		uint8_t status = req_parse_seg(kind, raw + i * BLK_SEG_LEN,
					       limits, &r->segs[i]);

		if (status != VIRTIO_BLK_S_OK) {
			req_reply(r, status);
			return;
		}
	}
}

static void req_parse_get_id(struct blk_req *r)
{
	uint64_t len = blk_iov_len(r->iov, r->num_iov);

	r->kind = BLK_GET_ID;
	if (len < BLK_ID_LEN)
		req_reply(r, VIRTIO_BLK_S_IOERR);
	else
		r->len = BLK_ID_LEN;
}

int blk_req_parse(struct iovec *iov, unsigned int num_out, unsigned int num_in,
		  const struct blk_limits *limits, struct blk_req *ret)
{
	struct iovec *out = iov, *in = iov + num_out;
	uint8_t header[BLK_HEADER_LEN];

	ret->iov = NULL;
	ret->num_iov = 0;
	ret->offset = 0;
	ret->len = 0;
	ret->num_segs = 0;
	ret->status = VIRTIO_BLK_S_OK;
	ret->ret_status = req_take_status(in, &num_in);
	if (!ret->ret_status)
		return -EBADMSG;
	if (blk_iov_gather(out, num_out, header, sizeof(header)) !=
	    sizeof(header)) {
		req_reply(ret, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	blk_iov_skip(&out, &num_out, sizeof(header));

	uint64_t sector = get_le64(header + 8);

	switch (get_le32(header)) {
	case VIRTIO_BLK_T_IN:
		req_set_data(ret, in, num_in);
		req_parse_rw(ret, BLK_READ, sector, limits);
		break;
	case VIRTIO_BLK_T_OUT:
		req_set_data(ret, out, num_out);
		req_parse_rw(ret, BLK_WRITE, sector, limits);
		break;
	case VIRTIO_BLK_T_FLUSH:
		ret->kind = BLK_FLUSH;
		break;
	case VIRTIO_BLK_T_GET_ID:
		req_set_data(ret, in, num_in);
		req_parse_get_id(ret);
		break;
	case VIRTIO_BLK_T_DISCARD:
		req_set_data(ret, out, num_out);
		req_parse_segs(ret, BLK_DISCARD, limits);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		req_set_data(ret, out, num_out);
		req_parse_segs(ret, BLK_ZEROES, limits);
		break;
	default:
		req_reply(ret, VIRTIO_BLK_S_UNSUPP);
		break;
	}
	return 0;
}
