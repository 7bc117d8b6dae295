// SPDX-License-Identifier: Apache-2.0
/* icmp_test.c - errors that belong to a flow, and errors that we owe a pod. */
#include <string.h>

#include "lib/addr.h"
#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

#define ROUTER4 "203.0.113.77"
#define ROUTER6 "2001:db8:200::77"

static struct spec udp(struct addr from, struct addr to)
{
	return (struct spec){
		.saddr = from,
		.daddr = to,
		.proto = IPPROTO_UDP,
		.sport = 40000,
		.dport = 53,
		.n_payload = 100,
	};
}

/* "Port unreachable" from @from about the packet @quoted. */
static struct spec unreachable(struct addr from, const struct packet *quoted)
{
	const bool v6 = quoted->byte[12] == 0x86;

	return spec_error(from, quoted, 200, v6 ? 1 : 3, v6 ? 4 : 3, 0);
}

/* ---- errors of flows ----------------------------------------------------- */

static void an_error_goes_back_along_the_flow_that_it_quotes(void **state)
{
	struct bpfrun *run = *state;
	const uint32_t mute = bpfrun_slot(run, 1 << DIR_EGRESS, NULL, 0);

	bpfrun_pod(run, 2, mute); /* it may send nothing by itself */
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
		struct outcome o =
			spec_want(run, "question", FROM_POD(1), &s, SENT);
		const struct spec e = unreachable(s.daddr, &o.out);
		struct facts got;

		o = spec_want(run, "error", FROM_POD(2), &e, SENT);
		got = facts_of("error", &o.out);
		assert_memory_equal(got.dmac, pod_mac(1), 6);
		addr_want("error", got.daddr, s.saddr);
	}
}

static void an_error_answers_nothing_and_opens_nothing(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
		const struct outcome o =
			spec_want(*state, "question", FROM_POD(1), &s, SENT);
		const struct spec e = unreachable(s.daddr, &o.out);
		const uint64_t opened =
			bpfrun_counter(*state, COUNTER_FLOW_OPENED);
		struct flow flow;

		for (int i = 0; i < 20; i++) {
			spec_want(*state, "error", FROM_POD(2), &e, SENT);
			spec_want(*state, "again", FROM_POD(1), &s, SENT);
		}
		assert_true(bpfrun_flow(*state, &s, &flow));
		assert_false(flow.flags & (FLOW_ANSWERED | FLOW_MAIN));
		assert_int_equal(bpfrun_counter(*state, COUNTER_FLOW_OPENED),
		                 opened);
	}
}

static void pod_and_node_refuse_each_others_packets(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr node = f ? A(RIG_NODE6) : A(RIG_NODE4);
		const struct spec out = udp(pod_addr(1, f), node);
		struct spec in = udp(node, pod_addr(1, f)), e;
		struct outcome o;

		o = spec_want(*state, "to the node", FROM_POD(1), &out, STACK);
		e = unreachable(node, &o.out);
		spec_want(*state, "the node refuses", TO_POD(1), &e, STACK);
		in.dport = 99;
		o = spec_want(*state, "from the node", TO_POD(1), &in, STACK);
		e = unreachable(in.daddr, &o.out);
		spec_want(*state, "the pod refuses", FROM_POD(1), &e, STACK);
	}
}

static void errors_that_belong_to_no_flow_are_dropped(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr a = pod_addr(1, f), b = pod_addr(2, f);
		const struct addr world = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
		const struct spec s = udp(a, b);
		const struct outcome o =
			spec_want(*state, "question", FROM_POD(1), &s, SENT);
		struct spec other = s, e;
		struct packet quoted;

		e = unreachable(a, &o.out);
		spec_want(*state, "about what it sent itself", FROM_POD(1), &e,
		          DROPPED(SPOOF_ADDRESS));
		e = unreachable(b, &o.out);
		spec_want(*state, "a third pod as the receiver", FROM_POD(3),
		          &e, DROPPED(ICMP_NO_FLOW));
		spec_want(*state, "the wire as the receiver", FROM_NETW, &e,
		          DROPPED(ICMP_NO_FLOW));
		spec_want(*state, "the opener as the receiver", FROM_POD(1), &e,
		          DROPPED(ICMP_NO_FLOW));
		spec_want(*state, "the stack as the receiver", TO_POD(1), &e,
		          DROPPED(ICMP_NO_FLOW));
		e = unreachable(pod_addr(3, f), &o.out);
		spec_want(*state, "a third pod as a router", FROM_POD(3), &e,
		          DROPPED(SPOOF_ADDRESS));
		e = unreachable(world, &o.out);
		spec_want(*state, "the wire as a router", FROM_NETW, &e,
		          DROPPED(ICMP_NO_FLOW));
		e = unreachable(b, &o.out);
		e.daddr = pod_addr(3, f);
		spec_want(*state, "to another than the quoted sender",
		          FROM_POD(2), &e, DROPPED(ICMP_NO_FLOW));
		other.sport++;
		quoted = packet_make(&other);
		e = unreachable(b, &quoted);
		spec_want(*state, "of another port", FROM_POD(2), &e,
		          DROPPED(ICMP_NO_FLOW));
		other = s;
		other.proto = IPPROTO_TCP;
		quoted = packet_make(&other);
		e = unreachable(b, &quoted);
		spec_want(*state, "of another protocol", FROM_POD(2), &e,
		          DROPPED(ICMP_NO_FLOW));
	}
}

static void a_quote_must_hold_the_ports_and_be_no_later_fragment(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
		const struct outcome o =
			spec_want(*state, "question", FROM_POD(1), &s, SENT);
		const size_t head = f ? 40 : 20;
		struct spec e, frag = s;
		struct packet quoted;

		for (size_t n = 0; n < head + 4; n++) {
			e = spec_error(s.daddr, &o.out, n, f ? 1 : 3, 3, 0);
			e.daddr = s.saddr;
			spec_want(*state, "cut quote", FROM_POD(2), &e,
			          DROPPED(MALFORMED));
		}
		e = spec_error(s.daddr, &o.out, head + 4, f ? 1 : 3, 3, 0);
		spec_want(*state, "the ports and no more", FROM_POD(2), &e,
		          SENT);
		frag.frag = true;
		frag.frag_off = 80;
		quoted = packet_make(&frag);
		e = unreachable(s.daddr, &quoted);
		spec_want(*state, "a later fragment", FROM_POD(2), &e,
		          DROPPED(ICMP_NO_FLOW));
		quoted = o.out;
		quoted.byte[ETH_BYTES] = (uint8_t)(f ? 0x45 : 0x60);
		e = unreachable(s.daddr, &quoted);
		e.daddr = s.saddr;
		spec_want(*state, "of the other family", FROM_POD(2), &e,
		          DROPPED(MALFORMED));
	}
}

static void an_error_about_a_ping_finds_its_flow(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec ask =
			spec_echo(pod_addr(1, f), pod_addr(2, f), 7, false);
		const struct spec reply =
			spec_echo(pod_addr(2, f), pod_addr(1, f), 7, true);
		struct outcome o =
			spec_want(*state, "ask", FROM_POD(1), &ask, SENT);
		struct spec e = unreachable(ask.daddr, &o.out);

		spec_want(*state, "about the request", FROM_POD(2), &e, SENT);
		o = spec_want(*state, "reply", FROM_POD(2), &reply, SENT);
		e = unreachable(reply.daddr, &o.out);
		spec_want(*state, "about the reply", FROM_POD(1), &e, SENT);
		/* An error about an error has no flow (RFC 1122 3.2.2).
		 */
		o.out = packet_make(&e);
		e = unreachable(pod_addr(2, f), &o.out);
		spec_want(*state, "about an error", FROM_POD(2), &e,
		          DROPPED(ICMP_NO_FLOW));
	}
}

static void an_error_of_a_flow_that_policy_cut_is_dropped(void **state)
{
	struct bpfrun *run = *state;
	const uint32_t mute = bpfrun_slot(run, 1 << DIR_EGRESS, NULL, 0);
	const struct spec s = udp(pod_addr(1, V4), pod_addr(2, V4));
	const struct outcome o =
		spec_want(run, "question", FROM_POD(1), &s, SENT);
	const struct spec e = unreachable(s.daddr, &o.out);

	dp_epoch_raise(run->dp, 1);
	spec_want(run, "stale, and allowed still", FROM_POD(2), &e, SENT);
	bpfrun_pod(run, 1, mute);
	dp_epoch_raise(run->dp, 1);
	spec_want(run, "stale, and denied now", FROM_POD(2), &e,
	          DROPPED(POLICY_EGRESS));
	spec_want(run, "and denied still", FROM_POD(2), &e,
	          DROPPED(POLICY_EGRESS));
}

/* ---- errors of translated flows ------------------------------------------ */

/* The packet inside an error, as a frame of its own. */
static struct packet quoted_in(const struct packet *p, const struct facts *f)
{
	struct packet inner;

	inner.len = p->len - f->body + ETH_BYTES;
	memcpy(inner.byte, p->byte, ETH_BYTES);
	memcpy(inner.byte + ETH_BYTES, p->byte + f->body, p->len - f->body);
	return inner;
}

static void a_routers_error_comes_back_translated_inside_and_out(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP,
		                         f ? IPPROTO_ICMPV6 : IPPROTO_ICMP};
		const struct addr router = f ? A(ROUTER6) : A(ROUTER4);

		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			struct spec s = udp(pod_addr(1, f),
			                    f ? A(RIG_WORLD6) : A(RIG_WORLD4));
			struct outcome o;
			struct packet inner;
			struct facts got;
			struct spec e;

			s.proto = proto[i];
			s.tcp = SYN;
			s.type = f ? 128 : 8;
			s.info = 40000u << 16 | 1;
			o = spec_want(*state, "out", FROM_POD(1), &s, SENT);
			e = spec_error(router, &o.out, 200, f ? 2 : 3,
			               f ? 0 : 4, 1280);
			o = spec_want(*state, "error", FROM_NETW, &e, SENT);
			got = facts_of("error", &o.out);
			addr_want("from", got.saddr, router);
			addr_want("to", got.daddr, s.saddr);
			assert_memory_equal(got.dmac, pod_mac(1), 6);
			assert_int_equal(got.info, 1280);
			inner = quoted_in(&o.out, &got);
			assert_true(packet_read(&inner, &got));
			addr_want("inner from", got.saddr, s.saddr);
			addr_want("inner to", got.daddr, s.daddr);
			assert_int_equal(got.sport, 40000);
		}
	}
}

/* The pod refuses an answer: the world must see the node refuse it. */
static void a_pods_error_about_an_answer_leaves_translated(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s =
			udp(pod_addr(1, f), f ? A(RIG_WORLD6) : A(RIG_WORLD4));
		struct outcome o =
			spec_want(*state, "out", FROM_POD(1), &s, SENT);
		const struct facts seen = facts_of("out", &o.out);
		struct spec back = spec_answer(&s, 0), e;
		struct packet inner;
		struct facts got;

		back.daddr = seen.saddr;
		back.dport = seen.sport;
		o = spec_want(*state, "back", FROM_NETW, &back, SENT);
		e = unreachable(s.saddr, &o.out);
		o = spec_want(*state, "error", FROM_POD(1), &e, SENT);
		got = facts_of("error", &o.out);
		addr_want("from", got.saddr, seen.saddr);
		addr_want("to", got.daddr, s.daddr);
		assert_int_equal(o.mark, MARK_DECIDED);
		inner = quoted_in(&o.out, &got);
		assert_true(packet_read(&inner, &got));
		addr_want("inner from", got.saddr, s.daddr);
		addr_want("inner to", got.daddr, seen.saddr);
		assert_int_equal(got.sport, 53);
		assert_int_equal(got.dport, seen.sport);
	}
}

static void errors_for_the_node_itself_are_the_stacks(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec own = udp(f ? A(RIG_NODE6) : A(RIG_NODE4),
		                            f ? A(RIG_WORLD6) : A(RIG_WORLD4));
		const struct packet quoted = packet_make(&own);
		const struct spec e =
			unreachable(f ? A(ROUTER6) : A(ROUTER4), &quoted);

		spec_want(*state, "of the node's", FROM_NETW, &e, UNTOUCHED);
	}
}

/* ---- errors that we make ------------------------------------------------- */

/* @type << 8 | @code from the gateway, quoting what was sent. */
static struct facts error_check(const struct packet *p, const struct spec *sent,
                                unsigned int type_code)
{
	const bool v6 = sent->proto == IPPROTO_ICMPV6 ||
	                !memcmp(sent->saddr.byte, "\xfd", 1);
	const struct facts got = facts_of("error", p);
	struct spec whole = *sent;
	struct packet quoted;

	whole.smac = pod_mac(1);
	quoted = packet_make(&whole);
	addr_want("from", got.saddr, v6 ? A(GATEWAY_V6) : A(GATEWAY_V4));
	addr_want("to", got.daddr, sent->saddr);
	assert_memory_equal(got.dmac, pod_mac(1), 6);
	assert_memory_equal(got.smac, bpfrun_config.gw_mac, 6);
	assert_int_equal(got.type << 8 | got.code, type_code);
	assert_in_range(p->len - got.body, 28, 1240);
	if (quoted.len - ETH_BYTES > p->len - got.body)
		quoted.len = ETH_BYTES + p->len - got.body;
	/* The IP header and eight bytes at least, the rest as it was. */
	assert_memory_equal(p->byte + got.body, quoted.byte + ETH_BYTES,
	                    v6 ? 48 : 28);
	return got;
}

static void too_big_for_the_route_is_said_to_the_pod(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++)
		for (int i = 0; i < 2; i++) {
			struct spec s = udp(pod_addr(1, f), f ? A(RIG_NARROW6)
			                                      : A(RIG_NARROW4));
			const size_t fits = RIG_NARROW_MTU - (f ? 48 : 28);
			const uint64_t before =
				bpfrun_counter(run, COUNTER_TOO_BIG_SENT);
			struct outcome o;

			if (i) {
				s.proto = IPPROTO_TCP;
				s.tcp = SYN;
			}
			s.n_payload = fits - (i ? 12 : 0);
			spec_want(run, "it fits", FROM_POD(1), &s, SENT);
			s.n_payload++;
			/* Along its flow, then as the first of a flow. */
			o = spec_want(run, "a byte more", FROM_POD(1), &s,
			              ANSWERED(TOO_BIG));
			assert_int_equal(
				error_check(&o.out, &s, f ? 0x200 : 0x304).info,
				RIG_NARROW_MTU);
			bpfrun_flush(run);
			o = spec_want(run, "a byte more, first", FROM_POD(1),
			              &s, ANSWERED(TOO_BIG));
			assert_int_equal(
				error_check(&o.out, &s, f ? 0x200 : 0x304).info,
				RIG_NARROW_MTU);
			assert_int_equal(
				bpfrun_counter(run, COUNTER_TOO_BIG_SENT),
				before + 2);
		}
}

/* From the node's own address, to who sent @s. */
static void wire_error_check(const struct packet *p, const struct spec *s)
{
	const bool v6 = addr_family(&s->saddr) == FAMILY_V6;
	const struct facts facts = facts_of("an error", p);

	addr_want("whose", facts.saddr, A(v6 ? RIG_NODE6 : RIG_NODE4));
	addr_want("to whom", facts.daddr, s->saddr);
}

static void too_big_for_a_pod_is_said_to_the_other(void **state)
{
	struct bpfrun *run = *state;
	struct endpoint ep;

	assert_int_equal(dp_endpoint_get(run->dp, 2, &ep), 0);
	ep.mtu = 1000;
	assert_int_equal(dp_endpoint_put(run->dp, 2, &ep), 0);
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
		struct spec net =
			udp(f ? A(RIG_WORLD6) : A(RIG_WORLD4), pod_addr(2, f));
		struct outcome o;

		s.n_payload = net.n_payload = 1000;
		o = spec_want(run, "from a pod", FROM_POD(1), &s,
		              ANSWERED(TOO_BIG));
		assert_int_equal(
			error_check(&o.out, &s, f ? 0x200 : 0x304).info, 1000);
		o = spec_want(run, "off the wire", FROM_NETW, &net,
		              ANSWERED(TOO_BIG));
		wire_error_check(&o.out, &net);
		assert_int_equal(facts_of("", &o.out).info, 1000);
	}
}

/* A large packet that will be cut is as large as its segments. */
static void segments_are_measured_not_the_packet_that_holds_them(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint32_t head = f ? 60 : 40;
		struct spec s = udp(pod_addr(1, f),
		                    f ? A(RIG_NARROW6) : A(RIG_NARROW4));
		struct packet p;
		struct outcome o;

		s.proto = IPPROTO_TCP;
		s.tcp = SYN;
		s.smac = pod_mac(1);
		spec_want(run, "SYN", FROM_POD(1), &s, SENT);
		s.tcp = ACK;
		s.n_payload = 2500;
		p = packet_make(&s);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p,
		               RIG_NARROW_MTU - head);
		assert_int_equal(o.verdict, TC_ACT_REDIRECT);
		assert_int_equal(o.drop, DROP_NONE);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p,
		               RIG_NARROW_MTU - head + 1);
		assert_int_equal(o.verdict, TC_ACT_REDIRECT);
		assert_int_equal(o.drop, DROP_TOO_BIG);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p, 0);
		assert_int_equal(o.drop, DROP_TOO_BIG);
	}
}

/* BIG TCP (design D16): the length is 0, in IPv6 with a jumbo option. */
static void a_length_of_0_is_legal_where_segments_are_cut(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint32_t head = f ? 60 : 40;
		struct spec s = udp(pod_addr(1, f),
		                    f ? A(RIG_NARROW6) : A(RIG_NARROW4));
		uint8_t *ip;
		struct packet p;
		struct outcome o;

		s.proto = IPPROTO_TCP;
		s.tcp = SYN;
		s.smac = pod_mac(1);
		spec_want(run, "SYN", FROM_POD(1), &s, SENT);
		s.tcp = ACK;
		s.n_payload = 2500;
		s.n_ext = f ? 1 : 0;
		s.ext[0].type = IPPROTO_HOPOPTS;
		p = packet_make(&s);
		ip = p.byte + ETH_BYTES;
		ip[f ? 4 : 2] = ip[f ? 5 : 3] = 0;
		if (f)
			memcpy(ip + 42, (uint8_t[]){0xc2, 4, 0, 0, 0, 0}, 6);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p,
		               RIG_NARROW_MTU - head);
		assert_int_equal(o.verdict, TC_ACT_REDIRECT);
		assert_int_equal(o.drop, DROP_NONE);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p,
		               RIG_NARROW_MTU - head + 1);
		assert_int_equal(o.drop, DROP_TOO_BIG);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p, 0);
		assert_int_equal(o.drop, DROP_MALFORMED);
	}
}

static void the_last_hop_is_said_to_the_pod(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = udp(pod_addr(1, f), pod_addr(2, f));
		struct spec net =
			udp(f ? A(RIG_WORLD6) : A(RIG_WORLD4), pod_addr(2, f));
		const struct spec node =
			udp(pod_addr(1, f), f ? A(RIG_NODE6) : A(RIG_NODE4));
		struct outcome o;

		s.ttl = net.ttl = 1;
		for (size_t payload = 0; payload < 200; payload += 33) {
			s.n_payload = payload;
			o = spec_want(*state, "from a pod", FROM_POD(1), &s,
			              ANSWERED(TTL));
			error_check(&o.out, &s, f ? 0x300 : 0xb00);
		}
		o = spec_want(*state, "off the wire", FROM_NETW, &net,
		              ANSWERED(TTL));
		wire_error_check(&o.out, &net);
		s = node;
		s.ttl = 1;
		spec_want(*state, "it has arrived", FROM_POD(1), &s, STACK);
		s = udp(pod_addr(1, f), pod_addr(2, f));
		s.ttl = 2;
		spec_want(*state, "two hops", FROM_POD(1), &s, SENT);
	}
}

/* RFC 1122 3.2.2, RFC 4443 2.4. */
static void nothing_is_said_about_errors_and_later_fragments(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = udp(pod_addr(1, f), pod_addr(2, f)), e, first;
		const struct outcome o =
			spec_want(*state, "question", FROM_POD(1), &s, SENT);

		e = unreachable(s.daddr, &o.out);
		e.ttl = 1;
		spec_want(*state, "an error", FROM_POD(2), &e, DROPPED(TTL));
		first = s;
		first.frag = first.more = true;
		spec_want(*state, "first", FROM_POD(1), &first, SENT);
		first.ttl = 1;
		spec_want(*state, "first, last hop", FROM_POD(1), &first,
		          ANSWERED(TTL));
		first.frag_off = 112;
		spec_want(*state, "later, last hop", FROM_POD(1), &first,
		          DROPPED(TTL));
	}
}

static void udp_segments_are_measured_with_their_header(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint32_t room = RIG_NARROW_MTU - (f ? 40 : 20) - 8;
		struct spec s = pod_spec(1, 2, f, IPPROTO_UDP, 0);
		struct packet p;
		struct outcome o;

		s.smac = pod_mac(1);
		s.daddr = f ? A(RIG_NARROW6) : A(RIG_NARROW4);
		s.n_payload = 2600;
		p = packet_make(&s);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p, room);
		assert_int_equal(o.drop, DROP_NONE);
		assert_int_equal(o.verdict, TC_ACT_REDIRECT);
		o = bpfrun_gso(run, HOOK_FROM_POD, run->pod_if[1], &p,
		               room + 1);
		assert_int_equal(o.drop, DROP_TOO_BIG);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(udp_segments_are_measured_with_their_header),
		T(an_error_goes_back_along_the_flow_that_it_quotes),
		T(an_error_answers_nothing_and_opens_nothing),
		T(pod_and_node_refuse_each_others_packets),
		T(errors_that_belong_to_no_flow_are_dropped),
		T(a_quote_must_hold_the_ports_and_be_no_later_fragment),
		T(an_error_about_a_ping_finds_its_flow),
		T(an_error_of_a_flow_that_policy_cut_is_dropped),
		T(a_routers_error_comes_back_translated_inside_and_out),
		T(a_pods_error_about_an_answer_leaves_translated),
		T(errors_for_the_node_itself_are_the_stacks),
		T(too_big_for_the_route_is_said_to_the_pod),
		T(too_big_for_a_pod_is_said_to_the_other),
		T(segments_are_measured_not_the_packet_that_holds_them),
		T(a_length_of_0_is_legal_where_segments_are_cut),
		T(the_last_hop_is_said_to_the_pod),
		T(nothing_is_said_about_errors_and_later_fragments),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
