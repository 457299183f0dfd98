/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/virtio_pci_queues.h"

#include "common/base/cleanup.h"
#include "common/base/num.h"
#include "vmm-core/eventfd.h"
#include "vmm-core/msix.h"

int vqs_init(struct vqs *s, struct vm *vm, unsigned int slot, unsigned int num,
	     uint32_t max_size, struct err *e)
{
	check(num <= VIRTIO_PCI_QUEUES_MAX && max_size <= VIRTIO_PCI_SIZE_MAX);
	*s = (struct vqs){.vm = vm,
			  .slot = slot,
			  .max_size = (uint16_t)max_size,
			  .log = LOG_LIMIT_INIT(4)};
	for (unsigned int i = 0; i < num; i++) {
		int fd = eventfd_new(e);

		if (fd < 0) {
			vqs_done(s);
			return fd;
		}
		s->q[i] = (struct vq){.kick_fd = fd,
				      .size = s->max_size,
				      .msix_vector = MSIX_NO_VECTOR};
		s->num = i + 1;
	}
	return 0;
}

void vqs_done(struct vqs *s)
{
	for (unsigned int i = 0; i < s->num; i++)
		fd_close(s->q[i].kick_fd);
	s->num = 0;
}

static int vqs_drain_job(struct hv *hv, void *arg)
{
	struct vqs *s = arg;

	(void)hv;
	for (unsigned int i = 0; i < s->num; i++)
		eventfd_drain(s->q[i].kick_fd);
	return 0;
}

void vqs_reset(struct vqs *s)
{
	for (unsigned int i = 0; i < s->num; i++) {
		struct vq *q = &s->q[i];

		*q = (struct vq){.kick_fd = q->kick_fd,
				 .doorbell = q->doorbell,
				 .size = s->max_size,
				 .msix_vector = MSIX_NO_VECTOR};
	}
	gate_call(s->vm->gate, vqs_drain_job, s);
}

void vqs_set_size(struct vqs *s, struct vq *q, uint16_t size, bool packed)
{
	if (size == 0 || size > s->max_size || (!packed && !is_pow2(size))) {
		log_limited(&s->log, LOG_WARN,
			    "00:%02x.0: queue size %u refused, the most is %u",
			    s->slot, size, s->max_size);
		return;
	}
	q->size = size;
}

static bool vqs_area_ok(const struct vqs *s, uint64_t addr, uint64_t align,
			uint64_t len)
{
	unsigned int bits = s->vm->phys_bits;
	uint64_t limit = bits && bits < 64 ? 1ULL << bits : UINT64_MAX;

	return !(addr & (align - 1)) && range_ok(addr, len, limit);
}

const char *vqs_check(const struct vqs *s, const struct vq *q, bool packed)
{
	uint64_t n = q->size;

	/* The size may have been set before the ring's format was agreed. */
	if (!packed && !is_pow2(n))
		return "the size is not a power of two";
	if (!vqs_area_ok(s, q->desc, 16, 16 * n))
		return "bad descriptor area";
	if (!vqs_area_ok(s, q->driver, packed ? 4 : 2, packed ? 4 : 6 + 2 * n))
		return "bad driver area";
	if (!vqs_area_ok(s, q->device, 4, packed ? 4 : 6 + 8 * n))
		return "bad device area";
	return NULL;
}

struct doorbell_job {
	struct vqs *s;
	uint64_t notify;
	struct err e;
};

static uint64_t doorbell_wanted(const struct vqs *s, unsigned int i,
				uint64_t notify)
{
	if (!notify || !s->q[i].enabled)
		return 0;
	return notify + (uint64_t)NOTIFY_MULTIPLIER * i;
}

/* Gate thread. What can't be registered is trapped instead. */
static int doorbell_job(struct hv *hv, void *arg)
{
	struct doorbell_job *job = arg;
	struct vqs *s = job->s;

	for (unsigned int i = 0; i < s->num; i++) {
		struct vq *q = &s->q[i];

		if (!q->doorbell ||
		    q->doorbell == doorbell_wanted(s, i, job->notify))
			continue;
		hv_ioeventfd_del(hv, q->doorbell, 0, q->kick_fd, &job->e);
		q->doorbell = 0;
	}
	for (unsigned int i = 0; i < s->num; i++) {
		struct vq *q = &s->q[i];
		uint64_t want = doorbell_wanted(s, i, job->notify);

		if (want != q->doorbell &&
		    !hv_ioeventfd_add(hv, want, 0, q->kick_fd, &job->e))
			q->doorbell = want;
	}
	return 0;
}

void vqs_settle_doorbells(struct vqs *s, uint64_t notify)
{
	struct doorbell_job job = {.s = s, .notify = notify};
	bool settled = true;

	for (unsigned int i = 0; i < s->num; i++)
		settled &= s->q[i].doorbell == doorbell_wanted(s, i, notify);
	if (settled)
		return;
	gate_call(s->vm->gate, doorbell_job, &job);
	if (job.e.code)
		log_limited(&s->log, LOG_ERROR,
			    "00:%02x.0: a doorbell can't be wired, kicks go "
			    "the slow way: %s",
			    s->slot, job.e.text);
}

static int vqs_kick_job(struct hv *hv, void *arg)
{
	const struct vq *q = arg;

	(void)hv;
	eventfd_signal(q->kick_fd);
	return 0;
}

void vqs_kick(struct vqs *s, unsigned int index)
{
	if (index < s->num)
		gate_call(s->vm->gate, vqs_kick_job, &s->q[index]);
}
