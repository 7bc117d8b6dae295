/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services_want.h - what the maps of services should hold.
 *
 * Pure: Services, EndpointSlices and the node's addresses in, sorted arrays
 * out.  Used of a service's endpoints: those that are ready; if none is, those
 * that serve while they terminate.  Where only this node's count (a traffic
 * policy of Local) that is asked of them alone.
 */
#pragma once

#include "lib/arena.h"
#include "policy/policy.h"

struct services_input {
	const struct service_object **service;
	size_t n_services;
	const struct slice_object **slice;
	size_t n_slices;
	/* What no service's address may be: of nodes, of pods. */
	const struct addr *node;
	size_t n_nodes;
	const struct prefix *pods;
	size_t n_pods;
	size_t most_services, most_backends; /* that the maps may hold */
	const char *node_name;               /* this one's */
	bool full; /* node ports, load balancers, external addresses too */
	const struct prefix *external; /* where those may be */
	size_t n_externals;
};

/* One port of one address of a service, and who answers there. */
struct frontend {
	struct service_key key;
	const struct service_object *service; /* borrowed of the input */
	const char *port_name;
	struct backend *backend;                /* sorted, none twice */
	const struct slice_endpoint **endpoint; /* whose each is */
	size_t n;
	uint64_t hash;  /* of the backends, see backends_hash() */
	uint32_t local; /* how many of them, in front, are on this node */
	uint32_t id;    /* of the service's port, among affinities; 0: none */
	uint32_t affinity; /* seconds, see struct service */
	uint8_t flags;     /* enum service_flags */
};

struct services_problem {
	const char *object; /* "Service/shop/web" */
	const char *error;
};

struct services_want {
	struct frontend *item; /* sorted by key, none twice */
	size_t n;
	struct services_problem *problem;
	size_t n_problems;
};

/* @arena owns @ret, but for what is borrowed.  Sorts @input's services and
 * slices in place.  0 or -ENOMEM. */
int services_want(struct services_input *input, struct arena *arena,
                  struct services_want *ret);

int service_key_compare(const struct service_key *a,
                        const struct service_key *b);
/* Of backends in their order; never 0. */
uint64_t backends_hash(const struct backend *backend, size_t n);
