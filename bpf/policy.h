/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* policy.h - who the ends of a flow are, and what their policies say. */
#pragma once

#include "event.h"
#include "maps.h"
#include "pkt.h"

/* Every hook reads it; set once by dp_open() before the object is verified. */
const volatile struct dp_config config = {};

/*
 * The same to copy from: behind a plain pointer the compiler would see, not
 * what was loaded, but the zeroes above.
 */
static __always_inline const struct dp_config *config_plain(void)
{
	const struct dp_config *c = (const struct dp_config *)&config;

	asm volatile("" : "+r"(c));
	return c;
}

/* Sum of the epochs in which a flow between two endpoints is decided. */
static __always_inline __u32 epoch_sum(__u16 a, __u16 b)
{
	const struct epochs *e;
	__u32 zero = 0;

	e = bpf_map_lookup_elem(&epochs, &zero);
	if (!e)
		return 0;
	a &= ENDPOINT_MAX - 1;
	b &= ENDPOINT_MAX - 1;
	return *(volatile __u32 *)&e->node +
	       *(volatile __u32 *)&e->endpoint[a] +
	       *(volatile __u32 *)&e->endpoint[b];
}

static __always_inline bool id_is_node(__u32 identity)
{
	__u32 class = identity >> ID_CLASS_SHIFT;

	return class == CLASS_NODE4 || class == CLASS_NODE6;
}

/* Who has @addr: whole address, else prefix, else the world. */
static __always_inline void identify(const struct addr *addr,
                                     struct judgement *j, int end)
{
	const struct prefix_info *prefix;
	const struct addr_info *info;
	struct addr whole = *addr; /* 6.1 wants keys on the stack */
	struct prefix_key key;

	info = bpf_map_lookup_elem(&addrs, &whole);
	if (info) {
		j->identity[end] = info->identity;
		j->endpoint[end] = info->endpoint;
		j->local[end] = info->local;
		j->node[end] = info->node;
		if (end)
			j->no_masq = info->node && !id_is_node(info->identity);
		return;
	}
	key.bits = 128;
	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	prefix = bpf_map_lookup_elem(&prefixes, &key);
	if (!prefix) {
		j->identity[end] =
			ID(addr_is_v4(addr) ? CLASS_WORLD4 : CLASS_WORLD6,
		           ID_SERIAL_PLAIN);
		return;
	}
	j->identity[end] = prefix->identity;
	j->node[end] = prefix->node;
	if (end) {
		j->pool = prefix->pool;
		j->no_masq = prefix->no_masq;
	} else {
		j->from_pool = prefix->pool;
	}
}

struct question {
	__u32 slot;
	__u32 peer; /* identity */
	__u8 dir;
	__u8 proto;
	__be16 port;
};

/* The entry of one level that decides, or NULL. */
static __always_inline const struct policy_val *policy_level(
	const struct question *q, void *map, __u32 shapes, __u32 peer)
{
	struct policy_key key = {
		.peer = peer,
		.port = q->port,
		.proto = q->proto,
		.dir = q->dir,
	};
	const struct policy_val *val;

	if (proto_has_ports(q->proto)) {
		if (shapes & 1 << SHAPE_PORT) {
			val = bpf_map_lookup_elem(map, &key);
			if (val)
				return val;
		}
		if (shapes & 1 << SHAPE_RANGE) {
			struct range_key range = {
				.bits = 64,
				.peer = peer,
				.dir = q->dir,
				.proto = q->proto,
				.port = q->port,
			};
			__u32 slot = q->slot;
			void *trie = bpf_map_lookup_elem(&ranges, &slot);

			val = trie ? bpf_map_lookup_elem(trie, &range) : NULL;
			if (val)
				return val;
		}
	}
	key.port = 0;
	if (shapes & 1 << SHAPE_PROTO) {
		val = bpf_map_lookup_elem(map, &key);
		if (val)
			return val;
	}
	key.proto = 0;
	if (shapes & 1 << SHAPE_ALL)
		return bpf_map_lookup_elem(map, &key);
	return NULL;
}

/*
 * policy_ask - does the slot allow the question?
 *
 * Return: DROP_NONE, DROP_POLICY_* or DROP_POLICY_MISSING; *@rule is set when
 * an entry decided.
 */
__noinline int policy_ask(const struct question *q, __u32 *rule)
{
	const struct policy_val *val = NULL;
	const struct slot *slot;
	__u32 number, dir, shapes;
	void *map;
	int denied;

	if (!q || !rule)
		return DROP_POLICY_MISSING;
	number = q->slot;
	dir = q->dir & 1;
	denied = dir == DIR_EGRESS ? DROP_POLICY_EGRESS : DROP_POLICY_INGRESS;
	slot = bpf_map_lookup_elem(&slots, &number);
	if (!slot)
		return DROP_POLICY_MISSING;
	if (!slot->isolated[dir])
		return DROP_NONE;
	shapes = slot->shapes[dir];
	if (!shapes)
		return denied;
	map = bpf_map_lookup_elem(&policies, &number);
	if (!map)
		return DROP_POLICY_MISSING;

	if (shapes & 0xf)
		val = policy_level(q, map, shapes, q->peer);
	shapes >>= SHAPE__COUNT;
	if (!val && shapes & 0xf)
		val = policy_level(q, map, shapes, q->peer & ID_CLASS_MASK);
	shapes >>= SHAPE__COUNT;
	if (!val && shapes & 0xf)
		val = policy_level(q, map, shapes, CLASS_ANY);
	if (!val)
		return denied;
	*rule = val->rule;
	return val->allow ? DROP_NONE : denied;
}

/* One end's policy.  Its own node and itself are always allowed (A13, A14). */
static __always_inline int judge_end(const struct flow_tuple *t,
                                     struct judgement *j, enum dir dir)
{
	const int self = dir == DIR_EGRESS ? 0 : 1, peer = 1 - self;
	__u32 number = j->endpoint[self];
	const struct endpoint *ep;
	struct question q;
	int why;

	if (!number)
		return DROP_NONE;
	ep = bpf_map_lookup_elem(&endpoints, &number);
	if (!ep || !ep->ifindex || ep->closed)
		return DROP_ENDPOINT_CLOSED;
	if (j->local[peer] || j->endpoint[peer] == number)
		return DROP_NONE;
	q = (struct question){
		.slot = ep->slot,
		.peer = j->identity[peer],
		.dir = dir,
		.proto = t->proto,
		.port = t->dport,
	};
	why = policy_ask(&q, &j->rule[dir]);
	if ((why == DROP_POLICY_EGRESS || why == DROP_POLICY_INGRESS) &&
	    config.audit) {
		count(COUNTER_AUDIT);
		return DROP_NONE;
	}
	return why;
}

/* The source is not this node, though it has its address: anybody's. */
static __always_inline void judge_as_world(const struct flow_tuple *t,
                                           struct judgement *j)
{
	j->local[0] = 0;
	j->identity[0] = ID(addr_is_v4(&t->saddr) ? CLASS_WORLD4 : CLASS_WORLD6,
	                    ID_SERIAL_PLAIN);
}

/*
 * judge_from - may the flow @t, in its opener's direction, be?
 *
 * @from: where its opener's packets come from, as flow_way.from.  What is
 * forwarded is never this node's own, be its source an address of it: somebody
 * made it up, or kube-proxy put it in place of a client's.
 *
 * Finds both ends, reads the epoch, then asks the policies of those that are
 * pods here: egress of the source, ingress of the destination.  The daemon
 * raises an epoch twice with a grace period between, so a verdict made of
 * older facts is stale at the second.
 *
 * Return: DROP_NONE or why not; *@j is filled either way.
 */
__noinline int judge_from(const struct flow_tuple *t, __u32 from,
                          struct judgement *j)
{
	int why;

	if (!t || !j)
		return DROP_POLICY_MISSING;
	__builtin_memset(j, 0, sizeof(*j));
	identify(&t->saddr, j, 0);
	identify(&t->daddr, j, 1);
	if (from == FROM_FORWARD && j->local[0])
		judge_as_world(t, j);
	j->epoch = epoch_sum(j->endpoint[0], j->endpoint[1]);
	why = judge_end(t, j, DIR_EGRESS);
	return why ? why : judge_end(t, j, DIR_INGRESS);
}

static __always_inline int judge(const struct flow_tuple *t,
                                 struct judgement *j)
{
	return judge_from(t, FROM_STACK, j);
}
