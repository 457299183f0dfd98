/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEV_NET_NET_H
#define DEV_NET_NET_H

/*
 * The network device: queue pairs, their back ends, and who may touch what.
 *
 * Pair i (receive queue 2i, transmit queue 2i + 1) is served by worker i and
 * owned by that worker's thread: no lock, no shared counters. What the control
 * queue decides reaches a pair through its mailbox (net_box): the latest
 * settings, taken over by the worker when its eventfd wakes it.
 *
 *   control queue -> net->want -> net_box of each pair -> pair->now
 *
 * net->want belongs to whoever runs control commands: the worker that serves
 * the control queue while it is started, the control thread in reset() (all
 * queues are stopped then).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/log.h"
#include "common/virtio/device.h"
#include "dev-net/net_req.h"
#include "dev-net/net_state.h"

#define NET_PAIRS_MAX 16
#define NET_QUEUE_MAX 1024 /* descriptors */
#define NET_BURST     64   /* frames before the other direction's turn */

#define NET_RX_CHAINS 1024
#define NET_RX_PIECES (512 + QUEUE_IOV_MAX)
#define NET_SPILL     (NET_HDR_LEN + NET_FRAME_MAX)

struct net;
struct net_pair;

/*
 * What is behind a pair. Frames go out and come in with NET_HDR_LEN bytes of
 * checked header in front, in little-endian.
 */
struct net_backend {
	/**
	 * recv() - Read one frame
	 * Return: bytes with header; 0 nothing there; -EPIPE the peer is gone
	 */
	int64_t (*recv)(struct net_pair *p, struct iovec *iov,
			unsigned int num_iov);
	/**
	 * send() - Write one frame; iov[0] is the header
	 * Return: 1 sent; 0 later (nothing was taken); -EPIPE the peer is gone;
	 *         other errno: this frame can't be sent
	 */
	int (*send)(struct net_pair *p, struct iovec *iov, unsigned int num_iov,
		    uint64_t frame_len);
	/** flush() - Return: 1 all is written; 0 wait for EPOLLOUT; -EPIPE */
	int (*flush)(struct net_pair *p);
	/** enable() - Let the host use this pair or not; optional */
	int (*enable)(struct net_pair *p, bool on);
	/** offload() - What received frames may leave to the driver; optional
	 */
	int (*offload)(struct net *n, unsigned int tun_flags);
	/** settle() - Reach a frame boundary; Return: true reached; optional */
	bool (*settle)(struct net_pair *p);
};

#define NET_OFFLOADS_ALL UINT64_MAX

extern const struct net_backend net_tap;
extern const struct net_backend net_stream;

struct net_settings {
	struct net_filter filter;
	bool enabled;
};

/* Latest-wins mailbox, one writer and one reader, neither waits. */
struct net_box {
	struct net_settings slots[3];
	uint8_t writer;		/* slot that the writer fills next */
	uint8_t reader;		/* slot that the reader looks at */
	_Atomic uint8_t middle; /* slot between them, BOX_FRESH if new */
};

void net_box_init(struct net_box *b);
void net_box_put(struct net_box *b, const struct net_settings *s);
/** net_box_get() - Return: true and *ret if something new was there */
bool net_box_get(struct net_box *b, struct net_settings *ret);

enum net_drop {
	NET_DROPPED_SHORT,
	NET_DROPPED_LONG,
	NET_DROPPED_HEADER,
	NET_DROPPED_FILTER,
	NET_DROPPED_NO_ROOM, /* the driver's buffers are too small */
	NET_DROPPED_BACKEND, /* the back end refused it, or is gone */
	NET_NUM_DROPPED,
};

struct net_stats {
	uint64_t rx_frames, rx_bytes;
	uint64_t tx_frames, tx_bytes;
	uint64_t dropped[NET_NUM_DROPPED];
};

/* Receive buffers taken from the ring and not used yet, oldest first. */
struct net_window {
	struct chain chains[NET_RX_CHAINS];
	unsigned int num_chains;
	struct iovec pieces[NET_RX_PIECES + 1]; /* writable parts, + spill */
	unsigned int num_pieces;
	uint64_t room;	    /* bytes */
	uint64_t slots;	    /* ring slots */
	uint64_t held;	    /* bytes of a frame that waits for room; 0 none */
	uint64_t held_from; /* its first byte that is in the spill */
	uint8_t spill[NET_SPILL];
};

struct net_pair {
	struct net *net;
	unsigned int index;
	int fd;	     /* owned */
	int wake_fd; /* owned; eventfd */
	struct worker *worker;
	int watch;	  /* of fd, -1 none */
	uint32_t watched; /* epoll events */
	struct net_box box;
	struct net_settings now;
	struct net_tx_mark *mark;
	bool enabled;	       /* the host delivers here */
	bool dead;	       /* the peer of the back end is gone */
	struct queue *rx, *tx; /* NULL while stopped */
	bool rx_starved;       /* waits for the driver's buffers */
	bool tx_blocked;       /* waits for EPOLLOUT */
	struct net_window win;
	struct iovec tx_iov[1 + QUEUE_IOV_MAX];
	struct net_stats stats;
	struct log_limit complaints;
	_Atomic bool settle; /* quiesce() asks */
};

struct net {
	struct device *dev;
	const struct net_backend *backend;
	unsigned int num_pairs;
	struct net_state own;	 /* while nobody keeps any for us */
	struct net_state *state; /* NULL: own */
	struct net_pair pairs[NET_PAIRS_MAX];
	uint8_t mac[NET_MAC_LEN]; /* as configured */
	/* See the top of this file. */
	struct net_filter want_filter;
	unsigned int want_pairs;
	uint64_t want_offloads; /* NET_OFFLOADS_ALL: as negotiated */
	uint8_t ctrl_buf[NET_CTRL_MAX];
	struct iovec ctrl_iov[QUEUE_IOV_MAX];
	int settled_fd;	   /* owned; eventfd: a pair has settled */
	int settled_epoll; /* owned; waits for it with a limit */
};

extern const struct device_ops net_device_ops;

/* net_pair.c: all in the pair's thread, except net_pair_wake(). */
int net_pair_open(struct net_pair *p, struct worker *w, struct err *e);
void net_pair_wake(struct net_pair *p); /* any thread */
void net_pair_sync(struct net_pair *p); /* take the latest settings over */
void net_pair_enable(struct net_pair *p, bool on);
void net_pair_wait_events(struct net_pair *p);
void net_pair_lost(struct net_pair *p); /* the back end said -EPIPE */
void net_pair_drop(struct net_pair *p, enum net_drop why);

/* net_rx.c, net_tx.c: move what can be moved; then wait for the right event. */
void net_rx_run(struct net_pair *p);
void net_rx_stop(struct net_pair *p); /* give unused buffers back */
void net_tx_run(struct net_pair *p);

/* net_ctrl.c */
bool net_is_ctrl(const struct net *n, uint32_t queue_index);
void net_ctrl_run(struct net *n, struct queue *q);
void net_ctrl_reset(struct net *n);
/** net_ctrl_restore() - Features are known: decide as the driver did */
int net_ctrl_restore(struct net *n, uint64_t features);

/* net_state.c */
struct net_state *net_state_of(struct net *n);
/** net_state_share() - Control thread, no queue is started: take over what a
 * predecessor left in @s, hostile, or begin there */
void net_state_share(struct net *n, struct net_state *s);
/** net_state_save() - What the driver decided, in one store */
void net_state_save(struct net *n);
/** net_state_restore() - The last thing saved; Return: false nothing was */
bool net_state_restore(struct net *n);

/* net_iov.c */
uint64_t net_iov_len(const struct iovec *iov, unsigned int num);
/** net_iov_read()/_write() - Return: bytes copied, less than len at the end */
uint64_t net_iov_read(const struct iovec *iov, unsigned int num, uint64_t off,
		      void *dst, uint64_t len);
uint64_t net_iov_write(const struct iovec *iov, unsigned int num, uint64_t off,
		       const void *src, uint64_t len);
/** net_iov_skip() - Drop @len bytes in front; Return: pieces left, moved to
 * iov[0] */
unsigned int net_iov_skip(struct iovec *iov, unsigned int num, uint64_t len);

#endif
