// SPDX-License-Identifier: Apache-2.0
/*
 * forwarded_test.c - what the node forwards to a pod from a device that is no
 * uplink: its source may be anybody's invention.
 */
#include <bpf/bpf.h>
#include <arpa/inet.h>

#include "test/lib/bpfcheck.h"

#define LO   1u   /* the kernel's LOOPBACK_IFINDEX */
#define MGMT 777u /* a device that nobody told us of */

static struct addr node_addr(enum family f)
{
	return f ? A(RIG_NODE6) : A(RIG_NODE4);
}

/* An address of the rig's pool that no pod has. */
static struct addr nobody(enum family f)
{
	struct addr addr = pod_addr(1, f);

	addr.byte[15] = 250;
	return addr;
}

static struct spec to_pod2(enum family f, struct addr from, uint8_t proto)
{
	struct spec s = pod_spec(1, 2, f, proto, SYN);

	s.saddr = from;
	s.daddr = pod_addr(2, f);
	s.type = f ? 128 : 8;
	return s;
}

static void a_pods_address_on_another_device_is_a_spoof(void **state)
{
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const uint8_t proto[] = {IPPROTO_UDP, IPPROTO_TCP,
		                         f ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		                         IPPROTO_GRE};

		for (size_t i = 0; i < ARRAY_SIZE(proto); i++) {
			struct spec s = to_pod2(f, pod_addr(1, f), proto[i]);

			spec_want(*state, "pod 1's", FORWARDED(2, MGMT), &s,
			          DROPPED(SPOOF_ADDRESS));
			s = to_pod2(f, pod_addr(2, f), proto[i]);
			spec_want(*state, "its own", FORWARDED(2, MGMT), &s,
			          DROPPED(SPOOF_ADDRESS));
			s = to_pod2(f, nobody(f), proto[i]);
			spec_want(*state, "nobody's", FORWARDED(2, MGMT), &s,
			          DROPPED(SPOOF_ADDRESS));
			spec_want(*state, "nobody's, off the wire", FROM_NETW,
			          &s, DROPPED(SPOOF_ADDRESS));
		}
	}
}

/* Of kube-proxy: what came to a NodePort wears the node's address here. */
static void the_nodes_address_from_a_device_is_the_worlds(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct policy_entry world = {
			{.peer = ID(f ? CLASS_WORLD6 : CLASS_WORLD4,
                         ID_SERIAL_PLAIN)                                      },
			{.rule = 7,                                  .allow = 1}
                };
		struct spec s = to_pod2(f, node_addr(f), IPPROTO_UDP);
		struct event ev = {};

		bpfcheck_setup(state);
		bpfrun_events_skip(run);
		spec_want(run, "to an open pod", FORWARDED(2, MGMT), &s, STACK);
		assert_true(bpfrun_event(run, &ev));
		assert_int_equal(ev.identity[0], world.key.peer);
		bpfrun_pod(run, 2, SLOT_CLOSED);
		s.sport++;
		spec_want(run, "to a closed pod", FORWARDED(2, MGMT), &s,
		          DROPPED(POLICY_INGRESS));
		s.sport++;
		spec_want(run, "the node's own", TO_POD(2), &s, STACK);
		s.sport++;
		spec_want(run, "by its loopback", FORWARDED(2, LO), &s, STACK);
		bpfrun_pod(run, 2,
		           bpfrun_slot(run, 1 << DIR_INGRESS, &world, 1));
		s.sport++;
		spec_want(run, "to one open to the world", FORWARDED(2, MGMT),
		          &s, STACK);
	}
}

static void its_flow_has_answers_and_is_judged_as_the_worlds(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec syn = to_pod2(f, node_addr(f), IPPROTO_TCP);
		const struct spec synack = spec_answer(&syn, SYN | ACK);
		struct spec ack = syn;

		ack.tcp = ACK;
		bpfcheck_setup(state);
		spec_want(run, "SYN", FORWARDED(2, MGMT), &syn, STACK);
		/* Back through the stack, which then forwards it. */
		spec_want(run, "SYN-ACK", FROM_POD(2), &synack, SENT);
		spec_want(run, "ACK", FORWARDED(2, MGMT), &ack, STACK);
		dp_epoch_raise(run->dp, 2);
		spec_want(run, "stale", FORWARDED(2, MGMT), &ack, STACK);
		bpfrun_pod(run, 2, SLOT_CLOSED);
		dp_epoch_raise(run->dp, 2);
		spec_want(run, "cut", FORWARDED(2, MGMT), &ack,
		          DROPPED(POLICY_INGRESS));
		spec_want(run, "its answer", FROM_POD(2), &synack,
		          DROPPED(POLICY_INGRESS));
	}
}

static void a_live_flow_of_the_nodes_own_is_not_ridden(void **state)
{
	struct bpfrun *run = *state;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec ask = to_pod2(f, node_addr(f), IPPROTO_UDP);
		const struct spec back = spec_answer(&ask, 0);
		struct spec out = back, in = ask;

		bpfcheck_setup(state);
		bpfrun_pod(run, 2, SLOT_CLOSED);
		spec_want(run, "half-open", TO_POD(2), &ask, STACK);
		spec_want(run, "ridden?", FORWARDED(2, MGMT), &ask,
		          DROPPED(POLICY_INGRESS));
		spec_want(run, "answer", FROM_POD(2), &back, STACK);
		spec_want(run, "live", TO_POD(2), &ask, STACK);
		spec_want(run, "ridden?", FORWARDED(2, MGMT), &ask,
		          DROPPED(POLICY_INGRESS));
		/* The pod's question to the node; not the node answers. */
		out.sport = in.dport = 5000;
		spec_want(run, "question", FROM_POD(2), &out, STACK);
		spec_want(run, "answered?", FORWARDED(2, MGMT), &in,
		          DROPPED(POLICY_INGRESS));
		spec_want(run, "the answer", TO_POD(2), &in, STACK);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(a_pods_address_on_another_device_is_a_spoof),
		T(the_nodes_address_from_a_device_is_the_worlds),
		T(its_flow_has_answers_and_is_judged_as_the_worlds),
		T(a_live_flow_of_the_nodes_own_is_not_ridden),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
