// SPDX-License-Identifier: Apache-2.0
/* flow_test.c - the life of a flow: half-open, live, stale, cut, ended. */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

static struct spec of(unsigned int from, unsigned int to, enum family f,
                      uint8_t proto, uint8_t tcp)
{
	return (struct spec){
		.saddr = pod_addr(from, f),
		.daddr = pod_addr(to, f),
		.proto = proto,
		.sport = 40000,
		.dport = 80,
		.tcp = tcp,
		.n_payload = 10,
	};
}

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

static uint32_t mute_slot(struct bpfrun *run)
{
	static uint32_t slot;

	if (!slot)
		slot = bpfrun_slot(run, 1 << DIR_EGRESS, NULL, 0);
	return slot;
}

/* A pod that may send nothing by itself. */
static void mute(struct bpfrun *run, unsigned int pod)
{
	bpfrun_pod(run, pod, mute_slot(run));
}

/* ---- half-open and live -------------------------------------------------- */

static void tcp_is_live_when_the_openers_ack_follows_a_syn_ack(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn = of(1, 2, f, IPPROTO_TCP, SYN);
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
		const struct spec syn = of(1, 2, f, IPPROTO_TCP, SYN);
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
	const struct spec syn = of(1, 2, V4, IPPROTO_TCP, SYN);
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
			struct spec s = of(1, 2, f, IPPROTO_TCP, tcp[i]);

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
			const struct spec s = of(1, 2, f, proto[i], 0);
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
	const struct spec s = of(1, 2, V4, IPPROTO_UDP, 0);
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
		struct spec s = of(1, 2, f, IPPROTO_UDP, 0);
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
	const struct spec syn = of(1, 2, V4, IPPROTO_TCP, SYN);
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
		const struct spec other = of(3, 2, V4, IPPROTO_TCP, SYN);

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
	const struct spec syn = of(1, 2, V6, IPPROTO_TCP, SYN);
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
		const struct spec syn = of(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec back = spec_answer(&syn, SYN);
		const struct spec data = spec_answer(&syn, ACK);

		mute(*state, 2);
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
		const struct spec syn = of(1, 2, V4, IPPROTO_TCP, SYN);
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
	const struct spec syn = of(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec rst = spec_answer(&syn, RST);

	tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
	spec_want(*state, "RST", FROM_POD(2), &rst, SENT);
	mute(*state, 1); /* no epoch is raised: the flow itself is not asked */
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
		mute(*state, 2);
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
		const struct spec syn = of(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec udp = of(1, 2, f, IPPROTO_UDP, 0);
		struct spec s = spec_answer(&syn, SYN | ACK);

		mute(*state, 2);
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

/* ---- epochs -------------------------------------------------------------- */

static void a_stale_flow_is_judged_anew_and_goes_on(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint16_t raised[] = {1, 2, 0};
		const struct spec syn = of(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec ack = with(&syn, ACK);
		const struct spec back = spec_answer(&syn, ACK);
		uint64_t stale, opened;
		struct flow flow;

		tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
		stale = bpfrun_counter(run, COUNTER_FLOW_STALE);
		opened = bpfrun_counter(run, COUNTER_FLOW_OPENED);
		for (size_t i = 0; i < ARRAY_SIZE(raised); i++) {
			dp_epoch_raise(run->dp, raised[i]);
			spec_want(run, "once",
			          i & 1 ? FROM_POD(2) : FROM_POD(1),
			          i & 1 ? &back : &ack, SENT);
			spec_want(run, "twice", FROM_POD(1), &ack, SENT);
			assert_int_equal(
				bpfrun_counter(run, COUNTER_FLOW_STALE),
				stale + i + 1);
		}
		dp_epoch_raise(run->dp, 3); /* none of its ends */
		spec_want(run, "undisturbed", FROM_POD(1), &ack, SENT);
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_STALE),
		                 stale + 3);
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_OPENED),
		                 opened);
		assert_true(bpfrun_flow(run, &syn, &flow));
		assert_true(flow.flags & FLOW_MAIN);
		assert_int_equal(flow.count[0].packets, 8);
	}
}

static void a_tighter_policy_cuts_whichever_end_speaks_first(void **state)
{
	struct bpfrun *run = *state;

	for (int i = 0; i < 8; i++) {
		const enum family f = i & 1;
		const bool other_first = i & 2, half_open = i & 4;
		const struct spec syn = of(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec ack = with(&syn, ACK);
		const struct spec back = spec_answer(&syn, SYN | ACK);
		const uint64_t cut = bpfrun_counter(run, COUNTER_FLOW_CUT);
		struct flow flow;

		bpfcheck_setup(state);
		if (half_open)
			spec_want(run, "SYN", FROM_POD(1), &syn, SENT);
		else
			tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
		mute(run, 1);
		dp_epoch_raise(run->dp, 1);
		if (other_first)
			spec_want(run, "the other's", FROM_POD(2), &back,
			          DROPPED(POLICY_EGRESS));
		else
			spec_want(run, "the opener's", FROM_POD(1), &ack,
			          DROPPED(POLICY_EGRESS));
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_CUT),
		                 cut + 1);
		assert_true(bpfrun_flow(run, &syn, &flow));
		assert_true(flow.flags & FLOW_CUT);
		spec_want(run, "again", FROM_POD(1), &ack,
		          DROPPED(POLICY_EGRESS));
		spec_want(run, "the other again", FROM_POD(2), &back,
		          DROPPED(POLICY_EGRESS));
		spec_want(run, "anew", FROM_POD(1), &syn,
		          DROPPED(POLICY_EGRESS));
	}
}

/* Of UDP, an answer looks like a question: it must not open the flow anew. */
static void what_was_cut_is_not_opened_by_its_other_end(void **state)
{
	struct bpfrun *run = *state;

	for (int i = 0; i < 4; i++) {
		const enum family f = i & 1;
		const struct spec ask = of(1, 2, f, IPPROTO_UDP, 0);
		const struct spec back = spec_answer(&ask, 0);

		bpfcheck_setup(state);
		spec_want(run, "question", FROM_POD(1), &ask, SENT);
		if (i & 2)
			spec_want(run, "answer", FROM_POD(2), &back, SENT);
		mute(run, 1);
		dp_epoch_raise(run->dp, 1);
		for (int n = 0; n < 3; n++) {
			spec_want(run, "answer", FROM_POD(2), &back,
			          DROPPED(POLICY_EGRESS));
			spec_want(run, "question", FROM_POD(1), &ask,
			          DROPPED(POLICY_EGRESS));
		}
		bpfrun_pod(run, 1, SLOT_OPEN);
		dp_epoch_raise(run->dp, 1);
		spec_want(run, "allowed again", FROM_POD(2), &back, SENT);
	}
}

/* An answer's sender that becomes mute may answer still. */
static void an_answer_needs_no_egress_of_its_own(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = of(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec back = spec_answer(&syn, ACK);

	tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
	mute(run, 2);
	dp_epoch_raise(run->dp, 2);
	spec_want(run, "answer", FROM_POD(2), &back, SENT);
}

static void a_flow_of_an_address_that_moved_is_another_flow(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = of(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec back = spec_answer(&s, 0);
	const struct addr moved = pod_addr(2, V4);
	const struct addr_info info = {.identity = BPFRUN_ID4(3),
	                               .endpoint = 3};
	struct outcome o;

	spec_want(run, "ask", FROM_POD(1), &s, SENT);
	spec_want(run, "answer", FROM_POD(2), &back, SENT);
	assert_int_equal(dp_addr_put(run->dp, &moved, &info), 0);
	dp_epoch_raise(run->dp, 2);
	o = spec_want(run, "ask", FROM_POD(1), &s, SENT);
	assert_memory_equal(o.out.byte, pod_mac(3), 6);
	spec_want(run, "the old one answers", FROM_POD(2), &back,
	          DROPPED(SPOOF_ADDRESS));
	spec_want(run, "the new one answers", FROM_POD(3), &back, SENT);
}

/* ---- entries that are not what they seem --------------------------------- */

static void an_entry_with_anothers_tag_answers_nobody(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec mine = of(1, 2, f, IPPROTO_UDP, 0);
		const struct spec theirs = of(1, 3, f, IPPROTO_UDP, 0);
		const struct flow_key key = bpfrun_key(&mine);
		const uint64_t before =
			bpfrun_counter(run, COUNTER_TAG_MISMATCH);
		struct flow flow;
		struct outcome o;

		spec_want(run, "to 3", FROM_POD(1), &theirs, SENT);
		spec_want(run, "to 2", FROM_POD(1), &mine, SENT);
		assert_true(bpfrun_flow(run, &theirs, &flow));
		/* As if the element had been recycled under our eyes.
		 */
		bpfrun_flow_write(run, &key, &flow);
		o = spec_want(run, "to 2", FROM_POD(1), &mine, SENT);
		assert_memory_equal(o.out.byte, pod_mac(2), 6);
		assert_true(bpfrun_counter(run, COUNTER_TAG_MISMATCH) > before);
	}
}

/* The harness itself: the same entry with the right tag does mislead. */
static void the_planted_entry_would_mislead_but_for_its_tag(void **state)
{
	struct bpfrun *run = *state;
	const struct spec mine = of(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec theirs = of(1, 3, V4, IPPROTO_UDP, 0);
	const struct flow_key key = bpfrun_key(&mine);
	struct flow flow, own;
	struct outcome o;

	spec_want(run, "to 3", FROM_POD(1), &theirs, SENT);
	spec_want(run, "to 2", FROM_POD(1), &mine, SENT);
	assert_true(bpfrun_flow(run, &theirs, &flow));
	assert_true(bpfrun_flow(run, &mine, &own));
	flow.tag = own.tag;
	flow.flags = own.flags;
	bpfrun_flow_write(run, &key, &flow);
	o = spec_want(run, "to 2", FROM_POD(1), &mine, SENT);
	assert_memory_equal(o.out.byte, pod_mac(3), 6);
}

static void a_half_open_flow_expires(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = of(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec back = spec_answer(&s, 0);
	const struct flow_key key = bpfrun_key(&s);
	struct flow flow;

	mute(run, 2);
	spec_want(run, "ask", FROM_POD(1), &s, SENT);
	assert_true(bpfrun_flow(run, &s, &flow));
	flow.way[0].seen -= FLOW_TICKS(FLOW_TIMEOUT_NEW) + 2;
	flow.way[1].seen -= FLOW_TICKS(FLOW_TIMEOUT_NEW) + 2;
	bpfrun_flow_write(run, &key, &flow);
	spec_want(run, "too late", FROM_POD(2), &back, DROPPED(POLICY_EGRESS));
	spec_want(run, "ask", FROM_POD(1), &s, SENT);
	spec_want(run, "in time", FROM_POD(2), &back, SENT);
}

/* ---- the sweeper --------------------------------------------------------- */

static bool in_main_table(struct bpfrun *run, const struct flow_key *key)
{
	struct flow flow;

	for (size_t i = 0; i < FLOW_SHARDS; i++)
		if (!bpf_map_lookup_elem(run->shard[i], key, &flow))
			return true;
	return false;
}

/* Wait until it left the main table, fifteen seconds at most. */
static bool swept(struct bpfrun *run, const struct spec *s)
{
	const struct timespec tick = {.tv_nsec = 10000000};
	const struct flow_key key = bpfrun_key(s);

	for (int i = 0; i < 1500; i++) {
		if (!in_main_table(run, &key))
			return true;
		nanosleep(&tick, NULL);
	}
	return false;
}

/* The EVENT_END about @s; false when none came. */
static bool end_event(struct bpfrun *run, const struct spec *s,
                      struct event *ret)
{
	while (bpfrun_event(run, ret))
		if (ret->type == EVENT_END &&
		    ret->tuple.sport == htons(s->sport) &&
		    !memcmp(&ret->tuple.saddr, &s->saddr, 16))
			return true;
	return false;
}

static void idle_flows_are_ended_told_and_given_back(void **state)
{
	struct bpfrun *run = *state;
	const struct spec idle = of(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec live = of(3, 2, V4, IPPROTO_UDP, 0);
	const struct spec idle_back = spec_answer(&idle, 0);
	const struct spec live_back = spec_answer(&live, 0);
	const struct flow_key key = bpfrun_key(&idle);
	const int held = dp_map_fd(run->dp, "held");
	__u32 pod = 1, n;
	struct event event;
	struct flow flow;

	bpfrun_events_skip(run);
	spec_want(run, "ask", FROM_POD(1), &idle, SENT);
	spec_want(run, "answer", FROM_POD(2), &idle_back, SENT);
	spec_want(run, "ask", FROM_POD(3), &live, SENT);
	spec_want(run, "answer", FROM_POD(2), &live_back, SENT);
	assert_true(bpfrun_flow(run, &idle, &flow));
	assert_true(flow.flags & FLOW_MAIN);
	flow.way[0].seen -= FLOW_TICKS(FLOW_TIMEOUT_OTHER) + 2;
	flow.way[1].seen -= FLOW_TICKS(FLOW_TIMEOUT_OTHER) + 2;
	bpfrun_flow_write(run, &key, &flow);
	assert_true(swept(run, &idle));
	assert_true(bpfrun_flow(run, &live, &flow));
	assert_int_equal(bpf_map_lookup_elem(held, &pod, &n), 0);
	assert_int_equal(n, 0);
	pod = 3;
	assert_int_equal(bpf_map_lookup_elem(held, &pod, &n), 0);
	assert_int_equal(n, 1);
	assert_true(end_event(run, &idle, &event));
	assert_int_equal(event.count[0].packets, 1);
	assert_int_equal(event.count[1].packets, 1);
	assert_int_equal(event.endpoint[0], 1);
	assert_int_equal(event.endpoint[1], 2);
}

static void a_closed_connection_is_ended_soon_a_live_one_is_not(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = of(1, 2, V6, IPPROTO_TCP, SYN);
	const struct spec rst = with(&syn, RST);
	struct spec stay = syn;
	const struct flow_key key = bpfrun_key(&syn);
	struct flow_key stay_key;
	struct flow flow;

	stay.sport++;
	stay_key = bpfrun_key(&stay);
	tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
	tcp_establish(run, &stay, FROM_POD(1), FROM_POD(2));
	spec_want(run, "RST", FROM_POD(1), &rst, SENT);
	/* Both idle as long as a closed one may be. */
	assert_true(bpfrun_flow(run, &syn, &flow));
	flow.way[0].seen -= FLOW_TICKS(FLOW_TIMEOUT_CLOSED) + 2;
	flow.way[1].seen -= FLOW_TICKS(FLOW_TIMEOUT_CLOSED) + 2;
	bpfrun_flow_write(run, &key, &flow);
	assert_true(bpfrun_flow(run, &stay, &flow));
	flow.way[0].seen -= FLOW_TICKS(FLOW_TIMEOUT_CLOSED) + 2;
	flow.way[1].seen -= FLOW_TICKS(FLOW_TIMEOUT_CLOSED) + 2;
	bpfrun_flow_write(run, &stay_key, &flow);
	assert_true(swept(run, &syn));
	assert_true(bpfrun_flow(run, &stay, &flow));
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
		T(a_stale_flow_is_judged_anew_and_goes_on),
		T(a_tighter_policy_cuts_whichever_end_speaks_first),
		T(what_was_cut_is_not_opened_by_its_other_end),
		T(an_answer_needs_no_egress_of_its_own),
		T(a_flow_of_an_address_that_moved_is_another_flow),
		T(an_entry_with_anothers_tag_answers_nobody),
		T(the_planted_entry_would_mislead_but_for_its_tag),
		T(a_half_open_flow_expires),
		T(idle_flows_are_ended_told_and_given_back),
		T(a_closed_connection_is_ended_soon_a_live_one_is_not),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
