// SPDX-License-Identifier: Apache-2.0
/* plan_join.c - a table and a bridge in one slot, and how it is settled. */
#include <errno.h>
#include <string.h>

#include "daemon/plan_impl.h"

static const struct bridged *bridged_find(const struct bridge *bridge,
                                          uint32_t number)
{
	size_t lo = 0, hi = bridge->n_numbers;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (bridge->number[mid].number == number)
			return &bridge->number[mid];
		if (bridge->number[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The table's entries, save those of numbers that the bridge speaks for. */
static int table_join(const struct bridge *bridge, struct arena *arena,
                      struct fill *fill)
{
	const struct table *clean = fill->clean;
	struct table *out = &fill->table;

	out->entry = arena_array(arena, clean->n_entries + bridge->n_entries,
	                         sizeof(*out->entry));
	out->range = arena_array(arena, clean->n_ranges + bridge->n_ranges,
	                         sizeof(*out->range));
	if (!out->entry || !out->range)
		return -ENOMEM;
	out->n_entries = out->n_ranges = 0;
	for (size_t i = 0; i < clean->n_entries; i++)
		if (!bridged_find(bridge, clean->entry[i].key.peer))
			out->entry[out->n_entries++] = clean->entry[i];
	for (size_t i = 0; i < clean->n_ranges; i++)
		if (!bridged_find(bridge, clean->range[i].key.peer))
			out->range[out->n_ranges++] = clean->range[i];
	if (bridge->n_entries)
		memcpy(out->entry + out->n_entries, bridge->entry,
		       bridge->n_entries * sizeof(*out->entry));
	if (bridge->n_ranges)
		memcpy(out->range + out->n_ranges, bridge->range,
		       bridge->n_ranges * sizeof(*out->range));
	out->n_entries += bridge->n_entries;
	out->n_ranges += bridge->n_ranges;
	for (int dir = 0; dir < DIR__COUNT; dir++)
		out->header.shapes[dir] |= bridge->shapes[dir];
	return 0;
}

/* ---- settling ----------------------------------------------------------- */

static bool entry_in(const struct table *table, const struct policy_key *key)
{
	size_t end;

	for (size_t i = table_entries_of(table, key->peer, &end); i < end; i++)
		if (!memcmp(&table->entry[i].key, key, sizeof(*key)))
			return true;
	return false;
}

static bool range_in(const struct table *table, const struct range_key *key)
{
	for (size_t i = 0; i < table->n_ranges; i++)
		if (!memcmp(&table->range[i].key, key, sizeof(*key)))
			return true;
	return false;
}

/* Puts of the number's own entries, removals of what is left of its bridge. */
static void number_settle(const struct bridge *bridge,
                          const struct bridged *number, struct fill *fill)
{
	const struct table *clean = fill->clean;
	struct slot_edit *edit = fill->edit;
	size_t end, i = table_entries_of(clean, number->number, &end);

	for (; i < end; i++)
		edit[fill->n_edits++] = (struct slot_edit){
			.key = clean->entry[i].key, .val = clean->entry[i].val};
	for (i = 0; i < clean->n_ranges; i++)
		if (clean->range[i].key.peer == number->number)
			edit[fill->n_edits++] =
				(struct slot_edit){.is_range = true,
			                           .range = clean->range[i].key,
			                           .val = clean->range[i].val};
	for (i = number->entry; i < number->entry + number->n_entries; i++)
		if (!entry_in(clean, &bridge->entry[i].key))
			edit[fill->n_edits++] = (struct slot_edit){
				.remove = true, .key = bridge->entry[i].key};
	for (i = number->range; i < number->range + number->n_ranges; i++)
		if (!range_in(clean, &bridge->range[i].key))
			edit[fill->n_edits++] = (struct slot_edit){
				.remove = true,
				.is_range = true,
				.range = bridge->range[i].key};
}

/* How narrow: a port, then prefixes by length, a protocol, all. */
static unsigned edit_width(const struct slot_edit *edit)
{
	if (edit->is_range)
		return 64 - edit->range.bits + 1;
	return edit->key.port ? 0 : edit->key.proto ? 100 : 101;
}

static int edit_order(const void *a, const void *b)
{
	const struct slot_edit *x = a, *y = b;
	const int wider = (int)edit_width(x) - (int)edit_width(y);

	if (x->remove != y->remove)
		return x->remove - y->remove;
	return x->remove ? -wider : wider;
}

int bridge_join(const struct bridge *bridge, struct arena *arena,
                struct fill *fill)
{
	fill->table = *fill->clean;
	if (!bridge->n_numbers)
		return 0;
	fill->bridge =
		arena_array(arena, bridge->n_numbers, sizeof(*fill->bridge));
	fill->edit =
		arena_array(arena,
	                    fill->clean->n_entries + fill->clean->n_ranges +
	                            bridge->n_entries + bridge->n_ranges,
	                    sizeof(*fill->edit));
	if (!fill->bridge || !fill->edit || table_join(bridge, arena, fill))
		return -ENOMEM;
	for (size_t i = 0; i < bridge->n_numbers; i++) {
		if (bridge->number[i].stays)
			number_settle(bridge, &bridge->number[i], fill);
		else
			fill->bridge[fill->n_bridge++] =
				bridge->number[i].number;
	}
	if (fill->n_edits)
		qsort(fill->edit, fill->n_edits, sizeof(*fill->edit),
		      edit_order);
	return 0;
}
