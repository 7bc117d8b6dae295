// SPDX-License-Identifier: Apache-2.0
/* exit_test.c - an uplink changes under the flows that leave by it. */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <string.h>

#include "lib/addr.h"
#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4

static const struct uplink *whole(void)
{
	static struct uplink uplink;

	uplink = (struct uplink){
		.addr = {A(RIG_NODE4), A(RIG_NODE6)},
                  .mtu = 1500
        };
	return &uplink;
}

/* The uplink becomes @uplink, or none; the daemon raises the node's epoch. */
static void uplink_is(struct bpfrun *run, const struct uplink *uplink)
{
	if (uplink)
		assert_int_equal(dp_uplink_put(run->dp, run->uplink_if, uplink),
		                 0);
	else
		assert_int_equal(dp_uplink_remove(run->dp, run->uplink_if), 0);
	dp_epoch_raise(run->dp, 0);
}

/* An address stops or starts to be the node's. */
static void local_is(struct bpfrun *run, struct addr addr, bool local)
{
	const enum id_class class =
		addr_family(&addr) == V4 ? CLASS_NODE4 : CLASS_NODE6;
	const struct addr_info info = {.identity = ID(class, ID_SERIAL_HOST),
	                               .local = 1};

	if (local)
		assert_int_equal(dp_addr_put(run->dp, &addr, &info), 0);
	else
		assert_int_equal(dp_addr_remove(run->dp, &addr), 0);
	dp_epoch_raise(run->dp, 0);
}

static struct spec out_of(unsigned int pod, enum family f, uint8_t proto)
{
	struct spec s = pod_spec(pod, 2, f, proto, SYN);

	s.daddr = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
	s.n_payload = 1300;
	return s;
}

static struct addr source_of(struct bpfrun *run, const char *name,
                             const struct spec *s)
{
	const struct outcome o = spec_want(run, name, FROM_POD(1), s, SENT);

	return facts_of(name, &o.out).saddr;
}

static void a_flow_keeps_its_address_while_the_node_has_it(void **state)
{
	struct bpfrun *run = *state;
	const struct addr new[] = {A("192.0.2.77"), A("2001:db8:9::77")};
	struct uplink moved = *whole();

	memcpy(moved.addr, new, sizeof(new));
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr old = whole()->addr[f];
		const struct spec s = out_of(1, f, IPPROTO_UDP);
		struct spec other = s;

		addr_want("before", source_of(run, "before", &s), old);
		local_is(run, new[f], true);
		uplink_is(run, &moved);
		addr_want("kept", source_of(run, "kept", &s), old);
		other.sport++;
		addr_want("new", source_of(run, "new", &other), new[f]);
		local_is(run, old, false);
		addr_want("lost", source_of(run, "lost", &s), new[f]);
		addr_want("again", source_of(run, "again", &s), new[f]);
		local_is(run, old, true);
		local_is(run, new[f], false);
		uplink_is(run, whole());
	}
}

static void a_connection_ends_with_its_address(void **state)
{
	struct bpfrun *run = *state;
	struct spec syn = out_of(1, V4, IPPROTO_TCP), ack = syn;
	const struct addr old = whole()->addr[V4];

	ack.tcp = ACK;
	spec_want(run, "SYN", FROM_POD(1), &syn, SENT);
	spec_want(run, "ACK", FROM_POD(1), &ack, SENT);
	local_is(run, old, false);
	spec_want(run, "its address is gone", FROM_POD(1), &ack,
	          DROPPED(NO_FLOW));
	local_is(run, old, true);
}

static void an_mtu_that_shrinks_is_that_of_live_flows(void **state)
{
	struct bpfrun *run = *state;
	struct uplink narrow = *whole();

	narrow.mtu = 1280;
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = out_of(1, f, IPPROTO_UDP);
		struct flow flow;

		spec_want(run, "before", FROM_POD(1), &s, SENT);
		uplink_is(run, &narrow);
		spec_want(run, "after", FROM_POD(1), &s, ANSWERED(TOO_BIG));
		spec_want(run, "again", FROM_POD(1), &s, ANSWERED(TOO_BIG));
		s.n_payload = 100;
		spec_want(run, "a small one", FROM_POD(1), &s, SENT);
		assert_true(bpfrun_flow(run, &s, &flow));
		assert_true(flow.count[0].packets >= 4); /* the same flow */
		uplink_is(run, whole());
	}
}

static void what_is_no_uplink_any_more_is_no_exit(void **state)
{
	struct bpfrun *run = *state;
	struct dp_config plain = bpfrun_config;

	for (int masquerade = 1; masquerade >= 0; masquerade--) {
		for (enum family f = 0; f < FAMILY__COUNT; f++) {
			const struct spec s = out_of(1, f, IPPROTO_UDP);
			struct spec in = spec_answer(&s, 0), answer;

			in.smac = in.dmac = NULL;
			in.sport = 5000;
			answer = spec_answer(&in, 0);
			spec_want(run, "out", FROM_POD(1), &s, SENT);
			spec_want(run, "in", FROM_NETW, &in, SENT);
			spec_want(run, "answer", FROM_POD(1), &answer, SENT);
			uplink_is(run, NULL);
			spec_want(run, "out", FROM_POD(1), &s,
			          DROPPED(NO_ROUTE));
			spec_want(run, "answer", FROM_POD(1), &answer,
			          DROPPED(NO_ROUTE));
			uplink_is(run, whole());
			spec_want(run, "it is back", FROM_POD(1), &s, SENT);
		}
		plain.masquerade = 0;
		bpfrun_close(run);
		bpfrun_open(run, masquerade ? &plain : &bpfrun_config);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, bpfcheck_setup)
	const struct CMUnitTest tests[] = {
		T(a_flow_keeps_its_address_while_the_node_has_it),
		T(a_connection_ends_with_its_address),
		T(an_mtu_that_shrinks_is_that_of_live_flows),
		T(what_is_no_uplink_any_more_is_no_exit),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
