// SPDX-License-Identifier: Apache-2.0
/* plan.c - what is done in which order; see plan.h for why. */
#include "daemon/plan.h"

#include <errno.h>
#include <string.h>

#include "daemon/plan_impl.h"

void plan_add(struct planner *p, const struct op *op)
{
	if (p->plan->n_ops == p->room) {
		const size_t room = p->room ? p->room * 2 : 64;
		struct op *ops = arena_array(p->arena, room, sizeof(*ops));

		if (!ops) {
			p->error = -ENOMEM;
			return;
		}
		if (p->room)
			memcpy(ops, p->plan->op, p->room * sizeof(*ops));
		p->plan->op = ops;
		p->room = room;
	}
	p->plan->op[p->plan->n_ops++] = *op;
}

/* ---- endpoints ---------------------------------------------------------- */

static void endpoint_put(struct planner *p, const struct endpoint *value,
                         uint16_t number, size_t fill)
{
	const struct op op = {
		.kind = OP_ENDPOINT,
		.endpoint = {.number = number, .fill = fill, .value = *value},
	};

	plan_add(p, &op);
}

static bool value_equal(const struct endpoint *a, const struct endpoint *b)
{
	struct endpoint same_slot = *b;

	same_slot.slot = a->slot;
	return !memcmp(a, &same_slot, sizeof(*a));
}

/* An endpoint that stays, or is new (@have NULL). */
static void endpoint_plan(struct planner *p, const struct plan_endpoint *have,
                          const struct plan_endpoint *want)
{
	struct endpoint value = want->value;
	size_t fill;

	plan_choose_slot(p, have, want, &value.slot, &fill);
	if (p->error)
		return;
	if (have && fill == NO_FILL && value.slot == have->value.slot) {
		const struct table *table =
			want->table ? want->table : have->table;

		p->keeps[want->number] = true;
		if (table &&
		    (table->header.isolated[0] || table->header.isolated[1]))
			p->any_keeps = true;
		if (value_equal(&have->value, &value))
			return;
	}
	endpoint_put(p, &value, want->number, fill);
	p->raise[want->number] = true;
}

/* One that is gone: closed now, cleared when its addresses are. */
static void endpoint_close(struct planner *p, const struct plan_endpoint *have)
{
	struct endpoint value = have->value;

	if (!value.closed) {
		value.closed = 1;
		endpoint_put(p, &value, have->number, NO_FILL);
	}
	p->raise[have->number] = true;
}

typedef void endpoint_change_fn(struct planner *p,
                                const struct plan_endpoint *have,
                                const struct plan_endpoint *want);

static void endpoints_walk(struct planner *p, endpoint_change_fn *change)
{
	const struct state *have = p->have, *want = p->want;
	size_t h = 0, w = 0;

	while ((h < have->n_endpoints || w < want->n_endpoints) && !p->error) {
		const int order = h == have->n_endpoints ? 1
		                  : w == want->n_endpoints
		                          ? -1
		                          : have->endpoint[h].number -
		                                    want->endpoint[w].number;

		change(p, order <= 0 ? &have->endpoint[h++] : NULL,
		       order >= 0 ? &want->endpoint[w++] : NULL);
	}
}

/* Another pod has the number now: the old one's addresses must go first. */
static bool is_replaced(const struct plan_endpoint *have,
                        const struct plan_endpoint *want)
{
	return have && want && have->value.serial != want->value.serial;
}

static void endpoint_first(struct planner *p, const struct plan_endpoint *have,
                           const struct plan_endpoint *want)
{
	if (want && !is_replaced(have, want))
		endpoint_plan(p, have, want);
	else if (have)
		endpoint_close(p, have);
}

/* After the addresses: what was only closed so far. */
static void endpoint_last(struct planner *p, const struct plan_endpoint *have,
                          const struct plan_endpoint *want)
{
	const struct op clear = {
		.kind = OP_ENDPOINT_CLEAR,
		.endpoint = {.number = have ? have->number : 0,
	                     .fill = NO_FILL},
	};

	if (have && !want)
		plan_add(p, &clear);
	else if (is_replaced(have, want))
		endpoint_plan(p, NULL, want);
}

/* Slots are full before the first endpoint moves. */
static void fills_first(struct planner *p)
{
	struct op *ops = arena_array(p->arena, p->room, sizeof(*ops));
	size_t n = 0;

	if (!ops) {
		p->error = -ENOMEM;
		return;
	}
	for (int fills = 1; fills >= 0; fills--)
		for (size_t i = 0; i < p->plan->n_ops; i++)
			if ((p->plan->op[i].kind == OP_FILL) == fills)
				ops[n++] = p->plan->op[i];
	p->plan->op = ops;
}

/* Finding the old and the new answer costs: only where somebody may care. */
static bool plan_wants_pairs(const struct planner *p)
{
	return p->any_keeps && p->n_pairs <= PAIRS_MAX;
}

/* ---- what is put and what goes ------------------------------------------ */

static void addr_put(struct planner *p, const struct plan_addr *have,
                     const struct plan_addr *want)
{
	const struct addr_info *old = have ? &have->info : NULL;
	struct op op = {.kind = OP_ADDR};

	if (!want || !is_turn(p, addr_left(p, have, want)))
		return;
	op.addr = *want;
	plan_add(p, &op);
	if (want->info.local != (old ? old->local : 0) ||
	    want->info.node !=
	            (old ? old->node : prefix_node(p->have, &want->addr)))
		p->raise[0] = true;
	if (want->info.endpoint)
		p->raise[want->info.endpoint % ENDPOINT_MAX] = true;
	/* Its flows know the endpoint that it had; nobody has flows with an
	 * address of the pool that was no pod's. */
	if (old && old->endpoint)
		p->raise[old->endpoint % ENDPOINT_MAX] = true;
	else if (plan_wants_pairs(p) &&
	         (old || !is_pooled(p->have, &want->addr)))
		plan_pair(p,
		          old ? old->identity
		              : prefix_identity(p->have, &want->addr),
		          want->info.identity);
}

static void addr_remove(struct planner *p, const struct plan_addr *have,
                        const struct plan_addr *want)
{
	struct op op = {.kind = OP_ADDR_REMOVE};

	if (want)
		return;
	op.addr = *have;
	plan_add(p, &op);
	if (have->info.local ||
	    have->info.node != prefix_node(p->want, &have->addr))
		p->raise[0] = true;
	if (have->info.endpoint)
		p->raise[have->info.endpoint % ENDPOINT_MAX] = true;
	else if (plan_wants_pairs(p))
		plan_pair(p, have->info.identity,
		          prefix_identity(p->want, &have->addr));
}

static void prefix_put(struct planner *p, const struct plan_prefix *have,
                       const struct plan_prefix *want)
{
	struct op op = {.kind = OP_PREFIX};

	if (!want || !is_turn(p, prefix_left(p, have, want)))
		return;
	op.prefix = *want;
	plan_add(p, &op);
	if (want->info.pool != (have ? have->info.pool : 0) ||
	    want->info.no_masq != (have ? have->info.no_masq : 0) ||
	    want->info.node != (have ? have->info.node : 0))
		p->raise[0] = true;
	if (plan_wants_pairs(p))
		plan_pair(p,
		          have ? have->info.identity
		               : identity_around(p->have, &want->key),
		          want->info.identity);
}

static void prefix_remove(struct planner *p, const struct plan_prefix *have,
                          const struct plan_prefix *want)
{
	struct op op = {.kind = OP_PREFIX_REMOVE};

	if (want)
		return;
	op.prefix = *have;
	plan_add(p, &op);
	if (have->info.pool || have->info.no_masq)
		p->raise[0] = true;
	if (plan_wants_pairs(p))
		plan_pair(p, have->info.identity,
		          identity_around(p->want, &have->key));
}

static int longer_first(const void *a, const void *b)
{
	const struct op *x = a, *y = b;
	const int longer = (int)y->prefix.key.bits - (int)x->prefix.key.bits;

	return longer ? longer
	              : plan_prefix_compare(&x->prefix.key, &y->prefix.key);
}

static int shorter_first(const void *a, const void *b)
{
	return longer_first(b, a);
}

/* Inner prefixes come before outer ones and outlive them: nobody bears the
 * number of a prefix that he passes through. */
static void prefixes_plan(struct planner *p, prefix_change_fn *change,
                          int (*order)(const void *a, const void *b))
{
	const size_t first = p->plan->n_ops;

	prefixes_walk(p, change);
	if (p->plan->n_ops > first)
		qsort(p->plan->op + first, p->plan->n_ops - first,
		      sizeof(*p->plan->op), order);
}

static void settles_put(struct planner *p)
{
	for (size_t i = 0; i < p->plan->n_fills; i++) {
		const struct op op = {.kind = OP_SETTLE, .fill = i};

		if (p->plan->fill[i].n_edits)
			plan_add(p, &op);
	}
}

/* ---- the plan ----------------------------------------------------------- */

static void raises_put(struct planner *p)
{
	plan_raise_concerned(p);
	for (unsigned i = 0; i < ENDPOINT_MAX; i++) {
		const struct op op = {.kind = OP_RAISE, .raise = (uint16_t)i};

		if (p->raise[i])
			plan_add(p, &op);
	}
}

/* Slots that no endpoint of the plan's end points at. */
static void retires_put(struct planner *p)
{
	bool used[SLOT_MAX] = {};

	for (size_t i = 0; i < p->have->n_endpoints; i++) {
		const struct plan_endpoint *ep = &p->have->endpoint[i];

		if (p->keeps[ep->number])
			used[ep->value.slot % SLOT_MAX] = true;
	}
	for (size_t i = 0; i < p->plan->n_ops; i++)
		if (p->plan->op[i].kind == OP_ENDPOINT &&
		    p->plan->op[i].endpoint.fill == NO_FILL &&
		    !p->plan->op[i].endpoint.value.closed)
			used[p->plan->op[i].endpoint.value.slot % SLOT_MAX] =
				true;
	for (size_t i = 0; i < p->have->n_slots; i++) {
		const struct op op = {.kind = OP_RETIRE,
		                      .slot = p->have->slot[i].slot};

		if (op.slot >= SLOT_FIRST && !used[op.slot % SLOT_MAX])
			plan_add(p, &op);
	}
}

int plan_make(const struct state *have, const struct state *want,
              struct arena *arena, struct plan *ret)
{
	struct planner *p = arena_alloc(arena, sizeof(*p));

	*ret = (struct plan){};
	if (!p)
		return -ENOMEM;
	*p = (struct planner){
		.have = have, .want = want, .arena = arena, .plan = ret};
	ret->fill = arena_array(arena, want->n_endpoints, sizeof(*ret->fill));
	p->fill_from =
		arena_array(arena, want->n_endpoints, sizeof(struct table *));
	if (!ret->fill || !p->fill_from)
		return -ENOMEM;

	departures_find(p);
	endpoints_walk(p, endpoint_first);
	fills_first(p);
	for (int movers = 1; movers >= 0; movers--) {
		p->movers = movers;
		addrs_walk(p, addr_put);
		prefixes_plan(p, prefix_put, longer_first);
		if (movers)
			settles_put(p);
	}
	prefixes_plan(p, prefix_remove, shorter_first);
	addrs_walk(p, addr_remove);
	endpoints_walk(p, endpoint_last);
	raises_put(p);
	retires_put(p);
	return p->error;
}
