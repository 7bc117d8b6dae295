/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * quote.h - ICMP errors belong to the flow that they quote.
 *
 * An error goes the other way than the packet it quotes, so it must come from
 * where that packet was sent to; it opens nothing and answers nothing.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "flow.h"
#include "follow.h"
#include "route.h"

struct quote {
	struct flow_tuple tuple; /* of the packet that is quoted */
	__u32 ip;                /* offset of its IP header */
	__u32 l4;                /* offset of its transport header */
};

static __always_inline int quote_ports(struct __sk_buff *skb, struct quote *q)
{
	struct icmp_head head;
	bool request, reply;

	if (proto_has_ports(q->tuple.proto)) {
		__be16 ports[2];

		if (bpf_skb_load_bytes(skb, q->l4, ports, sizeof(ports)))
			return DROP_MALFORMED;
		q->tuple.sport = ports[0];
		q->tuple.dport = ports[1];
		return DROP_NONE;
	}
	if (q->tuple.proto != IPPROTO_ICMP && q->tuple.proto != IPPROTO_ICMPV6)
		return DROP_NONE;
	if (bpf_skb_load_bytes(skb, q->l4, &head, sizeof(head)))
		return DROP_MALFORMED;
	request = head.type == (q->tuple.proto == IPPROTO_ICMP ? 8 : 128);
	reply = head.type == (q->tuple.proto == IPPROTO_ICMP ? 0 : 129);
	if (request)
		q->tuple.sport = head.id;
	else if (reply)
		q->tuple.dport = head.id;
	return DROP_NONE;
}

/* Read the packet that an error quotes. */
static __always_inline int quote_parse(struct __sk_buff *skb,
                                       const struct pkt *pkt, struct quote *q)
{
	q->ip = pkt->l4 + sizeof(struct icmp_head);
	if (pkt->v6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, q->ip, &ip, sizeof(ip)) ||
		    ip.version != 6)
			return DROP_MALFORMED;
		__builtin_memcpy(&q->tuple.saddr, &ip.saddr, 16);
		__builtin_memcpy(&q->tuple.daddr, &ip.daddr, 16);
		q->tuple.proto = ip.nexthdr;
		q->l4 = q->ip + sizeof(ip);
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->ip, &ip, sizeof(ip)) ||
		    ip.version != 4 || ip.ihl < 5)
			return DROP_MALFORMED;
		if (ip.frag_off & bpf_htons(0x1fff))
			return DROP_ICMP_NO_FLOW;
		addr_v4(&q->tuple.saddr, ip.saddr);
		addr_v4(&q->tuple.daddr, ip.daddr);
		q->tuple.proto = ip.protocol;
		q->l4 = q->ip + ip.ihl * 4;
	}
	return quote_ports(skb, q);
}

/* One address inside the quote; IPv4's header checksum absorbs the change. */
static __always_inline int quote_addr(struct __sk_buff *skb,
                                      const struct pkt *pkt,
                                      const struct quote *q, int end,
                                      const struct addr *to)
{
	const struct addr *from = end ? &q->tuple.daddr : &q->tuple.saddr;
	__u32 off = q->ip + (pkt->v6 ? 8 : 12) + (end ? (pkt->v6 ? 16 : 4) : 0);

	if (addr_equal(from, to))
		return 0;
	if (!pkt->v6 &&
	    bpf_l3_csum_replace(skb, q->ip + offsetof(struct iphdr, check),
	                        from->word[3], to->word[3], 4))
		return -1;
	return addr_store(skb, off, pkt->v6, to);
}

static __always_inline int quote_port(struct __sk_buff *skb,
                                      const struct pkt *pkt,
                                      const struct quote *q, int end, __be16 to)
{
	__be16 from = end ? q->tuple.dport : q->tuple.sport;
	__u32 at =
		q->l4 + (proto_has_ports(q->tuple.proto) ? (end ? 2 : 0) : 4);

	if (from == to)
		return 0;
	if (bpf_l4_csum_replace(skb, pkt->l4 + 2, from, to, 2))
		return -1;
	return (int)bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/*
 * quote_rewrite - make the error speak of the tuple @to instead of the quoted.
 *
 * Its own ends follow: the destination is the quoted packet's source; its
 * source changes too when that was the quoted packet's destination.
 */
static __always_inline int quote_rewrite(struct __sk_buff *skb, struct pkt *pkt,
                                         const struct quote *q,
                                         const struct flow_tuple *to)
{
	struct flow_tuple outer = pkt->tuple;

	outer.daddr = to->saddr;
	if (addr_equal(&pkt->tuple.saddr, &q->tuple.daddr))
		outer.saddr = to->daddr;
	if (pkt->v6) {
		__s64 diff = bpf_csum_diff((void *)&pkt->tuple.saddr, 32,
		                           (void *)&outer.saddr, 32, 0);

		diff = bpf_csum_diff((void *)&q->tuple.saddr, 32,
		                     (void *)&to->saddr, 32, diff);
		if (bpf_l4_csum_replace(skb, pkt->l4 + 2, 0, diff, 0))
			return DROP_MALFORMED;
	}
	if (rewrite_addr(skb, pkt, 0, &pkt->tuple.saddr, &outer.saddr) ||
	    rewrite_addr(skb, pkt, 1, &pkt->tuple.daddr, &outer.daddr) ||
	    quote_addr(skb, pkt, q, 0, &to->saddr) ||
	    quote_addr(skb, pkt, q, 1, &to->daddr) ||
	    quote_port(skb, pkt, q, 0, to->sport) ||
	    quote_port(skb, pkt, q, 1, to->dport))
		return DROP_MALFORMED;
	return DROP_NONE;
}

/* The same for the flow @key: its other tuple, as the quoted packet went. */
__noinline int quote_translate(struct __sk_buff *skb, struct pkt *pkt,
                               const struct quote *q, const struct flow_key *of,
                               int dq)
{
	struct flow_key on_stack, *key = &on_stack;
	struct flow_tuple to;
	struct flow *f;
	__u32 tag;

	if (!pkt || !q || !of)
		return DROP_MALFORMED;
	on_stack = *of; /* 6.1 wants keys on the stack */
	tag = flow_tag(key);
	f = flow_find(key, tag);
	if (!f)
		return DROP_ICMP_NO_FLOW;
	if (dq)
		tuple_reverse(&f->other, &to);
	else
		to = f->other;
	asm volatile("" ::: "memory");
	if (f->tag != tag)
		return DROP_ICMP_NO_FLOW;
	return quote_rewrite(skb, pkt, q, &to);
}

/* No flow of ours: an error for the node itself is the stack's to read. */
static __always_inline int quote_miss(struct __sk_buff *skb,
                                      const struct pkt *pkt, int why)
{
	const struct addr_info *info;

	if (pkt->hook == HOOK_FROM_TUNNEL)
		return FOLLOW_MISS;
	if (pkt->hook == HOOK_FROM_NET) {
		struct addr whole = pkt->tuple.daddr;

		info = bpf_map_lookup_elem(&addrs, &whole);
		if (!info || !info->endpoint)
			return TC_ACT_UNSPEC;
	}
	return drop(skb, pkt, NULL, why);
}

__noinline int quote_follow(struct __sk_buff *skb, struct pkt *pkt)
{
	struct scratch *s = scratch_get();
	struct quote *q; /* in scratch: the stack is short */
	struct flow_key key;
	struct flow_way way;
	struct flow *f;
	__u32 tag;
	__u16 node;
	bool swapped, xlate, stale;
	int dq, why;

	if (!pkt || !s)
		return TC_ACT_SHOT;
	q = (struct quote *)s->bytes;
	__builtin_memset(q, 0, sizeof(*q));
	why = quote_parse(skb, pkt, q);
	if (why)
		return quote_miss(skb, pkt, why);
	/* A pod speaks for itself only: it routes for nobody. */
	if (pkt->hook == HOOK_FROM_POD &&
	    !addr_equal(&pkt->tuple.saddr, &q->tuple.daddr))
		return drop(skb, pkt, NULL, DROP_SPOOF_ADDRESS);
	if (!addr_equal(&pkt->tuple.daddr, &q->tuple.saddr))
		return quote_miss(skb, pkt, DROP_ICMP_NO_FLOW);
	swapped = flow_key_make(&q->tuple, &key);
	tag = flow_tag(&key);
	f = flow_find(&key, tag);
	if (!f)
		return quote_miss(skb, pkt, DROP_ICMP_NO_FLOW);
	dq = swapped != !!(f->flags & FLOW_REVERSED);
	way = f->way[(1 - dq) & 1];
	node = f->way[dq & 1].node;
	xlate = f->flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT);
	stale = f->epoch != epoch_sum(f->way[0].endpoint, f->way[1].endpoint);
	asm volatile("" ::: "memory");
	if (f->tag != tag || way.from != pkt->from)
		return quote_miss(skb, pkt, DROP_ICMP_NO_FLOW);
	if (config.tunnel_ifindex && pkt->from == FROM_TUNNEL &&
	    !tunnel_sender_is(skb, node))
		return drop(skb, pkt, NULL, DROP_SPOOF_TUNNEL);
	if (stale) {
		why = flow_rejudge(&key, tag, &q->tuple);
		if (why)
			return drop(skb, pkt, &s->j, why);
	}
	if (xlate) {
		why = quote_translate(skb, pkt, q, &key, dq);
		if (why)
			return drop(skb, pkt, NULL, why);
	}
	return route_along(skb, pkt, &way, NULL);
}
