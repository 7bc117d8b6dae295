// SPDX-License-Identifier: Apache-2.0
/* services_plan.c - see services_plan.h. */
#include "daemon/services_plan.h"

#include <errno.h>
#include <string.h>

struct make {
	const struct services_have *have;
	const struct service *resting;
	size_t n_resting;
	struct services_plan plan;
};

static size_t backends_all(const struct services_want *want)
{
	size_t n = 0;

	for (size_t i = 0; i < want->n; i++)
		n += want->item[i].n;
	return n;
}

static int plan_alloc(struct make *m, const struct services_want *want,
                      struct arena *arena)
{
	struct services_plan *p = &m->plan;
	const size_t n = backends_all(want), n_have = m->have->n;

	p->place = arena_array(arena, n, sizeof(*p->place));
	p->backend = arena_array(arena, n, sizeof(*p->backend));
	p->key = arena_array(arena, want->n, sizeof(*p->key));
	p->value = arena_array(arena, want->n, sizeof(*p->value));
	p->gone = arena_array(arena, n_have, sizeof(*p->gone));
	p->retired = arena_array(arena, n_have, sizeof(*p->retired));
	p->then.item = arena_array(arena, want->n, sizeof(*p->then.item));
	return p->place && p->backend && p->key && p->value && p->gone &&
	                       p->retired && p->then.item
	               ? 0
	               : -ENOMEM;
}

/* ---- places ------------------------------------------------------------- */

/* The end of a range in use that holds one of @n places from @at; 0: none. */
static uint32_t used_until(const struct make *m, uint32_t at, uint32_t n)
{
	for (size_t i = 0; i < m->have->n; i++) {
		const struct service *s = &m->have->item[i].value;

		if (s->count && at < s->first + s->count && s->first < at + n)
			return s->first + s->count;
	}
	for (size_t i = 0; i < m->n_resting; i++) {
		const struct service *s = &m->resting[i];

		if (at < s->first + s->count && s->first < at + n)
			return s->first + s->count;
	}
	return 0;
}

static uint32_t places_take(struct make *m, uint32_t n)
{
	struct services_have *then = &m->plan.then;
	uint32_t at, end;

	for (;;) {
		if (then->next > UINT32_MAX - n) {
			then->next = 1;
			then->wrapped = true;
		}
		at = then->next;
		end = then->wrapped ? used_until(m, at, n) : 0;
		if (!end)
			break;
		then->next = end;
	}
	then->next = at + n;
	return at;
}

/* ---- one service -------------------------------------------------------- */

static void retire(struct make *m, const struct service_have *have)
{
	struct services_plan *p = &m->plan;

	if (have->value.count)
		p->retired[p->n_retired++] = have->value;
}

static void keep(struct make *m, const struct service_have *have)
{
	m->plan.then.item[m->plan.then.n++] = *have;
}

static struct service value_of(const struct frontend *f, uint32_t first)
{
	return (struct service){
		.first = first,
		.count = (uint32_t)f->n,
		.local = f->local,
		.id = f->id,
		.affinity = f->affinity,
		.flags = f->flags,
		.tag = service_tag(&f->key),
	};
}

static void value_put(struct make *m, const struct frontend *f, uint32_t first)
{
	struct services_plan *p = &m->plan;
	const struct service value = value_of(f, first);

	p->key[p->n_services] = f->key;
	p->value[p->n_services++] = value;
	p->then.item[p->then.n++] =
		(struct service_have){f->key, value, f->hash};
}

static void put(struct make *m, const struct frontend *f)
{
	struct services_plan *p = &m->plan;
	const uint32_t n = (uint32_t)f->n;
	const uint32_t first = n ? places_take(m, n) : 0;

	for (uint32_t i = 0; i < n; i++) {
		p->place[p->n_backends] = first + i;
		p->backend[p->n_backends++] = f->backend[i];
	}
	value_put(m, f, first);
}

/* Its backends stay where they are. */
static void compare(struct make *m, const struct service_have *have,
                    const struct frontend *f)
{
	const struct service want = value_of(f, have->value.first);

	if (memcmp(&want, &have->value, sizeof(want)) != 0)
		value_put(m, f, have->value.first);
	else
		keep(m, have);
}

int services_plan(const struct services_have *have,
                  const struct services_want *want,
                  const struct service *resting, size_t n_resting,
                  struct arena *arena, struct services_plan *ret)
{
	struct make m = {have, resting, n_resting, {}};
	struct services_plan *p = &m.plan;
	size_t h = 0, w = 0;

	if (plan_alloc(&m, want, arena))
		return -ENOMEM;
	p->then.next = have->next ? have->next : 1;
	p->then.wrapped = have->wrapped;
	while (h < have->n || w < want->n) {
		const int cmp =
			h == have->n ? 1
			: w == want->n
				? -1
				: service_key_compare(&have->item[h].key,
		                                      &want->item[w].key);

		if (cmp < 0) {
			p->gone[p->n_gone++] = have->item[h].key;
			retire(&m, &have->item[h++]);
			continue;
		}
		if (!cmp && have->item[h].hash == want->item[w].hash) {
			compare(&m, &have->item[h++], &want->item[w++]);
			continue;
		}
		if (!cmp)
			retire(&m, &have->item[h++]);
		put(&m, &want->item[w++]);
	}
	*ret = m.plan;
	return 0;
}
