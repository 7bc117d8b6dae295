// SPDX-License-Identifier: Apache-2.0
/* sim.c - see sim.h. */
#include "test/lib/sim.h"

#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "test/test.h"

/* ---- a kernel made of arrays -------------------------------------------- */

static int entry_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct policy_key));
}

static int range_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct range_key));
}

static void table_sort(struct table *t)
{
	if (t->n_entries)
		qsort(t->entry, t->n_entries, sizeof(*t->entry), entry_order);
	if (t->n_ranges)
		qsort(t->range, t->n_ranges, sizeof(*t->range), range_order);
	for (size_t i = 1; i < t->n_entries; i++)
		assert_true(entry_order(&t->entry[i - 1], &t->entry[i]) < 0);
	for (size_t i = 1; i < t->n_ranges; i++)
		assert_true(range_order(&t->range[i - 1], &t->range[i]) < 0);
}

void sim_slot_clear(struct sim *sim, uint32_t slot)
{
	free(sim->slot[slot].entry);
	free(sim->slot[slot].range);
	sim->slot[slot] = (struct table){};
	sim->used[slot] = false;
}

static uint32_t slot_fill(struct sim *sim, const struct fill *fill)
{
	uint32_t slot = SLOT_FIRST;
	struct table *t;

	while (sim->used[slot])
		assert_true(++slot < SLOT_MAX);
	t = &sim->slot[slot];
	*t = fill->table;
	t->entry = malloc(SIM_ENTRIES * sizeof(*t->entry));
	t->range = malloc(SIM_ENTRIES * sizeof(*t->range));
	assert_true(t->n_entries < SIM_ENTRIES && t->n_ranges < SIM_ENTRIES);
	if (t->n_entries)
		memcpy(t->entry, fill->table.entry,
		       t->n_entries * sizeof(*t->entry));
	if (t->n_ranges)
		memcpy(t->range, fill->table.range,
		       t->n_ranges * sizeof(*t->range));
	table_sort(t);
	sim->used[slot] = true;
	return slot;
}

/* One edit: an entry is put over its like, or taken out. */
void sim_edit(struct table *t, const struct slot_edit *edit)
{
	const size_t size =
		edit->is_range ? sizeof(*t->range) : sizeof(*t->entry);
	const void *key = edit->is_range ? (const void *)&edit->range
	                                 : (const void *)&edit->key;
	const size_t key_size =
		edit->is_range ? sizeof(edit->range) : sizeof(edit->key);
	size_t *n = edit->is_range ? &t->n_ranges : &t->n_entries;
	char *all = edit->is_range ? (char *)t->range : (char *)t->entry;
	size_t i = 0;

	while (i < *n && memcmp(all + i * size, key, key_size) != 0)
		i++;
	if (edit->remove) {
		assert_true(i < *n);
		memmove(all + i * size, all + (*n - 1) * size, size);
		--*n;
	} else {
		if (i == *n)
			++*n;
		assert_true(*n < SIM_ENTRIES);
		memcpy(all + i * size, key, key_size);
		memcpy(all + i * size + key_size, &edit->val,
		       sizeof(edit->val));
	}
	table_sort(t);
}

static void sim_addr(struct sim *sim, const struct plan_addr *addr, bool put)
{
	size_t i = 0, n = sim->state.n_addrs;

	while (i < n && addr_compare(&sim->addr[i].addr, &addr->addr) < 0)
		i++;
	if (i < n && !addr_compare(&sim->addr[i].addr, &addr->addr)) {
		if (put) {
			sim->addr[i] = *addr;
			return;
		}
		memmove(&sim->addr[i], &sim->addr[i + 1],
		        (n - i - 1) * sizeof(*addr));
		sim->state.n_addrs--;
		return;
	}
	assert_true(put);
	memmove(&sim->addr[i + 1], &sim->addr[i], (n - i) * sizeof(*addr));
	sim->addr[i] = *addr;
	sim->state.n_addrs++;
}

static void sim_prefix(struct sim *sim, const struct plan_prefix *prefix,
                       bool put)
{
	size_t i = 0, n = sim->state.n_prefixes;

	while (i < n &&
	       plan_prefix_compare(&sim->prefix[i].key, &prefix->key) < 0)
		i++;
	if (i < n && !plan_prefix_compare(&sim->prefix[i].key, &prefix->key)) {
		if (put) {
			sim->prefix[i] = *prefix;
			return;
		}
		memmove(&sim->prefix[i], &sim->prefix[i + 1],
		        (n - i - 1) * sizeof(*prefix));
		sim->state.n_prefixes--;
	} else {
		assert_true(put);
		memmove(&sim->prefix[i + 1], &sim->prefix[i],
		        (n - i) * sizeof(*prefix));
		sim->prefix[i] = *prefix;
		sim->state.n_prefixes++;
	}
	state_index(&sim->state);
}

void sim_op(struct sim *sim, const struct plan *plan, const struct op *op)
{
	const struct fill *fill;
	uint32_t slot;

	switch (op->kind) {
	case OP_FILL:
		fill = &plan->fill[op->fill];
		slot = slot_fill(sim, fill);
		sim->fill_slot[op->fill] = (int)slot;
		sim->clean[slot] = fill->clean;
		break;
	case OP_ENDPOINT:
		sim->endpoint[op->endpoint.number] = op->endpoint.value;
		if (op->endpoint.fill != NO_FILL)
			sim->endpoint[op->endpoint.number].slot =
				(uint32_t)sim->fill_slot[op->endpoint.fill];
		break;
	case OP_ENDPOINT_CLEAR:
		sim->endpoint[op->endpoint.number] = (struct endpoint){};
		break;
	case OP_ADDR:
	case OP_ADDR_REMOVE:
		sim_addr(sim, &op->addr, op->kind == OP_ADDR);
		break;
	case OP_PREFIX:
	case OP_PREFIX_REMOVE:
		sim_prefix(sim, &op->prefix, op->kind == OP_PREFIX);
		break;
	case OP_RETIRE:
		for (unsigned i = 1; i < ENDPOINT_MAX; i++)
			assert_false(sim->endpoint[i].ifindex &&
			             !sim->endpoint[i].closed &&
			             sim->endpoint[i].slot == op->slot);
		sim_slot_clear(sim, op->slot);
		break;
	case OP_SETTLE: /* step_op() */
	case OP_RAISE:
	case OP__COUNT:
		break;
	}
}

/* ---- what the kernel would say ------------------------------------------ */

const struct plan_addr *sim_whole(const struct state *state,
                                  const struct addr *addr)
{
	for (size_t i = 0; i < state->n_addrs; i++)
		if (!addr_compare(&state->addr[i].addr, addr))
			return &state->addr[i];
	return NULL;
}

bool sim_answer(const struct state *state, const struct table *table,
                const struct question *q)
{
	const struct plan_addr *peer = sim_whole(state, &q->peer);
	const struct policy_val *val;

	if (peer && peer->info.local)
		return true;
	if (!table->header.isolated[q->dir])
		return true;
	val = table_lookup(table, state_identity(state, &q->peer), q->dir,
	                   q->proto, q->port);
	return val && val->allow;
}

const struct table *sim_table(const struct state *state, uint16_t number)
{
	for (size_t i = 0; i < state->n_endpoints; i++)
		if (state->endpoint[i].number == number)
			return state->endpoint[i].table;
	return NULL;
}
