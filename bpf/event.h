/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* event.h - what the datapath tells about: counters always, events if it can.
 */
#pragma once

#include "maps.h"
#include "pkt.h"

/* Above this many waiting bytes the daemon is woken; else it comes by timer. */
#define EVENT_WAKE_BYTES (64u << 10)
/* Once is enough, and dear: only those that fill the next bytes do. */
#define EVENT_WAKE_SPAN (8 * sizeof(struct event))
/* Drop events a CPU may send in one window of 2^24 ns (17 ms). */
#define EVENT_DROP_BURST 64

static __always_inline void count(enum counter which)
{
	__u32 key = which;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		*n += 1;
}

struct limiter {
	__u64 window;
	__u64 sent;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limiter);
} limiters SEC(".maps");

/* What a verdict was made of; filled by judge(). */
struct judgement {
	__u32 identity[2]; /* of source, of destination */
	__u16 endpoint[2]; /* the same; 0: no pod of this node */
	__u8 local[2];     /* the same; 1: an address of this node */
	__u8 pool;         /* destination: an unknown address of our pods */
	__u8 no_masq;
	__u16 node[2]; /* whose pod, or whose address, it is; 0: nobody's */
	__u32 rule[DIR__COUNT];
	__u32 epoch;    /* sum in which it was made */
	__u8 from_pool; /* source: an unknown address of our pods */
	__u8 zero[3];
};

/* Where new entries are put together: too large for the stack. */
struct scratch {
	struct flow flow;
	struct flow far;        /* the far side of a translated one */
	struct judgement j;     /* of a stale flow */
	struct flow_tuple wire; /* of a packet that opens a flow, as it came */
	struct flow_key near;   /* of wire, when it is translated */
	__u8 bytes[144];        /* a quote, made or read; an event */
} __attribute__((aligned(8)));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline void event_send(struct event *ev)
{
	__u64 over = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) -
	             EVENT_WAKE_BYTES;
	__u64 flag =
		over < EVENT_WAKE_SPAN ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;

	bpf_ringbuf_submit(ev, flag);
}

static __always_inline struct event *event_new(void)
{
	struct event *ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);

	if (!ev)
		count(COUNTER_EVENT_LOST);
	return ev;
}

/* About the packet @pkt at its hook; @j may be NULL when nothing was asked. */
static __always_inline void event_fill(struct event *ev, const struct pkt *pkt,
                                       __u32 ifindex, const struct judgement *j)
{
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->time_ns = bpf_ktime_get_boot_ns();
	ev->tuple = pkt->tuple;
	ev->hook = pkt->hook;
	ev->tcp = pkt->tcp;
	ev->ifindex = ifindex;
	ev->length = pkt->len;
	if (pkt->xlate & XLATE_SERVICE) {
		const struct scratch *s = scratch_get();

		if (s) {
			ev->vip = s->wire.daddr;
			ev->vip_port = s->wire.dport;
		}
	}
	if (!j)
		return;
	ev->identity[0] = j->identity[0];
	ev->identity[1] = j->identity[1];
	ev->endpoint[0] = j->endpoint[0];
	ev->endpoint[1] = j->endpoint[1];
	ev->rule[0] = j->rule[0];
	ev->rule[1] = j->rule[1];
}

static __always_inline bool event_drop_allowed(void)
{
	__u64 window = bpf_ktime_get_coarse_ns() >> 24;
	__u32 zero = 0;
	struct limiter *l = bpf_map_lookup_elem(&limiters, &zero);

	if (!l)
		return false;
	if (l->window != window) {
		l->window = window;
		l->sent = 0;
	}
	return l->sent++ < EVENT_DROP_BURST;
}

/*
 * drop - count a drop, tell of it, and yield the verdict of the hook.
 *
 * A global function: it is on no fast path.
 */
__noinline int drop(struct __sk_buff *skb, const struct pkt *pkt,
                    const struct judgement *j, __u32 why)
{
	struct event *ev;
	__u64 *n;
	__u32 key;

	if (!pkt || why >= DROP__COUNT)
		return 2; /* TC_ACT_SHOT */
	key = pkt->hook * DROP__COUNT + why;
	n = bpf_map_lookup_elem(&drops, &key);
	if (n)
		*n += 1;
	if (!event_drop_allowed()) {
		count(COUNTER_EVENT_LOST);
		return 2;
	}
	ev = event_new();
	if (!ev)
		return 2;
	event_fill(ev, pkt, skb->ifindex, j);
	ev->type = EVENT_DROP;
	ev->reason = why;
	event_send(ev);
	return 2;
}
