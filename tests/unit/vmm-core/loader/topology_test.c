/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/arch/x86_64/topology.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(topology_init, defaults_to_cores_of_one_package)
{
	struct topology t;

	cr_assert_eq(topology_init(&t, 6, 0, 0, 0, 0, NULL), 0);
	cr_assert_eq(t.cores, 6);
	cr_assert_eq(t.core_bits, 3);
	cr_assert_eq(t.thread_bits, 0);
	for (unsigned int i = 0; i < 6; i++)
		cr_assert_eq(topology_apic_id(&t, i), i);
}

Test(topology_apic_id, leaves_gaps_for_counts_that_are_no_power_of_two)
{
	struct topology t;

	/* 2 threads, 3 cores, 1 die, 2 packages: fields of 1, 2, 0 bits */
	cr_assert_eq(topology_init(&t, 12, 2, 3, 1, 2, NULL), 0);
	cr_assert_eq(topology_apic_id(&t, 0), 0);
	cr_assert_eq(topology_apic_id(&t, 1), 1);
	cr_assert_eq(topology_apic_id(&t, 2), 2);
	cr_assert_eq(topology_apic_id(&t, 5), 5);
	cr_assert_eq(topology_apic_id(&t, 6), 8);
	cr_assert_eq(topology_apic_id(&t, 11), 13);
}

Test(topology_apic_id, has_a_die_field)
{
	struct topology t;

	cr_assert_eq(topology_init(&t, 8, 1, 2, 2, 2, NULL), 0);
	for (unsigned int i = 0; i < 8; i++)
		cr_assert_eq(topology_apic_id(&t, i), i);
}

Test(topology_init, refuses_what_does_not_multiply)
{
	struct topology t;
	struct err e;

	cr_assert_eq(topology_init(&t, 4, 2, 3, 1, 1, &e), -EINVAL);
	cr_assert(strstr(e.text, "2:3:1:1"));
	cr_assert_eq(topology_init(&t, 4, 4, 0, 1, 1, &e), -EINVAL);
	cr_assert_eq(topology_init(&t, 0, 0, 0, 0, 0, &e), -EINVAL);
	cr_assert_eq(topology_init(&t, 255, 0, 0, 0, 0, &e), -EINVAL);
	/* products that would wrap around to the right number */
	cr_assert_eq(topology_init(&t, 4, 0x40000001, 4, 1, 1, &e), -EINVAL);
}
