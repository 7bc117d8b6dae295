// SPDX-License-Identifier: Apache-2.0
/* stale_test.c - flows that are stale, cut, recycled, expired, swept. */
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

/* ---- epochs -------------------------------------------------------------- */

static void a_stale_flow_is_judged_anew_and_goes_on(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint16_t raised[] = {1, 2, 0};
		const struct spec syn = pod_spec(1, 2, f, IPPROTO_TCP, SYN);
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
		const struct spec syn = pod_spec(1, 2, f, IPPROTO_TCP, SYN);
		const struct spec ack = with(&syn, ACK);
		const struct spec back = spec_answer(&syn, SYN | ACK);
		const uint64_t cut = bpfrun_counter(run, COUNTER_FLOW_CUT);
		struct flow flow;

		bpfcheck_setup(state);
		if (half_open)
			spec_want(run, "SYN", FROM_POD(1), &syn, SENT);
		else
			tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
		pod_mute(run, 1);
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
		const struct spec ask = pod_spec(1, 2, f, IPPROTO_UDP, 0);
		const struct spec back = spec_answer(&ask, 0);

		bpfcheck_setup(state);
		spec_want(run, "question", FROM_POD(1), &ask, SENT);
		if (i & 2)
			spec_want(run, "answer", FROM_POD(2), &back, SENT);
		pod_mute(run, 1);
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
	const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec back = spec_answer(&syn, ACK);

	tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
	pod_mute(run, 2);
	dp_epoch_raise(run->dp, 2);
	spec_want(run, "answer", FROM_POD(2), &back, SENT);
}

static void a_flow_of_an_address_that_moved_is_another_flow(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = pod_spec(1, 2, V4, IPPROTO_UDP, 0);
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
		const struct spec mine = pod_spec(1, 2, f, IPPROTO_UDP, 0);
		const struct spec theirs = pod_spec(1, 3, f, IPPROTO_UDP, 0);
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
	const struct spec mine = pod_spec(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec theirs = pod_spec(1, 3, V4, IPPROTO_UDP, 0);
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
	const struct spec s = pod_spec(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec back = spec_answer(&s, 0);
	const struct flow_key key = bpfrun_key(&s);
	struct flow flow;

	pod_mute(run, 2);
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

/* Wait until it left the main table, a minute at most. */
static bool swept(struct bpfrun *run, const struct spec *s)
{
	const struct timespec tick = {.tv_nsec = 10000000};
	const struct flow_key key = bpfrun_key(s);

	for (int i = 0; i < 6000; i++) {
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
	const struct spec idle = pod_spec(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec live = pod_spec(3, 2, V4, IPPROTO_UDP, 0);
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
	const struct spec syn = pod_spec(1, 2, V6, IPPROTO_TCP, SYN);
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
