// SPDX-License-Identifier: Apache-2.0
/*
 * policy_oracle_test.c - the compiler against the specification, at random.
 *
 * Seeds: WORLD_SEED=N runs one world alone; WORLDS=N as many as you like.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "test/lib/oracle.h"
#include "test/lib/world.h"
#include "test/test.h"

#define PROBES 400

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

/* Compile @gen and send @probes packets.  False: @why, and @bad the packet. */
static bool world_agrees(struct world_gen *gen, unsigned int probes,
                         unsigned long *asked, struct probe *bad,
                         struct err *why)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct compiled compiled;

	if (world_build(gen, why) ||
	    policy_compile(&gen->world, NULL, 0, arena, &compiled, why) ||
	    !oracle_is_sound(&compiled, why))
		return false;
	for (unsigned int i = 0; i < probes; i++) {
		*bad = world_probe(gen);
		if (!oracle_agrees(&gen->world, &compiled, bad, asked, why))
			return false;
	}
	return true;
}

static bool packet_agrees(struct world_gen *gen, const struct probe *probe,
                          struct err *why)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	unsigned long asked = 0;
	struct compiled compiled;

	if (world_build(gen, why) ||
	    policy_compile(&gen->world, NULL, 0, arena, &compiled, why))
		return true; /* another failure than the one we shrink */
	return oracle_agrees(&gen->world, &compiled, probe, &asked, why);
}

/* Remove manifests one by one as long as the packet is still judged wrong. */
static void shrink(struct world_gen *gen, const struct probe *bad,
                   struct err *why)
{
	for (size_t i = gen->n_docs; i-- > 0;) {
		struct world_gen less = {};
		struct err reason = {};

		world_copy(&less, gen);
		world_remove(&less, i);
		if (packet_agrees(&less, bad, &reason)) {
			world_clear(&less);
			continue;
		}
		*why = reason;
		world_clear(gen);
		*gen = less;
	}
}

static void give_up(struct world_gen *gen, const struct probe *bad,
                    struct err *why)
{
	uint64_t seed = gen->seed;

	shrink(gen, bad, why);
	print_error("# WORLD_SEED=%llu; shrunk to:\n",
	            (unsigned long long)seed);
	world_print(gen, stderr);
	fail_msg("seed %llu: %s", (unsigned long long)seed, why->text);
}

static void compiled_worlds_say_what_the_specification_says(void **state)
{
	unsigned long first = setting("WORLD_SEED", 0), asked = 0;
	unsigned long worlds = first ? 1 : setting("WORLDS", 1000);
	uint64_t seed = first ? first : 0x5711e;

	(void)state;
	for (unsigned long i = 0; i < worlds; i++) {
		struct world_gen gen = {};
		struct err why = {};
		struct probe bad = {};

		world_random(&gen, seed + i);
		if (!world_agrees(&gen, PROBES, &asked, &bad, &why))
			give_up(&gen, &bad, &why);
		world_clear(&gen);
	}
	print_message("# seeds %llu to %llu: %lu verdicts\n",
	              (unsigned long long)seed,
	              (unsigned long long)(seed + worlds - 1), asked);
	assert_true(asked > (first ? 0 : worlds * PROBES / 2));
}

struct tally {
	unsigned long n, open, allowed, denied;
};

static void probe_tally(const struct world *world, const struct probe *probe,
                        struct tally *tally)
{
	for (size_t i = 0; i < world->n_pods; i++) {
		struct verdict v;

		if (!world->pod[i]->endpoint)
			continue;
		v = policy_eval(world, world->pod[i], DIR_INGRESS, &probe->src,
		                probe->proto, probe->port);
		tally->n++;
		tally->open += !v.isolated;
		tally->allowed += v.netpol != NULL;
		tally->denied += !v.allowed;
	}
}

/* The worlds are no proof unless they hold all of what can go wrong. */
static void random_worlds_hold_every_kind_of_verdict(void **state)
{
	struct tally t = {};

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct world_gen gen = {};
		struct err err;

		world_random(&gen, seed);
		assert_int_equal(world_build(&gen, &err), 0);
		for (int i = 0; i < 100; i++) {
			struct probe probe = world_probe(&gen);

			probe_tally(&gen.world, &probe, &t);
		}
		world_clear(&gen);
	}
	print_message("# of %lu: %lu open, %lu by a rule, %lu denied\n", t.n,
	              t.open, t.allowed, t.denied);
	assert_true(t.open > t.n / 20);
	assert_true(t.allowed > t.n / 20);
	assert_true(t.denied > t.n / 20);
}

static uint32_t number_of(const struct identity *list, size_t n,
                          const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].key, key))
			return list[i].number;
	return 0;
}

static bool number_taken(const struct identity *list, size_t n, uint32_t number)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].number == number)
			return true;
	return false;
}

/* Every key known before has its number; no new key has a known number. */
static void assert_numbers_stay(const struct compiled *was,
                                const struct compiled *is, uint64_t seed)
{
	for (size_t i = 0; i < is->n_identities; i++) {
		const struct identity *id = &is->identity[i];
		uint32_t before =
			number_of(was->identity, was->n_identities, id->key);

		if (before && before != id->number)
			fail_msg("seed %llu: '%s' was %#x, is %#x",
			         (unsigned long long)seed, id->key, before,
			         id->number);
		if (!before &&
		    number_taken(was->identity, was->n_identities, id->number))
			fail_msg("seed %llu: '%s' got another's number %#x",
			         (unsigned long long)seed, id->key, id->number);
	}
}

static void edited_judge(struct world_gen *gen, const struct compiled *is,
                         unsigned long *asked)
{
	struct err why = {};

	for (int i = 0; i < 100; i++) {
		struct probe probe = world_probe(gen);

		if (oracle_agrees(&gen->world, is, &probe, asked, &why))
			continue;
		world_print(gen, stderr);
		fail_msg("edited world of seed %llu: %s",
		         (unsigned long long)gen->seed, why.text);
	}
}

/* Compile again after an edit: @was becomes what is now. */
static void step_judge(struct world_gen *gen, struct compiled *was,
                       struct arena **arena, unsigned long *asked)
{
	struct arena *fresh = arena_new(0);
	struct compiled is;
	struct err why = {};

	assert_int_equal(world_build(gen, &why), 0);
	assert_int_equal(policy_compile(&gen->world, was->identity,
	                                was->n_identities, fresh, &is, &why),
	                 0);
	assert_numbers_stay(was, &is, gen->seed);
	edited_judge(gen, &is, asked);
	arena_free(*arena);
	*arena = fresh;
	*was = is;
}

static void edited_worlds_keep_their_numbers_and_their_truth(void **state)
{
	unsigned long worlds = setting("WORLDS", 1000) / 10, asked = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= worlds; seed++) {
		struct arena *arena = arena_new(0);
		struct world_gen gen = {};
		struct compiled was = {};

		world_random(&gen, seed);
		for (int step = 0; step < 8; step++) {
			step_judge(&gen, &was, &arena, &asked);
			world_edit(&gen);
		}
		arena_free(arena);
		world_clear(&gen);
	}
	print_message("# seeds 1 to %lu: %lu verdicts\n", worlds, asked);
}

static bool compiled_equal(const struct compiled *a, const struct compiled *b)
{
	if (a->n_tables != b->n_tables || a->n_addrs != b->n_addrs ||
	    a->n_identities != b->n_identities || a->n_rules != b->n_rules ||
	    a->n_prefixes != b->n_prefixes || a->n_endpoints != b->n_endpoints)
		return false;
	for (size_t i = 0; i < a->n_identities; i++)
		if (a->identity[i].number != b->identity[i].number ||
		    strcmp(a->identity[i].key, b->identity[i].key) != 0)
			return false;
	for (size_t i = 0; i < a->n_tables; i++)
		if (a->table[i].hash != b->table[i].hash)
			return false;
	for (size_t i = 0; i < a->n_addrs; i++)
		if (addr_compare(&a->addr[i].addr, &b->addr[i].addr) ||
		    a->addr[i].identity != b->addr[i].identity ||
		    a->addr[i].endpoint != b->addr[i].endpoint)
			return false;
	for (size_t i = 0; i < a->n_prefixes; i++)
		if (a->prefix[i].identity != b->prefix[i].identity)
			return false;
	for (size_t i = 0; i < a->n_endpoints; i++)
		if (a->endpoint[i].endpoint != b->endpoint[i].endpoint ||
		    a->endpoint[i].table != b->endpoint[i].table)
			return false;
	return true;
}

/* The order in which a source gives pods is chance. */
static void the_order_of_pods_changes_nothing(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct arena *arena = arena_new(0);
		struct world_gen gen = {};
		struct compiled a, b;
		struct err err;

		world_random(&gen, seed);
		assert_int_equal(world_build(&gen, &err), 0);
		assert_int_equal(
			policy_compile(&gen.world, NULL, 0, arena, &a, &err),
			0);
		for (size_t i = 0; i + 1 < gen.world.n_pods; i++) {
			size_t j =
				i +
				rng_below(&gen.rng,
			                  (unsigned int)(gen.world.n_pods - i));
			const struct pod *pod = gen.world.pod[i];

			gen.world.pod[i] = gen.world.pod[j];
			gen.world.pod[j] = pod;
		}
		assert_int_equal(
			policy_compile(&gen.world, NULL, 0, arena, &b, &err),
			0);
		if (!compiled_equal(&a, &b))
			fail_msg("seed %llu: not the same",
			         (unsigned long long)seed);
		world_clear(&gen);
		arena_free(arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			compiled_worlds_say_what_the_specification_says),
		cmocka_unit_test(random_worlds_hold_every_kind_of_verdict),
		cmocka_unit_test(
			edited_worlds_keep_their_numbers_and_their_truth),
		cmocka_unit_test(the_order_of_pods_changes_nothing),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
