// SPDX-License-Identifier: Apache-2.0
/* service_flow_test.c - flows through services: clashes, halves, errors. */
#include <bpf/bpf.h>
#include <string.h>

#include "test/lib/svccheck.h"

/* ---- ports that clash -------------------------------------------------- */

/* Both live side by side, whichever came first. */
static void a_direct_flow_from_the_same_port_is_told_apart(void **state)
{
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct bpfrun *run = *state;

	for (int i = 0; i < 8; i++) {
		const enum family f = i & 1;
		const uint8_t p = proto[i >> 1 & 1];
		const bool direct_first = i & 4;
		const uint64_t cut = bpfrun_counter(run, COUNTER_FLOW_CUT);
		struct spec s[2] = {to_vip(1, f, p, SYN), direct(f, p, SYN)};
		struct spec back[2];
		struct facts seen[2];

		bpfcheck_setup(state);
		service_one(run, f, p, pod_addr(2, f), 80);
		for (int k = 0; k < 2; k++) {
			const int n = direct_first ? 1 - k : k;
			const struct outcome o =
				spec_want(run, "SYN", FROM_POD(1), &s[n], SENT);

			seen[n] = facts_of("SYN", &o.out);
			addr_want("to", seen[n].daddr, pod_addr(2, f));
			assert_int_equal(seen[n].dport, 80);
			back[n] = answer_to(&s[n], &seen[n], SYN | ACK);
			if (k)
				assert_in_range(seen[n].sport, NAT_PORT_MIN,
				                NAT_PORT_MAX);
			else
				assert_int_equal(seen[n].sport, 40000);
		}
		for (int round = 0; round < 3; round++)
			for (int n = 0; n < 2; n++) {
				struct outcome o;

				answer_check(run, FROM_POD(2), SENT, &s[n],
				             &back[n]);
				s[n].tcp = back[n].tcp = ACK;
				o = spec_want(run, "on", FROM_POD(1), &s[n],
				              SENT);
				assert_int_equal(facts_of("on", &o.out).sport,
				                 seen[n].sport);
				if (round == 1)
					dp_epoch_raise(run->dp,
					               (uint16_t)(n + 1));
			}
		assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_CUT), cut);
	}
}

/* The tuple that it would send is its own near side, turned round. */
static void a_pod_that_asks_itself_from_the_services_port(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = to_vip(1, f, IPPROTO_UDP, 0), back;
		struct outcome o;
		struct facts seen;

		s.sport = VIP_PORT;
		service_one(run, f, IPPROTO_UDP, pod_addr(1, f), VIP_PORT);
		o = spec_want(run, "out", FROM_POD(1), &s, SENT);
		seen = facts_of("out", &o.out);
		addr_want("from", seen.saddr, vip(f));
		assert_int_not_equal(seen.sport, VIP_PORT);
		back = answer_to(&s, &seen, 0);
		answer_check(run, FROM_POD(1), SENT, &s, &back);
	}
}

static void only_the_backend_may_answer(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = to_vip(1, f, IPPROTO_UDP, 0);
		const struct spec far = direct(f, IPPROTO_UDP, 0);
		const struct spec back = spec_answer(&far, 0);

		bpfcheck_setup(state);
		service_one(run, f, IPPROTO_UDP, pod_addr(2, f), 80);
		spec_want(run, "out", FROM_POD(1), &s, SENT);
		spec_want(run, "another pod", FROM_POD(3), &back,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(run, "the wire", FROM_NETW, &back,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(run, "the far tuple by another", FROM_POD(3), &far,
		          DROPPED(SPOOF_ADDRESS));
		spec_want(run, "the backend", FROM_POD(2), &back, SENT);
	}
}

static void a_port_is_used_again_when_its_connection_is_over(void **state)
{
	struct bpfrun *run = *state;
	struct spec s = to_vip(1, V4, IPPROTO_TCP, SYN), back;
	struct facts seen;

	live(run, &kinds[0], &s, &back);
	s.tcp = back.tcp = FIN | ACK;
	out_check(run, &kinds[0], &s, 80);
	answer_check(run, kinds[0].at, SENT, &s, &back);
	s.tcp = SYN;
	seen = out_check(run, &kinds[0], &s, 80);
	back = answer_to(&s, &seen, SYN | ACK);
	answer_check(run, kinds[0].at, SENT, &s, &back);
}

/* As if another CPU had made the near entry just before us. */
static void who_loses_the_race_uses_the_winners_backend(void **state)
{
	struct bpfrun *run = *state;
	const struct spec s = to_vip(1, V4, IPPROTO_UDP, 0);
	const struct flow_key key = bpfrun_key(&s);
	struct outcome o;
	struct flow near;
	uint32_t from;

	service_one(run, V4, IPPROTO_UDP, pod_addr(3, V4), 81);
	spec_want(run, "the winner", FROM_POD(1), &s, SENT);
	assert_true(bpfrun_flow(run, &s, &near));
	from = near.way[0].from;
	near.way[0].from = 0; /* follow() does not see it */
	bpfrun_flow_write(run, &key, &near);
	service_one(run, V4, IPPROTO_UDP, pod_addr(2, V4), 80);
	o = spec_want(run, "the loser", FROM_POD(1), &s, SENT);
	addr_want("the loser", facts_of("", &o.out).daddr, pod_addr(3, V4));
	assert_int_equal(facts_of("", &o.out).dport, 81);
	assert_memory_equal(facts_of("", &o.out).dmac, pod_mac(3), 6);
	near.way[0].from = from;
	bpfrun_flow_write(run, &key, &near);
	/* What it had reserved is given back. */
	o = spec_want(run, "to that backend itself", FROM_POD(1),
	              &(struct spec){.saddr = s.saddr,
	                             .daddr = pod_addr(2, V4),
	                             .proto = IPPROTO_UDP,
	                             .sport = s.sport,
	                             .dport = 80},
	              SENT);
	assert_int_equal(facts_of("", &o.out).sport, s.sport);
}

/* The LRU table may drop one half of a pair: then the flow begins anew. */
static void half_a_pair_is_no_flow(void **state)
{
	struct bpfrun *run = *state;
	const int young = dp_map_fd(run->dp, "flows_new");
	const struct spec s = to_vip(1, V4, IPPROTO_UDP, 0);
	const struct spec far = direct(V4, IPPROTO_UDP, 0);
	struct spec back = spec_answer(&far, 0);
	struct flow_key key = bpfrun_key(&far);
	struct outcome o;

	service_one(run, V4, IPPROTO_UDP, pod_addr(2, V4), 80);
	spec_want(run, "out", FROM_POD(1), &s, SENT);
	assert_int_equal(bpf_map_delete_elem(young, &key), 0);
	spec_want(run, "out", FROM_POD(1), &s, SENT);
	answer_check(run, FROM_POD(2), SENT, &s, &back);

	bpfrun_flush(run);
	spec_want(run, "out", FROM_POD(1), &s, SENT);
	key = bpfrun_key(&s);
	assert_int_equal(bpf_map_delete_elem(young, &key), 0);
	o = spec_want(run, "out", FROM_POD(1), &s, SENT);
	back.dport = facts_of("out", &o.out).sport;
	answer_check(run, FROM_POD(2), SENT, &s, &back);
}

/* ---- errors and fragments ----------------------------------------------- */

/* The quoted packet of an error, as its receiver reads it. */
static void quote_check(const struct packet *error, const struct spec *s)
{
	const struct facts got = facts_of("error", error);
	const uint8_t *ip = error->byte + got.l4 + 8;
	const bool v6 = s->daddr.byte[0];
	const uint8_t *ports = ip + (v6 ? 40 : 20);

	addr_want("error to", got.daddr, s->saddr);
	assert_memory_equal(ip + (v6 ? 8 : 12), s->saddr.byte + (v6 ? 0 : 12),
	                    v6 ? 16 : 4);
	assert_memory_equal(ip + (v6 ? 24 : 16), s->daddr.byte + (v6 ? 0 : 12),
	                    v6 ? 16 : 4);
	assert_int_equal(ports[0] << 8 | ports[1], s->sport);
	assert_int_equal(ports[2] << 8 | ports[3], s->dport);
}

static void errors_come_back_as_the_services(void **state)
{
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 2; i++) {
		const struct kind *kind = &kinds[i / 2];
		const enum family f = i & 1;
		const struct spec s = to_vip(1, f, IPPROTO_UDP, 0);
		struct outcome o;
		struct spec e;

		bpfcheck_setup(state);
		service_one(run, f, IPPROTO_UDP, A(kind->addr[f]), 80);
		o = spec_want(run, kind->name, FROM_POD(1), &s, kind->out);
		e = spec_error(A(kind->addr[f]), &o.out, 200, f ? 1 : 3,
		               f ? 4 : 3, 0);
		o = spec_want(run, kind->name, kind->at, &e, kind->back);
		quote_check(&o.out, &s);
		addr_want(kind->name, facts_of("", &o.out).saddr, vip(f));
	}
}

/* Of the sender about an answer: it goes to the backend, about what it sent. */
static void errors_go_out_as_the_backends(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec s = to_vip(1, f, IPPROTO_UDP, 0);
		const struct spec far = direct(f, IPPROTO_UDP, 0);
		const struct spec back = spec_answer(&far, 0);
		struct outcome o;
		struct spec e;

		service_one(run, f, IPPROTO_UDP, pod_addr(2, f), 80);
		spec_want(run, "out", FROM_POD(1), &s, SENT);
		o = spec_want(run, "back", FROM_POD(2), &back, SENT);
		e = spec_error(s.saddr, &o.out, 200, f ? 1 : 3, f ? 4 : 3, 0);
		o = spec_want(run, "error", FROM_POD(1), &e, SENT);
		quote_check(&o.out, &back);
		assert_memory_equal(facts_of("", &o.out).dmac, pod_mac(2), 6);
	}
}

/* Path MTU: of a router behind the exit, and our own to the sender. */
static void too_big_comes_back_as_the_services(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr narrow = A(f ? RIG_NARROW6 : RIG_NARROW4);
		struct spec s = to_vip(1, f, IPPROTO_UDP, 0), e;
		struct outcome o;

		service_one(run, f, IPPROTO_UDP, narrow, 80);
		o = spec_want(run, "out", FROM_POD(1), &s, SENT);
		e = spec_error(A(f ? RIG_WORLD6 : RIG_WORLD4), &o.out, 200,
		               f ? 2 : 3, f ? 0 : 4, 1280);
		o = spec_want(run, "a router's", FROM_NETW, &e, SENT);
		quote_check(&o.out, &s);
		assert_int_equal(facts_of("", &o.out).info & 0xffff, 1280);
		s.n_payload = RIG_NARROW_MTU;
		o = spec_want(run, "our own", FROM_POD(1), &s,
		              ANSWERED(TOO_BIG));
		quote_check(&o.out, &s);
		assert_int_equal(facts_of("", &o.out).info & 0xffff,
		                 RIG_NARROW_MTU);
	}
}

static void fragments_to_a_service_stay_together(void **state)
{
	struct bpfrun *run = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 2; i++) {
		const struct kind *kind = &kinds[i / 2];
		const enum family f = i & 1;
		struct spec first = to_vip(1, f, IPPROTO_UDP, 0), later;
		struct outcome o;
		struct packet p;
		struct facts seen;

		bpfcheck_setup(state);
		service_one(run, f, IPPROTO_UDP, A(kind->addr[f]), 80);
		first.frag = first.more = true;
		first.frag_id = (uint32_t)(1000 + i);
		first.n_payload = 64;
		later = first;
		later.more = false;
		later.frag_off = 72;
		spec_want(run, "ahead", FROM_POD(1), &later, DROPPED(FRAGMENT));
		spec_want(run, kind->name, FROM_POD(1), &first, kind->out);
		o = spec_want(run, kind->name, FROM_POD(1), &later, kind->out);
		p = o.out;
		assert_true(packet_read(&p, &seen));
		addr_want(kind->name, seen.daddr, A(kind->addr[f]));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(a_direct_flow_from_the_same_port_is_told_apart),
		T(a_pod_that_asks_itself_from_the_services_port),
		T(only_the_backend_may_answer),
		T(a_port_is_used_again_when_its_connection_is_over),
		T(who_loses_the_race_uses_the_winners_backend),
		T(half_a_pair_is_no_flow),
		T(errors_come_back_as_the_services),
		T(errors_go_out_as_the_backends),
		T(too_big_comes_back_as_the_services),
		T(fragments_to_a_service_stay_together),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
