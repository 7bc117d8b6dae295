// SPDX-License-Identifier: Apache-2.0
/* identity.c - which identities there are, and what bears them. */
#include "policy/identity.h"

#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/index.h"

struct build {
	const struct world *world;
	struct arena *arena;
	struct identities ids;
	struct index by_place;
	size_t cap;
};

static uint8_t class_of(enum role role, enum family family)
{
	static const uint8_t classes[] = {
		[ROLE_POD] = CLASS_POD4,    [ROLE_NODE] = CLASS_NODE4,
		[ROLE_HOST] = CLASS_NODE4,  [ROLE_WORLD] = CLASS_WORLD4,
		[ROLE_INIT] = CLASS_WORLD4,
	};
	_Static_assert(CLASS_POD6 == CLASS_POD4 + 1 &&
	                       CLASS_NODE6 == CLASS_NODE4 + 1 &&
	                       CLASS_WORLD6 == CLASS_WORLD4 + 1,
	               "the class of IPv6 follows that of IPv4");

	return (uint8_t)(classes[role] + (family == FAMILY_V6));
}

/* The identity with that role, kind and CIDR (which knows the family). */
static int ident_get(struct build *b, enum role role, uint32_t kind,
                     uint32_t cidr, uint32_t *ret)
{
	struct identities *ids = &b->ids;
	uint64_t hash = hash_u64(hash_u64((uint64_t)kind << 32 | cidr) + role);
	size_t at = 0;

	while (index_next(&b->by_place, hash, &at, ret)) {
		const struct ident *id = &ids->ident[*ret];

		if (id->role == role && id->kind == kind && id->cidr == cidr)
			return 0;
	}
	ids->ident[ids->n] = (struct ident){
		.role = (uint8_t)role,
		.class = class_of(role,
	                          cidr < ids->cidrs.v6 ? FAMILY_V4 : FAMILY_V6),
		.kind = kind,
		.cidr = cidr,
	};
	*ret = (uint32_t)ids->n++;
	return index_put(&b->by_place, b->arena, hash, *ret);
}

static int owned_ident(struct build *b, size_t i)
{
	struct identities *ids = &b->ids;
	const struct owned *owned = &ids->owned[i];
	uint32_t cidr = cidrs_find(&ids->cidrs, &owned->addr);
	uint32_t kind = KIND_NONE;
	enum role role;

	if (owned->pod == OWNER_NODE) {
		role = owned->local ? ROLE_HOST : ROLE_NODE;
	} else {
		kind = ids->kinds.of_pod[owned->pod];
		role = kind == KIND_NONE ? ROLE_INIT : ROLE_POD;
	}
	return ident_get(b, role, kind, cidr, &ids->of_owned[i]);
}

static int idents_build(struct build *b)
{
	struct identities *ids = &b->ids;

	/* Each address adds at most one, and so does each CIDR. */
	ids->ident = arena_array(b->arena, ids->n_owned + ids->cidrs.n,
	                         sizeof(*ids->ident));
	ids->of_owned =
		arena_array(b->arena, ids->n_owned, sizeof(*ids->of_owned));
	ids->of_cidr =
		arena_array(b->arena, ids->cidrs.n, sizeof(*ids->of_cidr));
	if (!ids->ident || !ids->of_owned || !ids->of_cidr)
		return -ENOMEM;
	for (size_t i = 0; i < ids->n_owned; i++)
		if (owned_ident(b, i))
			return -ENOMEM;
	for (uint32_t i = 0; i < ids->cidrs.n; i++)
		if (ident_get(b, ROLE_WORLD, KIND_NONE, i, &ids->of_cidr[i]))
			return -ENOMEM;
	return 0;
}

static uint64_t ident_order(const struct ident *id)
{
	/* Kinds and CIDRs are far fewer than 2^29. */
	return (uint64_t)id->class << 61 | (uint64_t)id->role << 58 |
	       (uint64_t)(id->kind & 0x1fffffff) << 29 | id->cidr;
}

static int ident_compare(const void *a, const void *b)
{
	uint64_t x = ident_order(*(const struct ident *const *)a);
	uint64_t y = ident_order(*(const struct ident *const *)b);

	return (x > y) - (x < y);
}

/* By class, role, kind, CIDR: the same whatever the order of the addresses. */
static int idents_sort(struct build *b)
{
	struct identities *ids = &b->ids;
	struct ident **order = arena_array(b->arena, ids->n, sizeof(*order));
	struct ident *sorted = arena_array(b->arena, ids->n, sizeof(*sorted));
	uint32_t *place = arena_array(b->arena, ids->n, sizeof(*place));

	if (!order || !sorted || !place)
		return -ENOMEM;
	for (size_t i = 0; i < ids->n; i++)
		order[i] = &ids->ident[i];
	qsort(order, ids->n, sizeof(*order), ident_compare);
	for (size_t i = 0; i < ids->n; i++) {
		sorted[i] = *order[i];
		place[order[i] - ids->ident] = (uint32_t)i;
	}
	for (size_t i = 0; i < ids->n_owned; i++)
		ids->of_owned[i] = place[ids->of_owned[i]];
	for (size_t i = 0; i < ids->cidrs.n; i++)
		ids->of_cidr[i] = place[ids->of_cidr[i]];
	ids->ident = sorted;
	return 0;
}

static uint32_t ident_kind(const struct ident *id)
{
	return id->kind;
}

static uint32_t ident_cidr(const struct ident *id)
{
	return id->cidr;
}

/* A counting sort; what @of puts at KIND_NONE is in no group. */
static int group(const struct identities *ids, size_t n_groups,
                 uint32_t (*of)(const struct ident *), struct arena *arena,
                 struct groups *ret)
{
	uint32_t *start = arena_array(arena, n_groups + 2, sizeof(*start));
	uint32_t *item = arena_array(arena, ids->n, sizeof(*item));

	if (!start || !item)
		return -ENOMEM;
	/* Counted two places on, then summed, then filled one place on. */
	for (size_t i = 0; i < ids->n; i++)
		if (of(&ids->ident[i]) != KIND_NONE)
			start[of(&ids->ident[i]) + 2]++;
	for (size_t i = 2; i < n_groups + 2; i++)
		start[i] += start[i - 1];
	for (uint32_t i = 0; i < ids->n; i++)
		if (of(&ids->ident[i]) != KIND_NONE)
			item[start[of(&ids->ident[i]) + 1]++] = i;
	*ret = (struct groups){start, item};
	return 0;
}

static int kinds_of_owners(struct build *b, const struct vocab *vocab)
{
	struct identities *ids = &b->ids;
	uint32_t *owner = arena_array(b->arena, ids->n_owned, sizeof(*owner));
	size_t n = 0;

	if (!owner)
		return -ENOMEM;
	for (size_t i = 0; i < ids->n_owned; i++)
		if (ids->owned[i].pod != OWNER_NODE)
			owner[n++] = ids->owned[i].pod;
	return kinds_build(b->world, vocab, owner, n, b->arena, &ids->kinds);
}

int identities_find(const struct world *world, const struct vocab *vocab,
                    struct arena *arena, struct identities *ret)
{
	struct build b = {.world = world, .arena = arena};
	struct identities *ids = &b.ids;
	int r = owners_find(world, arena, &ids->owned, &ids->n_owned);

	if (!r)
		r = kinds_of_owners(&b, vocab);
	if (!r)
		r = cidrs_build(vocab->cidr, vocab->n_cidrs, arena,
		                &ids->cidrs);
	if (!r)
		r = idents_build(&b);
	if (!r)
		r = idents_sort(&b);
	if (!r)
		r = group(ids, ids->kinds.n, ident_kind, arena, &ids->by_kind);
	if (!r)
		r = group(ids, ids->cidrs.n, ident_cidr, arena, &ids->by_cidr);
	if (!r)
		*ret = b.ids;
	return r;
}

static int number_compare(const void *a, const void *b)
{
	const struct identity *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int prefix_entry_compare(const void *a, const void *b)
{
	const struct prefix_entry *x = a, *y = b;
	int cmp = addr_compare(&x->prefix.addr, &y->prefix.addr);

	return cmp ? cmp : x->prefix.bits - y->prefix.bits;
}

/* Does @wide, as a trie reads it, hold the whole IPv4 address space? */
static bool holds_v4(const struct prefix *wide)
{
	static const struct addr v4 = {{{[10] = 0xff, [11] = 0xff}}};
	unsigned int bytes = wide->bits / 8, rest = wide->bits % 8;

	return wide->bits < 96 && !memcmp(wide->addr.byte, v4.byte, bytes) &&
	       (!rest || !((wide->addr.byte[bytes] ^ v4.byte[bytes]) &
	                   (0xff00 >> rest)));
}

/*
 * Every CIDR, and where an IPv6 one as wide as ::/8 would answer for IPv4
 * addresses too (the trie knows no families), the root of IPv4 before it.
 */
static int prefixes_export(const struct identities *ids, struct arena *arena,
                           struct compiled *ret)
{
	const struct cidrs *cidrs = &ids->cidrs;
	struct prefix_entry *entry =
		arena_array(arena, cidrs->n, sizeof(*entry));
	bool guard = false;
	size_t n = 0;

	if (!entry)
		return -ENOMEM;
	for (size_t i = 0; i < cidrs->n; i++) {
		const struct cidr *c = &cidrs->cidr[i];

		if (c->root)
			continue;
		guard = guard || holds_v4(&c->prefix);
		entry[n++] = (struct prefix_entry){
			c->prefix, ids->ident[ids->of_cidr[i]].number};
	}
	if (guard)
		entry[n++] = (struct prefix_entry){
			cidrs->cidr[0].prefix,
			ids->ident[ids->of_cidr[0]].number};
	qsort(entry, n, sizeof(*entry), prefix_entry_compare);
	ret->prefix = entry;
	ret->n_prefixes = n;
	return 0;
}

int identities_export(const struct world *world, const struct identities *ids,
                      struct arena *arena, struct compiled *ret)
{
	struct identity *identity =
		arena_array(arena, ids->n, sizeof(*identity));
	struct addr_entry *addr =
		arena_array(arena, ids->n_owned, sizeof(*addr));

	if (!identity || !addr)
		return -ENOMEM;
	for (size_t i = 0; i < ids->n; i++)
		identity[i] = (struct identity){ids->ident[i].number,
		                                ids->ident[i].key};
	qsort(identity, ids->n, sizeof(*identity), number_compare);
	for (size_t i = 0; i < ids->n_owned; i++) {
		const struct owned *owned = &ids->owned[i];

		addr[i] = (struct addr_entry){
			.addr = owned->addr,
			.identity = ids->ident[ids->of_owned[i]].number,
			.local = owned->local,
		};
		if (owned->pod != OWNER_NODE)
			addr[i].endpoint = world->pod[owned->pod]->endpoint;
	}
	ret->identity = identity;
	ret->n_identities = ids->n;
	ret->addr = addr;
	ret->n_addrs = ids->n_owned;
	return prefixes_export(ids, arena, ret);
}
