/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * neighbour.h - ARP and neighbour discovery of pods, answered on the spot.
 *
 * Whatever a pod asks for, its next hop is us: every address but its own is
 * answered with the gateway's MAC.  Nothing of it reaches the node's stack.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "event.h"
#include "flow.h"
#include "icmp.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"

#define ND_ROUTER_SOLICIT  133
#define ND_ROUTER_ADVERT   134
#define ND_SOLICIT         135
#define ND_ADVERT          136
#define ND_REDIRECT        137
#define ND_OPT_TARGET_LINK 2

/* ARP for IPv4 over Ethernet (RFC 826). */
struct arp {
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 op;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

struct arp_frame {
	struct ethhdr eth;
	struct arp arp;
} __attribute__((packed));

/* A neighbour advertisement with its option (RFC 4861 4.4). */
struct nd_body {
	struct icmp_head icmp; /* id, seq: flags */
	struct addr target;
	__u8 option, option_len;
	__u8 mac[ETH_ALEN];
};

static __always_inline bool mac_equal(const __u8 *a, const __u8 *b)
{
	for (int i = 0; i < ETH_ALEN; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* Does the pod behind @ifindex own @addr, and speak with its own MAC? */
static __always_inline bool owns(const struct addr *addr, __u32 ifindex,
                                 const __u8 *mac)
{
	struct addr whole = *addr; /* 6.1 wants keys on the stack */
	const struct addr_info *info = bpf_map_lookup_elem(&addrs, &whole);
	const struct endpoint *ep;
	__u32 number;

	if (!info || !info->endpoint)
		return false;
	number = info->endpoint;
	ep = bpf_map_lookup_elem(&endpoints, &number);
	return ep && ep->ifindex == ifindex && mac_equal(ep->mac, mac);
}

__noinline int neighbour_arp(struct __sk_buff *skb, const struct pkt *pkt)
{
	struct arp_frame f;
	struct addr sender;
	__be32 spa, tpa;
	__u8 gw[ETH_ALEN];

	if (!pkt)
		return TC_ACT_SHOT;
	if (skb->vlan_present)
		return drop(skb, pkt, NULL, DROP_ETHERTYPE);
	if (bpf_skb_load_bytes(skb, 0, &f, sizeof(f)) ||
	    f.arp.hardware != bpf_htons(1) ||
	    f.arp.protocol != bpf_htons(ETH_P_IP) ||
	    f.arp.hardware_len != ETH_ALEN || f.arp.protocol_len != 4)
		return drop(skb, pkt, NULL, DROP_MALFORMED);
	__builtin_memcpy(&spa, f.arp.sender_ip, 4);
	__builtin_memcpy(&tpa, f.arp.target_ip, 4);
	if (!mac_equal(f.eth.h_source, f.arp.sender_mac))
		return drop(skb, pkt, NULL, DROP_SPOOF_NEIGHBOUR);
	if (!spa)
		return TC_ACT_SHOT; /* a probe (RFC 5227): nobody else has it */
	addr_v4(&sender, spa);
	if (!owns(&sender, skb->ifindex, f.arp.sender_mac))
		return drop(skb, pkt, NULL, DROP_SPOOF_NEIGHBOUR);
	if (f.arp.op != bpf_htons(1) || spa == tpa)
		return TC_ACT_SHOT; /* an announcement: we know already */

	__builtin_memcpy(gw, config_plain()->gw_mac, ETH_ALEN);
	f.arp.op = bpf_htons(2);
	__builtin_memcpy(f.eth.h_dest, f.eth.h_source, ETH_ALEN);
	__builtin_memcpy(f.arp.target_mac, f.eth.h_dest, ETH_ALEN);
	__builtin_memcpy(f.arp.target_ip, &spa, 4);
	__builtin_memcpy(f.eth.h_source, gw, ETH_ALEN);
	__builtin_memcpy(f.arp.sender_mac, gw, ETH_ALEN);
	__builtin_memcpy(f.arp.sender_ip, &tpa, 4);
	if (bpf_skb_store_bytes(skb, 0, &f, sizeof(f), 0))
		return drop(skb, pkt, NULL, DROP_MALFORMED);
	count(COUNTER_NEIGHBOUR_ANSWERED);
	return (int)bpf_redirect_peer(skb->ifindex, 0);
}

/* Answer a solicitation for @target with the gateway's MAC. */
__noinline int nd_answer(struct __sk_buff *skb, const struct pkt *pkt,
                         const struct addr *target)
{
	__be32 tail[2] = {bpf_htonl(sizeof(struct nd_body)),
	                  bpf_htonl(IPPROTO_ICMPV6)};
	struct ipv6hdr ip = {};
	struct nd_body nd = {};
	struct ethhdr eth;
	__u32 sum;

	if (!pkt || !target || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return TC_ACT_SHOT;
	__builtin_memcpy(eth.h_dest, eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, config_plain()->gw_mac, ETH_ALEN);
	ip.version = 6;
	ip.hop_limit = 255;
	ip.nexthdr = IPPROTO_ICMPV6;
	ip.payload_len = bpf_htons(sizeof(nd));
	__builtin_memcpy(&ip.saddr, target, 16);
	__builtin_memcpy(&ip.daddr, &pkt->tuple.saddr, 16);
	nd.icmp.type = ND_ADVERT;
	nd.icmp.id = bpf_htons(0xe000); /* router, solicited, override */
	nd.target = *target;
	nd.option = ND_OPT_TARGET_LINK;
	nd.option_len = 1;
	__builtin_memcpy(nd.mac, config_plain()->gw_mac, ETH_ALEN);
	sum = csum_add(&ip.saddr, 32, csum_add(tail, sizeof(tail), 0));
	nd.icmp.check = csum_fold(csum_add(&nd, sizeof(nd), sum));
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(ip) + sizeof(nd), 0) ||
	    bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &nd, sizeof(nd), 0))
		return TC_ACT_SHOT;
	count(COUNTER_NEIGHBOUR_ANSWERED);
	return (int)bpf_redirect_peer(skb->ifindex, 0);
}

/* ICMPv6 133 to 137 from a pod (RFC 4861).  Return: a TC verdict. */
__noinline int neighbour_discovery(struct __sk_buff *skb, const struct pkt *pkt)
{
	struct addr target;
	__u8 mac[ETH_ALEN];

	if (!pkt)
		return TC_ACT_SHOT;
	if (pkt->icmp == ND_ROUTER_ADVERT || pkt->icmp == ND_REDIRECT)
		return drop(skb, pkt, NULL, DROP_ROUTER_ADVERT);
	if (pkt->icmp == ND_ROUTER_SOLICIT)
		return TC_ACT_SHOT; /* the gateway is known: no answer owed */
	if (pkt->ttl != 255 || pkt->frag ||
	    bpf_skb_load_bytes(skb, pkt->l4 + 8, &target, sizeof(target)) ||
	    bpf_skb_load_bytes(skb, ETH_ALEN, mac, sizeof(mac)))
		return drop(skb, pkt, NULL, DROP_MALFORMED);
	if (pkt->icmp == ND_ADVERT) {
		if (addr_is_link_local6(&target) ||
		    owns(&target, skb->ifindex, mac))
			return TC_ACT_SHOT; /* its own: we know already */
		return drop(skb, pkt, NULL, DROP_SPOOF_NEIGHBOUR);
	}
	if (!pkt->tuple.saddr.half[0] && !pkt->tuple.saddr.half[1])
		return TC_ACT_SHOT; /* address detection: nobody has it */
	if (!addr_is_link_local6(&pkt->tuple.saddr) &&
	    !owns(&pkt->tuple.saddr, skb->ifindex, mac))
		return drop(skb, pkt, NULL, DROP_SPOOF_NEIGHBOUR);
	if (owns(&target, skb->ifindex, mac))
		return TC_ACT_SHOT;
	return nd_answer(skb, pkt, &target);
}
