/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_SESSION_H
#define BROKER_SESSION_H

/*
 * One device: its process, its host resources, and the record of the state it
 * was asked to be in. The broker relays between core and device; a request
 * passes only if it is one that a core may make of this device
 * (session_policy()), and is in the record from the moment it is passed on (a
 * core need not wait for answers), unless the device refuses it. A replacement
 * process that is given the record is where its predecessor was.
 *
 *   OFF      -- session_start() ------------> process starts, describes itself
 *   OFF      -- described, memory known ----> UP
 *   UP       -- process gone ---------------> WAITING
 *   WAITING  -- fence clear, next described -> replay, UP
 *
 *   OFF      -- session_adopt_*() ----------> UP, by a dead broker's process,
 *               which is replaced as soon as the core has told the record
 *
 * While UP a spare process is kept beside the serving one, if the
 * configuration wants it: confined, audited, with the back end and without
 * guest memory. It is the replacement when it is needed; an upgrade ends it.
 *
 * While WAITING the core's requests go into the record and are answered after
 * the replay.
 */

#include <stdbool.h>
#include <stdint.h>

#include "broker/child.h"
#include "broker/open.h"
#include "broker/session_inflight.h"
#include "common/base/err.h"
#include "proto/core.pb-c.h"
#include "proto/device.pb-c.h"

#define SESSION_QUEUES_MAX 64
#define SESSION_CONFIG_MAX 256
#define SESSION_EVENTS_MAX 64 /* a second; more wait in the channel */

struct session_queue {
	bool started;
	bool accepted; /* by a process, in this broker's time */
	uint32_t size;
	uint64_t desc, driver, device; /* guest-physical */
	uint32_t ring_base;
	int kick_fd, call_fd; /* owned */
};

/* What a replacement needs. */
struct session_record {
	uint64_t features; /* acked; valid if has_features */
	bool has_features;
	struct session_queue queues[SESSION_QUEUES_MAX];
	uint8_t config[SESSION_CONFIG_MAX];	 /* the driver's writes ... */
	bool config_written[SESSION_CONFIG_MAX]; /* ... where there were any */
};

/* DeviceInfo, copied and bounded. */
struct session_info {
	bool valid;
	uint32_t virtio_id;
	uint64_t features;
	uint32_t num_queues;
	uint32_t max_queue_size;
	uint8_t config[SESSION_CONFIG_MAX];
	uint32_t config_len;
};

struct family;

/* One process of a device. There are two during a replacement. */
struct session_proc {
	struct child child;
	struct session *session;
	int fence_fd; /* hangs up when the kernel is done with its I/O */
	struct session_info info;
};

enum session_state {
	SESSION_OFF,	 /* no process, or the first one is starting */
	SESSION_UP,	 /* it serves the guest */
	SESSION_WAITING, /* it is gone; its replacement is on the way */
};

struct session {
	struct family *family;
	uint32_t index; /* DeviceRelay.device */
	uint32_t slot;	/* PCI device number */
	const char *role;
	const char *id;	     /* the configuration's */
	uint32_t num_queues; /* 0 = the device's own */
	uint32_t queue_size;
	bool no_packed; /* RING_PACKED is not offered */
	struct opened opened;
	struct loop_watch *w_listen; /* clients of a socket console */
	int client_fd;		     /* the present one; -1 = none */

	enum session_state state;
	struct session_proc *proc;  /* the serving one; NULL while WAITING */
	struct session_proc *next;  /* the replacement being prepared */
	struct session_proc *spare; /* parked; described when it is ready */
	struct session_info info;   /* as the core knows it */
	struct session_record record;
	bool mem_ready; /* SetMemTable was answered */

	struct session_inflight inflight;

	/* Replacement. */
	int fence_fd; /* of the dead one; -1 = its I/O is over */
	struct loop_watch *w_fence, *w_retry, *w_spare;
	bool other_id; /* two processes at a time have different host ids */
	bool backing_off;
	unsigned int replaying;		     /* answers to wait for */
	uint64_t up_since_us, down_since_us; /* CLOCK_MONOTONIC */
	uint64_t ping_sent_us;		     /* 0 = answered */
	bool stuck; /* the answer waits for the kernel; was told */
	uint32_t ping_seq, pong_seq; /* the latest, the one answered */
	unsigned int quick_deaths, early_deaths;
	uint32_t owed[CHILD_PENDING_MAX]; /* core's requests to answer */
	unsigned int num_owed;
	bool upgrading;
	bool adopting;	   /* a dead broker's process serves, or did last */
	bool record_known; /* then: the core has told it */
	bool quiescing;	   /* the family waits for it */

	uint32_t restarts, upgrades;
	uint64_t last_gap_us; /* death to the replacement's start */
	char last_reason[128];
};

void session_init(struct session *s, struct family *f, uint32_t index,
		  const char *role, const char *id);
/** session_close() - Stop the process and give the host resources back */
void session_close(struct session *s);
/** session_stop() - Stop the process, forget the record; keep resources */
void session_stop(struct session *s);

/** session_info_take() - Copy @m, if it is within the bounds */
int session_info_take(struct session_info *i, const Bulkhead__DeviceInfo *m);

/** session_start() - Spawn, Hello and DeviceSetup */
int session_start(struct session *s, struct err *e);

/** session_send_memory() - SetMemTable and SetInflight, once both are known */
int session_send_memory(struct session *s, struct err *e);

/**
 * session_policy() - May the core ask this of the device now?
 *
 * Pure. Return: 0 or -EPERM, -EINVAL, -EPROTO with the reason
 */
int session_policy(const struct session_info *info,
		   const struct session_record *record,
		   const Bulkhead__DeviceBody *body, struct err *e);

/** session_record_apply() - Put a request that passed the policy into the
 *  record; @fds: of start_queue: taken over */
void session_record_apply(struct session_record *r,
			  const Bulkhead__DeviceBody *body, int *fds);
void session_record_stop_queue(struct session_record *r, uint32_t index);
void session_record_clear(struct session_record *r);

/**
 * session_relay() - Pass the core's request on; its answer goes back as the
 * answer to @core_seq
 *
 * Return: 0, or negative: a request that no honest core makes
 */
int session_relay(struct session *s, uint32_t core_seq,
		  const Bulkhead__DeviceBody *body, int *fds,
		  unsigned int num_fds, struct err *e);

/**
 * session_heartbeat() - Ask the process whether it lives; every
 * SESSION_PING_MS. One that does not answer for SESSION_HUNG_MS is killed, but
 * not while the kernel lets it wait for a file.
 */
#define SESSION_PING_MS 2000
#define SESSION_HUNG_MS 10000
void session_heartbeat(struct session *s);

/** session_upgrade() - Replace the process by one of the program as it is now
 *
 * Return: 0: on the way, else nothing was changed
 */
int session_upgrade(struct session *s, struct err *e);

/* session.c for session_recover.c and back */
int session_proc_start(struct session *s, struct session_proc **ret,
		       struct err *e);
void session_proc_free(struct session_proc *p);
void session_lost(struct session *s, const char *why);
void session_next_described(struct session *s);
void session_next_lost(struct session *s, const char *why);
void session_spare_described(struct session *s);
void session_spare_lost(struct session *s, const char *why);
/** session_spare_soon() - The device serves: have a spare, by and by */
void session_spare_soon(struct session *s);
int session_owe(struct session *s, uint32_t core_seq);
void session_recover_stop(struct session *s);
/** session_left_out() - Did its process answer request @seq of the broker, and
 *  later ones, but leave out one before that had no reason to wait? */
bool session_left_out(const struct session *s, uint32_t seq);

/* session_client.c */
int session_client_listen(struct session *s, struct err *e);
/** session_client_attach() - Hand the client, if any, to the process */
int session_client_attach(struct session *s, struct err *e);
void session_client_close(struct session *s);

/** session_is_served() - Is there a process that takes requests? */
static inline bool session_is_served(const struct session *s)
{
	return s->proc && !s->proc->child.creator;
}

/** session_adopt_proc() - The process that a dead broker's device has; NULL:
 *  it was being replaced; @fds, @fence: taken over on success */
int session_adopt_proc(struct session *s, const Bulkhead__KeptProcess *m,
		       int *fds, int *fence, struct err *e);

/** session_adopt_record() - What the core says it asked for; then replace the
 *  process; @fds: of the queues, taken over */
int session_adopt_record(struct session *s, const Bulkhead__DeviceState *m,
			 int *fds, struct err *e);
int session_adopt_start(struct session *s, struct err *e);

/** session_quiesce() - Ask for a clean point; @done with its answer */
int session_quiesce(struct session *s, child_answer_cb done);

#endif
