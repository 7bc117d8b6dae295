/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rewrite.h - change a packet's ends and hops, and keep its checksums true. */
#pragma once

#include "pkt.h"

/* Offset of the transport checksum from its header; 0: none we can mend. */
static __always_inline __u32 check_offset(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	}
	return 0;
}

/* Where a header has its addresses: offset of source, bytes of each. */
static __always_inline __u32 addr_offset(const struct pkt *pkt)
{
	return ETH_HLEN + (pkt->v6 ? 8 : 12);
}

static __always_inline int addr_store(struct __sk_buff *skb, __u32 off, bool v6,
                                      const struct addr *addr)
{
	if (v6)
		return (int)bpf_skb_store_bytes(skb, off, addr->byte, 16, 0);
	return (int)bpf_skb_store_bytes(skb, off, &addr->word[3], 4, 0);
}

static __always_inline int rewrite_addr(struct __sk_buff *skb,
                                        const struct pkt *pkt, int end,
                                        const struct addr *from,
                                        const struct addr *to)
{
	__u32 off = addr_offset(pkt) + (end ? (pkt->v6 ? 16 : 4) : 0);

	if (addr_equal(from, to))
		return 0;
	if (!pkt->v6 &&
	    bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check),
	                        from->word[3], to->word[3], 4))
		return -1;
	return addr_store(skb, off, pkt->v6, to);
}

/* Offset of a port (or echo id) in the transport header; -1: it has none. */
static __always_inline int port_offset(const struct pkt *pkt, int end)
{
	if (proto_has_ports(pkt->tuple.proto))
		return end ? 2 : 0;
	if (pkt->tuple.proto == IPPROTO_ICMP ||
	    pkt->tuple.proto == IPPROTO_ICMPV6)
		return 4;
	return -1;
}

static __always_inline int rewrite_port(struct __sk_buff *skb,
                                        const struct pkt *pkt, int end,
                                        __be16 from, __be16 to)
{
	int at = port_offset(pkt, end);
	__u32 check = check_offset(pkt->tuple.proto);
	__u64 flags = 2;

	if (from == to || at < 0)
		return 0;
	if (pkt->tuple.proto == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	if (check && bpf_l4_csum_replace(skb, pkt->l4 + check, from, to, flags))
		return -1;
	return (int)bpf_skb_store_bytes(skb, pkt->l4 + at, &to, sizeof(to), 0);
}

/*
 * rewrite - make the packet's ends those of @to.
 *
 * Later fragments have no transport header: only their addresses change.
 * Return: DROP_NONE or DROP_MALFORMED.
 */
__noinline int rewrite(struct __sk_buff *skb, const struct pkt *pkt,
                       const struct flow_tuple *to)
{
	__u32 check;
	__s64 diff;

	if (!pkt || !to)
		return DROP_MALFORMED;
	check = check_offset(pkt->tuple.proto);
	if (pkt->frag != FRAG_LATER && check &&
	    pkt->tuple.proto != IPPROTO_ICMP) {
		__u64 flags = BPF_F_PSEUDO_HDR;

		if (pkt->tuple.proto == IPPROTO_UDP)
			flags |= BPF_F_MARK_MANGLED_0;
		/* The mapped form's constant part cancels itself. */
		diff = bpf_csum_diff((void *)&pkt->tuple.saddr, 32,
		                     (void *)&to->saddr, 32, 0);
		if (bpf_l4_csum_replace(skb, pkt->l4 + check, 0, diff, flags))
			return DROP_MALFORMED;
	}
	if (rewrite_addr(skb, pkt, 0, &pkt->tuple.saddr, &to->saddr) ||
	    rewrite_addr(skb, pkt, 1, &pkt->tuple.daddr, &to->daddr))
		return DROP_MALFORMED;
	if (pkt->frag == FRAG_LATER)
		return DROP_NONE;
	if (rewrite_port(skb, pkt, 0, pkt->tuple.sport, to->sport) ||
	    rewrite_port(skb, pkt, 1, pkt->tuple.dport, to->dport))
		return DROP_MALFORMED;
	return DROP_NONE;
}

/*
 * rewrite_hop - one hop less to live; new MAC addresses when @mac is given.
 *
 * Return: DROP_NONE or DROP_MALFORMED.
 */
static __always_inline int rewrite_hop(struct __sk_buff *skb, bool v6,
                                       const __u8 *mac, const __u8 *gw_mac)
{
	const __u32 need =
		ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	void *data, *end;

	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + need > end) {
		if (bpf_skb_pull_data(skb, need))
			return DROP_MALFORMED;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		if (data + need > end)
			return DROP_MALFORMED;
	}
	if (mac) {
		const __u16 *to = (const void *)mac,
			    *from = (const void *)gw_mac;
		__u16 *eth = data;

		eth[0] = to[0];
		eth[1] = to[1];
		eth[2] = to[2];
		eth[3] = from[0];
		eth[4] = from[1];
		eth[5] = from[2];
	}
	if (v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		ip->hop_limit--;
	} else {
		struct iphdr *ip = data + ETH_HLEN;
		/* RFC 1624: one less in the high byte, end-around carry. */
		__u32 check = (__u32)ip->check + bpf_htons(0x0100);

		ip->check = (__u16)(check + (check >= 0xffff));
		ip->ttl--;
	}
	return DROP_NONE;
}
