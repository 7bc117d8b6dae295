// SPDX-License-Identifier: Apache-2.0
/* dp_slot.c - policy slots: made ahead, filled, retired, refreshed. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "daemon/dp_impl.h"
#include "policy/policy.h"

/*
 * Tables of ten thousand entries are not that rare, and a map made on demand
 * waits for RCU: two larger ones (16 bytes an entry) are kept as well.
 */
#define SLOT_MEDIUM  16384u
#define MEDIUM_AHEAD 2u
#define SLOTS_AHEAD  32u /* fresh ones kept for the next changes */

/* ---- inner maps --------------------------------------------------------- */

int dp_policy_map_new(__u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);

	return bpf_map_create(BPF_MAP_TYPE_HASH, "policy",
	                      sizeof(struct policy_key),
	                      sizeof(struct policy_val), entries, &opts);
}

int dp_range_map_new(__u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);

	return bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "range",
	                      sizeof(struct range_key),
	                      sizeof(struct policy_val), entries, &opts);
}

int dp_inner_fd(int outer, __u32 place)
{
	__u32 id;
	int r = bpf_map_lookup_elem(outer, &place, &id);

	return r ? r : bpf_map_get_fd_by_id(id);
}

/* Put new maps at @n places of an outer map, waiting for RCU once. */
static int places_renew(int outer, const __u32 *place, const __u32 *room,
                        __u32 n, int (*make)(__u32 entries))
{
	int fd[SLOT_MAX];
	__u32 made = 0, count;
	int r = 0;

	for (; made < n; made++) {
		fd[made] = make(room[made]);
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

static unsigned medium_count(const struct dp *dp)
{
	unsigned n = 0;

	for (__u32 i = SLOT_FIRST; i < SLOT_MAX; i++)
		n += dp->slot[i].state == SLOT_STATE_FRESH &&
		     dp->slot[i].room >= SLOT_MEDIUM;
	return n;
}

/* Fresh maps for these slots; their old ones go. */
static int slots_renew(struct dp *dp, const __u32 *slot, __u32 n,
                       struct err *err)
{
	__u32 with_ranges[SLOT_MAX], room[SLOT_MAX], range_room[SLOT_MAX];
	unsigned medium =
		slot[0] < SLOT_FIRST ? MEDIUM_AHEAD : medium_count(dp);
	__u32 n_ranges = 0;
	int r;

	for (__u32 i = 0; i < n; i++) {
		room[i] = medium < MEDIUM_AHEAD ? SLOT_MEDIUM : SLOT_SMALL;
		medium += room[i] == SLOT_MEDIUM;
		if (dp->slot[slot[i]].state == SLOT_STATE_EMPTY ||
		    dp->slot[slot[i]].has_ranges) {
			range_room[n_ranges] = RANGE_SMALL;
			with_ranges[n_ranges++] = slot[i];
		}
	}
	r = places_renew(dp->policies_fd, slot, room, n, dp_policy_map_new);
	if (!r)
		r = places_renew(dp->ranges_fd, with_ranges, range_room,
		                 n_ranges, dp_range_map_new);
	if (r)
		return err_set(err, r, "make policy slots: %s", strerror(-r));
	for (__u32 i = 0; i < n; i++) {
		dp->slot[slot[i]].state = SLOT_STATE_FRESH;
		dp->slot[slot[i]].has_ranges = false;
		dp->slot[slot[i]].room = room[i];
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

static __u32 map_room(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.max_entries;
}

/* What a slot that was pinned holds; endpoints' slots are held later. */
static enum slot_state slot_state(struct dp *dp, __u32 slot)
{
	_cleanup_(closep) int policy = dp_inner_fd(dp->policies_fd, slot);
	_cleanup_(closep) int range = dp_inner_fd(dp->ranges_fd, slot);

	if (policy < 0 || range < 0)
		return SLOT_STATE_EMPTY;
	dp->slot[slot].room = map_room(policy);
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

		if (!dp_endpoint_get(dp, (uint16_t)i, &ep) && ep.ifindex &&
		    !ep.closed)
			dp_slot_hold(dp, ep.slot);
	}
	n = slots_choose(dp, slot);
	r = n ? slots_renew(dp, slot, n, err) : 0;
	return r < 0 ? r : 0;
}

/* ---- in use and out of it ----------------------------------------------- */

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
