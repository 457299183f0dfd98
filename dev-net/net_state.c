/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-net/net_state.h"

#include <string.h>

#include "common/base/num.h"
#include "dev-net/net.h"

#define STATE_VERSION 1
#define NOTHING_SAVED 2

#define in_order() __asm__ volatile("" ::: "memory")

enum {
	SAVED_PROMISC = 1,
	SAVED_ALL_MULTI = 2,
	SAVED_ALL_UNI = 4,
	SAVED_NO_MULTI = 8,
	SAVED_NO_UNI = 16,
	SAVED_NO_BROADCAST = 32,
	SAVED_UNI_OVERFLOW = 64,
	SAVED_MULTI_OVERFLOW = 128,
};

struct net_state *net_state_of(struct net *n)
{
	return n->state ? n->state : &n->own;
}

static bool stream_makes_sense(const struct net_stream_buf *b)
{
	return b->which <= 1 && b->in[0].from <= b->in[0].to &&
	       b->in[0].to <= sizeof(b->in[0].bytes) &&
	       b->in[1].from <= b->in[1].to &&
	       b->in[1].to <= sizeof(b->in[1].bytes) &&
	       b->in_base <= sizeof(b->in[0].bytes) &&
	       b->out_to <= sizeof(b->out) &&
	       (!b->out_to ||
		(b->out_from <= b->out_to && b->out_base <= b->out_to)) &&
	       b->total <= sizeof(b->out) && b->cut <= b->total;
}

/* Where is the stream? The kernel counted what its last call moved. */
static bool stream_find(struct net_stream_buf *b, struct net_tx_mark *m)
{
	struct net_stream_in *in = &b->in[b->which];
	uint64_t got = b->in_msg.msg_len, sent = b->out_msg.msg_len;

	if (b->reading) {
		if (got > sizeof(in->bytes) - b->in_base ||
		    b->in_base < in->from)
			return false;
		in->to = b->in_base + (uint32_t)got;
	}
	if (!b->out_to)
		b->out_from = b->out_base = 0;
	if (b->sending == NET_SENDING_REST) {
		if (sent > b->out_to - b->out_base)
			return false;
		b->out_from = b->out_base + (uint32_t)sent;
	} else if (b->sending == NET_SENDING_FRAME && !b->out_to && sent) {
		if (sent > b->total)
			return false;
		if (sent == b->total) {
			m->done = m->now;
		} else {
			b->cut = (uint32_t)sent;
			b->cut_chain = m->now;
		}
	}
	in_order();
	b->reading = 0;
	b->sending = NET_SENDING_NOT;
	return true;
}

static void state_begin(struct net_state *s)
{
	s->version = 0;
	in_order();
	s->which = NOTHING_SAVED;
	for (unsigned int i = 0; i < NET_STATE_PAIRS; i++)
		s->marks[i].now = s->marks[i].done = NET_NO_CHAIN;
	s->stream.in[0].from = s->stream.in[0].to = 0;
	s->stream.in[1].from = s->stream.in[1].to = 0;
	s->stream.which = s->stream.reading = s->stream.in_base = 0;
	s->stream.sending = NET_SENDING_NOT;
	s->stream.out_base = s->stream.out_from = s->stream.out_to = 0;
	s->stream.total = s->stream.cut = 0;
	in_order();
	s->version = STATE_VERSION;
}

void net_state_share(struct net *n, struct net_state *s)
{
	bool good = s->version == STATE_VERSION && s->which <= NOTHING_SAVED &&
		    stream_makes_sense(&s->stream) &&
		    stream_find(&s->stream, &s->marks[0]);

	if (!good && s->version)
		log_warn("net: what a predecessor left makes no sense");
	if (!good)
		state_begin(s);
	n->state = s;
	for (unsigned int i = 0; i < n->num_pairs; i++)
		n->pairs[i].mark = &s->marks[i];
}

void net_state_save(struct net *n)
{
	struct net_state *s = net_state_of(n);
	const struct net_filter *f = &n->want_filter;
	uint32_t next = s->which == 0;
	struct net_saved *v = &s->saved[next];

	v->flags = (uint8_t)(f->promisc * SAVED_PROMISC |
			     f->all_multi * SAVED_ALL_MULTI |
			     f->all_uni * SAVED_ALL_UNI |
			     f->no_multi * SAVED_NO_MULTI |
			     f->no_uni * SAVED_NO_UNI |
			     f->no_broadcast * SAVED_NO_BROADCAST |
			     f->uni_overflow * SAVED_UNI_OVERFLOW |
			     f->multi_overflow * SAVED_MULTI_OVERFLOW);
	memcpy(v->mac, f->mac, sizeof(v->mac));
	memcpy(v->uni, f->uni, sizeof(v->uni));
	memcpy(v->multi, f->multi, sizeof(v->multi));
	v->num_uni = f->num_uni;
	v->num_multi = f->num_multi;
	v->pairs = n->want_pairs;
	v->offloads = n->want_offloads;
	in_order();
	s->which = next;
}

bool net_state_restore(struct net *n)
{
	const struct net_state *s = net_state_of(n);
	struct net_filter *f = &n->want_filter;
	struct net_saved v;

	if (s->which >= NOTHING_SAVED)
		return false;
	v = s->saved[s->which];
	if (v.num_uni > NET_FILTER_MAX || v.num_multi > NET_FILTER_MAX ||
	    !v.pairs || v.pairs > n->num_pairs)
		return false;
	f->promisc = v.flags & SAVED_PROMISC;
	f->all_multi = v.flags & SAVED_ALL_MULTI;
	f->all_uni = v.flags & SAVED_ALL_UNI;
	f->no_multi = v.flags & SAVED_NO_MULTI;
	f->no_uni = v.flags & SAVED_NO_UNI;
	f->no_broadcast = v.flags & SAVED_NO_BROADCAST;
	f->uni_overflow = v.flags & SAVED_UNI_OVERFLOW;
	f->multi_overflow = v.flags & SAVED_MULTI_OVERFLOW;
	memcpy(f->mac, v.mac, sizeof(v.mac));
	memcpy(f->uni, v.uni, sizeof(v.uni));
	memcpy(f->multi, v.multi, sizeof(v.multi));
	f->num_uni = v.num_uni;
	f->num_multi = v.num_multi;
	n->want_pairs = v.pairs;
	n->want_offloads = v.offloads;
	return true;
}
