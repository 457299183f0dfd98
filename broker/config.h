/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

/*
 * The configuration of one VM, as the command line (later also the API) gives
 * it. Pure data and pure checks: nothing here opens anything. Names and
 * defaults follow Cloud Hypervisor's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define CONFIG_MAX_DISKS     16
#define CONFIG_MAX_NETS	     12
#define CONFIG_MAX_CPUS	     254
#define CONFIG_MAX_FDS	     16
#define CONFIG_MAX_OEM	     16
#define CONFIG_MAX_AFFINITY  254
#define CONFIG_MAX_HOST_CPUS 64 /* per list */

struct config_affinity {
	uint32_t index; /* vCPU */
	uint32_t num_cpus;
	uint32_t cpus[CONFIG_MAX_HOST_CPUS];
};

struct config_cpus {
	uint32_t boot; /* 1 */
	uint32_t max;  /* = boot */
	bool has_topology;
	uint32_t threads_per_core, cores_per_die, dies_per_package, packages;
	uint32_t max_phys_bits;		  /* 46 */
	bool nested;			  /* on */
	struct config_affinity *affinity; /* owned */
	uint32_t num_affinity;
};

struct config_memory {
	uint64_t size; /* bytes; 512 MiB */
	bool hugepages;
	uint64_t hugepage_size; /* bytes; 0 = host default */
	bool prefault;
	bool shared; /* accepted; guest memory is always shareable */
	bool thp;    /* on */
};

struct config_disk {
	char *path; /* owned */
	bool readonly;
	bool direct;
	bool sparse;	     /* on */
	uint32_t num_queues; /* 1 */
	uint32_t queue_size; /* 128 */
	char *serial;	     /* NULL = derived from the file's identity */
	char *id;	     /* "_disk0" */
	bool disable_io_uring;
	bool packed; /* on: offer packed rings */
};

enum config_net_backend { NET_TAP, NET_PASST };

struct config_net {
	enum config_net_backend backend;
	char *tap; /* interface name, NULL = the kernel picks */
	uint8_t mac[6];
	bool has_mac; /* else random, local */
	uint8_t host_mac[6];
	bool has_host_mac;
	char *ip; /* with mask: host side address; NULL = none */
	char *mask;
	uint32_t mtu;		 /* 0 = not set */
	uint32_t num_queues;	 /* 2: RX + TX */
	uint32_t queue_size;	 /* 256 */
	int fds[CONFIG_MAX_FDS]; /* opened tap queues, inherited */
	uint32_t num_fds;
	bool offload_tso, offload_ufo, offload_csum; /* on */
	bool packed;				     /* on */
	char *id;				     /* "_net1" */
};

enum config_console_mode {
	CONSOLE_OFF,
	CONSOLE_NULL,
	CONSOLE_TTY,
	CONSOLE_PTY,
	CONSOLE_FILE,
	CONSOLE_SOCKET,
};

struct config_console {
	enum config_console_mode mode;
	char *path;	 /* FILE, SOCKET */
	uint32_t iobase; /* debug console only */
};

struct config_platform {
	char *manufacturer, *product_name, *version, *serial_number, *uuid;
	char *sku_number, *family, *chassis_asset_tag;
	char *oem_strings[CONFIG_MAX_OEM];
	uint32_t num_oem_strings;
};

/* What an audit that fails means (broker/audit_gate.h). */
enum config_audit { CONFIG_AUDIT_ENFORCE, CONFIG_AUDIT_WARN, CONFIG_AUDIT_OFF };

/* Does the VM outlive its broker (broker/keep.h)? */
enum config_keeper { CONFIG_KEEPER_AUTO, CONFIG_KEEPER_ON, CONFIG_KEEPER_OFF };

struct config {
	char *name; /* of the VM in `bulkhead ps`; NULL = "vm-<pid>" */
	char *kernel;
	char *initramfs;
	char *cmdline; /* "" */
	struct config_cpus cpus;
	struct config_memory memory;
	struct config_platform platform;
	struct config_disk disks[CONFIG_MAX_DISKS];
	uint32_t num_disks;
	struct config_net nets[CONFIG_MAX_NETS];
	uint32_t num_nets;
	struct config_console serial;	     /* null */
	struct config_console console;	     /* tty */
	struct config_console debug_console; /* off */
	char *rng_src;			     /* "/dev/urandom" */
	enum config_audit audit;	     /* enforce */
	enum config_keeper keeper;	     /* auto: unless on a terminal */
	bool spares;			     /* on: a parked process a device */
	char *log_file;
	int verbosity;	  /* number of -v */
	char *api_socket; /* reserved */
};

void config_init(struct config *c); /* the defaults */
void config_done(struct config *c);

/* One option's value into the configuration. The error names the option, the
 * value, the reason and what would be accepted. */
int config_parse_cpus(struct config *c, const char *value, struct err *e);
int config_parse_memory(struct config *c, const char *value, struct err *e);
int config_parse_platform(struct config *c, const char *value, struct err *e);
int config_add_disk(struct config *c, const char *value, struct err *e);
int config_add_net(struct config *c, const char *value, struct err *e);
int config_parse_console(struct config_console *con, const char *option,
			 const char *value, struct err *e);
int config_parse_rng(struct config *c, const char *value, struct err *e);
int config_parse_audit(struct config *c, const char *value, struct err *e);
int config_parse_keeper(struct config *c, const char *value, struct err *e);
int config_parse_spares(struct config *c, const char *value, struct err *e);

/** config_check() - What only shows with all options known; fills ids */
int config_check(struct config *c, struct err *e);

#endif
