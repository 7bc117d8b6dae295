// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * floor.bpf.c - the least that a policed flow can cost: what to compare with.
 *
 * One direction-normalised entry a flow, 16 bytes, in an LRU; policy asked on a
 * miss, in one direction; MAC and TTL rewritten; bpf_redirect_peer.  IPv4, TCP
 * and UDP alone, no statistics worth the name, no state machine: it is no
 * datapath.  The figures of the measure's `peerct16` are this program's.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#include "test/bench/floor.h"

char _license[] SEC("license") = "GPL";

#define FLOWS 524288

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, struct floor_pod);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct floor_rule);
	__type(value, __u32);
} rules SEC(".maps");

struct flow_key {
	__be32 addr[2];
	__be16 port[2];
	__u32 proto;
};

struct flow {
	__u32 seen;
	__u32 flags;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

static __always_inline __u32 second(void)
{
	return bpf_ktime_get_coarse_ns() >> 30;
}

static __always_inline bool allowed(const struct floor_pod *from,
                                    const struct floor_pod *to, __u8 proto,
                                    __be16 port)
{
	struct floor_rule rule = {
		.pod = to->id, .peer = from->id, .port = port, .proto = proto};

	if (bpf_map_lookup_elem(&rules, &rule))
		return true;
	rule.port = 0;
	rule.proto = 0;
	return bpf_map_lookup_elem(&rules, &rule);
}

static __always_inline bool key_make(const struct iphdr *ip, const __be16 *port,
                                     struct flow_key *key)
{
	int first = ip->saddr > ip->daddr ||
	            (ip->saddr == ip->daddr && port[0] > port[1]);

	if (first) {
		key->addr[0] = ip->daddr;
		key->addr[1] = ip->saddr;
		key->port[0] = port[1];
		key->port[1] = port[0];
	} else {
		key->addr[0] = ip->saddr;
		key->addr[1] = ip->daddr;
		key->port[0] = port[0];
		key->port[1] = port[1];
	}
	key->proto = ip->protocol;
	return first;
}

static __always_inline bool flow_known(const struct flow_key *key)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, key);
	__u32 now;

	if (!flow)
		return false;
	now = second();
	if (flow->seen != now)
		flow->seen = now;
	flow->packets++;
	return true;
}

static __always_inline void hop(struct ethhdr *eth, struct iphdr *ip,
                                const struct floor_pod *to)
{
	__u32 check = (__u32)ip->check + bpf_htons(0x0100);

	__builtin_memcpy(eth->h_dest, to->mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, to->host_mac, ETH_ALEN);
	ip->check = (__u16)(check + (check >= 0xffff));
	ip->ttl--;
}

SEC("tc")
int floor_from_pod(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct iphdr *ip = (void *)(eth + 1);
	const __be16 *port = (void *)(ip + 1);
	const struct floor_pod *from, *to;
	struct flow_key key;
	__be32 addr;
	bool first;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	addr = ip->daddr;
	to = bpf_map_lookup_elem(&pods, &addr);
	if (!to)
		return TC_ACT_OK;
	addr = ip->saddr;
	from = bpf_map_lookup_elem(&pods, &addr);
	if (!from || (void *)(port + 2) > end)
		return TC_ACT_SHOT;
	first = key_make(ip, port, &key);
	if (!flow_known(&key)) {
		struct flow flow = {
			.seen = second(), .flags = 1u + first, .packets = 1};

		if (!allowed(from, to, ip->protocol, port[1]))
			return TC_ACT_SHOT;
		bpf_map_update_elem(&flows, &key, &flow, BPF_ANY);
	}
	hop(eth, ip, to);
	return (int)bpf_redirect_peer(to->ifindex, 0);
}
