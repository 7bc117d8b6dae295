// SPDX-License-Identifier: Apache-2.0
/* service_test.c - to a ClusterIP, on to a backend, and back. */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

#define VIP_PORT 8000

static struct addr vip(enum family f)
{
	return A(f ? "fd00:96::1" : "10.96.0.1");
}

static struct addr node_addr(enum family f)
{
	return f ? A(RIG_NODE6) : A(RIG_NODE4);
}

/* The service of that protocol has these backends from now on. */
static void service_set(struct bpfrun *run, enum family f, uint8_t proto,
                        const struct backend *backend, uint32_t n)
{
	static struct service rested[64]; /* the oldest are freed */
	static uint32_t next = 1, round;
	struct service *old = &rested[round++ % ARRAY_SIZE(rested)];
	const struct service_key key = {
		.vip = vip(f), .port = htons(VIP_PORT), .proto = proto};
	const struct service service = {.first = next, .count = n};

	for (uint32_t i = 0; i < n; i++) {
		struct backend b = backend[i];
		const uint32_t at = next++;

		b.tag = service_tag(&key);
		assert_int_equal(dp_backends_put(run->dp, &at, &b, 1), 0);
	}
	assert_int_equal(dp_services_put(run->dp, &key, &service, 1), 0);
	for (uint32_t i = 0; i < old->count; i++)
		dp_backend_remove(run->dp, old->first + i);
	*old = service;
}

static struct backend backend_of(struct addr addr, uint16_t port)
{
	return (struct backend){.addr = addr, .port = htons(port)};
}

static void service_one(struct bpfrun *run, enum family f, uint8_t proto,
                        struct addr addr, uint16_t port)
{
	const struct backend b = backend_of(addr, port);

	service_set(run, f, proto, &b, 1);
}

static struct spec to_vip(unsigned int pod, enum family f, uint8_t proto,
                          uint8_t tcp)
{
	struct spec s = pod_spec(pod, pod, f, proto, tcp);

	s.daddr = vip(f);
	s.dport = VIP_PORT;
	return s;
}

/* What the far end answers to what it saw. */
static struct spec answer_to(const struct spec *s, const struct facts *seen,
                             uint8_t tcp)
{
	struct spec back = spec_answer(s, tcp);

	back.smac = back.dmac = NULL;
	back.saddr = seen->daddr;
	back.sport = seen->dport;
	back.daddr = seen->saddr;
	back.dport = seen->sport;
	return back;
}

/* The answer reaches the pod as the service's. */
static void answer_check(struct bpfrun *run, struct place at, struct want want,
                         const struct spec *s, const struct spec *back)
{
	const struct outcome o = spec_want(run, "answer", at, back, want);
	const struct facts got = facts_of("answer", &o.out);

	addr_want("answer from", got.saddr, s->daddr);
	addr_want("answer to", got.daddr, s->saddr);
	assert_int_equal(got.sport, s->dport);
	assert_int_equal(got.dport, s->sport);
}

/* ---- where backends are ---------------------------------------------------
 */

/* A kind of backend of pod 1's. */
struct kind {
	const char *name;
	const char *addr[FAMILY__COUNT];
	struct place at; /* where its answers come from */
	struct want out, back;
	bool masquerade, hairpin;
};

static const struct kind kinds[] = {
	{"a pod here",
         {"10.0.0.2", "fd00::2"},
         FROM_POD(2),
         SENT,              SENT,
         false,                           false},
	{"the pod itself",
         {"10.0.0.1", "fd00::1"},
         FROM_POD(1),
         SENT,              SENT,
         false,                           true },
	{"this node",
         {RIG_NODE4, RIG_NODE6},
         TO_POD(1),
         STACK,             STACK,
         false,                           false},
	{"another node's pod",
         {"10.1.0.2", "fd01::2"},
         FROM_NETW,   SENT,
         SENT,                     false,
         false				 },
	{"the world",
         {RIG_WORLD4, RIG_WORLD6},
         FROM_NETW,   SENT,
         SENT,                     true,
         false				 },
};

static struct facts out_check(struct bpfrun *run, const struct kind *kind,
                              const struct spec *s, uint16_t port)
{
	const enum family f = s->daddr.byte[0] ? V6 : V4;
	const struct outcome o =
		spec_want(run, kind->name, FROM_POD(1), s, kind->out);
	const struct facts seen = facts_of(kind->name, &o.out);

	addr_want(kind->name, seen.daddr, A(kind->addr[f]));
	assert_int_equal(seen.dport, port);
	addr_want(kind->name, seen.saddr,
	          kind->masquerade ? node_addr(f)
	          : kind->hairpin  ? vip(f)
	                           : s->saddr);
	if (kind->masquerade)
		assert_in_range(seen.sport, NAT_PORT_MIN, NAT_PORT_MAX);
	else
		assert_int_equal(seen.sport, s->sport);
	return seen;
}

static void every_kind_of_backend_is_reached_and_answers(void **state)
{
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 4; i++) {
		const struct kind *kind = &kinds[i / 4];
		const enum family f = i & 1;
		const uint8_t p = proto[i >> 1 & 1];
		struct spec s = to_vip(1, f, p, SYN), back;
		struct facts seen;
		struct flow near, far;

		bpfrun_flush(run);
		service_one(run, f, p, A(kind->addr[f]), 80);
		seen = out_check(run, kind, &s, 80);
		back = answer_to(&s, &seen, SYN | ACK);
		answer_check(run, kind->at, kind->back, &s, &back);
		s.tcp = ACK;
		out_check(run, kind, &s, 80);
		assert_true(bpfrun_flow(run, &s, &near));
		assert_true(bpfrun_flow(run, &back, &far));
		assert_true(near.flags & FLOW_MAIN && far.flags & FLOW_MAIN);
		assert_true(near.flags & FLOW_XLATE_IN);
		assert_true(far.flags & FLOW_XLATE_OUT);
		answer_check(run, kind->at, kind->back, &s, &back);
	}
}

static void sctp_keeps_its_ports(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = to_vip(1, f, IPPROTO_SCTP, 0);
		const struct spec direct = {
			.saddr = s.saddr,
			.daddr = pod_addr(2, f),
			.proto = IPPROTO_SCTP,
			.sport = s.sport,
			.dport = VIP_PORT,
			.n_payload = 10,
		};
		struct outcome o;
		struct facts seen;
		struct spec back;

		service_one(run, f, IPPROTO_SCTP, pod_addr(2, f), VIP_PORT);
		o = spec_want(run, "out", FROM_POD(1), &s, SENT);
		seen = facts_of("out", &o.out);
		addr_want("out", seen.daddr, pod_addr(2, f));
		back = answer_to(&s, &seen, 0);
		answer_check(run, FROM_POD(2), SENT, &s, &back);
		spec_want(run, "its port is taken", FROM_POD(1), &direct,
		          DROPPED(NAT_PORTS));
	}
}

static void every_backend_gets_its_share(void **state)
{
	enum { FLOWS = 3000 };
	struct bpfrun *run = *state;
	const struct backend three[] = {
		backend_of(pod_addr(2, V4), 80),
		backend_of(pod_addr(3, V4), 81),
		backend_of(pod_addr(4, V4), 82),
	};
	unsigned int got[3] = {};

	service_set(run, V4, IPPROTO_UDP, three, 3);
	for (unsigned int i = 0; i < FLOWS; i++) {
		struct spec s = to_vip(1, V4, IPPROTO_UDP, 0);
		struct facts seen[2];

		s.sport = (uint16_t)(20000 + i);
		for (int again = 0; again < 2; again++) {
			const struct outcome o =
				spec_want(run, "out", FROM_POD(1), &s, SENT);

			seen[again] = facts_of("out", &o.out);
		}
		assert_int_equal(seen[0].dport, seen[1].dport);
		assert_in_range(seen[0].dport, 80, 82);
		got[seen[0].dport - 80]++;
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(got[i], FLOWS / 3 - 200, FLOWS / 3 + 200);
}

static void without_a_backend_nothing_passes(void **state)
{
	struct bpfrun *run = *state;
	struct backend b = backend_of(pod_addr(2, V4), 80);
	const struct spec s = to_vip(1, V4, IPPROTO_TCP, SYN);
	struct spec spoof = s;
	const struct service_key key = {
		.vip = vip(V4), .port = htons(VIP_PORT), .proto = IPPROTO_TCP};
	const struct service at_large = {.first = 1000000, .count = 2};
	const struct service planted = {.first = 2000000, .count = 1};
	const uint32_t at = planted.first;

	service_set(run, V4, IPPROTO_TCP, NULL, 0);
	spec_want(run, "none", FROM_POD(1), &s, DROPPED(NO_BACKEND));
	spoof.saddr = pod_addr(3, V4);
	spec_want(run, "none of another's", FROM_POD(1), &spoof,
	          DROPPED(SPOOF_ADDRESS));
	assert_int_equal(dp_services_put(run->dp, &key, &at_large, 1), 0);
	spec_want(run, "missing", FROM_POD(1), &s, DROPPED(NO_BACKEND));
	/* Another service's, as if the element had been recycled. */
	b.tag = service_tag(&key) + 1;
	assert_int_equal(dp_backends_put(run->dp, &at, &b, 1), 0);
	assert_int_equal(dp_services_put(run->dp, &key, &planted, 1), 0);
	spec_want(run, "another's", FROM_POD(1), &s, DROPPED(NO_BACKEND));
	b.tag--;
	assert_int_equal(dp_backends_put(run->dp, &at, &b, 1), 0);
	spec_want(run, "its own", FROM_POD(1), &s, SENT);
}

static void other_ports_and_protocols_are_no_service(void **state)
{
	struct bpfrun *run = *state;
	struct spec s = to_vip(1, V4, IPPROTO_TCP, SYN);
	struct outcome o;

	service_one(run, V4, IPPROTO_TCP, pod_addr(2, V4), 80);
	s.dport++;
	o = spec_want(run, "another port", FROM_POD(1), &s, SENT);
	addr_want("another port", facts_of("", &o.out).daddr, vip(V4));
	s = to_vip(1, V4, IPPROTO_ICMP, 0);
	s.type = 8;
	o = spec_want(run, "an echo", FROM_POD(1), &s, SENT);
	addr_want("an echo", facts_of("", &o.out).daddr, vip(V4));
}

/* ---- policy ----------------------------------------------------------------
 */

/* Only port 80 is allowed in @dir. */
static uint32_t slot_80(struct bpfrun *run, enum dir dir)
{
	const struct policy_entry allow = {
		{.port = htons(80), .proto = IPPROTO_TCP, .dir = (uint8_t)dir},
		{.rule = 7, .allow = 1}
        };

	return bpfrun_slot(run, 1u << dir, &allow, 1);
}

static void policy_is_judged_on_the_backend(void **state)
{
	struct bpfrun *run = *state;

	for (int i = 0; i < 4; i++) {
		const enum family f = i & 1;
		const enum dir dir = i >> 1;
		const struct spec s = to_vip(1, f, IPPROTO_TCP, SYN);

		bpfcheck_setup(state);
		bpfrun_pod(run, dir == DIR_EGRESS ? 1 : 2, slot_80(run, dir));
		service_one(run, f, IPPROTO_TCP, pod_addr(2, f), 80);
		spec_want(run, "to port 80", FROM_POD(1), &s, SENT);
		bpfrun_flush(run);
		service_one(run, f, IPPROTO_TCP, pod_addr(2, f), 81);
		if (dir == DIR_EGRESS)
			spec_want(run, "to port 81", FROM_POD(1), &s,
			          DROPPED(POLICY_EGRESS));
		else
			spec_want(run, "to port 81", FROM_POD(1), &s,
			          DROPPED(POLICY_INGRESS));
	}
}

/* A14: a pod may always speak to itself. */
static void a_pod_isolated_both_ways_reaches_itself(void **state)
{
	struct bpfrun *run = *state;

	bpfrun_pod(run, 1, bpfrun_slot(run, 3, NULL, 0));
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = to_vip(1, f, IPPROTO_TCP, SYN);

		service_one(run, f, IPPROTO_TCP, pod_addr(1, f), 80);
		spec_want(run, "to itself", FROM_POD(1), &s, SENT);
		dp_epoch_raise(run->dp, 1);
		spec_want(run, "judged anew", FROM_POD(1), &s, SENT);
	}
}

/* A flow of @kind to the point where it is live; what the backend saw. */
static struct facts live(struct bpfrun *run, const struct kind *kind,
                         struct spec *s, struct spec *back)
{
	const enum family f = s->daddr.byte[0] ? V6 : V4;
	struct facts seen;

	service_one(run, f, s->proto, A(kind->addr[f]), 80);
	s->tcp = SYN;
	seen = out_check(run, kind, s, 80);
	*back = answer_to(s, &seen, SYN | ACK);
	answer_check(run, kind->at, kind->back, s, back);
	s->tcp = ACK;
	out_check(run, kind, s, 80);
	back->tcp = ACK;
	return seen;
}

static void a_stale_flow_keeps_its_backend_and_port(void **state)
{
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 2; i++) {
		const struct kind *kind = &kinds[i / 2];
		struct spec s = to_vip(1, i & 1, IPPROTO_TCP, SYN), back;
		uint64_t opened, cut;
		struct facts seen, again;

		bpfcheck_setup(state);
		seen = live(run, kind, &s, &back);
		opened = bpfrun_counter(run, COUNTER_FLOW_OPENED);
		cut = bpfrun_counter(run, COUNTER_FLOW_CUT);
		bpfrun_pod(run, 1, slot_80(run, DIR_EGRESS));
		bpfrun_pod(run, 2, slot_80(run, DIR_INGRESS));
		/* Its service has another backend, or none. */
		service_set(run, i & 1, IPPROTO_TCP, NULL, 0);
		for (int end = 0; end < 3; end++) {
			dp_epoch_raise(run->dp, (uint16_t)end);
			answer_check(run, kind->at, kind->back, &s, &back);
			again = out_check(run, kind, &s, 80);
			assert_int_equal(again.sport, seen.sport);
		}
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_OPENED),
		                 opened);
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_CUT), cut);
	}
}

static void a_stale_flow_is_cut_whichever_side_speaks_first(void **state)
{
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 8; i++) {
		const struct kind *kind = &kinds[i / 8];
		const bool backs = i & 1, ingress = i & 2;
		struct spec s = to_vip(1, i >> 2 & 1, IPPROTO_TCP, SYN), back;
		const struct want cut = ingress ? DROPPED(POLICY_INGRESS)
		                                : DROPPED(POLICY_EGRESS);

		/* Itself and its node it may always reach (A13, A14). */
		if (kind->hairpin || kind->out.verdict == TC_ACT_OK ||
		    (ingress && i / 8))
			continue;
		bpfcheck_setup(state);
		live(run, kind, &s, &back);
		if (ingress)
			bpfrun_pod(run, 2, bpfrun_slot(run, 1, NULL, 0));
		else
			pod_mute(run, 1);
		dp_epoch_raise(run->dp, ingress ? 2 : 1);
		for (int n = 0; n < 4; n++) {
			if (backs == (n & 1))
				spec_want(run, "question", FROM_POD(1), &s,
				          cut);
			else
				spec_want(run, "answer", kind->at, &back, cut);
		}
		s.tcp = SYN;
		service_one(run, i >> 2 & 1, IPPROTO_TCP,
		            A(kind->addr[i >> 2 & 1]), 80);
		spec_want(run, "anew", FROM_POD(1), &s, cut);
	}
}

static void a_backend_whose_address_is_anothers_now_is_left(void **state)
{
	struct bpfrun *run = *state;
	const struct addr moved = pod_addr(2, V4);
	const struct addr_info info = {.identity = BPFRUN_ID4(3),
	                               .endpoint = 3};
	struct spec s = to_vip(1, V4, IPPROTO_UDP, 0), back;
	struct outcome o;

	live(run, &kinds[0], &s, &back);
	assert_int_equal(dp_addr_put(run->dp, &moved, &info), 0);
	dp_epoch_raise(run->dp, 2);
	spec_want(run, "the old one answers", FROM_POD(2), &back,
	          DROPPED(SPOOF_ADDRESS));
	service_one(run, V4, IPPROTO_UDP, pod_addr(4, V4), 80);
	o = spec_want(run, "elsewhere", FROM_POD(1), &s, SENT);
	addr_want("elsewhere", facts_of("", &o.out).daddr, pod_addr(4, V4));
}

static void events_tell_of_backend_and_service(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = to_vip(1, V4, IPPROTO_TCP, SYN);
	struct event ev;

	for (int i = 0; i < 3; i++) {
		bpfcheck_setup(state);
		service_one(run, V4, IPPROTO_TCP, pod_addr(2, V4), 80);
		if (i == 1)
			pod_mute(run, 1);
		bpfrun_events_skip(run);
		spec_want(run, "SYN", FROM_POD(1), &s,
		          i == 1 ? DROPPED(POLICY_EGRESS) : SENT);
		if (i == 2) {
			bpfrun_events_skip(run);
			pod_mute(run, 1);
			dp_epoch_raise(run->dp, 1);
			spec_want(run, "cut", FROM_POD(1), &s,
			          DROPPED(POLICY_EGRESS));
		}
		assert_true(bpfrun_event(run, &ev));
		assert_int_equal(ev.type, i ? EVENT_DROP : EVENT_FLOW);
		addr_want("to", ev.tuple.daddr, pod_addr(2, V4));
		assert_int_equal(ev.tuple.dport, htons(80));
		addr_want("asked for", ev.vip, vip(V4));
		assert_int_equal(ev.vip_port, htons(VIP_PORT));
		assert_int_equal(ev.identity[1], BPFRUN_ID4(2));
	}
}

/* ---- ports that clash
 * -------------------------------------------------------- */

static struct spec direct(enum family f, uint8_t proto, uint8_t tcp)
{
	return pod_spec(1, 2, f, proto, tcp);
}

/* Both live side by side, whichever came first. */
static void a_direct_flow_from_the_same_port_is_told_apart(void **state)
{
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct bpfrun *run = *state;

	for (int i = 0; i < 8; i++) {
		const enum family f = i & 1;
		const uint8_t p = proto[i >> 1 & 1];
		const bool direct_first = i & 4;
		const uint64_t cut = bpfrun_counter(run, COUNTER_FLOW_CUT);
		struct spec s[2] = {to_vip(1, f, p, SYN), direct(f, p, SYN)};
		struct spec back[2];
		struct facts seen[2];

		bpfcheck_setup(state);
		service_one(run, f, p, pod_addr(2, f), 80);
		for (int k = 0; k < 2; k++) {
			const int n = direct_first ? 1 - k : k;
			const struct outcome o =
				spec_want(run, "SYN", FROM_POD(1), &s[n], SENT);

			seen[n] = facts_of("SYN", &o.out);
			addr_want("to", seen[n].daddr, pod_addr(2, f));
			assert_int_equal(seen[n].dport, 80);
			back[n] = answer_to(&s[n], &seen[n], SYN | ACK);
			if (k)
				assert_in_range(seen[n].sport, NAT_PORT_MIN,
				                NAT_PORT_MAX);
			else
				assert_int_equal(seen[n].sport, 40000);
		}
		for (int round = 0; round < 3; round++)
			for (int n = 0; n < 2; n++) {
				struct outcome o;

				answer_check(run, FROM_POD(2), SENT, &s[n],
				             &back[n]);
				s[n].tcp = back[n].tcp = ACK;
				o = spec_want(run, "on", FROM_POD(1), &s[n],
				              SENT);
				assert_int_equal(facts_of("on", &o.out).sport,
				                 seen[n].sport);
				if (round == 1)
					dp_epoch_raise(run->dp,
					               (uint16_t)(n + 1));
			}
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_CUT), cut);
	}
}

/* The tuple that it would send is its own near side, turned round. */
static void a_pod_that_asks_itself_from_the_services_port(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = to_vip(1, f, IPPROTO_UDP, 0), back;
		struct outcome o;
		struct facts seen;

		s.sport = VIP_PORT;
		service_one(run, f, IPPROTO_UDP, pod_addr(1, f), VIP_PORT);
		o = spec_want(run, "out", FROM_POD(1), &s, SENT);
		seen = facts_of("out", &o.out);
		addr_want("from", seen.saddr, vip(f));
		assert_int_not_equal(seen.sport, VIP_PORT);
		back = answer_to(&s, &seen, 0);
		answer_check(run, FROM_POD(1), SENT, &s, &back);
	}
}

static void only_the_backend_may_answer(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = to_vip(1, f, IPPROTO_UDP, 0);
		const struct spec far = direct(f, IPPROTO_UDP, 0);
		const struct spec back = spec_answer(&far, 0);

		bpfcheck_setup(state);
		service_one(run, f, IPPROTO_UDP, pod_addr(2, f), 80);
		spec_want(run, "out", FROM_POD(1), &s, SENT);
		spec_want(run, "another pod", FROM_POD(3), &back,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(run, "the wire", FROM_NETW, &back,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(run, "the far tuple by another", FROM_POD(3), &far,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(run, "the backend", FROM_POD(2), &back, SENT);
	}
}

static void a_port_is_used_again_when_its_connection_is_over(void **state)
{
	struct bpfrun *run = *state;
	struct spec s = to_vip(1, V4, IPPROTO_TCP, SYN), back;
	struct facts seen;

	live(run, &kinds[0], &s, &back);
	s.tcp = back.tcp = FIN | ACK;
	out_check(run, &kinds[0], &s, 80);
	answer_check(run, kinds[0].at, SENT, &s, &back);
	s.tcp = SYN;
	seen = out_check(run, &kinds[0], &s, 80);
	back = answer_to(&s, &seen, SYN | ACK);
	answer_check(run, kinds[0].at, SENT, &s, &back);
}

/* The LRU table may drop one half of a pair: then the flow begins anew. */
static void half_a_pair_is_no_flow(void **state)
{
	struct bpfrun *run = *state;
	const int young = dp_map_fd(run->dp, "flows_new");
	const struct spec s = to_vip(1, V4, IPPROTO_UDP, 0);
	const struct spec far = direct(V4, IPPROTO_UDP, 0);
	struct spec back = spec_answer(&far, 0);
	struct flow_key key = bpfrun_key(&far);
	struct outcome o;

	service_one(run, V4, IPPROTO_UDP, pod_addr(2, V4), 80);
	spec_want(run, "out", FROM_POD(1), &s, SENT);
	assert_int_equal(bpf_map_delete_elem(young, &key), 0);
	spec_want(run, "out", FROM_POD(1), &s, SENT);
	answer_check(run, FROM_POD(2), SENT, &s, &back);

	bpfrun_flush(run);
	spec_want(run, "out", FROM_POD(1), &s, SENT);
	key = bpfrun_key(&s);
	assert_int_equal(bpf_map_delete_elem(young, &key), 0);
	o = spec_want(run, "out", FROM_POD(1), &s, SENT);
	back.dport = facts_of("out", &o.out).sport;
	answer_check(run, FROM_POD(2), SENT, &s, &back);
}

/* ---- errors and fragments
 * ---------------------------------------------------- */

/* The quoted packet of an error, as its receiver reads it. */
static void quote_check(const struct packet *error, const struct spec *s)
{
	const struct facts got = facts_of("error", error);
	const uint8_t *ip = error->byte + got.l4 + 8;
	const bool v6 = s->daddr.byte[0];
	const uint8_t *ports = ip + (v6 ? 40 : 20);

	addr_want("error to", got.daddr, s->saddr);
	assert_memory_equal(ip + (v6 ? 8 : 12), s->saddr.byte + (v6 ? 0 : 12),
	                    v6 ? 16 : 4);
	assert_memory_equal(ip + (v6 ? 24 : 16), s->daddr.byte + (v6 ? 0 : 12),
	                    v6 ? 16 : 4);
	assert_int_equal(ports[0] << 8 | ports[1], s->sport);
	assert_int_equal(ports[2] << 8 | ports[3], s->dport);
}

static void errors_come_back_as_the_services(void **state)
{
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 2; i++) {
		const struct kind *kind = &kinds[i / 2];
		const enum family f = i & 1;
		const struct spec s = to_vip(1, f, IPPROTO_UDP, 0);
		struct outcome o;
		struct spec e;

		bpfcheck_setup(state);
		service_one(run, f, IPPROTO_UDP, A(kind->addr[f]), 80);
		o = spec_want(run, kind->name, FROM_POD(1), &s, kind->out);
		e = spec_error(A(kind->addr[f]), &o.out, 200, f ? 1 : 3,
		               f ? 4 : 3, 0);
		o = spec_want(run, kind->name, kind->at, &e, kind->back);
		quote_check(&o.out, &s);
		addr_want(kind->name, facts_of("", &o.out).saddr, vip(f));
	}
}

/* Of the sender about an answer: it goes to the backend, about what it sent. */
static void errors_go_out_as_the_backends(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = to_vip(1, f, IPPROTO_UDP, 0);
		const struct spec far = direct(f, IPPROTO_UDP, 0);
		const struct spec back = spec_answer(&far, 0);
		struct outcome o;
		struct spec e;

		service_one(run, f, IPPROTO_UDP, pod_addr(2, f), 80);
		spec_want(run, "out", FROM_POD(1), &s, SENT);
		o = spec_want(run, "back", FROM_POD(2), &back, SENT);
		e = spec_error(s.saddr, &o.out, 200, f ? 1 : 3, f ? 4 : 3, 0);
		o = spec_want(run, "error", FROM_POD(1), &e, SENT);
		quote_check(&o.out, &back);
		assert_memory_equal(facts_of("", &o.out).dmac, pod_mac(2), 6);
	}
}

/* Path MTU: of a router behind the exit, and our own to the sender. */
static void too_big_comes_back_as_the_services(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr narrow = A(f ? RIG_NARROW6 : RIG_NARROW4);
		struct spec s = to_vip(1, f, IPPROTO_UDP, 0), e;
		struct outcome o;

		service_one(run, f, IPPROTO_UDP, narrow, 80);
		o = spec_want(run, "out", FROM_POD(1), &s, SENT);
		e = spec_error(A(f ? RIG_WORLD6 : RIG_WORLD4), &o.out, 200,
		               f ? 2 : 3, f ? 0 : 4, 1280);
		o = spec_want(run, "a router's", FROM_NETW, &e, SENT);
		quote_check(&o.out, &s);
		assert_int_equal(facts_of("", &o.out).info & 0xffff, 1280);
		s.n_payload = RIG_NARROW_MTU;
		o = spec_want(run, "our own", FROM_POD(1), &s,
		              ANSWERED(TOO_BIG));
		quote_check(&o.out, &s);
		assert_int_equal(facts_of("", &o.out).info & 0xffff,
		                 RIG_NARROW_MTU);
	}
}

static void fragments_to_a_service_stay_together(void **state)
{
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 2; i++) {
		const struct kind *kind = &kinds[i / 2];
		const enum family f = i & 1;
		struct spec first = to_vip(1, f, IPPROTO_UDP, 0), later;
		struct outcome o;
		struct packet p;
		struct facts seen;

		bpfcheck_setup(state);
		service_one(run, f, IPPROTO_UDP, A(kind->addr[f]), 80);
		first.frag = first.more = true;
		first.frag_id = (uint32_t)(1000 + i);
		first.n_payload = 64;
		later = first;
		later.more = false;
		later.frag_off = 72;
		spec_want(run, "ahead", FROM_POD(1), &later, DROPPED(FRAGMENT));
		spec_want(run, kind->name, FROM_POD(1), &first, kind->out);
		o = spec_want(run, kind->name, FROM_POD(1), &later, kind->out);
		p = o.out;
		assert_true(packet_read(&p, &seen));
		addr_want(kind->name, seen.daddr, A(kind->addr[f]));
	}
}

/* ---- races
 * ---------------------------------------------------------------------- */

#define RACE_SECONDS 3
#define RACE_FLOWS   64

static atomic_bool race_over;
static char race_figure[160] = "two CPUs and changing services";

struct racer {
	pthread_t thread;
	const struct bpfrun *run;
	int cpu;
	unsigned long packets, wrong;
	uint16_t port[RACE_FLOWS]; /* where each flow went */
};

/* TCP's backends have ports 1000 and up, UDP's 2000 and up. */
static bool is_right(const struct spec *s, uint16_t dport)
{
	const uint16_t base = s->proto == IPPROTO_TCP ? 1000 : 2000;

	return dport >= base && dport < base + 4;
}

/* Both racers open the same flows, which nobody has closed since. */
static void *race_run(void *arg)
{
	struct racer *r = arg;
	const struct bpfrun *run = r->run;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(r->cpu, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	for (unsigned int i = 0; !atomic_load(&race_over); i++) {
		const unsigned int n = i % RACE_FLOWS;
		struct spec s = to_vip(1, n & 1,
		                       n & 2 ? IPPROTO_TCP : IPPROTO_UDP, SYN);
		struct packet p, out;
		struct facts seen;

		s.smac = pod_mac(1);
		s.sport = (uint16_t)(10000 + n + i / RACE_FLOWS % 400 * 64);
		p = packet_make(&s);
		if (bpfrun_bytes(run, HOOK_FROM_POD, run->pod_if[1], &p,
		                 &out) != TC_ACT_REDIRECT)
			continue; /* its service was replaced just then */
		r->packets++;
		if (!packet_read(&out, &seen) || !is_right(&s, seen.dport))
			r->wrong++;
		/* Once it is known it never goes elsewhere. */
		if (i < RACE_FLOWS)
			r->port[n] = seen.dport;
		else if (i / RACE_FLOWS % 400 == 0 && r->port[n] &&
		         r->port[n] != seen.dport)
			r->wrong++;
	}
	return NULL;
}

/* Sets of backends come and go, their elements recycled at once. */
static void services_churn(struct bpfrun *run, uint32_t round)
{
	for (unsigned int i = 0; i < 4; i++) {
		const enum family f = i & 1;
		const uint8_t proto = i & 2 ? IPPROTO_TCP : IPPROTO_UDP;
		const uint16_t base = proto == IPPROTO_TCP ? 1000 : 2000;
		struct backend set[4];
		const uint32_t n = 1 + (round + i) % 4;

		for (uint32_t b = 0; b < n; b++)
			set[b] = backend_of(pod_addr(2 + b, f),
			                    (uint16_t)(base + b));
		service_set(run, f, proto, set, n);
	}
}

static void a_flow_has_one_backend_and_it_is_its_services(void **state)
{
	struct bpfrun *run = *state;
	struct racer racer[2] = {};
	const time_t end = time(NULL) + RACE_SECONDS;
	const uint64_t opened = bpfrun_counter(run, COUNTER_FLOW_OPENED);
	uint32_t rounds = 0;

	services_churn(run, 0);
	atomic_store(&race_over, false);
	for (int i = 0; i < 2; i++) {
		racer[i].run = run;
		racer[i].cpu = i;
		assert_int_equal(pthread_create(&racer[i].thread, NULL,
		                                race_run, &racer[i]),
		                 0);
	}
	while (time(NULL) < end)
		services_churn(run, ++rounds);
	atomic_store(&race_over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(racer[i].thread, NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(racer[i].wrong, 0);
		assert_true(racer[i].packets > 1000);
	}
	for (int i = 0; i < RACE_FLOWS; i++)
		if (racer[0].port[i] && racer[1].port[i])
			assert_int_equal(racer[0].port[i], racer[1].port[i]);
	/* 400 * 64 tuples: each was opened once. */
	assert_true(bpfrun_counter(run, COUNTER_FLOW_OPENED) - opened <=
	            400 * RACE_FLOWS);
	snprintf(race_figure, sizeof(race_figure),
	         "a flow has one backend and it is its service's (two CPUs, "
	         "%u sets replaced): %lu packets, 0 wrong",
	         rounds * 4, racer[0].packets + racer[1].packets);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(every_kind_of_backend_is_reached_and_answers),
		T(sctp_keeps_its_ports),
		T(every_backend_gets_its_share),
		T(without_a_backend_nothing_passes),
		T(other_ports_and_protocols_are_no_service),
		T(policy_is_judged_on_the_backend),
		T(a_pod_isolated_both_ways_reaches_itself),
		T(a_stale_flow_keeps_its_backend_and_port),
		T(a_stale_flow_is_cut_whichever_side_speaks_first),
		T(a_backend_whose_address_is_anothers_now_is_left),
		T(events_tell_of_backend_and_service),
		T(a_direct_flow_from_the_same_port_is_told_apart),
		T(a_pod_that_asks_itself_from_the_services_port),
		T(only_the_backend_may_answer),
		T(a_port_is_used_again_when_its_connection_is_over),
		T(half_a_pair_is_no_flow),
		T(errors_come_back_as_the_services),
		T(errors_go_out_as_the_backends),
		T(too_big_comes_back_as_the_services),
		T(fragments_to_a_service_stay_together),
		{race_figure, a_flow_has_one_backend_and_it_is_its_services,
	                                                bpfcheck_setup, NULL, NULL},
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
