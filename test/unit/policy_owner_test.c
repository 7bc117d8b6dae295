// SPDX-License-Identifier: Apache-2.0
/* policy_owner_test.c - whose an address is. */
#include "test/lib/judge.h"
#include "test/test.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a13_the_own_node_is_always_allowed_and_another_is_not),
		cmocka_unit_test(
			a14_a_pod_reaches_itself_by_any_of_its_addresses),
		cmocka_unit_test(a16_pods_on_the_host_network_are_the_node),
		cmocka_unit_test(a16_a_nodes_address_never_becomes_a_pods),
		cmocka_unit_test(a17_finished_pods_have_no_addresses),
		cmocka_unit_test(a17_an_address_that_two_pods_claim_is_nobodys),
		cmocka_unit_test(a18_a_terminating_pod_is_still_a_pod),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
