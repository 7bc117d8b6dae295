/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* icmp.h - the ICMP errors that a router owes a sender, made in place. */
#pragma once

#include <linux/pkt_cls.h>

#include "event.h"
#include "flow.h"
#include "maps.h"
#include "pkt.h"
#include "policy.h"

#define QUOTE 96 /* bytes of the offending packet that go back */

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline __u32 csum_add(const void *p, __u32 len, __u32 seed)
{
	return (__u32)bpf_csum_diff(NULL, 0, (void *)p, len, seed);
}

/*
 * Make the frame one for who sent it, with room for @len bytes behind Ethernet:
 * from the gateway, or off the wire from whom it was sent to.
 * Return: 0 or -errno.
 */
static __always_inline long frame_turn(struct __sk_buff *skb,
                                       const struct pkt *pkt, __u32 len)
{
	struct ethhdr eth;
	__u8 own[ETH_ALEN];
	long r = bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth));

	__builtin_memcpy(own,
	                 pkt->hook == HOOK_FROM_NET ? eth.h_dest
	                                            : config_plain()->gw_mac,
	                 ETH_ALEN);
	__builtin_memcpy(eth.h_dest, eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, own, ETH_ALEN);
	r = r ? r : bpf_skb_change_tail(skb, ETH_HLEN + len, 0);
	return r ? r : bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* Who we are to the sender. */
static __always_inline void icmp_source(struct __sk_buff *skb,
                                        const struct pkt *pkt, struct addr *to)
{
	const int family = pkt->v6 ? FAMILY_V6 : FAMILY_V4;
	__u32 ifindex = skb->ifindex;
	const struct uplink *up;

	__builtin_memcpy(to, &config_plain()->gateway[family], sizeof(*to));
	if (pkt->hook != HOOK_FROM_NET)
		return;
	up = bpf_map_lookup_elem(&uplinks, &ifindex);
	if (up)
		*to = up->addr[family];
}

/*
 * Put Ethernet, IP, ICMP and the quote in place of the frame.
 *
 * @ip_len: bytes of @ip.  Return: 0 or -errno.
 */
static __always_inline long icmp_store(struct __sk_buff *skb,
                                       const struct pkt *pkt, const void *ip,
                                       __u32 ip_len,
                                       const struct icmp_head *head,
                                       const __u8 *quote)
{
	const __u32 at = ETH_HLEN + ip_len;
	long r = frame_turn(skb, pkt, ip_len + sizeof(*head) + QUOTE);

	r = r ? r : bpf_skb_store_bytes(skb, ETH_HLEN, ip, ip_len, 0);
	r = r ? r : bpf_skb_store_bytes(skb, at, head, sizeof(*head), 0);
	return r ? r
	         : bpf_skb_store_bytes(skb, at + sizeof(*head), quote, QUOTE,
	                               0);
}

__noinline int icmp4_error(struct __sk_buff *skb, const struct pkt *pkt,
                           struct icmp_head *head)
{
	struct scratch *s = scratch_get();
	struct iphdr ip = {};
	struct addr own;

	if (!pkt || !head || !s)
		return -1;
	icmp_source(skb, pkt, &own);
	ip.version = 4;
	ip.ihl = 5;
	ip.ttl = 64;
	ip.protocol = IPPROTO_ICMP;
	ip.tot_len = bpf_htons(sizeof(ip) + sizeof(*head) + QUOTE);
	ip.saddr = own.word[3];
	ip.daddr = pkt->tuple.saddr.word[3];
	ip.check = csum_fold(csum_add(&ip, sizeof(ip), 0));
	head->check = csum_fold(
		csum_add(s->bytes, QUOTE, csum_add(head, sizeof(*head), 0)));
	return (int)icmp_store(skb, pkt, &ip, sizeof(ip), head, s->bytes);
}

__noinline int icmp6_error(struct __sk_buff *skb, const struct pkt *pkt,
                           struct icmp_head *head)
{
	struct scratch *s = scratch_get();
	__be32 tail[2] = {bpf_htonl(sizeof(*head) + QUOTE),
	                  bpf_htonl(IPPROTO_ICMPV6)};
	struct ipv6hdr ip = {};
	struct addr own;
	__u32 sum;

	if (!pkt || !head || !s)
		return -1;
	icmp_source(skb, pkt, &own);
	ip.version = 6;
	ip.hop_limit = 64;
	ip.nexthdr = IPPROTO_ICMPV6;
	ip.payload_len = bpf_htons(sizeof(*head) + QUOTE);
	__builtin_memcpy(&ip.saddr, &own, 16);
	__builtin_memcpy(&ip.daddr, &pkt->tuple.saddr, 16);
	sum = csum_add(&ip.saddr, 32, csum_add(tail, sizeof(tail), 0));
	sum = csum_add(head, sizeof(*head), sum);
	head->check = csum_fold(csum_add(s->bytes, QUOTE, sum));
	return (int)icmp_store(skb, pkt, &ip, sizeof(ip), head, s->bytes);
}

/* What was made of the packet goes back to who sent it. */
static __always_inline int icmp_send(struct __sk_buff *skb,
                                     const struct pkt *pkt)
{
	if (pkt->hook == HOOK_FROM_POD)
		return (int)bpf_redirect_peer(skb->ifindex, 0);
	skb->mark = MARK_DECIDED;
	return (int)bpf_redirect(skb->ifindex, 0);
}

/*
 * icmp_error - turn the packet into an ICMP error for who sent it, a pod or
 * somebody behind the uplink.
 *
 * @type4, @type6: type << 8 | code.  @info: the 32 bits behind the checksum,
 * host order (RFC 1191 4, RFC 4443 3.2).  Nothing is sent about a fragment
 * that is not the first, or about an ICMP error (RFC 1122 3.2.2).
 * Return: TC_ACT_REDIRECT, or TC_ACT_SHOT; the drop is the caller's to count.
 */
__noinline int icmp_error(struct __sk_buff *skb, const struct pkt *pkt,
                          __u32 types, __u32 info)
{
	struct scratch *s = scratch_get();
	struct icmp_head head = {};
	__u32 type;
	int r;

	if (!pkt || !s ||
	    (pkt->hook != HOOK_FROM_POD && pkt->hook != HOOK_FROM_NET) ||
	    pkt->frag == FRAG_LATER || pkt->icmp_error)
		return TC_ACT_SHOT;
	__builtin_memset(s->bytes, 0, QUOTE);
	/* A short packet is quoted with zeroes behind it. */
	if (pkt->len >= QUOTE) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, s->bytes, QUOTE))
			return TC_ACT_SHOT;
	} else if (bpf_skb_load_bytes(skb, ETH_HLEN, s->bytes,
	                              pkt->v6 ? 48 : 28)) {
		return TC_ACT_SHOT;
	}
	type = pkt->v6 ? types & 0xffff : types >> 16;
	head.type = type >> 8;
	head.code = type & 0xff;
	head.id = bpf_htons(info >> 16);
	head.seq = bpf_htons(info & 0xffff);
	r = pkt->v6 ? icmp6_error(skb, pkt, &head)
	            : icmp4_error(skb, pkt, &head);
	if (r)
		return TC_ACT_SHOT;
	return icmp_send(skb, pkt);
}

/* The types of one error in both families, for icmp_error(). */
#define ICMP_TYPES(type4, code4, type6, code6) \
	((__u32)((type4) << 8 | (code4)) << 16 | (type6) << 8 | (code6))

/* Packet too big; counts the drop.  Return: a TC verdict. */
static __always_inline int icmp_too_big(struct __sk_buff *skb,
                                        const struct pkt *pkt, __u32 mtu)
{
	drop(skb, pkt, NULL, DROP_TOO_BIG);
	count(COUNTER_TOO_BIG_SENT);
	return icmp_error(skb, pkt, ICMP_TYPES(3, 4, 2, 0), mtu);
}

static __always_inline int icmp_time_exceeded(struct __sk_buff *skb,
                                              const struct pkt *pkt)
{
	drop(skb, pkt, NULL, DROP_TTL);
	return icmp_error(skb, pkt, ICMP_TYPES(11, 0, 3, 0), 0);
}
