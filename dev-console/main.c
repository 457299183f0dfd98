/* SPDX-License-Identifier: Apache-2.0 */
#include "dev-console/console.h"

int main(void)
{
	return device_main(&console_ops);
}
