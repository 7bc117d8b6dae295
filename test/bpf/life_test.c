// SPDX-License-Identifier: Apache-2.0
/* life_test.c - how long flows live, both halves of them, and what they cost.
 */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4

static struct spec with(const struct spec *s, uint8_t tcp)
{
	struct spec other = *s;

	other.tcp = tcp;
	return other;
}

static struct spec to_world(unsigned int pod, uint8_t proto, uint16_t sport)
{
	struct spec s = pod_spec(pod, 2, V4, proto, SYN);

	s.daddr = A(RIG_WORLD4);
	s.sport = sport;
	return s;
}

/* Send @s from pod @pod out; the answer that comes back to the node. */
static struct spec sent_out(struct bpfrun *run, unsigned int pod,
                            const struct spec *s, uint8_t tcp)
{
	const struct outcome o = spec_want(run, "out", FROM_POD(pod), s, SENT);
	struct spec back = spec_answer(s, tcp);

	back.smac = back.dmac = NULL;
	back.daddr = A(RIG_NODE4);
	back.dport = facts_of("out", &o.out).sport;
	return back;
}

static uint32_t held(struct bpfrun *run, uint32_t pod)
{
	uint32_t n;

	assert_int_equal(
		bpf_map_lookup_elem(dp_map_fd(run->dp, "held"), &pod, &n), 0);
	return n;
}

static void held_put(struct bpfrun *run, uint32_t pod, uint32_t n)
{
	assert_int_equal(bpf_map_update_elem(dp_map_fd(run->dp, "held"), &pod,
	                                     &n, BPF_ANY),
	                 0);
}

static uint32_t flags_of(struct bpfrun *run, const struct spec *s)
{
	struct flow flow;

	return bpfrun_flow(run, s, &flow) ? flow.flags : 0;
}

/* Seconds are taken off the entry instead of being waited for. */
static void age(struct bpfrun *run, const struct spec *s, unsigned int seconds)
{
	const struct flow_key key = bpfrun_key(s);
	struct flow flow;

	assert_true(bpfrun_flow(run, s, &flow));
	flow.way[0].seen -= FLOW_TICKS(seconds) + 2;
	flow.way[1].seen -= FLOW_TICKS(seconds) + 2;
	bpfrun_flow_write(run, &key, &flow);
}

static bool is_held(struct bpfrun *run, uint32_t pod, uint32_t n)
{
	return held(run, pod) == n;
}

/* Wait for the sweeper: a pass takes it two seconds, an end two passes. */
#define WAIT(condition)                                           \
	do {                                                      \
		const struct timespec ms = {.tv_nsec = 50000000}; \
		int tries_ = 600;                                 \
                                                                  \
		while (!(condition) && tries_--)                  \
			nanosleep(&ms, NULL);                     \
		assert_true(condition);                           \
	} while (0)

/* ---- two halves ---------------------------------------------------------- */

static void both_halves_move_or_neither(void **state)
{
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct bpfrun *run = *state;
	const uint32_t share = bpfrun_config.share;

	for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
		const struct spec ask = to_world(1, proto[i], 1000);
		const struct spec ack = with(&ask, ACK);
		struct spec back;

		bpfcheck_setup(state);
		back = sent_out(run, 1, &ask, SYN | ACK);
		held_put(run, 1, share - 1);
		for (int n = 0; n < 3; n++) {
			spec_want(run, "answer", FROM_NETW, &back, SENT);
			spec_want(run, "ack", FROM_POD(1), &ack, SENT);
			assert_false(flags_of(run, &ask) & FLOW_MAIN);
			assert_false(flags_of(run, &back) & FLOW_MAIN);
		}
		assert_int_equal(held(run, 1), share - 1);
		held_put(run, 1, share - 2);
		spec_want(run, "answer", FROM_NETW, &back, SENT);
		spec_want(run, "ack", FROM_POD(1), &ack, SENT);
		assert_true(flags_of(run, &ask) & FLOW_MAIN);
		assert_true(flags_of(run, &back) & FLOW_MAIN);
		assert_int_equal(held(run, 1), share);
	}
}

/* The place of the near half is one that the sweeper is about to clear. */
static void a_half_that_can_not_move_keeps_the_other_back(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = to_world(1, IPPROTO_TCP, 1000);
	const struct spec ack = with(&syn, ACK);
	const struct flow_key key = bpfrun_key(&syn);
	struct spec back = sent_out(run, 1, &syn, SYN | ACK);
	struct flow dead = {.flags = FLOW_MAIN | FLOW_DEAD | FLOW_SWEPT};

	spec_want(run, "SYN-ACK", FROM_NETW, &back, SENT);
	for (unsigned int i = 0; i < FLOW_SHARDS; i++)
		assert_int_equal(bpf_map_update_elem(run->shard[i], &key, &dead,
		                                     BPF_ANY),
		                 0);
	spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
	back.tcp = ACK;
	spec_want(run, "answer", FROM_NETW, &back, SENT);
	/* Unless a pass of the sweeper fell between. */
	assert_int_equal(flags_of(run, &syn) & FLOW_MAIN,
	                 flags_of(run, &back) & FLOW_MAIN);
	for (int i = 0; i < 600 && !(flags_of(run, &syn) & FLOW_MAIN); i++) {
		const struct timespec ms = {.tv_nsec = 50000000};

		nanosleep(&ms, NULL);
		spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
		spec_want(run, "answer", FROM_NETW, &back, SENT);
		assert_int_equal(flags_of(run, &syn) & FLOW_MAIN,
		                 flags_of(run, &back) & FLOW_MAIN);
	}
	assert_true(flags_of(run, &syn) & FLOW_MAIN);
	WAIT(is_held(run, 1, 2));
}

static void one_way_traffic_keeps_its_port(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = to_world(1, IPPROTO_UDP, 1000);
	const struct spec back = sent_out(run, 1, &s, 0);

	for (int i = 0; i < 5; i++) {
		age(run, &s, 40);
		age(run, &back, 40);
		assert_int_equal(sent_out(run, 1, &s, 0).dport, back.dport);
	}
}

/* Its far half fell to the LRU table, and is another pod's now. */
static void a_half_whose_other_is_anothers_begins_anew(void **state)
{
	struct dp_config config = bpfrun_config;
	struct bpfrun *run = *state;
	const struct spec one = to_world(1, IPPROTO_UDP, 1000);
	const struct spec two = to_world(2, IPPROTO_UDP, 2000);
	struct spec back;

	config.nat_port_min = config.nat_port_max = 9000;
	bpfrun_close(run);
	bpfrun_open(run, &config);
	back = sent_out(run, 1, &one, 0);
	age(run, &back, FLOW_TIMEOUT_NEW);
	assert_int_equal(sent_out(run, 2, &two, 0).dport, 9000);
	spec_want(run, "not under its tuple", FROM_POD(1), &one,
	          DROPPED(NAT_PORTS));
	bpfrun_close(run);
	bpfrun_open(run, &bpfrun_config);
}

/* ---- the sweeper --------------------------------------------------------- */

static void flows_of_a_pod_that_is_gone_end(void **state)
{
	struct bpfrun *run = *state;
	const struct endpoint none = {};
	const struct addr addr = pod_addr(5, V4);
	struct spec syn = pod_spec(5, 2, V4, IPPROTO_TCP, SYN);
	struct spec in = pod_spec(3, 5, V4, IPPROTO_TCP, SYN);

	for (int i = 0; i < 20; i++) {
		syn.sport = in.sport = (uint16_t)(1000 + i);
		tcp_establish(run, &syn, FROM_POD(5), FROM_POD(2));
		tcp_establish(run, &in, FROM_POD(3), FROM_POD(5));
	}
	assert_int_equal(held(run, 5), 20);
	assert_int_equal(held(run, 3), 20);
	assert_int_equal(dp_addr_remove(run->dp, &addr), 0);
	assert_int_equal(dp_endpoint_put(run->dp, 5, &none), 0);
	WAIT(is_held(run, 5, 0) && is_held(run, 3, 0));
	assert_int_equal(flags_of(run, &syn), 0);
	assert_int_equal(flags_of(run, &in), 0);
}

static void ports_that_are_used_again_leave_no_half_behind(void **state)
{
	struct bpfrun *run = *state;
	struct spec syn = to_world(1, IPPROTO_TCP, 700), back, s;

	for (int i = 0; i < 20; i++) {
		back = sent_out(run, 1, &syn, SYN | ACK);
		spec_want(run, "SYN-ACK", FROM_NETW, &back, SENT);
		s = with(&syn, ACK);
		spec_want(run, "ACK", FROM_POD(1), &s, SENT);
		s = with(&syn, RST);
		if (i < 19)
			spec_want(run, "RST", FROM_POD(1), &s, SENT);
	}
	WAIT(is_held(run, 1, 2));
	back.tcp = ACK;
	spec_want(run, "the last one lives", FROM_NETW, &back, SENT);
}

/* What the sweeper has marked it deletes by its key: nobody stands there. */
static void a_place_that_is_being_swept_is_not_taken(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec synack = spec_answer(&syn, SYN | ACK);
	const struct spec ack = with(&syn, ACK);
	const struct flow_key key = bpfrun_key(&syn);
	struct flow flow;

	for (int i = 0; i < 10; i++) {
		bpfrun_flush(run);
		tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
		assert_true(bpfrun_flow(run, &syn, &flow));
		flow.flags |= FLOW_DEAD | FLOW_SWEPT;
		bpfrun_flow_write(run, &key, &flow);
		spec_want(run, "SYN", FROM_POD(1), &syn, SENT);
		spec_want(run, "SYN-ACK", FROM_POD(2), &synack, SENT);
		for (int n = 0; n < 600; n++) {
			const struct timespec ms = {.tv_nsec = 50000000};

			spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
			if (flags_of(run, &syn) & FLOW_MAIN)
				break;
			nanosleep(&ms, NULL);
		}
		assert_true(flags_of(run, &syn) & FLOW_MAIN);
		assert_int_equal(held(run, 1), 1);
	}
}

/* ---- resets and cuts ----------------------------------------------------- */

/* The flow's last RST was @seconds ago. */
static void reset_age(struct bpfrun *run, const struct spec *s,
                      unsigned int seconds)
{
	const struct flow_key key = bpfrun_key(s);
	struct flow flow;

	assert_true(bpfrun_flow(run, s, &flow));
	flow.reset -= FLOW_TICKS(seconds) + 2;
	bpfrun_flow_write(run, &key, &flow);
}

static void a_reset_that_both_ends_ignore_is_forgotten(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = pod_spec(1, 2, V4, IPPROTO_TCP, SYN);
	const struct spec ack = with(&syn, ACK), rst = with(&syn, RST);
	const struct spec back = spec_answer(&syn, ACK);

	for (int i = 0; i < 2; i++) {
		bpfrun_flush(run);
		tcp_establish(run, &syn, FROM_POD(1), FROM_POD(2));
		spec_want(run, "RST", FROM_POD(1), &rst, SENT);
		spec_want(run, "in flight", FROM_POD(2), &back, SENT);
		spec_want(run, "in flight", FROM_POD(1), &ack, SENT);
		assert_true(flags_of(run, &syn) & FLOW_RST);
		reset_age(run, &syn, 1);
		if (i)
			spec_want(run, "data", FROM_POD(2), &back, SENT);
		else
			spec_want(run, "data", FROM_POD(1), &ack, SENT);
		assert_false(flags_of(run, &syn) & FLOW_RST);
		spec_want(run, "RST", FROM_POD(1), &rst, SENT);
		reset_age(run, &syn, 1);
		spec_want(run, "RST again", FROM_POD(1), &rst, SENT);
		assert_true(flags_of(run, &syn) & FLOW_RST);
	}
}

static void so_it_is_of_both_halves(void **state)
{
	struct bpfrun *run = *state;
	const struct spec syn = to_world(1, IPPROTO_TCP, 1000);
	const struct spec ack = with(&syn, ACK);
	struct spec back = sent_out(run, 1, &syn, SYN | ACK);

	spec_want(run, "SYN-ACK", FROM_NETW, &back, SENT);
	spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
	back.tcp = RST;
	spec_want(run, "RST", FROM_NETW, &back, SENT);
	assert_true(flags_of(run, &syn) & flags_of(run, &back) & FLOW_RST);
	reset_age(run, &syn, 1);
	reset_age(run, &back, 1);
	spec_want(run, "data", FROM_POD(1), &ack, SENT);
	assert_false((flags_of(run, &syn) | flags_of(run, &back)) & FLOW_RST);
}

static void what_is_cut_stays_so_while_an_end_speaks(void **state)
{
	struct bpfrun *run = *state;
	const struct spec ask = pod_spec(1, 2, V4, IPPROTO_UDP, 0);
	const struct spec back = spec_answer(&ask, 0);

	for (int i = 0; i < 4; i++) {
		const bool live = i & 2;
		const struct spec *s = i & 1 ? &back : &ask;
		struct flow flow;

		bpfcheck_setup(state);
		spec_want(run, "ask", FROM_POD(1), &ask, SENT);
		if (live)
			spec_want(run, "answer", FROM_POD(2), &back, SENT);
		pod_mute(run, 1);
		dp_epoch_raise(run->dp, 1);
		for (int n = 0; n < 3; n++) {
			spec_want(run, "cut", i & 1 ? FROM_POD(2) : FROM_POD(1),
			          s, DROPPED(POLICY_EGRESS));
			assert_true(bpfrun_flow(run, &ask, &flow));
			assert_true(flow.flags & FLOW_CUT);
			age(run, &ask, 40);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(both_halves_move_or_neither),
		T(a_half_that_can_not_move_keeps_the_other_back),
		T(one_way_traffic_keeps_its_port),
		T(a_half_whose_other_is_anothers_begins_anew),
		T(flows_of_a_pod_that_is_gone_end),
		T(ports_that_are_used_again_leave_no_half_behind),
		T(a_place_that_is_being_swept_is_not_taken),
		T(a_reset_that_both_ends_ignore_is_forgotten),
		T(so_it_is_of_both_halves),
		T(what_is_cut_stays_so_while_an_end_speaks),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
