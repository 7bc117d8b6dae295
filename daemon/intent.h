/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intent.h - what the source, the attachments and the node say, as one world.
 *
 * A pod with an interface here has the addresses that CNI gave it, whatever its
 * status says, and is a pod until DEL.  An endpoint without a pod's name
 * belongs to no namespace.  One whose pod is not known (its manifest and our
 * copy of it are gone) is not judged anew: it keeps its slot, and is closed in
 * the directions in which a policy isolates all of its namespace.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/endpoint.h"
#include "daemon/last_pods.h"
#include "daemon/node.h"
#include "daemon/peers.h"
#include "daemon/store.h"
#include "lib/arena.h"
#include "policy/policy.h"

struct intent_input {
	const struct config *config;
	const struct store *store;
	const struct endpoints *endpoints;
	const struct node *node;
	struct last_pods *last;
	const struct peers *peers; /* NULL: no other nodes */
};

struct intent {
	struct world world; /* borrows the store's objects */
	struct endpoint endpoint[ENDPOINT_MAX]; /* but for their slots */
	bool keep[ENDPOINT_MAX];    /* closing, or not known: the slot stays */
	bool unknown[ENDPOINT_MAX]; /* of those that are ready */
	bool shut[ENDPOINT_MAX][DIR__COUNT]; /* of those */
	struct desired_node *node; /* whose addresses of others are; sorted */
	size_t n_nodes;
};

/* Return: 0 or -ENOMEM. */
int intent_build(const struct intent_input *input, struct arena *arena,
                 struct intent *ret);
