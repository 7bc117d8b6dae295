// SPDX-License-Identifier: Apache-2.0
/* plan_depart.c - the numbers that addresses move away from. */
#include <errno.h>
#include <string.h>

#include "daemon/plan_impl.h"

/* ---- numbers that addresses move away from ------------------------------ */

uint32_t addr_left(const struct planner *p, const struct plan_addr *have,
                   const struct plan_addr *want)
{
	uint32_t old;

	if (!want)
		return 0;
	old = have ? have->info.identity
	           : prefix_identity(p->have, &want->addr);
	return old == want->info.identity ? 0 : old;
}

uint32_t prefix_left(const struct planner *p, const struct plan_prefix *have,
                     const struct plan_prefix *want)
{
	uint32_t old;

	if (!want)
		return have->info.identity;
	old = have ? have->info.identity : identity_around(p->have, &want->key);
	return old == want->info.identity ? 0 : old;
}

static void departure_put(struct planner *p, uint32_t number)
{
	if (number)
		p->departure[p->n_departures++].number = number;
}

static void addr_departs(struct planner *p, const struct plan_addr *have,
                         const struct plan_addr *want)
{
	departure_put(p, addr_left(p, have, want));
}

static void prefix_departs(struct planner *p, const struct plan_prefix *have,
                           const struct plan_prefix *want)
{
	departure_put(p, prefix_left(p, have, want));
}

static int departure_compare(const void *a, const void *b)
{
	const uint32_t x = ((const struct departure *)a)->number;
	const uint32_t y = ((const struct departure *)b)->number;

	return (x > y) - (x < y);
}

static struct departure *departure_find(const struct planner *p,
                                        uint32_t number)
{
	const struct departure key = {.number = number};

	if (!p->n_departures)
		return NULL;
	return bsearch(&key, p->departure, p->n_departures, sizeof(key),
	               departure_compare);
}

static void departure_stays(struct planner *p, uint32_t number)
{
	struct departure *departure = departure_find(p, number);

	if (departure)
		departure->stays = true;
}

static void departures_sort(struct planner *p)
{
	size_t n = 0;

	qsort(p->departure, p->n_departures, sizeof(*p->departure),
	      departure_compare);
	for (size_t i = 0; i < p->n_departures; i++)
		if (!n || p->departure[n - 1].number != p->departure[i].number)
			p->departure[n++] = p->departure[i];
	p->n_departures = n;
	for (size_t i = 0; i < n; i++) /* some are always in use */
		if ((p->departure[i].number & ~ID_CLASS_MASK) < ID_SERIAL_FIRST)
			p->departure[i].stays = true;
	for (size_t i = 0; i < p->want->n_addrs; i++)
		departure_stays(p, p->want->addr[i].info.identity);
	for (size_t i = 0; i < p->want->n_prefixes; i++)
		departure_stays(p, p->want->prefix[i].info.identity);
}

void departures_find(struct planner *p)
{
	const size_t most = p->have->n_addrs + p->have->n_prefixes +
	                    p->want->n_addrs + p->want->n_prefixes;

	p->departure = arena_array(p->arena, most, sizeof(*p->departure));
	if (!p->departure) {
		p->error = -ENOMEM;
		return;
	}
	addrs_walk(p, addr_departs);
	prefixes_walk(p, prefix_departs);
	if (p->n_departures)
		departures_sort(p);
}

bool is_turn(const struct planner *p, uint32_t number)
{
	const struct departure *departure =
		number ? departure_find(p, number) : NULL;

	return (departure && departure->stays) == p->movers;
}
