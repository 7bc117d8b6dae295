// SPDX-License-Identifier: Apache-2.0
/* neighbour_test.c - ARP and neighbour discovery: answered, or refused. */
#include <string.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

#define ALL_NODES "ff02::1"
/* Behind Ethernet: where ARP has its sender and its target. */
#define ARP_OP     (ETH_BYTES + 6)
#define ARP_SENDER (ETH_BYTES + 8)
#define ARP_TARGET (ETH_BYTES + 18)

static void arp_answer_check(const char *name, const struct packet *p,
                             struct addr asked)
{
	const uint8_t *gw = bpfrun_config.gw_mac;
	const struct addr me = pod_addr(1, V4);

	assert_int_equal(p->len, 42);
	if (memcmp(p->byte, pod_mac(1), 6) != 0 ||
	    memcmp(p->byte + 6, gw, 6) != 0)
		fail_msg("%s: the frame's MAC addresses", name);
	assert_int_equal(p->byte[ARP_OP + 1], 2);
	assert_memory_equal(p->byte + ARP_SENDER, gw, 6);
	assert_memory_equal(p->byte + ARP_SENDER + 6, &asked.word[3], 4);
	assert_memory_equal(p->byte + ARP_TARGET, pod_mac(1), 6);
	assert_memory_equal(p->byte + ARP_TARGET + 6, &me.word[3], 4);
}

static void every_address_that_a_pod_asks_for_is_the_gateways(void **state)
{
	static const char *const asked[] = {GATEWAY_V4, "10.0.0.2", "10.0.0.77",
	                                    RIG_NODE4, RIG_WORLD4};
	const uint64_t before =
		bpfrun_counter(*state, COUNTER_NEIGHBOUR_ANSWERED);

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		const struct packet p =
			packet_arp(1, pod_mac(1), pod_addr(1, V4), A(asked[i]));
		const struct outcome o =
			packet_want(*state, asked[i], FROM_POD(1), &p, SENT);

		arp_answer_check(asked[i], &o.out, A(asked[i]));
	}
	assert_int_equal(bpfrun_counter(*state, COUNTER_NEIGHBOUR_ANSWERED) -
	                         before,
	                 ARRAY_SIZE(asked));
}

static void arp_of_a_pod_about_itself_is_heard_and_goes_no_further(void **state)
{
	const struct addr me = pod_addr(1, V4);
	struct packet p = packet_arp(1, pod_mac(1), A("0.0.0.0"), me);

	packet_want(*state, "a probe", FROM_POD(1), &p, SILENT);
	p = packet_arp(1, pod_mac(1), me, me);
	packet_want(*state, "an announcement", FROM_POD(1), &p, SILENT);
	p = packet_arp(2, pod_mac(1), me, pod_addr(2, V4));
	packet_want(*state, "an answer", FROM_POD(1), &p, SILENT);
}

static void arp_that_speaks_for_another_is_refused(void **state)
{
	const struct addr gateway = A(GATEWAY_V4), me = pod_addr(1, V4);
	const struct addr other = pod_addr(2, V4);
	const struct {
		const char *name;
		uint16_t op;
		const uint8_t *mac;
		struct addr sender, target;
	} cases[] = {
		{"asks as the gateway",     1, pod_mac(1), gateway,      other  },
		{"asks as a neighbour",     1, pod_mac(1), other,        gateway},
		{"asks as nobody's",        1, pod_mac(1), A("9.9.9.9"), other  },
		{"announces the gateway",   1, pod_mac(1), gateway,      gateway},
		{"announces a neighbour",   2, pod_mac(1), other,        other  },
		{"answers for the gateway", 2, pod_mac(1), gateway,      me     },
		{"with another's MAC",      1, pod_mac(2), me,           gateway},
		{"with an unknown MAC",     1, pod_mac(0), me,           gateway},
	};
	struct packet p;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		p = packet_arp(cases[i].op, cases[i].mac, cases[i].sender,
		               cases[i].target);
		packet_want(*state, cases[i].name, FROM_POD(1), &p,
		            DROPPED(SPOOF_NEIGHBOUR));
	}
	p = packet_arp(1, pod_mac(1), me, gateway);
	memcpy(p.byte + 6, pod_mac(2), 6);
	packet_want(*state, "the frame says another MAC", FROM_POD(1), &p,
	            DROPPED(SPOOF_NEIGHBOUR));
	p = packet_arp(1, pod_mac(1), me, gateway);
	packet_want(*state, "from another pod's device", FROM_POD(2), &p,
	            DROPPED(SPOOF_NEIGHBOUR));
}

static void arp_that_is_no_arp_is_malformed(void **state)
{
	const struct {
		const char *name;
		size_t at;
		uint8_t value;
	} cases[] = {
		{"hardware",        ETH_BYTES + 1, 6   },
		{"protocol",        ETH_BYTES + 2, 0x86},
		{"hardware length", ETH_BYTES + 4, 8   },
		{"protocol length", ETH_BYTES + 5, 16  },
	};
	const struct packet whole =
		packet_arp(1, pod_mac(1), pod_addr(1, V4), A(GATEWAY_V4));
	struct packet p;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		p = whole;
		p.byte[cases[i].at] = cases[i].value;
		packet_want(*state, cases[i].name, FROM_POD(1), &p,
		            DROPPED(MALFORMED));
	}
	for (size_t cut = ETH_BYTES + 1; cut < whole.len; cut++) {
		p = whole;
		p.len = cut;
		packet_want(*state, "cut", FROM_POD(1), &p, DROPPED(MALFORMED));
	}
	p = whole;
	packet_want(*state, "the node's own", TO_POD(1), &p, STACK);
	packet_want(*state, "off the wire", FROM_NETW, &p, UNTOUCHED);
}

/* ---- IPv6 ---------------------------------------------------------------- */

static void nd_answer_check(const char *name, const struct packet *p,
                            struct addr from, struct addr target)
{
	const uint8_t *gw = bpfrun_config.gw_mac;
	const struct facts facts = facts_of(name, p);

	assert_memory_equal(facts.dmac, pod_mac(1), 6);
	assert_memory_equal(facts.smac, gw, 6);
	assert_int_equal(facts.ttl, 255);
	assert_int_equal(facts.type, 136);
	assert_int_equal(facts.code, 0);
	assert_int_equal(facts.info,
	                 0xe0000000); /* router, solicited, override */
	addr_want(name, facts.saddr, target);
	addr_want(name, facts.daddr, from);
	assert_memory_equal(p->byte + facts.body, target.byte, 16);
	assert_int_equal(p->byte[facts.body + 16], 2);
	assert_int_equal(p->byte[facts.body + 17], 1);
	assert_memory_equal(p->byte + facts.body + 18, gw, 6);
	assert_int_equal(p->len, facts.body + 24);
}

static void every_neighbour_that_a_pod_solicits_is_the_gateway(void **state)
{
	static const char *const asked[] = {GATEWAY_V6, "fd00::2", "fd00::77",
	                                    RIG_NODE6, "fe80::99"};
	const struct addr from[] = {pod_addr(1, V6), A("fe80::1:2")};

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		for (size_t j = 0; j < ARRAY_SIZE(from); j++) {
			const struct packet p =
				packet_nd(135, pod_mac(1), from[j],
			                  A("ff02::1:ff00:1"), A(asked[i]));
			const struct outcome o = packet_want(
				*state, asked[i], FROM_POD(1), &p, SENT);

			nd_answer_check(asked[i], &o.out, from[j], A(asked[i]));
		}
}

static void nd_of_a_pod_about_itself_is_heard_and_goes_no_further(void **state)
{
	const struct addr me = pod_addr(1, V6), all = A(ALL_NODES);
	const struct {
		const char *name;
		uint8_t type;
		struct addr from, target;
	} cases[] = {
		{"is its address taken",         135, A("::"),      me           },
		{"is its link address taken",    135, A("::"),      A("fe80::12")},
		{"where is it itself",           135, me,           me           },
		{"here it is",                   136, me,           me           },
		{"here is its link address",     136, A("fe80::3"), A("fe80::3") },
		{"is there a router",            133, me,           A("::")      },
		{"is there a router, from link", 133, A("fe80::3"), A("::")      },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct packet p =
			packet_nd(cases[i].type, pod_mac(1), cases[i].from, all,
		                  cases[i].target);

		packet_want(*state, cases[i].name, FROM_POD(1), &p, SILENT);
	}
}

static void nd_that_speaks_for_another_is_refused(void **state)
{
	const struct addr me = pod_addr(1, V6), other = pod_addr(2, V6);
	const struct addr gateway = A(GATEWAY_V6), all = A(ALL_NODES);
	const struct {
		const char *name;
		uint8_t type;
		const uint8_t *mac;
		struct addr from, target;
		enum drop drop;
	} cases[] = {
		{"advertises a neighbour",       136, pod_mac(1), me,           other,
	         DROP_SPOOF_NEIGHBOUR									   },
		{"advertises as a neighbour",    136, pod_mac(1), other,        other,
	         DROP_SPOOF_NEIGHBOUR									   },
		{"advertises with another MAC",  136, pod_mac(2), me,           me,
	         DROP_SPOOF_NEIGHBOUR									   },
		{"advertises the node",          136, pod_mac(1), me,           A(RIG_NODE6),
	         DROP_SPOOF_NEIGHBOUR									   },
		{"solicits as a neighbour",      135, pod_mac(1), other,        gateway,
	         DROP_SPOOF_NEIGHBOUR									   },
		{"solicits with another MAC",    135, pod_mac(2), me,           gateway,
	         DROP_SPOOF_NEIGHBOUR									   },
		{"advertises a router",          134, pod_mac(1), me,           me,
	         DROP_ROUTER_ADVERT									     },
		{"advertises a router, by link", 134, pod_mac(1), A("fe80::5"),
	         me,									  DROP_ROUTER_ADVERT},
		{"redirects",                    137, pod_mac(1), gateway,      other,
	         DROP_ROUTER_ADVERT									     },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct packet p =
			packet_nd(cases[i].type, cases[i].mac, cases[i].from,
		                  all, cases[i].target);

		packet_want(*state, cases[i].name, FROM_POD(1), &p,
		            (struct want){TC_ACT_SHOT, cases[i].drop});
	}
}

static void nd_that_was_routed_or_cut_is_malformed(void **state)
{
	const struct packet whole =
		packet_nd(135, pod_mac(1), pod_addr(1, V6), A("ff02::1:ff00:1"),
	                  A(GATEWAY_V6));
	struct packet p = whole;
	struct spec s = {
		.smac = pod_mac(1),
		.saddr = pod_addr(1, V6),
		.daddr = A("ff02::1:ff00:1"),
		.ttl = 255,
		.proto = IPPROTO_ICMPV6,
		.type = 135,
		.n_payload = 24,
		.frag = true,
		.more = true,
	};

	p.byte[ETH_BYTES + 7] = 254;
	packet_want(*state, "one hop", FROM_POD(1), &p, DROPPED(MALFORMED));
	for (size_t cut = ETH_BYTES + 40; cut < ETH_BYTES + 40 + 24; cut++) {
		p = whole;
		p.len = cut;
		p.byte[ETH_BYTES + 5] = (uint8_t)(cut - ETH_BYTES - 40);
		packet_want(*state, "cut", FROM_POD(1), &p, DROPPED(MALFORMED));
	}
	spec_want(*state, "a fragment (RFC 6980)", FROM_POD(1), &s,
	          DROPPED(MALFORMED));
}

static void redirects_of_ipv4_are_refused(void **state)
{
	struct spec s = {
		.saddr = pod_addr(1, V4),
		.daddr = pod_addr(2, V4),
		.proto = IPPROTO_ICMP,
		.type = 5,
		.n_payload = 28,
	};

	spec_want(*state, "from a pod", FROM_POD(1), &s,
	          DROPPED(ROUTER_ADVERT));
	s.saddr = A(RIG_WORLD4);
	spec_want(*state, "off the wire, to a pod", FROM_NETW, &s,
	          DROPPED(ROUTER_ADVERT));
	s.daddr = A(RIG_NODE4);
	spec_want(*state, "off the wire, to the node", FROM_NETW, &s,
	          UNTOUCHED);
}

/* The node's own neighbour discovery is none of our business. */
static void the_nodes_own_discovery_passes(void **state)
{
	const struct packet ns =
		packet_nd(135, pod_mac(0), A("fe80::1"), A("ff02::1:ff00:1"),
	                  pod_addr(1, V6));
	const struct packet ra =
		packet_nd(134, pod_mac(0), A("fe80::9"), A(ALL_NODES), A("::"));

	packet_want(*state, "to a pod", TO_POD(1), &ns, STACK);
	packet_want(*state, "off the wire", FROM_NETW, &ns, UNTOUCHED);
	packet_want(*state, "a router's", FROM_NETW, &ra, UNTOUCHED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(every_address_that_a_pod_asks_for_is_the_gateways),
		T(arp_of_a_pod_about_itself_is_heard_and_goes_no_further),
		T(arp_that_speaks_for_another_is_refused),
		T(arp_that_is_no_arp_is_malformed),
		T(every_neighbour_that_a_pod_solicits_is_the_gateway),
		T(nd_of_a_pod_about_itself_is_heard_and_goes_no_further),
		T(nd_that_speaks_for_another_is_refused),
		T(nd_that_was_routed_or_cut_is_malformed),
		T(redirects_of_ipv4_are_refused),
		T(the_nodes_own_discovery_passes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
