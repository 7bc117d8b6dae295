/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - the other nodes: who they are, and how their pods are reached.
 *
 * peers_update() reads the Node objects; the rest makes the kernel follow:
 * the map of nodes, and a route to each node's pods, by the tunnel's device or
 * (--routing native) by the node's address where that is on the same link.
 * Pods' packets ask the maps; the routes are for this node's own processes,
 * and natively for all.  Routes bear WIRE_RULE_PROTOCOL, so that we know ours.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/desired.h"
#include "daemon/dp.h"
#include "daemon/loop.h"
#include "daemon/node.h"
#include "daemon/peer_numbers.h"
#include "daemon/store.h"
#include "lib/arena.h"
#include "policy/policy.h"

struct peer_node {
	const char *name;
	uint16_t number;
	struct addr underlay; /* where its end of the tunnel is; zero: none */
	struct addr *addr;    /* internal, then external */
	size_t n_addrs, n_internal;
	bool routed; /* natively: we have a route to its pods */
	struct prefix *cidr;
	size_t n_cidrs;
};

struct peers {
	const struct config *config;
	const struct store *store;
	struct node *node;
	struct loop *loop;
	struct dp *dp; /* NULL: nothing is written */
	struct peer_numbers numbers;
	struct arena *arena;    /* of all that follows */
	struct peer_node *peer; /* sorted by name */
	size_t n;
	struct desired_node *addr; /* of nodes, sorted */
	size_t n_addrs;
	struct desired_cidr *cidr; /* sorted by address, bits; none overlap */
	size_t n_cidrs;
	struct addr own[FAMILY__COUNT]; /* this node's, by its Node; zero */
	struct addr underlay;           /* the one that peers send to */
	uint64_t source; /* a hash of what the lists are of; 0: none yet */
	uint64_t facts;  /* a hash of the lists; those that the kernel has: */
	uint64_t facts_put;    /* 0: none */
	json_t *problems;      /* [{object, error}] */
	struct loop_task sync; /* routes */
	struct loop_timer retry;
	struct err last_error; /* of the routes, as logged */
};

int peers_open(struct peers *peers, struct err *err);
void peers_close(struct peers *peers);

/* Read the Node objects, if one changed.  0 or -ENOMEM; what is wrong is in
 * problems. */
int peers_update(struct peers *peers);
/* By name; NULL. */
const struct peer_node *peers_find(const struct peers *peers, const char *name);
/* Before the addresses are put: nodes that are there. */
int peers_put(struct peers *peers, struct err *err);
/* After the addresses are gone: nodes that are not. */
int peers_retire(struct peers *peers, struct err *err);
/* At the end of the loop's turn: the routes are compared and mended. */
void peers_schedule(struct peers *peers);

/* ---- peers_list.c -------------------------------------------------------- */

/* Fill all lists from the store, in @arena, which @peers takes. */
int peers_read(struct peers *peers, struct arena *arena);

/* ---- peer_routes.c ------------------------------------------------------- */

/* Make the routes those of the list; 0 or the first error. */
int peer_routes_sync(struct peers *peers, struct err *err);
