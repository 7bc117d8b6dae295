// SPDX-License-Identifier: Apache-2.0
/* intent.c - see intent.h. */
#include "daemon/intent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"

#define METADATA_NAME "kubernetes.io/metadata.name"

struct builder_of {
	const struct intent_input *input;
	struct arena *arena;
	struct intent *out;
	const struct pod **pod; /* room for all */
	size_t n_pods;
	const struct pod **here; /* of the store, that an endpoint stands for */
	size_t n_here;
	const struct namespace **ns; /* sorted */
	size_t n_ns, room_ns;
};

/* ---- endpoints ---------------------------------------------------------- */

/* Numbers are of use only while somebody has the interface. */
static bool is_here(const struct ep *ep)
{
	return ep->state != ENDPOINT_FREE && ep->ifindex;
}

static struct endpoint value_of(const struct ep *ep)
{
	struct endpoint value = {
		.ifindex = (__u32)ep->ifindex,
		.mtu = ep->mtu,
		.closed = ep->state != ENDPOINT_READY,
		.serial = ep->serial,
	};

	memcpy(value.mac, ep->mac, sizeof(value.mac));
	return value;
}

/* The addresses that CNI gave. */
static int addrs_give(struct builder_of *b, const struct ep *ep,
                      struct pod *pod)
{
	pod->endpoint = ep->number;
	pod->host_network = false;
	pod->finished = false; /* containers end, the interface lives */
	pod->n_addrs = 0;
	pod->addr = arena_array(b->arena, FAMILY__COUNT, sizeof(*pod->addr));
	if (!pod->addr)
		return -ENOMEM;
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (!addr_is_zero(&ep->addr[f]))
			pod->addr[pod->n_addrs++] = ep->addr[f];
	return 0;
}

static const struct store_object *object_of(const struct store *store,
                                            const struct ep *ep)
{
	const struct pod *pod = store_pod(store, ep->pod_ns, ep->pod_name);

	return pod ? container_of(pod, struct store_object, object.pod) : NULL;
}

/* What is known of the endpoint's pod; nothing: it is held, without a name. */
static int pod_find(struct builder_of *b, const struct ep *ep, struct pod *ret)
{
	const struct store_object *object;
	int r;

	*ret = (struct pod){.name = ep->container_id};
	if (!ep->pod_name[0])
		return 0;
	object = object_of(b->input->store, ep);
	if (object) {
		b->here[b->n_here++] = &object->object.pod;
		*ret = object->object.pod;
		return last_pod_note(b->input->last, ep, object);
	}
	r = last_pod_get(b->input->last, ep, b->arena, ret);
	if (r == -ENOENT) {
		b->out->keep[ep->number] = b->out->unknown[ep->number] = true;
		return 0;
	}
	return r;
}

static int endpoint_add(struct builder_of *b, const struct ep *ep)
{
	struct pod *pod;
	int r;

	if (!is_here(ep))
		return 0;
	b->out->endpoint[ep->number] = value_of(ep);
	if (ep->state != ENDPOINT_READY) {
		b->out->keep[ep->number] = true;
		return 0;
	}
	pod = arena_alloc(b->arena, sizeof(*pod));
	if (!pod)
		return -ENOMEM;
	r = pod_find(b, ep, pod);
	if (!r)
		r = addrs_give(b, ep, pod);
	b->pod[b->n_pods++] = pod;
	return r;
}

static int endpoints_add(struct builder_of *b)
{
	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		const struct ep *ep = &b->input->endpoints->ep[i];
		int r;

		if (ep->state == ENDPOINT_FREE)
			last_pod_drop(b->input->last, (uint16_t)i);
		r = endpoint_add(b, ep);
		if (r)
			return r;
	}
	return 0;
}

/* ---- pods of the store -------------------------------------------------- */

static int pointer_compare(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

static bool is_ours(const struct config *config, const struct addr *addr)
{
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (config->has_pod_cidr[f] &&
		    prefix_contains(&config->pod_cidr[f], addr))
			return true;
	return false;
}

/*
 * Addresses of our own CIDRs are those of endpoints, or nobody's: what a status
 * says of them is old.
 */
static const struct pod *pod_strip(struct builder_of *b, const struct pod *pod)
{
	struct pod *copy = NULL;

	for (size_t i = 0; i < pod->n_addrs; i++) {
		if (!is_ours(b->input->config, &pod->addr[i])) {
			if (copy)
				copy->addr[copy->n_addrs++] = pod->addr[i];
			continue;
		}
		if (copy)
			continue;
		copy = arena_alloc(b->arena, sizeof(*copy));
		if (!copy)
			return NULL;
		*copy = *pod;
		copy->n_addrs = i;
		copy->addr = arena_array(b->arena, pod->n_addrs,
		                         sizeof(*copy->addr));
		if (!copy->addr)
			return NULL;
		memcpy(copy->addr, pod->addr, i * sizeof(*copy->addr));
	}
	return copy ? copy : pod;
}

static int pod_add(struct builder_of *b, const struct pod *pod)
{
	const struct pod *stripped;

	if (b->n_here && bsearch(&pod, b->here, b->n_here,
	                         sizeof(const struct pod *), pointer_compare))
		return 0;
	stripped = pod_strip(b, pod);
	if (!stripped)
		return -ENOMEM;
	b->pod[b->n_pods++] = stripped;
	return 0;
}

/* ---- namespaces --------------------------------------------------------- */

static int ns_compare(const void *a, const void *b)
{
	return strcmp((*(const struct namespace *const *)a)->name,
	              (*(const struct namespace *const *)b)->name);
}

/* Where @name is, or belongs. */
static size_t ns_at(const struct builder_of *b, const char *name)
{
	size_t lo = 0, hi = b->n_ns;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (strcmp(b->ns[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The API server makes a namespace before what is in it; a directory need
 * not hold it, and it has the label that every namespace has. */
static const struct namespace *ns_implied(struct builder_of *b,
                                          const char *name)
{
	struct namespace *ns = arena_alloc(b->arena, sizeof(*ns));
	struct label *label = arena_alloc(b->arena, sizeof(*label));

	if (!ns || !label)
		return NULL;
	*label = (struct label){METADATA_NAME, name};
	*ns = (struct namespace){
		.name = name, .labels = {.item = label, .n = 1}
        };
	return ns;
}

static int ns_need(struct builder_of *b, const char *name)
{
	const size_t at = name ? ns_at(b, name) : 0;
	const struct namespace *ns;

	if (!name || (at < b->n_ns && !strcmp(b->ns[at]->name, name)))
		return 0;
	if (b->n_ns == b->room_ns) {
		const size_t room = b->room_ns * 2 + 16;
		const struct namespace **more =
			arena_array(b->arena, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		if (b->n_ns)
			memcpy(more, b->ns, b->n_ns * sizeof(*more));
		b->ns = more;
		b->room_ns = room;
	}
	ns = ns_implied(b, name);
	if (!ns)
		return -ENOMEM;
	memmove(b->ns + at + 1, b->ns + at, (b->n_ns - at) * sizeof(*b->ns));
	b->ns[at] = ns;
	b->n_ns++;
	return 0;
}

/* ---- everything --------------------------------------------------------- */

static int netpol_compare(const void *a, const void *b)
{
	const struct netpol *x = *(const struct netpol *const *)a;
	const struct netpol *y = *(const struct netpol *const *)b;
	const int order = strcmp(x->ns, y->ns);

	return order ? order : strcmp(x->name, y->name);
}

static int arrays_make(struct builder_of *b, const struct netpol ***ret_netpol)
{
	const struct store_object *object;
	size_t n[OBJECT__COUNT] = {};

	for (object = b->input->store->objects; object;
	     object = object->hh.next)
		n[object->object.kind]++;
	b->pod = arena_array(b->arena, n[OBJECT_POD] + ENDPOINT_MAX,
	                     sizeof(*b->pod));
	b->here = arena_array(b->arena, ENDPOINT_MAX, sizeof(*b->here));
	b->room_ns = n[OBJECT_NAMESPACE];
	b->ns = arena_array(b->arena, b->room_ns, sizeof(*b->ns));
	*ret_netpol =
		arena_array(b->arena, n[OBJECT_NETPOL], sizeof(**ret_netpol));
	return b->pod && b->here && b->ns && *ret_netpol ? 0 : -ENOMEM;
}

static int objects_add(struct builder_of *b, const struct netpol **netpol)
{
	struct world *world = &b->out->world;
	const struct store_object *object;
	int r = 0;

	for (object = b->input->store->objects; object && !r;
	     object = object->hh.next) {
		if (object->object.kind == OBJECT_POD)
			r = pod_add(b, &object->object.pod);
		else if (object->object.kind == OBJECT_NAMESPACE)
			b->ns[b->n_ns++] = &object->object.ns;
		else if (object->object.kind == OBJECT_NETPOL)
			netpol[world->n_netpols++] = &object->object.netpol;
	}
	if (b->n_ns)
		qsort(b->ns, b->n_ns, sizeof(*b->ns), ns_compare);
	if (world->n_netpols)
		qsort(netpol, world->n_netpols, sizeof(struct netpol *),
		      netpol_compare);
	for (size_t i = 0; i < b->n_pods && !r; i++)
		r = ns_need(b, b->pod[i]->ns);
	for (size_t i = 0; i < world->n_netpols && !r; i++)
		r = ns_need(b, netpol[i]->ns);
	return r;
}

/* Policies that select every pod of a namespace need no labels. */
static void unknown_shut(const struct builder_of *b)
{
	const struct world *world = &b->out->world;

	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		const char *ns = b->input->endpoints->ep[i].pod_ns;

		for (size_t n = 0; b->out->unknown[i] && n < world->n_netpols;
		     n++) {
			const struct netpol *netpol = world->netpol[n];

			if (netpol->pod_selector.n || strcmp(netpol->ns, ns))
				continue;
			for (int dir = 0; dir < DIR__COUNT; dir++)
				b->out->shut[i][dir] |= netpol->applies[dir];
		}
	}
}

/* The node reads its addresses anew when it likes. */
static int node_copy(const struct intent_input *input, struct arena *arena,
                     struct world *world)
{
	const struct peers *peers = input->peers;
	const size_t others = peers ? peers->n_addrs : 0;
	const struct node *node = input->node;
	struct node_addr *addr =
		arena_array(arena, node->n_addrs + others, sizeof(*addr));

	if (!addr)
		return -ENOMEM;
	if (node->n_addrs)
		memcpy(addr, node->addr, node->n_addrs * sizeof(*addr));
	for (size_t i = 0; i < others; i++)
		addr[node->n_addrs + i].addr = peers->addr[i].addr;
	world->node = addr;
	world->n_nodes = node->n_addrs + others;
	return 0;
}

static int desired_order(const void *a, const void *b)
{
	return addr_compare(&((const struct desired_node *)a)->addr,
	                    &((const struct desired_node *)b)->addr);
}

/* Nodes' addresses, and those of pods by the node that they say. */
static int nodes_find(struct builder_of *b)
{
	const struct peers *peers = b->input->peers;
	size_t n = peers->n_addrs;
	struct desired_node *node;

	for (size_t i = 0; i < b->n_pods; i++)
		n += b->pod[i]->n_addrs;
	node = arena_array(b->arena, n, sizeof(*node));
	if (!node)
		return -ENOMEM;
	n = peers->n_addrs;
	if (n)
		memcpy(node, peers->addr, n * sizeof(*node));
	for (size_t i = 0; i < b->n_pods; i++) {
		const struct pod *pod = b->pod[i];
		const struct peer_node *peer = NULL;

		if (!pod->endpoint && !pod->host_network && !pod->finished &&
		    pod->node)
			peer = peers_find(peers, pod->node);
		for (size_t j = 0; peer && j < pod->n_addrs; j++)
			node[n++] = (struct desired_node){
				.addr = pod->addr[j], .number = peer->number};
	}
	if (n)
		qsort(node, n, sizeof(*node), desired_order);
	b->out->node = node;
	b->out->n_nodes = n;
	return 0;
}

int intent_build(const struct intent_input *input, struct arena *arena,
                 struct intent *ret)
{
	struct builder_of b = {.input = input, .arena = arena, .out = ret};
	const struct netpol **netpol = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = arrays_make(&b, &netpol);
	if (!r)
		r = endpoints_add(&b);
	if (!r && b.n_here)
		qsort(b.here, b.n_here, sizeof(*b.here), pointer_compare);
	if (!r)
		r = objects_add(&b, netpol);
	if (r)
		return r;
	ret->world.ns = b.ns;
	ret->world.n_ns = b.n_ns;
	ret->world.pod = b.pod;
	ret->world.n_pods = b.n_pods;
	ret->world.netpol = netpol;
	unknown_shut(&b);
	r = node_copy(input, arena, &ret->world);
	return r || !input->peers ? r : nodes_find(&b);
}
