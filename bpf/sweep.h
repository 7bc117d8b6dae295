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

static long sweep_one(struct bpf_map *map, struct flow_key *key, struct flow *f,
                      void *ctx)
{
	struct flow_key far_key;
	struct flow *pair = NULL;
	__u32 flags = f->flags, now = flow_now(), idle, far_tag;
	__u32 *n;

	(void)ctx;
	if (flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT)) {
		struct flow_tuple other = f->other;

		flow_key_make(&other, &far_key);
		far_tag = flow_tag(&far_key);
		{
			void *shard = flow_shard(far_tag);

			if (shard)
				pair = bpf_map_lookup_elem(shard, &far_key);
		}
	}
	if (!(flags & FLOW_SWEPT)) {
		idle = sweep_idle(f, now);
		if (pair) {
			__u32 far_idle = sweep_idle(pair, now);

			if (far_idle < idle)
				idle = far_idle;
			flags |= pair->flags &
			         (FLOW_FIN0 | FLOW_FIN1 | FLOW_RST);
		}
		/* The far side dies with the pod's side, not before it. */
		if (flags & FLOW_XLATE_OUT
		            ? !pair || pair->flags & FLOW_DEAD
		            : idle > sweep_timeout(flags, key->ends.proto))
			flags |= FLOW_DEAD;
		if (flags & FLOW_DEAD)
			flow_set(f, FLOW_DEAD | FLOW_SWEPT);
		return 0;
	}
	if (!(flags & FLOW_XLATE_OUT))
		sweep_tell(key, f, flags & FLOW_XLATE_IN ? pair : NULL);
	if (flags & FLOW_CHARGED) {
		n = held_of(f->owner);
		if (n)
			__sync_fetch_and_add(n, -1);
	}
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
