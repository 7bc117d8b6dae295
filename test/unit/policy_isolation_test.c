// SPDX-License-Identifier: Apache-2.0
/*
 * policy_isolation_test.c - who is isolated, and what cannot be read.
 *
 * The policy_*_test.c together are the NetworkPolicy API, sentence by sentence;
 * the numbers are those of the list of what implementations get wrong.  A15
 * (replies), A19 and A20 (windows and live connections), A24 and A25
 * (fragments, headers) and A26 (services) are the datapath's: test/bpf,
 * test/net.
 */
#include "test/lib/judge.h"
#include "test/test.h"

static void a01_policies_add_up_in_any_order(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "z-deny", "{'podSelector': {}}");
	judge_policy(&gen, "a-deny", "{'podSelector': {}}");
	judge_policy(&gen, "m-allow",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'db'}}}]}]}");
	judge_policy(&gen, "n-allow",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'ports': [{'port': 443}]}]}");
	JUDGE(&gen, {"shop/web", IN, "shop/db", "tcp/80", true},
	      {"shop/web", IN, "shop/plain", "tcp/443", true},
	      {"shop/web", IN, "shop/plain", "tcp/80", false},
	      {"shop/db", IN, "shop/web", "tcp/80", false});
	world_clear(&gen);
}

static void a02_a_pod_is_isolated_in_one_direction_alone(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "in",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'policyTypes': ['Ingress']}");
	judge_policy(&gen, "out",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'policyTypes': ['Egress'], 'ingress': [{}]}");
	JUDGE(&gen, {"shop/web", IN, "infra/web", "tcp/80", false},
	      {"shop/web", OUT, "infra/web", "tcp/80", true},
	      {"shop/db", IN, "infra/web", "tcp/80", true},
	      {"shop/db", OUT, "infra/web", "tcp/80", false},
	      {"shop/plain", IN, "infra/web", "tcp/80", true},
	      {"infra/web", IN, "shop/db", "tcp/80", true});
	world_clear(&gen);
}

static void a03_policy_types_default_to_ingress_and_to_egress_with_rules(
	void **state)
{
	static const struct {
		const char *spec;
		bool in, out; /* open? */
	} cases[] = {
		{"{}",					     false, true },
		{"{'policyTypes': []}",                            false, true },
		{"{'policyTypes': null}",                          false, true },
		{"{'egress': []}",                                 false, true },
		{"{'egress': null}",                               false, true },
		{"{'egress': [{'ports': [{}]}]}",                  false, false},
		{"{'policyTypes': ['Egress']}",                    true,  false},
		{"{'policyTypes': ['Egress', 'Ingress']}",         false, false},
		{"{'policyTypes': ['Ingress'], 'egress': [null]}", false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		FIXTURE(gen);
		judge_policy(&gen, "p", "%s", cases[i].spec);
		JUDGE(&gen,
		      {"shop/web", IN, "infra/web", "udp/80", cases[i].in},
		      {"shop/web", OUT, "infra/web", "udp/80", cases[i].out});
		world_clear(&gen);
	}
}

static void a04_an_empty_or_absent_selector_selects_the_namespace(void **state)
{
	static const char *const specs[] = {
		"null",
		"{}",
		"{'podSelector': null}",
		"{'podSelector': {}}",
		"{'podSelector': {'matchLabels': {}}}",
		"{'podSelector': {'matchExpressions': []}}"};

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		FIXTURE(gen);
		judge_policy(&gen, "p", "%s", specs[i]);
		JUDGE(&gen, {"shop/web", IN, "shop/db", "tcp/80", false},
		      {"shop/plain", IN, "shop/db", "tcp/80", false},
		      {"infra/web", IN, "shop/db", "tcp/80", true});
		world_clear(&gen);
	}
}

static void a05_no_rules_deny_all_and_an_empty_rule_allows_all(void **state)
{
	static const struct {
		const char *ingress;
		bool want;
	} cases[] = {
		{"null",			  false},
		{"[]",			    false},
		{"[{}]",			  true },
		{"[{'from': []}]",                true },
		{"[{'from': null, 'ports': []}]", true },
		{"[{'ports': null}]",             true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool want = cases[i].want;

		FIXTURE(gen);
		judge_policy(&gen, "p", "{'ingress': %s}", cases[i].ingress);
		JUDGE(&gen, {"shop/web", IN, "shop/db", "tcp/80", want},
		      {"shop/web", IN, "198.51.100.7", "tcp/80", want},
		      {"shop/web", IN, "2001:db8::7", "udp/80", want},
		      {"shop/web", IN, "10.0.1.2", "sctp/80", want},
		      {"shop/web", IN, "shop/db", "icmp", want},
		      {"shop/web", IN, "shop/db", "gre", want});
		world_clear(&gen);
	}
}

static void a05_absent_ports_mean_every_protocol_of_those_peers(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {}}]}]}");
	JUDGE(&gen, {"shop/web", IN, "shop/db", "tcp/80", true},
	      {"shop/web", IN, "shop/db", "udp/80", true},
	      {"shop/web", IN, "shop/db", "esp", true},
	      {"shop/web", IN, "198.51.100.7", "tcp/80", false},
	      {"shop/web", IN, "10.0.1.2", "tcp/80", false});
	world_clear(&gen);
}

static void unreadable_rules_isolate_and_allow_nothing(void **state)
{
	static const char *const rules[] = {
		"{'form': []}",
		"{'to': []}",
		"null",
		"7",
		"'all'",
		"{'from': {}}",
		"{'from': [{}]}",
		"{'from': [null]}",
		"{'from': [{'podSelector': {}, 'ipBlock': {'cidr': '::/0'}}]}",
		"{'from': [{'fqdn': 'x.org'}]}",
		"{'from': [{'podSelector': {'matchLabels': {'a': 7}}}]}",
		"{'from': [{'ipBlock': {'cidr': '10.0.0.0'}}]}",
		"{'from': [{'ipBlock': {'cidr': '::/0', 'except': ['::/0']}}]}",
		"{'ports': 80}",
		"{'ports': [80]}",
		"{'ports': [null]}",
		"{'ports': [{'port': 0}]}",
		"{'ports': [{'port': 65536}]}",
		"{'ports': [{'port': 80, 'endPort': 79}]}",
		"{'ports': [{'port': 'http', 'endPort': 90}]}",
		"{'ports': [{'endPort': 90}]}",
		"{'ports': [{'protocol': 'tcp'}]}",
		"{'ports': [{'protocol': 'ICMP'}]}",
		"{'ports': [{'port': 80, 'range': 3}]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		FIXTURE(gen);
		judge_policy(&gen, "p",
		             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
		             "'ingress': [%s, {'ports': [{'port': 443}]}]}",
		             rules[i]);
		JUDGE(&gen, {"shop/web", IN, "shop/db", "tcp/80", false},
		      {"shop/web", IN, "shop/db", "icmp", false},
		      {"shop/web", IN, "shop/db", "tcp/443", true},
		      {"shop/web", OUT, "shop/db", "tcp/80", true},
		      {"shop/db", IN, "shop/web", "tcp/80", true});
		world_clear(&gen);
	}
}

static void a_spec_that_cannot_be_read_isolates_both_ways(void **state)
{
	static const char *const fields[] = {"'ingres': [{}]",
	                                     "'ingress': {}",
	                                     "'egress': 7",
	                                     "'policyTypes': ['ingress']",
	                                     "'policyTypes': 'Ingress'",
	                                     "'policyTypes': [null]"};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		FIXTURE(gen);
		judge_policy(&gen, "p",
		             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
		             "%s}",
		             fields[i]);
		JUDGE(&gen, {"shop/web", IN, "shop/db", "tcp/80", false},
		      {"shop/web", OUT, "shop/db", "tcp/80", false},
		      {"shop/db", IN, "shop/web", "tcp/80", true});
		world_clear(&gen);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a01_policies_add_up_in_any_order),
		cmocka_unit_test(a02_a_pod_is_isolated_in_one_direction_alone),
		cmocka_unit_test(
			a03_policy_types_default_to_ingress_and_to_egress_with_rules),
		cmocka_unit_test(
			a04_an_empty_or_absent_selector_selects_the_namespace),
		cmocka_unit_test(
			a05_no_rules_deny_all_and_an_empty_rule_allows_all),
		cmocka_unit_test(
			a05_absent_ports_mean_every_protocol_of_those_peers),
		cmocka_unit_test(unreadable_rules_isolate_and_allow_nothing),
		cmocka_unit_test(a_spec_that_cannot_be_read_isolates_both_ways),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
