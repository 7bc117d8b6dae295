/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * refuse.h - nobody serves here, and the client is told: a reset for TCP, which
 * ends connect() at once (an ICMP error may find the socket locked, and then
 * waits for the next SYN), port unreachable for the rest.
 */
#pragma once

#include "icmp.h"

struct tcp_head {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 doff, flags;
	__be16 window, check, urgent;
};

#define TCP_DOFF (sizeof(struct tcp_head) / 4 << 4)

/* The answer to a SYN: RFC 9293 3.10.7.1. */
static __always_inline void reset_tcp(struct tcp_head *tcp,
                                      const struct pkt *pkt, __be32 seq)
{
	__be32 pseudo[2] = {bpf_htonl(sizeof(*tcp)), bpf_htonl(IPPROTO_TCP)};
	__u32 sum;

	tcp->sport = pkt->tuple.dport;
	tcp->dport = pkt->tuple.sport;
	tcp->ack = bpf_htonl(bpf_ntohl(seq) + 1);
	tcp->doff = TCP_DOFF;
	tcp->flags = TCP_RST | TCP_ACK;
	/* Of an IPv4 address the mapped form adds 0xffff, which is nothing. */
	sum = csum_add(&pkt->tuple.saddr, 32, csum_add(pseudo, 8, 0));
	tcp->check = csum_fold(csum_add(tcp, sizeof(*tcp), sum));
}

static __always_inline void reset_ip4(struct iphdr *ip, const struct pkt *pkt)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_TCP;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct tcp_head));
	ip->saddr = pkt->tuple.daddr.word[3];
	ip->daddr = pkt->tuple.saddr.word[3];
	ip->check = csum_fold(csum_add(ip, sizeof(*ip), 0));
}

static __always_inline void reset_ip6(struct ipv6hdr *ip, const struct pkt *pkt)
{
	ip->version = 6;
	ip->hop_limit = 64;
	ip->nexthdr = IPPROTO_TCP;
	ip->payload_len = bpf_htons(sizeof(struct tcp_head));
	__builtin_memcpy(&ip->saddr, &pkt->tuple.daddr, 16);
	__builtin_memcpy(&ip->daddr, &pkt->tuple.saddr, 16);
}

/* Put the reset in place of the SYN; 0 or -errno. */
__noinline int reset_store(struct __sk_buff *skb, const struct pkt *pkt)
{
	struct tcp_head tcp = {};
	struct ipv6hdr ip6 = {};
	struct iphdr ip4 = {};
	__u32 len;
	__be32 seq;
	long r;

	if (!pkt || bpf_skb_load_bytes(skb, pkt->l4 + 4, &seq, sizeof(seq)))
		return -1;
	reset_tcp(&tcp, pkt, seq);
	len = pkt->v6 ? sizeof(ip6) : sizeof(ip4);
	r = frame_turn(skb, pkt, len + sizeof(tcp));
	if (!r && pkt->v6) {
		reset_ip6(&ip6, pkt);
		r = bpf_skb_store_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6), 0);
	} else if (!r) {
		reset_ip4(&ip4, pkt);
		r = bpf_skb_store_bytes(skb, ETH_HLEN, &ip4, sizeof(ip4), 0);
	}
	return (int)(r ? r
	               : bpf_skb_store_bytes(skb, ETH_HLEN + len, &tcp,
	                                     sizeof(tcp), 0));
}

/* Nobody serves here; counts the refusal.  Return: a TC verdict. */
static __always_inline int refuse(struct __sk_buff *skb, const struct pkt *pkt)
{
	count(COUNTER_SERVICE_REFUSED);
	if (pkt->tuple.proto != IPPROTO_TCP)
		return icmp_error(skb, pkt, ICMP_TYPES(3, 3, 1, 4), 0);
	if (!(pkt->tcp & TCP_SYN) || pkt->frag == FRAG_LATER ||
	    reset_store(skb, pkt))
		return TC_ACT_SHOT;
	return icmp_send(skb, pkt);
}
