/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* follow.h - a packet of a flow that we know. */
#pragma once

#include <linux/pkt_cls.h>

#include "flow.h"
#include "route.h"

#define FOLLOW_MISS  (-2) /* no TC verdict: open it */
#define FOLLOW_TAKEN (-3) /* nor this: it is a service flow's far tuple */
#define FOLLOW_ON    (-4) /* none of these */

/* One-way traffic moves to the main table after this much. */
#define MOVE_PACKETS 16
#define MOVE_SECONDS 2

static __always_inline struct flow *flow_pair(const struct flow_tuple *other,
                                              struct flow_key *key, __u32 *tag)
{
	flow_key_make(other, key);
	*tag = flow_tag(key);
	return flow_find(key, *tag);
}

/* What this packet adds to the flow's flags. */
static __always_inline __u32 advance_flags(const struct pkt *pkt, int d)
{
	__u32 add = 0;

	if (pkt->tuple.proto != IPPROTO_TCP)
		return d ? FLOW_ANSWERED : 0;
	if (pkt->tcp & TCP_RST)
		return FLOW_RST;
	if (pkt->tcp & TCP_FIN)
		add |= d ? FLOW_FIN1 : FLOW_FIN0;
	if (d && (pkt->tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		add |= FLOW_SYNACK;
	if (d)
		add |= FLOW_ANSWERED;
	return add;
}

/* Is a half-open flow ready for the main table, after this packet? */
static __always_inline bool advance_ready(const struct flow *f, __u32 flags,
                                          const struct pkt *pkt, int d)
{
	if (flags & FLOW_MAIN)
		return false;
	if (pkt->tuple.proto == IPPROTO_TCP)
		return !d && flags & FLOW_SYNACK && !(flags & FLOW_RST) &&
		       (pkt->tcp & (TCP_SYN | TCP_ACK)) == TCP_ACK;
	return flags & FLOW_ANSWERED ||
	       (f->count[0].packets >= MOVE_PACKETS &&
	        flow_now() - f->opened >= FLOW_TICKS(MOVE_SECONDS));
}

/*
 * Is it an answer?  Only those ride on a flow from its other end: a SYN from
 * there, or an echo request that wears a reply's ids, is judged by itself.
 */
static __always_inline bool is_answer(const struct pkt *pkt)
{
	if (pkt->frag == FRAG_LATER)
		return true; /* its first was, or was judged */
	switch (pkt->tuple.proto) {
	case IPPROTO_TCP:
		return (pkt->tcp & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	case IPPROTO_ICMP:
		return pkt->icmp == 0 || pkt->icmp == 14; /* echo, timestamp */
	case IPPROTO_ICMPV6:
		return pkt->icmp == 129;
	}
	return true;
}

/* Can this packet change a half-open flow?  Spares one-way UDP two lookups. */
static __always_inline bool advance_due(const struct flow *f, __u32 flags,
                                        const struct pkt *pkt, int d)
{
	return d || pkt->tuple.proto == IPPROTO_TCP || flags & FLOW_ANSWERED ||
	       (f->count[0].packets >= MOVE_PACKETS &&
	        flow_now() - f->opened >= FLOW_TICKS(MOVE_SECONDS));
}

/*
 * FLOW_RST, when it is to be taken back: the ends of the flow still talk a
 * second after it, so they did not believe it (RFC 5961 3.2).  Who has really
 * been reset answers with another.
 */
static __always_inline __u32 reset_ignored(const struct flow *f,
                                           const struct pkt *pkt)
{
	if (pkt->tcp & (TCP_SYN | TCP_RST) ||
	    flow_now() - f->reset <= FLOW_TICKS(1))
		return 0;
	return f->flags & FLOW_RST;
}

static __always_inline void advance_set(struct flow *f, __u32 add, __u32 over)
{
	if (add & FLOW_RST)
		f->reset = flow_now();
	flow_set(f, add);
	if (over)
		__sync_fetch_and_and(&f->flags, ~FLOW_RST);
}

/* The half-open entry has been copied to the main table. */
static __always_inline void young_over(struct flow *f)
{
	if (!(f->flags & FLOW_MAIN))
		flow_set(f, FLOW_DEAD);
}

/* Both entries of a translated flow move, or neither. */
static __always_inline void pair_move(const struct flow_key *key,
                                      struct flow *f,
                                      const struct flow_key *far_key,
                                      struct flow *pair)
{
	struct flow *copy;
	int moved;

	if (!flow_fits(f->owner, 2))
		return;
	moved = flow_move(far_key, pair->tag, pair);
	if (moved == MOVE_NOT)
		return;
	if (flow_move(key, f->tag, f)) {
		young_over(f);
		young_over(pair);
		return;
	}
	if (moved == MOVE_STOOD || pair->flags & FLOW_MAIN)
		return; /* it is not ours to take back */
	copy = flow_main(far_key, pair->tag);
	if (copy)
		flow_set(copy, FLOW_DEAD);
}

/*
 * advance - what a half-open flow, or a packet that bears SYN, FIN or RST,
 * changes: flags of both sides of the flow, and the table it stands in.
 */
__noinline int advance(const struct flow_key *key, __u32 tag,
                       const struct pkt *pkt, struct flow *f, int d)
{
	struct flow_key far_key;
	struct flow *pair;
	__u32 add, over, flags, far_tag;

	if (!key || !pkt || !f || f->tag != tag)
		return 0;
	add = advance_flags(pkt, d);
	over = reset_ignored(f, pkt);
	flags = (f->flags & ~over) | add;
	advance_set(f, add, over);
	if (!(flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT))) {
		if (advance_ready(f, flags, pkt, d) && flow_move(key, tag, f))
			young_over(f);
		return 0;
	}
	pair = flow_pair(&f->other, &far_key, &far_tag);
	if (!pair || pair->tag != far_tag)
		return 0;
	advance_set(pair, add, over);
	pair->way[d & 1].seen = flow_now();
	if (advance_ready(f, flags | (pair->flags & ~FLOW_MAIN), pkt, d))
		pair_move(key, f, &far_key, pair);
	return 0;
}

/*
 * Does the half-open side of a translated flow still own its far side?  That
 * one sees no question: it is seen here, or it would not outlive a minute.
 * Another CPU may have moved the near side since it was found.
 */
__noinline int pair_stands(const struct flow_key *of, __u32 near_tag)
{
	struct flow_key near;
	const struct flow *f;
	struct flow_key key;
	struct flow *pair;
	__u32 tag;

	if (!of)
		return 0;
	near = *of; /* 6.1 wants keys on the stack */
	f = flow_find(&near, near_tag);
	if (!f)
		return 0;
	pair = flow_pair(&f->other, &key, &tag);
	if (!pair || pair->tag != tag)
		return 0;
	flow_key_make(&pair->other, &key);
	if (!flow_key_equal(&key, &near))
		return 0; /* it belongs to another flow now */
	if (pair->way[0].seen != flow_now())
		pair->way[0].seen = flow_now();
	return 1;
}

/* The other side of a translated flow that is over is over too. */
__noinline int pair_end(const struct flow_key *of, __u32 tag)
{
	struct flow_key near;
	const struct flow *f;
	struct flow_key key;
	struct flow *pair;
	__u32 pair_tag;

	if (!of)
		return 0;
	near = *of; /* 6.1 wants keys on the stack */
	f = flow_find(&near, tag);
	if (!f)
		return 0;
	pair = flow_pair(&f->other, &key, &pair_tag);
	if (pair && pair->tag == pair_tag)
		flow_set(pair, FLOW_DEAD);
	return 0;
}

/*
 * follow_translated - send the packet of a translated flow along @way.
 *
 * The far tuple is read here and the tag checked again behind it.
 */
__noinline int follow_translated(struct __sk_buff *skb, struct pkt *pkt,
                                 const struct flow_way *way,
                                 const struct flow *f, __u32 tag)
{
	struct flow_tuple to;

	if (!pkt || !way || !f)
		return TC_ACT_SHOT;
	/* Questions pass the near entry, answers the far one. */
	if (f->flags & FLOW_XLATE_OUT)
		tuple_reverse(&f->other, &to);
	else
		to = f->other;
	asm volatile("" ::: "memory");
	if (f->tag != tag) {
		count(COUNTER_TAG_MISMATCH);
		return FOLLOW_MISS;
	}
	return route_along(skb, pkt, way, &to);
}

/* Told with what was judged, which flow_rejudge() left in scratch. */
static __always_inline int follow_cut(struct __sk_buff *skb, struct pkt *pkt,
                                      int why)
{
	struct scratch *s = scratch_get();

	if (!s)
		return TC_ACT_SHOT;
	if (s->flow.flags & FLOW_XLATE_IN) {
		s->wire = pkt->tuple;
		pkt->tuple = s->far.other;
		if (!addr_equal(&s->wire.daddr, &pkt->tuple.daddr))
			pkt->xlate |= XLATE_SERVICE;
	}
	return drop(skb, pkt, &s->j, why);
}

static __always_inline bool is_syn(const struct pkt *pkt)
{
	return (pkt->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/*
 * Does the packet, which came from the right side, ride on the flow @f?  The
 * flow is marked dead when the packet shows that it is over.
 */
static __always_inline bool follow_rides(const struct flow_key *key, __u32 tag,
                                         struct flow *f, __u32 flags,
                                         const struct pkt *pkt, int d)
{
	if (flow_closing(flags) && is_syn(pkt)) {
		if (flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT))
			pair_end(key, tag);
		flow_set(f, FLOW_DEAD);
		return false;
	}
	if (d && !is_answer(pkt))
		return false;
	if (!(flags & FLOW_MAIN) && flags & FLOW_XLATE_IN &&
	    !pair_stands(key, tag)) {
		flow_set(f, FLOW_DEAD);
		return false;
	}
	return true;
}

static __always_inline void follow_count(struct flow *f, const struct pkt *pkt,
                                         int d)
{
	__u32 now = flow_now();

	f->count[d & 1].packets += 1;
	f->count[d & 1].bytes += pkt->len;
	if (f->way[d & 1].seen != now)
		f->way[d & 1].seen = now;
}

/*
 * A stale flow, or a cut one, is judged anew; *@f and the MTU of *@way are as
 * they came out.  Return: FOLLOW_ON, FOLLOW_MISS or a TC verdict.
 */
static __always_inline int follow_stale(struct __sk_buff *skb, struct pkt *pkt,
                                        const struct flow_key *key,
                                        struct flow **f, struct flow_way *way,
                                        int d)
{
	const __u32 tag = flow_tag(key);
	int why = flow_rejudge(key, tag, &pkt->tuple);

	if (why == DROP_FLOW_TABLE || why == DROP_ENDPOINT_CLOSED)
		return FOLLOW_MISS;
	if (why && way->from == pkt->from) {
		/* It comes back when both ends have fallen silent. */
		(*f)->way[d & 1].seen = flow_now();
		return follow_cut(skb, pkt, why);
	}
	*f = flow_find(key, tag);
	if (!*f)
		return FOLLOW_MISS;
	way->mtu = (*f)->way[d & 1].mtu; /* an exit may have shrunk */
	return FOLLOW_ON;
}

/* It came from another side than the flow's. */
static __always_inline int follow_stranger(const struct pkt *pkt, __u32 flags,
                                           int d)
{
	return !d && flags & FLOW_XLATE_OUT && pkt->hook == HOOK_FROM_POD
	               ? FOLLOW_TAKEN
	               : FOLLOW_MISS;
}

/*
 * follow - handle the packet by its flow.
 *
 * A global function: verified once for all hooks, and the openers get the
 * stack that it used.
 * Return: a TC verdict; FOLLOW_MISS when no flow from its side knows it;
 * FOLLOW_TAKEN, of what a pod sends, when its tuple is that by which answers to
 * another flow are known: it has to be told apart.
 */
__noinline int follow(struct __sk_buff *skb, struct pkt *pkt)
{
	struct flow_key key;
	struct flow_way way;
	struct flow *f;
	__u32 tag, flags, epoch;
	__u16 ends[2], node;
	bool swapped, young;
	int d, r;

	if (!pkt)
		return TC_ACT_SHOT;
	swapped = flow_key_make(&pkt->tuple, &key);
	tag = flow_tag(&key);
	f = flow_find(&key, tag);
	if (!f)
		return FOLLOW_MISS;
	flags = f->flags;
	young = !(flags & FLOW_MAIN);
	d = swapped != !!(flags & FLOW_REVERSED);
	way = f->way[d & 1];
	node = f->way[(1 - d) & 1].node;
	epoch = f->epoch;
	ends[0] = f->way[0].endpoint;
	ends[1] = f->way[1].endpoint;
	asm volatile("" ::: "memory");
	if (f->tag != tag) {
		count(COUNTER_TAG_MISMATCH);
		return FOLLOW_MISS;
	}
	if (flags & FLOW_CUT && is_syn(pkt)) {
		flow_set(f, FLOW_DEAD);
		return FOLLOW_MISS;
	}
	if (flags & FLOW_CUT || epoch != epoch_sum(ends[0], ends[1])) {
		r = follow_stale(skb, pkt, &key, &f, &way, d);
		if (r != FOLLOW_ON)
			return r;
	}
	if (way.from != pkt->from)
		return follow_stranger(pkt, flags, d);
	/* Answers go to a node; only that one may send. */
	if (config.tunnel_ifindex && pkt->from == FROM_TUNNEL &&
	    !tunnel_sender_is(skb, node))
		return FOLLOW_MISS;
	if (!follow_rides(&key, tag, f, flags, pkt, d))
		return FOLLOW_MISS;
	follow_count(f, pkt, d);
	if (young ? advance_due(f, flags, pkt, d)
	          : pkt->tcp & (TCP_SYN | TCP_FIN | TCP_RST) ||
	                    flags & FLOW_RST)
		advance(&key, tag, pkt, f, d);
	if (pkt->frag == FRAG_FIRST && pkt_fragment_learn(pkt))
		return drop(skb, pkt, NULL, DROP_FRAGMENT);
	if (flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT))
		return follow_translated(skb, pkt, &way, f, tag);
	return route_along(skb, pkt, &way, NULL);
}
