/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * open.h - a packet that no flow knows: who, may it, where to, remember it.
 *
 * Each opener returns a TC verdict; the new flow's first packet goes out along
 * the way just made.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "flow.h"
#include "nat.h"
#include "neighbour.h"
#include "refuse.h"
#include "route.h"
#include "service.h"

/* The parts of a new flow that every opener fills alike. */
static __always_inline void flow_begin(struct flow *f, const struct pkt *pkt,
                                       const struct judgement *j)
{
	__u32 now = flow_now();

	__builtin_memset(f, 0, sizeof(*f));
	f->epoch = j->epoch;
	f->opened = now;
	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		f->flags = FLOW_SYN;
	f->way[0].seen = now;
	f->way[1].seen = now;
	f->way[0].endpoint = j->endpoint[0];
	f->way[1].endpoint = j->endpoint[1];
	f->rule[0] = j->rule[0];
	f->rule[1] = j->rule[1];
	f->owner = j->endpoint[0] ? j->endpoint[0] : j->endpoint[1];
}

/* Our near entry could not stand: the far one that we reserved goes. */
static __always_inline void translated_undo(struct scratch *s)
{
	struct flow_key key;
	struct flow *f;

	flow_key_make(&s->flow.other, &key);
	f = flow_young(&key);
	if (f)
		flow_set(f, FLOW_DEAD);
}

/*
 * The source that the far side sees, in scratch.flow.other; not its port.  Into
 * the tunnel it is the address that the client's side knows us by.
 */
static __always_inline int translated_source(struct scratch *s,
                                             const struct pkt *pkt,
                                             __u32 came_by)
{
	__u32 ifindex = s->flow.way[0].to == WHERE_TUNNEL
	                        ? came_by
	                        : s->flow.way[0].ifindex;
	struct flow_tuple *far = &s->flow.other;
	const struct uplink *uplink;

	if (!(pkt->xlate & XLATE_MASQ)) {
		/* A pod that is its own backend must answer to us. */
		if (addr_equal(&far->saddr, &far->daddr))
			far->saddr = s->wire.daddr;
		return DROP_NONE;
	}
	uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	if (!uplink)
		return DROP_NO_ROUTE;
	if (!nat_able(pkt))
		return DROP_NO_MASQUERADE;
	far->saddr = uplink->addr[pkt->v6 ? FAMILY_V6 : FAMILY_V4];
	if (!far->saddr.half[0] && !far->saddr.half[1])
		return DROP_NO_MASQUERADE;
	return DROP_NONE;
}

/* Both entries of the flow in scratch, but for the far one's tag and port. */
static __always_inline int translated_make(struct scratch *s,
                                           const struct pkt *pkt,
                                           const struct judgement *j,
                                           __u32 came_by)
{
	int why;

	s->flow.other = pkt->tuple;
	why = translated_source(s, pkt, came_by);
	if (why)
		return why;
	s->far = s->flow;
	s->far.flags |= FLOW_XLATE_OUT;
	s->far.other = s->wire;
	__builtin_memset(&s->far.way[0], 0, sizeof(s->far.way[0]));
	s->far.way[0].seen = s->flow.opened;
	s->far.way[0].endpoint = j->endpoint[0];
	/* Answers of another node's pod are that node's alone to send. */
	if (s->flow.way[0].to == WHERE_TUNNEL) {
		s->far.way[0].to = WHERE_TUNNEL;
		s->far.way[0].node = s->flow.way[0].node;
	}
	s->flow.flags |= FLOW_XLATE_IN;
	if (flow_key_make(&s->wire, &s->near))
		s->flow.flags |= FLOW_REVERSED;
	s->flow.tag = flow_tag(&s->near);
	s->flow.way[1].from = 0; /* answers meet the far side */
	s->flow.count[0].packets = 1;
	s->flow.count[0].bytes = pkt->len;
	return DROP_NONE;
}

/*
 * Put the near entry.  Who loses the race for it gives its far tuple back, and
 * the winner's flow, its backend and port included, is in scratch then.
 */
static __always_inline int translated_insert(struct scratch *s)
{
	struct flow_key key = s->near; /* 6.1 wants keys on the stack */
	__u32 tag = s->flow.tag;
	const struct flow *f;
	int r = flow_insert(&key, &s->flow);

	if (!r)
		return 0;
	translated_undo(s);
	f = r == 1 ? flow_young(&key) : NULL;
	if (!f || !(f->flags & FLOW_XLATE_IN))
		return DROP_FLOW_TABLE;
	s->flow = *f;
	asm volatile("" ::: "memory");
	return f->tag == tag ? 1 : DROP_FLOW_TABLE;
}

/*
 * open_translated - a flow whose far end sees other ends than its near end:
 * through a service, with the node's address, or both.
 *
 * The far tuple is reserved first, then the near entry is made.
 */
__noinline int open_translated(struct __sk_buff *skb, struct pkt *pkt,
                               const struct judgement *j)
{
	const __u32 came_by = *(volatile __u32 *)&skb->ifindex;
	struct scratch *s = scratch_get();
	int why;

	if (!pkt || !j || !s)
		return TC_ACT_SHOT;
	why = translated_make(s, pkt, j, came_by);
	if (!why)
		why = nat_pick(skb, pkt->tuple.proto, pkt->xlate);
	if (why)
		return drop(skb, pkt, j, why);
	why = translated_insert(s);
	if (why == DROP_FLOW_TABLE)
		return drop(skb, pkt, j, why);
	if (!why)
		flow_tell(pkt, skb->ifindex, j, &s->flow);
	pkt->tuple = s->wire;
	if (pkt->frag == FRAG_FIRST && pkt_fragment_learn(pkt))
		return drop(skb, pkt, j, DROP_FRAGMENT);
	return route_along(skb, pkt, &s->flow.way[0], &s->flow.other);
}

/*
 * open_finish - remember scratch.flow under the packet's tuple, send the
 * packet.
 *
 * Return: a TC verdict.
 */
__noinline int open_finish(struct __sk_buff *skb, struct pkt *pkt,
                           const struct judgement *j)
{
	struct scratch *s = scratch_get();
	struct flow_key key;
	struct flow_way way;
	int r;

	if (!pkt || !j || !s)
		return TC_ACT_SHOT;
	if (flow_key_make(&pkt->tuple, &key))
		s->flow.flags |= FLOW_REVERSED;
	s->flow.tag = flow_tag(&key);
	s->flow.count[0].packets = 1;
	s->flow.count[0].bytes = pkt->len;
	r = flow_insert(&key, &s->flow);
	if (r == DROP_FLOW_TABLE)
		return drop(skb, pkt, j, DROP_FLOW_TABLE);
	if (!r)
		flow_tell(pkt, skb->ifindex, j, &s->flow);
	if (pkt->frag == FRAG_FIRST && pkt_fragment_learn(pkt))
		return drop(skb, pkt, j, DROP_FRAGMENT);
	way = s->flow.way[0];
	return route_along(skb, pkt, &way, NULL);
}

/* Not one inside the other: the stack is short. */
static __always_inline int open_either(struct __sk_buff *skb, struct pkt *pkt,
                                       const struct judgement *j)
{
	return pkt->xlate ? open_translated(skb, pkt, j)
	                  : open_finish(skb, pkt, j);
}

/*
 * Only a SYN opens a TCP flow: a packet from the middle of one that was cut, or
 * that never was, would else be taken for its other end's question.
 */
static __always_inline bool opens(const struct pkt *pkt)
{
	return pkt->tuple.proto != IPPROTO_TCP || pkt->frag == FRAG_LATER ||
	       (pkt->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Is the packet's source the pod behind its veth?  DROP_NONE or why not. */
static __always_inline int check_sender(struct __sk_buff *skb,
                                        const struct judgement *j)
{
	__u32 number = j->endpoint[0];
	const struct endpoint *ep = NULL;
	const __u8 *mac;
	__u8 buf[ETH_ALEN];

	if (number)
		ep = bpf_map_lookup_elem(&endpoints, &number);
	if (!ep || ep->ifindex != skb->ifindex)
		return DROP_SPOOF_ADDRESS;
	mac = pkt_at(skb, ETH_ALEN, buf, sizeof(buf));
	if (!mac)
		return DROP_MALFORMED;
	return mac_equal(ep->mac, mac) ? DROP_NONE : DROP_SPOOF_MAC;
}

/* To a pod here, to this node, or out.  scratch.flow is begun. */
static __always_inline int open_route(struct __sk_buff *skb, struct pkt *pkt,
                                      struct judgement *j, struct scratch *s)
{
	__u32 number = j->endpoint[1];
	const struct endpoint *ep;
	struct flow_way way = {};
	int why;

	if (number) {
		ep = bpf_map_lookup_elem(&endpoints, &number);
		if (!ep)
			return drop(skb, pkt, j, DROP_NO_POD);
		way_to_pod(&s->flow.way[0], ep);
		s->flow.way[1].from = ep->ifindex;
		return open_either(skb, pkt, j);
	}
	if (pkt_forges_tunnel(pkt))
		return drop(skb, pkt, j, DROP_SPOOF_TUNNEL);
	if (j->local[1]) {
		s->flow.way[0].to = WHERE_STACK;
		s->flow.way[1].from = FROM_STACK;
		return open_either(skb, pkt, j);
	}
	if (j->pool)
		return drop(skb, pkt, j, DROP_NO_POD);
	if (goes_by_tunnel(j)) {
		way_to_node(&s->flow.way[0], j->node[1]);
		s->flow.way[1].from = FROM_TUNNEL;
		if (pkt->hook == HOOK_FROM_NET)
			pkt->xlate |= XLATE_MASQ; /* answers come to us */
		return open_either(skb, pkt, j);
	}
	why = route_exit(skb, pkt, &way);
	if (why)
		return drop(skb, pkt, j, why);
	s->flow.way[0].to = way.to;
	s->flow.way[0].ifindex = way.ifindex;
	s->flow.way[0].mtu = way.mtu;
	if ((config.masquerade && !j->no_masq) || pkt->hook == HOOK_FROM_NET)
		pkt->xlate |= XLATE_MASQ;
	s->flow.way[1].from = FROM_NET;
	return open_either(skb, pkt, j);
}

/* The way back to the pod that opened the flow. */
static __always_inline int open_way_back(struct flow *f,
                                         const struct judgement *j)
{
	__u32 number = j->endpoint[0];
	const struct endpoint *ep = bpf_map_lookup_elem(&endpoints, &number);

	if (!ep)
		return DROP_ENDPOINT_CLOSED;
	f->way[0].from = ep->ifindex;
	way_to_pod(&f->way[1], ep);
	return DROP_NONE;
}

/* No backend for the client.  Where nobody gets any, he is told. */
static __always_inline int open_none(struct __sk_buff *skb,
                                     const struct pkt *pkt,
                                     const struct judgement *j, int why)
{
	int verdict = drop(skb, pkt, j, why);

	return pkt->xlate & XLATE_REFUSE ? refuse(skb, pkt) : verdict;
}

__noinline int open_from_pod(struct __sk_buff *skb, struct pkt *pkt)
{
	struct scratch *s = scratch_get();
	struct judgement j;
	int none, spoof, why;

	if (!pkt || !s)
		return TC_ACT_SHOT;
	if (addr_is_martian(&pkt->tuple.daddr))
		return drop(skb, pkt, NULL, DROP_MARTIAN);
	s->wire = pkt->tuple;
	pkt->tuple.zero[0] = 0;
	none = service_pick(pkt);
	why = judge(&pkt->tuple, &j);
	spoof = check_sender(skb, &j);
	if (spoof)
		return drop(skb, pkt, &j, spoof);
	if (none)
		return open_none(skb, pkt, &j, none);
	if (why)
		return drop(skb, pkt, &j, why);
	if (!opens(pkt))
		return drop(skb, pkt, &j, DROP_NO_FLOW);
	flow_begin(&s->flow, pkt, &j);
	why = open_way_back(&s->flow, &j);
	if (why)
		return drop(skb, pkt, &j, why);
	return open_route(skb, pkt, &j, s);
}

/* What the node's stack sends to a pod: judged by its true source. */
__noinline int open_to_pod(struct __sk_buff *skb, struct pkt *pkt)
{
	struct scratch *s = scratch_get();
	const struct endpoint *ep;
	struct judgement j;
	__u32 number;
	int why;

	if (!pkt || !s)
		return TC_ACT_SHOT;
	why = judge_from(&pkt->tuple, pkt->from, &j);
	if (pkt->from == FROM_FORWARD &&
	    (j.endpoint[0] || j.from_pool || comes_by_tunnel(&j)))
		return drop(skb, pkt, &j, DROP_SPOOF_ADDRESS);
	number = j.endpoint[1];
	ep = number ? bpf_map_lookup_elem(&endpoints, &number) : NULL;
	if (!ep || ep->ifindex != skb->ifindex)
		return drop(skb, pkt, &j, DROP_NO_POD);
	if (why)
		return drop(skb, pkt, &j, why);
	if (!opens(pkt))
		return drop(skb, pkt, &j, DROP_NO_FLOW);
	flow_begin(&s->flow, pkt, &j);
	s->flow.way[0].from = pkt->from;
	way_to_pod(&s->flow.way[0], ep);
	s->flow.way[1].from = ep->ifindex;
	s->flow.way[1].to = WHERE_STACK;
	if (pkt->from == FROM_FORWARD)
		s->flow.way[1].ifindex = LOOPBACK_IFINDEX;
	return open_finish(skb, pkt, &j);
}

/* Answers leave by the device that the question came from. */
static __always_inline void open_way_out(struct __sk_buff *skb, struct flow *f)
{
	__u32 ifindex = skb->ifindex;
	const struct uplink *up = bpf_map_lookup_elem(&uplinks, &ifindex);

	f->way[0].from = FROM_NET;
	f->way[1].to = WHERE_NET;
	f->way[1].ifindex = ifindex;
	f->way[1].mtu = up ? up->mtu : 0;
}

/* A source that the wire does not bring. */
static __always_inline bool is_spoof(const struct judgement *j)
{
	return j->endpoint[0] || j->local[0] || j->from_pool ||
	       comes_by_tunnel(j);
}

/*
 * From the wire to a pod here, or to a service: its backend may be anywhere.
 * The rest is the stack's.
 */
__noinline int open_from_net(struct __sk_buff *skb, struct pkt *pkt)
{
	struct scratch *s = scratch_get();
	int none = DROP_NONE, why;
	struct judgement j;

	if (!pkt || !s)
		return TC_ACT_SHOT;
	s->wire = pkt->tuple;
	if (config.full && opens(pkt))
		none = service_pick(pkt);
	why = judge(&pkt->tuple, &j);
	if (is_spoof(&j))
		return drop(skb, pkt, &j, DROP_SPOOF_ADDRESS);
	if (none)
		return open_none(skb, pkt, &j, none);
	if (!j.endpoint[1] && !(pkt->xlate & XLATE_SERVICE)) {
		if (j.pool)
			return drop(skb, pkt, &j, DROP_NO_POD);
		if (pkt->frag == FRAG_FIRST)
			pkt_fragment_forget(pkt);
		return TC_ACT_UNSPEC;
	}
	if (addr_is_martian(&pkt->tuple.saddr))
		return drop(skb, pkt, &j, DROP_MARTIAN);
	if (why)
		return drop(skb, pkt, &j, why);
	if (!opens(pkt))
		return drop(skb, pkt, &j, DROP_NO_FLOW);
	flow_begin(&s->flow, pkt, &j);
	open_way_out(skb, &s->flow);
	return open_route(skb, pkt, &j, s);
}

/* From the pods and processes of another node; to a pod here, or to us. */
__noinline int open_from_tunnel(struct __sk_buff *skb, struct pkt *pkt)
{
	struct scratch *s = scratch_get();
	const struct endpoint *ep;
	struct judgement j;
	__u32 number;
	int why;

	if (!pkt || !s)
		return TC_ACT_SHOT;
	why = judge(&pkt->tuple, &j);
	if (j.endpoint[0] || j.local[0])
		return drop(skb, pkt, &j, DROP_SPOOF_ADDRESS);
	if (!tunnel_sender_is(skb, j.node[0]))
		return drop(skb, pkt, &j, DROP_SPOOF_TUNNEL);
	if (j.local[1]) {
		/* Its later fragments are asked for their ports too. */
		if (pkt->frag == FRAG_FIRST && pkt_fragment_learn(pkt))
			return drop(skb, pkt, &j, DROP_FRAGMENT);
		return TC_ACT_UNSPEC;
	}
	number = j.endpoint[1];
	ep = number ? bpf_map_lookup_elem(&endpoints, &number) : NULL;
	if (!ep)
		return drop(skb, pkt, &j, DROP_NO_POD);
	if (why)
		return drop(skb, pkt, &j, why);
	if (pkt->icmp_error)
		return drop(skb, pkt, &j, DROP_ICMP_NO_FLOW);
	if (!opens(pkt))
		return drop(skb, pkt, &j, DROP_NO_FLOW);
	flow_begin(&s->flow, pkt, &j);
	s->flow.way[0].from = FROM_TUNNEL;
	way_to_pod(&s->flow.way[0], ep);
	s->flow.way[1].from = ep->ifindex;
	way_to_node(&s->flow.way[1], j.node[0]);
	return open_finish(skb, pkt, &j);
}
