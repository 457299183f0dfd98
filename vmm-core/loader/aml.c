/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/loader/aml.h"

#include "common/base/err.h"
#include "common/base/num.h"

#define OP_NAME	   0x08
#define OP_BYTE	   0x0a
#define OP_WORD	   0x0b
#define OP_DWORD   0x0c
#define OP_STRING  0x0d
#define OP_QWORD   0x0e
#define OP_SCOPE   0x10
#define OP_BUFFER  0x11
#define OP_PACKAGE 0x12
#define OP_METHOD  0x14
#define OP_DUAL	   0x2e
#define OP_MULTI   0x2f
#define OP_EXT	   0x5b
#define OP_REGION  0x80 /* after OP_EXT */
#define OP_FIELD   0x81
#define OP_DEVICE  0x82
#define OP_IF	   0xa0

#define PKG_MAX 4 /* bytes of the longest package length */

/* Fixed minimum and maximum of an address window (6.4.3.5). */
#define WINDOW_FIXED	 0x0c
#define WINDOW_MEMORY	 0
#define WINDOW_IO	 1
#define WINDOW_BUS	 2
#define WINDOW_IO_RANGE	 0x03 /* the entire range */
#define WINDOW_MEM_WRITE 0x01 /* read-write, not cacheable */

void aml_init(struct aml *a, struct buf *b)
{
	*a = (struct aml){.b = b};
}

/*
 * Package length (20.2.4): it counts itself, its first byte tells how many
 * follow. Room for the longest is left, what is too much is taken out at
 * the end.
 */
static void aml_open(struct aml *a)
{
	check(a->depth < AML_MAX_DEPTH);
	a->open[a->depth].pkg = a->b->len;
	a->open[a->depth].resource = 0;
	a->depth++;
	buf_add(a->b, PKG_MAX);
}

static size_t aml_encode_length(uint8_t out[PKG_MAX], size_t body)
{
	size_t n, len;

	for (n = 1; n < PKG_MAX; n++) {
		if (body + n < (n == 1 ? 1u << 6 : 1u << (4 + 8 * (n - 1))))
			break;
	}
	len = body + n;
	if (n == 1) {
		out[0] = (uint8_t)len;
		return n;
	}
	out[0] = (uint8_t)((n - 1) << 6 | (len & 0xf));
	for (size_t i = 1; i < n; i++)
		out[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
	return n;
}

/* A template's end tag, and its size in the BufferSize left before it. */
static void aml_close_resources(struct aml *a, size_t start)
{
	buf_u8(a->b, 0x79);
	buf_u8(a->b, 0); /* "no checksum" */
	if (!a->b->full)
		put_le16(a->b->data + start - 2, (uint16_t)(a->b->len - start));
}

void aml_close(struct aml *a)
{
	uint8_t enc[PKG_MAX];
	size_t pkg, n, body;

	check(a->depth > 0);
	a->depth--;
	pkg = a->open[a->depth].pkg;
	if (a->open[a->depth].resource)
		aml_close_resources(a, a->open[a->depth].resource);
	if (a->b->full)
		return;
	body = a->b->len - pkg - PKG_MAX;
	check(body < (1u << 28) - PKG_MAX);
	n = aml_encode_length(enc, body);
	memmove(a->b->data + pkg + n, a->b->data + pkg + PKG_MAX, body);
	memcpy(a->b->data + pkg, enc, n);
	a->b->len = pkg + n + body;
}

void aml_path(struct aml *a, const char *path)
{
	size_t segs, len;

	if (*path == '\\')
		buf_u8(a->b, (uint8_t)*path++);
	len = strlen(path);
	check(len % 5 == 4); /* four characters a segment, dots between */
	segs = (len + 1) / 5;
	if (segs == 2) {
		buf_u8(a->b, OP_DUAL);
	} else if (segs > 2) {
		buf_u8(a->b, OP_MULTI);
		buf_u8(a->b, (uint8_t)segs);
	}
	for (size_t i = 0; i < segs; i++)
		buf_put(a->b, path + 5 * i, 4);
}

void aml_scope(struct aml *a, const char *path)
{
	buf_u8(a->b, OP_SCOPE);
	aml_open(a);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *path)
{
	buf_u8(a->b, OP_EXT);
	buf_u8(a->b, OP_DEVICE);
	aml_open(a);
	aml_path(a, path);
}

void aml_method(struct aml *a, const char *path, unsigned int args,
		bool serialized)
{
	buf_u8(a->b, OP_METHOD);
	aml_open(a);
	aml_path(a, path);
	buf_u8(a->b, args | (serialized ? 1u << 3 : 0));
}

void aml_if(struct aml *a)
{
	buf_u8(a->b, OP_IF);
	aml_open(a);
}

void aml_package(struct aml *a, unsigned int elements)
{
	buf_u8(a->b, OP_PACKAGE);
	aml_open(a);
	buf_u8(a->b, elements);
}

void aml_name(struct aml *a, const char *path)
{
	buf_u8(a->b, OP_NAME);
	aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, uint64_t v)
{
	aml_name(a, path);
	aml_int(a, v);
}

void aml_name_string(struct aml *a, const char *path, const char *s)
{
	aml_name(a, path);
	aml_string(a, s);
}

static unsigned int aml_hex(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A' + 10);
	check(c >= 'a' && c <= 'f');
	return (unsigned int)(c - 'a' + 10);
}

/* Three letters of 5 bits, four hexadecimal digits; bytes swapped (19.6.37). */
void aml_name_eisa(struct aml *a, const char *path, const char *id)
{
	uint32_t v = 0;

	check(strlen(id) == 7);
	for (int i = 0; i < 3; i++)
		v = v << 5 | (((unsigned int)id[i] - 0x40u) & 0x1f);
	for (int i = 3; i < 7; i++)
		v = v << 4 | aml_hex(id[i]);
	aml_name_int(a, path, __builtin_bswap32(v));
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) { /* ZeroOp and OneOp are the values themselves */
		buf_u8(a->b, (uint8_t)v);
	} else if (v <= UINT8_MAX) {
		buf_u8(a->b, OP_BYTE);
		buf_u8(a->b, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		buf_u8(a->b, OP_WORD);
		buf_u16(a->b, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		buf_u8(a->b, OP_DWORD);
		buf_u32(a->b, (uint32_t)v);
	} else {
		buf_u8(a->b, OP_QWORD);
		buf_u64(a->b, v);
	}
}

void aml_string(struct aml *a, const char *s)
{
	buf_u8(a->b, OP_STRING);
	buf_put(a->b, s, strlen(s) + 1);
}

void aml_buffer(struct aml *a, const void *data, uint8_t len)
{
	buf_u8(a->b, OP_BUFFER);
	aml_open(a);
	aml_int(a, len);
	buf_put(a->b, data, len);
	aml_close(a);
}

/* The first three groups are little-endian (19.6.142). */
void aml_uuid(struct aml *a, const char *text)
{
	static const uint8_t order[16] = {3, 2, 1,  0,	5,  4,	7,  6,
					  8, 9, 10, 11, 12, 13, 14, 15};
	uint8_t bytes[16], out[16];
	unsigned int n = 0;

	for (const char *p = text; *p && n < sizeof(bytes);) {
		if (*p == '-') {
			p++;
			continue;
		}
		bytes[n++] = (uint8_t)(aml_hex(p[0]) << 4 | aml_hex(p[1]));
		p += 2;
	}
	check(n == sizeof(bytes));
	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = bytes[order[i]];
	aml_buffer(a, out, sizeof(out));
}

void aml_op(struct aml *a, unsigned int op)
{
	buf_u8(a->b, op);
}

void aml_io_field(struct aml *a, const char *region, const char *field,
		  uint16_t port)
{
	buf_u8(a->b, OP_EXT);
	buf_u8(a->b, OP_REGION);
	aml_path(a, region);
	buf_u8(a->b, 1); /* SystemIO */
	aml_int(a, port);
	aml_int(a, 1);

	buf_u8(a->b, OP_EXT);
	buf_u8(a->b, OP_FIELD);
	aml_open(a);
	aml_path(a, region);
	buf_u8(a->b, 0x41); /* ByteAcc, NoLock, WriteAsZeros */
	aml_path(a, field);
	buf_u8(a->b, 8); /* bits */
	aml_close(a);
}

void aml_resources(struct aml *a)
{
	aml_name(a, "_CRS");
	buf_u8(a->b, OP_BUFFER);
	aml_open(a);
	buf_u8(a->b, OP_WORD);
	buf_u16(a->b, 0); /* BufferSize, in aml_close() */
	a->open[a->depth - 1].resource = a->b->len;
}

static void aml_res_word(struct aml *a, unsigned int type, unsigned int flags,
			 uint16_t first, uint16_t count)
{
	buf_u8(a->b, 0x88);
	buf_u16(a->b, 0x0d);
	buf_u8(a->b, type);
	buf_u8(a->b, WINDOW_FIXED);
	buf_u8(a->b, flags);
	buf_u16(a->b, 0); /* granularity */
	buf_u16(a->b, first);
	buf_u16(a->b, first + count - 1u);
	buf_u16(a->b, 0); /* translation */
	buf_u16(a->b, count);
}

void aml_res_bus(struct aml *a, unsigned int first, unsigned int count)
{
	aml_res_word(a, WINDOW_BUS, 0, (uint16_t)first, (uint16_t)count);
}

void aml_res_window_io(struct aml *a, uint16_t base, uint16_t size)
{
	aml_res_word(a, WINDOW_IO, WINDOW_IO_RANGE, base, size);
}

void aml_res_io(struct aml *a, uint16_t port, uint8_t count)
{
	buf_u8(a->b, 0x47);
	buf_u8(a->b, 1); /* decodes 16 bits */
	buf_u16(a->b, port);
	buf_u16(a->b, port);
	buf_u8(a->b, 1); /* alignment */
	buf_u8(a->b, count);
}

void aml_res_window_mem32(struct aml *a, uint32_t base, uint32_t size)
{
	buf_u8(a->b, 0x87);
	buf_u16(a->b, 0x17);
	buf_u8(a->b, WINDOW_MEMORY);
	buf_u8(a->b, WINDOW_FIXED);
	buf_u8(a->b, WINDOW_MEM_WRITE);
	buf_u32(a->b, 0);
	buf_u32(a->b, base);
	buf_u32(a->b, base + size - 1);
	buf_u32(a->b, 0);
	buf_u32(a->b, size);
}

void aml_res_window_mem64(struct aml *a, uint64_t base, uint64_t size)
{
	buf_u8(a->b, 0x8a);
	buf_u16(a->b, 0x2b);
	buf_u8(a->b, WINDOW_MEMORY);
	buf_u8(a->b, WINDOW_FIXED);
	buf_u8(a->b, WINDOW_MEM_WRITE);
	buf_u64(a->b, 0);
	buf_u64(a->b, base);
	buf_u64(a->b, base + size - 1);
	buf_u64(a->b, 0);
	buf_u64(a->b, size);
}

void aml_res_mem32(struct aml *a, uint32_t base, uint32_t size)
{
	buf_u8(a->b, 0x86);
	buf_u16(a->b, 9);
	buf_u8(a->b, 1); /* read-write */
	buf_u32(a->b, base);
	buf_u32(a->b, size);
}

void aml_res_irq(struct aml *a, uint32_t gsi)
{
	buf_u8(a->b, 0x89);
	buf_u16(a->b, 6);
	buf_u8(a->b, 0x03); /* consumer, edge, active high, exclusive */
	buf_u8(a->b, 1);
	buf_u32(a->b, gsi);
}
