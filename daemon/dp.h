/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dp.h - the datapath in the kernel: its maps, its programs, its pins.
 *
 * Pins live in <bpffs>/v<ABI_VERSION>: one file a map, named as in bpf/maps.h,
 * "hooks" the program array, "stub_*" the stubs that devices carry, "link_*"
 * the tcx links of uplinks.  dp_open() adopts what is pinned and compares its
 * layout itself; what is missing it makes.  It then loads this build's
 * programs on those maps and puts them into the hooks array: packets see the
 * old programs until the very update, and the new ones from then on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"
#include "lib/util.h"

struct dp;

/* A pinned map whose layout differs: -EEXIST, naming map and difference. */
int dp_open(const struct dp_config *config, const char *bpffs, struct dp **ret,
            struct err *err);
void dp_close(struct dp *dp); /* what is pinned stays */
DEFINE_CLEANUP(struct dp *, dp_close)

bool dp_adopted(const struct dp *dp); /* maps were there before us */
const char *dp_pin_dir(const struct dp *dp);

/* Map file descriptors by their names in bpf/maps.h, for accessors, dumps and
 * tests; borrowed; -ENOENT. */
int dp_map_fd(const struct dp *dp, const char *name);
int dp_prog_fd(const struct dp *dp, const char *name);

/* Put this build's programs into an array that stubs jump through, ours or
 * another version's: from then on packets meet them. */
int dp_hooks_fill(struct dp *dp, int fd, struct err *err);

/* ---- typed accessors: 0 or -errno ------------------------------------- */
int dp_endpoint_put(struct dp *dp, uint16_t number, const struct endpoint *ep);
int dp_endpoint_get(struct dp *dp, uint16_t number, struct endpoint *ret);
int dp_addr_put(struct dp *dp, const struct addr *addr,
                const struct addr_info *info);
int dp_addr_remove(struct dp *dp, const struct addr *addr);
int dp_prefix_put(struct dp *dp, const struct prefix_key *key,
                  const struct prefix_info *info);
int dp_prefix_remove(struct dp *dp, const struct prefix_key *key);
int dp_uplink_put(struct dp *dp, uint32_t ifindex, const struct uplink *uplink);
/* Another node's end of the tunnel; number 0: this one's. */
int dp_node_put(struct dp *dp, uint16_t number, const struct node_info *node);
int dp_uplink_get(struct dp *dp, uint32_t ifindex, struct uplink *ret);
int dp_uplink_remove(struct dp *dp, uint32_t ifindex);
/* A device of which @wanted says no.  -ENOENT: none. */
int dp_uplink_stray(struct dp *dp, bool (*wanted)(uint32_t ifindex, void *user),
                    void *user, uint32_t *ret);
/* Many at once; on failure some may be in. */
int dp_addrs_put(struct dp *dp, const struct addr *addr,
                 const struct addr_info *info, size_t n);
int dp_prefixes_put(struct dp *dp, const struct prefix_key *key,
                    const struct prefix_info *info, size_t n);
int dp_services_put(struct dp *dp, const struct service_key *key,
                    const struct service *service, size_t n);
int dp_service_remove(struct dp *dp, const struct service_key *key);
/* @at: their places, see struct service. */
int dp_backends_put(struct dp *dp, const uint32_t *at,
                    const struct backend *backend, size_t n);
int dp_backend_remove(struct dp *dp, uint32_t at);
/*
 * dp_map_each - every entry of a map, by batches; @each returns 0 to go on,
 * anything else ends it and is returned.  Sizes are those of the map; values
 * of per-CPU maps are one for each CPU.  Entries that change meanwhile may be
 * missed or come twice.
 */
int dp_map_each(int map_fd,
                int (*each)(const void *key, const void *value, void *user),
                void *user);
/* Sums over all CPUs. */
int dp_drop_count(struct dp *dp, enum drop why, enum hook hook, uint64_t *ret);
int dp_counter(struct dp *dp, enum counter which, uint64_t *ret);

/* The mapped epochs array: writable memory shared with the kernel. */
struct epochs *dp_epochs(struct dp *dp);
/* Raise an endpoint's epoch (0: the node's), atomically. */
void dp_epoch_raise(struct dp *dp, uint16_t endpoint);
/* Wait until every program that ran before the call has ended (RCU). */
int dp_grace(struct dp *dp);

/* ---- policy slots ------------------------------------------------------ */

/**
 * dp_slot_fill - fill a fresh slot; nothing points at it yet.
 *
 * Entries go in by batches; a table that does not fit a small map gets one of
 * its own size (one wait for RCU).
 * Return: the slot's number; -ENOSPC, -E2BIG, -errno with a sentence.
 */
struct table; /* policy/policy.h */
int dp_slot_fill(struct dp *dp, const struct table *table, struct err *err);
/* The same, with room for @spare more, to be put by dp_slot_edit(). */
int dp_slot_fill_spare(struct dp *dp, const struct table *table, size_t spare,
                       struct err *err);
/* A change of one entry of a slot in use. */
struct slot_edit {
	bool remove;   /* else put */
	bool is_range; /* range is meant, else key */
	struct policy_key key;
	struct range_key range;
	struct policy_val val;
};
/* In this order; a removed entry may be gone already.  0 or -errno. */
int dp_slot_edit(struct dp *dp, uint32_t slot, const struct slot_edit *edit,
                 size_t n);
/* Nothing points at it any more: it is refreshed by dp_slots_tend(). */
void dp_slot_retire(struct dp *dp, uint32_t slot);
/* A slot of an adopted datapath is in use (endpoints point at it). */
void dp_slot_hold(struct dp *dp, uint32_t slot);
/*
 * Give slots fresh maps that retired before the last call, and keep small ones
 * ahead of need, in one batch of outer updates.  Waits for RCU, also when
 * there is nothing to do: it is a dp_grace().  Returns how many were made.
 */
int dp_slots_tend(struct dp *dp, struct err *err);
/* Slots that dp_slot_fill() can have without waiting. */
unsigned dp_slots_fresh(const struct dp *dp);
/* What the kernel holds of a slot: entries sorted by their bytes, in @arena;
 * hash is dp_table_hash().  -ENOENT when the slot has no maps. */
struct arena;
int dp_slot_read(struct dp *dp, uint32_t slot, struct arena *arena,
                 struct table *ret);
int dp_slot_hash(struct dp *dp, uint32_t slot, uint64_t *ret);
/* Of header and entries, all bytes of them; not that of policy_compile(). */
uint64_t dp_table_hash(const struct table *table);
