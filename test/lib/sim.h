/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h - a kernel made of arrays, for plans to be carried out on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/plan.h"

#define SIM_ENTRIES 20000

struct sim {
	struct plan_addr addr[2048];
	struct plan_prefix prefix[2048];
	struct state state; /* addresses and prefixes: those above */
	struct endpoint endpoint[ENDPOINT_MAX];
	struct table slot[SLOT_MAX]; /* entries owned */
	const struct table *clean[SLOT_MAX];
	bool used[SLOT_MAX];
	int fill_slot[ENDPOINT_MAX];
};

/* One operation; of a settling only its edits do something, see sim_edit(). */
void sim_op(struct sim *sim, const struct plan *plan, const struct op *op);
void sim_edit(struct table *t, const struct slot_edit *edit);
void sim_slot_clear(struct sim *sim, uint32_t slot);

/* ---- what it would say --------------------------------------------------- */

struct question {
	struct addr peer;
	uint16_t endpoint;
	uint8_t proto;
	__be16 port;
	enum dir dir;
};

const struct plan_addr *sim_whole(const struct state *state,
                                  const struct addr *addr);
/* Whom @table, or a slot's, lets the endpoint speak with. */
bool sim_answer(const struct state *state, const struct table *table,
                const struct question *q);
/* What an endpoint should be judged by, or is; NULL. */
const struct table *sim_table(const struct state *state, uint16_t number);
