// SPDX-License-Identifier: Apache-2.0
/* dp_test.c - the datapath's maps and pins: made, adopted, compared, filled. */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/dp.h"
#include "lib/addr.h"
#include "lib/arena.h"
#include "policy/policy.h"
#include "test/test.h"

#define BPFFS "/sys/fs/bpf/dp_test"

static const struct dp_config config = {
	.masquerade = 1,
	.nat_port_min = NAT_PORT_MIN,
	.nat_port_max = NAT_PORT_MAX,
	.share = 1000,
};

static struct dp *open_or_fail(void)
{
	struct err err = {};
	struct dp *dp = NULL;

	if (dp_open(&config, BPFFS, &dp, &err))
		fail_msg("dp_open: %s", err.text);
	return dp;
}

static int setup(void **state)
{
	*state = open_or_fail();
	return 0;
}

static void unpin(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static int teardown(void **state)
{
	struct dp *dp = *state;
	char dir[256];

	snprintf(dir, sizeof(dir), "%s/v%d", BPFFS, ABI_VERSION);
	dp_close(dp);
	unpin(dir);
	return rmdir(dir) || rmdir(BPFFS);
}

static __u32 prog_id(int fd)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static __u32 hook_prog_id(const struct dp *dp, __u32 hook)
{
	__u32 id = 0;

	assert_int_equal(
		bpf_map_lookup_elem(dp_map_fd(dp, "hooks"), &hook, &id), 0);
	return id;
}

static struct addr v4(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static void what_was_written_is_there_after_a_restart(void **state)
{
	const struct endpoint ep = {
		.ifindex = 7, .slot = SLOT_CLOSED, .mtu = 1500};
	const struct addr_info info = {.identity = ID(CLASS_POD4, 20),
	                               .endpoint = 3};
	const struct addr addr = v4("10.0.0.5");
	struct dp *dp = *state;
	struct endpoint got_ep;
	struct addr_info got;
	__u32 stub, program;

	assert_false(dp_adopted(dp));
	assert_int_equal(dp_endpoint_put(dp, 3, &ep), 0);
	assert_int_equal(dp_addr_put(dp, &addr, &info), 0);
	dp_epoch_raise(dp, 3);
	dp_epoch_raise(dp, 0);
	stub = prog_id(dp_prog_fd(dp, "stub_from_pod"));
	program = hook_prog_id(dp, HOOK_FROM_POD);
	dp_close(dp);

	*state = dp = open_or_fail();
	assert_true(dp_adopted(dp));
	assert_int_equal(dp_endpoint_get(dp, 3, &got_ep), 0);
	assert_memory_equal(&got_ep, &ep, sizeof(ep));
	assert_int_equal(
		bpf_map_lookup_elem(dp_map_fd(dp, "addrs"), &addr, &got), 0);
	assert_memory_equal(&got, &info, sizeof(info));
	assert_int_equal(dp_epochs(dp)->endpoint[3], 1);
	assert_int_equal(dp_epochs(dp)->node, 1);
	/* The devices' stubs stay, the programs behind them are new. */
	assert_int_equal(prog_id(dp_prog_fd(dp, "stub_from_pod")), stub);
	assert_int_not_equal(hook_prog_id(dp, HOOK_FROM_POD), program);
}

static __u32 map_id(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

/* From the first start on: half-open flows too live through the second. */
static void every_map_is_the_same_one_after_a_restart(void **state)
{
	static const char *const name[] = {
		"endpoints", "addrs",     "prefixes", "uplinks", "slots",
		"policies",  "ranges",    "flows",    "frags",   "held",
		"epochs",    "flows_new", "drops",    "events",  "counters",
		"hooks",     "sweeps",
	};
	struct dp *dp = *state;
	__u32 id[ARRAY_SIZE(name)];

	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		id[i] = map_id(dp_map_fd(dp, name[i]));
	dp_close(dp);
	*state = dp = open_or_fail();
	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		if (map_id(dp_map_fd(dp, name[i])) != id[i])
			fail_msg("%s is another map", name[i]);
}

static void a_map_of_another_layout_is_refused_by_name(void **state)
{
	struct dp *dp = *state, *second = NULL;
	struct err err = {};
	char path[320];
	int fd;

	snprintf(path, sizeof(path), "%s/addrs", dp_pin_dir(dp));
	dp_close(dp);
	*state = NULL;
	assert_int_equal(unlink(path), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "addrs", 4, 8, 16, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);

	assert_int_equal(dp_open(&config, BPFFS, &second, &err), -EEXIST);
	assert_null(second);
	assert_non_null(strstr(err.text, "addrs"));
	assert_non_null(strstr(err.text, "type"));
}

static void a_lost_pin_is_made_again(void **state)
{
	struct dp *dp = *state;
	char path[320];
	__u32 stub = prog_id(dp_prog_fd(dp, "stub_from_pod"));

	snprintf(path, sizeof(path), "%s/hooks", dp_pin_dir(dp));
	dp_close(dp);
	assert_int_equal(unlink(path), 0);
	*state = dp = open_or_fail();
	/* A stub that jumps through the array that was lost is of no use. */
	assert_int_not_equal(prog_id(dp_prog_fd(dp, "stub_from_pod")), stub);
	assert_int_equal(access(path, F_OK), 0);
}

/* ---- slots -------------------------------------------------------------- */

static struct table table_of(struct arena *arena, size_t entries, size_t ranges)
{
	struct table t = {
		.header = {.shapes = {SHAPE_BIT(LEVEL_ANY, SHAPE_PORT), 0},
	                   .isolated = {1, 0}},
		.entry = arena_array(arena, entries, sizeof(*t.entry)),
		.n_entries = entries,
		.range = arena_array(arena, ranges, sizeof(*t.range)),
		.n_ranges = ranges,
	};

	for (size_t i = 0; i < entries; i++) {
		t.entry[i].key.peer = htonl((__u32)i + 1);
		t.entry[i].key.port = htons((__u16)i);
		t.entry[i].key.proto = IPPROTO_TCP;
		t.entry[i].val.allow = 1;
	}
	for (size_t i = 0; i < ranges; i++) {
		t.range[i].key.bits = 64;
		t.range[i].key.peer = htonl((__u32)i + 1);
		t.range[i].key.proto = IPPROTO_UDP;
		t.range[i].val.allow = 1;
	}
	t.hash = dp_table_hash(&t);
	return t;
}

static void a_slot_holds_what_it_was_filled_with(void **state)
{
	static const struct {
		const char *name;
		size_t entries, ranges;
	} cases[] = {
		{"nothing but its header", 0,              0              },
		{"one entry",              1,              0              },
		{"ranges alone",           0,              5              },
		{"as much as is small",    SLOT_SMALL,     RANGE_SMALL    },
		{"one more than small",    SLOT_SMALL + 1, RANGE_SMALL + 1},
		{"ten thousand",           10000,          0              },
	};
	struct dp *dp = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(0);
		struct table want =
			table_of(arena, cases[i].entries, cases[i].ranges);
		struct table got;
		struct err err = {};
		int slot = dp_slot_fill(dp, &want, &err);

		if (slot < (int)SLOT_FIRST)
			fail_msg("%s: %s", cases[i].name, err.text);
		assert_int_equal(dp_slot_read(dp, (uint32_t)slot, arena, &got),
		                 0);
		if (got.hash != want.hash)
			fail_msg("%s: %zu entries, %zu ranges came back",
			         cases[i].name, got.n_entries, got.n_ranges);
	}
}

/* A slot that is full to the brim, and has room for what settles it. */
static void edits_find_the_room_that_was_spared(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct table table = table_of(arena, SLOT_SMALL, RANGE_SMALL), got;
	struct slot_edit edit[6] = {};
	struct dp *dp = *state;
	struct err err = {};
	int slot;

	for (int i = 0; i < 4; i++) {
		edit[i].is_range = i % 2;
		edit[i].key.peer = edit[i].range.peer = 0xffff0000u + (__u32)i;
		edit[i].range.bits = 64;
		edit[i].val.allow = 1;
	}
	edit[4] = (struct slot_edit){.remove = true, .key = table.entry[0].key};
	edit[5] = edit[4]; /* gone already */
	slot = dp_slot_fill_spare(dp, &table, ARRAY_SIZE(edit), &err);
	assert_true(slot >= (int)SLOT_FIRST);
	assert_int_equal(
		dp_slot_edit(dp, (uint32_t)slot, edit, ARRAY_SIZE(edit)), 0);
	assert_int_equal(dp_slot_read(dp, (uint32_t)slot, arena, &got), 0);
	assert_int_equal(got.n_entries, SLOT_SMALL + 2 - 1);
	assert_int_equal(got.n_ranges, RANGE_SMALL + 2);

	/* Without it the kernel refuses, and says so. */
	slot = dp_slot_fill(dp, &table, &err);
	assert_true(slot >= (int)SLOT_FIRST);
	assert_int_not_equal(dp_slot_edit(dp, (uint32_t)slot, edit, 4), 0);
}

static void a_table_too_large_is_refused(void **state)
{
	const struct table huge = {.n_entries = SLOT_LARGE + 1};
	struct err err = {};

	assert_int_equal(dp_slot_fill(*state, &huge, &err), -E2BIG);
	assert_non_null(strstr(err.text, "262145"));
}

static void a_retired_slot_rests_before_it_is_used_again(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct table table = table_of(arena, 3, 2);
	struct dp *dp = *state;
	struct err err = {};
	struct table got;
	int slot = dp_slot_fill(dp, &table, &err);
	unsigned fresh = dp_slots_fresh(dp);

	assert_true(slot >= (int)SLOT_FIRST);
	dp_slot_retire(dp, (uint32_t)slot);
	/* The first wait only lets it rest: its entries are still there. */
	assert_true(dp_slots_tend(dp, &err) >= 0);
	assert_int_equal(dp_slot_read(dp, (uint32_t)slot, arena, &got), 0);
	assert_int_equal(got.n_entries, 3);
	assert_true(dp_slots_tend(dp, &err) > 0);
	assert_int_equal(dp_slot_read(dp, (uint32_t)slot, arena, &got), 0);
	assert_int_equal(got.n_entries + got.n_ranges, 0);
	assert_true(dp_slots_fresh(dp) > fresh);
}

static void more_slots_than_the_stock_can_be_filled(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct table table = table_of(arena, 2, 1);
	char used[SLOT_MAX] = {};
	struct dp *dp = *state;

	for (int i = 0; i < 100; i++) {
		struct err err = {};
		int slot = dp_slot_fill(dp, &table, &err);

		if (slot < (int)SLOT_FIRST)
			fail_msg("slot %d: %s", i, err.text);
		assert_false(used[slot]);
		used[slot] = 1;
	}
}

static void slots_in_use_survive_a_restart_others_do_not(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct table table = table_of(arena, 4, 0);
	struct endpoint ep = {.ifindex = 9};
	struct dp *dp = *state;
	struct err err = {};
	int live = dp_slot_fill(dp, &table, &err);
	int lost = dp_slot_fill(dp, &table, &err);
	uint64_t hash;

	ep.slot = (uint32_t)live;
	assert_int_equal(dp_endpoint_put(dp, 1, &ep), 0);
	dp_close(dp);
	*state = dp = open_or_fail();
	for (int i = 0; i < 3; i++)
		assert_true(dp_slots_tend(dp, &err) >= 0);
	assert_int_equal(dp_slot_hash(dp, (uint32_t)live, &hash), 0);
	assert_true(hash == table.hash);
	assert_int_equal(dp_slot_hash(dp, (uint32_t)lost, &hash), 0);
	assert_true(hash != table.hash);
}

static int count_one(const void *key, const void *value, void *user)
{
	(void)key;
	(void)value;
	++*(size_t *)user;
	return 0;
}

static void batches_put_and_each_sees_every_entry(void **state)
{
	enum { N = 3000 };
	struct dp *dp = *state;
	struct prefix_info where[N];
	struct addr_info info[N];
	struct prefix_key key[N];
	struct addr addr[N];
	size_t n = 0;

	for (int i = 0; i < N; i++) {
		const struct addr base = v4("10.0.0.0");

		addr[i] = addr_add(&base, (unsigned long)i);
		info[i] = (struct addr_info){.identity = (__u32)i + 1};
		key[i].bits = 128;
		memcpy(key[i].addr, &addr[i], sizeof(addr[i]));
		where[i] = (struct prefix_info){.identity = (__u32)i + 1};
	}
	assert_int_equal(dp_addrs_put(dp, addr, info, N), 0);
	assert_int_equal(dp_prefixes_put(dp, key, where, N), 0);
	assert_int_equal(dp_map_each(dp_map_fd(dp, "addrs"), count_one, &n), 0);
	assert_int_equal(n, N);
	n = 0;
	assert_int_equal(dp_map_each(dp_map_fd(dp, "prefixes"), count_one, &n),
	                 0);
	assert_int_equal(n, N);
	assert_int_equal(dp_addr_remove(dp, &addr[0]), 0);
	assert_int_equal(dp_addr_remove(dp, &addr[0]), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_was_written_is_there_after_a_restart),
		T(every_map_is_the_same_one_after_a_restart),
		T(a_map_of_another_layout_is_refused_by_name),
		T(a_lost_pin_is_made_again),
		T(a_slot_holds_what_it_was_filled_with),
		T(edits_find_the_room_that_was_spared),
		T(a_table_too_large_is_refused),
		T(a_retired_slot_rests_before_it_is_used_again),
		T(more_slots_than_the_stock_can_be_filled),
		T(slots_in_use_survive_a_restart_others_do_not),
		T(batches_put_and_each_sees_every_entry),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
