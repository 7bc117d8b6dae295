// SPDX-License-Identifier: Apache-2.0
/*
 * verdict_test.c - slots of every kind, audit mode, the stubs on the devices,
 * and what the datapath tells of its verdicts.
 */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

static struct spec udp(struct addr from, struct addr to, uint16_t port)
{
	return (struct spec){
		.saddr = from,
		.daddr = to,
		.proto = IPPROTO_UDP,
		.sport = 40000,
		.dport = port,
		.n_payload = 20,
	};
}

static void reopen(struct bpfrun *run, const struct dp_config *config)
{
	bpfrun_close(run);
	bpfrun_open(run, config);
}

/* ---- slots --------------------------------------------------------------- */

static void a_closed_slot_lets_nothing_through(void **state)
{
	struct bpfrun *run = *state;

	bpfrun_pod(run, 1, SLOT_CLOSED);
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr p = pod_addr(1, f), q = pod_addr(2, f);
		const struct addr w = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
		const struct addr n = f ? A(RIG_NODE6) : A(RIG_NODE4);
		struct spec s = udp(p, q, 53);

		spec_want(run, "out", FROM_POD(1), &s, DROPPED(POLICY_EGRESS));
		s = udp(q, p, 53);
		spec_want(run, "in", FROM_POD(2), &s, DROPPED(POLICY_INGRESS));
		s = udp(w, p, 53);
		spec_want(run, "off the wire", FROM_NETW, &s,
		          DROPPED(POLICY_INGRESS));
		spec_want(run, "forwarded by the stack", TO_POD(1), &s,
		          DROPPED(POLICY_INGRESS));
		s = udp(n, p, 53);
		spec_want(run, "from its node (A13)", TO_POD(1), &s, STACK);
		s = udp(p, n, 54);
		spec_want(run, "to its node (A13)", FROM_POD(1), &s, STACK);
		s = udp(p, p, 55);
		spec_want(run, "to itself (A14)", FROM_POD(1), &s, SENT);
	}
}

static void a_slot_that_is_not_there_closes_its_pods(void **state)
{
	struct bpfrun *run = *state;
	const uint32_t empty = SLOT_MAX - 1;
	const struct slot header = {
		.shapes = {SHAPE_BIT(LEVEL_ANY, SHAPE_ALL),
	                   SHAPE_BIT(LEVEL_ANY, SHAPE_ALL)},
		.isolated = {1, 1},
	};
	const int slots = dp_map_fd(run->dp, "slots");
	const uint32_t numbers[] = {empty, SLOT_MAX, UINT32_MAX};

	assert_int_equal(bpf_map_update_elem(slots, &empty, &header, BPF_ANY),
	                 0);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct spec s = udp(pod_addr(1, V4), pod_addr(2, V4), 53);

		bpfrun_pod(run, 1, numbers[i]);
		spec_want(run, "out", FROM_POD(1), &s, DROPPED(POLICY_MISSING));
		s = udp(pod_addr(2, V4), pod_addr(1, V4), 53);
		spec_want(run, "in", FROM_POD(2), &s, DROPPED(POLICY_MISSING));
	}
}

/* The first hit decides: exact peer, its class, any; port, protocol, all. */
static void a_denying_entry_stands_ahead_of_wider_ones(void **state)
{
	struct bpfrun *run = *state;
	const __be16 port = htons(53);
	const struct policy_entry entries[] = {
		{{.dir = DIR_EGRESS},                            {.rule = 1, .allow = 1}},
		{{.peer = BPFRUN_ID4(2), .dir = DIR_EGRESS},
	         {.rule = 2, .allow = 0}						},
		{{.peer = BPFRUN_ID4(2),
	          .port = port,
	          .proto = IPPROTO_UDP,
	          .dir = DIR_EGRESS},
	         {.rule = 3, .allow = 1}						},
		{{.peer = ID(CLASS_POD6, 0), .dir = DIR_EGRESS},
	         {.rule = 4, .allow = 0}						},
		{{.peer = ID(CLASS_POD6, 0),
	          .proto = IPPROTO_UDP,
	          .dir = DIR_EGRESS},
	         {.rule = 5, .allow = 1}						},
	};
	struct spec s;

	bpfrun_pod(run, 1, bpfrun_slot(run, 2, entries, ARRAY_SIZE(entries)));
	s = udp(pod_addr(1, V4), pod_addr(3, V4), 99);
	spec_want(run, "anybody", FROM_POD(1), &s, SENT);
	s = udp(pod_addr(1, V4), pod_addr(2, V4), 99);
	spec_want(run, "but that one", FROM_POD(1), &s, DROPPED(POLICY_EGRESS));
	s = udp(pod_addr(1, V4), pod_addr(2, V4), 53);
	spec_want(run, "save for its port", FROM_POD(1), &s, SENT);
	s = udp(pod_addr(1, V6), pod_addr(2, V6), 99);
	spec_want(run, "a class's protocol", FROM_POD(1), &s, SENT);
	s.proto = IPPROTO_TCP;
	s.tcp = SYN;
	spec_want(run, "and the rest of it", FROM_POD(1), &s,
	          DROPPED(POLICY_EGRESS));
}

static void audit_mode_counts_and_lets_pass(void **state)
{
	struct bpfrun *run = *state;
	struct dp_config config = bpfrun_config;
	const struct spec s = udp(pod_addr(1, V4), pod_addr(2, V4), 53);
	const struct spec spoofed = udp(pod_addr(3, V4), pod_addr(2, V4), 53);

	config.audit = 1;
	reopen(run, &config);
	bpfrun_pod(run, 1, SLOT_CLOSED);
	spec_want(run, "denied, were it not for the mode", FROM_POD(1), &s,
	          SENT);
	assert_int_equal(bpfrun_counter(run, COUNTER_AUDIT), 1);
	spec_want(run, "spoofed", FROM_POD(1), &spoofed,
	          DROPPED(SPOOF_ADDRESS));
	reopen(run, &bpfrun_config);
}

/* ---- stubs --------------------------------------------------------------- */

static void an_empty_hook_drops_for_pods_and_passes_for_uplinks(void **state)
{
	static const struct {
		const char *stub;
		struct place at;
		int without;
	} stubs[] = {
		{"stub_from_pod", FROM_POD(1), TC_ACT_SHOT  },
		{"stub_to_pod",   TO_POD(1),   TC_ACT_SHOT  },
		{"stub_from_net", FROM_NETW,   TC_ACT_UNSPEC},
		{"stub_to_net",   TO_NETW,     TC_ACT_UNSPEC},
	};
	struct bpfrun *run = *state;
	const int hooks = dp_map_fd(run->dp, "hooks");

	for (size_t i = 0; i < ARRAY_SIZE(stubs); i++) {
		const __u32 hook = stubs[i].at.hook;
		const int program = run->prog[hook];
		const struct addr node = A(RIG_NODE4), pod = pod_addr(1, V4);
		struct spec s = udp(hook == HOOK_FROM_POD ? pod : node,
		                    hook == HOOK_FROM_POD ? node : pod, 53);
		struct want want = STACK;

		if (hook == HOOK_FROM_NET)
			s.saddr = A(RIG_WORLD4);
		if (hook == HOOK_FROM_NET)
			want = SENT;
		if (hook == HOOK_TO_NET)
			want = UNTOUCHED;
		run->prog[hook] = dp_prog_fd(run->dp, stubs[i].stub);
		spec_want(run, stubs[i].stub, stubs[i].at, &s, want);
		assert_int_equal(bpf_map_delete_elem(hooks, &hook), 0);
		spec_want(run, stubs[i].stub, stubs[i].at, &s,
		          (struct want){stubs[i].without, DROP_NO_PROGRAM});
		assert_int_equal(
			bpf_map_update_elem(hooks, &hook, &program, BPF_ANY),
			0);
		spec_want(run, stubs[i].stub, stubs[i].at, &s, want);
		run->prog[hook] = program;
	}
}

/* ---- events -------------------------------------------------------------- */

static void a_first_packet_is_told_with_names_and_rules(void **state)
{
	struct bpfrun *run = *state;
	const struct policy_entry allow[] = {
		{{.peer = BPFRUN_ID4(2), .dir = DIR_EGRESS},
	         {.rule = 71, .allow = 1}},
		{{.peer = BPFRUN_ID4(1), .dir = DIR_INGRESS},
	         {.rule = 72, .allow = 1}},
	};
	const uint32_t slot = bpfrun_slot(run, 3, allow, ARRAY_SIZE(allow));
	const struct spec s = udp(pod_addr(1, V4), pod_addr(2, V4), 53);
	struct event e;

	bpfrun_pod(run, 1, slot);
	bpfrun_pod(run, 2, slot);
	bpfrun_events_skip(run);
	spec_want(run, "first", FROM_POD(1), &s, SENT);
	spec_want(run, "second", FROM_POD(1), &s, SENT);
	assert_true(bpfrun_event(run, &e));
	assert_int_equal(e.type, EVENT_FLOW);
	assert_int_equal(e.hook, HOOK_FROM_POD);
	assert_int_equal(e.reason, DROP_NONE);
	assert_int_equal(e.ifindex, run->pod_if[1]);
	assert_int_equal(e.identity[0], BPFRUN_ID4(1));
	assert_int_equal(e.identity[1], BPFRUN_ID4(2));
	assert_int_equal(e.endpoint[0], 1);
	assert_int_equal(e.endpoint[1], 2);
	assert_int_equal(e.rule[DIR_EGRESS], 71);
	assert_int_equal(e.rule[DIR_INGRESS], 72);
	assert_int_equal(e.tuple.dport, htons(53));
	assert_int_equal(e.tuple.proto, IPPROTO_UDP);
	assert_int_equal(e.length, 48);
	addr_want("source", e.tuple.saddr, s.saddr);
	addr_want("destination", e.tuple.daddr, s.daddr);
	assert_false(bpfrun_event(run, &e)); /* the second is not told */
}

static void a_drop_is_told_with_its_reason(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = udp(pod_addr(1, V6), pod_addr(2, V6), 53);
	struct event e;

	bpfrun_pod(run, 2, SLOT_CLOSED);
	bpfrun_events_skip(run);
	spec_want(run, "denied", FROM_POD(1), &s, DROPPED(POLICY_INGRESS));
	assert_true(bpfrun_event(run, &e));
	assert_int_equal(e.type, EVENT_DROP);
	assert_int_equal(e.reason, DROP_POLICY_INGRESS);
	assert_int_equal(e.identity[0], BPFRUN_ID6(1));
	assert_int_equal(e.identity[1], BPFRUN_ID6(2));
	assert_int_equal(e.rule[DIR_INGRESS], 0);
	addr_want("source", e.tuple.saddr, s.saddr);
	assert_false(bpfrun_event(run, &e));
}

/* A flood of drops is counted in full, and told of in part. */
static void drops_are_all_counted_though_few_are_told(void **state)
{
	enum { PACKETS = 20000 };
	struct bpfrun *run = *state;
	struct spec s = udp(pod_addr(3, V4), pod_addr(2, V4), 53);
	const uint64_t lost = bpfrun_counter(run, COUNTER_EVENT_LOST);
	uint64_t before, after;
	unsigned int told = 0;
	struct packet p;
	struct event e;

	s.smac = pod_mac(1);
	p = packet_make(&s);
	bpfrun_events_skip(run);
	assert_int_equal(dp_drop_count(run->dp, DROP_SPOOF_ADDRESS,
	                               HOOK_FROM_POD, &before),
	                 0);
	for (int i = 0; i < PACKETS; i++)
		assert_int_equal(bpfrun_verdict(run, HOOK_FROM_POD,
		                                run->pod_if[1], p.byte, p.len),
		                 TC_ACT_SHOT);
	assert_int_equal(dp_drop_count(run->dp, DROP_SPOOF_ADDRESS,
	                               HOOK_FROM_POD, &after),
	                 0);
	assert_int_equal(after - before, PACKETS);
	while (bpfrun_event(run, &e))
		told++;
	assert_in_range(told, 1, PACKETS - 1);
	assert_int_equal(told + bpfrun_counter(run, COUNTER_EVENT_LOST) - lost,
	                 PACKETS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(a_closed_slot_lets_nothing_through),
		T(a_slot_that_is_not_there_closes_its_pods),
		T(a_denying_entry_stands_ahead_of_wider_ones),
		T(audit_mode_counts_and_lets_pass),
		T(an_empty_hook_drops_for_pods_and_passes_for_uplinks),
		T(a_first_packet_is_told_with_names_and_rules),
		T(a_drop_is_told_with_its_reason),
		T(drops_are_all_counted_though_few_are_told),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
