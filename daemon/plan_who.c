// SPDX-License-Identifier: Apache-2.0
/* plan_who.c - walking two states at once, and who an address is in one. */
#include <errno.h>
#include <string.h>

#include "daemon/plan_impl.h"
#include "lib/addr.h"

/* ---- who an address is -------------------------------------------------- */

int plan_prefix_compare(const struct prefix_key *a, const struct prefix_key *b)
{
	const int order = memcmp(a->addr, b->addr, sizeof(a->addr));

	return order ? order : (a->bits > b->bits) - (a->bits < b->bits);
}

static int addr_key_compare(const void *key, const void *entry)
{
	return addr_compare(key, &((const struct plan_addr *)entry)->addr);
}

/* The prefix of that length which holds @addr, if it is there. */
static const struct plan_prefix *prefix_find(const struct state *state,
                                             const struct addr *addr,
                                             unsigned bits)
{
	struct prefix_key key = {.bits = bits};
	size_t lo = 0, hi = state->n_prefixes;

	memcpy(key.addr, addr->byte, bits / 8);
	if (bits % 8)
		((unsigned char *)key.addr)[bits / 8] =
			addr->byte[bits / 8] &
			(unsigned char)(0xff00 >> bits % 8);
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		const int order =
			plan_prefix_compare(&state->prefix[mid].key, &key);

		if (!order)
			return &state->prefix[mid];
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The longest prefix of at most @bits that holds @addr; NULL. */
static const struct plan_prefix *prefix_longest(const struct state *state,
                                                const struct addr *addr,
                                                unsigned bits)
{
	const struct plan_prefix *prefix;

	for (; state->n_prefixes && bits <= 128; bits--) {
		if (!(state->has_bits[bits / 32] >> bits % 32 & 1))
			continue;
		prefix = prefix_find(state, addr, bits);
		if (prefix)
			return prefix;
	}
	return NULL;
}

static uint32_t longest_identity(const struct state *state,
                                 const struct addr *addr, unsigned bits)
{
	const struct plan_prefix *prefix = prefix_longest(state, addr, bits);

	if (prefix)
		return prefix->info.identity;
	return ID(addr_family(addr) == FAMILY_V4 ? CLASS_WORLD4 : CLASS_WORLD6,
	          ID_SERIAL_PLAIN);
}

uint32_t prefix_identity(const struct state *state, const struct addr *addr)
{
	return longest_identity(state, addr, 128);
}

bool is_pooled(const struct state *state, const struct addr *addr)
{
	const struct plan_prefix *prefix = prefix_longest(state, addr, 128);

	return prefix && prefix->info.pool;
}

uint16_t prefix_node(const struct state *state, const struct addr *addr)
{
	const struct plan_prefix *prefix = prefix_longest(state, addr, 128);

	return prefix ? prefix->info.node : 0;
}

uint32_t identity_around(const struct state *state,
                         const struct prefix_key *key)
{
	struct addr first;

	memcpy(first.byte, key->addr, sizeof(first));
	return longest_identity(state, &first, key->bits - 1);
}

void state_index(struct state *state)
{
	memset(state->has_bits, 0, sizeof(state->has_bits));
	for (size_t i = 0; i < state->n_prefixes; i++) {
		const unsigned bits = state->prefix[i].key.bits;

		state->has_bits[bits / 32] |= 1u << bits % 32;
	}
}

uint32_t state_identity(const struct state *state, const struct addr *addr)
{
	const struct plan_addr *whole =
		state->n_addrs ? bsearch(addr, state->addr, state->n_addrs,
	                                 sizeof(*whole), addr_key_compare)
			       : NULL;

	return whole ? whole->info.identity : prefix_identity(state, addr);
}

/* ---- addresses ---------------------------------------------------------- */

void addrs_walk(struct planner *p, addr_change_fn *change)
{
	const struct state *have = p->have, *want = p->want;
	size_t h = 0, w = 0;

	while ((h < have->n_addrs || w < want->n_addrs) && !p->error) {
		const int order = h == have->n_addrs ? 1
		                  : w == want->n_addrs
		                          ? -1
		                          : addr_compare(&have->addr[h].addr,
		                                         &want->addr[w].addr);

		if (order < 0)
			change(p, &have->addr[h++], NULL);
		else if (order > 0)
			change(p, NULL, &want->addr[w++]);
		else if (!memcmp(&have->addr[h].info, &want->addr[w].info,
		                 sizeof(have->addr[h].info)))
			h++, w++;
		else
			change(p, &have->addr[h++], &want->addr[w++]);
	}
}

void prefixes_walk(struct planner *p, prefix_change_fn *change)
{
	const struct state *have = p->have, *want = p->want;
	size_t h = 0, w = 0;

	while ((h < have->n_prefixes || w < want->n_prefixes) && !p->error) {
		const int order =
			h == have->n_prefixes ? 1
			: w == want->n_prefixes
				? -1
				: plan_prefix_compare(&have->prefix[h].key,
		                                      &want->prefix[w].key);

		if (order < 0)
			change(p, &have->prefix[h++], NULL);
		else if (order > 0)
			change(p, NULL, &want->prefix[w++]);
		else if (!memcmp(&have->prefix[h].info, &want->prefix[w].info,
		                 sizeof(have->prefix[h].info)))
			h++, w++;
		else
			change(p, &have->prefix[h++], &want->prefix[w++]);
	}
}
