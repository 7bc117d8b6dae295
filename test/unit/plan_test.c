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
#include "test/lib/sim.h"
#include "test/lib/world.h"
#include "test/test.h"

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
		const struct table *old = sim_table(&play->have, q[i].endpoint);
		const struct table *new = sim_table(want, q[i].endpoint);
		const struct endpoint *ep = &sim->endpoint[q[i].endpoint];
		char text[ADDR_TEXT_MAX];
		bool before, after, now;

		/* Who goes away takes no answers with him. */
		if (!old || !new || ep->closed ||
		    (sim_whole(&play->have, &q[i].peer) &&
		     !sim_whole(want, &q[i].peer)))
			continue;
		before = sim_answer(&play->have, old, &q[i]);
		after = sim_answer(want, new, &q[i]);
		now = sim_answer(&sim->state, &sim->slot[ep->slot], &q[i]);
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
				sim_whole(&play->have, end[dir]);

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
	return prefix_contains(&pool, addr) && !sim_whole(state, addr);
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
		const struct table *old = sim_table(&play->have, q[i].endpoint);
		const struct table *new = sim_table(want, q[i].endpoint);
		const struct plan_addr *peer =
			sim_whole(&play->have, &q[i].peer);
		char text[ADDR_TEXT_MAX];

		if (!old || !new || is_nobody(&play->have, &q[i].peer) ||
		    raised[0] || raised[q[i].endpoint] ||
		    (peer && raised[peer->info.endpoint]))
			continue;
		if (sim_answer(&play->have, old, &q[i]) !=
		    sim_answer(want, new, &q[i]))
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
			sim_edit(
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
		const struct table *new = sim_table(&want, q[i].endpoint);
		const struct endpoint *ep = &play->sim->endpoint[q[i].endpoint];

		if (new)
			assert_int_equal(sim_answer(&want, new, &q[i]),
			                 sim_answer(&play->sim->state,
			                            &play->sim->slot[ep->slot],
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
		sim_slot_clear(play->sim, i);
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
	const int n = rounds ? atoi(rounds) : 25;
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

/* ---- by hand ------------------------------------------------------------ */

#define A ID(CLASS_POD4, 100)
#define B ID(CLASS_POD4, 101)
#define C ID(CLASS_POD4, 102)

/* An ingress-isolated table that allows these peers everything. */
static struct table allowing(struct policy_entry *entry, const uint32_t *peer,
                             size_t n)
{
	struct table table = {
		.header = {.isolated = {1, 0}},
		.entry = entry,
		.n_entries = n,
	};

	for (size_t i = 0; i < n; i++)
		entry[i] = (struct policy_entry){.key = {.peer = peer[i]},
		                                 .val = {.allow = 1}};
	if (n)
		table.header.shapes[DIR_INGRESS] =
			SHAPE_BIT(LEVEL_ID, SHAPE_ALL);
	return table;
}

static struct plan_addr at(unsigned last, uint32_t identity)
{
	struct plan_addr addr = {.info = {.identity = identity}};

	assert_int_equal(addr_parse("10.9.0.0", &addr.addr), 0);
	addr.addr.byte[15] = (__u8)last;
	return addr;
}

static struct plan_endpoint endpoint(uint16_t number, uint32_t serial,
                                     uint32_t slot, const struct table *table)
{
	return (struct plan_endpoint){
		.number = number,
		.value = {.ifindex = number + 100u,
	                  .serial = serial,
	                  .slot = slot},
		.table = table,
	};
}

/* Where the first operation of that kind stands; SIZE_MAX. */
static size_t op_at(const struct plan *plan, enum op_kind kind)
{
	for (size_t i = 0; i < plan->n_ops; i++)
		if (plan->op[i].kind == kind)
			return i;
	return SIZE_MAX;
}

/* Two remote pods are alike; one gets other labels, no table changes. */
static void a_peer_that_leaves_its_like_is_judged_anew(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const uint32_t peers[] = {A};
	struct policy_entry entry[1];
	const struct table table = allowing(entry, peers, 1);
	const struct plan_addr had[] = {at(1, A), at(2, A)};
	const struct plan_addr gets[] = {at(1, A), at(2, B)};
	const struct plan_endpoint ep = endpoint(7, 1, 5, &table);
	const struct plan_slot slot = {5, &table};
	const struct state have = {.addr = had,
	                           .n_addrs = 2,
	                           .endpoint = &ep,
	                           .n_endpoints = 1,
	                           .slot = &slot,
	                           .n_slots = 1};
	struct state want = have;
	struct plan plan;

	(void)state;
	want.addr = gets;
	assert_int_equal(plan_make(&have, &want, arena, &plan), 0);
	assert_int_equal(plan.n_ops, 2);
	assert_int_equal(plan.op[0].kind, OP_ADDR);
	assert_int_equal(plan.op[1].kind, OP_RAISE);
	assert_int_equal(plan.op[1].raise, 7);
}

/*
 * B is left by one address and joined by another: who leaves goes first, then
 * B is settled, then the other joins.
 */
static void numbers_that_stay_are_settled_between_leaving_and_joining(
	void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const uint32_t old_peers[] = {A}, new_peers[] = {B};
	struct policy_entry old_entry[1], new_entry[1];
	const struct table old = allowing(old_entry, old_peers, 1);
	const struct table new = allowing(new_entry, new_peers, 1);
	const struct plan_addr had[] = {at(1, A), at(2, B)};
	const struct plan_addr gets[] = {at(1, B), at(2, C)};
	const struct plan_endpoint from = endpoint(7, 1, 5, &old);
	const struct plan_endpoint to = endpoint(7, 1, 0, &new);
	const struct plan_slot slot = {5, &old};
	const struct state have = {.addr = had,
	                           .n_addrs = 2,
	                           .endpoint = &from,
	                           .n_endpoints = 1,
	                           .slot = &slot,
	                           .n_slots = 1};
	const struct state want = {
		.addr = gets, .n_addrs = 2, .endpoint = &to, .n_endpoints = 1};
	static const enum op_kind order[] = {OP_FILL,   OP_ENDPOINT, OP_ADDR,
	                                     OP_SETTLE, OP_ADDR,     OP_RAISE,
	                                     OP_RETIRE};
	struct plan plan;

	(void)state;
	assert_int_equal(plan_make(&have, &want, arena, &plan), 0);
	assert_int_equal(plan.n_ops, ARRAY_SIZE(order));
	for (size_t i = 0; i < plan.n_ops; i++)
		assert_int_equal(plan.op[i].kind, order[i]);
	assert_int_equal(plan.op[2].addr.info.identity, C);
	assert_int_equal(plan.op[4].addr.info.identity, B);
	assert_int_equal(plan.fill[0].n_bridge, 1);
	assert_int_equal(plan.fill[0].bridge[0], A);
}

/* The number's next pod must not be reached by the last one's address. */
static void a_number_changes_hands_behind_a_closed_door(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct plan_addr had = at(1, A), gets = at(2, A);
	const struct table open = {};
	const struct plan_endpoint first = endpoint(7, 1, SLOT_OPEN, &open);
	const struct plan_endpoint second = endpoint(7, 2, 0, &open);
	struct state have = {
		.n_addrs = 1, .endpoint = &first, .n_endpoints = 1};
	struct state want = {
		.n_addrs = 1, .endpoint = &second, .n_endpoints = 1};
	struct plan plan;

	(void)state;
	had.info.endpoint = gets.info.endpoint = 7;
	have.addr = &had;
	want.addr = &gets;
	assert_int_equal(plan_make(&have, &want, arena, &plan), 0);
	assert_int_equal(plan.n_ops, 5);
	assert_int_equal(plan.op[0].kind, OP_ENDPOINT);
	assert_int_equal(plan.op[0].endpoint.value.closed, 1);
	assert_int_equal(plan.op[0].endpoint.value.serial, 1);
	assert_int_equal(plan.op[1].kind, OP_ADDR);
	assert_int_equal(plan.op[2].kind, OP_ADDR_REMOVE);
	assert_int_equal(plan.op[3].kind, OP_ENDPOINT);
	assert_int_equal(plan.op[3].endpoint.value.closed, 0);
	assert_int_equal(plan.op[3].endpoint.value.serial, 2);
	assert_int_equal(plan.op[4].kind, OP_RAISE);
}

static void who_has_no_table_keeps_his_slot_or_is_shut(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const uint32_t peers[] = {A};
	struct policy_entry entry[1];
	const struct table table = allowing(entry, peers, 1);
	const struct table shut = allowing(NULL, NULL, 0);
	const struct plan_endpoint had = endpoint(7, 1, 5, &table);
	const struct plan_slot slot = {5, &table};
	struct plan_endpoint gets[] = {endpoint(7, 1, 0, NULL),
	                               endpoint(8, 1, 0, NULL),
	                               endpoint(9, 1, 0, NULL)};
	const struct state have = {.endpoint = &had,
	                           .n_endpoints = 1,
	                           .slot = &slot,
	                           .n_slots = 1};
	const struct state want = {.endpoint = gets, .n_endpoints = 3};
	struct plan plan;
	size_t at;

	(void)state;
	gets[2].newcomer = &shut;
	assert_int_equal(plan_make(&have, &want, arena, &plan), 0);
	assert_int_equal(op_at(&plan, OP_RETIRE), SIZE_MAX);
	assert_int_equal(plan.n_fills, 1);
	assert_ptr_equal(plan.fill[0].clean, &shut);
	at = op_at(&plan, OP_ENDPOINT);
	assert_int_equal(plan.op[at].endpoint.number, 8);
	assert_int_equal(plan.op[at].endpoint.value.slot, SLOT_CLOSED);
	assert_int_equal(plan.op[at + 1].endpoint.number, 9);
	assert_int_equal(plan.op[at + 1].endpoint.fill, 0);
}

/* Refused: what it has stays, closed where its policies isolate it and what it
 * has does not. */
static void who_is_refused_is_open_in_no_direction_of_his_policies(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const uint32_t peers[] = {A};
	struct policy_entry entry[1];
	const struct table open = {};
	const struct table table = allowing(entry, peers, 1);
	const struct table in = {.header = {.isolated = {1, 0}}};
	const struct plan_endpoint had[] = {endpoint(6, 1, 5, &table),
	                                    endpoint(7, 1, 5, &table),
	                                    endpoint(8, 1, SLOT_OPEN, &open),
	                                    endpoint(9, 1, SLOT_OPEN, &open)};
	struct plan_endpoint gets[] = {
		endpoint(6, 1, 0, NULL), endpoint(7, 1, 0, NULL),
		endpoint(8, 1, 0, NULL), endpoint(9, 1, 0, NULL)};
	const struct plan_slot slot = {5, &table};
	const struct state have = {
		.endpoint = had, .n_endpoints = 4, .slot = &slot, .n_slots = 1};
	const struct state want = {.endpoint = gets, .n_endpoints = 4};
	struct plan plan;

	(void)state;
	gets[0].newcomer = gets[2].newcomer = gets[3].newcomer = &in;
	gets[0].shut[0] = gets[2].shut[0] = gets[3].shut[0] = true;
	gets[1].shut[1] = true;
	assert_int_equal(plan_make(&have, &want, arena, &plan), 0);
	assert_int_equal(plan.n_fills, 2); /* 8 and 9 share one */
	assert_int_equal(plan.fill[0].clean->header.isolated[0], 1);
	assert_int_equal(plan.fill[0].clean->header.isolated[1], 1);
	assert_int_equal(plan.fill[0].clean->n_entries, 1);
	assert_true(table_equal(plan.fill[1].clean, &in));
	for (size_t i = 0; i < plan.n_ops; i++)
		if (plan.op[i].kind == OP_ENDPOINT)
			assert_int_not_equal(plan.op[i].endpoint.number, 6);
	assert_int_equal(op_at(&plan, OP_RETIRE), SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_meets_the_old_answer_or_the_new_one),
		cmocka_unit_test(a_peer_that_leaves_its_like_is_judged_anew),
		cmocka_unit_test(
			numbers_that_stay_are_settled_between_leaving_and_joining),
		cmocka_unit_test(a_number_changes_hands_behind_a_closed_door),
		cmocka_unit_test(who_has_no_table_keeps_his_slot_or_is_shut),
		cmocka_unit_test(
			who_is_refused_is_open_in_no_direction_of_his_policies),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
