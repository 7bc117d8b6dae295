/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tunnel.h - the overlay: which node a packet goes to, which it came from.
 *
 * One device that takes the outer addresses from each packet (collect
 * metadata).  nodes[0] is this node's own end.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "event.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"
#include "rewrite.h"

#define TUNNEL_TTL 64

static __always_inline bool addr_is_none(const struct addr *a)
{
	return !a->half[0] && !a->half[1];
}

/* Write this node's end where the kernel would choose one by itself. */
static __always_inline void tunnel_key_local(struct bpf_tunnel_key *key,
                                             bool v4)
{
	__u32 zero = 0;
	const struct node_info *own = bpf_map_lookup_elem(&nodes, &zero);

	if (!own || addr_is_none(&own->underlay) ||
	    addr_is_v4(&own->underlay) != v4)
		return;
	if (v4)
		key->local_ipv4 = bpf_ntohl(own->underlay.word[3]);
	else
		__builtin_memcpy(key->local_ipv6, &own->underlay, 16);
}

/*
 * tunnel_key_set - tell the tunnel's device which node the packet is for.
 *
 * Return: DROP_NONE, or DROP_NO_NODE.
 */
__noinline int tunnel_key_set(struct __sk_buff *skb, __u32 number)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = TUNNEL_VNI,
		.tunnel_ttl = TUNNEL_TTL,
	};
	__u64 flags = BPF_F_ZERO_CSUM_TX;
	const struct node_info *node;
	bool v4;

	node = number ? bpf_map_lookup_elem(&nodes, &number) : NULL;
	if (!node || addr_is_none(&node->underlay))
		return DROP_NO_NODE;
	v4 = addr_is_v4(&node->underlay);
	if (v4) {
		key.remote_ipv4 = bpf_ntohl(node->underlay.word[3]);
	} else {
		__builtin_memcpy(key.remote_ipv6, &node->underlay, 16);
		flags |= BPF_F_TUNINFO_IPV6;
	}
	tunnel_key_local(&key, v4);
	return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags)
	               ? DROP_NO_NODE
	               : DROP_NONE;
}

/* Did the node of that number send the packet that left the tunnel here? */
__noinline int tunnel_sender_is(struct __sk_buff *skb, __u32 number)
{
	struct bpf_tunnel_key key = {};
	const struct node_info *node;
	struct addr remote;

	node = number ? bpf_map_lookup_elem(&nodes, &number) : NULL;
	if (!node || addr_is_none(&node->underlay))
		return 0;
	if (addr_is_v4(&node->underlay)) {
		if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
			return 0;
		addr_v4(&remote, bpf_htonl(key.remote_ipv4));
	} else {
		if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key),
		                           BPF_F_TUNINFO_IPV6))
			return 0;
		__builtin_memcpy(&remote, key.remote_ipv6, 16);
	}
	return key.tunnel_id == TUNNEL_VNI &&
	       addr_equal(&remote, &node->underlay);
}

/* Send a pod's packet to the node of that number.  Return: a TC verdict. */
__noinline int tunnel_send(struct __sk_buff *skb, const struct pkt *pkt,
                           __u32 number)
{
	int why;

	if (!pkt)
		return TC_ACT_SHOT;
	why = tunnel_key_set(skb, number);
	if (!why)
		why = rewrite_hop(skb, pkt->v6, NULL, NULL);
	if (why)
		return drop(skb, pkt, NULL, why);
	skb->mark = MARK_DECIDED;
	return (int)bpf_redirect(config.tunnel_ifindex, 0);
}

/* The way to a pod of another node. */
static __always_inline void way_to_node(struct flow_way *way, __u16 number)
{
	__u32 ifindex = config.tunnel_ifindex;
	const struct uplink *up = bpf_map_lookup_elem(&uplinks, &ifindex);

	way->to = WHERE_TUNNEL;
	way->ifindex = ifindex;
	way->mtu = up ? up->mtu : config.tunnel_mtu;
	way->node = number;
}

static __always_inline bool tunnel_end_is(const struct addr *addr)
{
	__u32 zero = 0;
	const struct node_info *own = bpf_map_lookup_elem(&nodes, &zero);

	return own && addr_equal(&own->underlay, addr);
}

/*
 * Is it a whole packet for the tunnel's own end at this node?  Looked at ahead
 * of everything: most of what comes in is.
 */
static __always_inline bool is_for_tunnel(struct __sk_buff *skb)
{
	const void *end = (void *)(long)skb->data_end;
	const void *ip = (void *)(long)skb->data + ETH_HLEN;
	const struct iphdr *ip4 = ip;
	const struct ipv6hdr *ip6 = ip;
	const __be16 *ports;
	struct addr to;

	if (!config.tunnel_ifindex)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		ports = ip + sizeof(*ip4);
		if ((void *)(ports + 2) > end || ip4->version != 4 ||
		    ip4->ihl != 5 || ip4->protocol != IPPROTO_UDP ||
		    ip4->frag_off & bpf_htons(0x3fff) ||
		    ports[1] != config.tunnel_port)
			return false;
		addr_v4(&to, ip4->daddr);
		return tunnel_end_is(&to);
	}
	ports = ip + sizeof(*ip6);
	if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
	    (void *)(ports + 2) > end || ip6->version != 6 ||
	    ip6->nexthdr != IPPROTO_UDP || ports[1] != config.tunnel_port)
		return false;
	__builtin_memcpy(&to, &ip6->daddr, sizeof(to));
	return tunnel_end_is(&to);
}

/*
 * May a pod send it past the pods?  What it wraps would come out of the tunnel
 * of this node, or of another one as if from here.
 */
static __always_inline bool pkt_forges_tunnel(const struct pkt *pkt)
{
	return config.tunnel_ifindex && pkt->tuple.proto == IPPROTO_UDP &&
	       pkt->tuple.dport == config.tunnel_port;
}

/*
 * Is the destination reached through the tunnel?  Pods of other nodes are; the
 * nodes themselves only by who keeps his own address, which means nothing to
 * the wire.
 */
static __always_inline bool goes_by_tunnel(const struct judgement *j)
{
	return config.tunnel_ifindex && j->node[1] &&
	       (j->no_masq || !config.masquerade);
}

/* Is the source a pod of another node, which only the tunnel brings? */
static __always_inline bool comes_by_tunnel(const struct judgement *j)
{
	return config.tunnel_ifindex && j->node[0] &&
	       !id_is_node(j->identity[0]);
}
