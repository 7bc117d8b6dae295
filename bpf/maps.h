/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maps.h - every map of the datapath.  Accessors live in daemon/dp*.c.
 *
 * All but scratch are pinned under their names.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/* Pods on this node, by endpoint number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENDPOINT_MAX);
	__type(key, __u32);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

/* Whole addresses: pods everywhere, nodes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, struct addr_info);
} addrs SEC(".maps");

/* Prefixes that policy tells apart, and this node's pod CIDRs. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, struct prefix_info);
} prefixes SEC(".maps");

/* Devices that lead out of the node, by ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct uplink);
} uplinks SEC(".maps");

/* Other nodes, by node number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NODE_MAX);
	__type(key, __u32);
	__type(value, struct node_info);
} nodes SEC(".maps");

/* What pods' clients ask for, and who answers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SERVICE_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BACKEND_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

/* Clients that keep their backends; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AFFINITY_MAX);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} affinities SEC(".maps");

/* What each policy slot holds, by slot number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOT_MAX);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct policy_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SLOT_SMALL);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct policy_key));
	__uint(value_size, sizeof(struct policy_val));
};

/* Entries of each slot; an empty place closes the pods that point at it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOT_MAX);
	__uint(key_size, sizeof(__u32));
	__array(values, struct policy_map);
} policies SEC(".maps");

struct range_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, RANGE_SMALL);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct range_key));
	__uint(value_size, sizeof(struct policy_val));
};

/* Port ranges of the slots whose header says that they have some. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOT_MAX);
	__uint(key_size, sizeof(__u32));
	__array(values, struct range_map);
} ranges SEC(".maps");

struct flow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOW_SHARD_MAX);
	__uint(key_size, sizeof(struct flow_key));
	__uint(value_size, sizeof(struct flow));
};

/* Flows that both ends have agreed to, in shards; evicts nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FLOW_SHARDS);
	__uint(key_size, sizeof(__u32));
	__array(values, struct flow_map);
} flows SEC(".maps");

/* Flows that nobody has answered yet; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FLOW_NEW_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows_new SEC(".maps");

/* Ports of fragmented packets. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct frag_key);
	__type(value, struct frag_ports);
} frags SEC(".maps");

/* Main-table entries each endpoint is charged with. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENDPOINT_MAX);
	__type(key, __u32);
	__type(value, __u32);
} held SEC(".maps");

/* One element, mapped by the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct epochs);
} epochs SEC(".maps");

/* Packets dropped, at hook * DROP__COUNT + reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK__COUNT *DROP__COUNT);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* By enum counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER__COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* struct event, to the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_RING_BYTES);
} events SEC(".maps");

/* The sweeper's timer and where it stands; user space never touches it. */
struct sweep {
	struct bpf_timer timer;
	__u32 shard; /* next to be swept */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweep);
} sweeps SEC(".maps");

/* The programs behind the stubs, by enum hook; filled by dp_open(). */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HOOK__COUNT);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} hooks SEC(".maps");
