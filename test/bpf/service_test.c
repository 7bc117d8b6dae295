// SPDX-License-Identifier: Apache-2.0
/* service_test.c - to a ClusterIP, on to a backend, and back: who may. */
#include <arpa/inet.h>
#include <string.h>

#include "test/lib/svccheck.h"

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
	const struct service at_large = {
		.first = 1000000, .count = 2, .tag = service_tag(&key)};
	const struct service planted = {
		.first = 2000000, .count = 1, .tag = service_tag(&key)};
	struct service torn = planted;
	const uint32_t at = planted.first;

	service_set(run, V4, IPPROTO_TCP, NULL, 0);
	spec_want(run, "none", FROM_POD(1), &s, ANSWERED(NO_BACKEND));
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
	torn.tag++;
	assert_int_equal(dp_services_put(run->dp, &key, &torn, 1), 0);
	spec_want(run, "a torn one", FROM_POD(1), &s, DROPPED(NO_BACKEND));
	assert_int_equal(dp_services_put(run->dp, &key, &planted, 1), 0);
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

/* ---- policy ------------------------------------------------------------- */

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
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
