/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_VMM_CORE_PCI_FAKES_H
#define TESTS_UNIT_VMM_CORE_PCI_FAKES_H

/*
 * A machine without hypervisor, gate thread and broker, for the PCI side of
 * the core: the buses are real, hv_*, gate_call() and vm_* are defined here.
 * The fake hypervisor behaves as KVM: attaching an eventfd whose counter is
 * not 0 fires at once, detaching empties the counter.
 */

#include "common/base/endian.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/device_link.h"
#include "vmm-core/pci.h"
#include "vmm-core/virtio_pci.h"
#include "vmm-core/vm.h"

#define FAKE_MMIO64_BASE 0x140000000ull
#define FAKE_PHYS_BITS	 40
#define FAKE_GSIS	 512
#define FAKE_MAX	 256

struct fake_sent {
	Bulkhead__DeviceBody__KindCase kind;
	uint32_t device;
	uint64_t features;
	uint32_t index, size, base;
	uint64_t desc, driver, ring_device;
	uint32_t offset, len;
	uint8_t data[8];
	int fds[2];
	unsigned int num_fds;
	vm_answer_cb done;
	void *arg;
};

struct fake_state { /* DeviceState, as sent to another broker */
	bool has_features;
	uint64_t features;
	uint32_t index[64];
	unsigned int num_queues;
	struct {
		uint32_t offset, len;
		uint8_t data[8];
	} write[16];
	unsigned int num_writes;
	unsigned int num_fds;
};

struct fake {
	struct vm vm;
	struct {
		bool set, committed;
		struct hv_msi staged, msi;
		int fd; /* attached, -1 none */
	} gsi[FAKE_GSIS];
	unsigned int commits;
	unsigned int gate_calls;
	struct hv_msi fired[FAKE_MAX]; /* delivered to the guest, in order */
	unsigned int num_fired;
	struct {
		uint64_t gpa;
		int fd;
	} bell[FAKE_MAX];
	unsigned int num_bells;
	struct {
		void (*fn)(struct vm *vm, void *arg);
		void *arg;
	} post[FAKE_MAX];
	unsigned int num_posts;
	pthread_mutex_t posts_lock;
	struct fake_sent sent[FAKE_MAX];
	unsigned int num_sent;
	struct fake_state state;
	unsigned int num_states;
	int send_error; /* what vm_send() returns next; 0 = works */
	int commit_error;
	int post_error;
	int bell_error;
};

extern struct fake fake;

void fake_start(void); /* machine with an empty PCI bus */
void fake_stop(void);

/* The guest */
uint64_t mem_read(uint64_t addr, uint32_t len);
void mem_write(uint64_t addr, uint64_t val, uint32_t len);
uint64_t port_read(uint16_t port, uint32_t len);
void port_write(uint16_t port, uint64_t val, uint32_t len);
uint32_t cfg_read(unsigned int slot, unsigned int reg, uint32_t len);
void cfg_write(unsigned int slot, unsigned int reg, uint32_t val, uint32_t len);

/* The control thread: run what was posted */
void fake_run(void);
/* The device, through the broker: answer request @i of fake.sent */
void fake_answer(unsigned int i, int code);
/* Another process writes an eventfd */
void fake_write_eventfd(int fd);
/* Deliver what the core itself wrote */
void fake_poll(void);
uint64_t fake_read_eventfd(int fd);
bool fake_has_bell(uint64_t gpa, int fd);

/* A driver's view of the device in slot FAKE_SLOT, BAR decoded */
#define FAKE_SLOT   3u
#define FAKE_BAR    (FAKE_MMIO64_BASE + FAKE_SLOT * VIRTIO_PCI_BAR_ALIGN)
#define FAKE_NOTIFY (FAKE_BAR + VIRTIO_PCI_NOTIFY)

static inline uint64_t drv_get(uint32_t reg, uint32_t len)
{
	return mem_read(FAKE_BAR + reg, len);
}

static inline void drv_set(uint32_t reg, uint64_t val, uint32_t len)
{
	mem_write(FAKE_BAR + reg, val, len);
}

/* struct virtio_pci_common_cfg */
#define DRV_DEVICE_SELECT  0x00
#define DRV_DEVICE_FEATURE 0x04
#define DRV_DRIVER_SELECT  0x08
#define DRV_DRIVER_FEATURE 0x0c
#define DRV_CONFIG_VECTOR  0x10
#define DRV_NUM_QUEUES	   0x12
#define DRV_STATUS	   0x14
#define DRV_GENERATION	   0x15
#define DRV_QUEUE	   0x16
#define DRV_QUEUE_SIZE	   0x18
#define DRV_QUEUE_VECTOR   0x1a
#define DRV_QUEUE_ENABLE   0x1c
#define DRV_QUEUE_NOTIFY   0x1e
#define DRV_QUEUE_DESC	   0x20
#define DRV_QUEUE_DRIVER   0x28
#define DRV_QUEUE_DEVICE   0x30

static inline uint8_t drv_status(void)
{
	return (uint8_t)drv_get(DRV_STATUS, 1);
}

void drv_decode(void); /* memory decode on */
uint64_t drv_offered(void);
void drv_accept(uint64_t features);		     /* up to FEATURES_OK */
void drv_vector(unsigned int vector, uint32_t data); /* program, unmask */
void drv_msix(bool enable, bool mask_all);
/* Size as it is, rings at 0x100000 * (index + 1), vector if not -1 */
void drv_queue(unsigned int index, int vector);
void drv_ready(void); /* DRIVER_OK */

#endif
