// SPDX-License-Identifier: Apache-2.0
/* services_plan_test.c - how the maps of services get to what they should hold.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/services_plan.h"
#include "lib/addr.h"
#include "test/lib/packet.h"
#include "test/lib/rng.h"
#include "test/lib/world.h"
#include "test/test.h"

#define KEYS   12
#define SEED   20261126u
#define PLACES 65536 /* that the test has; it uses low ones only */

/* The maps, as the kernel would have them, and what programs may still hold. */
struct maps {
	struct backend backend[PLACES];
	bool put[PLACES], resting[PLACES];
	struct service service[KEYS];
	bool there[KEYS];
};

static struct service_key key_of(unsigned int n)
{
	struct service_key key = {.port = htons(80), .proto = IPPROTO_TCP};

	key.vip = A("10.96.0.0");
	key.vip.byte[15] = (uint8_t)n;
	return key;
}

static uint32_t place(uint32_t at)
{
	return at % PLACES;
}

/* Every service has, whole, one of the two sets. */
static void maps_check(const struct maps *m, const struct services_want *old,
                       const struct services_want *new)
{
	for (unsigned int k = 0; k < KEYS; k++) {
		const struct services_want *sides[] = {old, new};
		const struct service_key key = key_of(k);
		struct backend got[16];
		bool ok = false;

		for (uint32_t i = 0; m->there[k] && i < m->service[k].count;
		     i++) {
			const uint32_t at = place(m->service[k].first + i);

			assert_true(m->put[at]);
			got[i] = m->backend[at];
		}
		for (int side = 0; side < 2; side++) {
			const struct frontend *f = NULL;

			for (size_t i = 0; i < sides[side]->n; i++)
				if (!service_key_compare(
					    &sides[side]->item[i].key, &key))
					f = &sides[side]->item[i];
			ok |= !f ? !m->there[k]
			         : m->there[k] && f->n == m->service[k].count &&
			                      !memcmp(f->backend, got,
			                              f->n * sizeof(*got));
		}
		assert_true(ok);
	}
}

static unsigned int key_number(const struct service_key *key)
{
	return key->vip.byte[15];
}

/* One write after another, looking between. */
static void plan_run(struct maps *m, const struct services_plan *p,
                     const struct services_want *old,
                     const struct services_want *new)
{
	for (size_t i = 0; i < p->n_backends; i++) {
		const uint32_t at = place(p->place[i]);

		assert_false(m->put[at] || m->resting[at]);
		m->put[at] = true;
		m->backend[at] = p->backend[i];
		maps_check(m, old, new);
	}
	for (size_t i = 0; i < p->n_services; i++) {
		const unsigned int k = key_number(&p->key[i]);

		m->there[k] = true;
		m->service[k] = p->value[i];
		maps_check(m, old, new);
	}
	for (size_t i = 0; i < p->n_gone; i++) {
		m->there[key_number(&p->gone[i])] = false;
		maps_check(m, old, new);
	}
	for (size_t i = 0; i < p->n_retired; i++)
		for (uint32_t n = 0; n < p->retired[i].count; n++)
			m->resting[place(p->retired[i].first + n)] = true;
	maps_check(m, new, new);
}

static void want_random(struct rng *rng, const struct services_want *old,
                        struct arena *arena, struct services_want *ret)
{
	ret->item = arena_array(arena, KEYS, sizeof(*ret->item));
	ret->n = 0;
	for (unsigned int k = 0; k < KEYS; k++) {
		struct frontend *f = &ret->item[ret->n];

		if (rng_below(rng, 4) == 0)
			continue;
		*f = (struct frontend){.key = key_of(k)};
		f->n = rng_below(rng, 6);
		f->backend = arena_array(arena, f->n, sizeof(*f->backend));
		for (size_t i = 0; i < f->n; i++) {
			f->backend[i].addr = A("10.0.0.0");
			f->backend[i].addr.byte[15] =
				(uint8_t)(i * 4 + rng_below(rng, 4));
			f->backend[i].tag = service_tag(&f->key);
		}
		/* Half of them as they were. */
		for (size_t i = 0; rng_below(rng, 2) && i < old->n; i++)
			if (!service_key_compare(&old->item[i].key, &f->key))
				*f = old->item[i];
		f->hash = backends_hash(f->backend, f->n);
		ret->n++;
	}
}

static void no_half_made_service_is_ever_seen(void **state)
{
	struct rng rng = {.state = SEED};
	static struct maps m;
	struct services_have have = {};
	struct services_want old = {};
	struct arena *arena = arena_new(0);
	struct service *resting = NULL;
	size_t n_resting = 0, kept = 0;

	(void)state;
	memset(&m, 0, sizeof(m));
	for (int round = 0; round < 400; round++) {
		struct services_want want;
		struct services_plan p;

		want_random(&rng, &old, arena, &want);
		if (round % 50 == 49)
			have.next = UINT32_MAX - 10; /* round it goes */
		assert_int_equal(services_plan(&have, &want, resting, n_resting,
		                               arena, &p),
		                 0);
		plan_run(&m, &p, &old, &want);
		kept += want.n - p.n_services;
		resting = p.retired;
		n_resting = p.n_retired;
		/* A grace period: what rested before this pass is free. */
		if (round % 3 == 0) {
			for (size_t i = 0; i < PLACES; i++)
				if (m.resting[i])
					m.put[i] = m.resting[i] = false;
			n_resting = 0;
		} else {
			struct service *all;

			/* Nothing was freed: all of it rests on. */
			n_resting = 0;
			for (size_t i = 0; i < PLACES; i++)
				n_resting += m.resting[i];
			all = arena_array(arena, n_resting, sizeof(*all));
			n_resting = 0;
			for (uint32_t i = 0; i < PLACES; i++)
				if (m.resting[i])
					all[n_resting++] = (struct service){
						.first = i, .count = 1};
			resting = all;
		}
		have = p.then;
		old = want;
	}
	assert_true(kept > 100); /* what is equal is not written again */
	assert_true(have.wrapped);
	arena_free(arena);
}

static void what_is_equal_is_left_alone(void **state)
{
	struct rng rng = {.state = SEED};
	struct services_have have = {};
	struct services_want want;
	struct services_plan p;
	struct arena *arena = arena_new(0);

	(void)state;
	want_random(&rng, &(struct services_want){}, arena, &want);
	services_plan(&have, &want, NULL, 0, arena, &p);
	have = p.then;
	services_plan(&have, &want, NULL, 0, arena, &p);
	assert_int_equal(p.n_backends + p.n_services + p.n_gone + p.n_retired,
	                 0);
	/* Found broken in the maps: written anew. */
	have.item[0].hash = 0;
	services_plan(&have, &want, NULL, 0, arena, &p);
	assert_int_equal(p.n_services, 1);
	arena_free(arena);
}

/* What is said of the same backends is written anew; they stay where they are.
 */
static void a_change_of_manner_moves_no_backend(void **state)
{
	struct arena *arena = arena_new(0);
	struct services_want want;
	struct services_have have = {};
	struct services_plan p;
	struct rng rng = {.state = SEED};

	(void)state;
	want_random(&rng, &(struct services_want){}, arena, &want);
	services_plan(&have, &want, NULL, 0, arena, &p);
	have = p.then;
	assert_true(want.n);
	want.item[0].affinity = 60;
	services_plan(&have, &want, NULL, 0, arena, &p);
	assert_int_equal(p.n_services, 1);
	assert_int_equal(p.n_backends, 0);
	assert_int_equal(p.n_retired, 0);
	assert_int_equal(p.value[0].affinity, 60);
	assert_int_equal(p.value[0].first, have.item[0].value.first);
	have = p.then;
	services_plan(&have, &want, NULL, 0, arena, &p);
	assert_int_equal(p.n_services, 0);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_half_made_service_is_ever_seen),
		cmocka_unit_test(what_is_equal_is_left_alone),
		cmocka_unit_test(a_change_of_manner_moves_no_backend),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
