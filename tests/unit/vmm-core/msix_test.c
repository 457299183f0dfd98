/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/msix.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "tests/unit/vmm-core/pci_fakes.h"

#define VECTORS 3
#define ADDR	0xfee01000u

static struct pci_function function;
static struct msix m;

static void control(uint32_t value)
{
	put_le16(function.config + m.cap + 2, (uint16_t)value);
	msix_config_written(&m, m.cap + 2, 2);
}

static void entry(unsigned int vector, unsigned int dword, uint32_t value)
{
	uint8_t data[4];

	put_le32(data, value);
	msix_table_write(&m, vector * 16 + dword * 4, data, 4);
}

static void program(unsigned int vector, uint32_t data)
{
	entry(vector, 0, ADDR);
	entry(vector, 1, 0);
	entry(vector, 2, data);
	entry(vector, 3, 0);
}

static uint64_t pba(void)
{
	uint8_t data[8];

	msix_pba_read(&m, 0, data, 8);
	return get_le64(data);
}

static void setup(void)
{
	static const struct pci_ids ids;
	struct err e = {0};

	fake_start();
	pci_function_init(&function, &ids, NULL, NULL);
	cr_assert_eq(msix_init(&m, &fake.vm, &function, 4, VECTORS, VECTORS, 0,
			       0x8000, 0x48000, &e),
		     0);
}

static void teardown(void)
{
	msix_done(&m);
	for (unsigned int i = 0; i < FAKE_GSIS; i++) {
		cr_assert_eq(fake.gsi[i].fd, -1);
		cr_assert_not(fake.gsi[i].committed);
	}
	fake_stop();
}

TestSuite(msix, .init = setup, .fini = teardown);

Test(msix, starts_masked_and_off)
{
	uint8_t data[4];

	for (unsigned int i = 0; i < VECTORS; i++) {
		msix_table_read(&m, i * 16 + 12, data, 4);
		cr_assert_eq(get_le32(data), 1u);
		cr_assert_eq(m.sources[i].vector, MSIX_NO_VECTOR);
	}
	cr_assert_eq(msix_table_size(&m), 48u);
	cr_assert_eq(msix_pba_size(&m), 8u);
	cr_assert_eq(fake.gate_calls, 0u);
}

/* Linux: enable with all masked, program each vector, lift the mask. */
Test(msix, linux_sequence_commits_once)
{
	control(0xc000);
	for (unsigned int i = 0; i < VECTORS; i++) {
		program(i, 0x30 + i);
		msix_set_vector(&m, i, (uint16_t)i);
	}
	cr_assert_eq(fake.commits, 0u);
	control(0x8000);
	cr_assert_eq(fake.commits, 1u);
	for (unsigned int i = 0; i < VECTORS; i++) {
		fake_write_eventfd(m.sources[i].fd);
		cr_assert_eq(fake.fired[i].data, 0x30u + i);
		cr_assert_eq(fake.fired[i].addr, ADDR);
		cr_assert_eq(fake.fired[i].devid, 4u << 3);
	}
	cr_assert_eq(fake.num_fired, (unsigned int)VECTORS);
}

Test(msix, masked_vector_stays_pending_and_fires_on_unmask)
{
	control(0x8000);
	program(1, 0x41);
	msix_set_vector(&m, 0, 1);
	entry(1, 3, 1);
	fake_write_eventfd(m.sources[0].fd);
	fake_write_eventfd(m.sources[0].fd);
	cr_assert_eq(fake.num_fired, 0u);
	cr_assert_eq(pba(), 2u);
	entry(1, 3, 0);
	cr_assert_eq(fake.num_fired, 1u);
	cr_assert_eq(fake.fired[0].data, 0x41u);
	cr_assert_eq(pba(), 0u);
	/* and only once */
	entry(1, 3, 1);
	entry(1, 3, 0);
	cr_assert_eq(fake.num_fired, 1u);
}

Test(msix, function_mask_and_enable_hold_interrupts_back)
{
	control(0x8000);
	program(0, 0x41);
	msix_set_vector(&m, 2, 0);
	control(0xc000);
	fake_write_eventfd(m.sources[2].fd);
	cr_assert_eq(pba(), 1u);
	control(0x8000);
	cr_assert_eq(fake.num_fired, 1u);
	control(0);
	fake_write_eventfd(m.sources[2].fd);
	cr_assert_eq(fake.num_fired, 1u);
	cr_assert_eq(pba(), 1u);
	control(0x8000);
	cr_assert_eq(fake.num_fired, 2u);
}

/* Linux moves an interrupt to another CPU: mask, message, unmask. What
 * comes meanwhile arrives with the new message. */
Test(msix, affinity_change_loses_nothing)
{
	control(0x8000);
	program(0, 0x41);
	msix_set_vector(&m, 0, 0);
	entry(0, 3, 1);
	fake_write_eventfd(m.sources[0].fd);
	entry(0, 0, 0xfee02000);
	entry(0, 2, 0x42);
	entry(0, 3, 0);
	cr_assert_eq(fake.num_fired, 1u);
	cr_assert_eq(fake.fired[0].addr, 0xfee02000u);
	cr_assert_eq(fake.fired[0].data, 0x42u);
	cr_assert_eq(fake.commits, 2u);
}

Test(msix, unmasking_the_same_message_commits_nothing)
{
	control(0x8000);
	program(0, 0x41);
	msix_set_vector(&m, 0, 0);
	cr_assert_eq(fake.commits, 1u);
	entry(0, 3, 1);
	entry(0, 3, 0);
	cr_assert_eq(fake.commits, 1u);
	fake_write_eventfd(m.sources[0].fd);
	cr_assert_eq(fake.num_fired, 1u);
}

Test(msix, message_changed_while_unmasked)
{
	control(0x8000);
	program(0, 0x41);
	msix_set_vector(&m, 0, 0);
	entry(0, 2, 0x77);
	fake_write_eventfd(m.sources[0].fd);
	cr_assert_eq(fake.fired[0].data, 0x77u);
}

Test(msix, sources_share_a_vector)
{
	control(0x8000);
	program(2, 0x41);
	msix_set_vector(&m, 0, 2);
	msix_set_vector(&m, 1, 2);
	cr_assert_neq(m.sources[0].gsi, m.sources[1].gsi);
	fake_write_eventfd(m.sources[0].fd);
	fake_write_eventfd(m.sources[1].fd);
	cr_assert_eq(fake.num_fired, 2u);
	entry(2, 3, 1);
	fake_write_eventfd(m.sources[1].fd);
	cr_assert_eq(pba(), 4u);
	entry(2, 3, 0);
	cr_assert_eq(fake.num_fired, 3u);
}

Test(msix, vectors_that_do_not_exist_are_refused)
{
	cr_assert_eq(msix_set_vector(&m, 0, VECTORS), MSIX_NO_VECTOR);
	cr_assert_eq(msix_set_vector(&m, 0, VECTORS - 1), VECTORS - 1);
	cr_assert_eq(msix_set_vector(&m, 0, 0xffff), MSIX_NO_VECTOR);
}

/* One of them could make the hypervisor refuse all routes. */
Test(msix, address_outside_the_msi_window_is_not_routed)
{
	control(0x8000);
	program(0, 0x41);
	entry(0, 0, 0x1000);
	msix_set_vector(&m, 0, 0);
	fake_write_eventfd(m.sources[0].fd);
	cr_assert_eq(fake.commits, 0u);
	entry(0, 0, ADDR);
	cr_assert_eq(fake.num_fired, 1u);
	entry(0, 1, 1); /* above 4 GiB */
	fake_write_eventfd(m.sources[0].fd);
	cr_assert_eq(fake.num_fired, 1u);
}

Test(msix, failed_commit_is_tried_again)
{
	control(0x8000);
	fake.commit_error = -ENOSPC;
	program(0, 0x41);
	msix_set_vector(&m, 0, 0);
	fake_write_eventfd(m.sources[0].fd);
	cr_assert_eq(fake.num_fired, 0u);
	cr_assert_eq(pba(), 1u);
	fake.commit_error = 0;
	control(0x8000);
	cr_assert_eq(fake.num_fired, 1u);
}

Test(msix, core_signals_only_with_a_vector)
{
	control(0x8000);
	program(0, 0x41);
	msix_signal(&m, 0);
	msix_set_vector(&m, 0, 0);
	cr_assert_eq(fake.num_fired, 0u);
	msix_signal(&m, 0);
	fake_poll();
	cr_assert_eq(fake.num_fired, 1u);
}

Test(msix, reset_of_the_sources_forgets_pending)
{
	control(0x8000);
	program(0, 0x41);
	entry(0, 3, 1);
	msix_set_vector(&m, 0, 0);
	fake_write_eventfd(m.sources[0].fd);
	msix_reset_sources(&m);
	msix_set_vector(&m, 0, 0);
	entry(0, 3, 0);
	cr_assert_eq(fake.num_fired, 0u);
}

Test(msix, table_takes_dwords_and_qwords)
{
	uint8_t data[16] = {0xff, 0x0f, 0xe0, 0xfe, 1, 2, 3, 4,
			    5,	  6,	7,    8,    0, 0, 0, 0};
	uint8_t back[16];

	msix_table_write(&m, 16, data, 8);
	msix_table_write(&m, 24, data + 8, 8);
	msix_table_write(&m, 17, data, 4);
	msix_table_write(&m, 16, data + 4, 2);
	msix_table_read(&m, 16, back, 16);
	data[0] = 0xfc;
	cr_assert_arr_eq(back, data, 16);
	entry(1, 3, 0xfffffffe);
	msix_table_read(&m, 28, back, 4);
	cr_assert_eq(get_le32(back), 0u);
}
