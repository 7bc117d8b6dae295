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

struct reset {
	union {
		struct iphdr ip4;
		struct ipv6hdr ip6;
	};
	struct tcp_head tcp;
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

static __always_inline void reset_ip(struct reset *r, const struct pkt *pkt)
{
	if (pkt->v6) {
		r->ip6.version = 6;
		r->ip6.hop_limit = 64;
		r->ip6.nexthdr = IPPROTO_TCP;
		r->ip6.payload_len = bpf_htons(sizeof(r->tcp));
		__builtin_memcpy(&r->ip6.saddr, &pkt->tuple.daddr, 16);
		__builtin_memcpy(&r->ip6.daddr, &pkt->tuple.saddr, 16);
		return;
	}
	r->ip4.version = 4;
	r->ip4.ihl = 5;
	r->ip4.ttl = 64;
	r->ip4.protocol = IPPROTO_TCP;
	r->ip4.tot_len = bpf_htons(sizeof(r->ip4) + sizeof(r->tcp));
	r->ip4.saddr = pkt->tuple.daddr.word[3];
	r->ip4.daddr = pkt->tuple.saddr.word[3];
	r->ip4.check = csum_fold(csum_add(&r->ip4, sizeof(r->ip4), 0));
}

/* Put the reset in place of the SYN; 0 or -errno. */
__noinline int reset_store(struct __sk_buff *skb, const struct pkt *pkt)
{
	struct reset r = {};
	struct ethhdr eth;
	__u32 at = ETH_HLEN;
	__be32 seq;
	long e;

	if (!pkt)
		return -1;
	e = bpf_skb_load_bytes(skb, pkt->l4 + 4, &seq, sizeof(seq));
	e = e ? e : bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth));
	if (e)
		return -1;
	icmp_turn(&eth, pkt->hook == HOOK_FROM_NET);
	reset_ip(&r, pkt);
	reset_tcp(&r.tcp, pkt, seq);
	at += pkt->v6 ? sizeof(r.ip6) : sizeof(r.ip4);
	e = bpf_skb_change_tail(skb, at + sizeof(r.tcp), 0);
	e = e ? e : bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
	if (!e && pkt->v6)
		e = bpf_skb_store_bytes(skb, ETH_HLEN, &r.ip6, sizeof(r.ip6),
		                        0);
	else if (!e)
		e = bpf_skb_store_bytes(skb, ETH_HLEN, &r.ip4, sizeof(r.ip4),
		                        0);
	return (int)(e ? e
	               : bpf_skb_store_bytes(skb, at, &r.tcp, sizeof(r.tcp),
	                                     0));
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
