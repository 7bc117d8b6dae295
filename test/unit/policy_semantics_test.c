// SPDX-License-Identifier: Apache-2.0
/*
 * policy_semantics_test.c - the NetworkPolicy API, sentence by sentence.
 *
 * The numbers are those of the list of what implementations get wrong.  A15
 * (replies), A19 and A20 (windows and live connections), A24 and A25
 * (fragments, headers) and A26 (services) are the datapath's: test/bpf,
 * test/net.
 */
#include "test/lib/judge.h"
#include "test/test.h"

#define FIXTURE(gen)               \
	struct world_gen gen = {}; \
	(void)state;               \
	judge_world(&(gen))

/* ---- A1 to A5: isolation ----------------------------------------------------
 */

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
		{"{}",							  false, true },
		{"{'policyTypes': []}",					 false, true },
		{"{'policyTypes': null}",                                       false, true },
		{"{'egress': []}",					      false, true },
		{"{'egress': null}",					    false, true },
		{"{'egress': [{'to': [{'ipBlock': {'cidr': '9.9.9.9/32'}}]}]}",
	         false,								false},
		{"{'policyTypes': ['Egress']}",                                 true,  false},
		{"{'policyTypes': ['Egress', 'Ingress']}",                      false, false},
		{"{'policyTypes': ['Ingress'], 'egress': [{'to': [{'ipBlock': "
	         "{'cidr': '9.9.9.9/32'}}]}]}",                false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		FIXTURE(gen);
		judge_policy(&gen, "p", "%s", cases[i].spec);
		JUDGE(&gen,
		      {"shop/web", IN, "infra/web", "tcp/80", cases[i].in},
		      {"shop/web", OUT, "infra/web", "tcp/80", cases[i].out});
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

/* ---- A6, A11, A12: selectors
 * -------------------------------------------------- */

static void a06_selectors_in_one_item_and_while_items_or(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "both",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'web'}}, 'namespaceSelector': {'matchLabels': "
	             "{'team': 'b'}}}]}]}");
	judge_policy(&gen, "either",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'db'}}}, {'namespaceSelector': {'matchLabels': "
	             "{'team': 'b'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "infra/web", "tcp/80", true},
	      {"shop/db", IN, "shop/web", "tcp/80", false},
	      {"shop/db", IN, "infra/dns", "tcp/80", false},
	      {"shop/web", IN, "shop/db", "tcp/80", true},
	      {"shop/web", IN, "infra/dns", "tcp/80", true},
	      {"shop/web", IN, "infra/web", "tcp/80", true},
	      {"shop/web", IN, "shop/plain", "tcp/80", false});
	world_clear(&gen);
}

static void a06_a_pod_selector_alone_means_the_policys_own_namespace(
	void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'web'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "tcp/80", true},
	      {"shop/db", IN, "infra/web", "tcp/80", false});
	world_clear(&gen);
}

static void a06_an_empty_namespace_selector_means_all_pods_but_nobody_else(
	void **state)
{
	FIXTURE(gen);
	world_add(&gen, 9,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'stray', 'namespace': 'unheard-of'}, 'status': {'podIP': "
	          "'10.0.0.9'}}");
	world_add(&gen, 10,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'bare'}, 'status': {'podIP': '10.0.0.10'}}");
	gen.doc[gen.n_docs - 1].no_namespace = true;
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': {}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "infra/web", "tcp/80", true},
	      {"shop/db", IN, "shop/plain", "tcp/80", true},
	      {"shop/db", IN, "unheard-of/stray", "tcp/80", true},
	      {"shop/db", IN, "10.0.0.10", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.7", "tcp/80", false},
	      {"shop/db", IN, "10.0.1.2", "tcp/80", false});
	world_clear(&gen);
}

static void a11_not_in_and_does_not_exist_match_what_lacks_the_key(void **state)
{
	static const struct {
		const char *expression;
		bool web, db, plain;
	} cases[] = {
		{"{'key': 'app', 'operator': 'In', 'values': ['web', 'x']}",
	         true,								 false, false},
		{"{'key': 'app', 'operator': 'NotIn', 'values': ['web', 'x']}",
	         false,								true,  true },
		{"{'key': 'app', 'operator': 'Exists'}",                        true,  true,  false},
		{"{'key': 'app', 'operator': 'DoesNotExist'}",                  false, false,
	         true									      },
		{"{'key': 'app', 'operator': 'In', 'values': ['']}",            false,
	         false,								       false},
		{"{'key': 'zzz', 'operator': 'NotIn', 'values': ['web']}",      true,
	         true,									true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *text = cases[i].expression;
		bool web = cases[i].web, db = cases[i].db;
		bool plain = cases[i].plain;

		{ /* of a peer */
			FIXTURE(gen);
			judge_policy(&gen, "p",
			             "{'policyTypes': ['Egress'], 'egress': "
			             "[{'to': [{'podSelector': "
			             "{'matchExpressions': [%s]}}]}]}",
			             text);
			JUDGE(&gen,
			      {"shop/plain", OUT, "shop/web", "tcp/1", web},
			      {"shop/plain", OUT, "shop/db", "tcp/1", db},
			      {"shop/web", OUT, "shop/plain", "tcp/1", plain});
			world_clear(&gen);
		}
		{ /* of the subject: who is selected is closed */
			FIXTURE(gen);
			judge_policy(&gen, "p",
			             "{'podSelector': {'matchExpressions': "
			             "[%s]}}",
			             text);
			JUDGE(&gen,
			      {"shop/web", IN, "infra/web", "tcp/1", !web},
			      {"shop/db", IN, "infra/web", "tcp/1", !db},
			      {"shop/plain", IN, "infra/web", "tcp/1", !plain});
			world_clear(&gen);
		}
	}
}

static void a11_all_requirements_must_hold(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': {}, "
	             "'podSelector': {'matchLabels': {'app': 'web'}, "
	             "'matchExpressions': [{'key': 'app', 'operator': 'In', "
	             "'values': ['web', 'db']}, {'key': 'role', 'operator': "
	             "'DoesNotExist'}]}}]}]}");
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'r', 'namespace': 'shop', 'labels': {'app': 'web', 'role': "
	          "'x'}}, 'status': {'podIP': '10.0.0.8'}}");
	JUDGE(&gen, {"shop/plain", IN, "shop/web", "tcp/1", true},
	      {"shop/plain", IN, "infra/web", "tcp/1", true},
	      {"shop/plain", IN, "shop/db", "tcp/1", false},
	      {"shop/plain", IN, "shop/r", "tcp/1", false});
	world_clear(&gen);
}

static void a12_a_namespace_bears_its_name_as_a_label(void **state)
{
	FIXTURE(gen);
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': "
	          "{'name': 'evil', 'labels': {'kubernetes.io/metadata.name': "
	          "'infra'}}}");
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'p', 'namespace': 'evil'}, 'status': {'podIP': "
	          "'10.0.0.8'}}");
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'p', 'namespace': 'no-manifest'}, 'status': {'podIP': "
	          "'10.0.0.9'}}");
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': "
	             "{'matchExpressions': [{'key': "
	             "'kubernetes.io/metadata.name', 'operator': 'In', "
	             "'values': ['infra', 'no-manifest']}]}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "infra/web", "tcp/1", true},
	      {"shop/db", IN, "no-manifest/p", "tcp/1", true},
	      {"shop/db", IN, "evil/p", "tcp/1", false},
	      {"shop/db", IN, "shop/web", "tcp/1", false});
	world_clear(&gen);
}

/* ---- A7, A21, A27, A28: blocks
 * ------------------------------------------------ */

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

/* ---- A8 to A10, A22, A23: ports
 * ------------------------------------------------ */

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

/* ---- A13, A14, A16 to A18: whose address it is
 * ----------------------------------- */

static void a13_the_own_node_is_always_allowed_and_another_is_not(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p", "{'policyTypes': ['Ingress', 'Egress']}");
	JUDGE(&gen, {"shop/db", IN, "10.0.1.1", "tcp/80", true},
	      {"shop/db", OUT, "10.0.1.1", "tcp/80", true},
	      {"shop/db", IN, "fd00:0:0:1::1", "icmp", true},
	      {"shop/db", OUT, "fd00:0:0:1::1", "udp/53", true},
	      {"shop/db", IN, "10.0.1.2", "tcp/80", false},
	      {"shop/db", OUT, "fd00:0:0:1::2", "tcp/80", false});
	world_clear(&gen);
}

static void a14_a_pod_reaches_itself_by_any_of_its_addresses(void **state)
{
	FIXTURE(gen);
	world_add(&gen, 8,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'two', 'namespace': 'shop'}, 'status': {'podIPs': [{'ip': "
	          "'10.0.0.8'}, {'ip': '10.0.0.9'}]}}");
	judge_policy(&gen, "p", "{'policyTypes': ['Ingress', 'Egress']}");
	JUDGE(&gen, {"shop/db", IN, "shop/db", "tcp/80", true},
	      {"shop/db", OUT, "shop/db", "icmp", true},
	      {"shop/two", IN, "10.0.0.9", "tcp/80", true},
	      {"shop/two", OUT, "10.0.0.9", "tcp/80", true},
	      {"shop/db", OUT, "10.0.0.9", "tcp/80", false});
	world_clear(&gen);
}

static void a16_pods_on_the_host_network_are_the_node(void **state)
{
	FIXTURE(gen);
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'agent', 'namespace': 'shop', 'labels': {'app': 'agent'}}, "
	          "'spec': {'hostNetwork': true}, 'status': {'podIPs': "
	          "[{'ip': '10.0.1.2'}, {'ip': '10.0.1.3'}]}}");
	judge_policy(&gen, "by-label",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'ingress': [{'from': [{'podSelector': {}}, "
	             "{'namespaceSelector': {}}]}]}");
	judge_policy(&gen, "by-address",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'ipBlock': {'cidr': "
	             "'10.0.1.2/31'}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "10.0.1.2", "tcp/80", false},
	      {"shop/db", IN, "10.0.1.3", "tcp/80", false},
	      {"shop/db", IN, "shop/web", "tcp/80", true},
	      {"shop/web", IN, "10.0.1.2", "tcp/80", true},
	      {"shop/web", IN, "10.0.1.3", "tcp/80", true});
	world_clear(&gen);
}

static void a16_a_nodes_address_never_becomes_a_pods(void **state)
{
	FIXTURE(gen);
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'thief', 'namespace': 'shop'}, 'status': {'podIP': "
	          "'10.0.1.2'}}");
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "10.0.1.2", "tcp/80", false});
	world_clear(&gen);
}

static void a17_finished_pods_have_no_addresses(void **state)
{
	static const char *const phases[] = {"Succeeded", "Failed"};

	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		FIXTURE(gen);
		world_add(&gen, 0,
		          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': "
		          "{'name': 'job', 'namespace': 'shop', 'labels': "
		          "{'app': 'job'}}, 'status': {'phase': '%s', "
		          "'podIP': '10.0.0.8'}}",
		          phases[i]);
		judge_policy(&gen, "p",
		             "{'ingress': [{'from': [{'podSelector': "
		             "{'matchLabels': {'app': 'job'}}}]}]}");
		JUDGE(&gen, {"shop/db", IN, "10.0.0.8", "tcp/80", false});
		/* Given to another meanwhile: it is his. */
		world_add(&gen, 0,
		          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': "
		          "{'name': 'new', 'namespace': 'infra'}, 'status': "
		          "{'phase': 'Running', 'podIP': '10.0.0.8'}}");
		judge_policy(&gen, "q",
		             "{'ingress': [{'from': [{'namespaceSelector': "
		             "{'matchLabels': {'team': 'b'}}}]}]}");
		JUDGE(&gen, {"shop/db", IN, "10.0.0.8", "tcp/80", true});
		world_clear(&gen);
	}
}

static void a17_an_address_that_two_pods_claim_is_nobodys(void **state)
{
	static const char pod[] =
		"{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
		"'%s', 'namespace': 'shop', 'labels': {'app': '%s'}}, "
		"'status': {'podIP': '10.0.0.8'}}";
	FIXTURE(gen);

	world_add(&gen, 0, pod, "one", "one");
	world_add(&gen, 0, pod, "two", "two");
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'one'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "10.0.0.8", "tcp/80", false});
	/* The one attached here has it: we gave it. */
	world_add(&gen, 8, pod, "here", "one");
	JUDGE(&gen, {"shop/db", IN, "10.0.0.8", "tcp/80", true});
	world_add(&gen, 9, pod, "here-too", "one");
	JUDGE(&gen, {"shop/db", IN, "10.0.0.8", "tcp/80", false});
	world_clear(&gen);
}

static void a18_a_terminating_pod_is_still_a_pod(void **state)
{
	FIXTURE(gen);
	world_add(&gen, 8,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'going', 'namespace': 'shop', 'deletionTimestamp': "
	          "'2026-01-01T00:00:00Z', 'deletionGracePeriodSeconds': 30, "
	          "'labels': {'app': 'going'}}, 'status': {'phase': "
	          "'Running', 'podIP': '10.0.0.8'}}");
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'going'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/going", "tcp/80", true},
	      {"shop/going", IN, "shop/db", "tcp/80", false});
	world_clear(&gen);
}

/* ---- what cannot be read
 * -------------------------------------------------------- */

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
		"{'from': [{'podSelector': {}, 'ipBlock': {'cidr': "
		"'10.0.0.0/8'}}]}",
		"{'from': [{'fqdn': 'x.org'}]}",
		"{'from': [{'podSelector': {'matchLabels': {'a': 7}}}]}",
		"{'from': [{'ipBlock': {'cidr': '10.0.0.0'}}]}",
		"{'from': [{'ipBlock': {'cidr': '0.0.0.0/0', 'except': "
		"['::/0']}}]}",
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

#define T(test) cmocka_unit_test(test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a01_policies_add_up_in_any_order),
		T(a02_a_pod_is_isolated_in_one_direction_alone),
		T(a03_policy_types_default_to_ingress_and_to_egress_with_rules),
		T(a04_an_empty_or_absent_selector_selects_the_namespace),
		T(a05_no_rules_deny_all_and_an_empty_rule_allows_all),
		T(a05_absent_ports_mean_every_protocol_of_those_peers),
		T(a06_selectors_in_one_item_and_while_items_or),
		T(a06_a_pod_selector_alone_means_the_policys_own_namespace),
		T(a06_an_empty_namespace_selector_means_all_pods_but_nobody_else),
		T(a07_an_except_is_a_hole_in_its_own_rule_alone),
		T(a07_another_policy_may_allow_what_an_except_leaves_out),
		T(a08_a_protocol_without_port_means_all_its_ports),
		T(a08_an_empty_port_item_means_all_of_tcp),
		T(a09_end_port_is_inclusive_and_may_equal_port),
		T(a10_into_a_pod_a_port_name_is_its_own),
		T(a10_out_of_a_pod_a_port_name_is_each_peers),
		T(a10_a_port_name_must_be_of_the_right_protocol),
		T(a10_a_port_name_with_blocks_is_the_peer_pods),
		T(a11_not_in_and_does_not_exist_match_what_lacks_the_key),
		T(a11_all_requirements_must_hold),
		T(a12_a_namespace_bears_its_name_as_a_label),
		T(a13_the_own_node_is_always_allowed_and_another_is_not),
		T(a14_a_pod_reaches_itself_by_any_of_its_addresses),
		T(a16_pods_on_the_host_network_are_the_node),
		T(a16_a_nodes_address_never_becomes_a_pods),
		T(a17_finished_pods_have_no_addresses),
		T(a17_an_address_that_two_pods_claim_is_nobodys),
		T(a18_a_terminating_pod_is_still_a_pod),
		T(a21_a_block_matches_pods_nodes_and_the_world_alike),
		T(a21_the_widest_block_is_the_whole_family),
		T(a22_sctp_isolates_and_opens_only_itself),
		T(a23_other_protocols_need_a_rule_without_ports),
		T(a27_a_block_says_nothing_on_the_other_family),
		T(a27_both_addresses_of_a_pod_are_the_pod),
		T(a28_host_bits_of_a_cidr_are_masked),
		T(unreadable_rules_isolate_and_allow_nothing),
		T(a_spec_that_cannot_be_read_isolates_both_ways),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
