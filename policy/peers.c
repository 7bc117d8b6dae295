// SPDX-License-Identifier: Apache-2.0
/* peers.c - see peers.h. */
#include "policy/peers.h"

#include <errno.h>
#include <string.h>

#include "lib/addr.h"

#define CLASS_BIT(class) (1u << (class))

int peers_init(struct peers *peers, const struct identities *ids,
               size_t n_peers, struct arena *arena)
{
	struct peers p = {
		.ids = ids,
		.arena = arena,
		.text = {.arena = arena},
		.n = 1,
	};

	p.set = arena_array(arena, n_peers + 1, sizeof(*p.set));
	p.of_peer = arena_array(arena, n_peers, sizeof(*p.of_peer));
	p.kinds = arena_array(arena, ids->kinds.n, sizeof(*p.kinds));
	p.ns = arena_array(arena, ids->kinds.n_ns, sizeof(*p.ns));
	p.ns_hit = arena_array(arena, ids->kinds.n_ns, sizeof(*p.ns_hit));
	if (!p.set || !p.of_peer || !p.kinds || !p.ns || !p.ns_hit)
		return -ENOMEM;
	p.set[PEER_SET_ANY].classes = CLASS_BIT(CLASS_ANY);
	*peers = p;
	return 0;
}

/* ---- what was said, as bytes ------------------------------------------- */

static void say_selector(struct text *text, const struct selector *sel)
{
	text_put(text, &sel->n, sizeof(sel->n));
	for (size_t i = 0; i < sel->n; i++) {
		const struct requirement *req = &sel->req[i];

		text_put(text, &req->op, sizeof(req->op));
		text_put(text, &req->n_values, sizeof(req->n_values));
		text_put(text, req->key, strlen(req->key) + 1);
		for (size_t v = 0; v < req->n_values; v++)
			text_put(text, req->values[v],
			         strlen(req->values[v]) + 1);
	}
}

static void say_prefix(struct text *text, const struct prefix *prefix)
{
	text_put(text, &prefix->addr, sizeof(prefix->addr));
	text_put(text, &prefix->bits, sizeof(prefix->bits));
}

static void say_peer(struct text *text, const struct peer *peer, const char *ns)
{
	static const struct selector all = {};

	text->n = 0;
	if (peer->is_block) {
		text_puts(text, "block");
		say_prefix(text, &peer->block);
		for (size_t i = 0; i < peer->n_except; i++)
			say_prefix(text, &peer->except[i]);
		return;
	}
	text_puts(text, peer->has_ns_selector ? "pods" : "own");
	if (peer->has_ns_selector)
		say_selector(text, &peer->ns_selector);
	else
		text_put(text, ns, strlen(ns) + 1);
	say_selector(text, peer->has_pod_selector ? &peer->pod_selector : &all);
}

/* ---- an ipBlock -------------------------------------------------------- */

static int offset_compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (x[0] > y[0]) - (x[0] < y[0]);
}

/* The excepts as [from, to) of by_cidr.item, sorted by from. */
static int holes_find(const struct peers *peers, const struct peer *peer,
                      uint32_t (**ret)[2])
{
	const struct cidrs *cidrs = &peers->ids->cidrs;
	const uint32_t *start = peers->ids->by_cidr.start;
	uint32_t(*hole)[2] =
		arena_array(peers->arena, peer->n_except, sizeof(*hole));

	if (!hole)
		return -ENOMEM;
	for (size_t i = 0; i < peer->n_except; i++) {
		uint32_t c = cidrs_of(cidrs, &peer->except[i]);

		hole[i][0] = start[c];
		hole[i][1] = start[cidrs->cidr[c].end];
	}
	qsort(hole, peer->n_except, sizeof(*hole), offset_compare);
	*ret = hole;
	return 0;
}

/*
 * What lies in a CIDR stands together in by_cidr, so a block without except
 * is a piece of that list, and excepts are gaps in it.
 */
static int block_set(struct peers *peers, const struct peer *peer,
                     struct peer_set *set)
{
	const struct identities *ids = peers->ids;
	uint32_t c = cidrs_of(&ids->cidrs, &peer->block);
	const struct cidr *cidr = &ids->cidrs.cidr[c];
	uint32_t from = ids->by_cidr.start[c];
	uint32_t to = ids->by_cidr.start[cidr->end];
	uint32_t(*hole)[2], *kept;

	if (cidr->root && !peer->n_except) {
		set->classes = c == ids->cidrs.v6
		                       ? CLASS_BIT(CLASS_POD6) |
		                                 CLASS_BIT(CLASS_NODE6) |
		                                 CLASS_BIT(CLASS_WORLD6)
		                       : CLASS_BIT(CLASS_POD4) |
		                                 CLASS_BIT(CLASS_NODE4) |
		                                 CLASS_BIT(CLASS_WORLD4);
		return 0;
	}
	if (!peer->n_except) {
		set->ident = ids->by_cidr.item + from;
		set->n = to - from;
		return 0;
	}
	kept = arena_array(peers->arena, to - from, sizeof(*kept));
	if (!kept || holes_find(peers, peer, &hole))
		return -ENOMEM;
	set->ident = kept;
	for (size_t h = 0; from < to; h++) {
		uint32_t stop = h < peer->n_except ? hole[h][0] : to;

		for (; from < stop; from++)
			kept[set->n++] = ids->by_cidr.item[from];
		if (h < peer->n_except && hole[h][1] > from)
			from = hole[h][1];
	}
	return 0;
}

/* ---- selectors --------------------------------------------------------- */

/* The kinds of one namespace that the pod selector matches. */
static size_t kinds_in_ns(struct peers *peers, const struct kind_ns *ns,
                          const struct selector *sel, uint32_t *ret)
{
	return label_index_select(&peers->ids->kinds.by_label, sel, ns->first,
	                          ns->end, ret);
}

/* With many namespaces: all kinds that match, less those of the others. */
static size_t kinds_in_many(struct peers *peers, size_t n_ns,
                            const struct selector *sel)
{
	const struct kinds *kinds = &peers->ids->kinds;
	size_t n = label_index_select(&kinds->by_label, sel, 0,
	                              (uint32_t)kinds->n, peers->kinds);
	size_t kept = 0;

	for (size_t i = 0; i < n_ns; i++)
		peers->ns_hit[peers->ns[i]] = true;
	for (size_t i = 0; i < n; i++)
		if (peers->ns_hit[kinds->kind[peers->kinds[i]].ns])
			peers->kinds[kept++] = peers->kinds[i];
	for (size_t i = 0; i < n_ns; i++)
		peers->ns_hit[peers->ns[i]] = false;
	return kept;
}

/* The kinds meant, in peers->kinds.  Return: how many. */
static size_t kinds_select(struct peers *peers, const struct peer *peer,
                           const char *own)
{
	static const struct selector all = {};
	const struct kinds *kinds = &peers->ids->kinds;
	const struct selector *sel =
		peer->has_pod_selector ? &peer->pod_selector : &all;
	size_t n_ns, n = 0;

	if (!peer->has_ns_selector) {
		const struct kind_ns *ns = kinds_in(kinds, own);

		return ns ? kinds_in_ns(peers, ns, sel, peers->kinds) : 0;
	}
	if (!peer->ns_selector.n)
		return label_index_select(&kinds->by_label, sel, 0,
		                          (uint32_t)kinds->n, peers->kinds);
	n_ns = label_index_select(&kinds->ns_by_label, &peer->ns_selector, 0,
	                          (uint32_t)kinds->n_ns, peers->ns);
	if (n_ns > 8)
		return kinds_in_many(peers, n_ns, sel);
	for (size_t i = 0; i < n_ns; i++)
		n += kinds_in_ns(peers, &kinds->ns[peers->ns[i]], sel,
		                 peers->kinds + n);
	return n;
}

static int selector_set(struct peers *peers, const struct peer *peer,
                        const char *own, struct peer_set *set)
{
	const struct groups *by_kind = &peers->ids->by_kind;
	size_t n_kinds, n = 0;
	uint32_t *ident;

	if (peer->has_ns_selector && !peer->ns_selector.n &&
	    (!peer->has_pod_selector || !peer->pod_selector.n)) {
		set->classes = CLASS_BIT(CLASS_POD4) | CLASS_BIT(CLASS_POD6);
		return 0;
	}
	n_kinds = kinds_select(peers, peer, own);
	for (size_t i = 0; i < n_kinds; i++)
		n += by_kind->start[peers->kinds[i] + 1] -
		     by_kind->start[peers->kinds[i]];
	ident = arena_array(peers->arena, n, sizeof(*ident));
	if (!ident)
		return -ENOMEM;
	for (size_t i = 0; i < n_kinds; i++)
		for (uint32_t j = by_kind->start[peers->kinds[i]];
		     j < by_kind->start[peers->kinds[i] + 1]; j++)
			ident[set->n++] = by_kind->item[j];
	set->ident = ident;
	return 0;
}

static int set_work_out(struct peers *peers, const struct peer *peer,
                        const char *ns, uint64_t hash, uint32_t *ret)
{
	struct peer_set set = {.said_bytes = peers->text.n};
	char *said = arena_alloc(peers->arena, peers->text.n);
	int r;

	if (!said)
		return -ENOMEM;
	set.said = memcpy(said, peers->text.byte, peers->text.n);
	r = peer->is_block ? block_set(peers, peer, &set)
	                   : selector_set(peers, peer, ns, &set);
	if (r)
		return r;
	peers->set[peers->n] = set;
	*ret = (uint32_t)peers->n++;
	return index_put(&peers->by_said, peers->arena, hash, *ret);
}

int peers_set(struct peers *peers, const struct peer *peer, uint32_t count,
              const char *ns, uint32_t *ret)
{
	uint64_t hash;
	size_t at = 0;
	uint32_t i;
	int r;

	if (peers->of_peer[count]) {
		*ret = peers->of_peer[count] - 1;
		return 0;
	}
	say_peer(&peers->text, peer, ns);
	if (text_failed(&peers->text))
		return -ENOMEM;
	hash = hash_bytes(peers->text.byte, peers->text.n, 0);
	while (index_next(&peers->by_said, hash, &at, &i)) {
		const struct peer_set *set = &peers->set[i];

		if (set->said_bytes != peers->text.n ||
		    memcmp(set->said, peers->text.byte, peers->text.n) != 0)
			continue;
		peers->of_peer[count] = i + 1;
		*ret = i;
		return 0;
	}
	r = set_work_out(peers, peer, ns, hash, ret);
	if (!r)
		peers->of_peer[count] = *ret + 1;
	return r;
}
