// SPDX-License-Identifier: Apache-2.0
/* plan_test.c - the plan's order: no packet meets half a change. */
#include "daemon/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/desired.h"
#include "lib/addr.h"
#include "test/lib/world.h"
#include "test/test.h"

/* ---- a kernel made of arrays -------------------------------------------- */

#define SIM_ENTRIES 20000

struct sim {
	struct plan_addr addr[2048];
	struct plan_prefix prefix[2048];
	struct state state; /* addresses and prefixes: those above */
	struct endpoint endpoint[ENDPOINT_MAX];
	struct table slot[SLOT_MAX]; /* entries owned */
	const struct table *clean[SLOT_MAX];
	bool used[SLOT_MAX];
	int fill_slot[ENDPOINT_MAX];
};

static int entry_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct policy_key));
}

static int range_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct range_key));
}

static void table_sort(struct table *t)
{
	if (t->n_entries)
		qsort(t->entry, t->n_entries, sizeof(*t->entry), entry_order);
	if (t->n_ranges)
		qsort(t->range, t->n_ranges, sizeof(*t->range), range_order);
	for (size_t i = 1; i < t->n_entries; i++)
		assert_true(entry_order(&t->entry[i - 1], &t->entry[i]) < 0);
	for (size_t i = 1; i < t->n_ranges; i++)
		assert_true(range_order(&t->range[i - 1], &t->range[i]) < 0);
}

static void slot_clear(struct sim *sim, uint32_t slot)
{
	free(sim->slot[slot].entry);
	free(sim->slot[slot].range);
	sim->slot[slot] = (struct table){};
	sim->used[slot] = false;
}

static uint32_t slot_fill(struct sim *sim, const struct fill *fill)
{
	uint32_t slot = SLOT_FIRST;
	struct table *t;

	while (sim->used[slot])
		assert_true(++slot < SLOT_MAX);
	t = &sim->slot[slot];
	*t = fill->table;
	t->entry = malloc(SIM_ENTRIES * sizeof(*t->entry));
	t->range = malloc(SIM_ENTRIES * sizeof(*t->range));
	assert_true(t->n_entries < SIM_ENTRIES && t->n_ranges < SIM_ENTRIES);
	if (t->n_entries)
		memcpy(t->entry, fill->table.entry,
		       t->n_entries * sizeof(*t->entry));
	if (t->n_ranges)
		memcpy(t->range, fill->table.range,
		       t->n_ranges * sizeof(*t->range));
	table_sort(t);
	sim->used[slot] = true;
	return slot;
}

/* One edit: an entry is put over its like, or taken out. */
static void slot_edit(struct table *t, const struct slot_edit *edit)
{
	const size_t size =
		edit->is_range ? sizeof(*t->range) : sizeof(*t->entry);
	const void *key = edit->is_range ? (const void *)&edit->range
	                                 : (const void *)&edit->key;
	const size_t key_size =
		edit->is_range ? sizeof(edit->range) : sizeof(edit->key);
	size_t *n = edit->is_range ? &t->n_ranges : &t->n_entries;
	char *all = edit->is_range ? (char *)t->range : (char *)t->entry;
	size_t i = 0;

	while (i < *n && memcmp(all + i * size, key, key_size) != 0)
		i++;
	if (edit->remove) {
		assert_true(i < *n);
		memmove(all + i * size, all + (*n - 1) * size, size);
		--*n;
	} else {
		if (i == *n)
			++*n;
		assert_true(*n < SIM_ENTRIES);
		memcpy(all + i * size, key, key_size);
		memcpy(all + i * size + key_size, &edit->val,
		       sizeof(edit->val));
	}
	table_sort(t);
}

static void sim_addr(struct sim *sim, const struct plan_addr *addr, bool put)
{
	size_t i = 0, n = sim->state.n_addrs;

	while (i < n && addr_compare(&sim->addr[i].addr, &addr->addr) < 0)
		i++;
	if (i < n && !addr_compare(&sim->addr[i].addr, &addr->addr)) {
		if (put) {
			sim->addr[i] = *addr;
			return;
		}
		memmove(&sim->addr[i], &sim->addr[i + 1],
		        (n - i - 1) * sizeof(*addr));
		sim->state.n_addrs--;
		return;
	}
	assert_true(put);
	memmove(&sim->addr[i + 1], &sim->addr[i], (n - i) * sizeof(*addr));
	sim->addr[i] = *addr;
	sim->state.n_addrs++;
}

static void sim_prefix(struct sim *sim, const struct plan_prefix *prefix,
                       bool put)
{
	size_t i = 0, n = sim->state.n_prefixes;

	while (i < n &&
	       plan_prefix_compare(&sim->prefix[i].key, &prefix->key) < 0)
		i++;
	if (i < n && !plan_prefix_compare(&sim->prefix[i].key, &prefix->key)) {
		if (put) {
			sim->prefix[i] = *prefix;
			return;
		}
		memmove(&sim->prefix[i], &sim->prefix[i + 1],
		        (n - i - 1) * sizeof(*prefix));
		sim->state.n_prefixes--;
	} else {
		assert_true(put);
		memmove(&sim->prefix[i + 1], &sim->prefix[i],
		        (n - i) * sizeof(*prefix));
		sim->prefix[i] = *prefix;
		sim->state.n_prefixes++;
	}
	state_index(&sim->state);
}

static void sim_op(struct sim *sim, const struct plan *plan,
                   const struct op *op)
{
	const struct fill *fill;
	uint32_t slot;

	switch (op->kind) {
	case OP_FILL:
		fill = &plan->fill[op->fill];
		slot = slot_fill(sim, fill);
		sim->fill_slot[op->fill] = (int)slot;
		sim->clean[slot] = fill->clean;
		break;
	case OP_ENDPOINT:
		sim->endpoint[op->endpoint.number] = op->endpoint.value;
		if (op->endpoint.fill != NO_FILL)
			sim->endpoint[op->endpoint.number].slot =
				(uint32_t)sim->fill_slot[op->endpoint.fill];
		break;
	case OP_ENDPOINT_CLEAR:
		sim->endpoint[op->endpoint.number] = (struct endpoint){};
		break;
	case OP_ADDR:
	case OP_ADDR_REMOVE:
		sim_addr(sim, &op->addr, op->kind == OP_ADDR);
		break;
	case OP_PREFIX:
	case OP_PREFIX_REMOVE:
		sim_prefix(sim, &op->prefix, op->kind == OP_PREFIX);
		break;
	case OP_RETIRE:
		for (unsigned i = 1; i < ENDPOINT_MAX; i++)
			assert_false(sim->endpoint[i].ifindex &&
			             !sim->endpoint[i].closed &&
			             sim->endpoint[i].slot == op->slot);
		slot_clear(sim, op->slot);
		break;
	case OP_SETTLE: /* step_op() */
	case OP_RAISE:
	case OP__COUNT:
		break;
	}
}

/* ---- what the kernel would say ------------------------------------------ */

struct question {
	struct addr peer;
	uint16_t endpoint;
	uint8_t proto;
	__be16 port;
	enum dir dir;
};

static const struct plan_addr *whole(const struct state *state,
                                     const struct addr *addr)
{
	for (size_t i = 0; i < state->n_addrs; i++)
		if (!addr_compare(&state->addr[i].addr, addr))
			return &state->addr[i];
	return NULL;
}

static bool answer(const struct state *state, const struct table *table,
                   const struct question *q)
{
	const struct plan_addr *peer = whole(state, &q->peer);
	const struct policy_val *val;

	if (peer && peer->info.local)
		return true;
	if (!table->header.isolated[q->dir])
		return true;
	val = table_lookup(table, state_identity(state, &q->peer), q->dir,
	                   q->proto, q->port);
	return val && val->allow;
}

static const struct table *slot_table(const struct sim *sim, uint32_t slot)
{
	return &sim->slot[slot];
}

static const struct table *table_in(const struct state *state, uint16_t number)
{
	for (size_t i = 0; i < state->n_endpoints; i++)
		if (state->endpoint[i].number == number)
			return state->endpoint[i].table;
	return NULL;
}

/* ---- worlds that change ------------------------------------------------- */

struct play {
	struct world_gen gen;
	struct sim *sim;
	struct arena *arena; /* of the state in force */
	struct state have;
	struct identity *known;
	size_t n_known;
	struct endpoint value[ENDPOINT_MAX];
	uint32_t serial;
	unsigned long asked, moves;
};

/* All numbers ever seen: those in force by their keys, others for nobody. */
static void identities_keep(struct play *play, const struct compiled *c)
{
	struct identity *all =
		calloc(play->n_known + c->n_identities, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < c->n_identities; i++, n++)
		all[n] = (struct identity){c->identity[i].number,
		                           strdup(c->identity[i].key)};
	for (size_t i = 0; i < play->n_known; i++) {
		bool again = false;
		char key[32];

		for (size_t j = 0; j < c->n_identities && !again; j++)
			again = c->identity[j].number == play->known[i].number;
		snprintf(key, sizeof(key), "retired %u", play->known[i].number);
		if (!again)
			all[n++] = (struct identity){play->known[i].number,
			                             strdup(key)};
		free((char *)play->known[i].key);
	}
	free(play->known);
	play->known = all;
	play->n_known = n;
}

static void want_build(struct play *play, struct arena *arena,
                       struct state *ret)
{
	static const bool keep[ENDPOINT_MAX];
	struct endpoint value[ENDPOINT_MAX] = {};
	struct desired_input input = {.endpoint = value, .keep = keep};
	struct compiled compiled;
	struct err err = {};

	if (world_build(&play->gen, &err))
		fail_msg("seed %lu: %s", (unsigned long)play->gen.seed,
		         err.text);
	if (policy_compile(&play->gen.world, play->known, play->n_known, arena,
	                   &compiled, &err))
		fail_msg("seed %lu: %s", (unsigned long)play->gen.seed,
		         err.text);
	identities_keep(play, &compiled);
	for (size_t i = 0; i < compiled.n_endpoints; i++) {
		const uint16_t number = compiled.endpoint[i].endpoint;

		if (!play->value[number].ifindex)
			play->value[number].serial = ++play->serial;
		play->value[number].ifindex = number + 100u;
		value[number] = play->value[number];
	}
	memcpy(play->value, value, sizeof(value));
	input.compiled = &compiled;
	assert_int_equal(prefix_parse("10.0.0.0/24", &input.pool[0]), 0);
	input.has_pool[0] = true;
	assert_int_equal(desired_build(&input, arena, ret), 0);
}

/* Every question of a sample is answered as before or as after. */
static void ask_all(struct play *play, const struct state *want,
                    const struct question *q, size_t n_q, const char *when)
{
	struct sim *sim = play->sim;

	for (size_t i = 0; i < n_q; i++) {
		const struct table *old = table_in(&play->have, q[i].endpoint);
		const struct table *new = table_in(want, q[i].endpoint);
		const struct endpoint *ep = &sim->endpoint[q[i].endpoint];
		char text[ADDR_TEXT_MAX];
		bool before, after, now;

		/* Who goes away takes no answers with him. */
		if (!old || !new || ep->closed ||
		    (whole(&play->have, &q[i].peer) &&
		     !whole(want, &q[i].peer)))
			continue;
		before = answer(&play->have, old, &q[i]);
		after = answer(want, new, &q[i]);
		now = answer(&sim->state, slot_table(sim, ep->slot), &q[i]);
		play->asked++;
		if (now == before || now == after)
			continue;
		world_print(&play->gen, stderr);
		fail_msg("seed %lu, %s: endpoint %u, %s %s proto %u port %u: "
		         "%d between %d and %d",
		         (unsigned long)play->gen.seed, when, q[i].endpoint,
		         q[i].dir ? "to" : "from",
		         addr_format(&q[i].peer, text), q[i].proto,
		         be16toh(q[i].port), now, before, after);
	}
}

static size_t questions(struct play *play, struct question *q, size_t max)
{
	size_t n = 0;

	for (size_t tries = 0; tries < max * 4 && n < max; tries++) {
		const struct probe probe = world_probe(&play->gen);
		const struct addr *end[] = {&probe.dst, &probe.src};

		for (int dir = 0; dir < DIR__COUNT && n < max; dir++) {
			const struct plan_addr *self =
				whole(&play->have, end[dir]);

			if (self && self->info.endpoint)
				q[n++] = (struct question){
					*end[!dir], self->info.endpoint,
					probe.proto, htobe16(probe.port),
					(enum dir)dir};
		}
	}
	return n;
}

/* Addresses of the pool that are no pod's: nobody can have flows with them. */
static bool is_nobody(const struct state *state, const struct addr *addr)
{
	struct prefix pool;

	assert_int_equal(prefix_parse("10.0.0.0/24", &pool), 0);
	return prefix_contains(&pool, addr) && !whole(state, addr);
}

/* A flow whose answer changes must be judged anew: an end's epoch rises. */
static void raises_check(struct play *play, const struct state *want,
                         const struct plan *plan, const struct question *q,
                         size_t n_q)
{
	bool raised[ENDPOINT_MAX] = {};

	for (size_t i = 0; i < plan->n_ops; i++)
		if (plan->op[i].kind == OP_RAISE)
			raised[plan->op[i].raise] = true;
	for (size_t i = 0; i < n_q; i++) {
		const struct table *old = table_in(&play->have, q[i].endpoint);
		const struct table *new = table_in(want, q[i].endpoint);
		const struct plan_addr *peer = whole(&play->have, &q[i].peer);
		char text[ADDR_TEXT_MAX];

		if (!old || !new || is_nobody(&play->have, &q[i].peer) ||
		    raised[0] || raised[q[i].endpoint] ||
		    (peer && raised[peer->info.endpoint]))
			continue;
		if (answer(&play->have, old, &q[i]) != answer(want, new, &q[i]))
			fail_msg("seed %lu: endpoint %u is not raised, though "
			         "its answer to %s changes",
			         (unsigned long)play->gen.seed, q[i].endpoint,
			         addr_format(&q[i].peer, text));
	}
}

/* What the state in force becomes: as wanted, with the slots it got. */
static void state_settle(struct play *play, struct state *want)
{
	static struct plan_slot slot[SLOT_MAX];
	struct plan_endpoint *ep = (struct plan_endpoint *)want->endpoint;
	size_t n = 0;

	for (size_t i = 0; i < want->n_endpoints; i++)
		ep[i].value = play->sim->endpoint[ep[i].number];
	for (uint32_t s = SLOT_FIRST; s < SLOT_MAX; s++)
		for (size_t i = 0; i < want->n_endpoints; i++)
			if (ep[i].value.slot == s) {
				slot[n++] = (struct plan_slot){s, ep[i].table};
				break;
			}
	want->slot = slot;
	want->n_slots = n;
}

struct sample {
	const struct question *q;
	size_t n;
};

/* One operation; a settling is looked at after each of its edits. */
static void step_op(struct play *play, const struct state *want,
                    const struct plan *plan, size_t i,
                    const struct sample *sample)
{
	const struct op *op = &plan->op[i];
	const size_t n =
		op->kind == OP_SETTLE ? plan->fill[op->fill].n_edits : 1;

	for (size_t part = 0; part < n; part++) {
		char when[80];

		if (op->kind == OP_SETTLE)
			slot_edit(
				&play->sim
					 ->slot[play->sim->fill_slot[op->fill]],
				&plan->fill[op->fill].edit[part]);
		else
			sim_op(play->sim, plan, op);
		snprintf(when, sizeof(when),
		         "operation %zu.%zu (kind %d) of %zu", i, part,
		         op->kind, plan->n_ops);
		ask_all(play, want, sample->q, sample->n, when);
	}
}

static void step(struct play *play)
{
	struct arena *arena = arena_new(0);
	struct question q[150];
	struct state want;
	struct plan plan;
	size_t n_q;

	want_build(play, arena, &want);
	n_q = questions(play, q, ARRAY_SIZE(q));
	assert_int_equal(plan_make(&play->have, &want, arena, &plan), 0);
	for (size_t i = 0; i < plan.n_ops; i++)
		step_op(play, &want, &plan, i, &(struct sample){q, n_q});
	play->moves += plan.n_ops;
	raises_check(play, &want, &plan, q, n_q);

	/* At the end nothing is left of the old answers. */
	assert_int_equal(play->sim->state.n_addrs, want.n_addrs);
	assert_memory_equal(play->sim->addr, want.addr,
	                    want.n_addrs * sizeof(*want.addr));
	assert_int_equal(play->sim->state.n_prefixes, want.n_prefixes);
	if (want.n_prefixes)
		assert_memory_equal(play->sim->prefix, want.prefix,
		                    want.n_prefixes * sizeof(*want.prefix));
	state_settle(play, &want);
	for (size_t i = 0; i < n_q; i++) {
		const struct table *new = table_in(&want, q[i].endpoint);
		const struct endpoint *ep = &play->sim->endpoint[q[i].endpoint];

		if (new)
			assert_int_equal(answer(&want, new, &q[i]),
			                 answer(&play->sim->state,
			                        slot_table(play->sim, ep->slot),
			                        &q[i]));
	}
	arena_free(play->arena);
	play->arena = arena;
	play->have = want;

	assert_int_equal(plan_make(&want, &want, arena, &plan), 0);
	assert_int_equal(plan.n_ops, 0);
}

static void play_free(struct play *play)
{
	for (uint32_t i = 0; i < SLOT_MAX; i++)
		slot_clear(play->sim, i);
	for (size_t i = 0; i < play->n_known; i++)
		free((char *)play->known[i].key);
	free(play->known);
	arena_free(play->arena);
	world_clear(&play->gen);
	free(play->sim);
	free(play);
}

static void a_packet_meets_the_old_answer_or_the_new_one(void **state)
{
	const char *given = getenv("SEED");
	const uint64_t seed =
		given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20;
	const char *rounds = getenv("ROUNDS");
	const int n = rounds ? atoi(rounds) : 60;
	unsigned long asked = 0, moves = 0;

	(void)state;
	for (int world = 0; world < n; world++) {
		struct play *play = calloc(1, sizeof(*play));

		play->sim = calloc(1, sizeof(*play->sim));
		play->sim->state.addr = play->sim->addr;
		play->sim->state.prefix = play->sim->prefix;
		play->sim->slot[SLOT_CLOSED].header = (struct slot){
			.isolated = {1, 1}
                };
		world_random(&play->gen, seed + (uint64_t)world);
		step(play);
		for (int edit = 0; edit < 8; edit++) {
			for (int more = edit % 3; more >= 0; more--)
				world_edit(&play->gen);
			step(play);
		}
		asked += play->asked;
		moves += play->moves;
		play_free(play);
	}
	print_message("# seed %lu: %lu answers during %lu operations\n",
	              (unsigned long)seed, asked, moves);
	assert_true(asked > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_meets_the_old_answer_or_the_new_one),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
