/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * service.h - what clients send to a service goes to one of its backends.
 *
 * Asked once a flow, in from_pod and from_net, before policy is: that is judged
 * on the backend.  A flow through a service is translated as a masqueraded one
 * is: its near entry is keyed by the tuple that the client sends, its far entry
 * by what the backend sees.  When a pod then opens a flow to that backend
 * itself, and from the same port, the tuple that it sends is the far entry's:
 * this flow's near key bears a 1 in its tuple's zero[0], and it leaves from
 * another port.
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "event.h"
#include "flow.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"

#define SEARCH_STEPS 18 /* binary, among BACKEND_MAX */

/* Who asks, and what a service's places are for him. */
struct service_ask {
	struct service_key key;
	struct addr client;
	__u32 outer; /* 1: he is not in the cluster */
	/* Answers: */
	__u32 first, n; /* places that he may get; n 0: none */
	struct backend backend;
};

/*
 * service_read - the value of @key, in one piece: elements are recycled.
 *
 * Return: 1; 0 when there is no such service; -1 when it went under our eyes.
 */
static __always_inline int service_read(const struct service_key *key,
                                        struct service *to)
{
	const struct service *s = bpf_map_lookup_elem(&services, key);
	union {
		__u64 whole;
		__u32 half[2];
	} places;

	if (!s)
		return 0;
	/* Of one version: two halves of different ones name no places. */
	places.whole = *(const volatile __u64 *)s;
	to->first = places.half[0];
	to->count = places.half[1];
	to->local = s->local;
	to->id = s->id;
	to->affinity = s->affinity;
	to->flags = s->flags;
	asm volatile("" ::: "memory");
	return s->tag == service_tag(key) ? 1 : -1;
}

/* What no address has: it stands for every address of this node. */
static __always_inline void vip_any(struct addr *vip)
{
	if (addr_is_v4(vip))
		vip->word[3] = 0;
	else
		__builtin_memset(vip, 0, sizeof(*vip));
}

static __always_inline int addr_is_own(const struct addr *addr)
{
	const struct addr_info *info = bpf_map_lookup_elem(&addrs, addr);

	return info && info->local;
}

/* The part of the places that is for the client. */
static __always_inline void places_choose(const struct service *s,
                                          struct service_ask *ask)
{
	ask->first = s->first;
	ask->n = s->count;
	if (ask->outer && s->flags & SERVICE_OUTER_LOCAL) {
		ask->n = s->local;
	} else if (s->flags & SERVICE_LOCAL_APART) {
		ask->first += s->local;
		ask->n -= s->local;
	}
}

/* ---- affinity ------------------------------------------------------------ */

struct place_search {
	const struct affinity *wanted;
	__u32 first, n, tag;
	__u32 found; /* 1 */
};

static __always_inline int place_compare(const struct backend *b,
                                         const struct affinity *a)
{
	for (int i = 0; i < 2; i++) {
		__u64 x = bpf_be64_to_cpu(b->addr.half[i]);
		__u64 y = bpf_be64_to_cpu(a->addr.half[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (int)bpf_ntohs(b->port) - (int)bpf_ntohs(a->port);
}

static long place_step(__u32 i, void *ctx)
{
	struct place_search *s = ctx;
	__u32 half = s->n / 2, at = s->first + half;
	const struct backend *b;
	int order;

	(void)i;
	if (!s->n)
		return 1;
	b = bpf_map_lookup_elem(&backends, &at);
	if (!b || b->tag != s->tag)
		return 1;
	order = place_compare(b, s->wanted);
	if (!order) {
		s->found = 1;
		return 1;
	}
	if (order < 0) {
		s->first = at + 1;
		s->n -= half + 1;
	} else {
		s->n = half;
	}
	return 0;
}

/* Is @a still a backend?  Places of one part are sorted. */
static __always_inline int place_holds(const struct affinity *a, __u32 first,
                                       __u32 n, __u32 tag)
{
	struct place_search s = {
		.wanted = a, .first = first, .n = n, .tag = tag};

	bpf_loop(SEARCH_STEPS + 1, place_step, &s, 0);
	return s.found;
}

/*
 * The backend that the client had last, if that is not too long ago and it is
 * one still.  Return: 1, ask->backend is filled.
 */
static __always_inline int affinity_ask(const struct service *s,
                                        struct service_ask *ask)
{
	struct affinity_key key = {.client = ask->client, .id = s->id};
	const struct affinity *a = bpf_map_lookup_elem(&affinities, &key);
	__u32 tag = service_tag(&ask->key);
	__u32 local = s->first + s->local - ask->first; /* those apart: 0 */
	struct affinity had;

	if (!a)
		return 0;
	had = *a;
	if (flow_now() - had.seen > FLOW_TICKS((__u64)s->affinity))
		return 0;
	if (local > ask->n)
		local = ask->n;
	if (!place_holds(&had, ask->first, local, tag) &&
	    !place_holds(&had, ask->first + local, ask->n - local, tag))
		return 0;
	ask->backend.addr = had.addr;
	ask->backend.port = had.port;
	return 1;
}

static __always_inline void affinity_set(const struct service *s,
                                         const struct service_ask *ask)
{
	struct affinity_key key = {.client = ask->client, .id = s->id};
	struct affinity has = {
		.addr = ask->backend.addr,
		.port = ask->backend.port,
		.seen = flow_now(),
	};

	bpf_map_update_elem(&affinities, &key, &has, BPF_ANY);
}

/* ---- choice -------------------------------------------------------------- */

static __always_inline int place_take(struct service_ask *ask, __u32 at)
{
	const struct backend *b = bpf_map_lookup_elem(&backends, &at);

	if (!b)
		return DROP_NO_BACKEND;
	ask->backend.addr = b->addr;
	ask->backend.port = b->port;
	asm volatile("" ::: "memory");
	return b->tag == service_tag(&ask->key) ? DROP_NONE : DROP_NO_BACKEND;
}

/*
 * service_choose - a backend of @s for who asks.
 *
 * Return: DROP_NONE, ask->backend is filled; DROP_NO_BACKEND.
 */
static __always_inline int service_choose(const struct service *s,
                                          struct service_ask *ask)
{
	int why;

	places_choose(s, ask);
	if (!ask->n)
		return DROP_NO_BACKEND;
	if (s->affinity && affinity_ask(s, ask)) {
		affinity_set(s, ask);
		return DROP_NONE;
	}
	why = place_take(ask, ask->first + bpf_get_prandom_u32() % ask->n);
	if (!why && s->affinity)
		affinity_set(s, ask);
	return why;
}

/*
 * service_pick - if @pkt asks for a service, make a backend its destination.
 *
 * A node's own address stands for its node ports and host ports too.
 * Return: DROP_NONE; DROP_NO_BACKEND, with XLATE_REFUSE in pkt->xlate when that
 * is to be said.
 */
__noinline int service_pick(struct pkt *pkt)
{
	struct service_ask ask = {};
	struct service s = {};
	int found, why;

	if (!pkt || !proto_has_ports(pkt->tuple.proto))
		return DROP_NONE;
	ask.key.vip = pkt->tuple.daddr;
	ask.key.port = pkt->tuple.dport;
	ask.key.proto = pkt->tuple.proto;
	found = service_read(&ask.key, &s);
	if (!found && config.full && addr_is_own(&ask.key.vip)) {
		vip_any(&ask.key.vip);
		found = service_read(&ask.key, &s);
	}
	if (found <= 0)
		return found ? DROP_NO_BACKEND : DROP_NONE;
	ask.client = pkt->tuple.saddr;
	ask.outer = pkt->from == FROM_NET;
	why = service_choose(&s, &ask);
	if (why) {
		if (!s.count)
			pkt->xlate |= XLATE_REFUSE;
		return why;
	}
	pkt->tuple.daddr = ask.backend.addr;
	pkt->tuple.dport = ask.backend.port;
	pkt->xlate |= XLATE_SERVICE;
	return DROP_NONE;
}
