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
 */

#include <stdbool.h>
#include <stdint.h>

#include "broker/child.h"
#include "broker/open.h"
#include "common/base/err.h"
#include "proto/core.pb-c.h"
#include "proto/device.pb-c.h"

#define SESSION_QUEUES_MAX 64
#define SESSION_CONFIG_MAX 256

struct session_queue {
	bool started;
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

struct session {
	struct family *family;
	uint32_t index; /* DeviceRelay.device */
	uint32_t slot;	/* PCI device number */
	const char *role;
	const char *id;	     /* the configuration's */
	uint32_t num_queues; /* 0 = the device's own */
	uint32_t queue_size;
	const struct config_affinity *affinity;
	uint32_t num_affinity;
	struct child child;
	struct opened opened;
	struct loop_watch *w_listen; /* clients of a socket console */
	bool has_client;
	struct session_info info;
	struct session_record record;
	bool mem_ready; /* SetMemTable was answered */
	uint32_t restarts;
	char last_reason[128];
};

void session_init(struct session *s, struct family *f, uint32_t index,
		  const char *role, const char *id);
/** session_close() - Stop the process and give the host resources back */
void session_close(struct session *s);
/** session_stop() - Stop the process, forget the record; keep resources */
void session_stop(struct session *s);

/** session_start() - Spawn, Hello and DeviceSetup */
int session_start(struct session *s, struct err *e);

/** session_send_memory() - SetMemTable */
int session_send_memory(struct session *s, const Bulkhead__MemTable *table,
			const int *fds, unsigned int num_fds, struct err *e);

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

/** session_quiesce() - Ask for a clean point; @done with its answer */
int session_quiesce(struct session *s, child_answer_cb done);

#endif
