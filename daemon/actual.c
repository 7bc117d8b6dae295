// SPDX-License-Identifier: Apache-2.0
/* actual.c - see actual.h. */
#include "daemon/actual.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

const struct table table_open = {.header = {.isolated = {0, 0}}};
const struct table table_closed = {.header = {.isolated = {1, 1}}};

/* ---- slots -------------------------------------------------------------- */

static struct held *held_new(const struct table *table, const uint32_t *bridge,
                             size_t n_bridge)
{
	const size_t entries = table->n_entries * sizeof(*table->entry);
	const size_t ranges = table->n_ranges * sizeof(*table->range);
	const size_t bridged = n_bridge * sizeof(*bridge);
	struct held *held = malloc(sizeof(*held) + entries + ranges + bridged);
	char *at = (char *)(held + 1);

	if (!held)
		return NULL;
	held->table = *table;
	held->table.entry = (struct policy_entry *)at;
	held->table.range = (struct range_entry *)(at + entries);
	held->bridge = (uint32_t *)(at + entries + ranges);
	held->n_bridge = n_bridge;
	if (entries)
		memcpy(held->table.entry, table->entry, entries);
	if (ranges)
		memcpy(held->table.range, table->range, ranges);
	if (bridged)
		memcpy(held->bridge, bridge, bridged);
	return held;
}

int actual_hold(struct actual *actual, uint32_t slot, const struct fill *fill)
{
	struct held *held = NULL;

	if (fill) {
		held = held_new(fill->clean, fill->bridge, fill->n_bridge);
		if (!held)
			return -ENOMEM;
	}
	free(actual->slot[slot]);
	actual->slot[slot] = held;
	return 0;
}

const struct table *actual_table(const struct actual *actual, uint16_t endpoint)
{
	const uint32_t slot = actual->endpoint[endpoint % ENDPOINT_MAX].slot;

	if (actual->endpoint[endpoint % ENDPOINT_MAX].closed)
		return NULL;
	if (slot == SLOT_OPEN)
		return &table_open;
	if (slot == SLOT_CLOSED)
		return &table_closed;
	return slot < SLOT_MAX && actual->slot[slot]
	               ? &actual->slot[slot]->table
	               : NULL;
}

bool actual_knows(const struct actual *actual, uint32_t identity)
{
	for (uint32_t slot = SLOT_FIRST; slot < SLOT_MAX; slot++) {
		const struct held *held = actual->slot[slot];

		if (!held)
			continue;
		if (table_mentions(&held->table, identity))
			return true;
		for (size_t i = 0; i < held->n_bridge; i++)
			if (held->bridge[i] == identity)
				return true;
	}
	return false;
}

/* ---- reading ------------------------------------------------------------ */

struct reader {
	size_t key_size, value_size, size;
	char *item;
	size_t n, room;
};

static int read_one(const void *key, const void *value, void *user)
{
	struct reader *reader = user;
	char *at;

	if (reader->n == reader->room) {
		const size_t room = reader->room ? reader->room * 2 : 256;
		char *item = reallocarray(reader->item, room, reader->size);

		if (!item)
			return -ENOMEM;
		reader->item = item;
		reader->room = room;
	}
	at = reader->item + reader->n++ * reader->size;
	memcpy(at, key, reader->key_size);
	memcpy(at + reader->key_size, value, reader->value_size);
	return 0;
}

static int addr_order(const void *a, const void *b)
{
	return addr_compare(&((const struct plan_addr *)a)->addr,
	                    &((const struct plan_addr *)b)->addr);
}

static int prefix_order(const void *a, const void *b)
{
	return plan_prefix_compare(&((const struct plan_prefix *)a)->key,
	                           &((const struct plan_prefix *)b)->key);
}

static int addrs_read(struct actual *actual, struct dp *dp)
{
	struct reader reader = {
		.key_size = sizeof(struct addr),
		.value_size = sizeof(struct addr_info),
		.size = sizeof(struct plan_addr),
	};
	int r = dp_map_each(dp_map_fd(dp, "addrs"), read_one, &reader);

	actual->addr = (struct plan_addr *)reader.item;
	actual->n_addrs = reader.n;
	if (reader.n)
		qsort(actual->addr, reader.n, reader.size, addr_order);
	return r;
}

static int prefixes_read(struct actual *actual, struct dp *dp)
{
	struct reader reader = {
		.key_size = sizeof(struct prefix_key),
		.value_size = sizeof(struct prefix_info),
		.size = sizeof(struct plan_prefix),
	};
	int r = dp_map_each(dp_map_fd(dp, "prefixes"), read_one, &reader);

	actual->prefix = (struct plan_prefix *)reader.item;
	actual->n_prefixes = reader.n;
	if (reader.n)
		qsort(actual->prefix, reader.n, reader.size, prefix_order);
	return r;
}

/* A slot that cannot be read holds nothing that we would want: its endpoints
 * get another. */
static int slot_read(struct actual *actual, struct dp *dp, uint32_t slot)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct table table;
	int r;

	if (!arena)
		return -ENOMEM;
	r = dp_slot_read(dp, slot, arena, &table);
	if (r == -ENOENT)
		return 0;
	if (r)
		return r;
	actual->slot[slot] = held_new(&table, NULL, 0);
	return actual->slot[slot] ? 0 : -ENOMEM;
}

static int endpoints_read(struct actual *actual, struct dp *dp)
{
	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		struct endpoint *ep = &actual->endpoint[i];
		int r = dp_endpoint_get(dp, (uint16_t)i, ep);

		/* One that is closed is not judged: its slot may be another's.
		 */
		if (!r && ep->ifindex && !ep->closed &&
		    ep->slot >= SLOT_FIRST && ep->slot < SLOT_MAX &&
		    !actual->slot[ep->slot])
			r = slot_read(actual, dp, ep->slot);
		if (r)
			return r;
	}
	return 0;
}

int actual_read(struct actual *actual, struct dp *dp, struct err *err)
{
	int r;

	actual_free(actual);
	r = endpoints_read(actual, dp);
	if (!r)
		r = addrs_read(actual, dp);
	if (!r)
		r = prefixes_read(actual, dp);
	if (r)
		actual_free(actual);
	return r ? err_set(err, r, "read the maps: %s", strerror(-r)) : 0;
}

void actual_free(struct actual *actual)
{
	for (uint32_t slot = 0; slot < SLOT_MAX; slot++)
		free(actual->slot[slot]);
	free(actual->addr);
	free(actual->prefix);
	*actual = (struct actual){};
}

static bool slots_equal(const struct actual *a, const struct actual *b)
{
	for (uint32_t slot = SLOT_FIRST; slot < SLOT_MAX; slot++) {
		const struct held *x = a->slot[slot], *y = b->slot[slot];

		if (!x != !y || (x && !table_equal(&x->table, &y->table)))
			return false;
	}
	return true;
}

bool actual_equal(const struct actual *a, const struct actual *b)
{
	return a->n_addrs == b->n_addrs && a->n_prefixes == b->n_prefixes &&
	       !memcmp(a->endpoint, b->endpoint, sizeof(a->endpoint)) &&
	       (!a->n_addrs ||
	        !memcmp(a->addr, b->addr, a->n_addrs * sizeof(*a->addr))) &&
	       (!a->n_prefixes ||
	        !memcmp(a->prefix, b->prefix,
	                a->n_prefixes * sizeof(*a->prefix))) &&
	       slots_equal(a, b);
}

/* ---- as a state --------------------------------------------------------- */

int actual_state(const struct actual *actual, struct arena *arena,
                 struct state *ret)
{
	struct plan_endpoint *ep =
		arena_array(arena, ENDPOINT_MAX, sizeof(*ep));
	struct plan_slot *slot = arena_array(arena, SLOT_MAX, sizeof(*slot));
	struct state state = {
		.addr = actual->addr,
		.n_addrs = actual->n_addrs,
		.prefix = actual->prefix,
		.n_prefixes = actual->n_prefixes,
		.endpoint = ep,
		.slot = slot,
	};

	if (!ep || !slot)
		return -ENOMEM;
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		if (actual->endpoint[i].ifindex)
			ep[state.n_endpoints++] = (struct plan_endpoint){
				.number = (uint16_t)i,
				.value = actual->endpoint[i],
				.table = actual_table(actual, (uint16_t)i),
			};
	for (uint32_t i = SLOT_FIRST; i < SLOT_MAX; i++)
		if (actual->slot[i])
			slot[state.n_slots++] =
				(struct plan_slot){i, &actual->slot[i]->table};
	state_index(&state);
	*ret = state;
	return 0;
}

static void *copy_of(const void *data, size_t bytes)
{
	void *copy = malloc(bytes ? bytes : 1);

	if (copy && bytes)
		memcpy(copy, data, bytes);
	return copy;
}

int actual_take(struct actual *actual, const struct state *state)
{
	struct plan_addr *addr =
		copy_of(state->addr, state->n_addrs * sizeof(*addr));
	struct plan_prefix *prefix =
		copy_of(state->prefix, state->n_prefixes * sizeof(*prefix));

	if (!addr || !prefix) {
		free(addr);
		free(prefix);
		return -ENOMEM;
	}
	free(actual->addr);
	free(actual->prefix);
	actual->addr = addr;
	actual->n_addrs = state->n_addrs;
	actual->prefix = prefix;
	actual->n_prefixes = state->n_prefixes;
	return 0;
}
