// SPDX-License-Identifier: Apache-2.0
/* desired.c - see desired.h. */
#include "daemon/desired.h"

#include <errno.h>
#include <string.h>

#include "lib/addr.h"

static int addrs_build(const struct compiled *compiled, struct arena *arena,
                       struct state *ret)
{
	struct plan_addr *addr =
		arena_array(arena, compiled->n_addrs, sizeof(*addr));

	if (!addr)
		return -ENOMEM;
	for (size_t i = 0; i < compiled->n_addrs; i++) {
		const struct addr_entry *entry = &compiled->addr[i];

		addr[i].addr = entry->addr;
		addr[i].info = (struct addr_info){
			.identity = entry->identity,
			.endpoint = entry->endpoint,
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

/* The number of an address that only @outer and what is around it hold. */
static uint32_t identity_of(const struct compiled *compiled,
                            const struct prefix *outer)
{
	const struct prefix_entry *best = NULL;

	for (size_t i = 0; i < compiled->n_prefixes; i++) {
		const struct prefix_entry *entry = &compiled->prefix[i];

		if (entry->prefix.bits <= outer->bits &&
		    prefix_contains(&entry->prefix, &outer->addr) &&
		    (!best || entry->prefix.bits > best->prefix.bits))
			best = entry;
	}
	if (best)
		return best->identity;
	return ID(addr_family(&outer->addr) == FAMILY_V4 ? CLASS_WORLD4
	                                                 : CLASS_WORLD6,
	          ID_SERIAL_PLAIN);
}

/* A pool is a prefix of its own, and so are those that lie in it. */
static void pool_mark(const struct desired_input *input,
                      const struct prefix *pool, struct plan_prefix *prefix,
                      size_t *n)
{
	const struct compiled *compiled = input->compiled;
	bool found = false;

	for (size_t i = 0; i < compiled->n_prefixes; i++) {
		const struct prefix *inner = &compiled->prefix[i].prefix;

		if (inner->bits < pool->bits ||
		    !prefix_contains(pool, &inner->addr))
			continue;
		prefix[i].info.pool = prefix[i].info.no_masq = 1;
		found = found || inner->bits == pool->bits;
	}
	if (!found)
		prefix[(*n)++] = (struct plan_prefix){
			.key = key_of(pool),
			.info = {.identity = identity_of(compiled, pool),
		                 .pool = 1,
		                 .no_masq = 1},
		};
}

static int prefixes_build(const struct desired_input *input,
                          struct arena *arena, struct state *ret)
{
	const struct compiled *compiled = input->compiled;
	size_t n = compiled->n_prefixes;
	struct plan_prefix *prefix =
		arena_array(arena, n + FAMILY__COUNT, sizeof(*prefix));

	if (!prefix)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		prefix[i].key = key_of(&compiled->prefix[i].prefix);
		prefix[i].info.identity = compiled->prefix[i].identity;
	}
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (input->has_pool[f])
			pool_mark(input, &input->pool[f], prefix, &n);
	qsort(prefix, n, sizeof(*prefix), prefix_order);
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
	int r = addrs_build(input->compiled, arena, &state);

	if (!r)
		r = prefixes_build(input, arena, &state);
	if (!r)
		r = endpoints_build(input, arena, &state);
	if (!r)
		*ret = state;
	return r;
}
