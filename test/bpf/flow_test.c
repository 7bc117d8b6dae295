// SPDX-License-Identifier: Apache-2.0
/* flow_test.c - flows are half-open, become live, and carry whom they may. */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

static struct spec with(const struct spec *s, uint8_t tcp)
{
	struct spec other = *s;

	other.tcp = tcp;
	return other;
}

static uint32_t flags_of(struct bpfrun *run, const struct spec *s)
{
	struct flow flow;

	return bpfrun_flow(run, s, &flow) ? flow.flags : 0;
}

/* ---- half-open and live -------------------------------------------------- */

static void tcp_is_live_when_the_openers_ack_follows_a_syn_ack(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn = pod_spec(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec ack = with(&syn, ACK);
		const struct spec synack = spec_answer(&syn, SYN | ACK);

		spec_want(*state, "SYN", FROM_POD(1), &syn, SENT);
		spec_want(*state, "SYN again", FROM_POD(1), &syn, SENT);
		assert_int_equal(flags_of(*state, &syn) & ~FLOW_REVERSED,
		                 FLOW_SYN);
		spec_want(*state, "ACK too soon", FROM_POD(1), &ack, SENT);
		assert_false(flags_of(*state, &syn) & FLOW_MAIN);
		spec_want(*state, "SYN-ACK", FROM_POD(2), &synack, SENT);
		assert_int_equal(flags_of(*state, &syn) & ~FLOW_REVERSED,
		                 FLOW_SYN | FLOW_SYNACK | FLOW_ANSWERED);
		spec_want(*state, "ACK", FROM_POD(1), &ack, SENT);
		assert_true(flags_of(*state, &syn) & FLOW_MAIN);
		assert_true(flags_of(*state, &syn) & FLOW_CHARGED);
	}
}

static void a_reset_is_no_answer(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn = pod_spec(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec ack = with(&syn, ACK);
		const struct spec rst = spec_answer(&syn, RST | ACK);

		spec_want(*state, "SYN", FROM_POD(1), &syn, SENT);
		spec_want(*state, "RST", FROM_POD(2), &rst, SENT);
		spec_want(*state, "ACK", FROM_POD(1), &ack, SENT);
		assert_false(flags_of(*state, &syn) &
		             (FLOW_MAIN | FLOW_ANSWERED));
	}
}

static void a_reset_behind_a_syn_ack_keeps_it_out_too(void **state)
{
	const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec synack = spec_answer(&syn, SYN | ACK);
	const struct spec rst = with(&syn, RST), ack = with(&syn, ACK);

	spec_want(*state, "SYN", FROM_POD(1), &syn, SENT);
	spec_want(*state, "SYN-ACK", FROM_POD(2), &synack, SENT);
	spec_want(*state, "RST", FROM_POD(1), &rst, SENT);
	spec_want(*state, "ACK", FROM_POD(1), &ack, SENT);
	assert_false(flags_of(*state, &syn) & FLOW_MAIN);
}

static void only_a_syn_opens_a_connection(void **state)
{
	static const uint8_t tcp[] = {ACK, SYN | ACK, FIN | ACK, RST, 0};

	for (enum family f = 0; f < FAMILY__COUNT; f++)
		for (size_t i = 0; i < ARRAY_SIZE(tcp); i++) {
			struct spec s = pod_spec(1, 2, f, IPPROTO_TCP, tcp[i]);

			spec_want(*state, "to a pod", FROM_POD(1), &s,
			          DROPPED(NO_FLOW));
			s.daddr = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
			spec_want(*state, "out", FROM_POD(1), &s,
			          DROPPED(NO_FLOW));
			s.saddr = s.daddr;
			s.daddr = pod_addr(2, f);
			spec_want(*state, "off the wire", FROM_NETW, &s,
			          DROPPED(NO_FLOW));
			s.saddr = f ? A(RIG_NODE6) : A(RIG_NODE4);
			spec_want(*state, "from the node", TO_POD(2), &s,
			          DROPPED(NO_FLOW));
		}
}

static void others_are_live_when_they_are_answered(void **state)
{
	static const uint8_t proto[] = {IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_GRE};

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec ask =
			spec_echo(pod_addr(1, f), pod_addr(2, f), 5, false);
		const struct spec reply =
			spec_echo(pod_addr(2, f), pod_addr(1, f), 5, true);

		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			const struct spec s = pod_spec(1, 2, f, proto[i], 0);
			const struct spec back = spec_answer(&s, 0);

			for (int n = 0; n < 30; n++)
				spec_want(*state, "ask", FROM_POD(1), &s, SENT);
			assert_false(flags_of(*state, &s) & FLOW_MAIN);
			spec_want(*state, "answer", FROM_POD(2), &back, SENT);
			assert_true(flags_of(*state, &s) & FLOW_MAIN);
		}
		spec_want(*state, "ping", FROM_POD(1), &ask, SENT);
		assert_false(flags_of(*state, &ask) & FLOW_MAIN);
		spec_want(*state, "pong", FROM_POD(2), &reply, SENT);
		assert_true(flags_of(*state, &ask) & FLOW_MAIN);
	}
}

/* Seconds are taken off the entry instead of being waited for. */
static void one_way_traffic_moves_after_packets_and_seconds(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = pod_spec(1, 2, V4, IPPROTO_UDP, 0);
	const struct flow_key key = bpfrun_key(&s);
	struct flow flow;

	spec_want(run, "first", FROM_POD(1), &s, SENT);
	assert_true(bpfrun_flow(run, &s, &flow));
	flow.opened -= FLOW_TICKS(3);
	bpfrun_flow_write(run, &key, &flow);
	for (int i = 0; i < 14; i++)
		spec_want(run, "more", FROM_POD(1), &s, SENT);
	assert_false(flags_of(run, &s) & FLOW_MAIN);
	spec_want(run, "the sixteenth", FROM_POD(1), &s, SENT);
	spec_want(run, "the seventeenth", FROM_POD(1), &s, SENT);
	assert_true(flags_of(run, &s) & FLOW_MAIN);
}

static void packets_and_bytes_are_counted_by_direction(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const size_t ip = f ? 40 : 20;
		struct spec s = pod_spec(1, 2, f, IPPROTO_UDP, 0);
		struct spec back = spec_answer(&s, 0);
		struct flow flow;

		back.n_payload = 100;
		for (int i = 0; i < 5; i++)
			spec_want(*state, "ask", FROM_POD(1), &s, SENT);
		for (int i = 0; i < 3; i++)
			spec_want(*state, "answer", FROM_POD(2), &back, SENT);
		assert_true(bpfrun_flow(*state, &s, &flow));
		assert_int_equal(flow.count[0].packets, 5);
		assert_int_equal(flow.count[0].bytes, 5 * (ip + 8 + 10));
		assert_int_equal(flow.count[1].packets, 3);
		assert_int_equal(flow.count[1].bytes, 3 * (ip + 8 + 100));
	}
}

static void a_full_share_keeps_flows_half_open_and_alive(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec ack = with(&syn, ACK);
	const struct spec synack = spec_answer(&syn, SYN | ACK);
	const int held = dp_map_fd(run->dp, "held");
	const uint64_t before = bpfrun_counter(run, COUNTER_FLOW_DEGRADED);
	__u32 pod = 1, n = bpfrun_config.share;

	assert_int_equal(bpf_map_update_elem(held, &pod, &n, BPF_ANY), 0);
	spec_want(run, "SYN", FROM_POD(1), &syn, SENT);
	spec_want(run, "SYN-ACK", FROM_POD(2), &synack, SENT);
	for (int i = 0; i < 5; i++) {
		spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
		spec_want(run, "answer", FROM_POD(2), &synack, SENT);
	}
	assert_false(flags_of(run, &syn) & FLOW_MAIN);
	assert_true(bpfrun_counter(run, COUNTER_FLOW_DEGRADED) > before);
	/* Another pod's share is its own. */
	{
		const struct spec other = pod_spec(3, 2, V4, IPPROTO_TCP, SYN);

		tcp_establish(run, &other, FROM_POD(3), FROM_POD(2));
	}
	n--;
	assert_int_equal(bpf_map_update_elem(held, &pod, &n, BPF_ANY), 0);
	spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
	assert_true(flags_of(run, &syn) & FLOW_MAIN);
	assert_int_equal(bpf_map_lookup_elem(held, &pod, &n), 0);
	assert_int_equal(n, bpfrun_config.share);
}

/* ---- who may ride on a flow ---------------------------------------------- */

static void a_syn_on_a_live_flow_passes_and_changes_nothing(void **state)
{
	const struct spec syn = pod_spec(1, 2, V6, IPPROTO_TCP, SYN);
	const uint64_t opened = bpfrun_counter(*state, COUNTER_FLOW_OPENED);
	uint32_t flags;

	tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
	flags = flags_of(*state, &syn);
	spec_want(*state, "SYN", FROM_POD(1), &syn, SENT);
	assert_int_equal(flags_of(*state, &syn), flags);
	assert_int_equal(bpfrun_counter(*state, COUNTER_FLOW_OPENED),
	                 opened + 1);
}

static void a_syn_from_the_other_end_is_judged_by_itself(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn = pod_spec(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec back = spec_answer(&syn, SYN);
		const struct spec data = spec_answer(&syn, ACK);

		pod_mute(*state, 2);
		tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
		spec_want(*state, "SYN", FROM_POD(2), &back,
		          DROPPED(POLICY_EGRESS));
		spec_want(*state, "data", FROM_POD(2), &data, SENT);
	}
}

static void a_syn_on_a_closing_flow_opens_anew(void **state)
{
	static const struct {
		const char *name;
		uint8_t opener, other;
	} ends[] = {
		{"FIN both ways",    FIN | ACK, FIN | ACK},
		{"the opener's RST", RST,       ACK      },
		{"the other's RST",  ACK,       RST      },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
		const struct spec a = with(&syn, ends[i].opener);
		const struct spec b = spec_answer(&syn, ends[i].other);
		uint64_t opened;
		struct flow flow;

		tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
		spec_want(*state, ends[i].name, FROM_POD(1), &a, SENT);
		spec_want(*state, ends[i].name, FROM_POD(2), &b, SENT);
		opened = bpfrun_counter(*state, COUNTER_FLOW_OPENED);
		spec_want(*state, "SYN", FROM_POD(1), &syn, SENT);
		assert_int_equal(bpfrun_counter(*state, COUNTER_FLOW_OPENED),
		                 opened + 1);
		assert_true(bpfrun_flow(*state, &syn, &flow));
		assert_int_equal(flow.flags & ~FLOW_REVERSED, FLOW_SYN);
		assert_int_equal(flow.count[0].packets, 1);
		/* And it can live again, in the dead one's place. */
		tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
	}
}

static void a_closing_flow_asks_policy_anew(void **state)
{
	const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec rst = spec_answer(&syn, RST);

	tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
	spec_want(*state, "RST", FROM_POD(2), &rst, SENT);
	pod_mute(*state,
	         1); /* no epoch is raised: the flow itself is not asked */
	spec_want(*state, "SYN", FROM_POD(1), &syn, DROPPED(POLICY_EGRESS));
}

/* GHSA-c66w-hq56-4q97: a request that wears the ids of a reply. */
static void equal_icmp_ids_both_ways_are_two_flows(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr a = pod_addr(1, f), b = pod_addr(2, f);
		const struct spec ab = spec_echo(a, b, 7, false);
		const struct spec ba = spec_echo(b, a, 7, false);
		const struct spec ab_reply = spec_echo(b, a, 7, true);
		const struct spec ba_reply = spec_echo(a, b, 7, true);
		struct flow flow;

		bpfcheck_setup(state);
		spec_want(*state, "a asks b", FROM_POD(1), &ab, SENT);
		spec_want(*state, "b asks a", FROM_POD(2), &ba, SENT);
		spec_want(*state, "b answers", FROM_POD(2), &ab_reply, SENT);
		spec_want(*state, "a answers", FROM_POD(1), &ba_reply, SENT);
		assert_true(bpfrun_flow(*state, &ab, &flow));
		assert_int_equal(flow.count[0].packets, 1);
		assert_int_equal(flow.count[1].packets, 1);

		bpfrun_flush(*state);
		pod_mute(*state, 2);
		spec_want(*state, "a asks b", FROM_POD(1), &ab, SENT);
		spec_want(*state, "b asks with that id", FROM_POD(2), &ba,
		          DROPPED(POLICY_EGRESS));
		spec_want(*state, "b answers", FROM_POD(2), &ab_reply, SENT);
		spec_want(*state, "b asks still", FROM_POD(2), &ba,
		          DROPPED(POLICY_EGRESS));
	}
}

static void an_answer_that_nobody_asked_for_is_judged(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn = pod_spec(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec udp = pod_spec(1, 2, f, IPPROTO_UDP, 0);
		struct spec s = spec_answer(&syn, SYN | ACK);

		pod_mute(*state, 2);
		spec_want(*state, "SYN-ACK", FROM_POD(2), &s,
		          DROPPED(POLICY_EGRESS));
		s = spec_answer(&syn, ACK);
		spec_want(*state, "ACK", FROM_POD(2), &s,
		          DROPPED(POLICY_EGRESS));
		s = spec_echo(pod_addr(2, f), pod_addr(1, f), 9, true);
		spec_want(*state, "echo reply", FROM_POD(2), &s,
		          DROPPED(POLICY_EGRESS));
		spec_want(*state, "question", FROM_POD(1), &udp, SENT);
		s = spec_answer(&udp, 0);
		s.sport++;
		spec_want(*state, "from another port", FROM_POD(2), &s,
		          DROPPED(POLICY_EGRESS));
		s = spec_answer(&udp, 0);
		s.dport++;
		spec_want(*state, "to another port", FROM_POD(2), &s,
		          DROPPED(POLICY_EGRESS));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(tcp_is_live_when_the_openers_ack_follows_a_syn_ack),
		T(a_reset_is_no_answer),
		T(a_reset_behind_a_syn_ack_keeps_it_out_too),
		T(only_a_syn_opens_a_connection),
		T(others_are_live_when_they_are_answered),
		T(one_way_traffic_moves_after_packets_and_seconds),
		T(packets_and_bytes_are_counted_by_direction),
		T(a_full_share_keeps_flows_half_open_and_alive),
		T(a_syn_on_a_live_flow_passes_and_changes_nothing),
		T(a_syn_from_the_other_end_is_judged_by_itself),
		T(a_syn_on_a_closing_flow_opens_anew),
		T(a_closing_flow_asks_policy_anew),
		T(equal_icmp_ids_both_ways_are_two_flows),
		T(an_answer_that_nobody_asked_for_is_judged),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
