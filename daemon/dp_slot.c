// SPDX-License-Identifier: Apache-2.0
/* dp_slot.c - policy slots: made ahead, filled, retired, refreshed. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "daemon/dp_impl.h"
#include "policy/policy.h"

#define SLOTS_AHEAD  32u   /* fresh ones kept for the next changes */
#define FILL_ENTRIES 1024u /* of one batch */
#define SIZE_STEP    1024u /* large maps are made in such steps */

/* ---- inner maps --------------------------------------------------------- */

static int policy_map_new(__u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);

	return bpf_map_create(BPF_MAP_TYPE_HASH, "policy",
	                      sizeof(struct policy_key),
	                      sizeof(struct policy_val), entries, &opts);
}

static int range_map_new(__u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);

	return bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "range",
	                      sizeof(struct range_key),
	                      sizeof(struct policy_val), entries, &opts);
}

/* The inner map at a place of an outer one; -ENOENT. */
static int inner_fd(int outer, __u32 place)
{
	__u32 id;
	int r = bpf_map_lookup_elem(outer, &place, &id);

	return r ? r : bpf_map_get_fd_by_id(id);
}

/* Put new small maps at @n places of an outer map, waiting for RCU once. */
static int places_renew(int outer, const __u32 *place, __u32 n,
                        int (*make)(__u32 entries), __u32 entries)
{
	int fd[SLOT_MAX];
	__u32 made = 0, count;
	int r = 0;

	for (; made < n; made++) {
		fd[made] = make(entries);
		if (fd[made] < 0) {
			r = fd[made];
			break;
		}
	}
	count = made;
	if (!r && n)
		r = bpf_map_update_batch(outer, place, fd, &count, NULL);
	for (__u32 i = 0; i < made; i++)
		close(fd[i]);
	return r;
}

/* ---- refreshing --------------------------------------------------------- */

static unsigned slots_count(const struct dp *dp, enum slot_state state)
{
	unsigned n = 0;

	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++)
		n += dp->slot[i].state == state;
	return n;
}

unsigned dp_slots_fresh(const struct dp *dp)
{
	return slots_count(dp, SLOT_STATE_FRESH);
}

/* Fresh maps for these slots; their old ones go. */
static int slots_renew(struct dp *dp, const __u32 *slot, __u32 n,
                       struct err *err)
{
	__u32 with_ranges[SLOT_MAX], n_ranges = 0;
	int r;

	for (__u32 i = 0; i < n; i++)
		if (dp->slot[slot[i]].state == SLOT_STATE_EMPTY ||
		    dp->slot[slot[i]].has_ranges)
			with_ranges[n_ranges++] = slot[i];
	r = places_renew(dp->policies_fd, slot, n, policy_map_new, SLOT_SMALL);
	if (!r)
		r = places_renew(dp->ranges_fd, with_ranges, n_ranges,
		                 range_map_new, RANGE_SMALL);
	if (r)
		return err_set(err, r, "make policy slots: %s", strerror(-r));
	for (__u32 i = 0; i < n; i++) {
		dp->slot[slot[i]].state = SLOT_STATE_FRESH;
		dp->slot[slot[i]].has_ranges = false;
	}
	return (int)n;
}

/* Choose what to renew: all that rest, and empty ones up to the stock. */
static __u32 slots_choose(const struct dp *dp, __u32 ret[SLOT_MAX])
{
	unsigned stock = dp_slots_fresh(dp);
	__u32 n = 0;

	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++)
		if (dp->slot[i].state == SLOT_STATE_RESTED)
			ret[n++] = i;
	stock += n;
	for (__u32 i = SLOT_FIRST; i < SLOT_MAX && stock < SLOTS_AHEAD; i++)
		if (dp->slot[i].state == SLOT_STATE_EMPTY) {
			ret[n++] = i;
			stock++;
		}
	return n;
}

int dp_slots_tend(struct dp *dp, struct err *err)
{
	__u32 slot[SLOT_MAX];
	__u32 n = slots_choose(dp, slot);
	int r = n ? slots_renew(dp, slot, n, err) : dp_grace(dp);

	if (r < 0)
		return n ? r
		         : err_set(err, r, "wait for RCU: %s", strerror(-r));
	/* Whoever read a retired slot's number before has ended by now. */
	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++)
		if (dp->slot[i].state == SLOT_STATE_RETIRED)
			dp->slot[i].state = SLOT_STATE_RESTED;
	return (int)n;
}

/* ---- start -------------------------------------------------------------- */

static bool map_is_empty(int fd)
{
	char key[sizeof(struct range_key)];

	return fd >= 0 && bpf_map_get_next_key(fd, NULL, key) == -ENOENT;
}

/* What a slot that was pinned holds; endpoints' slots are held later. */
static enum slot_state slot_state(struct dp *dp, __u32 slot)
{
	_cleanup_(closep) int policy = inner_fd(dp->policies_fd, slot);
	_cleanup_(closep) int range = inner_fd(dp->ranges_fd, slot);

	if (policy < 0 || range < 0)
		return SLOT_STATE_EMPTY;
	dp->slot[slot].has_ranges = !map_is_empty(range);
	return map_is_empty(policy) && map_is_empty(range) ? SLOT_STATE_FRESH
	                                                   : SLOT_STATE_RETIRED;
}

/* The two slots that have no entries have maps all the same: dp_grace(). */
static int reserved_open(struct dp *dp, struct err *err)
{
	static const __u32 number[] = {SLOT_OPEN, SLOT_CLOSED};
	static const struct slot header[] = {
		{.isolated = {0, 0}},
		{.isolated = {1, 1}},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(number) && !r; i++) {
		if (slot_state(dp, number[i]) == SLOT_STATE_EMPTY)
			r = slots_renew(dp, &number[i], 1, err);
		dp->slot[number[i]].state = SLOT_STATE_LIVE;
		if (r >= 0)
			r = bpf_map_update_elem(dp->slots_fd, &number[i],
			                        &header[i], BPF_ANY);
	}
	return r < 0 ? err_set(err, r, "reserved policy slots: %s",
	                       strerror(-r))
	             : 0;
}

int dp_slots_open(struct dp *dp, struct err *err)
{
	__u32 slot[SLOT_MAX];
	__u32 n;
	int r = reserved_open(dp, err);

	if (r)
		return r;
	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++)
		dp->slot[i].state = (uint8_t)slot_state(dp, i);
	for (__u32 i = 1; i < ENDPOINT_MAX; i++) {
		struct endpoint ep;

		if (!dp_endpoint_get(dp, (uint16_t)i, &ep) && ep.ifindex)
			dp_slot_hold(dp, ep.slot);
	}
	n = slots_choose(dp, slot);
	r = n ? slots_renew(dp, slot, n, err) : 0;
	return r < 0 ? r : 0;
}

/* ---- filling ------------------------------------------------------------ */

static int policies_fill(int fd, const struct table *table)
{
	struct policy_key key[FILL_ENTRIES];
	struct policy_val val[FILL_ENTRIES];

	for (size_t done = 0; done < table->n_entries;) {
		__u32 n = 0, count;
		int r;

		for (; n < FILL_ENTRIES && done + n < table->n_entries; n++) {
			key[n] = table->entry[done + n].key;
			val[n] = table->entry[done + n].val;
		}
		count = n;
		r = bpf_map_update_batch(fd, key, val, &count, NULL);
		if (r)
			return r;
		done += n;
	}
	return 0;
}

static int ranges_fill(int fd, const struct table *table)
{
	for (size_t i = 0; i < table->n_ranges; i++) {
		int r = bpf_map_update_elem(fd, &table->range[i].key,
		                            &table->range[i].val, BPF_ANY);

		if (r)
			return r;
	}
	return 0;
}

static __u32 size_up(size_t entries)
{
	return ((__u32)entries + SIZE_STEP - 1) / SIZE_STEP * SIZE_STEP;
}

/*
 * The map that the entries go into: the fresh small one when they fit, else a
 * new one that takes its place when it is full.
 */
static int part_fill(int outer, __u32 slot, const struct table *table,
                     bool ranges)
{
	const size_t n = ranges ? table->n_ranges : table->n_entries;
	const bool large = n > (ranges ? RANGE_SMALL : SLOT_SMALL);
	_cleanup_(closep) int fd = -1;
	int r;

	if (!n)
		return 0;
	if (large)
		fd = ranges ? range_map_new(size_up(n))
		            : policy_map_new(size_up(n));
	else
		fd = inner_fd(outer, slot);
	if (fd < 0)
		return fd;
	r = ranges ? ranges_fill(fd, table) : policies_fill(fd, table);
	if (!r && large)
		r = bpf_map_update_elem(outer, &slot, &fd, BPF_ANY);
	return r;
}

static __u32 slot_find_fresh(const struct dp *dp)
{
	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++)
		if (dp->slot[i].state == SLOT_STATE_FRESH)
			return i;
	return 0;
}

int dp_slot_fill(struct dp *dp, const struct table *table, struct err *err)
{
	__u32 slot = slot_find_fresh(dp);
	int r;

	if (table->n_entries > SLOT_LARGE || table->n_ranges > RANGE_LARGE)
		return err_set(err, -E2BIG,
		               "a policy of %zu entries and %zu port ranges is "
		               "more than a slot holds (%u, %u)",
		               table->n_entries, table->n_ranges, SLOT_LARGE,
		               RANGE_LARGE);
	/* The stock is spent: wait, twice if all that is left has just retired.
	 */
	for (int i = 0; !slot && i < 2; i++) {
		r = dp_slots_tend(dp, err);
		if (r < 0)
			return r;
		slot = slot_find_fresh(dp);
	}
	if (!slot)
		return err_set(err, -ENOSPC, "all %u policy slots are in use",
		               SLOT_MAX);

	dp->slot[slot].state = SLOT_STATE_RETIRED; /* should it fail half-way */
	if (table->n_ranges)
		dp->slot[slot].has_ranges = true;
	r = part_fill(dp->policies_fd, slot, table, false);
	if (!r)
		r = part_fill(dp->ranges_fd, slot, table, true);
	if (!r)
		r = bpf_map_update_elem(dp->slots_fd, &slot, &table->header,
		                        BPF_ANY);
	if (r)
		return err_set(
			err, r, "fill policy slot %u with %zu entries: %s",
			slot, table->n_entries + table->n_ranges, strerror(-r));
	dp->slot[slot].state = SLOT_STATE_LIVE;
	return (int)slot;
}

int dp_slot_edit(struct dp *dp, uint32_t slot, const struct slot_edit *edit,
                 size_t n)
{
	_cleanup_(closep) int policy = inner_fd(dp->policies_fd, slot);
	_cleanup_(closep) int range = inner_fd(dp->ranges_fd, slot);

	if (policy < 0 || range < 0)
		return policy < 0 ? policy : range;
	for (size_t i = 0; i < n; i++) {
		const int fd = edit[i].is_range ? range : policy;
		const void *key = edit[i].is_range
		                          ? (const void *)&edit[i].range
		                          : (const void *)&edit[i].key;
		int r = edit[i].remove
		                ? bpf_map_delete_elem(fd, key)
		                : bpf_map_update_elem(fd, key, &edit[i].val,
		                                      BPF_ANY);

		if (r && !(edit[i].remove && r == -ENOENT))
			return r;
		if (edit[i].is_range && !edit[i].remove)
			dp->slot[slot % SLOT_MAX].has_ranges = true;
	}
	return 0;
}

void dp_slot_retire(struct dp *dp, uint32_t slot)
{
	if (slot >= SLOT_FIRST && slot < SLOT_MAX &&
	    dp->slot[slot].state == SLOT_STATE_LIVE)
		dp->slot[slot].state = SLOT_STATE_RETIRED;
}

void dp_slot_hold(struct dp *dp, uint32_t slot)
{
	if (slot >= SLOT_FIRST && slot < SLOT_MAX)
		dp->slot[slot].state = SLOT_STATE_LIVE;
}
