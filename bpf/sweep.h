/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sweep.h - end what is idle or dead, one shard of the main table at a time.
 *
 * A timer in a pinned map: it ticks whether stiled lives or not.  An entry is
 * deleted by the pass after the one that saw it dead: seconds later, so no
 * program that found it alive can still hold it (design D3).
 */
#pragma once

#include "event.h"
#include "flow.h"
#include "maps.h"

#define SWEEP_TICK_NS 31250000ull /* a pass over all shards takes 2 s */

static __always_inline __u32 sweep_timeout(__u32 flags, __u8 proto)
{
	if (flow_closing(flags))
		return FLOW_TICKS(FLOW_TIMEOUT_CLOSED);
	if (flags & FLOW_CUT)
		return FLOW_TICKS(FLOW_TIMEOUT_CUT);
	return proto == IPPROTO_TCP ? FLOW_TICKS(FLOW_TIMEOUT_TCP)
	                            : FLOW_TICKS(FLOW_TIMEOUT_OTHER);
}

static __always_inline __u32 sweep_idle(const struct flow *f, __u32 now)
{
	__u32 a = now - f->way[0].seen, b = now - f->way[1].seen;

	return a < b ? a : b;
}

/* Put together in scratch: 6.1 lets no callback hold a piece of the ring. */
static __always_inline void sweep_tell(const struct flow_key *key,
                                       const struct flow *f,
                                       const struct flow *pair)
{
	struct scratch *s = scratch_get();
	struct event *ev;

	count(COUNTER_FLOW_ENDED);
	if (!s)
		return;
	ev = (struct event *)s->bytes;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->time_ns = bpf_ktime_get_boot_ns();
	ev->type = EVENT_END;
	if (f->flags & FLOW_REVERSED)
		tuple_reverse(&key->ends, &ev->tuple);
	else
		ev->tuple = key->ends;
	if (f->flags & FLOW_XLATE_IN) {
		ev->tuple.zero[0] = 0;
		if (!addr_equal(&ev->tuple.daddr, &f->other.daddr)) {
			ev->vip = ev->tuple.daddr;
			ev->vip_port = ev->tuple.dport;
			ev->tuple.daddr = f->other.daddr;
			ev->tuple.dport = f->other.dport;
		}
	}
	ev->endpoint[0] = f->way[0].endpoint;
	ev->endpoint[1] = f->way[1].endpoint;
	ev->rule[0] = f->rule[0];
	ev->rule[1] = f->rule[1];
	ev->flags = f->flags;
	ev->count[0] = f->count[0];
	ev->count[1] = pair ? pair->count[1] : f->count[1];
	if (bpf_ringbuf_output(&events, ev, sizeof(*ev), BPF_RB_NO_WAKEUP))
		count(COUNTER_EVENT_LOST);
}

struct bpf_map;

/* The other side of a translated flow, dead or alive, in either table. */
static __always_inline struct flow *sweep_pair(const struct flow_key *key,
                                               const struct flow *f)
{
	struct flow_tuple other = f->other;
	struct flow_key far_key;
	struct flow *pair = NULL, *young;
	void *shard;

	flow_key_make(&other, &far_key);
	shard = flow_shard(flow_tag(&far_key));
	if (shard)
		pair = bpf_map_lookup_elem(shard, &far_key);
	if (!pair || pair->flags & FLOW_DEAD) {
		young = flow_young(&far_key);
		if (young)
			pair = young;
	}
	if (!pair)
		return NULL;
	other = pair->other;
	flow_key_make(&other, &far_key);
	return flow_key_equal(&far_key, key) ? pair : NULL;
}

/* Is the pod of that number, if it is one, gone? */
static __always_inline bool sweep_gone(__u32 number)
{
	const struct endpoint *ep;

	if (!number)
		return false;
	ep = bpf_map_lookup_elem(&endpoints, &number);
	return ep && (!ep->ifindex || ep->closed);
}

/* Is the flow over, though nobody has marked it? */
static __always_inline bool sweep_over(const struct flow_key *key,
                                       const struct flow *f,
                                       const struct flow *pair)
{
	__u32 flags = f->flags, now = flow_now(), idle = sweep_idle(f, now);

	if (sweep_gone(f->way[0].endpoint) || sweep_gone(f->way[1].endpoint))
		return true;
	if (flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT)) {
		__u32 far_idle;

		if (!pair || pair->flags & FLOW_DEAD)
			return true;
		far_idle = sweep_idle(pair, now);
		if (far_idle < idle)
			idle = far_idle;
		flags |= pair->flags & (FLOW_FIN0 | FLOW_FIN1 | FLOW_RST);
	}
	/* The far side dies with the pod's side, not before it. */
	return !(flags & FLOW_XLATE_OUT) &&
	       idle > sweep_timeout(flags, key->ends.proto);
}

static long sweep_one(struct bpf_map *map, struct flow_key *key, struct flow *f,
                      void *ctx)
{
	struct flow *pair = NULL;
	__u32 flags = f->flags;

	(void)ctx;
	if (flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT))
		pair = sweep_pair(key, f);
	if (!(flags & FLOW_SWEPT)) {
		/* Compared: the element may be another flow's by now. */
		if (flags & FLOW_DEAD || sweep_over(key, f, pair))
			__sync_val_compare_and_swap(&f->flags, flags,
			                            flags | FLOW_DEAD |
			                                    FLOW_SWEPT);
		return 0;
	}
	if (!(flags & FLOW_XLATE_OUT))
		sweep_tell(key, f, flags & FLOW_XLATE_IN ? pair : NULL);
	flow_uncharge(f);
	bpf_map_delete_elem(map, key);
	return 0;
}

static int sweep_tick(void *map, __u32 *key, struct sweep *sweep)
{
	__u32 shard = sweep->shard++ % FLOW_SHARDS;
	void *inner = bpf_map_lookup_elem(&flows, &shard);

	(void)map;
	(void)key;
	if (inner)
		bpf_for_each_map_elem(inner, sweep_one, NULL, 0);
	bpf_timer_start(&sweep->timer, SWEEP_TICK_NS, 0);
	return 0;
}
