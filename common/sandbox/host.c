/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the caller's own user namespace allows it: a container's has few ids,
 * and a host may forbid some kinds of namespaces by number.
 */
#include <stdio.h>

#include "common/sandbox/internal.h"

/* Is @id one of those that /proc/self/@map names? "first outside count" */
static bool host_has_id(const char *map, unsigned int id)
{
	unsigned int first, outside, count;
	char path[32];
	bool has = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/%s", map);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!has && fscanf(f, "%u %u %u", &first, &outside, &count) == 3)
		has = id >= first && id - first < count;
	fclose(f);
	return has;
}

bool sandbox_may_give_ids(uid_t uid, gid_t gid)
{
	struct caps caps;
	struct err e;

	return caps_probe(&caps, &e) == 0 && caps.setuid && caps.setgid &&
	       host_has_id("uid_map", uid) && host_has_id("gid_map", gid);
}

bool host_forbids_namespaces(const char *kind)
{
	char path[64];
	int most = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", kind);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%d", &most) != 1)
		most = -1;
	fclose(f);
	return most == 0;
}
