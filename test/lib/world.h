/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.h - small worlds for tests: random, or written as manifests.
 *
 * A world is kept as the manifests that make it, so that it goes through
 * object_parse(), can be edited, and can be printed when a test fails.
 *
 *	struct world_gen gen = {};
 *
 *	world_random(&gen, seed);          // or world_add(&gen, 1, "{…}"), …
 *	assert_int_equal(world_build(&gen, &err), 0);
 *	… gen.world …
 *	world_clear(&gen);
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "lib/arena.h"
#include "policy/policy.h"
#include "test/lib/rng.h"

#define WORLD_DOCS_MAX  64
#define WORLD_NODES_MAX 8
#define WORLD_NOTES_MAX 1024

struct world_doc {
	json_t *json;
	uint16_t endpoint; /* of a pod here; 0 */
	bool no_namespace; /* the daemon knows no manifest: ns becomes NULL */
};

/* What object_parse() made of a text; the arena is the caller's to free. */
struct parsed {
	struct arena *arena;
	struct object object;
	struct err err;
	int r;
};

struct world_gen {
	uint64_t seed;
	struct rng rng;
	struct world_doc doc[WORLD_DOCS_MAX];
	size_t n_docs;
	struct node_addr node[WORLD_NODES_MAX];
	size_t n_nodes;
	uint16_t next_endpoint;
	unsigned int next_name;

	/* Built: valid until the next build. */
	struct arena *arena;
	struct world world;
	struct addr note[WORLD_NOTES_MAX]; /* addresses worth a packet */
	size_t n_notes;
	uint16_t port[WORLD_NOTES_MAX]; /* ports worth a packet */
	size_t n_ports;
};

/* A packet; @port is the destination's, host order, 0 without ports. */
struct probe {
	struct addr src, dst;
	uint8_t proto;
	uint16_t port;
};

/* JSON with ' for ", made by printf; fails the program when it is none. */
__attribute__((format(printf, 1, 2))) json_t *doc_text(const char *fmt, ...);
/* @text: as doc_text() takes it.  The kind is none until it is read. */
struct parsed manifest_parse(const char *text);

/* Add a manifest; @endpoint: 0, or the number of a pod here. */
__attribute__((format(printf, 3, 4))) void world_add(struct world_gen *gen,
                                                     uint16_t endpoint,
                                                     const char *fmt, ...);
void world_add_node(struct world_gen *gen, const char *addr, bool local);
void world_remove(struct world_gen *gen, size_t doc);

/* Fill a zeroed @gen: every axis of the NetworkPolicy API, both families. */
void world_random(struct world_gen *gen, uint64_t seed);
/* One random change: a policy, a pod, labels, a phase, a node. */
void world_edit(struct world_gen *gen);

/* Parse the manifests into gen->world.  Return: 0 or what object_parse says. */
int world_build(struct world_gen *gen, struct err *err);
/* @to is zeroed; it shares the manifests and is not built. */
void world_copy(struct world_gen *to, const struct world_gen *from);
void world_clear(struct world_gen *gen);
void world_print(const struct world_gen *gen, FILE *out);

/* A packet that favours borders; source and destination of one family, and
 * one end at least is an address of a pod here when there is one. */
struct probe world_probe(struct world_gen *gen);
/* The pod with that name ("shop/web"), or with that endpoint; or NULL. */
const struct pod *world_pod(const struct world_gen *gen, const char *name);
const struct pod *world_endpoint(const struct world_gen *gen,
                                 uint16_t endpoint);
