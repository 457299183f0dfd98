/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-rng/rng.h"

int main(void)
{
	return device_main(&rng_ops);
}
