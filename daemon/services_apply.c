// SPDX-License-Identifier: Apache-2.0
/* services_apply.c - see services_apply.h. */
#include "daemon/services_apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------ */

struct placed {
	uint32_t at;
	bool used; /* some service's */
	struct backend backend;
};

struct reading {
	struct service_have *have;
	size_t n_have, room_have;
	struct placed *placed;
	size_t n_placed, room_placed;
};

static void reading_free(struct reading *r)
{
	free(r->have);
	free(r->placed);
}

static int room_make(void **array, size_t n, size_t *room, size_t size)
{
	const size_t more = *room ? *room * 2 : 64;
	void *grown;

	if (n < *room)
		return 0;
	grown = reallocarray(*array, more, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = more;
	return 0;
}

static int service_one(const void *key, const void *value, void *user)
{
	struct reading *r = user;

	if (room_make((void **)&r->have, r->n_have, &r->room_have,
	              sizeof(*r->have)))
		return -ENOMEM;
	r->have[r->n_have] = (struct service_have){};
	memcpy(&r->have[r->n_have].key, key, sizeof(r->have->key));
	memcpy(&r->have[r->n_have++].value, value, sizeof(r->have->value));
	return 0;
}

static int backend_one(const void *key, const void *value, void *user)
{
	struct reading *r = user;

	if (room_make((void **)&r->placed, r->n_placed, &r->room_placed,
	              sizeof(*r->placed)))
		return -ENOMEM;
	r->placed[r->n_placed] = (struct placed){};
	memcpy(&r->placed[r->n_placed].at, key, sizeof(r->placed->at));
	memcpy(&r->placed[r->n_placed++].backend, value,
	       sizeof(r->placed->backend));
	return 0;
}

static int have_order(const void *a, const void *b)
{
	const struct service_have *x = a, *y = b;

	return service_key_compare(&x->key, &y->key);
}

static int placed_order(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static size_t placed_at(const struct reading *r, uint32_t at)
{
	size_t lo = 0, hi = r->n_placed;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (r->placed[mid].at < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * The hash of a service's backends; 0 when one is missing, another's, or used
 * by another service too.  Marks them used.
 */
static uint64_t placed_take(struct reading *r, const struct service_have *have,
                            struct backend *room)
{
	const uint32_t tag = service_tag(&have->key), n = have->value.count;
	const size_t first = placed_at(r, have->value.first);
	bool whole = n <= r->n_placed - first;

	for (uint32_t i = 0; whole && i < n; i++) {
		struct placed *p = &r->placed[first + i];

		whole = p->at == have->value.first + i && !p->used &&
		        p->backend.tag == tag;
		p->used = true;
		room[i] = p->backend;
	}
	return whole ? backends_hash(room, n) : 0;
}

static int reading_finish(struct reading *r, struct services_have *ret,
                          struct services_resting *resting)
{
	struct backend *room = calloc(r->n_placed + 1, sizeof(*room));
	int err = room ? 0 : -ENOMEM;

	if (r->n_have)
		qsort(r->have, r->n_have, sizeof(*r->have), have_order);
	if (r->n_placed)
		qsort(r->placed, r->n_placed, sizeof(*r->placed), placed_order);
	for (size_t i = 0; i < r->n_have && !err; i++)
		r->have[i].hash = placed_take(r, &r->have[i], room);
	free(room);
	for (size_t i = 0; i < r->n_placed && !err; i++) {
		const struct service alone = {.first = r->placed[i].at,
		                              .count = 1};

		if (!r->placed[i].used)
			err = services_rest(resting, &alone, 1);
	}
	if (err)
		return err;
	*ret = (struct services_have){.item = r->have, .n = r->n_have};
	r->have = NULL;
	if (r->n_placed)
		ret->next = r->placed[r->n_placed - 1].at + 1;
	ret->wrapped = r->n_placed && !ret->next;
	return 0;
}

int services_read(struct dp *dp, struct services_have *ret,
                  struct services_resting *resting)
{
	_cleanup_(reading_free) struct reading reading = {};
	int r = dp_map_each(dp_map_fd(dp, "services"), service_one, &reading);

	if (!r)
		r = dp_map_each(dp_map_fd(dp, "backends"), backend_one,
		                &reading);
	return r ? r : reading_finish(&reading, ret, resting);
}

/* ---- changing ----------------------------------------------------------- */

int services_apply(struct dp *dp, const struct services_plan *plan,
                   struct err *err)
{
	int r = dp_backends_put(dp, plan->place, plan->backend,
	                        plan->n_backends);

	if (r)
		return err_set(err, r, "%zu backends: %s", plan->n_backends,
		               strerror(-r));
	r = dp_services_put(dp, plan->key, plan->value, plan->n_services);
	if (r)
		return err_set(err, r, "%zu services: %s", plan->n_services,
		               strerror(-r));
	for (size_t i = 0; i < plan->n_gone; i++) {
		r = dp_service_remove(dp, &plan->gone[i]);
		if (r)
			return err_set(err, r, "a service that is gone: %s",
			               strerror(-r));
	}
	return 0;
}

int services_rest(struct services_resting *resting, const struct service *range,
                  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (room_make((void **)&resting->item, resting->n,
		              &resting->room, sizeof(*resting->item)))
			return -ENOMEM;
		resting->item[resting->n++] = range[i];
	}
	return 0;
}

int services_free_rested(struct dp *dp, struct services_resting *resting)
{
	int r = resting->n ? dp_grace(dp) : 0;

	if (r)
		return r;
	for (size_t i = 0; i < resting->n; i++)
		for (uint32_t n = 0; n < resting->item[i].count; n++)
			(void)dp_backend_remove(dp, resting->item[i].first + n);
	resting->n = 0;
	return 0;
}
