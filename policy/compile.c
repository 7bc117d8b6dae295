// SPDX-License-Identifier: Apache-2.0
/*
 * compile.c - a world becomes sorted arrays.
 *
 *	vocab -> identities (owners, kinds, CIDRs, numbers) -> rule numbers
 *	      -> for each pod here: its policies -> a table
 *
 * Pods here that the same policies select, with the same numbers for the port
 * names those mention, share a table without its being built again; and so do
 * those whose tables turn out equal.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/emit.h"
#include "policy/text.h"

struct known {
	const char *bytes; /* what a table was built from */
	size_t n;
	size_t table;
	bool refused;
};

struct compile {
	const struct world *world;
	struct arena *work, *arena;
	struct vocab vocab;
	struct identities ids;
	struct rules rules;
	struct peers peers;
	struct emit emit;
	uint32_t *policy; /* that select the pod in hand */
	size_t n_policies;
	struct known *known;
	size_t n_known;
	struct index by_known, by_table;
	struct text text;
	struct compiled out;
};

/* The first policy whose namespace does not sort before @ns. */
static size_t policies_from(const struct world *world, const char *ns)
{
	size_t lo = 0, hi = world->n_netpols;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(world->netpol[mid]->ns, ns) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void policies_select(struct compile *c, const struct pod *pod)
{
	const struct world *world = c->world;

	c->n_policies = 0;
	if (!pod->ns)
		return;
	for (size_t i = policies_from(world, pod->ns);
	     i < world->n_netpols && !strcmp(world->netpol[i]->ns, pod->ns);
	     i++)
		if (selector_match(&world->netpol[i]->pod_selector,
		                   &pod->labels))
			c->policy[c->n_policies++] = (uint32_t)i;
}

static bool names_ports(const struct netpol *netpol)
{
	for (size_t r = 0; r < netpol->n_rules[DIR_INGRESS]; r++) {
		const struct rule *rule = &netpol->rule[DIR_INGRESS][r];

		for (size_t i = 0; i < rule->n_ports; i++)
			if (rule->port[i].name)
				return true;
	}
	return false;
}

/* All that a pod's table depends on, as bytes. */
static void say_table(struct compile *c, const struct pod *pod)
{
	bool named = false;

	c->text.n = 0;
	text_put(&c->text, c->policy, c->n_policies * sizeof(*c->policy));
	for (size_t i = 0; i < c->n_policies; i++)
		named = named || names_ports(c->world->netpol[c->policy[i]]);
	for (size_t i = 0; i < pod->n_ports && named; i++) {
		const struct named_port *port = &pod->port[i];

		text_put(&c->text, &port->proto, sizeof(port->proto));
		text_put(&c->text, &port->port, sizeof(port->port));
		text_put(&c->text, port->name, strlen(port->name) + 1);
	}
}

/* Why the pod has no table of its own; NULL: out of memory. */
static const char *too_big_text(struct compile *c, const struct pod *pod)
{
	char names[160] = "";
	size_t n = 0;

	for (size_t i = 0; i < c->n_policies && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s",
		                      i ? ", " : "",
		                      c->world->netpol[c->policy[i]]->name);
	return arena_printf(c->arena,
	                    "pod %s/%.40s: more than %u entries or %u port "
	                    "ranges from its policies %s",
	                    pod->ns, pod->name, SLOT_LARGE, RANGE_LARGE, names);
}

static bool tables_equal(const struct table *a, const struct table *b)
{
	return a->n_entries == b->n_entries && a->n_ranges == b->n_ranges &&
	       !memcmp(&a->header, &b->header, sizeof(a->header)) &&
	       !memcmp(a->entry, b->entry, a->n_entries * sizeof(*a->entry)) &&
	       !memcmp(a->range, b->range, a->n_ranges * sizeof(*a->range));
}

/* Its place among the distinct tables; @table is taken over when it is new. */
static int table_put(struct compile *c, const struct table *table, size_t *ret)
{
	size_t at = 0;
	uint32_t i;

	while (index_next(&c->by_table, table->hash, &at, &i))
		if (tables_equal(&c->out.table[i], table)) {
			*ret = i;
			return 0;
		}
	*ret = c->out.n_tables++;
	c->out.table[*ret] = *table;
	return index_put(&c->by_table, c->work, table->hash, (uint32_t)*ret);
}

/* Table 0: of pods that no policy selects. */
static int open_table_put(struct compile *c)
{
	struct table table;
	size_t at;
	int r = builder_finish(&c->emit.builder, c->arena, &table);

	return r ? r : table_put(c, &table, &at);
}

/* What does not fit: isolated as the policies want, and nothing allowed. */
static int shut_table_put(struct compile *c, size_t *ret)
{
	struct builder *builder = &c->emit.builder;
	struct table table;
	int r;

	builder_reset(builder);
	for (size_t i = 0; i < c->n_policies; i++)
		for (int dir = 0; dir < DIR__COUNT; dir++)
			if (c->world->netpol[c->policy[i]]->applies[dir])
				builder->header.isolated[dir] = 1;
	r = builder_finish(builder, c->arena, &table);
	return r ? r : table_put(c, &table, ret);
}

static int table_make(struct compile *c, const struct pod *pod, size_t *ret,
                      bool *ret_refused)
{
	struct table table;
	int r = emit_table(&c->emit, pod, c->policy, c->n_policies, c->arena,
	                   &table);

	*ret_refused = r == -E2BIG;
	if (r == -E2BIG)
		return shut_table_put(c, ret);
	return r ? r : table_put(c, &table, ret);
}

/* The table of what say_table() said; it was built for another pod before. */
static const struct known *known_find(const struct compile *c, uint64_t hash)
{
	size_t at = 0;
	uint32_t i;

	while (index_next(&c->by_known, hash, &at, &i))
		if (c->known[i].n == c->text.n &&
		    !memcmp(c->known[i].bytes, c->text.byte, c->text.n))
			return &c->known[i];
	return NULL;
}

static int known_add(struct compile *c, const struct pod *pod, uint64_t hash,
                     const struct known **ret)
{
	struct known *known = &c->known[c->n_known];
	char *bytes;
	int r = table_make(c, pod, &known->table, &known->refused);

	if (r)
		return r;
	bytes = arena_alloc(c->work, c->text.n);
	if (!bytes)
		return -ENOMEM;
	known->bytes = memcpy(bytes, c->text.byte, c->text.n);
	known->n = c->text.n;
	*ret = known;
	return index_put(&c->by_known, c->work, hash, (uint32_t)c->n_known++);
}

static int table_of(struct compile *c, const struct pod *pod,
                    struct endpoint_policy *ret)
{
	const struct known *known;
	uint64_t hash;
	int r = 0;

	*ret = (struct endpoint_policy){.endpoint = pod->endpoint};
	policies_select(c, pod);
	if (!c->n_policies)
		return 0;
	say_table(c, pod);
	if (text_failed(&c->text))
		return -ENOMEM;
	hash = hash_bytes(c->text.byte, c->text.n, 0);
	known = known_find(c, hash);
	if (!known)
		r = known_add(c, pod, hash, &known);
	if (r)
		return r;
	ret->table = known->table;
	if (known->refused) {
		ret->refused = too_big_text(c, pod);
		if (!ret->refused)
			return -ENOMEM;
	}
	return 0;
}

static int pod_compare(const void *a, const void *b)
{
	const struct pod *x = *(const struct pod *const *)a;
	const struct pod *y = *(const struct pod *const *)b;

	return x->endpoint - y->endpoint;
}

static int endpoints_compile(struct compile *c, const struct pod **pod,
                             size_t n)
{
	c->out.endpoint = arena_array(c->arena, n, sizeof(*c->out.endpoint));
	c->out.table = arena_array(c->arena, n + 1, sizeof(*c->out.table));
	c->known = arena_array(c->work, n, sizeof(*c->known));
	c->policy =
		arena_array(c->work, c->world->n_netpols, sizeof(*c->policy));
	if (!c->out.endpoint || !c->out.table || !c->known || !c->policy)
		return -ENOMEM;
	if (open_table_put(c))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int r = table_of(c, pod[i], &c->out.endpoint[i]);

		if (r)
			return r;
	}
	c->out.n_endpoints = n;
	return 0;
}

/* The pods here, by endpoint number. */
static int pods_here(struct compile *c, const struct pod ***ret, size_t *ret_n)
{
	const struct pod **pod =
		arena_array(c->work, c->world->n_pods, sizeof(*pod));
	size_t n = 0;

	if (!pod)
		return -ENOMEM;
	for (size_t i = 0; i < c->world->n_pods; i++)
		if (c->world->pod[i]->endpoint &&
		    !c->world->pod[i]->host_network)
			pod[n++] = c->world->pod[i];
	qsort(pod, n, sizeof(*pod), pod_compare);
	*ret = pod;
	*ret_n = n;
	return 0;
}

static int tables_compile(struct compile *c)
{
	const struct pod **pod;
	size_t n;
	int r = rules_number(c->world, &c->vocab, c->work, c->arena, &c->rules);

	if (!r)
		r = peers_init(&c->peers, &c->ids, c->vocab.n_peers, c->work);
	if (!r)
		r = pods_here(c, &pod, &n);
	if (r)
		return r;
	c->emit = (struct emit){
		.world = c->world,
		.vocab = &c->vocab,
		.ids = &c->ids,
		.rules = &c->rules,
		.peers = &c->peers,
		.arena = c->work,
		.builder = {.arena = c->work},
	};
	c->text.arena = c->work;
	r = endpoints_compile(c, pod, n);
	c->out.rule = c->rules.name;
	c->out.n_rules = c->rules.n;
	return r;
}

int policy_compile(const struct world *world, const struct identity *prev,
                   size_t n_prev, struct arena *arena, struct compiled *ret,
                   struct err *err)
{
	_cleanup_(arena_freep) struct arena *work = arena_new(0);
	struct compile c = {.world = world, .work = work, .arena = arena};
	int r = work ? vocab_collect(world, work, &c.vocab) : -ENOMEM;

	if (!r)
		r = identities_find(world, &c.vocab, work, &c.ids);
	if (!r)
		r = identities_number(&c.ids, prev, n_prev, arena, err);
	if (!r)
		r = identities_export(world, &c.ids, arena, &c.out);
	if (!r)
		r = tables_compile(&c);
	if (r == -ENOMEM)
		return err_set(err, r,
		               "no memory to compile the policies of "
		               "%zu pods; the last ones stay",
		               world->n_pods);
	if (r)
		return r;
	*ret = c.out;
	return 0;
}
