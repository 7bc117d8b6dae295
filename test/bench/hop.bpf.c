// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * hop.bpf.c - the least that a way between two nodes can cost.
 *
 * No flow, no policy, no check: TTL, outer addresses or neighbour, redirect.
 * What it leaves of the kernel's routing nobody who redirects can better.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "test/bench/hop.h"

char _license[] SEC("license") = "GPL";

const volatile struct hop hop = {};

static __always_inline int older(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 check;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	check = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = (__u16)(check + (check >= 0xffff));
	ip->ttl--;
	return 0;
}

SEC("tc")
int hop_out(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {.tunnel_id = 1, .tunnel_ttl = 64};

	if (older(skb))
		return TC_ACT_OK;
	if (!hop.remote)
		return (int)bpf_redirect_neigh(hop.exit, NULL, 0, 0);
	key.remote_ipv4 = hop.remote;
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return TC_ACT_SHOT;
	return (int)bpf_redirect(hop.exit, 0);
}

SEC("tc")
int hop_in(struct __sk_buff *skb)
{
	struct ethhdr *eth;
	__u8 mac[ETH_ALEN];

	if (older(skb))
		return TC_ACT_OK;
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TC_ACT_OK;
	for (int i = 0; i < ETH_ALEN; i++)
		mac[i] = hop.mac[i];
	__builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
	return (int)bpf_redirect_peer(hop.pod, 0);
}
