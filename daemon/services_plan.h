/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services_plan.h - how the maps of services get to what they should hold.
 *
 * Pure.  A set of backends that changed is written at places that nobody used,
 * then the service's value is replaced; the old places are free a grace period
 * later.  Places are numbers of 32 bits, given out one after another.
 */
#pragma once

#include "daemon/services_want.h"

/* One service as the maps hold it. */
struct service_have {
	struct service_key key;
	struct service value;
	uint64_t hash; /* of its backends; 0: they are not whole */
};

struct services_have {
	struct service_have *item; /* sorted by key */
	size_t n;
	uint32_t next; /* lowest place not given out */
	bool wrapped;  /* places went round: they may be in use */
};

struct services_plan {
	/* In this order: backends at their places, services, removals. */
	uint32_t *place;
	struct backend *backend;
	size_t n_backends;
	struct service_key *key;
	struct service *value;
	size_t n_services;
	struct service_key *gone;
	size_t n_gone;
	struct service *retired; /* places that nobody will use */
	size_t n_retired;
	struct services_have then; /* once it is applied */
};

/* @resting: places that are not free yet.  @arena owns @ret.  0 or -ENOMEM. */
int services_plan(const struct services_have *have,
                  const struct services_want *want,
                  const struct service *resting, size_t n_resting,
                  struct arena *arena, struct services_plan *ret);
