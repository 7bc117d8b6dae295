// SPDX-License-Identifier: Apache-2.0
/*
 * datapath_test.c - who may send what from where: each hook, packet by packet.
 */
#include <bpf/bpf.h>
#include <string.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

static struct spec tcp(struct addr from, struct addr to, uint8_t flags)
{
	return (struct spec){
		.saddr = from,
		.daddr = to,
		.proto = IPPROTO_TCP,
		.sport = 40000,
		.dport = 80,
		.tcp = flags,
	};
}

static struct spec udp(struct addr from, struct addr to)
{
	return (struct spec){
		.saddr = from,
		.daddr = to,
		.proto = IPPROTO_UDP,
		.sport = 40000,
		.dport = 53,
		.n_payload = 20,
	};
}

struct row {
	const char *name;
	struct place at;
	struct spec spec;
	struct want want;
};

static void rows_run(struct bpfrun *run, const struct row *row, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bpfrun_flush(run);
		spec_want(run, row[i].name, row[i].at, &row[i].spec,
		          row[i].want);
	}
}
#define ROWS(run, ...)                                                  \
	do {                                                            \
		const struct row rows_[] = {__VA_ARGS__};               \
		rows_run(run, rows_, sizeof(rows_) / sizeof(rows_[0])); \
	} while (0)

static void a_pod_sends_with_its_own_address_only(void **state)
{
	const struct addr me4 = pod_addr(1, V4), me6 = pod_addr(1, V6);
	const struct addr to4 = pod_addr(2, V4), to6 = pod_addr(2, V6);

	ROWS(*state, {"its own, v4", FROM_POD(1), udp(me4, to4), SENT},
	     {"its own, v6", FROM_POD(1), udp(me6, to6), SENT},
	     {"its own, out", FROM_POD(1), udp(me4, A(RIG_WORLD4)), SENT},
	     {"its own, to the node", FROM_POD(1), udp(me4, A(RIG_NODE4)),
	      STACK},
	     {"its own, to itself", FROM_POD(1), udp(me4, me4), SENT},
	     {"a neighbour's", FROM_POD(1), udp(pod_addr(3, V4), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"a neighbour's, v6", FROM_POD(1), udp(pod_addr(3, V6), to6),
	      DROPPED(SPOOF_ADDRESS)},
	     {"the target's", FROM_POD(1), udp(to4, to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"the gateway's", FROM_POD(1), udp(A(GATEWAY_V4), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"the node's", FROM_POD(1), udp(A(RIG_NODE4), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"the node's, v6", FROM_POD(1), udp(A(RIG_NODE6), to6),
	      DROPPED(SPOOF_ADDRESS)},
	     {"loopback's", FROM_POD(1), udp(A("127.0.0.1"), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"::1", FROM_POD(1), udp(A("::1"), to6), DROPPED(SPOOF_ADDRESS)},
	     {"::", FROM_POD(1), udp(A("::"), to6), DROPPED(SPOOF_ADDRESS)},
	     {"0.0.0.0", FROM_POD(1), udp(A("0.0.0.0"), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"link-local", FROM_POD(1), udp(A("fe80::5"), to6),
	      DROPPED(SPOOF_ADDRESS)},
	     {"multicast", FROM_POD(1), udp(A("224.0.0.1"), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"the world's", FROM_POD(1), udp(A(RIG_WORLD4), to4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"an unknown pod's", FROM_POD(1), udp(A("10.0.0.200"), to4),
	      DROPPED(SPOOF_ADDRESS)});
}

static void every_one_of_many_wrong_addresses_is_refused(void **state)
{
	struct bpfrun *run = *state;
	unsigned int refused = 0;

	for (unsigned int i = 0; i < 65536; i++) {
		struct spec s = udp(pod_addr(1, V4), pod_addr(2, V4));
		struct packet p;

		/* Two bytes of it vary, elsewhere each time. */
		s.saddr.byte[12 + i % 3] ^= (uint8_t)(i >> 8) | 1;
		s.saddr.byte[13 + i % 3] ^= (uint8_t)i;
		s.smac = pod_mac(1);
		p = packet_make(&s);
		if (bpfrun_verdict(run, HOOK_FROM_POD, run->pod_if[1], p.byte,
		                   p.len) == TC_ACT_SHOT)
			refused++;
	}
	assert_int_equal(refused, 65536);
}

static void a_pod_sends_with_its_own_mac_only(void **state)
{
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
	static const uint8_t gateway[6] = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
	const uint8_t *const other[] = {pod_mac(0), pod_mac(2), all, gateway};

	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		for (enum family f = 0; f < FAMILY__COUNT; f++) {
			struct spec s = udp(pod_addr(1, f), pod_addr(2, f));

			s.smac = other[i];
			spec_want(*state, "another's MAC", FROM_POD(1), &s,
			          DROPPED(SPOOF_MAC));
		}
}

/* The check of an established packet is its device (design D3). */
static void a_live_tuple_from_elsewhere_is_judged_from_the_start(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn =
			tcp(pod_addr(1, f), pod_addr(2, f), SYN);
		const struct spec back = spec_answer(&syn, ACK);
		struct spec ack = syn;

		ack.tcp = ACK;
		tcp_establish(*state, &syn, FROM_POD(1), FROM_POD(2));
		spec_want(*state, "a third pod, as the opener", FROM_POD(3),
		          &ack, DROPPED(SPOOF_ADDRESS));
		spec_want(*state, "a third pod, as the other", FROM_POD(3),
		          &back, DROPPED(SPOOF_ADDRESS));
		spec_want(*state, "the receiver, as the opener", FROM_POD(2),
		          &ack, DROPPED(SPOOF_ADDRESS));
		spec_want(*state, "the wire, as the opener", FROM_NETW, &ack,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(*state, "the wire, as the other", FROM_NETW, &back,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(*state, "the opener itself", FROM_POD(1), &ack, SENT);
		spec_want(*state, "the other itself", FROM_POD(2), &back, SENT);
	}
}

static void only_ip_and_arp_leave_a_pod(void **state)
{
	static const struct {
		const char *name;
		uint16_t ethertype;
	} cases[] = {
		{"VLAN",                 0x8100},
		{"QinQ",                 0x88a8},
		{"an 802.3 length",      60    },
		{"LLC/SNAP's length",    0x05dc},
		{"PPPoE",                0x8864},
		{"MPLS",                 0x8847},
		{"LLDP",                 0x88cc},
		{"EAPOL",                0x888e},
		{"802.3 without length", 0     },
		{"RARP",                 0x8035},
		{"TIPC",                 0x88ca},
		{"all ones",             0xffff},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (enum family f = 0; f < FAMILY__COUNT; f++) {
			struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
			struct packet p;

			s.smac = pod_mac(1);
			p = packet_make(&s);
			p.byte[12] = (uint8_t)(cases[i].ethertype >> 8);
			p.byte[13] = (uint8_t)cases[i].ethertype;
			packet_want(*state, cases[i].name, FROM_POD(1), &p,
			            DROPPED(ETHERTYPE));
		}
}

/* A family's type on the other's header. */
static void a_header_that_contradicts_its_type_is_malformed(void **state)
{
	struct spec s4 = udp(pod_addr(1, V4), pod_addr(2, V4));
	struct spec s6 = udp(pod_addr(1, V6), pod_addr(2, V6));

	s4.ethertype = 0x86dd;
	s6.ethertype = 0x0800;
	ROWS(*state, {"IPv4 as IPv6", FROM_POD(1), s4, DROPPED(MALFORMED)},
	     {"IPv6 as IPv4", FROM_POD(1), s6, DROPPED(MALFORMED)});
}

static void destinations_that_nobody_routes_are_martians(void **state)
{
	static const char *const to[] = {
		"127.0.0.1", "127.255.255.254", "0.0.0.0",
		"0.1.2.3",   "224.0.0.251",     "239.255.255.250",
		"240.0.0.1", "255.255.255.255", "::1",
		"::",        "::10.0.0.2",      "ff02::1",
		"ff05::2",   "fe80::1",         "febf::1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		const struct addr addr = A(to[i]);
		const bool v6 = strchr(to[i], ':');
		const struct spec s = udp(pod_addr(1, v6 ? V6 : V4), addr);

		spec_want(*state, to[i], FROM_POD(1), &s, DROPPED(MARTIAN));
	}
}

static void a_mapped_address_never_travels(void **state)
{
	const struct spec s = udp(pod_addr(1, V6), pod_addr(2, V6));
	struct spec sent = s;
	struct packet from, to;

	sent.smac = pod_mac(1);
	from = packet_make(&sent);
	memcpy(from.byte + 14 + 8, pod_addr(1, V4).byte, 16);
	to = packet_make(&sent);
	memcpy(to.byte + 14 + 24, pod_addr(2, V4).byte, 16);
	packet_want(*state, "from", FROM_POD(1), &from, DROPPED(MARTIAN));
	packet_want(*state, "to", FROM_POD(1), &to, DROPPED(MARTIAN));
	packet_want(*state, "from, off the wire", FROM_NETW, &from,
	            DROPPED(MARTIAN));
}

static void where_a_pods_packet_goes(void **state)
{
	const struct addr me4 = pod_addr(1, V4), me6 = pod_addr(1, V6);

	ROWS(*state,
	     {
		     "an unknown address of our pods", FROM_POD(1),
		     udp(me4, A("10.0.0.250")), DROPPED(NO_POD)
        },
	     {"the same, v6", FROM_POD(1), udp(me6, A("fd00::dead")),
	      DROPPED(NO_POD)},
	     {"another node's pod", FROM_POD(1), udp(me4, A("10.1.0.2")), SENT},
	     {"the node, v6", FROM_POD(1), udp(me6, A(RIG_NODE6)), STACK},
	     {"the gateway, no address of it", FROM_POD(1),
	      udp(me4, A("169.254.1.1")), SENT},
	     {"SCTP, out",
	      FROM_POD(1),
	      {.saddr = me4,
	       .daddr = A(RIG_WORLD4),
	       .proto = IPPROTO_SCTP,
	       .sport = 4000,
	       .dport = 5000},
	      DROPPED(NO_MASQUERADE)},
	     {"GRE, to a pod",
	      FROM_POD(1),
	      {.saddr = me4,
	       .daddr = pod_addr(2, V4),
	       .proto = IPPROTO_GRE,
	       .n_payload = 20},
	      SENT});
}

static void a_packet_to_a_pod_wears_its_macs_and_one_hop_less(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
		struct outcome o;
		struct facts facts;

		/* Once to open the flow, once along it. */
		for (int i = 0; i < 2; i++) {
			o = spec_want(*state, "to a pod", FROM_POD(1), &s,
			              SENT);
			facts = facts_of("to a pod", &o.out);
			assert_memory_equal(facts.dmac, pod_mac(2), 6);
			assert_memory_equal(facts.smac, bpfrun_config.gw_mac,
			                    6);
			assert_int_equal(facts.ttl, 63);
			assert_int_equal(o.mark, 0);
			addr_want("source", facts.saddr, s.saddr);
			addr_want("destination", facts.daddr, s.daddr);
		}
	}
}

/*
 * The identification takes the checksum through all that it can be.  Where it
 * comes out as 0, a router before us may have made it all ones (RFC 1624 3).
 */
static void every_checksum_of_ipv4_survives_a_hop(void **state)
{
	struct bpfrun *run = *state;
	struct spec s = udp(pod_addr(1, V4), pod_addr(2, V4));
	unsigned int all_ones = 0;
	struct packet out;

	s.smac = pod_mac(1);
	for (unsigned int id = 0; id < 65536; id++) {
		struct packet p;
		uint8_t *check = p.byte + ETH_BYTES + 10;

		s.frag_id = id;
		p = packet_make(&s);
		if (!check[0] && !check[1]) {
			check[0] = check[1] = 0xff;
			all_ones++;
		}
		assert_int_equal(bpfrun_bytes(run, HOOK_FROM_POD,
		                              run->pod_if[1], &p, &out),
		                 TC_ACT_REDIRECT);
		assert_int_equal(facts_of("one hop less", &out).ttl, 63);
	}
	assert_int_equal(all_ones, 1);
}

static void what_the_stack_sends_to_a_pod(void **state)
{
	const struct addr p4 = pod_addr(1, V4), p6 = pod_addr(1, V6);

	ROWS(*state, {"the node", TO_POD(1), udp(A(RIG_NODE4), p4), STACK},
	     {"the node, v6", TO_POD(1), udp(A(RIG_NODE6), p6), STACK},
	     {"somebody whom it forwards", TO_POD(1), udp(A(RIG_WORLD4), p4),
	      STACK},
	     {"to another pod than the device's", TO_POD(2),
	      udp(A(RIG_NODE4), p4), DROPPED(NO_POD)},
	     {"to no pod", TO_POD(1), udp(A(RIG_NODE4), A(RIG_WORLD4)),
	      DROPPED(NO_POD)},
	     {"link scope", TO_POD(1), udp(A("fe80::1"), p6), STACK},
	     {"to all nodes", TO_POD(1), udp(A(RIG_NODE6), A("ff02::1")),
	      STACK});
}

static void what_the_wire_brings(void **state)
{
	const struct addr p4 = pod_addr(1, V4), p6 = pod_addr(1, V6);
	const struct addr w4 = A(RIG_WORLD4), w6 = A(RIG_WORLD6);

	ROWS(*state, {"to a pod", FROM_NETW, udp(w4, p4), SENT},
	     {"to a pod, v6", FROM_NETW, udp(w6, p6), SENT},
	     {"to the node", FROM_NETW, udp(w4, A(RIG_NODE4)), UNTOUCHED},
	     {"to the node, v6", FROM_NETW, udp(w6, A(RIG_NODE6)), UNTOUCHED},
	     {"to nobody here", FROM_NETW, udp(w4, A("198.18.0.1")), UNTOUCHED},
	     {"to an unknown address of our pods", FROM_NETW,
	      udp(w4, A("10.0.0.250")), DROPPED(NO_POD)},
	     {"as a pod of ours", FROM_NETW, udp(pod_addr(2, V4), p4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"as a pod of ours, v6", FROM_NETW, udp(pod_addr(2, V6), p6),
	      DROPPED(SPOOF_ADDRESS)},
	     {"as the node", FROM_NETW, udp(A(RIG_NODE4), p4),
	      DROPPED(SPOOF_ADDRESS)},
	     {"as a pod, to the node", FROM_NETW,
	      udp(pod_addr(2, V4), A(RIG_NODE4)), DROPPED(SPOOF_ADDRESS)},
	     {"as loopback", FROM_NETW, udp(A("127.0.0.1"), p4),
	      DROPPED(MARTIAN)},
	     {"as ::1", FROM_NETW, udp(A("::1"), p6), DROPPED(MARTIAN)},
	     {"as multicast", FROM_NETW, udp(A("224.0.0.5"), p4),
	      DROPPED(MARTIAN)},
	     {"as nobody", FROM_NETW, udp(A("0.0.0.0"), p4), DROPPED(MARTIAN)},
	     {"from link scope", FROM_NETW, udp(A("fe80::9"), p6),
	      DROPPED(MARTIAN)});
}

static void what_the_wire_brings_for_the_node_is_untouched(void **state)
{
	struct spec s = udp(A(RIG_WORLD4), A(RIG_NODE4));
	struct packet p = packet_make(&s);
	struct outcome o;

	o = packet_want(*state, "to the node", FROM_NETW, &p, UNTOUCHED);
	assert_int_equal(o.out.len, p.len);
	assert_memory_equal(o.out.byte, p.byte, p.len);
	/* Also what we could not read: it is the stack's to judge. */
	p.len = 40;
	packet_want(*state, "cut, to the node", FROM_NETW, &p, UNTOUCHED);
	p = packet_make(&s);
	p.byte[12] = 0x88;
	p.byte[13] = 0xcc;
	packet_want(*state, "LLDP", FROM_NETW, &p, UNTOUCHED);
}

static void what_leaves_by_the_wire(void **state)
{
	struct bpfrun *run = *state;
	const struct spec pod = udp(pod_addr(1, V4), A(RIG_WORLD4));
	const struct spec pod6 = udp(pod_addr(1, V6), A(RIG_WORLD6));
	const struct spec node = udp(A(RIG_NODE4), A(RIG_WORLD4));

	spec_want(run, "the node's own", TO_NETW, &node, UNTOUCHED);
	/* A pod's that we did not decide: somebody removed our program. */
	spec_want(run, "a pod's, undecided", TO_NETW, &pod,
	          DROPPED(SPOOF_ADDRESS));
	spec_want(run, "a pod's, undecided, v6", TO_NETW, &pod6,
	          DROPPED(SPOOF_ADDRESS));
}

static void a_mark_of_ours_is_honoured_once_and_not_believed(void **state)
{
	struct bpfrun *run = *state;
	struct spec s = udp(pod_addr(1, V4), A("10.1.0.9"));
	struct packet p;
	struct __sk_buff skb = {.mark = MARK_DECIDED};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &skb,
	            .ctx_size_in = sizeof(skb), .ctx_out = &skb,
	            .ctx_size_out = sizeof(skb), .repeat = 1);

	s.smac = pod_mac(1);
	p = packet_make(&s);
	opts.data_in = p.byte;
	opts.data_size_in = (__u32)p.len;
	skb.ifindex = run->uplink_if;
	assert_int_equal(bpf_prog_test_run_opts(run->prog[HOOK_TO_NET], &opts),
	                 0);
	assert_int_equal((int)opts.retval, TC_ACT_UNSPEC);
	assert_int_equal(skb.mark, 0);
	/* A pod can not give it. */
	skb.mark = MARK_DECIDED;
	skb.ifindex = run->pod_if[1];
	p.byte[14 + 16 + 3] = 2; /* to 10.1.0.2: its checksum is not asked */
	p.byte[14 + 16] = 10;
	p.byte[14 + 17] = 0;
	opts.ctx_size_out = sizeof(skb);
	assert_int_equal(
		bpf_prog_test_run_opts(run->prog[HOOK_FROM_POD], &opts), 0);
	assert_int_equal((int)opts.retval, TC_ACT_REDIRECT);
	assert_int_equal(skb.mark, 0);
}

static void what_leaves_to_the_wire_bears_the_mark(void **state)
{
	const struct spec s = udp(pod_addr(1, V4), A("10.1.0.9"));
	struct outcome o;

	for (int i = 0; i < 2; i++) {
		o = spec_want(*state, "to another node", FROM_POD(1), &s, SENT);
		assert_int_equal(o.mark, MARK_DECIDED);
		/* Reached as it is: no masquerade. */
		addr_want("source", facts_of("out", &o.out).saddr, s.saddr);
	}
}

static void a_closed_pod_neither_sends_nor_receives(void **state)
{
	struct bpfrun *run = *state;
	const struct spec out = udp(pod_addr(1, V4), pod_addr(2, V4));
	const struct spec in = udp(pod_addr(2, V4), pod_addr(1, V4));
	const struct spec world = udp(A(RIG_WORLD4), pod_addr(1, V4));
	const struct spec node = udp(A(RIG_NODE4), pod_addr(1, V4));
	struct endpoint ep;

	spec_want(run, "live before", FROM_POD(1), &out, SENT);
	assert_int_equal(dp_endpoint_get(run->dp, 1, &ep), 0);
	ep.closed = 1;
	assert_int_equal(dp_endpoint_put(run->dp, 1, &ep), 0);
	dp_epoch_raise(run->dp, 1);
	spec_want(run, "its live flow", FROM_POD(1), &out,
	          DROPPED(ENDPOINT_CLOSED));
	spec_want(run, "to it", FROM_POD(2), &in, DROPPED(ENDPOINT_CLOSED));
	spec_want(run, "to it, off the wire", FROM_NETW, &world,
	          DROPPED(ENDPOINT_CLOSED));
	spec_want(run, "to it, from the node", TO_POD(1), &node,
	          DROPPED(ENDPOINT_CLOSED));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(a_pod_sends_with_its_own_address_only),
		T(every_one_of_many_wrong_addresses_is_refused),
		T(a_pod_sends_with_its_own_mac_only),
		T(a_live_tuple_from_elsewhere_is_judged_from_the_start),
		T(only_ip_and_arp_leave_a_pod),
		T(a_header_that_contradicts_its_type_is_malformed),
		T(destinations_that_nobody_routes_are_martians),
		T(a_mapped_address_never_travels),
		T(where_a_pods_packet_goes),
		T(a_packet_to_a_pod_wears_its_macs_and_one_hop_less),
		T(every_checksum_of_ipv4_survives_a_hop),
		T(what_the_stack_sends_to_a_pod),
		T(what_the_wire_brings),
		T(what_the_wire_brings_for_the_node_is_untouched),
		T(what_leaves_by_the_wire),
		T(a_mark_of_ours_is_honoured_once_and_not_believed),
		T(what_leaves_to_the_wire_bears_the_mark),
		T(a_closed_pod_neither_sends_nor_receives),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
