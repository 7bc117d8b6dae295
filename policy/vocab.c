// SPDX-License-Identifier: Apache-2.0
/* vocab.c - see vocab.h. */
#include "policy/vocab.h"

#include <errno.h>
#include <string.h>

/* Both passes walk alike: the first counts, the second writes. */
struct walk {
	struct vocab *vocab;
	bool write;
};

static void keys_add(struct walk *w, const struct selector *sel,
                     const char **list, size_t *n)
{
	for (size_t i = 0; i < sel->n; i++) {
		if (w->write)
			list[*n] = sel->req[i].key;
		(*n)++;
	}
}

static void cidr_add(struct walk *w, const struct prefix *prefix)
{
	if (w->write)
		w->vocab->cidr[w->vocab->n_cidrs] = *prefix;
	w->vocab->n_cidrs++;
}

static void peer_add(struct walk *w, const struct peer *peer)
{
	struct vocab *vocab = w->vocab;

	vocab->n_peers++;
	if (peer->is_block) {
		cidr_add(w, &peer->block);
		for (size_t i = 0; i < peer->n_except; i++)
			cidr_add(w, &peer->except[i]);
		return;
	}
	if (peer->has_ns_selector)
		keys_add(w, &peer->ns_selector, vocab->ns_key,
		         &vocab->n_ns_keys);
	if (peer->has_pod_selector)
		keys_add(w, &peer->pod_selector, vocab->pod_key,
		         &vocab->n_pod_keys);
}

static void rule_add(struct walk *w, const struct rule *rule, enum dir dir)
{
	struct vocab *vocab = w->vocab;

	vocab->n_rules++;
	for (size_t i = 0; i < rule->n_peers; i++)
		peer_add(w, &rule->peer[i]);
	for (size_t i = 0; i < rule->n_ports && dir == DIR_EGRESS; i++) {
		if (!rule->port[i].name)
			continue;
		if (w->write)
			vocab->port[vocab->n_ports] = (struct port_word){
				rule->port[i].name, rule->port[i].proto};
		vocab->n_ports++;
	}
}

static void world_walk(struct walk *w, const struct world *world)
{
	for (size_t i = 0; i < world->n_netpols; i++)
		for (int dir = 0; dir < DIR__COUNT; dir++)
			for (size_t r = 0; r < world->netpol[i]->n_rules[dir];
			     r++)
				rule_add(w, &world->netpol[i]->rule[dir][r],
				         (enum dir)dir);
}

static int key_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int port_compare(const void *a, const void *b)
{
	const struct port_word *x = a, *y = b;
	int cmp = strcmp(x->name, y->name);

	return cmp ? cmp : x->proto - y->proto;
}

static size_t unique(void *list, size_t n, size_t size,
                     int (*compare)(const void *, const void *))
{
	char *item = list;
	size_t kept = 0;

	if (n)
		qsort(list, n, size, compare);
	for (size_t i = 0; i < n; i++) {
		if (kept && !compare(item + (kept - 1) * size, item + i * size))
			continue;
		if (kept != i)
			memcpy(item + kept * size, item + i * size, size);
		kept++;
	}
	return kept;
}

int vocab_collect(const struct world *world, struct arena *arena,
                  struct vocab *ret)
{
	struct vocab vocab = {};
	struct walk w = {.vocab = &vocab};

	world_walk(&w, world);
	vocab.pod_key =
		arena_array(arena, vocab.n_pod_keys, sizeof(*vocab.pod_key));
	vocab.ns_key =
		arena_array(arena, vocab.n_ns_keys, sizeof(*vocab.ns_key));
	vocab.port = arena_array(arena, vocab.n_ports, sizeof(*vocab.port));
	vocab.cidr = arena_array(arena, vocab.n_cidrs, sizeof(*vocab.cidr));
	if (!vocab.pod_key || !vocab.ns_key || !vocab.port || !vocab.cidr)
		return -ENOMEM;
	vocab.n_pod_keys = vocab.n_ns_keys = vocab.n_ports = 0;
	vocab.n_cidrs = vocab.n_rules = vocab.n_peers = 0;
	w.write = true;
	world_walk(&w, world);
	vocab.n_pod_keys = unique(vocab.pod_key, vocab.n_pod_keys,
	                          sizeof(*vocab.pod_key), key_compare);
	vocab.n_ns_keys = unique(vocab.ns_key, vocab.n_ns_keys,
	                         sizeof(*vocab.ns_key), key_compare);
	vocab.n_ports = unique(vocab.port, vocab.n_ports, sizeof(*vocab.port),
	                       port_compare);
	*ret = vocab;
	return 0;
}
