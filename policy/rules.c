// SPDX-License-Identifier: Apache-2.0
/* rules.c - see rules.h. */
#include "policy/rules.h"

#include <errno.h>
#include <string.h>

#include "policy/index.h"

struct build {
	const struct world *world;
	struct arena *work, *arena;
	struct rules rules;
	struct index by_number;
	uint32_t n_peers;
};

/* FNV-1a over 32 bits (RFC 9923): numbers outlive this process, in flows. */
static uint32_t fnv(uint32_t hash, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ p[i]) * 0x01000193u;
	return hash;
}

static uint32_t name_hash(const struct rule_name *name)
{
	const unsigned char tail[3] = {name->dir, (unsigned char)name->index,
	                               (unsigned char)(name->index >> 8)};
	uint32_t hash = 0x811c9dc5u;

	/* The terminators part the names. */
	hash = fnv(hash, name->ns, strlen(name->ns) + 1);
	hash = fnv(hash, name->name, strlen(name->name) + 1);
	return fnv(hash, tail, sizeof(tail));
}

static bool is_taken(const struct build *b, uint32_t number)
{
	size_t at = 0;
	uint32_t i;

	while (index_next(&b->by_number, hash_u64(number), &at, &i))
		if (b->rules.name[i].number == number)
			return true;
	return false;
}

static int rule_number(struct build *b, struct rule_name *name)
{
	uint32_t number = name_hash(name);

	while (!number || is_taken(b, number))
		number++;
	name->number = number;
	return index_put(&b->by_number, b->work, hash_u64(number),
	                 (uint32_t)(name - b->rules.name));
}

static int policy_number(struct build *b, size_t policy)
{
	const struct netpol *netpol = b->world->netpol[policy];
	const char *ns = arena_strdup(b->arena, netpol->ns);
	const char *text = arena_strdup(b->arena, netpol->name);

	if (!ns || !text)
		return -ENOMEM;
	for (int dir = 0; dir < DIR__COUNT; dir++) {
		b->rules.first[policy][dir] = (uint32_t)b->rules.n;
		for (size_t i = 0; i < netpol->n_rules[dir]; i++) {
			struct rule_name *name = &b->rules.name[b->rules.n];

			*name = (struct rule_name){
				.ns = ns,
				.name = text,
				.dir = (uint8_t)dir,
				.index = (uint16_t)i,
			};
			if (rule_number(b, name))
				return -ENOMEM;
			b->rules.ref[b->rules.n++] =
				(struct rule_ref){name->number, b->n_peers};
			b->n_peers += (uint32_t)netpol->rule[dir][i].n_peers;
		}
	}
	return 0;
}

static int name_compare(const void *a, const void *b)
{
	const struct rule_name *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

int rules_number(const struct world *world, const struct vocab *vocab,
                 struct arena *work, struct arena *arena, struct rules *ret)
{
	struct build b = {.world = world, .work = work, .arena = arena};

	b.rules.ref = arena_array(work, vocab->n_rules, sizeof(*b.rules.ref));
	b.rules.first =
		arena_array(work, world->n_netpols, sizeof(*b.rules.first));
	b.rules.name =
		arena_array(arena, vocab->n_rules, sizeof(*b.rules.name));
	if (!b.rules.ref || !b.rules.first || !b.rules.name)
		return -ENOMEM;
	/* Policies are sorted by name, so who gives way is always the same. */
	for (size_t i = 0; i < world->n_netpols; i++)
		if (policy_number(&b, i))
			return -ENOMEM;
	qsort(b.rules.name, b.rules.n, sizeof(*b.rules.name), name_compare);
	*ret = b.rules;
	return 0;
}
