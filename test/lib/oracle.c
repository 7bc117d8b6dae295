// SPDX-License-Identifier: Apache-2.0
/* oracle.c - see oracle.h. */
#include "test/lib/oracle.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

static const struct table *table_of(const struct compiled *compiled,
                                    uint16_t endpoint)
{
	for (size_t i = 0; i < compiled->n_endpoints; i++)
		if (compiled->endpoint[i].endpoint == endpoint)
			return &compiled->table[compiled->endpoint[i].table];
	return NULL;
}

static const struct rule_name *rule_of(const struct compiled *compiled,
                                       uint32_t number)
{
	for (size_t i = 0; i < compiled->n_rules; i++)
		if (compiled->rule[i].number == number)
			return &compiled->rule[i];
	return NULL;
}

/* One end of a packet. */
struct end {
	const struct pod *pod;
	const struct addr *peer;
	enum dir dir;
	const struct probe *probe;
};

static struct verdict ask(const struct world *world, const struct end *end)
{
	return policy_eval(world, end->pod, end->dir, end->peer,
	                   end->probe->proto, end->probe->port);
}

/* Would that rule, the only one of the only policy, allow it? */
static bool rule_allows(const struct world *world, const struct rule_name *name,
                        const struct end *end)
{
	for (size_t i = 0; i < world->n_netpols; i++) {
		struct netpol alone = *world->netpol[i];
		const struct netpol *list = &alone;
		struct world only = *world;

		if (strcmp(alone.ns, name->ns) != 0 ||
		    strcmp(alone.name, name->name) != 0)
			continue;
		if (name->index >= alone.n_rules[name->dir] ||
		    name->dir != end->dir)
			return false;
		alone.rule[end->dir] += name->index;
		alone.n_rules[end->dir] = 1;
		only.netpol = &list;
		only.n_netpols = 1;
		return ask(&only, end).netpol == &alone;
	}
	return false;
}

static bool end_agrees(const struct world *world,
                       const struct compiled *compiled, const struct end *end,
                       struct err *why)
{
	const struct table *table = table_of(compiled, end->pod->endpoint);
	struct verdict want = ask(world, end);
	uint32_t peer = compiled_identity(compiled, end->peer);
	const struct policy_val *val;
	const struct rule_name *name;
	bool allowed;

	if (!table)
		return err_set(why, 0, "the endpoint has no table");
	val = table_lookup(table, peer, end->dir, end->probe->proto,
	                   htobe16(end->probe->port));
	allowed = val ? val->allow : !table->header.isolated[end->dir];
	if (table->header.isolated[end->dir] != want.isolated)
		return err_set(why, 0, "isolated: table %d, specification %d",
		               table->header.isolated[end->dir], want.isolated);
	/* Allowed, and by no rule: the datapath does not ask the table. */
	if (want.isolated && want.allowed && !want.netpol) {
		if (val)
			return err_set(why, 0, "a rule that allows nothing");
		return true;
	}
	if (allowed != want.allowed)
		return err_set(why, 0,
		               "table says %s (rule %u), specification %s, "
		               "peer identity %#x",
		               allowed ? "allow" : "deny", val ? val->rule : 0,
		               want.allowed ? "allow" : "deny", peer);
	name = val ? rule_of(compiled, val->rule) : NULL;
	if (val && (!name || !rule_allows(world, name, end)))
		return err_set(why, 0, "rule %u (%s) does not allow it",
		               val->rule, name ? name->name : "none");
	return true;
}

/* The pod here that has the address, by the compiled world itself. */
static const struct pod *pod_here(const struct world *world,
                                  const struct compiled *compiled,
                                  const struct addr *addr)
{
	for (size_t i = 0; i < compiled->n_addrs; i++) {
		const struct addr_entry *entry = &compiled->addr[i];

		if (!entry->endpoint || addr_compare(&entry->addr, addr) != 0)
			continue;
		for (size_t p = 0; p < world->n_pods; p++)
			if (world->pod[p]->endpoint == entry->endpoint)
				return world->pod[p];
	}
	return NULL;
}

bool oracle_agrees(const struct world *world, const struct compiled *compiled,
                   const struct probe *probe, unsigned long *asked,
                   struct err *why)
{
	const struct end ends[DIR__COUNT] = {
		{pod_here(world, compiled, &probe->dst), &probe->src,
	         DIR_INGRESS, probe},
		{pod_here(world, compiled, &probe->src), &probe->dst,
	         DIR_EGRESS,  probe},
	};

	for (int i = 0; i < DIR__COUNT; i++) {
		char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];

		if (!ends[i].pod)
			continue;
		(*asked)++;
		if (end_agrees(world, compiled, &ends[i], why))
			continue;
		addr_format(&probe->src, src);
		addr_format(&probe->dst, dst);
		err_wrap(why, 0, "%s -> %s proto %u port %u, %s of %s", src,
		         dst, probe->proto, probe->port,
		         i == DIR_INGRESS ? "ingress" : "egress",
		         ends[i].pod->name);
		return false;
	}
	return true;
}

static bool table_is_sound(const struct table *t)
{
	uint16_t shapes[DIR__COUNT] = {};

	for (size_t i = 0; i < t->n_entries; i++) {
		const struct policy_key *key = &t->entry[i].key;
		enum level level = !key->peer                   ? LEVEL_ANY
		                   : key->peer & ~ID_CLASS_MASK ? LEVEL_ID
		                                                : LEVEL_CLASS;

		if (i && memcmp(&t->entry[i - 1].key, key, sizeof(*key)) >= 0)
			return false;
		if ((key->port && !key->proto) || !t->entry[i].val.rule)
			return false;
		shapes[key->dir] |=
			(uint16_t)SHAPE_BIT(level, key->port    ? SHAPE_PORT
		                                   : key->proto ? SHAPE_PROTO
		                                                : SHAPE_ALL);
	}
	for (size_t i = 0; i < t->n_ranges; i++) {
		const struct range_key *key = &t->range[i].key;
		enum level level = !key->peer                   ? LEVEL_ANY
		                   : key->peer & ~ID_CLASS_MASK ? LEVEL_ID
		                                                : LEVEL_CLASS;

		if (i && memcmp(&t->range[i - 1].key, key, sizeof(*key)) >= 0)
			return false;
		if (!key->proto || key->bits < RANGE_BITS_FIXED ||
		    key->bits > RANGE_BITS_FIXED + 16)
			return false;
		shapes[key->dir] |= (uint16_t)SHAPE_BIT(level, SHAPE_RANGE);
	}
	for (int dir = 0; dir < DIR__COUNT; dir++)
		if (shapes[dir] != t->header.shapes[dir] ||
		    (shapes[dir] && !t->header.isolated[dir]))
			return false;
	return true;
}

static bool identities_are_sound(const struct compiled *c)
{
	for (size_t i = 0; i < c->n_identities; i++) {
		uint32_t number = c->identity[i].number;

		if (!(number >> ID_CLASS_SHIFT) ||
		    number >> ID_CLASS_SHIFT >= CLASS__COUNT ||
		    !(number & ~ID_CLASS_MASK))
			return false;
		if (i && c->identity[i - 1].number >= number)
			return false;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(c->identity[i].key, c->identity[j].key))
				return false;
	}
	return true;
}

bool oracle_is_sound(const struct compiled *c, struct err *why)
{
	for (size_t i = 1; i < c->n_addrs; i++)
		if (addr_compare(&c->addr[i - 1].addr, &c->addr[i].addr) >= 0)
			return err_set(why, 0, "addresses are not sorted");
	for (size_t i = 1; i < c->n_prefixes; i++) {
		const struct prefix *a = &c->prefix[i - 1].prefix;
		const struct prefix *b = &c->prefix[i].prefix;
		int cmp = addr_compare(&a->addr, &b->addr);

		if (cmp > 0 || (!cmp && a->bits >= b->bits))
			return err_set(why, 0, "prefixes are not sorted");
	}
	for (size_t i = 1; i < c->n_rules; i++)
		if (c->rule[i - 1].number >= c->rule[i].number)
			return err_set(why, 0, "rules are not sorted");
	for (size_t i = 0; i < c->n_tables; i++)
		if (!table_is_sound(&c->table[i]))
			return err_set(why, 0, "table %zu is not sound", i);
	if (c->table[0].n_entries || c->table[0].n_ranges ||
	    c->table[0].header.isolated[0] || c->table[0].header.isolated[1])
		return err_set(why, 0, "table 0 is not open");
	if (!identities_are_sound(c))
		return err_set(why, 0, "identities are not sound");
	return true;
}
