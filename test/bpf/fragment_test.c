// SPDX-License-Identifier: Apache-2.0
/* fragment_test.c - later fragments go where their first one went, or nowhere.
 */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

/* Pod 2 may send UDP to port 53, TCP to port 80 and echo; nothing else. */
#define STRICT_POD 2

static const struct policy_entry entries[] = {
	{{.port = 0x3500, .proto = IPPROTO_UDP, .dir = DIR_EGRESS},
         {.rule = 1, .allow = 1}							   },
	{{.port = 0x5000, .proto = IPPROTO_TCP, .dir = DIR_EGRESS},
         {.rule = 2, .allow = 1}							   },
	{{.proto = IPPROTO_ICMP, .dir = DIR_EGRESS},                {.rule = 3, .allow = 1}},
	{{.proto = IPPROTO_ICMPV6, .dir = DIR_EGRESS},              {.rule = 4, .allow = 1}},
};

static int setup(void **state)
{
	static uint32_t slot;

	bpfcheck_setup(state);
	if (!slot)
		slot = bpfrun_slot(*state, 1 << DIR_EGRESS, entries,
		                   ARRAY_SIZE(entries));
	bpfrun_pod(*state, STRICT_POD, slot);
	return 0;
}

static struct spec first_of(enum family f, uint8_t proto, uint16_t port)
{
	return (struct spec){
		.saddr = pod_addr(STRICT_POD, f),
		.daddr = pod_addr(3, f),
		.proto = proto,
		.sport = 40000,
		.dport = port,
		.tcp = SYN,
		.type = f ? 128 : 8,
		.info = 77u << 16,
		.n_payload = 64,
		.frag = true,
		.more = true,
		.frag_id = 4711,
	};
}

static struct spec later_of(const struct spec *first, uint16_t off)
{
	struct spec s = *first;

	s.frag_off = off;
	s.more = false;
	return s;
}

static void later_fragments_follow_their_first(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec first = first_of(f, IPPROTO_UDP, 53);
		struct spec later = later_of(&first, 72);
		struct outcome o;

		spec_want(*state, "ahead of its first", FROM_POD(STRICT_POD),
		          &later, DROPPED(FRAGMENT));
		spec_want(*state, "first", FROM_POD(STRICT_POD), &first, SENT);
		o = spec_want(*state, "later", FROM_POD(STRICT_POD), &later,
		              SENT);
		assert_memory_equal(o.out.byte, pod_mac(3), 6);
		later.more = true;
		spec_want(*state, "a middle one", FROM_POD(STRICT_POD), &later,
		          SENT);
		spec_want(*state, "first again", FROM_POD(STRICT_POD), &first,
		          SENT);
	}
}

static void a_denied_first_lets_nothing_follow(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec first = first_of(f, IPPROTO_UDP, 54);
		const struct spec later = later_of(&first, 72);

		spec_want(*state, "first", FROM_POD(STRICT_POD), &first,
		          DROPPED(POLICY_EGRESS));
		spec_want(*state, "later", FROM_POD(STRICT_POD), &later,
		          DROPPED(FRAGMENT));
	}
}

static void another_packets_fragment_has_no_first(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec first = first_of(f, IPPROTO_UDP, 53);
		struct spec s = later_of(&first, 72);

		spec_want(*state, "first", FROM_POD(STRICT_POD), &first, SENT);
		s.frag_id++;
		spec_want(*state, "another id", FROM_POD(STRICT_POD), &s,
		          DROPPED(FRAGMENT));
		s = later_of(&first, 72);
		s.proto = IPPROTO_TCP;
		spec_want(*state, "another protocol", FROM_POD(STRICT_POD), &s,
		          DROPPED(FRAGMENT));
		s = later_of(&first, 72);
		s.daddr = pod_addr(4, f);
		spec_want(*state, "another destination", FROM_POD(STRICT_POD),
		          &s, DROPPED(FRAGMENT));
		s = later_of(&first, 72);
		spec_want(*state, "another pod sends it", FROM_POD(4), &s,
		          DROPPED(FRAGMENT));
		spec_want(*state, "it comes off the wire", FROM_NETW, &s,
		          DROPPED(FRAGMENT));
		s = spec_answer(&s, ACK);
		spec_want(*state, "the other way", FROM_POD(3), &s,
		          DROPPED(FRAGMENT));
	}
}

/* RFC 1858, 3128, 5722: what a first one must hold. */
static void tiny_and_overlapping_fragments_are_refused(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = first_of(f, IPPROTO_TCP, 80);
		struct packet whole, p;
		const size_t head = ETH_BYTES + (f ? 48 : 20);

		s.smac = pod_mac(STRICT_POD);
		whole = packet_make(&s);
		for (size_t bytes = 0; bytes < 16; bytes += 8) {
			p = whole;
			p.len = head + bytes;
			if (f) {
				p.byte[ETH_BYTES + 4] = 0;
				p.byte[ETH_BYTES + 5] = (uint8_t)(8 + bytes);
			} else {
				p.byte[ETH_BYTES + 2] = 0;
				p.byte[ETH_BYTES + 3] = (uint8_t)(20 + bytes);
			}
			packet_want(*state, "tiny first", FROM_POD(STRICT_POD),
			            &p, DROPPED(FRAGMENT));
		}
		spec_want(*state, "first", FROM_POD(STRICT_POD), &s, SENT);
		s = later_of(&s, 8);
		spec_want(*state, "over the TCP header", FROM_POD(STRICT_POD),
		          &s, DROPPED(FRAGMENT));
		s = later_of(&s, 24);
		spec_want(*state, "behind it", FROM_POD(STRICT_POD), &s, SENT);
	}
}

static void a_first_too_short_for_its_ports_is_refused(void **state)
{
	static const uint8_t proto[] = {IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
	                                IPPROTO_ICMPV6};

	for (enum family f = 0; f < FAMILY__COUNT; f++)
		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			struct spec s = first_of(f, proto[i], 53);
			const size_t head = f ? 48 : 20;
			struct packet p;

			if (proto[i] == (f ? IPPROTO_ICMP : IPPROTO_ICMPV6))
				continue;
			s.smac = pod_mac(STRICT_POD);
			p = packet_make(&s);
			p.len = ETH_BYTES + head + 4;
			p.byte[ETH_BYTES + (f ? 4 : 2)] = 0;
			p.byte[ETH_BYTES + (f ? 5 : 3)] =
				(uint8_t)(f ? 12 : 24);
			packet_want(*state, "four bytes", FROM_POD(STRICT_POD),
			            &p, DROPPED(FRAGMENT));
		}
}

/* A large ping and its answer, to a pod that may send nothing by itself. */
static void fragments_of_answers_are_answers(void **state)
{
	struct bpfrun *run = *state;
	const uint32_t closed = bpfrun_slot(run, 1 << DIR_EGRESS, NULL, 0);

	bpfrun_pod(run, 3, closed);
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint8_t proto[] = {f ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		                         IPPROTO_UDP};

		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			const struct spec ask = first_of(f, proto[i], 53);
			const struct spec ask2 = later_of(&ask, 72);
			struct spec answer = spec_answer(&ask, 0);
			struct spec answer2 = later_of(&answer, 72);

			spec_want(run, "question", FROM_POD(STRICT_POD), &ask,
			          SENT);
			spec_want(run, "its rest", FROM_POD(STRICT_POD), &ask2,
			          SENT);
			spec_want(run, "answer", FROM_POD(3), &answer, SENT);
			spec_want(run, "the answer's rest", FROM_POD(3),
			          &answer2, SENT);
			answer = spec_answer(&ask, 0);
			answer.frag_id = 9;
			answer.type = ask.type;
			if (proto[i] != IPPROTO_UDP) {
				answer2 = later_of(&answer, 72);
				spec_want(run, "a question of its own",
				          FROM_POD(3), &answer,
				          DROPPED(POLICY_EGRESS));
				spec_want(run, "that one's rest", FROM_POD(3),
				          &answer2, DROPPED(FRAGMENT));
			}
		}
	}
}

/* Out by the wire and back: every piece is translated alike. */
static void fragments_are_masqueraded_like_their_first(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec ask = first_of(f, IPPROTO_UDP, 53);
		struct spec ask2, answer, answer2;
		struct outcome o;
		struct facts facts;
		uint16_t port;

		ask.daddr = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
		ask2 = later_of(&ask, 72);
		o = spec_want(*state, "first", FROM_POD(STRICT_POD), &ask,
		              SENT);
		assert_true(packet_read(&o.out, &facts));
		port = facts.sport;
		addr_want("first", facts.saddr,
		          f ? A(RIG_NODE6) : A(RIG_NODE4));
		o = spec_want(*state, "later", FROM_POD(STRICT_POD), &ask2,
		              SENT);
		assert_true(packet_read(&o.out, &facts));
		addr_want("later", facts.saddr,
		          f ? A(RIG_NODE6) : A(RIG_NODE4));
		assert_memory_equal(
			o.out.byte + o.out.len - ask2.n_payload,
			"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
			52);

		answer = spec_answer(&ask, 0);
		answer.daddr = f ? A(RIG_NODE6) : A(RIG_NODE4);
		answer.dport = port;
		answer2 = later_of(&answer, 72);
		spec_want(*state, "answer's rest too soon", FROM_NETW, &answer2,
		          UNTOUCHED);
		o = spec_want(*state, "answer", FROM_NETW, &answer, SENT);
		assert_true(packet_read(&o.out, &facts));
		addr_want("answer", facts.daddr, pod_addr(STRICT_POD, f));
		assert_int_equal(facts.dport, 40000);
		o = spec_want(*state, "answer's rest", FROM_NETW, &answer2,
		              SENT);
		assert_true(packet_read(&o.out, &facts));
		addr_want("answer's rest", facts.daddr,
		          pod_addr(STRICT_POD, f));
	}
}

/* The bounded table evicts the oldest; nothing else changes. */
static void a_flood_of_first_fragments_costs_others_nothing(void **state)
{
	struct bpfrun *run = *state;
	struct spec flood = first_of(V4, IPPROTO_UDP, 53);
	struct spec whole = flood, later;
	struct packet p;
	uint32_t key_count = 0;
	struct frag_key key;

	flood.smac = pod_mac(STRICT_POD);
	for (unsigned int id = 0; id < 30000; id++) {
		flood.frag_id = id;
		p = packet_make(&flood);
		assert_int_equal(bpfrun_verdict(run, HOOK_FROM_POD,
		                                run->pod_if[STRICT_POD], p.byte,
		                                p.len),
		                 TC_ACT_REDIRECT);
	}
	while (!bpf_map_get_next_key(dp_map_fd(run->dp, "frags"),
	                             key_count ? &key : NULL, &key))
		key_count++;
	assert_in_range(key_count, 1000, 8192);
	whole.frag = whole.more = false;
	spec_want(run, "a whole packet", FROM_POD(STRICT_POD), &whole, SENT);
	flood.frag_id = 40000;
	later = later_of(&flood, 72);
	spec_want(run, "a new first", FROM_POD(STRICT_POD), &flood, SENT);
	spec_want(run, "its rest", FROM_POD(STRICT_POD), &later, SENT);
}

static void an_id_that_is_used_again_is_another_packets(void **state)
{
	struct bpfrun *run = *state;
	const int frags = dp_map_fd(run->dp, "frags");

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec first = first_of(f, IPPROTO_UDP, 53);
		const struct spec later = later_of(&first, 72);
		struct frag_ports ports;
		struct frag_key key;

		spec_want(run, "first", FROM_POD(STRICT_POD), &first, SENT);
		spec_want(run, "its rest", FROM_POD(STRICT_POD), &later, SENT);
		assert_int_equal(bpf_map_get_next_key(frags, NULL, &key), 0);
		assert_int_equal(bpf_map_lookup_elem(frags, &key, &ports), 0);
		ports.seen -= FLOW_TICKS(FRAG_TIMEOUT) + 2;
		assert_int_equal(
			bpf_map_update_elem(frags, &key, &ports, BPF_ANY), 0);
		spec_want(run, "half a minute later", FROM_POD(STRICT_POD),
		          &later, DROPPED(FRAGMENT));
		bpfrun_flush(run);
	}
}

static void the_nodes_fragments_are_not_a_pods_of_that_id(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr node = f ? A(RIG_NODE6) : A(RIG_NODE4);
		struct spec ask = first_of(f, IPPROTO_UDP, 53), answer, rest;
		struct outcome o;
		struct facts facts;

		ask.frag = ask.more = false;
		ask.daddr = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
		o = spec_want(run, "ask", FROM_POD(STRICT_POD), &ask, SENT);
		facts = facts_of("ask", &o.out);
		answer = spec_answer(&ask, 0);
		answer.smac = answer.dmac = NULL;
		answer.frag = answer.more = true;
		answer.daddr = node;
		answer.dport = facts.sport;
		rest = later_of(&answer, 72);
		spec_want(run, "to the pod", FROM_NETW, &answer, SENT);
		answer.dport = 700;
		spec_want(run, "to the node", FROM_NETW, &answer, UNTOUCHED);
		spec_want(run, "its rest", FROM_NETW, &rest, UNTOUCHED);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(later_fragments_follow_their_first),
		T(a_denied_first_lets_nothing_follow),
		T(another_packets_fragment_has_no_first),
		T(tiny_and_overlapping_fragments_are_refused),
		T(a_first_too_short_for_its_ports_is_refused),
		T(fragments_of_answers_are_answers),
		T(fragments_are_masqueraded_like_their_first),
		T(an_id_that_is_used_again_is_another_packets),
		T(the_nodes_fragments_are_not_a_pods_of_that_id),
		T(a_flood_of_first_fragments_costs_others_nothing),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
