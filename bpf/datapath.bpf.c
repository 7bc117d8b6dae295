// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* datapath.bpf.c - every hook of the datapath, top to bottom. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "flow.h"
#include "follow.h"
#include "maps.h"
#include "open.h"
#include "pkt.h"
#include "policy.h"
#include "quote.h"
#include "route.h"
#include "sweep.h"
#include "tunnel.h"

char _license[] SEC("license") = "GPL";

/* A pod sent a packet: we see it on the host side of its veth. */
SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct pkt pkt = {.hook = HOOK_FROM_POD, .from = skb->ifindex};
	int r;

	if (skb->mark)
		skb->mark = 0; /* marks are ours to give */
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return neighbour_arp(skb, &pkt);
	r = pkt_parse(skb, &pkt);
	if (r)
		return drop(skb, &pkt, NULL, r);
	if (pkt.v6 && pkt.tuple.proto == IPPROTO_ICMPV6 &&
	    pkt.icmp >= ND_ROUTER_SOLICIT && pkt.icmp <= ND_REDIRECT)
		return neighbour_discovery(skb, &pkt);
	if (pkt.icmp_error)
		return quote_follow(skb, &pkt);
	r = follow(skb, &pkt);
	if (r == FOLLOW_TAKEN) {
		pkt.tuple.zero[0] = 1; /* a key of its own, see service.h */
		pkt.xlate = XLATE_PORT;
		r = follow(skb, &pkt);
	}
	return r <= FOLLOW_MISS ? open_from_pod(skb, &pkt) : r;
}

/*
 * Who has the node's stack send this to a pod: the node itself, or a device
 * that brought it?  A device that is no uplink has no program of ours.
 */
static __always_inline __u32 stack_from(const struct __sk_buff *skb)
{
	return skb->ingress_ifindex > LOOPBACK_IFINDEX ? FROM_FORWARD
	                                               : FROM_STACK;
}

/* The node's stack sends to a pod: we see it ahead of the veth. */
SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct pkt pkt = {.hook = HOOK_TO_POD, .from = stack_from(skb)};
	int r;

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK; /* the node's own: it never forwards ARP */
	r = pkt_parse(skb, &pkt);
	/* Link-scope traffic is not forwarded either (RFC 4291 2.5.6). */
	if (pkt.v6 && (addr_is_link_local6(&pkt.tuple.saddr) ||
	               addr_is_martian(&pkt.tuple.daddr)))
		return TC_ACT_OK;
	if (r)
		return drop(skb, &pkt, NULL, r);
	if (pkt.icmp_error)
		return quote_follow(skb, &pkt);
	r = follow(skb, &pkt);
	return r == FOLLOW_MISS ? open_to_pod(skb, &pkt) : r;
}

/* Is the packet that we could not read one for a pod here? */
static __always_inline bool for_pod(const struct pkt *pkt)
{
	const struct addr_info *info;

	info = bpf_map_lookup_elem(&addrs, &pkt->tuple.daddr);
	return info && info->endpoint;
}

/* A packet came in from the wire. */
SEC("tc")
int from_net(struct __sk_buff *skb)
{
	struct pkt pkt = {.hook = HOOK_FROM_NET, .from = FROM_NET};
	int r;

	if (is_for_tunnel(skb))
		return TC_ACT_UNSPEC;
	r = pkt_parse(skb, &pkt);
	if (r)
		return for_pod(&pkt) ? drop(skb, &pkt, NULL, r) : TC_ACT_UNSPEC;
	if (pkt.icmp_error)
		return quote_follow(skb, &pkt);
	r = follow(skb, &pkt);
	return r == FOLLOW_MISS ? open_from_net(skb, &pkt) : r;
}

/* Another node's packet came out of the tunnel. */
SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	struct pkt pkt = {.hook = HOOK_FROM_TUNNEL, .from = FROM_TUNNEL};
	int r;

	r = pkt_parse(skb, &pkt);
	if (r)
		return drop(skb, &pkt, NULL, r);
	r = pkt.icmp_error ? quote_follow(skb, &pkt) : follow(skb, &pkt);
	return r == FOLLOW_MISS ? open_from_tunnel(skb, &pkt) : r;
}

/*
 * The node's stack sends to a pod of another node; pods' packets have their
 * outer addresses already.
 */
SEC("tc")
int to_tunnel(struct __sk_buff *skb)
{
	__u8 source[ETH_ALEN];
	struct pkt pkt = {.hook = HOOK_TO_TUNNEL, .from = FROM_STACK};
	struct judgement j = {};
	int r = DROP_ETHERTYPE;

	if (skb->mark == MARK_DECIDED)
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		r = parse_ip4(skb, &pkt);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		r = parse_ip6(skb, &pkt);
	if (r)
		return drop(skb, &pkt, NULL, r);
	identify(&pkt.tuple.saddr, &j, 0);
	if (j.endpoint[0])
		return drop(skb, &pkt, &j, DROP_SPOOF_ADDRESS);
	identify(&pkt.tuple.daddr, &j, 1);
	r = tunnel_key_set(skb, j.node[1]);
	/* That of the far device would be taken for an echo of its own. */
	__builtin_memcpy(source, config_plain()->gw_mac, ETH_ALEN);
	source[ETH_ALEN - 1] ^= 1;
	if (!r && bpf_skb_store_bytes(skb, ETH_ALEN, source, ETH_ALEN, 0))
		r = DROP_MALFORMED;
	return r ? drop(skb, &pkt, &j, r) : TC_ACT_UNSPEC;
}

/* A packet is about to leave by the wire. */
SEC("tc")
int to_net(struct __sk_buff *skb)
{
	struct pkt pkt = {.hook = HOOK_TO_NET, .from = FROM_STACK};
	const struct addr_info *info;
	int r = DROP_ETHERTYPE;

	if (skb->mark == MARK_DECIDED) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	if (skb->protocol == bpf_htons(ETH_P_IP))
		r = parse_ip4(skb, &pkt);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		r = parse_ip6(skb, &pkt);
	if (r)
		return TC_ACT_UNSPEC;
	/* A pod's packet that from_pod did not send: nothing leaves undecided.
	 */
	info = bpf_map_lookup_elem(&addrs, &pkt.tuple.saddr);
	if (info && info->endpoint)
		return drop(skb, &pkt, NULL, DROP_SPOOF_ADDRESS);
	/* The node's own answers to who asked one of its services. */
	if (!config.full || parse_l4(skb, &pkt) || pkt.icmp_error)
		return TC_ACT_UNSPEC;
	pkt.from = stack_from(skb);
	r = follow(skb, &pkt);
	return r == FOLLOW_MISS ? TC_ACT_UNSPEC : r;
}

/* ---- what devices carry: it never changes (design D9) ------------------ */

/* The place in the program array was empty. */
static __always_inline int no_program(enum hook hook, int verdict)
{
	__u32 key = hook * DROP__COUNT + DROP_NO_PROGRAM;
	__u64 *n = bpf_map_lookup_elem(&drops, &key);

	if (n)
		*n += 1;
	return verdict;
}

SEC("tc")
int stub_from_pod(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_POD);
	return no_program(HOOK_FROM_POD, TC_ACT_SHOT);
}

SEC("tc")
int stub_to_pod(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_TO_POD);
	return no_program(HOOK_TO_POD, TC_ACT_SHOT);
}

SEC("tc")
int stub_from_net(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_NET);
	return no_program(HOOK_FROM_NET, TC_ACT_UNSPEC);
}

SEC("tc")
int stub_to_net(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_TO_NET);
	return no_program(HOOK_TO_NET, TC_ACT_UNSPEC);
}

SEC("tc")
int stub_from_tunnel(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_TUNNEL);
	return no_program(HOOK_FROM_TUNNEL, TC_ACT_SHOT);
}

SEC("tc")
int stub_to_tunnel(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_TO_TUNNEL);
	return no_program(HOOK_TO_TUNNEL, TC_ACT_SHOT);
}

/* Run once by dp_open(): the timer then runs this build's sweep_tick(). */
SEC("tc")
int sweep_start(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct sweep *sweep = bpf_map_lookup_elem(&sweeps, &zero);

	(void)skb;
	if (!sweep)
		return 1;
	bpf_timer_init(&sweep->timer, &sweeps, 1 /* CLOCK_MONOTONIC */);
	if (bpf_timer_set_callback(&sweep->timer, sweep_tick))
		return 2;
	return bpf_timer_start(&sweep->timer, SWEEP_TICK_NS, 0) ? 3 : 0;
}
