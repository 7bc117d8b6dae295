// SPDX-License-Identifier: Apache-2.0
/* policy_port_test.c - which ports and protocols a rule means. */
#include "test/lib/judge.h"
#include "test/test.h"

static void a08_a_protocol_without_port_means_all_its_ports(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'ports': [{'protocol': 'UDP'}, {'port': "
	             "80}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "udp/0", true},
	      {"shop/db", IN, "shop/web", "udp/65535", true},
	      {"shop/db", IN, "shop/web", "tcp/80", true},
	      {"shop/db", IN, "shop/web", "tcp/81", false},
	      {"shop/db", IN, "shop/web", "sctp/80", false});
	world_clear(&gen);
}

static void a08_an_empty_port_item_means_all_of_tcp(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p", "{'ingress': [{'ports': [{}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "tcp/1", true},
	      {"shop/db", IN, "shop/web", "udp/1", false},
	      {"shop/db", IN, "shop/web", "icmp", false});
	world_clear(&gen);
}

static void a09_end_port_is_inclusive_and_may_equal_port(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'ports': [{'port': 1000, 'endPort': "
	             "2001}, {'port': 65534, 'endPort': 65535}, {'port': 1, "
	             "'endPort': 2}, {'protocol': 'UDP', 'port': 7, "
	             "'endPort': 7}, {'protocol': 'SCTP', 'port': 1, "
	             "'endPort': 65535}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "tcp/0", false},
	      {"shop/db", IN, "shop/web", "tcp/1", true},
	      {"shop/db", IN, "shop/web", "tcp/2", true},
	      {"shop/db", IN, "shop/web", "tcp/3", false},
	      {"shop/db", IN, "shop/web", "tcp/999", false},
	      {"shop/db", IN, "shop/web", "tcp/1000", true},
	      {"shop/db", IN, "shop/web", "tcp/2001", true},
	      {"shop/db", IN, "shop/web", "tcp/2002", false},
	      {"shop/db", IN, "shop/web", "tcp/65533", false},
	      {"shop/db", IN, "shop/web", "tcp/65535", true},
	      {"shop/db", IN, "shop/web", "udp/7", true},
	      {"shop/db", IN, "shop/web", "udp/8", false},
	      {"shop/db", IN, "shop/web", "sctp/0", false},
	      {"shop/db", IN, "shop/web", "sctp/65535", true},
	      {"shop/db", IN, "shop/web", "udp/1500", false});
	world_clear(&gen);
}

/* What two rules say of the same peers must not be taken for one thing. */
static void a09_ranges_that_begin_or_end_alike_are_different(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'ports': [{'port': 100, 'endPort': 110}, "
	             "{'port': 100, 'endPort': 120}, {'port': 90, 'endPort': "
	             "99}, {'port': 98, 'endPort': 99}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "tcp/89", false},
	      {"shop/db", IN, "shop/web", "tcp/90", true},
	      {"shop/db", IN, "shop/web", "tcp/100", true},
	      {"shop/db", IN, "shop/web", "tcp/111", true},
	      {"shop/db", IN, "shop/web", "tcp/120", true},
	      {"shop/db", IN, "shop/web", "tcp/121", false});
	world_clear(&gen);
}

static void a10_into_a_pod_a_port_name_is_its_own(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p", "{'ingress': [{'ports': [{'port': 'http'}]}]}");
	JUDGE(&gen, {"shop/web", IN, "infra/web", "tcp/8080", true},
	      {"shop/web", IN, "infra/web", "tcp/80", false},
	      {"shop/web", IN, "198.51.100.7", "tcp/8080", true},
	      {"shop/web", IN, "infra/web", "udp/8080", false},
	      {"shop/db", IN, "shop/web", "tcp/8080", false},
	      {"shop/plain", IN, "shop/web", "tcp/8080", false});
	world_clear(&gen);
}

static void a10_out_of_a_pod_a_port_name_is_each_peers(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "any",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'policyTypes': ['Egress'], 'egress': [{'ports': "
	             "[{'port': 'http'}]}]}");
	judge_policy(&gen, "all-pods",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'namespaceSelector': {}}], 'ports': [{'port': 'dns', "
	             "'protocol': 'UDP'}]}]}");
	JUDGE(&gen, {"shop/db", OUT, "shop/web", "tcp/8080", true},
	      {"shop/db", OUT, "shop/web", "tcp/80", false},
	      {"shop/db", OUT, "infra/web", "tcp/80", true},
	      {"shop/db", OUT, "infra/web", "tcp/8080", false},
	      {"shop/db", OUT, "infra/dns", "tcp/80", false},
	      {"shop/db", OUT, "198.51.100.7", "tcp/80", false},
	      {"shop/db", OUT, "10.0.1.2", "tcp/80", false},
	      {"shop/web", OUT, "infra/dns", "udp/53", true},
	      {"shop/web", OUT, "infra/dns", "tcp/53", false},
	      {"shop/web", OUT, "infra/web", "udp/53", false});
	world_clear(&gen);
}

static void a10_a_port_name_must_be_of_the_right_protocol(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'policyTypes': ['Egress'], 'egress': [{'ports': "
	             "[{'port': 'dns'}, {'port': 'nowhere'}]}]}");
	JUDGE(&gen, {"shop/db", OUT, "infra/dns", "tcp/53", false},
	      {"shop/db", OUT, "infra/dns", "udp/53", false});
	world_clear(&gen);
}

static void a10_a_port_name_with_blocks_is_the_peer_pods(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "one",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'ipBlock': {'cidr': '10.0.0.0/29', 'except': "
	             "['10.0.0.5/32']}}], 'ports': [{'port': 'http'}]}]}");
	judge_policy(&gen, "all",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'ipBlock': {'cidr': '0.0.0.0/0'}}], 'ports': "
	             "[{'port': 'http'}]}]}");
	JUDGE(&gen, {"shop/db", OUT, "10.0.0.1", "tcp/8080", true},
	      {"shop/db", OUT, "10.0.0.1", "tcp/80", false},
	      {"shop/db", OUT, "fd00::1", "tcp/8080", false},
	      {"shop/db", OUT, "10.0.0.5", "tcp/80", false},
	      {"shop/db", OUT, "10.0.0.6", "tcp/80", false},
	      {"shop/web", OUT, "10.0.0.5", "tcp/80", true},
	      {"shop/web", OUT, "fd00::5", "tcp/80", false},
	      {"shop/web", OUT, "8.8.8.8", "tcp/80", false});
	world_clear(&gen);
}

static void a22_sctp_isolates_and_opens_only_itself(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'ports': [{'protocol': 'SCTP', 'port': "
	             "80}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "sctp/80", true},
	      {"shop/db", IN, "shop/web", "sctp/81", false},
	      {"shop/db", IN, "shop/web", "tcp/80", false},
	      {"shop/db", IN, "shop/web", "udp/80", false});
	world_clear(&gen);
}

static void a23_other_protocols_need_a_rule_without_ports(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "ports",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'ingress': [{'ports': [{}, {'protocol': 'UDP'}, "
	             "{'protocol': 'SCTP'}]}]}");
	judge_policy(&gen, "none",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'podSelector': {}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "icmp", false},
	      {"shop/db", IN, "shop/web", "gre", false},
	      {"shop/db", IN, "shop/web", "esp", false},
	      {"shop/db", IN, "shop/web", "sctp/9", true},
	      {"shop/web", IN, "shop/db", "icmp", true},
	      {"shop/web", IN, "shop/db", "esp", true},
	      {"shop/web", IN, "infra/dns", "icmp", false});
	world_clear(&gen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a08_a_protocol_without_port_means_all_its_ports),
		cmocka_unit_test(a08_an_empty_port_item_means_all_of_tcp),
		cmocka_unit_test(a09_end_port_is_inclusive_and_may_equal_port),
		cmocka_unit_test(
			a09_ranges_that_begin_or_end_alike_are_different),
		cmocka_unit_test(a10_into_a_pod_a_port_name_is_its_own),
		cmocka_unit_test(a10_out_of_a_pod_a_port_name_is_each_peers),
		cmocka_unit_test(a10_a_port_name_must_be_of_the_right_protocol),
		cmocka_unit_test(a10_a_port_name_with_blocks_is_the_peer_pods),
		cmocka_unit_test(a22_sctp_isolates_and_opens_only_itself),
		cmocka_unit_test(a23_other_protocols_need_a_rule_without_ports),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
