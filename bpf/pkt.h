/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pkt.h - what the datapath knows about a packet, and how it learns it.
 *
 * Only this file and rewrite.h know that there are two versions of IP.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>
#include <stddef.h>
#include "abi.h"
#include "maps.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define PKT_DIRECT 512 /* headers begin below this offset */

enum frag { FRAG_NONE, FRAG_FIRST, FRAG_LATER };

enum xlate {
	XLATE_SERVICE = 1 << 0, /* to a backend instead of the service */
	XLATE_MASQ = 1 << 1,    /* from the node's address */
	XLATE_PORT = 1 << 2,    /* from another port: its own is taken */
	XLATE_REFUSE = 1 << 3   /* not at all: the client is to be told */
};

/*
 * While a flow is opened, tuple is what is judged: source as it came,
 * destination as it will be.  As it came is scratch.wire then.
 */
struct pkt {
	struct flow_tuple tuple;
	__u32 len;       /* of the IP packet, bytes */
	__u16 l4;        /* offset of the transport header in the frame */
	__u8 tcp;        /* TCP flags */
	__u8 hdr;        /* bytes of the transport header that segments bear */
	__u8 v6;         /* 1: IPv6 */
	__u8 ttl;        /* hops left */
	__u8 frag;       /* enum frag */
	__u8 icmp;       /* ICMP type, when it is one */
	__u8 icmp_error; /* 1: an error that quotes a packet */
	__u8 hook;       /* enum hook that sees it */
	__u8 jumbo;      /* bytes of a header that segments will not bear */
	__u8 xlate; /* enum xlate: how a flow that it opens is translated */
	__u32 from; /* where it comes from, as flow_way.from */
	__be32 frag_id;
};

/* The first 16 bytes of a transport header, as the protocols share them. */
struct l4_head {
	union {
		struct {
			__be16 sport, dport;
		};
		__u32 ports;
	};
	__be32 seq, ack;
	__u8 doff;
	__u8 flags;
	__be16 window;
};

struct icmp_head {
	__u8 type, code;
	__be16 check;
	__be16 id;
	__be16 seq;
};

/*
 * Two words as one, as they lie in memory.  What is read soon after as a whole
 * must be written as a whole: the CPU waits for the parts else.
 */
static __always_inline __u64 words(__u32 first, __u32 second)
{
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		return (__u64)second << 32 | first;
	return (__u64)first << 32 | second;
}

static __always_inline void addr_v4(struct addr *to, __be32 v4)
{
	to->half[0] = 0;
	to->half[1] = words(bpf_htonl(0xffff), v4);
}

/* The last eight bytes of a tuple: both ports as they lie, and the protocol. */
static __always_inline __u64 tuple_tail(__u32 ports, __u8 proto)
{
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		return (__u64)proto << 32 | ports;
	return (__u64)ports << 32 | (__u32)proto << 24;
}

/*
 * pkt_at - @len bytes of the frame at @off.
 *
 * In the packet where they are linear, else in @buf; NULL: there are not so
 * many.
 */
static __always_inline const void *pkt_at(struct __sk_buff *skb, __u32 off,
                                          void *buf, __u32 len)
{
	const void *data = (void *)(long)skb->data;
	const void *end = (void *)(long)skb->data_end;

	if (off < PKT_DIRECT && data + off + len <= end)
		return data + off;
	return bpf_skb_load_bytes(skb, off, buf, len) ? NULL : buf;
}

static __always_inline bool addr_equal(const struct addr *a,
                                       const struct addr *b)
{
	return a->half[1] == b->half[1] && a->half[0] == b->half[0];
}

static __always_inline bool addr_is_v4(const struct addr *a)
{
	return !a->half[0] && a->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool addr_is_link_local6(const struct addr *a)
{
	return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Multicast, broadcast, loopback, unspecified: nothing we route (RFC 6890). */
static __always_inline bool addr_is_martian(const struct addr *a)
{
	if (addr_is_v4(a)) {
		__u32 v4 = bpf_ntohl(a->word[3]);

		return v4 >= 0xe0000000 || v4 >> 24 == 127 || v4 >> 24 == 0;
	}
	return a->byte[0] == 0xff || addr_is_link_local6(a) ||
	       (!a->half[0] && !a->word[2]); /* ::, ::1, ::a.b.c.d */
}

/* Walk the IPv4 options; source routes are refused (RFC 7126 4.3, 4.4). */
__noinline int pkt_options(struct __sk_buff *skb, __u32 end)
{
	__u32 off = ETH_HLEN + sizeof(struct iphdr);
	__u8 opt[2];

	for (int i = 0; i < 40; i++) {
		if (off >= end)
			return DROP_NONE;
		if (bpf_skb_load_bytes(skb, off, opt, 1))
			return DROP_MALFORMED;
		if (opt[0] == 0)
			return DROP_NONE;
		if (opt[0] == 1) {
			off++;
			continue;
		}
		if (opt[0] == 131 || opt[0] == 137)
			return DROP_SOURCE_ROUTE;
		if (off + 2 > end || bpf_skb_load_bytes(skb, off, opt, 2) ||
		    opt[1] < 2 || off + opt[1] > end)
			return DROP_MALFORMED;
		off += opt[1];
	}
	return DROP_NONE;
}

#define EXT_MAX 6 /* too many extension headers */

/*
 * pkt_extensions - walk the extension headers of an IPv6 packet (RFC 8200 4).
 *
 * @pkt->l4 is the first one's offset, tuple.proto its number; on return they
 * are the transport's.  Hop-by-hop only first; what is no extension header that
 * we know is the transport.  Fewer than EXT_MAX are walked.
 */
__noinline int pkt_extensions(struct __sk_buff *skb, struct pkt *pkt)
{
	bool fragment = false; /* one was seen, be it a whole packet */
	__u8 ext[8];

	if (!pkt)
		return DROP_MALFORMED;
	for (int i = 0; i < EXT_MAX; i++) {
		__u8 proto = pkt->tuple.proto;
		__u32 len;

		if (proto != IPPROTO_HOPOPTS && proto != IPPROTO_ROUTING &&
		    proto != IPPROTO_FRAGMENT && proto != IPPROTO_AH &&
		    proto != IPPROTO_DSTOPTS)
			return DROP_NONE;
		if (bpf_skb_load_bytes(skb, pkt->l4, ext, sizeof(ext)))
			return DROP_MALFORMED;
		if (proto == IPPROTO_HOPOPTS && i)
			return DROP_EXT_HEADERS;
		if (proto == IPPROTO_ROUTING && (ext[2] == 0 || ext[3]))
			return DROP_SOURCE_ROUTE;
		len = (ext[1] + 1) * 8;
		if (proto == IPPROTO_AH)
			len = (ext[1] + 2) * 4;
		if (proto == IPPROTO_FRAGMENT) {
			__u16 off = (__u16)ext[2] << 8 | ext[3];

			if (fragment)
				return DROP_EXT_HEADERS;
			fragment = true;
			/* It would overlap the TCP header (RFC 3128). */
			if (ext[0] == IPPROTO_TCP && (off & 0xfff8) == 8)
				return DROP_FRAGMENT;
			len = sizeof(ext);
			__builtin_memcpy(&pkt->frag_id, &ext[4], 4);
			if (off & 0xfff8)
				pkt->frag = FRAG_LATER;
			else if (off & 1)
				pkt->frag = FRAG_FIRST;
		}
		pkt->tuple.proto = ext[0];
		pkt->l4 += len;
		if (pkt->frag == FRAG_LATER)
			return DROP_NONE;
	}
	return DROP_EXT_HEADERS;
}

static __always_inline int parse_ip4(struct __sk_buff *skb, struct pkt *pkt)
{
	struct iphdr buf;
	const struct iphdr *ip = pkt_at(skb, ETH_HLEN, &buf, sizeof(buf));
	__u32 len;
	__u16 off;

	if (!ip)
		return DROP_MALFORMED;
	if (ip->version != 4 || ip->ihl < 5)
		return DROP_MALFORMED;
	addr_v4(&pkt->tuple.saddr, ip->saddr);
	addr_v4(&pkt->tuple.daddr, ip->daddr);
	len = bpf_ntohs(ip->tot_len);
	pkt->len = skb->len - ETH_HLEN;
	if (len > pkt->len || len < ip->ihl * 4) {
		/* BIG TCP: the length does not fit, and only there is it 0. */
		if (len || !skb->gso_size)
			return DROP_MALFORMED;
	}
	pkt->tuple.proto = ip->protocol;
	pkt->ttl = ip->ttl;
	pkt->l4 = ETH_HLEN + ip->ihl * 4;
	off = bpf_ntohs(ip->frag_off);
	if (off & 0x3fff) {
		pkt->frag = off & 0x1fff ? FRAG_LATER : FRAG_FIRST;
		pkt->frag_id = ip->id;
		/* RFC 3128: nobody needs a second fragment at 8 bytes. */
		if (ip->protocol == IPPROTO_TCP && (off & 0x1fff) == 1)
			return DROP_FRAGMENT;
	}
	if (ip->ihl > 5)
		return pkt_options(skb, pkt->l4);
	return DROP_NONE;
}

static __always_inline int parse_ip6(struct __sk_buff *skb, struct pkt *pkt)
{
	struct ipv6hdr buf;
	const struct ipv6hdr *ip = pkt_at(skb, ETH_HLEN, &buf, sizeof(buf));
	__u32 len;

	if (!ip)
		return DROP_MALFORMED;
	if (ip->version != 6)
		return DROP_MALFORMED;
	pkt->tuple.saddr = *(const struct addr *)&ip->saddr;
	pkt->tuple.daddr = *(const struct addr *)&ip->daddr;
	len = bpf_ntohs(ip->payload_len);
	pkt->len = skb->len - ETH_HLEN;
	if (len + sizeof(*ip) > pkt->len ||
	    (!len && !skb->gso_size && ip->nexthdr != IPPROTO_NONE))
		return DROP_MALFORMED;
	if (addr_is_v4(&pkt->tuple.saddr) || addr_is_v4(&pkt->tuple.daddr))
		return DROP_MARTIAN; /* a mapped address never travels */
	pkt->v6 = 1;
	pkt->tuple.proto = ip->nexthdr;
	pkt->ttl = ip->hop_limit;
	/* BIG TCP: a jumbogram option that cutting takes away (RFC 2675). */
	pkt->jumbo = !len && ip->nexthdr == IPPROTO_HOPOPTS ? 8 : 0;
	pkt->l4 = ETH_HLEN + sizeof(*ip);
	if (ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_UDP ||
	    ip->nexthdr == IPPROTO_ICMPV6)
		return DROP_NONE;
	return pkt_extensions(skb, pkt);
}

static __always_inline int parse_icmp(struct __sk_buff *skb, struct pkt *pkt)
{
	struct icmp_head icmp;

	if (bpf_skb_load_bytes(skb, pkt->l4, &icmp, sizeof(icmp)))
		return pkt->frag ? DROP_FRAGMENT : DROP_MALFORMED;
	pkt->icmp = icmp.type;
	if (pkt->v6) {
		if (icmp.type == 128)
			pkt->tuple.sport = icmp.id;
		else if (icmp.type == 129)
			pkt->tuple.dport = icmp.id;
		pkt->icmp_error = icmp.type >= 1 && icmp.type <= 4;
		return DROP_NONE;
	}
	if (icmp.type == 8)
		pkt->tuple.sport = icmp.id;
	else if (icmp.type == 0)
		pkt->tuple.dport = icmp.id;
	pkt->icmp_error = icmp.type == 3 || icmp.type == 11 || icmp.type == 12;
	return icmp.type == 5 ? DROP_ROUTER_ADVERT : DROP_NONE;
}

static __always_inline void frag_key_make(const struct pkt *pkt,
                                          struct frag_key *key)
{
	key->saddr = pkt->tuple.saddr;
	key->daddr = pkt->tuple.daddr;
	key->id = pkt->frag_id;
	key->proto = pkt->tuple.proto;
	__builtin_memset(key->zero, 0, sizeof(key->zero));
}

static __always_inline __u32 frag_now(void)
{
	return bpf_ktime_get_coarse_ns() >> FLOW_TICK_SHIFT;
}

/* Ports of a later fragment are those its first one was seen with. */
__noinline int pkt_fragment(struct pkt *pkt)
{
	const struct frag_ports *ports;
	struct frag_key key;

	if (!pkt)
		return DROP_FRAGMENT;
	frag_key_make(pkt, &key);
	ports = bpf_map_lookup_elem(&frags, &key);
	if (!ports || ports->from != pkt->from ||
	    frag_now() - ports->seen > FLOW_TICKS(FRAG_TIMEOUT))
		return DROP_FRAGMENT;
	pkt->tuple.sport = ports->sport;
	pkt->tuple.dport = ports->dport;
	return DROP_NONE;
}

/* A first fragment has been let through: its later ones may follow. */
__noinline int pkt_fragment_learn(const struct pkt *pkt)
{
	struct frag_ports ports = {};
	struct frag_key key;

	if (!pkt)
		return DROP_FRAGMENT;
	frag_key_make(pkt, &key);
	ports.sport = pkt->tuple.sport;
	ports.dport = pkt->tuple.dport;
	ports.from = pkt->from;
	ports.seen = frag_now();
	return bpf_map_update_elem(&frags, &key, &ports, BPF_ANY)
	               ? DROP_FRAGMENT
	               : DROP_NONE;
}

/* A first fragment is the stack's: so are its later ones, be the id used. */
__noinline int pkt_fragment_forget(const struct pkt *pkt)
{
	struct frag_key key;

	if (!pkt)
		return 0;
	frag_key_make(pkt, &key);
	bpf_map_delete_elem(&frags, &key);
	return 0;
}

static __always_inline int parse_l4(struct __sk_buff *skb, struct pkt *pkt)
{
	struct l4_head buf;
	const struct l4_head *l4;

	if (pkt->frag == FRAG_LATER)
		return pkt_fragment(pkt);

	switch (pkt->tuple.proto) {
	case IPPROTO_TCP:
		l4 = pkt_at(skb, pkt->l4, &buf, sizeof(buf));
		if (!l4 || l4->doff < 0x50)
			return pkt->frag ? DROP_FRAGMENT : DROP_MALFORMED;
		pkt->tcp = l4->flags;
		pkt->hdr = (l4->doff >> 4) * 4;
		break;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		l4 = pkt_at(skb, pkt->l4, &buf, 8);
		if (!l4)
			return pkt->frag ? DROP_FRAGMENT : DROP_MALFORMED;
		pkt->hdr = 8;
		break;
	case IPPROTO_ICMP:
		return pkt->v6 ? DROP_MALFORMED : parse_icmp(skb, pkt);
	case IPPROTO_ICMPV6:
		return pkt->v6 ? parse_icmp(skb, pkt) : DROP_MALFORMED;
	default:
		return DROP_NONE; /* no ports: judged by its protocol */
	}
	pkt->tuple.tail = tuple_tail(l4->ports, pkt->tuple.proto);
	return DROP_NONE;
}

/*
 * pkt_parse - fill @pkt, which must be zeroed but for hook and from.
 *
 * Return: DROP_NONE, or why not.  ARP is no business of it (DROP_ETHERTYPE).
 */
__noinline int pkt_parse(struct __sk_buff *skb, struct pkt *pkt)
{
	int why;

	if (!pkt)
		return DROP_MALFORMED;
	if (skb->vlan_present)
		return DROP_ETHERTYPE;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		why = parse_ip4(skb, pkt);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		why = parse_ip6(skb, pkt);
	else
		return DROP_ETHERTYPE;
	return why ? why : parse_l4(skb, pkt);
}

/* Do ports tell its flows apart for policy? (SCTP, TCP, UDP) */
static __always_inline bool proto_has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP ||
	       proto == IPPROTO_SCTP;
}
