/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PEER_DEVICE_PEER_H
#define TESTS_PEER_DEVICE_PEER_H

/*
 * Broker, core and guest in one test program: starts a real device program in
 * its real sandbox, speaks the control protocol with it, gives it guest memory
 * and drives its queues, without KVM.
 *
 *	struct peer p;
 *	struct peer_queue q;
 *
 *	peer_spawn(&p, "rng", 16 << 20);
 *	peer_hello(&p);
 *	peer_setup(&p, &setup, fds, 1);		fills p.info_*
 *	peer_negotiate(&p, DRIVER_F_VERSION1 | DRIVER_F_PACKED);
 *	peer_queue_start(&p, &q, 0, 64);
 *	id = driver_ring_add(&q.ring, bufs, num, false);
 *	peer_kick(&q);				if the device wants it
 *	peer_wait(&q, &id, &len);
 *	base = peer_queue_stop(&p, &q);
 *	peer_end(&p);
 *
 * A peer_...() that fails prints why and ends the program with status 1: each
 * native test is one program. All waiting is bounded by PEER_TIMEOUT_MS.
 * Programs are looked for in the folder of the environment variable
 * BULKHEAD_BIN, else beside the test program's folder (../bin).
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/channel/channel.h"
#include "common/sandbox/sandbox.h"
#include "proto/device.pb-c.h"
#include "tests/peer/driver_ring.h"

#define PEER_TIMEOUT_MS 10000
#define PEER_CONFIG_MAX 256
#define PEER_GPA	0x100000 /* of the first byte of guest memory */

struct peer {
	char role[16];
	struct sandbox_child child;
	int log_fd; /* read end */
	struct channel *ch;
	uint32_t seq;
	/* Guest memory: one memfd, announced as two adjacent regions that meet
	 * in its middle, so that buffers can span them. */
	int mem_fd;
	struct driver_mem mem;
	/* From DeviceInfo. */
	uint64_t features;
	uint32_t virtio_id, num_queues, max_queue_size, syscalls;
	uint8_t config[PEER_CONFIG_MAX];
	uint32_t config_len;
	char report[1024]; /* the sandbox's layers and downgrades */
	/* What the driver accepted. */
	uint64_t acked;
	/* Recovery: what the broker keeps for a successor. */
	int inflight_fd; /* -1 = none */
	uint8_t *inflight;
	uint64_t inflight_len, stride;
	int fence_fd; /* read end, -1 = none */
	/* Events that came. */
	unsigned int num_config_changed, num_needs_reset, num_backend_closed;
	char reason[256]; /* of the last NeedsReset or BackendClosed */
};

struct peer_queue {
	struct driver_ring ring;
	uint32_t index;
	int kick_fd, call_fd;
};

/** peer_spawn() - bulkhead-<role> with @mem_size bytes of guest memory */
void peer_spawn(struct peer *p, const char *role, uint64_t mem_size);
void peer_hello(struct peer *p);
void peer_setup(struct peer *p, Bulkhead__DeviceSetup *setup, const int *fds,
		unsigned int num_fds);
/** peer_negotiate() - SetMemTable and SetFeatures */
void peer_negotiate(struct peer *p, uint64_t features);

/** peer_inflight() - SetInflight, of a memfd that is made at first; after
 * peer_setup() */
void peer_inflight(struct peer *p);
/** peer_recover() - Recover, after peer_inflight() */
void peer_recover(struct peer *p, const uint64_t *poison, size_t num,
		  bool careful);
/** peer_ping() - Return: false when no answer comes within @ms */
bool peer_ping(struct peer *p, int ms);
/**
 * peer_kill() - SIGKILL, and wait for its end
 *
 * Guest memory, queues and the in-flight memory stay; go on with
 * peer_respawn(), peer_hello(), peer_setup(), peer_inflight(),
 * peer_negotiate(), peer_queue_restart() of each queue.
 */
void peer_kill(struct peer *p);
void peer_respawn(struct peer *p);
/** peer_fence_wait() - Return: false if the dead device's I/O is not over
 * after @ms */
bool peer_fence_wait(struct peer *p, int ms);

/** peer_queue_start() - A fresh ring of @size */
void peer_queue_start(struct peer *p, struct peer_queue *q, uint32_t index,
		      uint32_t size);
/** peer_queue_restart() - The same ring again, at @base */
void peer_queue_restart(struct peer *p, struct peer_queue *q, uint32_t base);
/** peer_queue_stop() - Return: base */
uint32_t peer_queue_stop(struct peer *p, struct peer_queue *q);
void peer_reset(struct peer *p);
/** peer_queue_forget() - After peer_reset(): close the queue's descriptors */
void peer_queue_forget(struct peer_queue *q);

/** peer_kick() - Publish what was added; kick if the device asks for it */
void peer_kick(struct peer_queue *q);
/** peer_kick_always() - Publish and kick */
void peer_kick_always(struct peer_queue *q);
/** peer_wait() - Sleep on the call descriptor until a chain is completed */
void peer_wait(struct peer_queue *q, uint32_t *ret_id, uint32_t *ret_len);
/** peer_try_wait() - The same; Return: false after @ms without one */
bool peer_try_wait(struct peer_queue *q, int ms, uint32_t *ret_id,
		   uint32_t *ret_len);

/**
 * peer_request() - Send one message and wait for its answer
 *
 * For hostile messages, too. Return: the answer's Status code; *ret_body is
 * its body (or NULL), valid until the next receive. Events that come
 * meanwhile are counted.
 */
int peer_request(struct peer *p, Bulkhead__DeviceBody *body, const int *fds,
		 unsigned int num_fds, const Bulkhead__DeviceBody **ret_body);
/** peer_receive() - Wait for an event; Return: false after @ms without one */
bool peer_receive(struct peer *p, int ms);

/** peer_pss() - Kilobytes of memory, shared ones by their share */
unsigned long peer_pss(const struct peer *p);
/** peer_cpu_ms() - Processor time used so far, in steps of the clock tick */
unsigned long peer_cpu_ms(const struct peer *p);
/** peer_end() - Close the channel; Return: the exit status (128 + signal) */
int peer_end(struct peer *p);

/** peer_fail() - Print, with what the device logged, and exit with 1 */
_Noreturn void peer_fail(struct peer *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/** peer_check() - Or fail naming the place */
#define peer_check(p, cond)                                                    \
	do {                                                                   \
		if (!(cond))                                                   \
			peer_fail(p, "%s:%d: %s", __FILE__, __LINE__, #cond);  \
	} while (0)

#endif
