/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-net/net.h"

int main(void)
{
	return device_main(&net_device_ops);
}
