// SPDX-License-Identifier: Apache-2.0
/* peers_list.c - from Node objects to a list without contradictions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/peers.h"
#include "lib/addr.h"

/* Everything new, until the whole is taken. */
struct reading {
	struct peers *peers;
	struct arena *arena;
	const struct node_object **object; /* of other nodes, sorted */
	size_t n_objects;
	const struct node_object *own;
	struct peer_node *peer;
	size_t n;
	struct desired_node *addr;
	size_t n_addrs;
	struct desired_cidr *cidr;
	size_t n_cidrs;
	struct desired_node
		*old; /* what the map holds, when nothing is written */
	size_t n_old;
	struct addr own_addr[FAMILY__COUNT], underlay;
};

static void problem(struct reading *r, const char *node, const char *error)
{
	char object[300];

	snprintf(object, sizeof(object), "Node/%.254s", node);
	(void)json_array_append_new(
		r->peers->problems,
		json_pack("{s:s, s:s}", "object", object, "error", error));
}

/* ---- this node ---------------------------------------------------------- */

/* Addresses that no packet may bear on a wire are not believed. */
static bool is_usable(const struct addr *addr)
{
	const struct prefix whole = {.addr = *addr, .bits = 128};

	return !addr_is_zero(addr) && !prefix_is_reserved(&whole);
}

static void own_read(struct reading *r)
{
	const struct node_object *own = r->own;

	for (size_t i = 0; own && i < own->n_internal; i++) {
		struct addr *to = &r->own_addr[addr_family(&own->internal[i])];

		if (!is_usable(&own->internal[i]))
			continue;
		if (addr_is_zero(to))
			*to = own->internal[i];
		if (addr_is_zero(&r->underlay))
			r->underlay = own->internal[i];
	}
}

/* ---- numbers ------------------------------------------------------------ */

static int name_compare(const void *a, const void *b)
{
	return strcmp((*(const struct node_object *const *)a)->name,
	              (*(const struct node_object *const *)b)->name);
}

static int name_find(const void *key, const void *object)
{
	return strcmp(key, (*(const struct node_object *const *)object)->name);
}

static bool is_here(const char *name, void *user)
{
	const struct reading *r = user;

	return r->n_objects && bsearch(name, r->object, r->n_objects,
	                               sizeof(*r->object), name_find);
}

static int old_note(const void *key, const void *value, void *user)
{
	const struct node_info *info = value;
	const uint32_t number = *(const uint32_t *)key;
	struct reading *r = user;

	if (number && number < NODE_MAX && !addr_is_zero(&info->underlay))
		r->old[r->n_old++] = (struct desired_node){
			.addr = info->underlay, .number = (uint16_t)number};
	return 0;
}

/* A node's number is in flows: without our file the map still tells it. */
static int old_read(struct reading *r)
{
	struct peers *peers = r->peers;

	if (!peers->dp || !r->n_objects ||
	    json_object_size(peers->numbers.number))
		return 0;
	r->old = arena_array(r->arena, NODE_MAX, sizeof(*r->old));
	return r->old ? dp_map_each(dp_map_fd(peers->dp, "nodes"), old_note, r)
	              : -ENOMEM;
}

static uint16_t old_number(const struct reading *r, const struct addr *underlay)
{
	for (size_t i = 0; i < r->n_old; i++)
		if (!addr_compare(&r->old[i].addr, underlay))
			return r->old[i].number;
	return 0;
}

/* ---- one node ----------------------------------------------------------- */

/* The first of our own underlay's family, else the first. */
static struct addr underlay_of(const struct reading *r,
                               const struct peer_node *peer)
{
	for (size_t i = 0; i < peer->n_internal; i++)
		if (!addr_is_zero(&r->underlay) &&
		    addr_family(&peer->addr[i]) == addr_family(&r->underlay))
			return peer->addr[i];
	return peer->n_internal ? peer->addr[0] : (struct addr){};
}

static int addrs_read(struct reading *r, const struct node_object *object,
                      struct peer_node *peer)
{
	peer->addr =
		arena_array(r->arena, object->n_internal + object->n_external,
	                    sizeof(*peer->addr));
	if (!peer->addr)
		return -ENOMEM;
	for (size_t i = 0; i < object->n_internal; i++)
		if (is_usable(&object->internal[i]))
			peer->addr[peer->n_addrs++] = object->internal[i];
	peer->n_internal = peer->n_addrs;
	for (size_t i = 0; i < object->n_external; i++)
		if (is_usable(&object->external[i]))
			peer->addr[peer->n_addrs++] = object->external[i];
	if (peer->n_addrs < object->n_internal + object->n_external)
		problem(r, peer->name,
		        "an address that is no node's; the others are used");
	peer->underlay = underlay_of(r, peer);
	return 0;
}

static bool cidr_meets(const struct prefix *a, const struct prefix *b)
{
	return a->bits < b->bits ? prefix_contains(a, &b->addr)
	                         : prefix_contains(b, &a->addr);
}

static bool cidr_is_ours(const struct reading *r, const struct prefix *cidr)
{
	const struct config *config = r->peers->config;

	for (int f = 0; f < FAMILY__COUNT; f++)
		if (config->has_pod_cidr[f] &&
		    cidr_meets(&config->pod_cidr[f], cidr))
			return true;
	return false;
}

static int cidrs_read(struct reading *r, const struct node_object *object,
                      struct peer_node *peer)
{
	peer->cidr =
		arena_array(r->arena, object->n_cidrs, sizeof(*peer->cidr));
	if (!peer->cidr)
		return -ENOMEM;
	for (size_t i = 0; i < object->n_cidrs; i++) {
		const struct prefix *cidr = &object->cidr[i];

		if (prefix_is_reserved(cidr))
			problem(r, peer->name,
			        "a pod CIDR holds addresses that are "
			        "reserved; it is passed over");
		else if (cidr_is_ours(r, cidr))
			problem(r, peer->name,
			        "a pod CIDR overlaps with this node's own; "
			        "it is passed over");
		else
			peer->cidr[peer->n_cidrs++] = *cidr;
	}
	return 0;
}

static int peer_read(struct reading *r, const struct node_object *object)
{
	struct peer_node *peer = &r->peer[r->n];
	int e;

	*peer = (struct peer_node){
		.name = arena_strdup(r->arena, object->name)};
	if (!peer->name)
		return -ENOMEM;
	e = addrs_read(r, object, peer);
	if (!e)
		e = cidrs_read(r, object, peer);
	if (e)
		return e;
	peer->number = peer_number(&r->peers->numbers, peer->name,
	                           old_number(r, &peer->underlay), is_here, r);
	if (!peer->number) {
		problem(r, peer->name,
		        "every node number is in use; its pods are not "
		        "reached");
		return 0;
	}
	for (size_t i = 0; i < peer->n_addrs; i++)
		r->addr[r->n_addrs++] = (struct desired_node){
			.addr = peer->addr[i], .number = peer->number};
	for (size_t i = 0; i < peer->n_cidrs; i++)
		r->cidr[r->n_cidrs++] = (struct desired_cidr){
			.prefix = peer->cidr[i], .number = peer->number};
	r->n++;
	return 0;
}

/* ---- contradictions ----------------------------------------------------- */

static const char *name_of(const struct reading *r, uint16_t number)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->peer[i].number == number)
			return r->peer[i].name;
	return "?";
}

static int addr_order(const void *a, const void *b)
{
	const struct desired_node *x = a, *y = b;
	const int order = addr_compare(&x->addr, &y->addr);

	return order ? order : x->number - y->number;
}

static int cidr_order(const void *a, const void *b)
{
	const struct desired_cidr *x = a, *y = b;
	const int order = addr_compare(&x->prefix.addr, &y->prefix.addr);

	if (order)
		return order;
	if (x->prefix.bits != y->prefix.bits)
		return x->prefix.bits - y->prefix.bits;
	return x->number - y->number;
}

/* The node that had it first, by its number, keeps it. */
static void addrs_settle(struct reading *r)
{
	size_t n = 0;

	if (r->n_addrs)
		qsort(r->addr, r->n_addrs, sizeof(*r->addr), addr_order);
	for (size_t i = 0; i < r->n_addrs; i++) {
		if (n &&
		    !addr_compare(&r->addr[n - 1].addr, &r->addr[i].addr)) {
			if (r->addr[n - 1].number != r->addr[i].number)
				problem(r, name_of(r, r->addr[i].number),
				        "an address is another node's too; "
				        "that one keeps it");
			continue;
		}
		r->addr[n++] = r->addr[i];
	}
	r->n_addrs = n;
}

/* Sorted, an overlap is with the one before: the wider one keeps it. */
static void cidrs_settle(struct reading *r)
{
	size_t n = 0;

	if (r->n_cidrs)
		qsort(r->cidr, r->n_cidrs, sizeof(*r->cidr), cidr_order);
	for (size_t i = 0; i < r->n_cidrs; i++) {
		if (n &&
		    cidr_meets(&r->cidr[n - 1].prefix, &r->cidr[i].prefix)) {
			problem(r, name_of(r, r->cidr[i].number),
			        "a pod CIDR overlaps with another node's; "
			        "it is passed over");
			continue;
		}
		r->cidr[n++] = r->cidr[i];
	}
	r->n_cidrs = n;
}

/* ---- all ---------------------------------------------------------------- */

static int objects_find(struct reading *r)
{
	const struct store_object *object = r->peers->store->objects;
	size_t n = 0, addrs = 0, cidrs = 0;

	for (; object; object = object->hh.next)
		n += object->object.kind == OBJECT_NODE;
	r->object = arena_array(r->arena, n, sizeof(*r->object));
	if (!r->object)
		return -ENOMEM;
	for (object = r->peers->store->objects; object;
	     object = object->hh.next) {
		const struct node_object *node = &object->object.node;

		if (object->object.kind != OBJECT_NODE)
			continue;
		if (!strcmp(node->name, r->peers->config->node_name)) {
			r->own = node;
			continue;
		}
		r->object[r->n_objects++] = node;
		addrs += node->n_internal + node->n_external;
		cidrs += node->n_cidrs;
	}
	r->peer = arena_array(r->arena, n, sizeof(*r->peer));
	r->addr = arena_array(r->arena, addrs, sizeof(*r->addr));
	r->cidr = arena_array(r->arena, cidrs, sizeof(*r->cidr));
	if (r->n_objects)
		qsort(r->object, r->n_objects, sizeof(*r->object),
		      name_compare);
	return r->peer && r->addr && r->cidr ? 0 : -ENOMEM;
}

int peers_read(struct peers *peers, struct arena *arena)
{
	struct reading r = {.peers = peers, .arena = arena};
	int e = objects_find(&r);

	own_read(&r);
	if (!e)
		e = old_read(&r);
	for (size_t i = 0; i < r.n_objects && !e; i++)
		e = peer_read(&r, r.object[i]);
	if (e)
		return e;
	addrs_settle(&r);
	cidrs_settle(&r);
	arena_free(peers->arena);
	peers->arena = arena;
	peers->peer = r.peer;
	peers->n = r.n;
	peers->addr = r.addr;
	peers->n_addrs = r.n_addrs;
	peers->cidr = r.cidr;
	peers->n_cidrs = r.n_cidrs;
	memcpy(peers->own, r.own_addr, sizeof(peers->own));
	peers->underlay = r.underlay;
	return 0;
}
