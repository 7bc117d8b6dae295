/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - from what the kernel holds to what it should hold, as a list.
 *
 * Pure: no I/O, no clock, no logging.  The operations are ordered so that a
 * packet sees, for each end of its flow, either the old answer or the new one
 * (design D5, D6):
 *
 *  1. slots are filled, nothing points at them yet;
 *  2. endpoints are closed, made, or pointed at their new slots;
 *  3. addresses and prefixes move to their new numbers, first those that leave
 *     a number which stays in use; then the slots are settled; then the others
 *     move, and the superfluous ones go;
 *  4. the epochs of those whom it concerns are raised;
 *  5. endpoints that are gone are cleared, slots that nobody uses retire.
 *
 * Between 2 and 3 a peer still bears its old number while the slot is new
 * already.  So a slot also gets a bridge: for every number that addresses move
 * away from, the answers of the slot that it replaces.  Whoever bears the old
 * number gets the old answer, whoever bears the new one the new.
 *
 * A number that nobody bears after 3 is not given out again while a slot knows
 * it: its bridge is harmless until the slot retires.  A number that stays in
 * use (of the rest of a split identity, the world) is settled when its movers
 * have left: its own entries are put, narrow ones first, then what is left of
 * the bridge is removed, wide ones first, so that each packet meets the old
 * answer or the new one at every moment.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "daemon/dp.h"
#include "lib/arena.h"
#include "policy/policy.h"

struct plan_addr {
	struct addr addr;
	struct addr_info info;
};

struct plan_prefix {
	struct prefix_key key;
	struct prefix_info info;
};

struct plan_endpoint {
	uint16_t number;
	struct endpoint value; /* want: slot is not looked at */
	/* have: what its slot holds, without its bridge.  want: what it should
	 * hold; NULL: refused or unknown, it keeps what it has, closed where
	 * @shut says so and what it has does not.  With nothing it gets
	 * @newcomer; that NULL too: it is isolated both ways. */
	const struct table *table, *newcomer;
	bool shut[DIR__COUNT];
};

struct plan_slot {
	uint32_t slot;
	const struct table *table;
};

/* What the maps hold, or should. */
struct state {
	const struct plan_addr *addr; /* sorted by address */
	size_t n_addrs;
	const struct plan_prefix *prefix; /* sorted by address, bits */
	size_t n_prefixes;
	const struct plan_endpoint *endpoint; /* sorted by number */
	size_t n_endpoints;
	const struct plan_slot *slot; /* have: in use, each once */
	size_t n_slots;
	uint32_t has_bits[5]; /* lengths of prefixes; by state_index() */
};

/* Call it when the prefixes are set. */
void state_index(struct state *state);

enum op_kind {
	OP_FILL,
	OP_ENDPOINT, /* put */
	OP_ADDR,
	OP_PREFIX,
	OP_SETTLE, /* a filled slot */
	OP_ADDR_REMOVE,
	OP_PREFIX_REMOVE,
	OP_RAISE, /* an epoch */
	OP_ENDPOINT_CLEAR,
	OP_RETIRE, /* a slot */
	OP__COUNT
};

/* The slot of an endpoint to be put is value.slot, or that of a fill. */
#define NO_FILL SIZE_MAX

struct op {
	enum op_kind kind;
	union {
		size_t fill; /* OP_FILL, OP_SETTLE: index into plan.fill */
		struct {
			uint16_t number;
			size_t fill; /* or NO_FILL */
			struct endpoint value;
		} endpoint;
		struct plan_addr addr;
		struct plan_prefix prefix;
		uint16_t raise; /* endpoint; 0: the node */
		uint32_t slot;
	};
};

struct fill {
	struct table table;        /* what goes in, bridge and all; unsorted */
	const struct table *clean; /* what it should hold */
	uint32_t *bridge;          /* numbers that it knows beside */
	size_t n_bridge;
	struct slot_edit *edit; /* that settle it */
	size_t n_edits;
};

struct plan {
	struct op *op;
	size_t n_ops;
	struct fill *fill;
	size_t n_fills;
};

/**
 * plan_make - what to do about the difference.
 *
 * @arena: owns @ret, which also borrows tables of @want.
 * Equal states make an empty plan.  Return: 0 or -ENOMEM.
 */
int plan_make(const struct state *have, const struct state *want,
              struct arena *arena, struct plan *ret);

/* For people and --dry-run: [{"op": "endpoint.put", …}]; a new reference. */
json_t *plan_json(const struct plan *plan);

/* ---- questions that others ask too -------------------------------------- */

/* Same header, same entries, whatever their hashes. */
bool table_equal(const struct table *a, const struct table *b);
/* Does the table have an entry for this very number? */
bool table_mentions(const struct table *table, uint32_t identity);
/* The identity of an address: whole, longest prefix, world. */
uint32_t state_identity(const struct state *state, const struct addr *addr);
int plan_prefix_compare(const struct prefix_key *a, const struct prefix_key *b);
