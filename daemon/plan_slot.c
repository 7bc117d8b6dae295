// SPDX-License-Identifier: Apache-2.0
/* plan_slot.c - which slot an endpoint gets: its own, another's, a fresh one.
 */
#include <errno.h>
#include <string.h>

#include "daemon/plan_impl.h"

bool table_equal(const struct table *a, const struct table *b)
{
	return a->n_entries == b->n_entries && a->n_ranges == b->n_ranges &&
	       !memcmp(&a->header, &b->header, sizeof(a->header)) &&
	       (!a->n_entries || !memcmp(a->entry, b->entry,
	                                 a->n_entries * sizeof(*a->entry))) &&
	       (!a->n_ranges ||
	        !memcmp(a->range, b->range, a->n_ranges * sizeof(*a->range)));
}

/* A table without entries that a reserved slot stands for, or SLOT_MAX. */
static uint32_t reserved_slot(const struct table *table)
{
	const __u8 *isolated = table->header.isolated;

	if (table->n_entries || table->n_ranges || isolated[0] != isolated[1])
		return SLOT_MAX;
	return isolated[0] ? SLOT_CLOSED : SLOT_OPEN;
}

/* A slot in use that holds the table already, or SLOT_MAX. */
static uint32_t slot_find(const struct planner *p, const struct table *table)
{
	for (size_t i = 0; i < p->have->n_slots; i++)
		if (table_equal(p->have->slot[i].table, table))
			return p->have->slot[i].slot;
	return SLOT_MAX;
}

/*
 * A fill of that table which serves: bridged from the same old table, or, when
 * nothing needs to be bridged (@plain), without a bridge; any for a newcomer.
 */
static size_t fill_find(const struct planner *p, const struct table *from,
                        const struct table *to, bool plain)
{
	for (size_t i = 0; i < p->plan->n_fills; i++)
		if (table_equal(p->plan->fill[i].clean, to) &&
		    (!from || p->fill_from[i] == from ||
		     (plain && !p->fill_from[i])))
			return i;
	return NO_FILL;
}

/* @from: what the endpoint had, which the bridge comes from; NULL: none. */
static size_t fill_new(struct planner *p, const struct table *from,
                       const struct table *clean, const struct bridge *bridge)
{
	struct fill *fill = &p->plan->fill[p->plan->n_fills];
	const struct op op = {.kind = OP_FILL, .fill = p->plan->n_fills};

	*fill = (struct fill){.clean = clean};
	if (bridge_join(bridge, p->arena, fill)) {
		p->error = -ENOMEM;
		return NO_FILL;
	}
	p->fill_from[p->plan->n_fills] = from;
	plan_add(p, &op);
	return p->plan->n_fills++;
}

/* A bridge that makes the table too large for a slot is left out: the slot
 * says at once what it will say, to some for a moment under an old number. */
static void bridge_fit(struct bridge *bridge, const struct table *table)
{
	if (table->n_entries + bridge->n_entries > SLOT_LARGE ||
	    table->n_ranges + bridge->n_ranges > RANGE_LARGE)
		*bridge = (struct bridge){};
}

/* A slot for a table that no reserved slot stands for. */
static void slot_for(struct planner *p, const struct table *from,
                     const struct table *to, uint32_t *ret_slot,
                     size_t *ret_fill)
{
	struct bridge bridge = {};

	*ret_fill = fill_find(p, from, to, false);
	if (*ret_fill != NO_FILL)
		return;
	if (from && bridge_build(from, to, p, &bridge)) {
		p->error = -ENOMEM;
		return;
	}
	bridge_fit(&bridge, to);
	if (!bridge.n_numbers) {
		*ret_slot = slot_find(p, to);
		if (*ret_slot < SLOT_MAX)
			return;
		*ret_fill = fill_find(p, from, to, true);
	}
	if (*ret_fill == NO_FILL)
		*ret_fill = fill_new(p, bridge.n_numbers ? from : NULL, to,
		                     &bridge);
}

/*
 * For one whose table is refused or unknown: what it has, and closed where it
 * must be and what it has does not close it.  NULL: it keeps its slot.
 */
static const struct table *table_shut(struct planner *p,
                                      const struct table *had,
                                      const struct plan_endpoint *want)
{
	struct table *shut;
	bool more = false;

	if (!had)
		return want->newcomer;
	for (int dir = 0; dir < DIR__COUNT; dir++)
		more = more || (want->shut[dir] && !had->header.isolated[dir]);
	if (!more)
		return NULL;
	shut = arena_alloc(p->arena, sizeof(*shut));
	if (!shut) {
		p->error = -ENOMEM;
		return NULL;
	}
	*shut = *had;
	for (int dir = 0; dir < DIR__COUNT; dir++)
		shut->header.isolated[dir] |= want->shut[dir];
	return shut;
}

void plan_choose_slot(struct planner *p, const struct plan_endpoint *have,
                      const struct plan_endpoint *want, uint32_t *ret_slot,
                      size_t *ret_fill)
{
	const struct table *had = have ? have->table : NULL;
	const struct table *table = want->table;

	*ret_fill = NO_FILL;
	if (!table)
		table = table_shut(p, had, want);
	if (have && (!table || (had && table_equal(had, table)))) {
		*ret_slot = have->value.slot;
		return;
	}
	*ret_slot = table ? reserved_slot(table) : SLOT_CLOSED;
	if (*ret_slot < SLOT_MAX)
		return;
	slot_for(p, had, table, ret_slot, ret_fill);
}
