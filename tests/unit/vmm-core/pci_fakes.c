/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vmm-core/pci_fakes.h"

#include "common/base/num.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct fake fake;

static void fake_deliver(uint32_t gsi)
{
	uint64_t count;

	if (fake.gsi[gsi].fd < 0 || !fake.gsi[gsi].committed)
		return;
	if (read(fake.gsi[gsi].fd, &count, sizeof(count)) != sizeof(count))
		return;
	if (fake.num_fired < FAKE_MAX)
		fake.fired[fake.num_fired++] = fake.gsi[gsi].msi;
}

int gate_call(struct gate *g, int (*fn)(struct hv *hv, void *arg), void *arg)
{
	(void)g;
	fake.gate_calls++;
	return fn(NULL, arg);
}

int hv_route_set(struct hv *hv, uint32_t gsi, const struct hv_msi *msi)
{
	(void)hv;
	check(gsi < FAKE_GSIS);
	fake.gsi[gsi].staged = *msi;
	fake.gsi[gsi].set = true;
	return 0;
}

void hv_route_clear(struct hv *hv, uint32_t gsi)
{
	(void)hv;
	fake.gsi[gsi].set = false;
}

int hv_route_commit(struct hv *hv, struct err *e)
{
	(void)hv;
	fake.commits++;
	if (fake.commit_error)
		return err_set(e, fake.commit_error, "no more routes");
	for (unsigned int i = 0; i < FAKE_GSIS; i++) {
		fake.gsi[i].committed = fake.gsi[i].set;
		fake.gsi[i].msi = fake.gsi[i].staged;
	}
	return 0;
}

int hv_irqfd_add(struct hv *hv, int fd, uint32_t gsi, struct err *e)
{
	(void)hv;
	(void)e;
	check(fake.gsi[gsi].fd < 0);
	fake.gsi[gsi].fd = fd;
	fake_deliver(gsi);
	return 0;
}

int hv_irqfd_del(struct hv *hv, int fd, uint32_t gsi, struct err *e)
{
	(void)hv;
	(void)e;
	check(fake.gsi[gsi].fd == fd);
	fake.gsi[gsi].fd = -1;
	fake_read_eventfd(fd);
	return 0;
}

int hv_ioeventfd_add(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
		     struct err *e)
{
	(void)hv;
	check(len == 0 && fake.num_bells < FAKE_MAX);
	if (fake.bell_error)
		return err_set(e, fake.bell_error, "no more doorbells");
	for (unsigned int i = 0; i < fake.num_bells; i++)
		check(fake.bell[i].gpa != gpa);
	fake.bell[fake.num_bells].gpa = gpa;
	fake.bell[fake.num_bells++].fd = fd;
	return 0;
}

int hv_ioeventfd_del(struct hv *hv, gpa_t gpa, uint32_t len, int fd,
		     struct err *e)
{
	(void)hv;
	(void)len;
	(void)e;
	for (unsigned int i = 0; i < fake.num_bells; i++) {
		if (fake.bell[i].gpa != gpa || fake.bell[i].fd != fd)
			continue;
		fake.bell[i] = fake.bell[--fake.num_bells];
		return 0;
	}
	check_failed("the doorbell is there", __FILE__, __LINE__);
}

int vm_post(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg)
{
	(void)vm;
	if (fake.post_error)
		return fake.post_error;
	pthread_mutex_lock(&fake.posts_lock);
	check(fake.num_posts < FAKE_MAX);
	fake.post[fake.num_posts].fn = fn;
	fake.post[fake.num_posts++].arg = arg;
	pthread_mutex_unlock(&fake.posts_lock);
	return 0;
}

uint32_t vm_alloc_gsi(struct vm *vm)
{
	return vm->next_gsi++;
}

static void fake_record(struct fake_sent *s, const Bulkhead__DeviceBody *b)
{
	s->kind = b->kind_case;
	switch (b->kind_case) {
	case BULKHEAD__DEVICE_BODY__KIND_SET_FEATURES:
		s->features = b->set_features->features;
		break;
	case BULKHEAD__DEVICE_BODY__KIND_START_QUEUE:
		s->index = b->start_queue->index;
		s->size = b->start_queue->size;
		s->desc = b->start_queue->desc;
		s->driver = b->start_queue->driver;
		s->ring_device = b->start_queue->device;
		s->base = b->start_queue->ring_base;
		break;
	case BULKHEAD__DEVICE_BODY__KIND_CONFIG_WRITE:
		s->offset = b->config_write->offset;
		s->len = (uint32_t)b->config_write->data.len;
		memcpy(s->data, b->config_write->data.data, s->len);
		break;
	default:
		break;
	}
}

static void fake_record_state(const Bulkhead__DeviceState *m,
			      unsigned int num_fds)
{
	struct fake_state *s = &fake.state;

	fake.num_states++;
	*s = (struct fake_state){.has_features = m->has_features,
				 .features = m->features,
				 .num_queues = (unsigned int)m->n_queues,
				 .num_writes = (unsigned int)m->n_writes,
				 .num_fds = num_fds};
	check(m->n_queues <= ARRAY_SIZE(s->index) &&
	      m->n_writes <= ARRAY_SIZE(s->write));
	for (size_t i = 0; i < m->n_queues; i++)
		s->index[i] = m->queues[i]->index;
	for (size_t i = 0; i < m->n_writes; i++) {
		s->write[i].offset = m->writes[i]->offset;
		s->write[i].len = (uint32_t)m->writes[i]->data.len;
		memcpy(s->write[i].data, m->writes[i]->data.data,
		       s->write[i].len);
	}
}

int vm_send_wait(struct vm *vm)
{
	(void)vm;
	return -EAGAIN;
}

int vm_send(struct vm *vm, Bulkhead__CoreBody *body, const int *fds,
	    unsigned int num_fds, vm_answer_cb done, void *arg)
{
	struct fake_sent *s;

	/* Nobody may send under the machine lock: EDEADLK if we hold it. */
	check(!pthread_mutex_lock(&vm->lock));
	pthread_mutex_unlock(&vm->lock);
	if (fake.send_error)
		return fake.send_error;
	if (body->kind_case == BULKHEAD__CORE_BODY__KIND_DEVICE_STATE) {
		fake_record_state(body->device_state, num_fds);
		return 0;
	}
	if (fake.num_sent == FAKE_MAX)
		return -EAGAIN;
	check(num_fds <= 2);
	check(body->kind_case == BULKHEAD__CORE_BODY__KIND_DEVICE);
	s = &fake.sent[fake.num_sent];
	*s = (struct fake_sent){.device = body->device->device,
				.num_fds = num_fds,
				.done = done,
				.arg = arg};
	for (unsigned int i = 0; i < num_fds; i++)
		s->fds[i] = fds[i];
	fake_record(s, body->device->body);
	fake.num_sent++;
	return 0;
}

void fake_start(void)
{
	pthread_mutexattr_t attr;
	struct err e = {0};

	memset(&fake, 0, sizeof(fake));
	for (unsigned int i = 0; i < FAKE_GSIS; i++)
		fake.gsi[i].fd = -1;
	check(!pthread_mutexattr_init(&attr) &&
	      !pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK) &&
	      !pthread_mutex_init(&fake.vm.lock, &attr));
	pthread_mutex_init(&fake.posts_lock, NULL);
	fake.vm.phys_bits = FAKE_PHYS_BITS;
	fake.vm.mmio64_base = FAKE_MMIO64_BASE;
	fake.vm.mmio64_size = (1ull << FAKE_PHYS_BITS) - FAKE_MMIO64_BASE;
	fake.vm.next_gsi = GSI_MSI_FIRST;
	check(!bus_new(&fake.vm.pio, &e) && !bus_new(&fake.vm.mmio, &e));
	check(!pci_bus_new(&fake.vm, &fake.vm.pci, &e));
}

void fake_stop(void)
{
	device_link_free_all(&fake.vm);
	pci_bus_free(fake.vm.pci);
	bus_free(fake.vm.pio);
	bus_free(fake.vm.mmio);
	pthread_mutex_destroy(&fake.vm.lock);
}

static uint64_t fake_read(struct bus *b, uint64_t addr, uint32_t len)
{
	uint8_t data[8] = {0};

	pthread_mutex_lock(&fake.vm.lock);
	bus_read(b, addr, data, len);
	pthread_mutex_unlock(&fake.vm.lock);
	return get_le64(data);
}

static void fake_write(struct bus *b, uint64_t addr, uint64_t val, uint32_t len)
{
	uint8_t data[8];

	put_le64(data, val);
	pthread_mutex_lock(&fake.vm.lock);
	bus_write(b, addr, data, len);
	pthread_mutex_unlock(&fake.vm.lock);
}

uint64_t mem_read(uint64_t addr, uint32_t len)
{
	return fake_read(fake.vm.mmio, addr, len);
}

/* A doorbell takes the write before it would reach the bus. */
static bool fake_ring_bell(uint64_t addr)
{
	int fd = -1;

	pthread_mutex_lock(&fake.vm.lock);
	for (unsigned int i = 0; i < fake.num_bells; i++) {
		if (fake.bell[i].gpa == addr)
			fd = fake.bell[i].fd;
	}
	pthread_mutex_unlock(&fake.vm.lock);
	if (fd >= 0)
		fake_write_eventfd(fd);
	return fd >= 0;
}

void mem_write(uint64_t addr, uint64_t val, uint32_t len)
{
	if (!fake_ring_bell(addr))
		fake_write(fake.vm.mmio, addr, val, len);
}

uint64_t port_read(uint16_t port, uint32_t len)
{
	return fake_read(fake.vm.pio, port, len);
}

void port_write(uint16_t port, uint64_t val, uint32_t len)
{
	fake_write(fake.vm.pio, port, val, len);
}

uint32_t cfg_read(unsigned int slot, unsigned int reg, uint32_t len)
{
	return (uint32_t)mem_read(LAYOUT_ECAM + (slot << 15) + reg, len);
}

void cfg_write(unsigned int slot, unsigned int reg, uint32_t val, uint32_t len)
{
	mem_write(LAYOUT_ECAM + (slot << 15) + reg, val, len);
}

void fake_run(void)
{
	__typeof__(fake.post[0]) post[FAKE_MAX];
	unsigned int n;

	/* Not what is posted meanwhile, as a loop would do it. */
	pthread_mutex_lock(&fake.posts_lock);
	n = fake.num_posts;
	memcpy(post, fake.post, n * sizeof(post[0]));
	fake.num_posts = 0;
	pthread_mutex_unlock(&fake.posts_lock);
	for (unsigned int i = 0; i < n; i++)
		post[i].fn(&fake.vm, post[i].arg);
}

void fake_answer(unsigned int i, int code)
{
	Bulkhead__CoreMessage msg = BULKHEAD__CORE_MESSAGE__INIT;
	Bulkhead__Status status;

	bulkhead__status__init(&status);
	check(i < fake.num_sent && fake.sent[i].done);
	status.code = code;
	msg.status = &status;
	fake.sent[i].done(&fake.vm, &msg, fake.sent[i].arg);
	fake.sent[i].done = NULL;
}

void fake_poll(void)
{
	for (uint32_t i = 0; i < FAKE_GSIS; i++)
		fake_deliver(i);
}

void fake_write_eventfd(int fd)
{
	uint64_t one = 1;

	check(write(fd, &one, sizeof(one)) == sizeof(one));
	fake_poll();
}

uint64_t fake_read_eventfd(int fd)
{
	uint64_t count = 0;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

bool fake_has_bell(uint64_t gpa, int fd)
{
	for (unsigned int i = 0; i < fake.num_bells; i++) {
		if (fake.bell[i].gpa == gpa && fake.bell[i].fd == fd)
			return true;
	}
	return false;
}

/*
 * The driver
 */

void drv_decode(void)
{
	cfg_write(FAKE_SLOT, PCI_REG_COMMAND, 6, 2);
}

uint64_t drv_offered(void)
{
	uint64_t low;

	drv_set(DRV_DEVICE_SELECT, 0, 4);
	low = drv_get(DRV_DEVICE_FEATURE, 4);
	drv_set(DRV_DEVICE_SELECT, 1, 4);
	return low | drv_get(DRV_DEVICE_FEATURE, 4) << 32;
}

void drv_accept(uint64_t features)
{
	drv_set(DRV_STATUS, 1, 1);
	drv_set(DRV_STATUS, 3, 1);
	drv_set(DRV_DRIVER_SELECT, 0, 4);
	drv_set(DRV_DRIVER_FEATURE, (uint32_t)features, 4);
	drv_set(DRV_DRIVER_SELECT, 1, 4);
	drv_set(DRV_DRIVER_FEATURE, features >> 32, 4);
	drv_set(DRV_STATUS, 0xb, 1);
}

static unsigned int drv_msix_cap(void)
{
	unsigned int cap = cfg_read(FAKE_SLOT, PCI_REG_CAP_PTR, 1);

	while (cap && cfg_read(FAKE_SLOT, cap, 1) != PCI_CAP_ID_MSIX)
		cap = cfg_read(FAKE_SLOT, cap + 1, 1);
	check(cap);
	return cap;
}

void drv_msix(bool enable, bool mask_all)
{
	cfg_write(FAKE_SLOT, drv_msix_cap() + 2,
		  (enable ? 0x8000u : 0) | (mask_all ? 0x4000u : 0), 2);
}

void drv_vector(unsigned int vector, uint32_t data)
{
	uint32_t entry = VIRTIO_PCI_TABLE + 16 * vector;

	drv_set(entry, 0xfee00000, 4);
	drv_set(entry + 4, 0, 4);
	drv_set(entry + 8, data, 4);
	drv_set(entry + 12, 0, 4);
}

void drv_queue(unsigned int index, int vector)
{
	uint64_t ring = 0x100000ull * (index + 1);

	drv_set(DRV_QUEUE, index, 2);
	drv_set(DRV_QUEUE_DESC, (uint32_t)ring, 4);
	drv_set(DRV_QUEUE_DESC + 4, ring >> 32, 4);
	drv_set(DRV_QUEUE_DRIVER, (uint32_t)ring + 0x10000, 4);
	drv_set(DRV_QUEUE_DRIVER + 4, 0, 4);
	drv_set(DRV_QUEUE_DEVICE, (uint32_t)ring + 0x20000, 4);
	drv_set(DRV_QUEUE_DEVICE + 4, 0, 4);
	if (vector >= 0)
		drv_set(DRV_QUEUE_VECTOR, (uint64_t)vector, 2);
	drv_set(DRV_QUEUE_ENABLE, 1, 2);
}

void drv_ready(void)
{
	drv_set(DRV_STATUS, 0xf, 1);
}
