// SPDX-License-Identifier: Apache-2.0
/* dp_fill.c - tables into slots. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "daemon/dp_impl.h"
#include "policy/policy.h"

#define FILL_ENTRIES 1024u /* of one batch */
#define SIZE_STEP    1024u /* large maps are made in such steps */

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

/* Make a map of the right size, fill it, and put it into its place. */
static int part_fill_new(int outer, __u32 slot, const struct table *table,
                         size_t spare, bool ranges)
{
	_cleanup_(closep) int fd =
		ranges ? dp_range_map_new(size_up(table->n_ranges + spare))
		       : dp_policy_map_new(size_up(table->n_entries + spare));
	int r = fd < 0   ? fd
	        : ranges ? ranges_fill(fd, table)
	                 : policies_fill(fd, table);

	return r ? r : bpf_map_update_elem(outer, &slot, &fd, BPF_ANY);
}

static int part_fill(int outer, __u32 slot, const struct table *table,
                     bool ranges)
{
	_cleanup_(closep) int fd = dp_inner_fd(outer, slot);

	if (fd < 0)
		return fd;
	return ranges ? ranges_fill(fd, table) : policies_fill(fd, table);
}

static int slot_fill(struct dp *dp, __u32 slot, const struct table *table,
                     size_t spare)
{
	int r;

	if (table->n_ranges)
		dp->slot[slot].has_ranges = true;
	if (table->n_entries + spare > dp->slot[slot].room)
		r = part_fill_new(dp->policies_fd, slot, table, spare, false);
	else
		r = part_fill(dp->policies_fd, slot, table, false);
	if (!r && table->n_ranges + spare > RANGE_SMALL) {
		dp->slot[slot].has_ranges = true;
		r = part_fill_new(dp->ranges_fd, slot, table, spare, true);
	} else if (!r && table->n_ranges) {
		r = part_fill(dp->ranges_fd, slot, table, true);
	}
	return r ? r
	         : bpf_map_update_elem(dp->slots_fd, &slot, &table->header,
	                               BPF_ANY);
}

/* The smallest that holds them, else any: it gets a map of its own. */
static __u32 slot_find_fresh(const struct dp *dp, size_t entries)
{
	__u32 best = 0;

	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++) {
		const bool fits = dp->slot[i].room >= entries;

		if (dp->slot[i].state != SLOT_STATE_FRESH)
			continue;
		if (!best || (fits && dp->slot[best].room < entries) ||
		    (fits && dp->slot[i].room < dp->slot[best].room))
			best = i;
	}
	return best;
}

int dp_slot_fill(struct dp *dp, const struct table *table, struct err *err)
{
	return dp_slot_fill_spare(dp, table, 0, err);
}

int dp_slot_fill_spare(struct dp *dp, const struct table *table, size_t spare,
                       struct err *err)
{
	const size_t entries = table->n_entries + spare;
	__u32 slot = slot_find_fresh(dp, entries);
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
		slot = slot_find_fresh(dp, entries);
	}
	if (!slot)
		return err_set(err, -ENOSPC, "all %u policy slots are in use",
		               SLOT_MAX);

	dp->slot[slot].state = SLOT_STATE_RETIRED; /* should it fail half-way */
	r = slot_fill(dp, slot, table, spare);
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
	_cleanup_(closep) int policy = dp_inner_fd(dp->policies_fd, slot);
	_cleanup_(closep) int range = dp_inner_fd(dp->ranges_fd, slot);

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
