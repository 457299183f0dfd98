/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_FAMILY_H
#define BROKER_FAMILY_H

/*
 * The processes of one VM, from start to end.
 *
 *   opening   host resources are opened (open_*.c)
 *   starting  core, loader and devices are started in parallel:
 *             core:   Hello, CreateVm         -> VmCreated (memory)
 *             device: Hello, DeviceSetup      -> DeviceInfo
 *                     SetMemTable (once there is memory)
 *             loader: Hello, Load             -> Loaded (entry state); exits
 *             core:   AddDevice for each      -> Boot when all are there
 *   running   relay; events
 *   stopping  devices reach a clean point, then everything is ended
 *
 * A broker that takes over from one that died (adopt.c) begins at
 *
 *   adopting  core: Adopt -> Adopted, DeviceState for each device, which is
 *             replaced -> running
 *
 * A guest reset ends all processes and starts new ones on the same host
 * resources. Every way out runs family_close(): nothing stays behind.
 */

#include <stdbool.h>
#include <stdint.h>

#include "broker/config.h"
#include "broker/session.h"
#include "common/channel/loop.h"

#define FAMILY_DEVICES_MAX (CONFIG_MAX_DISKS + CONFIG_MAX_NETS + 2)
#define FAMILY_MEMFDS_MAX  16

enum family_state {
	FAMILY_OPENING,
	FAMILY_STARTING,
	FAMILY_ADOPTING,
	FAMILY_RUNNING,
	FAMILY_STOPPING,
	FAMILY_RESETTING,
};

struct audit_gate;
struct keep;

struct family {
	const struct config *cfg;
	struct loop *loop;
	enum family_state state;
	struct sandbox_report own; /* what confines the broker */
	struct audit_gate *audit;  /* owned; audit_gate.c's */
	struct keep *keep;	   /* owned; NULL: the VM ends with us */
	uint32_t generation;	   /* 0: we started the VM */
	bool abandoned;		   /* the adoption failed: touch nothing */
	struct child core;
	struct child loader;
	struct session devices[FAMILY_DEVICES_MAX];
	unsigned int num_devices;
	struct opened serial;
	struct opened debug_console;
	struct loop_watch *w_serial_listen;
	bool serial_has_client;
	int hv_fd, kernel_fd, initramfs_fd;
	/* Guest memory: descriptors only, never mapped here. */
	int memfds[FAMILY_MEMFDS_MAX];
	unsigned int num_memfds;
	Bulkhead__MemTable *memory;  /* owned */
	Bulkhead__EntryState *entry; /* owned; from the loader */
	uint32_t phys_bits;
	uint64_t mmio64_base, mmio64_size;
	unsigned int devices_added; /* AddDevice answered */
	bool boot_sent;
	bool restart; /* after stopping: start again (guest reset) */
	unsigned int quiescing;
	struct loop_watch *w_deadline;
	struct loop_watch *w_heartbeat;
	uint64_t start_ns;   /* CLOCK_MONOTONIC of the launch */
	uint64_t running_ns; /* of the last Boot answer */
	int exit_code;
	/* Nothing is to be done for a while: called when the guest runs, and
	 * after each spare. */
	void (*on_settled)(struct family *f);
};

/**
 * family_open() - Open all host resources
 * @f: Zeroed; most of it is for devices that are rare, and never touched
 *
 * The first half: everything that a wrong configuration or a lacking right
 * can spoil fails here, before any process exists.
 */
int family_open(struct family *f, const struct config *cfg, struct loop *loop,
		struct err *e);

/** family_prepare() - The part that opens nothing: sessions for the devices */
void family_prepare(struct family *f, const struct config *cfg,
		    struct loop *loop);

/** family_open_hypervisor() - For the core, or for the next one after a
 *  reset */
int family_open_hypervisor(struct family *f, struct err *e);

/**
 * family_adopt() - Go on with the processes of a broker that died
 * @f:    Prepared, and filled with what that broker left
 * @m:    The core; @fds: its descriptors, taken over on success
 *
 * If it fails, also later, the VM is as it was: without broker.
 */
int family_adopt(struct family *f, const Bulkhead__KeptProcess *m, int *fds,
		 struct err *e);
/** family_abandon() - An adoption failed; loop_stop() */
void family_abandon(struct family *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** family_start() - Start the processes; progress is made in the loop */
int family_start(struct family *f, struct err *e);

/** family_shutdown() - End the VM in an orderly way; loop_stop() with @code */
void family_shutdown(struct family *f, int code);

/** family_fail() - End the VM because of an error, which is printed */
void family_fail(struct family *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** family_power_button() - Press it */
int family_power_button(struct family *f, struct err *e);

/** family_console_size() - The user's terminal changed its size */
void family_console_size(struct family *f, uint32_t cols, uint32_t rows);

/** family_close() - End all processes, undo all host resources */
void family_close(struct family *f);

const char *family_state_name(enum family_state state);

/** family_may_recover() - Is a lost device replaced now, or the VM ended? */
bool family_may_recover(const struct family *f);

/** family_upgrade() - Replace device @id's program, or every device's */
int family_upgrade(struct family *f, const char *id, struct err *e);

/* For session.c: what a device did. */
void family_device_ready(struct family *f, struct session *s);
void family_device_memory_ready(struct family *f, struct session *s);
void family_device_gone(struct family *f, struct session *s, const char *why);
int family_device_event(struct family *f, struct session *s,
			const Bulkhead__DeviceBody *body, struct err *e);
int family_answer_core(struct family *f, struct session *s, uint32_t core_seq,
		       const Bulkhead__Status *status,
		       Bulkhead__DeviceBody *body, struct err *e);

#endif
