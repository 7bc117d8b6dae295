// SPDX-License-Identifier: Apache-2.0
/*
 * object_fuzz.c - any text as manifests: parse, compile, ask, never disagree.
 *
 * The input is JSON: one manifest, or a list of them.  What can be read becomes
 * a world; every second pod or so is attached here.
 */
#include <stdlib.h>
#include <string.h>

#include "test/lib/oracle.h"
#include "test/lib/world.h"

#define PROBES 50

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct world_gen *gen, json_t *doc)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(1u << 20);
	struct object object;
	struct err err;
	uint16_t endpoint = (uint16_t)(gen->n_docs % 3 ? gen->n_docs : 0);

	if (gen->n_docs == WORLD_DOCS_MAX)
		return;
	if (object_parse(doc, arena, &object, &err)) {
		if (!err.text[0])
			abort(); /* refused without a word */
		return;
	}
	gen->doc[gen->n_docs++] = (struct world_doc){.json = json_incref(doc),
	                                             .endpoint = endpoint};
}

static bool same_name(const struct netpol *a, const struct netpol *b)
{
	return !strcmp(a->ns, b->ns) && !strcmp(a->name, b->name);
}

/* A source holds one object of a name. */
static void drop_namesakes(struct world *world)
{
	size_t kept = 0;

	for (size_t i = 0; i < world->n_netpols; i++)
		if (!kept ||
		    !same_name(world->netpol[kept - 1], world->netpol[i]))
			world->netpol[kept++] = world->netpol[i];
	world->n_netpols = kept;
	kept = 0;
	for (size_t i = 0; i < world->n_ns; i++)
		if (!kept ||
		    strcmp(world->ns[kept - 1]->name, world->ns[i]->name) != 0)
			world->ns[kept++] = world->ns[i];
	world->n_ns = kept;
}

static void compile_and_ask(struct world_gen *gen)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct compiled compiled;
	struct err err = {};
	unsigned long asked = 0;

	if (policy_compile(&gen->world, NULL, 0, arena, &compiled, &err)) {
		if (!err.text[0])
			abort();
		return; /* too large */
	}
	for (int i = 0; i < PROBES; i++) {
		struct probe probe = world_probe(gen);

		if (oracle_agrees(&gen->world, &compiled, &probe, &asked, &err))
			continue;
		fprintf(stderr, "%s\n", err.text);
		world_print(gen, stderr);
		abort();
	}
	if (!oracle_is_sound(&compiled, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world_gen gen = {};
	struct err err;
	json_t *doc, *item;
	size_t i;

	doc = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
	if (!doc)
		return 0;
	if (json_is_array(doc)) {
		json_array_foreach(doc, i, item) take(&gen, item);
	} else {
		take(&gen, doc);
	}
	world_add_node(&gen, "10.0.1.1", true);
	world_add_node(&gen, "fd00:0:0:1::2", false);
	if (world_build(&gen, &err))
		abort(); /* each was read before */
	drop_namesakes(&gen.world);
	compile_and_ask(&gen);
	world_clear(&gen);
	json_decref(doc);
	return 0;
}
