/* SPDX-License-Identifier: Apache-2.0 */

/*
 * After the run: does the image hold exactly what the guest was told is
 * stable, did the console pass each byte once, is no more lost on the network
 * than was in the air, and how long did each device not serve.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/load/pattern.h"
#include "tests/recovery/storm.h"

#define WINDOW	32   /* frames that the guest has in the air */
#define LATE_US 2000 /* a gap begins this much after a kill at most */
#define SHOWN	5

/* The report's line that begins with @name; NULL if there is none */
static const char *report_line(const struct storm_vm *vm, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = vm->report; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, name, len) && (p[len] == ' ' || p[len] == '\n'))
			return p;
	}
	return NULL;
}

uint64_t verdict_number(const struct storm_vm *vm, const char *line,
			const char *name)
{
	const char *p = report_line(vm, line),
		   *end = p ? strchr(p, '\n') : NULL;
	char key[64];

	snprintf(key, sizeof(key), " %s=", name);
	p = p ? strstr(p, key) : NULL;
	if (!p || !end || p > end) {
		storm_finding("the guest's report has no %s in %s", name, line);
		return 0;
	}
	return strtoull(p + strlen(key), NULL, 10);
}

static void check_guest(const struct storm_vm *vm)
{
	unsigned int shown = 0;

	for (const char *p = vm->report; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, "FAIL ", 5) || !strncmp(p, "guest: ", 7)) {
			int len = (int)strcspn(p, "\n");

			if (shown++ < SHOWN)
				storm_finding("guest: %.*s", len, p);
		}
	}
	if (!report_line(vm, "DONE"))
		storm_finding("the guest did not come to its end");
	else if (!strstr(vm->report, "DONE ok"))
		storm_finding("the guest found %" PRIu64 " faults",
			      verdict_number(vm, "DONE fail", "failures"));
}

static void check_blocks(const uint8_t *image, uint64_t blocks)
{
	const uint32_t *table =
		(const uint32_t *)(image + blocks * PATTERN_BLOCK);
	unsigned int shown = 0;

	for (uint64_t i = 0; i < blocks; i++) {
		const uint64_t *words =
			(const uint64_t *)(image + i * PATTERN_BLOCK);
		unsigned int bad = pattern_check(words, i, table[i]);

		if (bad == PATTERN_WORDS)
			continue;
		if (shown++ < SHOWN)
			storm_finding("image: block %" PRIu64
				      " is not generation %u (word %u)",
				      i, table[i], bad);
	}
	if (shown > SHOWN)
		storm_finding("image: %u blocks are wrong", shown);
}

static void check_image(const struct storm_vm *vm)
{
	uint64_t blocks = verdict_number(vm, "BLK-TABLE", "blocks");
	uint64_t digest = verdict_number(vm, "BLK-TABLE", "digest");
	uint64_t len = (blocks + pattern_table_blocks(blocks)) * PATTERN_BLOCK;
	int fd = open(vm_path(vm, "disk.img"), O_RDONLY | O_CLOEXEC);
	uint8_t *image;
	struct stat st;

	if (!blocks)
		return;
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size < len)
		storm_die("disk.img: too small");
	image = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (image == MAP_FAILED)
		storm_die("disk.img: %m");
	if (pattern_digest((const uint32_t *)(image + blocks * PATTERN_BLOCK),
			   blocks) != digest)
		storm_finding("image: the table behind the blocks is not the "
			      "guest's");
	else
		check_blocks(image, blocks);
	munmap(image, len);
}

static void check_net(const struct storm_vm *vm, unsigned int kills)
{
	uint64_t back = verdict_number(vm, "NET", "back");
	uint64_t lost = verdict_number(vm, "NET", "lost");
	uint64_t twice = verdict_number(vm, "NET", "twice");

	if (!back)
		storm_finding("net: no frame came back");
	if (lost > (uint64_t)kills * WINDOW)
		storm_finding("net: %" PRIu64 " frames lost in %u restarts",
			      lost, kills);
	if (twice > (uint64_t)kills * WINDOW)
		storm_finding("net: %" PRIu64 " frames twice in %u restarts",
			      twice, kills);
}

/* A process that is killed within write() can't tell its successor whether
 * the bytes went out: to a socket or terminal they may go twice. */
static void check_console(const struct storm_vm *vm, unsigned int kills,
			  uint64_t typed)
{
	uint64_t out = verdict_number(vm, "CONSOLE", "bytes_out");
	uint64_t in = verdict_number(vm, "CONSOLE", "bytes_in");

	if (peer_console_bytes() != out)
		storm_finding("console: %" PRIu64 " bytes arrived of %" PRIu64,
			      peer_console_bytes(), out);
	if (peer_console_repeats() > kills)
		storm_finding("console: %" PRIu64 " repetitions in %u restarts",
			      peer_console_repeats(), kills);
	if (in != typed)
		storm_finding("console: the guest got %" PRIu64
			      " bytes of %" PRIu64 " typed",
			      in, typed);
}

void verdict_check(const struct storm_vm *vm, unsigned int kills[NUM_DEVS],
		   uint64_t typed)
{
	check_guest(vm);
	check_image(vm);
	check_net(vm, kills[DEV_NET]);
	check_console(vm, kills[DEV_CONSOLE], typed);
	if (!verdict_number(vm, "RNG", "bytes"))
		storm_finding("rng: no bytes came");
}

struct gap {
	uint64_t end, ticks; /* guest's TSC */
};

/* The guest's record of this device's pauses, from the image; to be freed */
static struct gap *read_gaps(const struct storm_vm *vm, enum storm_device d,
			     size_t *ret_num)
{
	FILE *f = fopen(vm_path(vm, "disk.img"), "re");
	struct gap *list;
	char line[32];
	size_t num;

	snprintf(line, sizeof(line), "GAPS %s", storm_roles[d]);
	num = verdict_number(vm, line, "kept");
	list = calloc(num + 1, sizeof(*list));
	if (!f || !list ||
	    fseek(f, (long)(verdict_number(vm, line, "at") * PATTERN_BLOCK),
		  SEEK_SET) ||
	    fread(list, sizeof(*list), num, f) != num)
		storm_die("disk.img: the record of pauses can't be read");
	fclose(f);
	*ret_num = num;
	return list;
}

/* The first pause that ends after the kill, if it began before or soon after:
 * how long after the kill it ended. */
static uint64_t gap_after(const struct storm_vm *vm, const struct gap *list,
			  size_t num, uint64_t tsc)
{
	uint64_t late = vm->khz * LATE_US / 1000;

	for (size_t i = 0; i < num; i++) {
		uint64_t end = list[i].end + (uint64_t)vm->tsc_offset;

		if (end <= tsc)
			continue;
		return end - list[i].ticks > tsc + late
			       ? 0
			       : (end - tsc) * 1000 / vm->khz;
	}
	return 0;
}

void verdict_gaps(const struct storm_vm *vm, struct storm_kill *kills,
		  unsigned int num)
{
	for (int d = 0; d < NUM_DEVS; d++) {
		size_t n;
		struct gap *list = read_gaps(vm, (enum storm_device)d, &n);

		for (unsigned int i = 0; i < num; i++) {
			if (kills[i].device == (enum storm_device)d)
				kills[i].gap_us =
					gap_after(vm, list, n, kills[i].tsc);
		}
		free(list);
	}
}

unsigned int verdict_in_flight(const struct storm_vm *vm, const char *id)
{
	char *log = vm_read(vm, "log.txt"), key[64];
	unsigned int n = 0;

	snprintf(key, sizeof(key), "event=device-lost device=%s ", id);
	for (const char *p = log; (p = strstr(p, key)); p++) {
		const char *q = strstr(p, " in_flight=");

		n += q && q < strchrnul(p, '\n') && strtoul(q + 11, NULL, 10);
	}
	free(log);
	return n;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void verdict_summary(const struct storm_kill *kills, unsigned int num,
		     enum storm_device d, struct storm_gaps *ret)
{
	uint64_t *v = calloc(num + 1, sizeof(*v));
	unsigned int n = 0;

	if (!v)
		storm_die("no memory");
	for (unsigned int i = 0; i < num; i++) {
		if (kills[i].device == d || d == NUM_DEVS)
			v[n++] = kills[i].gap_us;
	}
	qsort(v, n, sizeof(*v), compare_u64);
	*ret = (struct storm_gaps){.num = n};
	if (n) {
		ret->p50 = v[n / 2];
		ret->p99 = v[(size_t)n * 99 / 100];
		ret->max = v[n - 1];
	}
	free(v);
}
