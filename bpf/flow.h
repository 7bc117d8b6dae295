/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow.h - the flow table: one lookup for an established packet (design D3).
 *
 * Entries are never deleted here, only marked dead; sweep.h deletes.  What is
 * written in place is counters, last-seen and flags; all else by whole updates.
 */
#pragma once

#include "event.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"
#include "tunnel.h"

static __always_inline __u32 flow_now(void)
{
	return bpf_ktime_get_coarse_ns() >> FLOW_TICK_SHIFT;
}

/* Is the source the larger end, so that the key has them swapped? */
static __always_inline bool tuple_swapped(const struct flow_tuple *t)
{
	if (t->saddr.half[1] != t->daddr.half[1])
		return t->saddr.half[1] > t->daddr.half[1];
	if (t->saddr.half[0] != t->daddr.half[0])
		return t->saddr.half[0] > t->daddr.half[0];
	return t->sport > t->dport;
}

/* Swap the ports. */
static __always_inline __u64 tail_reverse(__u64 tail)
{
	const __u64 low = 0xffff;

	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		return (tail & ~0xffffffffull) | (tail >> 16 & low) |
		       (tail & low) << 16;
	return (tail & 0xffffffffull) | (tail >> 16 & low << 32) |
	       (tail & low << 32) << 16;
}

static __always_inline void tuple_reverse(const struct flow_tuple *t,
                                          struct flow_tuple *to)
{
	to->saddr = t->daddr;
	to->daddr = t->saddr;
	to->tail = tail_reverse(t->tail);
}

/* Fill @key for both directions of @t; true when it is the reverse of @t. */
static __always_inline bool flow_key_make(const struct flow_tuple *t,
                                          struct flow_key *key)
{
	bool swapped = tuple_swapped(t);

	if (swapped)
		tuple_reverse(t, &key->ends);
	else
		key->ends = *t;
	return swapped;
}

static __always_inline bool flow_key_equal(const struct flow_key *a,
                                           const struct flow_key *b)
{
	return a->ends.tail == b->ends.tail &&
	       addr_equal(&a->ends.saddr, &b->ends.saddr) &&
	       addr_equal(&a->ends.daddr, &b->ends.daddr);
}

/* 32 bits of the key: independent products, so the multiplier pipelines. */
static __always_inline __u32 flow_tag(const struct flow_key *key)
{
	const __u64 *w = (const void *)key;
	__u64 h = w[0] * 0x9e3779b97f4a7c15ull + w[1] * 0xc2b2ae3d27d4eb4full +
	          w[2] * 0x165667b19e3779f9ull + w[3] * 0xd6e8feb86659fd93ull +
	          w[4] * 0xff51afd7ed558ccdull;

	return (h >> 32) ^ (h >> 61);
}

static __always_inline void *flow_shard(__u32 tag)
{
	__u32 shard = tag % FLOW_SHARDS;

	return bpf_map_lookup_elem(&flows, &shard);
}

/* The live entry of the main table, or NULL. */
static __always_inline struct flow *flow_main(const struct flow_key *key,
                                              __u32 tag)
{
	void *shard = flow_shard(tag);
	struct flow *f = shard ? bpf_map_lookup_elem(shard, key) : NULL;

	return f && !(f->flags & FLOW_DEAD) ? f : NULL;
}

static __always_inline bool flow_young_lives(const struct flow *f)
{
	if (f->flags & FLOW_DEAD)
		return false;
	return flow_now() - f->way[0].seen <= FLOW_TICKS(FLOW_TIMEOUT_NEW) ||
	       flow_now() - f->way[1].seen <= FLOW_TICKS(FLOW_TIMEOUT_NEW);
}

/* The live entry of the half-open table, or NULL. */
static __always_inline struct flow *flow_young(const struct flow_key *key)
{
	struct flow *f = bpf_map_lookup_elem(&flows_new, key);

	return f && flow_young_lives(f) ? f : NULL;
}

/*
 * The live entry of either table.  Another CPU may move it between two looks:
 * it is dead in the one only when it stands in the other.
 */
static __always_inline struct flow *flow_find(const struct flow_key *key,
                                              __u32 tag)
{
	struct flow *f = flow_main(key, tag);

	if (f)
		return f;
	f = bpf_map_lookup_elem(&flows_new, key);
	if (f && f->flags & FLOW_DEAD)
		return flow_main(key, tag);
	return f && flow_young_lives(f) ? f : NULL;
}

static __always_inline void flow_set(struct flow *f, __u32 flags)
{
	if ((f->flags & flags) != flags)
		__sync_fetch_and_or(&f->flags, flags);
}

static __always_inline bool flow_closing(__u32 flags)
{
	return flags & FLOW_RST ||
	       (flags & (FLOW_FIN0 | FLOW_FIN1)) == (FLOW_FIN0 | FLOW_FIN1);
}

static __always_inline __u32 *held_of(__u16 endpoint)
{
	__u32 key = endpoint;

	return bpf_map_lookup_elem(&held, &key);
}

/* Take back what the entry is charged with; only one can. */
static __always_inline bool flow_uncharge(struct flow *f)
{
	__u32 *n = held_of(f->owner);
	__u32 flags = __sync_fetch_and_and(&f->flags, ~FLOW_CHARGED);

	if (!(flags & FLOW_CHARGED))
		return false;
	if (n)
		__sync_fetch_and_add(n, -1);
	return true;
}

/* Does the owner's share hold @more entries more? */
static __always_inline bool flow_fits(__u16 owner, __u32 more)
{
	const __u32 *n = held_of(owner);

	/* Nobody's: what the node forwards from outside to another node. */
	if (!owner || (n && *n + more <= config.share))
		return true;
	count(COUNTER_FLOW_DEGRADED);
	return false;
}

/*
 * flow_move - copy a half-open entry to the main table (design D4).
 *
 * Stays where it is when the table or its owner's share is full.  The young
 * entry is the caller's to mark: only marked, so that whoever still holds it
 * reads a whole flow.
 * Return: MOVE_DONE or, when another CPU was first, MOVE_STOOD: it stands in
 * the main table; else MOVE_NOT.
 */
enum { MOVE_NOT, MOVE_DONE, MOVE_STOOD };

__noinline int flow_move(const struct flow_key *of, __u32 tag,
                         struct flow *young)
{
	struct scratch *s = scratch_get();
	struct flow_key on_stack, *key = &on_stack;
	struct flow *dead;
	__u32 *n;
	void *shard;

	if (!of || !young || !s)
		return 0;
	on_stack = *of; /* 6.1 wants keys on the stack */
	shard = flow_shard(tag);
	if (!shard)
		return 0;
	s->far = *young;
	if (s->far.tag != tag)
		return 0;
	n = held_of(s->far.owner);
	if (!n)
		return 0;
	if (!flow_fits(s->far.owner, 1))
		return 0;
	s->far.flags |= FLOW_MAIN | FLOW_CHARGED;
	dead = bpf_map_lookup_elem(shard, key);
	if (dead) {
		__u32 flags = dead->flags;

		if (!(flags & FLOW_DEAD))
			return MOVE_STOOD;
		/*
		 * What the sweeper is about to delete it deletes by its key.
		 * Of two CPUs, who has its charge back has its place.
		 */
		if (flags & FLOW_SWEPT || !flow_uncharge(dead))
			return 0;
	}
	if (bpf_map_update_elem(shard, key, &s->far,
	                        dead ? BPF_ANY : BPF_NOEXIST)) {
		if (flow_main(key, tag))
			return MOVE_STOOD;
		count(COUNTER_FLOW_DEGRADED);
		return MOVE_NOT;
	}
	__sync_fetch_and_add(n, 1);
	count(COUNTER_FLOW_MOVED);
	return MOVE_DONE;
}

/*
 * flow_insert - put a new flow into the half-open table.
 *
 * Return: 0; 1 when another CPU was first, its entry stands; DROP_FLOW_TABLE.
 */
static __always_inline int flow_insert(const struct flow_key *key,
                                       const struct flow *f)
{
	long r = bpf_map_update_elem(&flows_new, key, f, BPF_NOEXIST);

	if (r == -17 /* EEXIST */) {
		if (flow_young(key))
			return 1;
		r = bpf_map_update_elem(&flows_new, key, f, BPF_ANY);
	}
	return r ? DROP_FLOW_TABLE : 0;
}

/* Tell of a flow's first packet. */
static __always_inline void flow_tell(const struct pkt *pkt, __u32 ifindex,
                                      const struct judgement *j,
                                      const struct flow *f)
{
	struct event *ev;

	count(COUNTER_FLOW_OPENED);
	ev = event_new();
	if (!ev)
		return;
	event_fill(ev, pkt, ifindex, j);
	ev->type = EVENT_FLOW;
	ev->flags = f->flags;
	event_send(ev);
}

/*
 * What is judged of an entry found as @t, way @d: the opener's tuple; of a
 * translated one, with the source of its near side and the destination of its
 * far side.
 */
static __always_inline void flow_opener(const struct flow *f,
                                        const struct flow_tuple *t, int d,
                                        struct flow_tuple *to)
{
	if (d)
		tuple_reverse(t, to);
	else
		*to = *t;
	if (f->flags & FLOW_XLATE_OUT) {
		to->saddr = f->other.saddr;
		to->sport = f->other.sport;
	} else if (f->flags & FLOW_XLATE_IN) {
		to->daddr = f->other.daddr;
		to->dport = f->other.dport;
		to->zero[0] = 0;
	}
}

/* Does the flow go to, or come from, another node than its ends live on? */
static __always_inline bool flow_strays(const struct flow *f,
                                        const struct judgement *j)
{
	if (f->way[0].to == WHERE_TUNNEL)
		return !config.tunnel_ifindex || f->way[0].node != j->node[1];
	if (f->way[1].to == WHERE_TUNNEL)
		return !config.tunnel_ifindex || f->way[1].node != j->node[0];
	return f->way[0].to == WHERE_NET && goes_by_tunnel(j);
}

/* Is the way out still one?  Its MTU may have shrunk.  A far half has none. */
static __always_inline bool way_stands(struct flow_way *way)
{
	__u32 ifindex = way->ifindex;
	const struct uplink *uplink;

	if (way->to != WHERE_NET || !ifindex)
		return true;
	uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	if (uplink && uplink->mtu < way->mtu)
		way->mtu = uplink->mtu;
	return uplink;
}

/*
 * flow_exit_stands - does the flow in scratch leave as it could be opened now?
 *
 * scratch.far.other: the opener's tuple.  A masqueraded flow lives while its
 * address is the node's, be it not the one that new flows get.
 */
__noinline int flow_exit_stands(void)
{
	struct scratch *s = scratch_get();
	const struct addr_info *info;
	struct addr source;

	if (!s || !way_stands(&s->flow.way[0]) || !way_stands(&s->flow.way[1]))
		return 0;
	source = s->flow.other.saddr; /* 6.1 wants keys on the stack */
	if (!(s->flow.flags & FLOW_XLATE_IN) ||
	    (s->flow.way[0].to != WHERE_NET &&
	     s->flow.way[0].to != WHERE_TUNNEL) ||
	    addr_equal(&source, &s->far.other.saddr))
		return 1;
	info = bpf_map_lookup_elem(&addrs, &source);
	return info && info->local;
}

/*
 * flow_rejudge - a stale flow is judged anew from its opener's side.
 *
 * @t: the packet's tuple.  Writes the entry anew, or marks it cut: it stays for
 * a while, so that what was cut does not come back as a flow that the other
 * end opens (of UDP, an answer looks like a question).
 * Return: DROP_NONE, or why it was cut; scratch.j is filled.
 */
__noinline int flow_rejudge(const struct flow_key *of, __u32 tag,
                            const struct flow_tuple *t)
{
	struct scratch *s = scratch_get();
	struct flow_key on_stack, *key = &on_stack;
	struct judgement *j;
	struct flow_tuple *opener; /* in scratch: the stack is short */
	struct flow *f;
	void *shard;
	int d, why;

	if (!of || !t || !s)
		return DROP_FLOW_TABLE;
	j = &s->j;
	on_stack = *of;
	f = flow_find(key, tag);
	if (!f)
		return DROP_FLOW_TABLE;
	s->flow = *f;
	if (s->flow.tag != tag)
		return DROP_FLOW_TABLE;
	count(COUNTER_FLOW_STALE);
	d = tuple_swapped(t) != !!(s->flow.flags & FLOW_REVERSED);
	opener = &s->far.other;
	flow_opener(&s->flow, t, d, opener);
	why = judge_from(opener, s->flow.way[0].from, j);
	if (why) {
		if (!(s->flow.flags & FLOW_CUT))
			count(COUNTER_FLOW_CUT);
		flow_set(f, why == DROP_ENDPOINT_CLOSED ? FLOW_DEAD : FLOW_CUT);
		return why;
	}
	/* Somebody else's address now: the flow was another pod's. */
	if (j->endpoint[0] != s->flow.way[0].endpoint ||
	    j->endpoint[1] != s->flow.way[1].endpoint) {
		flow_set(f, FLOW_DEAD);
		return DROP_ENDPOINT_CLOSED;
	}
	if (flow_strays(&s->flow, j) || !flow_exit_stands()) {
		flow_set(f, FLOW_DEAD);
		return DROP_ENDPOINT_CLOSED;
	}
	s->flow.flags &= ~FLOW_CUT;
	s->flow.epoch = j->epoch;
	s->flow.rule[0] = j->rule[0];
	s->flow.rule[1] = j->rule[1];
	if (!(s->flow.flags & FLOW_MAIN))
		return bpf_map_update_elem(&flows_new, key, &s->flow, BPF_EXIST)
		               ? DROP_FLOW_TABLE
		               : DROP_NONE;
	shard = flow_shard(tag);
	if (!shard)
		return DROP_FLOW_TABLE;
	return bpf_map_update_elem(shard, key, &s->flow, BPF_EXIST)
	               ? DROP_FLOW_TABLE
	               : DROP_NONE;
}
