/* SPDX-License-Identifier: Apache-2.0 */
/* plan_impl.h - what the plan_*.c files share. */
#pragma once

#include "daemon/plan.h"

#define PAIRS_MAX 256u /* above, everybody isolated is raised */

/* An address that was answered for as @old is so as @new from now on. */
struct pair {
	uint32_t old, new;
};

/* A number that some address moves away from. */
struct departure {
	uint32_t number;
	bool stays; /* others bear it still */
};

struct planner {
	const struct state *have, *want;
	struct arena *arena;
	struct plan *plan;
	const struct table **fill_from; /* of each fill: bridged from; NULL */
	size_t room;                    /* of plan->op */
	int error;                      /* -ENOMEM once it happened */
	struct departure *departure;    /* sorted by number */
	size_t n_departures;
	struct pair pair[PAIRS_MAX];
	size_t n_pairs; /* PAIRS_MAX + 1: too many to look at */
	bool movers; /* in hand: who leaves a number that stays; or the rest */
	bool raise[ENDPOINT_MAX]; /* [0] the node */
	bool keeps[ENDPOINT_MAX]; /* the endpoint's slot stays */
	bool any_keeps;           /* one that is isolated */
};

void plan_add(struct planner *p, const struct op *op);
void plan_pair(struct planner *p, uint32_t old, uint32_t new);

/* ---- plan_who.c: walking both states, and who an address is -------------- */

/* What happens to one address; @have or @want may be NULL, not both. */
typedef void addr_change_fn(struct planner *p, const struct plan_addr *have,
                            const struct plan_addr *want);
typedef void prefix_change_fn(struct planner *p, const struct plan_prefix *have,
                              const struct plan_prefix *want);
/* For all that differ. */
void addrs_walk(struct planner *p, addr_change_fn *change);
void prefixes_walk(struct planner *p, prefix_change_fn *change);
/* Of an address that is not there as a whole. */
uint32_t prefix_identity(const struct state *state, const struct addr *addr);
/* Is it in a CIDR of this node's pods? */
bool is_pooled(const struct state *state, const struct addr *addr);
/* Whose pods' addresses those of @addr's prefix are; 0: nobody's. */
uint16_t prefix_node(const struct state *state, const struct addr *addr);
/* What an address in the prefix was, or will be, without it. */
uint32_t identity_around(const struct state *state,
                         const struct prefix_key *key);

/* ---- plan_depart.c ------------------------------------------------------ */

void departures_find(struct planner *p);
/* The number that an address moves away from when it is put; 0: none. */
uint32_t addr_left(const struct planner *p, const struct plan_addr *have,
                   const struct plan_addr *want);
uint32_t prefix_left(const struct planner *p, const struct plan_prefix *have,
                     const struct plan_prefix *want);
/* Is it time to move away from @number? */
bool is_turn(const struct planner *p, uint32_t number);

/* ---- plan_slot.c -------------------------------------------------------- */

/* The slot that @want needs: its number, or a fill and NO slot.  @have: NULL
 * for a new endpoint. */
void plan_choose_slot(struct planner *p, const struct plan_endpoint *have,
                      const struct plan_endpoint *want, uint32_t *ret_slot,
                      size_t *ret_fill);

/* ---- plan_bridge.c ------------------------------------------------------ */

/* A number and its entries in the bridge. */
struct bridged {
	uint32_t number;
	bool stays;
	size_t entry, n_entries, range, n_ranges;
};

/* Entries that answer for departed numbers in @to as @from does. */
struct bridge {
	struct bridged *number;
	size_t n_numbers;
	struct policy_entry *entry;
	size_t n_entries;
	struct range_entry *range;
	size_t n_ranges;
	uint16_t shapes[DIR__COUNT];
};

/* Return: 0 or -ENOMEM; nothing in @ret when @to answers the same anyway. */
int bridge_build(const struct table *from, const struct table *to,
                 const struct planner *p, struct bridge *ret);
/* @fill: clean is set; the rest is filled.  Return: 0 or -ENOMEM. */
int bridge_join(const struct bridge *bridge, struct arena *arena,
                struct fill *fill);
/* The entries of @peer in a table; they are sorted by their bytes. */
size_t table_entries_of(const struct table *table, uint32_t peer,
                        size_t *ret_end);

/* ---- plan_raise.c ------------------------------------------------------- */

/* Whom else the pairs concern: endpoints that keep their slot. */
void plan_raise_concerned(struct planner *p);
