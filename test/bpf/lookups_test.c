// SPDX-License-Identifier: Apache-2.0
/*
 * lookups_test.c - how many map lookups a packet costs, counted in the act.
 *
 * The datapath is built a second time (lookups.bpf.o, beside this program)
 * with every lookup counted by the kind of its map, and runs on the maps of
 * the first.  Arrays are not counted: they are an addition.
 */
#include <linux/bpf.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "test/bpf/lookup_counts.h"
#include "test/lib/bpfcheck.h"
#include "test/lib/bpfobject.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

static struct bpf_object *object;
static struct lookup_counts *counts;

/* ---- the counting build -------------------------------------------------- */

static int group_setup(void **state)
{
	bpfcheck_group_setup(state);
	object = bpfobject_load(*state, "lookups.bpf.o");
	counts = bpfobject_bss(object, sizeof(*counts));
	return 0;
}

static int group_teardown(void **state)
{
	bpf_object__close(object);
	return bpfcheck_group_teardown(state);
}

/* ---- counting ------------------------------------------------------------ */

struct cost {
	uint64_t hash, lru, lpm, array, other, updates;
};

static struct cost cost_now(void)
{
	struct cost c = {};

	for (int kind = 0; kind < LOOKUP_KINDS; kind++) {
		const uint64_t n = counts->lookups[kind];

		c.updates += counts->updates[kind];
		switch (kind) {
		case BPF_MAP_TYPE_HASH:
		case BPF_MAP_TYPE_PERCPU_HASH:
			c.hash += n;
			break;
		case BPF_MAP_TYPE_LRU_HASH:
		case BPF_MAP_TYPE_LRU_PERCPU_HASH:
			c.lru += n;
			break;
		case BPF_MAP_TYPE_LPM_TRIE:
			c.lpm += n;
			break;
		case BPF_MAP_TYPE_ARRAY:
		case BPF_MAP_TYPE_PERCPU_ARRAY:
		case BPF_MAP_TYPE_ARRAY_OF_MAPS:
			c.array += n;
			break;
		default:
			c.other += n;
		}
	}
	return c;
}

static struct cost cost_of(struct bpfrun *run, const char *name,
                           struct place at, const struct spec *spec,
                           struct want want)
{
	memset(counts, 0, sizeof(*counts));
	spec_want(run, name, at, spec, want);
	return cost_now();
}

/* A flow of each kind that there is, in both directions. */
struct way {
	const char *name;
	struct place at[2]; /* of the question, of the answer */
	struct want want[2];
	const char *from[2], *to[2]; /* by family */
	bool translated;
};

static const struct way ways[] = {
	{"pod to pod",
         {FROM_POD(1), FROM_POD(2)},
         {SENT, SENT},
         {"10.0.0.1", "fd00::1"},
         {"10.0.0.2", "fd00::2"},
         false},
	{"pod to node",
         {FROM_POD(1), TO_POD(1)},
         {STACK, STACK},
         {"10.0.0.1", "fd00::1"},
         {RIG_NODE4, RIG_NODE6},
         false},
	{"node to pod",
         {TO_POD(1), FROM_POD(1)},
         {STACK, STACK},
         {RIG_NODE4, RIG_NODE6},
         {"10.0.0.1", "fd00::1"},
         false},
	{"pod to another node's",
         {FROM_POD(1), FROM_NETW},
         {SENT, SENT},
         {"10.0.0.1", "fd00::1"},
         {"10.1.0.2", "fd01::2"},
         false},
	{"wire to pod",
         {FROM_NETW, FROM_POD(1)},
         {SENT, SENT},
         {RIG_WORLD4, RIG_WORLD6},
         {"10.0.0.1", "fd00::1"},
         false},
	{"pod to the world, masqueraded",
         {FROM_POD(1), FROM_NETW},
         {SENT, SENT},
         {"10.0.0.1", "fd00::1"},
         {RIG_WORLD4, RIG_WORLD6},
         true },
	{"pod to a service of a pod here",
         {FROM_POD(1), FROM_POD(2)},
         {SENT, SENT},
         {"10.0.0.1", "fd00::1"},
         {"10.96.0.2", "fd00:96::2"},
         true },
	{"pod to a service of its own",
         {FROM_POD(1), FROM_POD(1)},
         {SENT, SENT},
         {"10.0.0.1", "fd00::1"},
         {"10.96.0.1", "fd00:96::1"},
         true },
	{"pod to a service of its node",
         {FROM_POD(1), TO_POD(1)},
         {STACK, STACK},
         {"10.0.0.1", "fd00::1"},
         {"10.96.0.3", "fd00:96::3"},
         true },
	{"pod to a service outside, masqueraded",
         {FROM_POD(1), FROM_NETW},
         {SENT, SENT},
         {"10.0.0.1", "fd00::1"},
         {"10.96.0.4", "fd00:96::4"},
         true },
};

/* Port 80 of the services above, by the last number of their address. */
static void services_put(struct bpfrun *run)
{
	static const char *const to[][FAMILY__COUNT] = {
		{"10.0.0.1", "fd00::1" },
		{"10.0.0.2", "fd00::2" },
		{RIG_NODE4,  RIG_NODE6 },
		{RIG_WORLD4, RIG_WORLD6},
	};
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP};

	for (uint32_t i = 0; i < ARRAY_SIZE(to) * 4; i++) {
		const enum family f = i & 1;
		struct service_key key = {
			.vip = A(f ? "fd00:96::" : "10.96.0.0"),
			.port = htons(80),
			.proto = proto[i >> 1 & 1],
		};
		struct service service = {.first = i, .count = 1};
		struct backend backend = {.addr = A(to[i / 4][f]),
		                          .port = htons(8080)};

		key.vip.byte[15] = (uint8_t)(i / 4 + 1);
		service.tag = backend.tag = service_tag(&key);
		assert_int_equal(dp_backends_put(run->dp, &i, &backend, 1), 0);
		assert_int_equal(dp_services_put(run->dp, &key, &service, 1),
		                 0);
	}
}

static struct spec question_of(const struct way *w, enum family f,
                               uint8_t proto)
{
	return (struct spec){
		.saddr = A(w->from[f]),
		.daddr = A(w->to[f]),
		.proto = proto,
		.sport = 40000,
		.dport = 80,
		.tcp = SYN,
		.n_payload = 20,
	};
}

/* Both directions of a flow of @way that is live; its first packet's cost. */
static struct cost make_live(struct bpfrun *run, const struct way *w,
                             struct spec *ask, struct spec *answer)
{
	struct packet p;
	struct outcome o;
	struct facts seen;
	struct flow flow;
	struct cost first;

	memset(counts, 0, sizeof(*counts));
	o = spec_want(run, w->name, w->at[0], ask, w->want[0]);
	first = cost_now();
	p = o.out;
	assert_true(packet_read(&p, &seen));
	*answer = spec_answer(ask, SYN | ACK);
	if (w->translated) {
		answer->saddr = seen.daddr;
		answer->sport = seen.dport;
		answer->daddr = seen.saddr;
		answer->dport = seen.sport;
	}
	spec_want(run, w->name, w->at[1], answer, w->want[1]);
	ask->tcp = answer->tcp = ACK;
	spec_want(run, w->name, w->at[0], ask, w->want[0]);
	assert_true(bpfrun_flow(run, ask, &flow));
	assert_true(flow.flags & FLOW_MAIN);
	return first;
}

static char figure[200] = "an established packet makes one hash lookup";

static void an_established_packet_makes_one_hash_lookup(void **state)
{
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP};
	unsigned int packets = 0;

	services_put(*state);
	for (size_t i = 0; i < 2 * 2 * ARRAY_SIZE(ways); i++) {
		const struct way *w = &ways[i / 4];
		const enum family f = i & 1;
		struct spec ask = question_of(w, f, proto[i >> 1 & 1]), answer;

		bpfrun_flush(*state);
		make_live(*state, w, &ask, &answer);
		for (int d = 0; d < 2; d++) {
			const struct cost c =
				cost_of(*state, w->name, w->at[d],
			                d ? &answer : &ask, w->want[d]);

			if (c.hash != 1 || c.lru || c.lpm || c.other ||
			    c.updates)
				fail_msg("%s, IPv%d, protocol %u, %s: %lu "
				         "hash, %lu LRU, %lu LPM, %lu other, "
				         "%lu updates",
				         w->name, f ? 6 : 4, ask.proto,
				         d ? "answer" : "question", c.hash,
				         c.lru, c.lpm, c.other, c.updates);
			packets++;
		}
	}
	snprintf(figure, sizeof(figure),
	         "an established packet makes one hash lookup, no LRU, no LPM "
	         "(%u kinds of packet): 1",
	         packets);
}

static void what_a_first_packet_costs_is_said(void **state)
{
	struct bpfrun *run = *state;
	const struct policy_entry allow[] = {
		{{.dir = DIR_EGRESS},  {.rule = 1, .allow = 1}},
		{{.dir = DIR_INGRESS}, {.rule = 2, .allow = 1}},
	};
	const uint32_t slot = bpfrun_slot(run, 3, allow, ARRAY_SIZE(allow));

	bpfrun_pod(run, 1, slot);
	bpfrun_pod(run, 2, slot);
	services_put(run);
	bpfrun_flush(run);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct spec ask = question_of(&ways[i], V4, IPPROTO_TCP);
		struct spec answer;
		const struct cost c = make_live(run, &ways[i], &ask, &answer);

		print_message("# first packet, %s, policy on: %lu hash, %lu "
		              "LRU, %lu LPM, %lu array lookups; %lu updates\n",
		              ways[i].name, c.hash, c.lru, c.lpm, c.array,
		              c.updates);
		assert_true(c.hash >= 2); /* both ends' addresses at least */
		assert_int_equal(c.other, 0);
	}
}

/* What the node itself sends costs it one look at whose it is. */
static void the_nodes_own_packets_cost_one_lookup_at_most(void **state)
{
	const struct spec s = {
		.saddr = A(RIG_NODE4),
		.daddr = A(RIG_WORLD4),
		.proto = IPPROTO_UDP,
		.sport = 1,
		.dport = 2,
	};
	const struct cost c = cost_of(*state, "to_net", TO_NETW, &s, UNTOUCHED);

	assert_int_equal(c.hash, 1);
	assert_int_equal(c.lru + c.lpm + c.other + c.updates, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{figure, an_established_packet_makes_one_hash_lookup,
	         bpfcheck_setup, NULL, NULL},
		cmocka_unit_test_setup(what_a_first_packet_costs_is_said,
	                               bpfcheck_setup),
		cmocka_unit_test_setup(
			the_nodes_own_packets_cost_one_lookup_at_most,
			bpfcheck_setup),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
