// SPDX-License-Identifier: Apache-2.0
/* desired.c - see desired.h. */
#include "daemon/desired.h"

#include <errno.h>
#include <string.h>

#include "lib/addr.h"

/* Whose pods' prefix holds the address; 0: nobody's. */
static uint16_t cidr_node(const struct desired_input *input,
                          const struct addr *addr)
{
	size_t lo = 0, hi = input->n_cidrs;

	/* The last that does not begin behind it. */
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (addr_compare(&input->cidr[mid].prefix.addr, addr) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && prefix_contains(&input->cidr[lo - 1].prefix, addr)
	               ? input->cidr[lo - 1].number
	               : 0;
}

/* @at: where the sorted addresses of nodes stand, which both walk through. */
static uint16_t node_of(const struct desired_input *input,
                        const struct addr_entry *entry, size_t *at)
{
	if (entry->local || entry->endpoint)
		return 0;
	while (*at < input->n_nodes &&
	       addr_compare(&input->node[*at].addr, &entry->addr) < 0)
		++*at;
	if (*at < input->n_nodes &&
	    !addr_compare(&input->node[*at].addr, &entry->addr))
		return input->node[*at].number;
	return cidr_node(input, &entry->addr);
}

static int addrs_build(const struct desired_input *input, struct arena *arena,
                       struct state *ret)
{
	const struct compiled *compiled = input->compiled;
	struct plan_addr *addr =
		arena_array(arena, compiled->n_addrs, sizeof(*addr));
	size_t at = 0;

	if (!addr)
		return -ENOMEM;
	for (size_t i = 0; i < compiled->n_addrs; i++) {
		const struct addr_entry *entry = &compiled->addr[i];

		addr[i].addr = entry->addr;
		addr[i].info = (struct addr_info){
			.identity = entry->identity,
			.endpoint = entry->endpoint,
			.node = node_of(input, entry, &at),
			.local = entry->local,
		};
	}
	ret->addr = addr;
	ret->n_addrs = compiled->n_addrs;
	return 0;
}

/* ---- prefixes ----------------------------------------------------------- */

static struct prefix_key key_of(const struct prefix *prefix)
{
	struct prefix_key key = {.bits = prefix->bits};

	memcpy(key.addr, prefix->addr.byte, sizeof(key.addr));
	return key;
}

static int prefix_order(const void *a, const void *b)
{
	return plan_prefix_compare(&((const struct plan_prefix *)a)->key,
	                           &((const struct plan_prefix *)b)->key);
}

/*
 * A prefix of the sweep: policy's own (compiled), pods' of a node, or both.
 * What lies in a prefix of pods inherits whose it is; what policy does not name
 * inherits the identity around it.
 */
struct swept {
	struct plan_prefix prefix;
	bool has_identity, has_mark; /* pool, no_masq and node are its own */
};

static int swept_order(const void *a, const void *b)
{
	return prefix_order(&((const struct swept *)a)->prefix,
	                    &((const struct swept *)b)->prefix);
}

static size_t swept_fill(const struct desired_input *input, struct swept *swept)
{
	const struct compiled *compiled = input->compiled;
	size_t n = 0;

	for (size_t i = 0; i < compiled->n_prefixes; i++) {
		struct swept *s = &swept[n++];

		s->has_identity = true;
		s->prefix.key = key_of(&compiled->prefix[i].prefix);
		s->prefix.info.identity = compiled->prefix[i].identity;
	}
	for (int f = 0; f < FAMILY__COUNT; f++) {
		if (!input->has_pool[f])
			continue;
		swept[n].has_mark = true;
		swept[n].prefix.key = key_of(&input->pool[f]);
		swept[n].prefix.info.pool = 1;
		swept[n++].prefix.info.no_masq = 1;
	}
	for (size_t i = 0; i < input->n_cidrs; i++) {
		swept[n].has_mark = true;
		swept[n].prefix.key = key_of(&input->cidr[i].prefix);
		swept[n].prefix.info.no_masq = 1;
		swept[n++].prefix.info.node = input->cidr[i].number;
	}
	return n;
}

/* Neighbours that are equal become one. */
static size_t swept_join(struct swept *swept, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct swept *last = kept ? &swept[kept - 1] : NULL;
		const struct swept *s = &swept[i];

		if (!last ||
		    plan_prefix_compare(&last->prefix.key, &s->prefix.key)) {
			swept[kept++] = *s;
			continue;
		}
		if (s->has_identity)
			last->prefix.info.identity = s->prefix.info.identity;
		if (s->has_mark) {
			last->prefix.info.pool |= s->prefix.info.pool;
			last->prefix.info.no_masq = 1;
			last->prefix.info.node = s->prefix.info.node;
		}
		last->has_identity |= s->has_identity;
		last->has_mark |= s->has_mark;
	}
	return kept;
}

static bool swept_holds(const struct swept *outer, const struct swept *inner)
{
	struct prefix prefix = {.bits = (uint8_t)outer->prefix.key.bits};
	struct addr addr;

	memcpy(prefix.addr.byte, outer->prefix.key.addr, sizeof(addr));
	memcpy(addr.byte, inner->prefix.key.addr, sizeof(addr));
	return prefix_contains(&prefix, &addr);
}

/* Outer prefixes come before inner ones: those around stand on a stack. */
static void swept_inherit(struct swept *swept, size_t n)
{
	const struct swept *around[129];
	size_t depth = 0;

	for (size_t i = 0; i < n; i++) {
		struct swept *s = &swept[i];
		struct prefix_info *info = &s->prefix.info;
		struct addr addr;

		while (depth && !swept_holds(around[depth - 1], s))
			depth--;
		memcpy(addr.byte, s->prefix.key.addr, sizeof(addr));
		if (!s->has_identity)
			info->identity =
				depth ? around[depth - 1]->prefix.info.identity
				      : ID(addr_family(&addr) == FAMILY_V4
			                           ? CLASS_WORLD4
			                           : CLASS_WORLD6,
			                   ID_SERIAL_PLAIN);
		if (!s->has_mark && depth) {
			const struct prefix_info *outer =
				&around[depth - 1]->prefix.info;

			info->pool = outer->pool;
			info->no_masq = outer->no_masq;
			info->node = outer->node;
		}
		around[depth++] = s;
	}
}

static int prefixes_build(const struct desired_input *input,
                          struct arena *arena, struct state *ret)
{
	size_t n = input->compiled->n_prefixes + FAMILY__COUNT + input->n_cidrs;
	struct swept *swept = arena_array(arena, n, sizeof(*swept));
	struct plan_prefix *prefix = arena_array(arena, n, sizeof(*prefix));

	if (!prefix || !swept)
		return -ENOMEM;
	n = swept_fill(input, swept);
	if (n)
		qsort(swept, n, sizeof(*swept), swept_order);
	n = swept_join(swept, n);
	swept_inherit(swept, n);
	for (size_t i = 0; i < n; i++)
		prefix[i] = swept[i].prefix;
	ret->prefix = prefix;
	ret->n_prefixes = n;
	state_index(ret);
	return 0;
}

/* ---- endpoints ---------------------------------------------------------- */

static const struct endpoint_policy *policy_of(const struct compiled *compiled,
                                               unsigned number)
{
	size_t lo = 0, hi = compiled->n_endpoints;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (compiled->endpoint[mid].endpoint == number)
			return &compiled->endpoint[mid];
		if (compiled->endpoint[mid].endpoint < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static struct plan_endpoint endpoint_build(const struct desired_input *input,
                                           unsigned number)
{
	const struct endpoint_policy *policy =
		policy_of(input->compiled, number);
	struct plan_endpoint ep = {
		.number = (uint16_t)number,
		.value = input->endpoint[number],
	};

	if (policy && policy->refused)
		ep.newcomer = &input->compiled->table[policy->table];
	else if (policy && !input->keep[number])
		ep.table = &input->compiled->table[policy->table];
	for (int dir = 0; dir < DIR__COUNT; dir++)
		ep.shut[dir] =
			ep.newcomer ? ep.newcomer->header.isolated[dir]
				    : input->shut && input->shut[number][dir];
	return ep;
}

static int endpoints_build(const struct desired_input *input,
                           struct arena *arena, struct state *ret)
{
	struct plan_endpoint *ep =
		arena_array(arena, ENDPOINT_MAX, sizeof(*ep));
	size_t n = 0;

	if (!ep)
		return -ENOMEM;
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		if (input->endpoint[i].ifindex)
			ep[n++] = endpoint_build(input, i);
	ret->endpoint = ep;
	ret->n_endpoints = n;
	return 0;
}

int desired_build(const struct desired_input *input, struct arena *arena,
                  struct state *ret)
{
	struct state state = {};
	int r = addrs_build(input, arena, &state);

	if (!r)
		r = prefixes_build(input, arena, &state);
	if (!r)
		r = endpoints_build(input, arena, &state);
	if (!r)
		*ret = state;
	return r;
}
