// SPDX-License-Identifier: Apache-2.0
/* policy_block_test.c - which addresses an ipBlock means. */
#include "test/lib/judge.h"
#include "test/test.h"

static void a07_an_except_is_a_hole_in_its_own_rule_alone(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'ipBlock': {'cidr': "
	             "'198.51.100.0/24', 'except': ['198.51.100.128/25', "
	             "'198.51.100.192/26', '198.51.100.0/30']}}]}, "
	             "{'from': [{'ipBlock': {'cidr': '198.51.100.200/32'}}], "
	             "'ports': [{'port': 80}]}]}");
	JUDGE(&gen, {"shop/db", IN, "198.51.99.255", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.0", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.3", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.4", "tcp/80", true},
	      {"shop/db", IN, "198.51.100.127", "tcp/80", true},
	      {"shop/db", IN, "198.51.100.128", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.192", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.200", "tcp/80", true},
	      {"shop/db", IN, "198.51.100.200", "tcp/81", false},
	      {"shop/db", IN, "198.51.100.255", "tcp/80", false},
	      {"shop/db", IN, "198.51.101.0", "tcp/80", false});
	world_clear(&gen);
}

static void a07_another_policy_may_allow_what_an_except_leaves_out(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "hole",
	             "{'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'ipBlock': {'cidr': '10.0.0.0/24', 'except': "
	             "['10.0.0.4/32']}}]}]}");
	JUDGE(&gen, {"shop/db", OUT, "10.0.0.4", "tcp/80", false},
	      {"shop/db", OUT, "10.0.0.5", "tcp/80", true});
	judge_policy(&gen, "filled",
	             "{'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'ipBlock': {'cidr': '10.0.0.4/32'}}]}]}");
	JUDGE(&gen, {"shop/db", OUT, "10.0.0.4", "tcp/80", true},
	      {"shop/db", OUT, "10.0.0.5", "tcp/80", true},
	      {"shop/db", OUT, "10.0.1.2", "tcp/80", false});
	world_clear(&gen);
}

static void a21_a_block_matches_pods_nodes_and_the_world_alike(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'ipBlock': {'cidr': '10.0.0.0/15'}}, {'ipBlock': "
	             "{'cidr': 'fd00::4/127'}}]}]}");
	JUDGE(&gen, {"shop/db", OUT, "10.0.0.4", "tcp/80", true},
	      {"shop/db", OUT, "10.0.1.2", "tcp/80", true},
	      {"shop/db", OUT, "10.1.2.3", "icmp", true},
	      {"shop/db", OUT, "10.2.0.0", "tcp/80", false},
	      {"shop/db", OUT, "fd00::3", "tcp/80", false},
	      {"shop/db", OUT, "fd00::4", "tcp/80", true},
	      {"shop/db", OUT, "fd00::5", "tcp/80", true},
	      {"shop/db", OUT, "fd00::6", "tcp/80", false});
	world_clear(&gen);
}

static void a21_the_widest_block_is_the_whole_family(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "all4",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'ipBlock': {'cidr': "
	             "'0.0.0.0/0'}}], 'ports': [{'port': 80}]}]}");
	judge_policy(&gen, "some6",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'ingress': [{'from': [{'ipBlock': {'cidr': '::/0', "
	             "'except': ['fd00::/126', '2001:db8::/32']}}]}]}");
	JUDGE(&gen, {"shop/web", IN, "10.0.0.4", "tcp/80", true},
	      {"shop/web", IN, "10.0.1.2", "tcp/80", true},
	      {"shop/web", IN, "8.8.8.8", "tcp/80", true},
	      {"shop/web", IN, "8.8.8.8", "tcp/81", false},
	      {"shop/web", IN, "fd00::4", "tcp/80", false},
	      {"shop/db", IN, "fd00::3", "tcp/80", false},
	      {"shop/db", IN, "fd00::4", "tcp/80", true},
	      {"shop/db", IN, "fd00:0:0:1::2", "tcp/80", true},
	      {"shop/db", IN, "2001:db7::1", "tcp/80", true},
	      {"shop/db", IN, "2001:db8::1", "tcp/80", false},
	      {"shop/db", IN, "10.0.0.4", "tcp/80", false},
	      {"shop/db", IN, "8.8.8.8", "tcp/80", false});
	world_clear(&gen);
}

static void a27_a_block_says_nothing_on_the_other_family(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'ipBlock': {'cidr': "
	             "'10.0.0.4/32'}}, {'ipBlock': {'cidr': '::/16'}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "10.0.0.4", "tcp/80", true},
	      {"shop/db", IN, "fd00::4", "tcp/80", false},
	      {"shop/db", IN, "::7", "tcp/80", true},
	      {"shop/db", IN, "8.8.8.8", "tcp/80", false},
	      {"shop/db", IN, "10.0.1.2", "tcp/80", false});
	world_clear(&gen);
}

static void a27_both_addresses_of_a_pod_are_the_pod(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'web'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "10.0.0.1", "tcp/80", true},
	      {"shop/db", IN, "fd00::1", "tcp/80", true},
	      {"shop/db", IN, "10.0.0.3", "tcp/80", false},
	      {"shop/db", IN, "fd00::3", "tcp/80", false});
	world_clear(&gen);
}

static void a28_host_bits_of_a_cidr_are_masked(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'ipBlock': {'cidr': "
	             "'198.51.100.77/4', 'except': ['198.51.100.77/25']}}, "
	             "{'ipBlock': {'cidr': '2001:db8::77/64', 'except': "
	             "['2001:db8::77/120']}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "192.0.0.0", "tcp/80", true},
	      {"shop/db", IN, "207.255.255.255", "tcp/80", true},
	      {"shop/db", IN, "208.0.0.0", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.1", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.128", "tcp/80", true},
	      {"shop/db", IN, "2001:db8::1", "tcp/80", false},
	      {"shop/db", IN, "2001:db8::1:0", "tcp/80", true},
	      {"shop/db", IN, "2001:db8:0:1::", "tcp/80", false});
	world_clear(&gen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a07_an_except_is_a_hole_in_its_own_rule_alone),
		cmocka_unit_test(
			a07_another_policy_may_allow_what_an_except_leaves_out),
		cmocka_unit_test(
			a21_a_block_matches_pods_nodes_and_the_world_alike),
		cmocka_unit_test(a21_the_widest_block_is_the_whole_family),
		cmocka_unit_test(a27_a_block_says_nothing_on_the_other_family),
		cmocka_unit_test(a27_both_addresses_of_a_pod_are_the_pod),
		cmocka_unit_test(a28_host_bits_of_a_cidr_are_masked),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
