/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bytering.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/num.h"

Test(num, range_ok_never_overflows)
{
	cr_assert(range_ok(0, 10, 10));
	cr_assert(range_ok(10, 0, 10));
	cr_assert_not(range_ok(1, 10, 10));
	cr_assert_not(range_ok(UINT64_MAX, 2, 10));
	cr_assert_not(range_ok(1, UINT64_MAX, 10));
}

Test(num, ranges_overlap_at_the_edges)
{
	cr_assert(ranges_overlap(0, 2, 1, 1));
	cr_assert_not(ranges_overlap(0, 1, 1, 1));
	cr_assert_not(ranges_overlap(5, 0, 0, 10));
	cr_assert(ranges_overlap(UINT64_MAX - 1, 1, 0, UINT64_MAX));
}

Test(err, prefix_and_errno)
{
	struct err e = {0};

	errno = ENOENT;
	cr_assert_eq(err_errno(&e, "open %s", "x"), -ENOENT);
	cr_assert_str_eq(e.text, "open x: No such file or directory");
	err_prefix(&e, "disk");
	cr_assert_str_eq(e.text, "disk: open x: No such file or directory");
	cr_assert_eq(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

Test(err, a_long_text_is_cut_not_overrun)
{
	char big[2 * ERR_TEXT_MAX];
	struct err e = {0};

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, -EINVAL, "%s", big);
	cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
	err_prefix(&e, "%s", big);
	cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
}

Test(bytering, keeps_the_newest)
{
	struct bytering r;

	cr_assert_eq(bytering_init(&r, 8), 0);
	bytering_put(&r, (const uint8_t *)"abcdef", 6);
	bytering_put(&r, (const uint8_t *)"ghij", 4);
	cr_assert_eq(r.len, 8);
	cr_assert_eq(r.dropped, 2);
	bytering_put(&r, (const uint8_t *)"0123456789", 10);
	cr_assert_eq(r.dropped, 12);

	int p[2];
	char out[16] = {0};

	cr_assert_eq(pipe2(p, O_NONBLOCK), 0);
	cr_assert_eq(bytering_flush(&r, p[1]), 0);
	cr_assert_eq(read(p[0], out, sizeof(out)), 8);
	cr_assert_str_eq(out, "23456789");
	bytering_done(&r);
}

Test(bytering, a_full_reader_loses_nothing)
{
	static uint8_t big[200000];
	struct bytering r;
	size_t got = 0;
	uint8_t out[4096];
	ssize_t n;
	int p[2];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	cr_assert_eq(bytering_init(&r, sizeof(big)), 0);
	bytering_put(&r, big, sizeof(big));
	cr_assert_eq(pipe2(p, O_NONBLOCK), 0);
	for (int i = 0; i < 1000 && got < sizeof(big); i++) {
		int left = bytering_flush(&r, p[1]);

		cr_assert_geq(left, 0);
		while ((n = read(p[0], out, sizeof(out))) > 0) {
			cr_assert_arr_eq(out, big + got, (size_t)n);
			got += (size_t)n;
		}
	}
	cr_assert_eq(got, sizeof(big));
	bytering_done(&r);
}

static unsigned int lines;

static void count_line(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines++;
}

Test(log, a_limit_stops_a_flood)
{
	struct log_limit limit = LOG_LIMIT_INIT(5);

	log_set_sink(count_line);
	for (int i = 0; i < 10000; i++)
		log_limited(&limit, LOG_WARN, "the guest did it again");
	cr_assert_geq(lines, 5);
	cr_assert_lt(lines, 50);
	cr_assert_gt(limit.dropped, 9000);
}
