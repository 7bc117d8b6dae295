// SPDX-License-Identifier: Apache-2.0
/* reconcile_want.c - from facts to a plan, without touching the kernel. */
#include <errno.h>
#include <string.h>

#include "daemon/reconcile_impl.h"
#include "policy/index.h"

/* ---- facts -------------------------------------------------------------- */

uint64_t reconcile_facts(const struct reconcile *rec)
{
	const struct store *store = rec->in.store;
	const struct node *node = rec->in.node;
	uint64_t hash = hash_bytes(&store->revision, sizeof(store->revision),
	                           store->synced);

	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		const struct ep *ep = &rec->in.endpoints->ep[i];
		const uint32_t fact[] = {
			i,
			ep->state,
			ep->serial,
			(uint32_t)ep->ifindex,
			ep->mtu,
			(uint32_t)ep->mac[0] | (uint32_t)ep->mac[1] << 8 |
				(uint32_t)ep->mac[2] << 16,
			(uint32_t)ep->mac[3] | (uint32_t)ep->mac[4] << 8 |
				(uint32_t)ep->mac[5] << 16,
		};

		if (ep->state == ENDPOINT_FREE)
			continue;
		hash = hash_bytes(fact, sizeof(fact), hash);
		hash = hash_bytes(ep->addr, sizeof(ep->addr), hash);
	}
	for (size_t i = 0; i < node->n_addrs; i++) {
		const uint64_t local = node->addr[i].local;

		hash = hash_bytes(&node->addr[i].addr,
		                  sizeof(node->addr[i].addr), hash);
		hash = hash_bytes(&local, sizeof(local), hash);
	}
	return hash ? hash : 1;
}

int reconcile_intend(struct reconcile *rec)
{
	const struct intent_input input = {
		.config = rec->in.config,
		.store = rec->in.store,
		.endpoints = rec->in.endpoints,
		.node = rec->in.node,
		.last = &rec->last,
		.peers = rec->in.peers,
	};
	const uint64_t facts = reconcile_facts(rec);
	struct arena *arena;
	int r;

	if (rec->intent_arena && rec->intent_facts == facts)
		return 0;
	arena = arena_new(0);
	r = arena && rec->in.peers ? peers_update(rec->in.peers) : 0;
	if (!r)
		r = arena ? intent_build(&input, arena, &rec->intent) : -ENOMEM;
	/* What the old one borrowed may be gone: it is of no use either. */
	arena_free(rec->intent_arena);
	rec->intent_arena = r ? NULL : arena;
	rec->intent_facts = facts;
	if (r)
		arena_free(arena);
	return r;
}

/* ---- adoption ----------------------------------------------------------- */

static bool is_known(const struct compiled *compiled, uint32_t number)
{
	size_t lo = 0, hi = compiled->n_identities;

	if ((number & ~ID_CLASS_MASK) < ID_SERIAL_FIRST)
		return true;
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (compiled->identity[mid].number == number)
			return true;
		if (compiled->identity[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

static uint16_t shape_of(const struct policy_key *key)
{
	const enum level level = !key->peer                      ? LEVEL_ANY
	                         : !(key->peer & ~ID_CLASS_MASK) ? LEVEL_CLASS
	                                                         : LEVEL_ID;
	const enum shape shape = key->port    ? SHAPE_PORT
	                         : key->proto ? SHAPE_PROTO
	                                      : SHAPE_ALL;

	return SHAPE_BIT(level, shape);
}

/*
 * Entries of numbers that are not in force are what is left of a bridge; so
 * are shapes that no entry has.
 */
static void table_strip(struct table *table, const struct compiled *compiled)
{
	uint16_t shapes[DIR__COUNT] = {};
	size_t n = 0;

	for (size_t i = 0; i < table->n_entries; i++) {
		const struct policy_key *key = &table->entry[i].key;

		if (!is_known(compiled, key->peer) || key->dir >= DIR__COUNT)
			continue;
		shapes[key->dir] |= shape_of(key);
		table->entry[n++] = table->entry[i];
	}
	table->n_entries = n;
	n = 0;
	for (size_t i = 0; i < table->n_ranges; i++) {
		const struct range_key *key = &table->range[i].key;
		const struct policy_key like = {.peer = key->peer};

		if (!is_known(compiled, key->peer) || key->dir >= DIR__COUNT)
			continue;
		/* "all" of that level, moved to "range" */
		shapes[key->dir] |= (uint16_t)(shape_of(&like) >>
		                               (SHAPE_ALL - SHAPE_RANGE));
		table->range[n++] = table->range[i];
	}
	table->n_ranges = n;
	for (int dir = 0; dir < DIR__COUNT; dir++)
		table->header.shapes[dir] &= shapes[dir];
}

void actual_strip(struct actual *actual, const struct compiled *compiled)
{
	for (uint32_t slot = SLOT_FIRST; slot < SLOT_MAX; slot++)
		if (actual->slot[slot])
			table_strip(&actual->slot[slot]->table, compiled);
}

/* ---- a generation ------------------------------------------------------- */

void generation_free(struct generation *gen)
{
	arena_free(gen->arena);
	arena_free(gen->work);
	*gen = (struct generation){};
}

static int generation_compile(struct reconcile *rec, struct generation *gen,
                              struct err *err)
{
	struct identity *prev;
	size_t n_prev;
	int r = reconcile_intend(rec);

	if (!r)
		r = numbers_prev(&rec->numbers, gen->work, &prev, &n_prev);
	if (r)
		return err_set(err, r, "out of memory");
	return policy_compile(&rec->intent.world, prev, n_prev, gen->arena,
	                      &gen->compiled, err);
}

static int generation_plan(struct reconcile *rec, struct generation *gen,
                           struct err *err)
{
	struct desired_input input = {
		.compiled = &gen->compiled,
		.endpoint = rec->intent.endpoint,
		.keep = rec->intent.keep,
		.shut = rec->intent.shut,
	};
	struct state have;
	int r;

	input.node = rec->intent.node;
	input.n_nodes = rec->intent.n_nodes;
	if (rec->in.peers) {
		input.cidr = rec->in.peers->cidr;
		input.n_cidrs = rec->in.peers->n_cidrs;
	}
	memcpy(input.pool, rec->in.config->pod_cidr, sizeof(input.pool));
	memcpy(input.has_pool, rec->in.config->has_pod_cidr,
	       sizeof(input.has_pool));
	if (rec->adopting)
		actual_strip(rec->actual, &gen->compiled);
	r = desired_build(&input, gen->work, &gen->want);
	if (!r)
		r = actual_state(rec->actual, gen->work, &have);
	if (!r)
		r = plan_make(&have, &gen->want, gen->work, &gen->plan);
	return r ? err_set(err, r, "out of memory") : 0;
}

int generation_make(struct reconcile *rec, struct generation *ret,
                    struct err *err)
{
	struct generation gen = {.arena = arena_new(0), .work = arena_new(0)};
	int r = gen.arena && gen.work ? generation_compile(rec, &gen, err)
	                              : -ENOMEM;

	if (!r)
		r = generation_plan(rec, &gen, err);
	if (r)
		generation_free(&gen);
	else
		*ret = gen;
	return r;
}

/* ---- before the source has answered ------------------------------------- */

static bool is_closing(const struct reconcile *rec, uint16_t endpoint)
{
	return endpoint &&
	       rec->in.endpoints->ep[endpoint % ENDPOINT_MAX].state ==
	               ENDPOINT_CLOSING;
}

/* What is, but for endpoints that close and their addresses. */
static int closed_build(const struct reconcile *rec, const struct state *have,
                        struct arena *arena, struct state *ret)
{
	struct plan_addr *addr =
		arena_array(arena, have->n_addrs, sizeof(*addr));
	struct plan_endpoint *ep =
		arena_array(arena, have->n_endpoints, sizeof(*ep));

	if (!addr || !ep)
		return -ENOMEM;
	*ret = *have;
	ret->addr = addr;
	ret->n_addrs = 0;
	for (size_t i = 0; i < have->n_addrs; i++)
		if (!is_closing(rec, have->addr[i].info.endpoint))
			addr[ret->n_addrs++] = have->addr[i];
	ret->endpoint = ep;
	for (size_t i = 0; i < have->n_endpoints; i++) {
		ep[i] = have->endpoint[i];
		if (is_closing(rec, ep[i].number)) {
			ep[i].value.closed = 1;
			ep[i].table = NULL;
		}
	}
	return 0;
}

int generation_close_only(struct reconcile *rec, struct generation *ret,
                          struct err *err)
{
	struct generation gen = {.work = arena_new(0)};
	struct state have;
	int r = gen.work ? actual_state(rec->actual, gen.work, &have) : -ENOMEM;

	if (!r)
		r = closed_build(rec, &have, gen.work, &gen.want);
	if (!r)
		r = plan_make(&have, &gen.want, gen.work, &gen.plan);
	if (r) {
		generation_free(&gen);
		return err_set(err, r, "out of memory");
	}
	*ret = gen;
	return 0;
}
