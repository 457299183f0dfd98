/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/msix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/endian.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "vmm-core/arch/x86_64/layout.h"
#include "vmm-core/eventfd.h"

/* The capability's registers, from its id byte */
#define MSIX_CONTROL 2u

#define MSIX_CONTROL_MASK_ALL 0x4000u
#define MSIX_CONTROL_ENABLE   0x8000u

/* A table entry's registers */
#define MSIX_ENTRY_ADDR	   0u
#define MSIX_ENTRY_DATA	   8u
#define MSIX_ENTRY_CONTROL 12u
#define MSIX_ENTRY_MASKED  1u

static const uint8_t msix_entry_wmask[MSIX_ENTRY_SIZE] = {
	0xfc,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	MSIX_ENTRY_MASKED,
};

uint32_t msix_table_size(const struct msix *m)
{
	return m->num_vectors * MSIX_ENTRY_SIZE;
}

uint32_t msix_pba_size(const struct msix *m)
{
	return (m->num_vectors + 63) / 64 * 8;
}

int msix_source_fd(const struct msix *m, unsigned int source)
{
	check(source < m->num_sources);
	return m->sources[source].fd;
}

/* An x86 message goes to the LAPICs' window; anything else would be a plain
 * memory write on hardware. */
static bool msix_addr_is_valid(uint64_t addr)
{
	return align_down(addr, MIB) == LAYOUT_LAPIC;
}

/* May the source fire, and with which message? */
static bool msix_source_wants(const struct msix *m, const struct msix_source *s,
			      struct hv_msi *ret)
{
	uint16_t control =
		get_le16(m->function->config + m->cap + MSIX_CONTROL);
	const uint8_t *entry;

	if (!(control & MSIX_CONTROL_ENABLE) ||
	    (control & MSIX_CONTROL_MASK_ALL) || s->vector >= m->num_vectors)
		return false;
	entry = m->table + (size_t)s->vector * MSIX_ENTRY_SIZE;
	if (entry[MSIX_ENTRY_CONTROL] & MSIX_ENTRY_MASKED)
		return false;
	ret->addr = get_le64(entry + MSIX_ENTRY_ADDR);
	ret->data = get_le32(entry + MSIX_ENTRY_DATA);
	ret->devid = m->devid;
	return msix_addr_is_valid(ret->addr);
}

static bool msix_route_is(const struct msix_source *s, const struct hv_msi *msg)
{
	return s->routed && s->msg.addr == msg->addr &&
	       s->msg.data == msg->data && s->msg.devid == msg->devid;
}

static bool msix_is_settled(const struct msix *m)
{
	for (unsigned int i = 0; i < m->num_sources; i++) {
		const struct msix_source *s = &m->sources[i];
		struct hv_msi msg;
		bool want = msix_source_wants(m, s, &msg);

		if (want != s->attached || (want && !msix_route_is(s, &msg)))
			return false;
	}
	return true;
}

struct msix_job {
	struct msix *m;
	struct err e;
};

static void msix_detach_unwanted(struct hv *hv, struct msix_job *job)
{
	for (unsigned int i = 0; i < job->m->num_sources; i++) {
		struct msix_source *s = &job->m->sources[i];
		struct hv_msi msg;

		if (!s->attached || msix_source_wants(job->m, s, &msg))
			continue;
		hv_irqfd_del(hv, s->fd, s->gsi, &job->e);
		s->attached = false;
	}
}

static int msix_route_wanted(struct hv *hv, struct msix_job *job)
{
	struct msix *m = job->m;
	bool changed = false;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < m->num_sources; i++) {
		struct msix_source *s = &m->sources[i];
		struct hv_msi msg;

		if (!msix_source_wants(m, s, &msg) || msix_route_is(s, &msg))
			continue;
		r = hv_route_set(hv, s->gsi, &msg);
		if (r < 0)
			err_set(&job->e, r, "gsi %u refused", s->gsi);
		s->msg = msg;
		s->routed = true;
		changed = true;
	}
	if (r == 0 && changed)
		r = hv_route_commit(hv, &job->e);
	/* Unknown what is in force: route all anew at the next change. */
	for (unsigned int i = 0; r < 0 && i < m->num_sources; i++)
		m->sources[i].routed = false;
	return r;
}

/* Gate thread. Detach before routing and attach after it, so that no event is
 * delivered with a message that the guest has replaced. */
static int msix_settle_job(struct hv *hv, void *arg)
{
	struct msix_job *job = arg;
	int r;

	msix_detach_unwanted(hv, job);
	r = msix_route_wanted(hv, job);
	for (unsigned int i = 0; r == 0 && i < job->m->num_sources; i++) {
		struct msix_source *s = &job->m->sources[i];
		struct hv_msi msg;

		if (s->attached || !msix_source_wants(job->m, s, &msg))
			continue;
		r = hv_irqfd_add(hv, s->fd, s->gsi, &job->e);
		s->attached = r == 0;
	}
	return r;
}

static void msix_settle(struct msix *m)
{
	struct msix_job job = {.m = m};

	if (msix_is_settled(m))
		return;
	gate_call(m->vm->gate, msix_settle_job, &job);
	if (job.e.code)
		log_limited(&m->log, LOG_ERROR,
			    "00:%02x.0: an interrupt can't be wired: %s",
			    m->devid >> 3, job.e.text);
}

void msix_config_written(struct msix *m, uint32_t off, uint32_t len)
{
	if (ranges_overlap(off, len, m->cap + MSIX_CONTROL, 2))
		msix_settle(m);
}

void msix_table_read(struct msix *m, uint32_t off, uint8_t *data, uint32_t len)
{
	memcpy(data, m->table + off, len);
}

void msix_table_write(struct msix *m, uint32_t off, const uint8_t *data,
		      uint32_t len)
{
	if ((len != 4 && len != 8) || off % len)
		return;
	for (uint32_t i = 0; i < len; i++)
		m->table[off + i] =
			data[i] & msix_entry_wmask[(off + i) % MSIX_ENTRY_SIZE];
	msix_settle(m);
}

struct msix_pba_job {
	const struct msix *m;
	uint8_t bits[MSIX_VECTORS_MAX / 8];
};

static int msix_pba_job(struct hv *hv, void *arg)
{
	struct msix_pba_job *job = arg;

	(void)hv;
	for (unsigned int i = 0; i < job->m->num_sources; i++) {
		const struct msix_source *s = &job->m->sources[i];

		if (s->vector < job->m->num_vectors && !s->attached &&
		    eventfd_is_set(s->fd))
			job->bits[s->vector / 8] |=
				(uint8_t)(1u << s->vector % 8);
	}
	return 0;
}

void msix_pba_read(struct msix *m, uint32_t off, uint8_t *data, uint32_t len)
{
	struct msix_pba_job job = {.m = m};

	gate_call(m->vm->gate, msix_pba_job, &job);
	memcpy(data, job.bits + off, len);
}

uint16_t msix_set_vector(struct msix *m, unsigned int source, uint16_t vector)
{
	check(source < m->num_sources);
	if (vector >= m->num_vectors)
		vector = MSIX_NO_VECTOR;
	m->sources[source].vector = vector;
	msix_settle(m);
	return vector;
}

static int msix_signal_job(struct hv *hv, void *arg)
{
	const struct msix_source *s = arg;

	(void)hv;
	eventfd_signal(s->fd);
	return 0;
}

void msix_signal(struct msix *m, unsigned int source)
{
	check(source < m->num_sources);
	if (m->sources[source].vector != MSIX_NO_VECTOR)
		gate_call(m->vm->gate, msix_signal_job, &m->sources[source]);
}

static int msix_drain_job(struct hv *hv, void *arg)
{
	struct msix *m = arg;

	(void)hv;
	for (unsigned int i = 0; i < m->num_sources; i++)
		eventfd_drain(m->sources[i].fd);
	return 0;
}

void msix_reset_sources(struct msix *m)
{
	for (unsigned int i = 0; i < m->num_sources; i++)
		m->sources[i].vector = MSIX_NO_VECTOR;
	msix_settle(m);
	gate_call(m->vm->gate, msix_drain_job, m);
}

static int msix_add_cap(struct msix *m, unsigned int bar, uint32_t table_offset,
			uint32_t pba_offset, struct err *e)
{
	uint8_t body[10] = {0};
	uint8_t mask[10] = {0};
	int r;

	put_le16(body, (uint16_t)(m->num_vectors - 1));
	put_le32(body + 2, table_offset | bar);
	put_le32(body + 6, pba_offset | bar);
	put_le16(mask, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL);
	r = pci_function_add_cap(m->function, PCI_CAP_ID_MSIX, body,
				 sizeof(body), mask, e);
	if (r < 0)
		return r;
	m->cap = (unsigned int)r;
	return 0;
}

int msix_init(struct msix *m, struct vm *vm, struct pci_function *f,
	      unsigned int slot, unsigned int num_vectors,
	      unsigned int num_sources, unsigned int bar, uint32_t table_offset,
	      uint32_t pba_offset, struct err *e)
{
	check(num_vectors >= 1 && num_vectors <= MSIX_VECTORS_MAX);
	check(num_sources <= MSIX_SOURCES_MAX);
	*m = (struct msix){.vm = vm,
			   .function = f,
			   .devid = slot << 3,
			   .num_vectors = num_vectors,
			   .log = LOG_LIMIT_INIT(4)};
	m->table = calloc(num_vectors, MSIX_ENTRY_SIZE);
	if (!m->table)
		return err_set(e, -ENOMEM, "no memory for an MSI-X table");
	for (unsigned int i = 0; i < num_vectors; i++)
		m->table[i * MSIX_ENTRY_SIZE + MSIX_ENTRY_CONTROL] =
			MSIX_ENTRY_MASKED;
	for (unsigned int i = 0; i < num_sources; i++) {
		int fd = eventfd_new(e);

		if (fd < 0) {
			msix_done(m);
			return fd;
		}
		m->sources[i] = (struct msix_source){
			.fd = fd,
			.gsi = vm_alloc_gsi(vm),
			.vector = MSIX_NO_VECTOR,
		};
		m->num_sources = i + 1;
	}
	return msix_add_cap(m, bar, table_offset, pba_offset, e);
}

static int msix_clear_routes_job(struct hv *hv, void *arg)
{
	struct msix *m = arg;

	for (unsigned int i = 0; i < m->num_sources; i++)
		hv_route_clear(hv, m->sources[i].gsi);
	return hv_route_commit(hv, NULL);
}

void msix_done(struct msix *m)
{
	bool routed = false;

	for (unsigned int i = 0; i < m->num_sources; i++) {
		m->sources[i].vector = MSIX_NO_VECTOR;
		routed |= m->sources[i].routed;
	}
	if (m->num_sources)
		msix_settle(m);
	if (routed)
		gate_call(m->vm->gate, msix_clear_routes_job, m);
	for (unsigned int i = 0; i < m->num_sources; i++)
		fd_close(m->sources[i].fd);
	free(m->table);
	m->table = NULL;
	m->num_sources = 0;
}
