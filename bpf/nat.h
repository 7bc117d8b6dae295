/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nat.h - leave with the node's address: pick a port, keep both sides of it. */
#pragma once

#include "flow.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"
#include "route.h"

#define NAT_TRIES 1024

/* Ports that we may change without breaking a checksum we can not mend. */
static __always_inline bool nat_port_free(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP ||
	       proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/*
 * May the flow that @pkt opens leave with the node's address?  Only with a port
 * or an echo id of our choice: of any other protocol, what the far end sends to
 * the node itself would look like an answer.
 */
static __always_inline bool nat_able(const struct pkt *pkt)
{
	switch (pkt->tuple.proto) {
	case IPPROTO_ICMP:
		return pkt->icmp == 8;
	case IPPROTO_ICMPV6:
		return pkt->icmp == 128;
	}
	return pkt->tuple.proto == IPPROTO_TCP ||
	       pkt->tuple.proto == IPPROTO_UDP;
}

/*
 * Has the node a socket that answers to @t would reach?  Programs may bind any
 * port; what is reserved (daemon/node_setup.c) is only never given by chance.
 * Sockets bound to a device are found for the device of @skb alone.
 */
static __always_inline bool nat_is_nodes(struct __sk_buff *skb,
                                         struct scratch *s,
                                         const struct flow_tuple *t)
{
	struct bpf_sock_tuple *want = (void *)s->bytes; /* the stack is short */
	__u32 len = sizeof(want->ipv6);
	struct bpf_sock *sk;

	if (addr_is_v4(&t->saddr)) {
		len = sizeof(want->ipv4);
		want->ipv4.saddr = t->daddr.word[3];
		want->ipv4.daddr = t->saddr.word[3];
		want->ipv4.sport = t->dport;
		want->ipv4.dport = t->sport;
	} else {
		__builtin_memcpy(want->ipv6.saddr, &t->daddr, 16);
		__builtin_memcpy(want->ipv6.daddr, &t->saddr, 16);
		want->ipv6.sport = t->dport;
		want->ipv6.dport = t->sport;
	}
	if (t->proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(skb, want, len, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(skb, want, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/*
 * Reserve the far tuple @t for the flow prepared in scratch.far.
 * Return: 0, or 1 when somebody has it.
 */
static __always_inline int nat_reserve(struct scratch *s,
                                       const struct flow_tuple *t)
{
	struct flow_key key;
	bool swapped = flow_key_make(t, &key);
	__u32 tag = flow_tag(&key);

	/* Of a pod that asks itself, it may be the near side's own. */
	if (flow_key_equal(&key, &s->near) || flow_main(&key, tag))
		return 1;
	s->far.tag = tag;
	s->far.flags &= ~FLOW_REVERSED;
	if (swapped)
		s->far.flags |= FLOW_REVERSED;
	return flow_insert(&key, &s->far);
}

struct nat_search {
	struct __sk_buff *skb;
	__u32 sockets; /* 1: ports of the node's sockets are taken */
	__u32 found;
};

/* Anywhere: ports in a row are taken in rows, which get longer and longer. */
static long nat_try(__u32 i, void *ctx)
{
	struct nat_search *n = ctx;
	struct scratch *s = scratch_get();
	const __u32 size = config.nat_port_max - config.nat_port_min + 1;

	(void)i;
	if (!s)
		return 1;
	s->flow.other.sport =
		bpf_htons(config.nat_port_min + bpf_get_prandom_u32() % size);
	/* Answers to this port would end in the tunnel. */
	if (config.tunnel_ifindex && s->flow.other.sport == config.tunnel_port)
		return 0;
	n->found = !(n->sockets && nat_is_nodes(n->skb, s, &s->flow.other)) &&
	           !nat_reserve(s, &s->flow.other);
	if (!n->found)
		count(COUNTER_NAT_RETRY);
	return n->found;
}

/*
 * nat_pick - reserve a far tuple for the translated flow in scratch.
 *
 * scratch.flow.other: the opener's tuple as it leaves, source port still the
 * pod's; on success its port is the one reserved and the far entry stands.
 * What goes to a service keeps its port if it can: only a live connection of
 * the pod to the very backend can have it.
 * Ports are shared between destinations: only the whole tuple must be new
 * (RFC 4787 4.1 would rather have one mapping an endpoint; exhaustion hurts
 * more).  Return: DROP_NONE or DROP_NAT_PORTS.
 */
__noinline int nat_pick(struct __sk_buff *skb, __u32 proto, __u32 xlate)
{
	struct scratch *s = scratch_get();
	struct nat_search n = {.skb = skb};

	if (!s)
		return DROP_NAT_PORTS;
	if (!nat_port_free(proto) || !(xlate & (XLATE_MASQ | XLATE_PORT))) {
		if (!nat_reserve(s, &s->flow.other))
			return DROP_NONE;
		if (!nat_port_free(proto))
			return DROP_NAT_PORTS;
		count(COUNTER_NAT_RETRY);
	}
	n.sockets = xlate & XLATE_MASQ &&
	            (proto == IPPROTO_TCP || proto == IPPROTO_UDP);
	bpf_loop(NAT_TRIES, nat_try, &n, 0);
	return n.found ? DROP_NONE : DROP_NAT_PORTS;
}
