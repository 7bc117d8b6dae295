// SPDX-License-Identifier: Apache-2.0
/* nat_test.c - masquerade: out with the node's address, and back. */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

static struct addr node_addr(enum family f)
{
	return f ? A(RIG_NODE6) : A(RIG_NODE4);
}

static struct addr world_addr(enum family f)
{
	return f ? A(RIG_WORLD6) : A(RIG_WORLD4);
}

static struct spec out_of(unsigned int pod, enum family f, uint8_t proto)
{
	return (struct spec){
		.smac = pod_mac(pod),
		.saddr = pod_addr(pod, f),
		.daddr = world_addr(f),
		.proto = proto,
		.sport = 40000,
		.dport = 53,
		.tcp = SYN,
		.type = f ? 128 : 8,
		.info = 40000u << 16 | 1,
		.n_payload = 33,
	};
}

static uint8_t icmp_of(enum family f)
{
	return f ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
}

/* What the wire answers to what it saw. */
static struct spec answer_to(const struct spec *out, const struct facts *seen,
                             uint8_t tcp)
{
	struct spec s = spec_answer(out, tcp);

	s.smac = s.dmac = NULL;
	s.daddr = seen->saddr;
	s.dport = seen->sport;
	s.info = (uint32_t)seen->sport << 16 | 1;
	return s;
}

static struct facts out_check(struct bpfrun *run, const struct spec *s)
{
	const enum family f =
		s->proto == IPPROTO_ICMPV6 || s->daddr.byte[0] == 0x20;
	const struct outcome o =
		spec_want(run, "out", FROM_POD(s->smac[5]), s, SENT);
	const struct facts seen = facts_of("out", &o.out);

	assert_int_equal(o.mark, MARK_DECIDED);
	addr_want("out", seen.saddr, node_addr(f));
	addr_want("out", seen.daddr, s->daddr);
	assert_in_range(seen.sport, NAT_PORT_MIN, NAT_PORT_MAX);
	if (s->proto == IPPROTO_TCP || s->proto == IPPROTO_UDP)
		assert_int_equal(seen.dport, s->dport);
	assert_int_equal(seen.ttl, 63);
	return seen;
}

static void a_flow_leaves_and_its_answers_come_back(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP, icmp_of(f)};

		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			const struct spec s = out_of(1, f, proto[i]);
			const struct facts seen = out_check(*state, &s);
			const struct spec back =
				answer_to(&s, &seen, SYN | ACK);
			struct outcome o;
			struct facts got;

			/* The flow keeps its port. */
			assert_int_equal(out_check(*state, &s).sport,
			                 seen.sport);
			o = spec_want(*state, "back", FROM_NETW, &back, SENT);
			got = facts_of("back", &o.out);
			addr_want("back", got.daddr, s.saddr);
			addr_want("back", got.saddr, s.daddr);
			assert_int_equal(got.dport, 40000);
			assert_memory_equal(got.dmac, pod_mac(1), 6);
			assert_int_equal(o.mark, 0);
		}
	}
}

static void only_the_one_that_was_asked_may_answer(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = out_of(1, f, IPPROTO_UDP);
		const struct facts seen = out_check(*state, &s);
		struct spec back = answer_to(&s, &seen, 0);

		back.sport++;
		spec_want(*state, "from another port", FROM_NETW, &back,
		          UNTOUCHED);
		back = answer_to(&s, &seen, 0);
		back.saddr.byte[15]++;
		spec_want(*state, "from another host", FROM_NETW, &back,
		          UNTOUCHED);
		back = answer_to(&s, &seen, 0);
		back.dport ^= 1;
		spec_want(*state, "to another port", FROM_NETW, &back,
		          UNTOUCHED);
		back = answer_to(&s, &seen, 0);
		back.daddr = s.saddr;
		back.dport = s.sport;
		spec_want(*state, "to the pod itself: a flow of its own",
		          FROM_NETW, &back, SENT);
		spec_want(*state, "from a pod", FROM_POD(2),
		          &(struct spec){.saddr = s.daddr,
		                         .daddr = seen.saddr,
		                         .proto = IPPROTO_UDP,
		                         .sport = s.dport,
		                         .dport = seen.sport},
		          DROPPED(SPOOF_ADDRESS));
	}
}

static void a_new_connection_from_the_wire_is_no_answer(void **state)
{
	const struct spec s = out_of(1, V4, IPPROTO_TCP);
	const struct facts seen = out_check(*state, &s);
	struct spec back = answer_to(&s, &seen, SYN);

	spec_want(*state, "a SYN to the far tuple", FROM_NETW, &back,
	          UNTOUCHED);
	back = answer_to(&s, &seen, SYN | ACK);
	spec_want(*state, "the SYN-ACK", FROM_NETW, &back, SENT);
}

static void both_sides_move_to_the_main_table(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = out_of(1, f, IPPROTO_TCP);
		const struct facts seen = out_check(*state, &s);
		const struct spec back = answer_to(&s, &seen, SYN | ACK);
		struct flow near, far;

		spec_want(*state, "SYN-ACK", FROM_NETW, &back, SENT);
		assert_true(bpfrun_flow(*state, &s, &near));
		assert_false(near.flags & FLOW_MAIN);
		s.tcp = ACK;
		assert_int_equal(out_check(*state, &s).sport, seen.sport);
		assert_true(bpfrun_flow(*state, &s, &near));
		assert_true(bpfrun_flow(*state, &back, &far));
		assert_true(near.flags & FLOW_MAIN);
		assert_true(far.flags & FLOW_MAIN);
		assert_true(near.flags & FLOW_XLATE_IN);
		assert_true(far.flags & FLOW_XLATE_OUT);
		assert_int_equal(out_check(*state, &s).sport, seen.sport);
		spec_want(*state, "an answer", FROM_NETW, &back, SENT);
	}
}

/* RFC 768: 0 means none; a sum that comes out as 0 is sent as all ones. */
static void a_udp_checksum_is_kept_absent_and_never_becomes_absent(void **state)
{
	struct spec s = out_of(1, V4, IPPROTO_UDP), wire;
	const struct facts seen = out_check(*state, &s);
	uint8_t payload[2] = {};
	struct outcome o;
	struct packet p;
	uint16_t sum;

	p = packet_make(&s);
	p.byte[ETH_BYTES + 20 + 6] = p.byte[ETH_BYTES + 20 + 7] = 0;
	o = packet_want(*state, "none", FROM_POD(1), &p, SENT);
	assert_int_equal(o.out.byte[ETH_BYTES + 26], 0);
	assert_int_equal(o.out.byte[ETH_BYTES + 27], 0);

	/* A payload that makes the sum on the wire come out as 0. */
	s.payload = payload;
	s.n_payload = 2;
	wire = s;
	wire.saddr = seen.saddr;
	wire.sport = seen.sport;
	p = packet_make(&wire);
	sum = (uint16_t)(p.byte[ETH_BYTES + 26] << 8 | p.byte[ETH_BYTES + 27]);
	payload[0] = (uint8_t)(sum >> 8);
	payload[1] = (uint8_t)sum;
	o = spec_want(*state, "all ones", FROM_POD(1), &s, SENT);
	assert_int_equal(facts_of("all ones", &o.out).sport, seen.sport);
	assert_int_equal(o.out.byte[ETH_BYTES + 26], 255);
	assert_int_equal(o.out.byte[ETH_BYTES + 27], 255);
}

/* 20 000 at once to one destination (of 21 808 ports), each its own port. */
static void twenty_thousand_flows_to_one_destination(void **state)
{
	enum { FLOWS = 20000 };
	static uint8_t used[65536];
	static uint16_t port[FLOWS];
	struct bpfrun *run = *state;
	struct packet p, out = {};

	memset(used, 0, sizeof(used));
	for (unsigned int i = 0; i < FLOWS; i++) {
		struct spec s = out_of(1 + i % 20, V4, IPPROTO_UDP);

		s.sport = (uint16_t)(1000 + i / 20);
		p = packet_make(&s);
		assert_int_equal(bpfrun_bytes(run, HOOK_FROM_POD,
		                              run->pod_if[1 + i % 20], &p,
		                              &out),
		                 TC_ACT_REDIRECT);
		port[i] = facts_of("out", &out).sport;
		assert_false(used[port[i]]);
		used[port[i]] = 1;
	}
	for (unsigned int i = 0; i < FLOWS; i += 7) {
		const struct spec back = {.saddr = world_addr(V4),
		                          .daddr = node_addr(V4),
		                          .proto = IPPROTO_UDP,
		                          .sport = 53,
		                          .dport = port[i]};
		const struct outcome o =
			spec_want(run, "back", FROM_NETW, &back, SENT);
		const struct facts got = facts_of("back", &o.out);

		addr_want("back", got.daddr, pod_addr(1 + i % 20, V4));
		assert_int_equal(got.dport, 1000 + i / 20);
	}
}

/* Else whoever sent first would have what the far end sends to the node. */
static void protocols_without_ports_of_ours_do_not_leave(void **state)
{
	static const uint8_t proto[] = {IPPROTO_SCTP, IPPROTO_GRE, IPPROTO_ESP,
	                                IPPROTO_IPIP};
	const uint8_t reply[] = {0, 129}, stamp[] = {13, 200};

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s, back;

		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			s = out_of(1, f, proto[i]);
			s.sport = s.dport = 3868;
			back = spec_answer(&s, 0);
			back.smac = back.dmac = NULL;
			back.daddr = node_addr(f);
			spec_want(*state, "out", FROM_POD(1), &s,
			          DROPPED(NO_MASQUERADE));
			spec_want(*state, "to the node", FROM_NETW, &back,
			          UNTOUCHED);
			s.daddr = pod_addr(2, f);
			spec_want(*state, "to a pod", FROM_POD(1), &s, SENT);
		}
		s = out_of(1, f, icmp_of(f));
		s.type = reply[f];
		spec_want(*state, "an echo reply", FROM_POD(1), &s,
		          DROPPED(NO_MASQUERADE));
		s.type = stamp[f];
		spec_want(*state, "another question", FROM_POD(1), &s,
		          DROPPED(NO_MASQUERADE));
	}
}

/* The LRU table may drop one half of a pair: then the flow begins anew. */
static void half_a_pair_is_no_flow(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = out_of(1, V4, IPPROTO_UDP);
	const int young = dp_map_fd(run->dp, "flows_new");
	struct facts seen = out_check(run, &s);
	struct spec back = answer_to(&s, &seen, 0);
	struct flow_key key = bpfrun_key(&back);

	assert_int_equal(bpf_map_delete_elem(young, &key), 0);
	seen = out_check(run, &s);
	back = answer_to(&s, &seen, 0);
	spec_want(run, "back", FROM_NETW, &back, SENT);

	bpfrun_flush(run);
	seen = out_check(run, &s);
	key = bpfrun_key(&s);
	assert_int_equal(bpf_map_delete_elem(young, &key), 0);
	out_check(run, &s);
}

static void an_exit_without_an_address_or_route(void **state)
{
	struct bpfrun *run = *state;
	const struct uplink bare = {.mtu = 1500};
	const struct uplink whole = {
		.addr = {node_addr(V4), node_addr(V6)},
                  .mtu = 1500
        };
	const struct spec s = out_of(1, V4, IPPROTO_UDP);
	const struct spec s6 = out_of(1, V6, IPPROTO_UDP);

	assert_int_equal(dp_uplink_put(run->dp, run->uplink_if, &bare), 0);
	spec_want(run, "no address", FROM_POD(1), &s, DROPPED(NO_MASQUERADE));
	spec_want(run, "no address, v6", FROM_POD(1), &s6,
	          DROPPED(NO_MASQUERADE));
	assert_int_equal(dp_uplink_remove(run->dp, run->uplink_if), 0);
	spec_want(run, "no uplink", FROM_POD(1), &s, DROPPED(NO_ROUTE));
	spec_want(run, "no uplink, v6", FROM_POD(1), &s6, DROPPED(NO_ROUTE));
	assert_int_equal(dp_uplink_put(run->dp, run->uplink_if, &whole), 0);
	spec_want(run, "both", FROM_POD(1), &s, SENT);
}

/* ---- other configurations ------------------------------------------------ */

static void reopen(struct bpfrun *run, const struct dp_config *config)
{
	bpfrun_close(run);
	bpfrun_open(run, config);
}

static void when_every_port_is_taken_the_next_flow_is_dropped(void **state)
{
	struct dp_config config = bpfrun_config;
	struct bpfrun *run = *state;
	struct spec s = out_of(1, V4, IPPROTO_UDP);
	struct facts seen;
	uint32_t used = 0;

	config.nat_port_min = 9000;
	config.nat_port_max = 9015;
	reopen(run, &config);
	for (int i = 0; i < 16; i++) {
		s.sport = (uint16_t)(2000 + i);
		seen = out_check(run, &s);
		assert_in_range(seen.sport, 9000, 9015);
		assert_false(used & 1u << (seen.sport - 9000));
		used |= 1u << (seen.sport - 9000);
	}
	s.sport = 3000;
	spec_want(run, "the seventeenth", FROM_POD(1), &s, DROPPED(NAT_PORTS));
	s.dport = 54;
	out_check(run, &s); /* another destination: all ports are free there */
	reopen(run, &bpfrun_config);
}

/* A socket of the node on port 9000; with a peer, or of whoever sends. */
static int node_socket(int type, bool six, const char *peer)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6,
	                          .sin6_port = htons(9000)};
	const int fd = socket(six ? AF_INET6 : AF_INET, type, 0);
	struct sockaddr_in to4 = {.sin_family = AF_INET,
	                          .sin_port = htons(9000)};
	const struct sockaddr *any = six ? (void *)&to : (void *)&to4;
	const socklen_t len = six ? sizeof(to) : sizeof(to4);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, any, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	to4.sin_port = htons(53);
	if (peer) {
		assert_int_equal(inet_pton(AF_INET, peer, &to4.sin_addr), 1);
		assert_int_equal(connect(fd, any, len), 0);
	}
	return fd;
}

static void ports_of_the_nodes_own_sockets_are_not_taken(void **state)
{
	static const struct {
		const char *name;
		uint8_t proto;
		int type;
		bool six;
		const char *peer;
		bool v4, v6; /* whose flows may have the port */
	} cases[] = {
		{"TCP",                IPPROTO_TCP, SOCK_STREAM, false, NULL, 0, 1},
		{"TCP, both families", IPPROTO_TCP, SOCK_STREAM, true,  NULL, 0,
	         0								},
		{"UDP",                IPPROTO_UDP, SOCK_DGRAM,  false, NULL, 0, 1},
		{"UDP, both families", IPPROTO_UDP, SOCK_DGRAM,  true,  NULL, 0,
	         0								},
		{"UDP with that peer", IPPROTO_UDP, SOCK_DGRAM,  false,
	         RIG_WORLD4,						  0, 1},
		{"UDP with another",   IPPROTO_UDP, SOCK_DGRAM,  false,
	         RIG_NARROW4,						 1, 1},
	};
	struct dp_config config = bpfrun_config;
	struct bpfrun *run = *state;

	config.nat_port_min = config.nat_port_max = 9000;
	reopen(run, &config);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const int fd =
			node_socket(cases[i].type, cases[i].six, cases[i].peer);
		struct spec spec;

		for (enum family f = 0; f < FAMILY__COUNT; f++) {
			const struct spec s = out_of(1, f, cases[i].proto);
			const bool free = f ? cases[i].v6 : cases[i].v4;

			bpfrun_flush(run);
			spec_want(run, cases[i].name, FROM_POD(1), &s,
			          free ? SENT : DROPPED(NAT_PORTS));
		}
		close(fd);
		bpfrun_flush(run);
		spec = out_of(1, V4, cases[i].proto);
		out_check(run, &spec);
	}
	reopen(run, &bpfrun_config);
}

static void without_masquerade_pods_leave_as_they_are(void **state)
{
	struct dp_config config = bpfrun_config;
	struct bpfrun *run = *state;

	config.masquerade = 0;
	reopen(run, &config);
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = out_of(1, f, IPPROTO_UDP);
		const struct spec back = spec_answer(&s, 0);
		const struct outcome o =
			spec_want(run, "out", FROM_POD(1), &s, SENT);
		const struct facts seen = facts_of("out", &o.out);

		addr_want("out", seen.saddr, s.saddr);
		assert_int_equal(seen.sport, s.sport);
		spec_want(run, "back", FROM_NETW, &back, SENT);
	}
	reopen(run, &bpfrun_config);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(a_flow_leaves_and_its_answers_come_back),
		T(only_the_one_that_was_asked_may_answer),
		T(a_new_connection_from_the_wire_is_no_answer),
		T(both_sides_move_to_the_main_table),
		T(a_udp_checksum_is_kept_absent_and_never_becomes_absent),
		T(twenty_thousand_flows_to_one_destination),
		T(protocols_without_ports_of_ours_do_not_leave),
		T(half_a_pair_is_no_flow),
		T(an_exit_without_an_address_or_route),
		T(when_every_port_is_taken_the_next_flow_is_dropped),
		T(ports_of_the_nodes_own_sockets_are_not_taken),
		T(without_masquerade_pods_leave_as_they_are),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
