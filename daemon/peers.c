// SPDX-License-Identifier: Apache-2.0
/* peers.c - see peers.h. */
#include "daemon/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"
#include "policy/index.h"

#define RETRY_NS (5ull * 1000000000)

static void sync_run(struct loop_task *task)
{
	struct peers *peers = container_of(task, struct peers, sync);
	struct err err = {};

	if (!peers->store->synced)
		return;
	if (!peer_routes_sync(peers, &err)) {
		peers->last_error.text[0] = 0;
		return;
	}
	if (strcmp(peers->last_error.text, err.text) != 0)
		log_err("routes to other nodes' pods: %s; it is tried again",
		        err.text);
	peers->last_error = err;
	loop_timer_arm(peers->loop, &peers->retry, RETRY_NS);
}

static void retry_due(struct loop_timer *timer)
{
	peers_schedule(container_of(timer, struct peers, retry));
}

int peers_open(struct peers *peers, struct err *err)
{
	struct err why = {};
	int r = peer_numbers_open(&peers->numbers, peers->config->state_dir,
	                          &why);

	if (r)
		return err_set(err, r, "%s", why.text);
	if (why.text[0])
		log_warn("%s", why.text);
	peers->sync.run = sync_run;
	peers->retry.due = retry_due;
	peers->problems = json_array();
	return peers->problems ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void peers_close(struct peers *peers)
{
	if (peers->sync.run) {
		loop_task_cancel(peers->loop, &peers->sync);
		loop_timer_cancel(peers->loop, &peers->retry);
	}
	peer_numbers_close(&peers->numbers);
	arena_free(peers->arena);
	json_decref(peers->problems);
	*peers = (struct peers){};
}

void peers_schedule(struct peers *peers)
{
	if (peers->dp)
		loop_task_schedule(peers->loop, &peers->sync);
}

/* Those that were not said before. */
static void problems_say(const json_t *old, const json_t *new)
{
	json_t *problem, *known;
	size_t i, j;

	json_array_foreach(new, i, problem)
	{
		bool said = false;

		json_array_foreach(old, j, known) said =
			said || json_equal(problem, known);
		if (!said)
			log_err("%s: %s",
			        json_string_value(
					json_object_get(problem, "object")),
			        json_string_value(
					json_object_get(problem, "error")));
	}
}

/* Passes are many, and most change nothing of the nodes. */
static uint64_t facts_of(const struct peers *peers)
{
	uint64_t hash =
		hash_bytes(&peers->underlay, sizeof(peers->underlay), 0);

	hash = hash_bytes(peers->own, sizeof(peers->own), hash);
	for (size_t i = 0; i < peers->n; i++) {
		const struct peer_node *peer = &peers->peer[i];

		hash = hash_bytes(&peer->number, sizeof(peer->number), hash);
		hash = hash_bytes(&peer->underlay, sizeof(peer->underlay),
		                  hash);
		hash = hash_bytes(peer->addr,
		                  peer->n_addrs * sizeof(*peer->addr), hash);
		for (size_t c = 0; c < peer->n_cidrs; c++) {
			hash = hash_bytes(&peer->cidr[c].addr,
			                  sizeof(peer->cidr[c].addr), hash);
			hash = hash_bytes(&peer->cidr[c].bits, 1, hash);
		}
	}
	return hash ? hash : 1;
}

/* All that the lists are read from; never 0. */
static uint64_t source_of(const struct peers *peers)
{
	const struct config *config = peers->config;
	const uint64_t nodes = peers->store->changed[OBJECT_NODE];
	uint64_t hash =
		hash_bytes(config->pod_cidr, sizeof(config->pod_cidr), nodes);

	hash = hash_bytes(config->has_pod_cidr, sizeof(config->has_pod_cidr),
	                  hash);
	return hash ? hash : 1;
}

static int lists_read(struct peers *peers)
{
	struct arena *arena = arena_new(0);
	json_t *old = peers->problems;
	int r;

	peers->problems = json_array();
	r = arena && peers->problems ? peers_read(peers, arena) : -ENOMEM;
	if (r) {
		arena_free(arena);
		json_decref(peers->problems);
		peers->problems = old;
		return r;
	}
	peers->source = source_of(peers);
	peers->facts = facts_of(peers);
	problems_say(old, peers->problems);
	json_decref(old);
	return 0;
}

int peers_update(struct peers *peers)
{
	struct err err = {};
	int r = peers->source == source_of(peers) ? 0 : lists_read(peers);

	if (r)
		return r;
	if (peers->dp && peer_numbers_save(&peers->numbers, &err))
		log_err("%s; after a restart nodes may get new numbers",
		        err.text);
	if (!addr_is_zero(&peers->underlay))
		node_underlay_set(peers->node, addr_family(&peers->underlay));
	return 0;
}

static int name_compare(const void *key, const void *peer)
{
	return strcmp(key, ((const struct peer_node *)peer)->name);
}

const struct peer_node *peers_find(const struct peers *peers, const char *name)
{
	return peers->n ? bsearch(name, peers->peer, peers->n,
	                          sizeof(*peers->peer), name_compare)
	                : NULL;
}

/* ---- the map of nodes ---------------------------------------------------- */

struct nodes_want {
	const struct addr *underlay[NODE_MAX];
	struct peers *peers;
	bool retire; /* zero those that are gone; else put those that are */
	int error;
};

static int node_compare(const void *key, const void *value, void *user)
{
	static const struct node_info none;
	struct nodes_want *want = user;
	const uint32_t number = *(const uint32_t *)key;
	const struct node_info *have = value;
	struct node_info info = {};
	int r;

	/* Our own end stays what it was while our Node is not there. */
	if (number >= NODE_MAX || (!number && want->retire))
		return 0;
	if (want->underlay[number])
		info.underlay = *want->underlay[number];
	if (!memcmp(&info, have, sizeof(info)) ||
	    want->retire != !memcmp(&info, &none, sizeof(none)))
		return 0;
	r = dp_node_put(want->peers->dp, (uint16_t)number, &info);
	if (r && !want->error)
		want->error = r;
	return 0;
}

static int nodes_write(struct peers *peers, bool retire, struct err *err)
{
	struct nodes_want *want = calloc(1, sizeof(*want));
	int r = want ? 0 : -ENOMEM;

	if (!r) {
		want->peers = peers;
		want->retire = retire;
		want->underlay[0] = &peers->underlay;
		for (size_t i = 0; i < peers->n; i++)
			want->underlay[peers->peer[i].number] =
				&peers->peer[i].underlay;
		r = dp_map_each(dp_map_fd(peers->dp, "nodes"), node_compare,
		                want);
		if (!r)
			r = want->error;
	}
	free(want);
	return r ? err_set(err, r, "map nodes: %s", strerror(-r)) : 0;
}

int peers_put(struct peers *peers, struct err *err)
{
	return peers->facts == peers->facts_put
	               ? 0
	               : nodes_write(peers, false, err);
}

int peers_retire(struct peers *peers, struct err *err)
{
	int r;

	if (peers->facts == peers->facts_put)
		return 0;
	peers_schedule(peers);
	r = nodes_write(peers, true, err);
	if (!r)
		peers->facts_put = peers->facts;
	return r;
}
