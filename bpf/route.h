/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* route.h - where packets go: along a way that a flow remembers, or a new one.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "event.h"
#include "flow.h"
#include "icmp.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"
#include "rewrite.h"
#include "tunnel.h"

/* The way to a pod of this node. */
static __always_inline void way_to_pod(struct flow_way *way,
                                       const struct endpoint *ep)
{
	way->to = WHERE_POD;
	way->ifindex = ep->ifindex;
	way->mtu = ep->mtu;
	__builtin_memcpy(way->mac, ep->mac, sizeof(way->mac));
}

/* Is the packet, or each segment that it will be cut to, larger than @mtu? */
static __always_inline bool pkt_exceeds(struct __sk_buff *skb,
                                        const struct pkt *pkt, __u16 mtu)
{
	__u32 gso = skb->gso_size;

	if (!mtu || pkt->len <= mtu)
		return false;
	return !gso || gso + (pkt->l4 - ETH_HLEN - pkt->jumbo) + pkt->hdr > mtu;
}

#define LOOPBACK_IFINDEX 1 /* include/net/flow.h of the kernel */

/*
 * stack_reenter - hand a pod's answer to the stack that forwarded the question.
 *
 * What kube-proxy or the node's own rules translated must go back through
 * them, and out: the pod's veth does not forward (design D8), the loopback
 * device does.  Return: a TC verdict.
 */
static __always_inline int stack_reenter(struct __sk_buff *skb,
                                         const struct pkt *pkt)
{
	const __u8 none[ETH_ALEN] = {}; /* its address: else it is not for us */

	if (bpf_skb_store_bytes(skb, 0, none, sizeof(none), 0))
		return drop(skb, pkt, NULL, DROP_REDIRECT);
	return (int)bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
}

/*
 * route_along - send the packet along @way, rewriting it first to @to.
 *
 * @to: NULL when nothing is translated.  Return: a TC verdict.
 */
static __always_inline int route_along(struct __sk_buff *skb, struct pkt *pkt,
                                       const struct flow_way *way,
                                       const struct flow_tuple *to)
{
	int why;

	if (way->to == WHERE_STACK || pkt->hook == HOOK_TO_POD) {
		why = to ? rewrite(skb, pkt, to) : DROP_NONE;
		if (why)
			return drop(skb, pkt, NULL, why);
		return way->ifindex == LOOPBACK_IFINDEX
		               ? stack_reenter(skb, pkt)
		               : TC_ACT_OK;
	}
	if (pkt_exceeds(skb, pkt, way->mtu))
		return icmp_too_big(skb, pkt, way->mtu);
	if (pkt->ttl <= 1)
		return icmp_time_exceeded(skb, pkt);
	if (to) {
		why = rewrite(skb, pkt, to);
		if (why)
			return drop(skb, pkt, NULL, why);
	}
	if (way->to == WHERE_POD) {
		why = rewrite_hop(skb, pkt->v6, way->mac,
		                  config_plain()->gw_mac);
		return why ? drop(skb, pkt, NULL, why)
		           : (int)bpf_redirect_peer(way->ifindex, 0);
	}
	if (config.tunnel_ifindex && way->to == WHERE_TUNNEL)
		return tunnel_send(skb, pkt, way->node);
	if (way->to != WHERE_NET)
		return drop(skb, pkt, NULL, DROP_NO_ROUTE);
	why = rewrite_hop(skb, pkt->v6, NULL, NULL);
	if (why)
		return drop(skb, pkt, NULL, why);
	skb->mark = MARK_DECIDED;
	return (int)bpf_redirect_neigh(way->ifindex, NULL, 0, 0);
}

#define FIB_SKIP_NEIGH (1u << 2) /* BPF_FIB_LOOKUP_SKIP_NEIGH: Linux 6.3 */

/*
 * route_exit - find the device by which a packet leaves the node.
 *
 * The lookup is made as if from the loopback device: pods' veths do not
 * forward (design D8), and the helper refuses those.
 * Fills ifindex and mtu of @way.  Return: DROP_NONE or why not.
 */
__noinline int route_exit(struct __sk_buff *skb, const struct pkt *pkt,
                          struct flow_way *way)
{
	struct bpf_fib_lookup fib = {};
	const struct uplink *uplink;
	__u32 ifindex;
	long r;

	if (!pkt || !way)
		return DROP_NO_ROUTE;
	fib.ifindex = LOOPBACK_IFINDEX;
	fib.tot_len = 1; /* asks for the route's MTU */
	fib.l4_protocol = pkt->tuple.proto;
	if (pkt->v6) {
		fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(fib.ipv6_src, &pkt->tuple.saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, &pkt->tuple.daddr, 16);
	} else {
		fib.family = 2; /* AF_INET */
		fib.ipv4_src = pkt->tuple.saddr.word[3];
		fib.ipv4_dst = pkt->tuple.daddr.word[3];
	}
	/* Without the neighbour the answer would lack the route's MTU. */
	r = bpf_fib_lookup(skb, &fib, sizeof(fib), FIB_SKIP_NEIGH);
	if (r < 0)
		r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH)
		return DROP_NO_ROUTE;
	ifindex = fib.ifindex;
	uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	if (!uplink)
		return DROP_NO_ROUTE;
	way->to = WHERE_NET;
	way->ifindex = ifindex;
	way->mtu = uplink->mtu;
	if (r == BPF_FIB_LKUP_RET_SUCCESS && fib.mtu_result &&
	    fib.mtu_result < way->mtu)
		way->mtu = fib.mtu_result;
	return DROP_NONE;
}
