/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-blk/blk.h"

int main(void)
{
	return device_main(&blk_device);
}
