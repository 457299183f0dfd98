/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <string.h>

#include "common/base/endian.h"
#include "dev-net/net_req.h"

#define ALL (~0ULL)

struct hdr_case {
	const char *what;
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, start, offset;
	uint32_t frame;
	uint64_t features;
	enum net_verdict want;
};

static const struct hdr_case hdr_cases[] = {
	{"plain", 0, 0, 0, 0, 0, 0, 60, 0, NET_PASS},
	{"smallest", 0, 0, 0, 0, 0, 0, 14, 0, NET_PASS},
	{"short", 0, 0, 0, 0, 0, 0, 13, ALL, NET_DROP_SHORT},
	{"largest", 0, 0, 0, 0, 0, 0, 65550, 0, NET_PASS},
	{"long", 0, 0, 0, 0, 0, 0, 65551, ALL, NET_DROP_LONG},
	{"stale lengths are ignored", 0, 0, 0xffff, 9, 0, 0, 60, 0, NET_PASS},
	{"checksum", 1, 0, 0, 0, 34, 16, 60, ALL, NET_PASS},
	{"checksum ends at the end", 1, 0, 0, 0, 34, 24, 60, ALL, NET_PASS},
	{"checksum one past", 1, 0, 0, 0, 34, 25, 60, ALL, NET_DROP_HEADER},
	{"checksum sum wraps", 1, 0, 0, 0, 0xffff, 0xffff, 60, ALL,
	 NET_DROP_HEADER},
	{"checksum not accepted", 1, 0, 0, 0, 34, 16, 60, 0, NET_DROP_HEADER},
	{"tso4", 1, 1, 54, 1448, 34, 16, 9000, ALL, NET_PASS},
	{"tso4 with ecn", 1, 0x81, 54, 1448, 34, 16, 9000, ALL, NET_PASS},
	{"tso4 without checksum", 0, 1, 54, 1448, 34, 16, 9000, ALL,
	 NET_DROP_HEADER},
	{"tso4 without size", 1, 1, 54, 0, 34, 16, 9000, ALL, NET_DROP_HEADER},
	{"tso4 not accepted", 1, 1, 54, 1448, 34, 16, 9000,
	 NET_BIT(NET_F_CSUM) | NET_BIT(NET_F_HOST_TSO6), NET_DROP_HEADER},
	{"ecn not accepted", 1, 0x81, 54, 1448, 34, 16, 9000,
	 NET_BIT(NET_F_CSUM) | NET_BIT(NET_F_HOST_TSO4), NET_DROP_HEADER},
	{"tso6", 1, 4, 74, 1440, 54, 16, 9000, ALL, NET_PASS},
	{"ufo", 1, 3, 42, 1480, 34, 6, 9000, ALL, NET_PASS},
	{"ufo with ecn", 1, 0x83, 42, 1480, 34, 6, 9000, ALL, NET_DROP_HEADER},
	{"uso", 1, 5, 42, 1200, 34, 6, 9000, ALL, NET_PASS},
	{"type 2", 1, 2, 42, 1200, 34, 6, 9000, ALL, NET_DROP_HEADER},
	{"type 6", 1, 6, 42, 1200, 34, 6, 9000, ALL, NET_DROP_HEADER},
	{"header longer than frame", 1, 1, 61, 20, 34, 16, 60, ALL,
	 NET_DROP_HEADER},
};

Test(net_hdr_check, judges_each_case)
{
	for (size_t i = 0; i < sizeof(hdr_cases) / sizeof(hdr_cases[0]); i++) {
		const struct hdr_case *c = &hdr_cases[i];
		uint8_t h[NET_HDR_LEN] = {c->flags, c->gso};

		put_le16(h + 2, c->hdr_len);
		put_le16(h + 4, c->gso_size);
		put_le16(h + 6, c->start);
		put_le16(h + 8, c->offset);
		cr_expect_eq(net_hdr_check(h, c->frame, c->features), c->want,
			     "%s", c->what);
	}
}

Test(net_hdr_check, clears_what_a_device_ignores)
{
	uint8_t h[NET_HDR_LEN] = {0xfe, 0, 1, 2, 3, 4, 0, 0, 0, 0, 9, 9};
	static const uint8_t zero[NET_HDR_LEN];

	cr_assert_eq(net_hdr_check(h, 60, 0), NET_PASS);
	cr_assert_arr_eq(h, zero, NET_HDR_LEN);
}

Test(net_offload_flags, follow_the_accepted_features)
{
	uint64_t csum = NET_BIT(NET_F_GUEST_CSUM);

	cr_expect_eq(net_offload_flags(0), 0u);
	cr_expect_eq(net_offload_flags(NET_BIT(NET_F_GUEST_TSO4)), 0u);
	cr_expect_eq(net_offload_flags(csum), (unsigned int)TUN_F_CSUM);
	cr_expect_eq(net_offload_flags(csum | NET_BIT(NET_F_GUEST_ECN)),
		     (unsigned int)TUN_F_CSUM, "ECN alone means nothing");
	cr_expect_eq(net_offload_flags(csum | NET_BIT(NET_F_GUEST_TSO6) |
				       NET_BIT(NET_F_GUEST_ECN)),
		     (unsigned int)(TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN));
	cr_expect_eq(net_offload_flags(csum | NET_BIT(NET_F_GUEST_USO4)),
		     (unsigned int)TUN_F_CSUM, "one USO of two");
	cr_expect_eq(net_offload_flags(csum | NET_BIT(NET_F_GUEST_USO4) |
				       NET_BIT(NET_F_GUEST_USO6)),
		     TUN_F_CSUM | 0x60u);
}

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t other[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};

/* Runs a command; Return: net_ctrl_parse()'s. */
static int run(struct net_filter *f, struct net_ctrl *c, uint64_t features,
	       uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint8_t buf[4096] = {class, cmd};

	memcpy(buf + 2, data, len);
	return net_ctrl_parse(buf, len + 2, features, 4, f, c);
}

static void promisc_off(struct net_filter *f)
{
	struct net_ctrl c;

	net_filter_init(f, mac);
	cr_assert_eq(run(f, &c, ALL, 0, 0, "\0", 1), 0);
}

Test(net_filter, takes_all_after_reset)
{
	struct net_filter f;

	net_filter_init(&f, mac);
	cr_expect(net_filter_wants(&f, mac));
	cr_expect(net_filter_wants(&f, other));
	cr_expect(net_filter_wants(&f, group));
}

Test(net_filter, takes_own_and_broadcast_only)
{
	struct net_filter f;

	promisc_off(&f);
	cr_expect(net_filter_wants(&f, mac));
	cr_expect(net_filter_wants(&f, all));
	cr_expect_not(net_filter_wants(&f, other));
	cr_expect_not(net_filter_wants(&f, group));
}

Test(net_filter, obeys_each_switch)
{
	static const struct {
		uint8_t cmd;
		const uint8_t *dst;
		bool want;
	} cases[] = {{1, group, true}, {2, other, true}, {3, group, false},
		     {4, mac, false},  {5, all, false},	 {0, other, true}};
	struct net_ctrl c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct net_filter f;

		promisc_off(&f);
		cr_assert_eq(run(&f, &c, ALL, 0, cases[i].cmd, "\1", 1), 0);
		cr_expect_eq(c.kind, NET_CTRL_FILTER);
		cr_expect_eq(net_filter_wants(&f, cases[i].dst), cases[i].want,
			     "switch %u", cases[i].cmd);
	}
}

static uint32_t make_table(uint8_t *buf, uint32_t uni, uint32_t multi)
{
	uint32_t at = 0;

	put_le32(buf, uni);
	at += 4;
	for (uint32_t i = 0; i < uni; i++, at += 6)
		memcpy(buf + at, other, 6);
	put_le32(buf + at, multi);
	at += 4;
	for (uint32_t i = 0; i < multi; i++, at += 6)
		memcpy(buf + at, group, 6);
	return at;
}

Test(net_filter, takes_what_the_table_lists)
{
	uint8_t table[2048];
	struct net_filter f;
	struct net_ctrl c;

	promisc_off(&f);
	cr_assert_eq(run(&f, &c, ALL, 1, 0, table, make_table(table, 1, 1)), 0);
	cr_expect(net_filter_wants(&f, other));
	cr_expect(net_filter_wants(&f, group));
	cr_assert_eq(run(&f, &c, ALL, 1, 0, table, make_table(table, 0, 0)), 0);
	cr_expect_not(net_filter_wants(&f, other));
	cr_expect_not(net_filter_wants(&f, group));
}

Test(net_filter, takes_every_group_when_the_table_overflows)
{
	static const uint8_t unlisted[6] = {1, 0, 0x5e, 1, 2, 3};
	uint8_t table[2048];
	struct net_filter f;
	struct net_ctrl c;

	promisc_off(&f);
	cr_assert_eq(run(&f, &c, ALL, 1, 0, table, make_table(table, 1, 65)),
		     0);
	cr_expect(net_filter_wants(&f, unlisted));
	cr_expect_not(net_filter_wants(&f, (const uint8_t *)"\2\0\0\0\0\7"));
}

Test(net_ctrl, changes_the_address)
{
	struct net_filter f;
	struct net_ctrl c;

	promisc_off(&f);
	cr_assert_eq(run(&f, &c, ALL, 1, 1, other, 6), 0);
	cr_expect(net_filter_wants(&f, other));
	cr_expect_not(net_filter_wants(&f, mac));
}

Test(net_ctrl, takes_pairs_offloads_and_announcements)
{
	struct net_filter f;
	struct net_ctrl c;
	uint8_t bits[8];

	net_filter_init(&f, mac);
	cr_assert_eq(run(&f, &c, ALL, 4, 0, "\4\0", 2), 0);
	cr_expect(c.kind == NET_CTRL_PAIRS && c.value == 4);
	put_le64(bits, NET_BIT(NET_F_GUEST_CSUM) | NET_BIT(NET_F_GUEST_TSO4));
	cr_assert_eq(run(&f, &c, ALL, 5, 0, bits, 8), 0);
	cr_expect(c.kind == NET_CTRL_OFFLOADS && c.value == get_le64(bits));
	cr_assert_eq(run(&f, &c, ALL, 3, 0, "", 0), 0);
	cr_expect_eq(c.kind, NET_CTRL_ANNOUNCED);
}

struct bad_command {
	const char *what;
	uint64_t features;
	uint8_t class, cmd;
	uint8_t data[20];
	uint32_t len;
};

static const struct bad_command bad_commands[] = {
	{"unknown class", ALL, 9, 0, {0}, 1},
	{"VLAN", ALL, 2, 0, {1, 0}, 2},
	{"unknown switch", ALL, 0, 6, {1}, 1},
	{"switch neither on nor off", ALL, 0, 0, {2}, 1},
	{"switch without value", ALL, 0, 0, {0}, 0},
	{"switch too long", ALL, 0, 0, {0, 0}, 2},
	{"switch not accepted", 0, 0, 0, {1}, 1},
	{"extra switch not accepted", NET_BIT(NET_F_CTRL_RX), 0, 2, {1}, 1},
	{"no pairs", ALL, 4, 0, {0, 0}, 2},
	{"more pairs than there are", ALL, 4, 0, {5, 0}, 2},
	{"pairs not accepted", 0, 4, 0, {1, 0}, 2},
	{"RSS", ALL, 4, 1, {1, 0}, 2},
	{"offload that is the host's", ALL, 5, 0, {0, 8}, 8},
	{"offload not accepted",
	 NET_BIT(NET_F_CTRL_GUEST_OFFLOADS),
	 5,
	 0,
	 {2},
	 8},
	{"short offloads", ALL, 5, 0, {2}, 7},
	{"address too short", ALL, 1, 1, {2}, 5},
	{"table without a count", ALL, 1, 0, {0}, 3},
	{"table longer than the command", ALL, 1, 0, {2, 0, 0, 0}, 10},
	{"table count that wraps",
	 ALL,
	 1,
	 0,
	 {0xab, 0xaa, 0xaa, 0x2a, 0, 0, 0, 0},
	 8},
	{"one table only", ALL, 1, 0, {0}, 4},
	{"bytes after the tables", ALL, 1, 0, {0}, 9},
	{"long announcement", ALL, 3, 0, {0}, 1},
};

Test(net_ctrl, refuses_bad_commands_and_changes_nothing)
{
	for (size_t i = 0; i < sizeof(bad_commands) / sizeof(bad_commands[0]);
	     i++) {
		const struct bad_command *b = &bad_commands[i];
		struct net_filter f, before;
		struct net_ctrl c;

		promisc_off(&f);
		before = f;
		cr_expect_eq(run(&f, &c, b->features, b->class, b->cmd, b->data,
				 b->len),
			     -EINVAL, "%s", b->what);
		cr_expect_eq(memcmp(&f, &before, sizeof(f)), 0, "%s", b->what);
	}
	for (uint32_t len = 0; len < 2; len++) {
		struct net_filter f;
		struct net_ctrl c;
		uint8_t buf[2] = {0};

		cr_expect_eq(net_ctrl_parse(buf, len, ALL, 1, &f, &c), -EINVAL);
	}
}
